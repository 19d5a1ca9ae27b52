"""Each page of the manual done line by line on a virtual rack: real firmware, real agents, the real command line."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.virtual.product import ProductRack
from tests.manual import book
from tests.manual.walk import Stuck, Walk
from tests.virtual.conftest import Watcher

pytestmark = pytest.mark.virtual
# Has terminals of its own, and its own test.
ALONE = "first-evening.md"
PAGES = [
    page
    for page in book.pages()
    if page.name != ALONE and any(block.how == "run" for block in book.blocks(page))
]  # fmt: skip


class Room:
    """A reader at a virtual rack; a page may ask for a new one in between."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.rack: ProductRack | None = None
        self.walk: Walk | None = None

    def new(self, *, arm: bool = True) -> None:
        """Begin with a rack that runs, a active where it is armed."""
        self.close()
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        self.rack = ProductRack(folder / "rack")
        self.rack.start()
        if arm:
            self.rack.arm()
            self.rack.wait_active("a")
        else:
            Watcher(self.rack).wait(lambda board: board.node("b").verdict == "good")
        environment = {
            **os.environ, "NO_COLOR": "1", "HEARTWIRE_PORT": str(self.rack.board.usb_path),
            "HEARTWIRE_KEY_FILE": str(self.rack.host_keys), "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip
        self.walk = Walk(folder, environment)

    def do(self, block: book.Block) -> None:
        """Do one block, and before it what the page does to the rack."""
        for fault in block.faults:
            self._fault(fault.split())
        if self.walk is None:
            self.new()
        assert self.walk is not None
        self.walk.do(block)

    def _fault(self, words: list[str]) -> None:
        if words[0] in ("new", "observes"):
            self.new(arm=words[0] == "new")
            return
        if self.rack is None:
            self.new()
        rack, walk = self.rack, self.walk
        assert rack is not None and walk is not None
        actions: dict[str, Callable[..., object]] = {
            "crash": lambda node: rack.servers[node].crash(),
            "weld": lambda node: rack.supplies[node].weld(),
            "cut": lambda node: rack.cables[node].cut(),
            "mains-off": lambda node: rack.supplies[node].set_mains(False),
            "mode": self._mode,
            "wait": lambda phase: Watcher(rack).wait(lambda board: board.status().phase == phase),
            "key": lambda node, file: self._key(node, walk.folder / file),
        }
        actions[words[0]](*words[1:])

    def _mode(self, mode: str) -> None:
        assert self.rack is not None
        with self.rack.open() as board:
            board.set_mode(mode)

    def _key(self, node: str, file: Path) -> None:
        assert self.rack is not None
        shutil.copyfile(file, self.rack.key_file(node))
        pid = self.rack.servers[node].pid
        assert pid is not None
        os.kill(pid, signal.SIGHUP)

    def close(self) -> None:
        """Switch everything off."""
        if self.walk is not None:
            self.walk.__exit__()
        if self.rack is not None:
            self.rack.close()
        self.walk = self.rack = None


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_so(page: Path, room: Room) -> None:
    done = 0
    for block in book.blocks(page):
        if block.how in ("run", "file"):
            room.do(block)
            done += len(block.commands)
        else:
            assert not block.faults, f"{block.place}: a fault above a block that is not run"
    assert done


def test_a_page_that_is_not_so_is_seen(room: Room) -> None:
    block = book.Block("page", 1, "console", ["$ heartwire clear a --yes"], "run")
    with pytest.raises(Stuck, match="exit code 9"):
        room.do(block)
