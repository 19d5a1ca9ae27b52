"""What the emulated tests share: the images or a skip, a settled rack to start from, and forks of it.

The preferred image runs every file; every other one in the cache that the emulated chip can take, of another version or
board, runs those of EVERY_IMAGE; with another size of flash those of EVERY_SIZE.

Booting and settling take half a minute of real time, so it is done once; each test runs in a child process that has a
copy of everything, down to the cycle, and sends back what it found.
"""

from __future__ import annotations

import os
import pickle
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import pytest

from heartwire.emulated.chip import emulator
from heartwire.emulated.errors import NotReady
from heartwire.flash import boards, images
from tests.emulated.rig import Rig, board_named_by

Found = TypeVar("Found")


EVERY_IMAGE = {"test_board", "test_damage", "test_flash", "test_images"}
# What a board with more or less flash than the Pico runs of those: where a file system of its size is made.
EVERY_SIZE = {"test_board", "test_images"}
_NAME = re.compile(r"-\d{8}-v(\d+\.\d+(?:\.\d+)?(?:-preview)?)")


@dataclass(frozen=True)
class Cached:
    """An image in the cache: its file, the board of the table that its name begins with, and the version in it."""

    path: Path
    board: boards.Board
    version: str

    @property
    def label(self) -> str:
        """What it is called in the names of tests."""
        return self.version if self.board is boards.PICO else f"{self.board.id}-{self.version}"


def cached_images() -> list[Cached]:
    """Return the images in the cache that the emulated chip can take, of any board that has it and no radio, at which
    the LED hangs; the preferred one first.
    """
    found = []
    for path in sorted(images.cache_folder().glob("*.uf2")):
        named, board = _NAME.search(path.name), board_named_by(path)
        if named and board is not None and board.chip is boards.RP2040 and board.led is not None:
            found.append(Cached(path, board, _whole(named[1])))
    return sorted(found, key=lambda one: (one.path != images.PREFERRED.path, one.label))


def _whole(version: str) -> str:
    """Return a version as MicroPython says it: with three numbers."""
    number, dash, more = version.partition("-")
    return ".".join((number + ".0").split(".")[:3]) + dash + more


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that wants the image with the preferred one, or with every one."""
    if "board_image" not in metafunc.fixturenames:
        return
    found, module = cached_images(), metafunc.module.__name__.rpartition(".")[2]
    if not any(metafunc.definition.iter_markers("every_image")) and module not in EVERY_IMAGE:
        found = found[:1]
    elif module not in EVERY_SIZE:
        found = [one for one in found if one.board.filesystem_start == boards.PICO.filesystem_start]
    parameters: list[Cached | None] = [*found] or [None]
    labels = [one.label if one else "no image" for one in parameters]
    metafunc.parametrize("board_image", parameters, ids=labels, indirect=True, scope="session")


def absent(error: NotReady | images.ImageMissing) -> str:
    """Return the reason of a skip for what is missing."""
    words = f"{error}: {getattr(error, 'next_step', '')}".rstrip(": ")
    return f"not installed: micropython-image ({words})" if isinstance(error, images.ImageMissing) else words


@pytest.fixture(scope="session")
def board_image(request: pytest.FixtureRequest) -> Path:
    """An image in the cache, a pinned one checked; skips with what to do about it."""
    cached = cast(Cached | None, request.param)
    try:
        emulator()
        if cached is None or cached.path == images.PREFERRED.path:
            return images.find()
    except (NotReady, images.ImageMissing) as error:
        pytest.skip(absent(error))
    return cached.path


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
