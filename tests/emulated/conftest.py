"""What the emulated tests share: the image or a skip, a settled rack to start from, and forks of it.

Booting and settling take half a minute of real time, so it is done once; each test runs in a child process that has a
copy of everything, down to the cycle, and sends back what it found.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest

from heartwire.emulated.chip import emulator
from heartwire.emulated.errors import NotReady
from heartwire.flash import images
from tests.emulated.rig import Rig

Found = TypeVar("Found")


@pytest.fixture(scope="session")
def board_image() -> Path:
    """The official image; skips with what to do about it."""
    try:
        emulator()
        return images.find()
    except (NotReady, images.ImageMissing) as error:
        pytest.skip(f"{error}: {getattr(error, 'next_step', '')}".rstrip(": "))


@pytest.fixture(scope="session")
def settled(board_image: Path) -> Rig:
    """Two nodes, a is active and runs, nothing waits to be written. Only for `forked`."""
    rig = Rig(board_image)
    rig.settle()
    return rig


def forked(body: Callable[[], Found]) -> Found:
    """Run `body` in a child process and return what it returns; its failure becomes this test's."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            result: tuple[bool, object] = (True, body())
        except BaseException:
            result = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    good, found = pickle.loads(data) if data else (False, "the child died")
    if not good:
        pytest.fail(str(found), pytrace=False)
    return cast(Found, found)
