"""Racks for the virtual tier: real firmware on the real MicroPython VM, real agents, in real time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.board import Board
from heartwire.chain import Finding
from heartwire.journal import Entry
from heartwire.virtual.errors import MissingExtra
from heartwire.virtual.product import ProductRack
from heartwire.virtual.vm import interpreter

try:
    interpreter()
except MissingExtra as error:
    pytest.skip(f"{error.words}: {error.next_step}", allow_module_level=True)


class Watcher:
    """Asks one board the same questions again and again."""

    def __init__(self, rack: ProductRack) -> None:
        self.rack = rack

    def events(self) -> list[Entry]:
        """Return the whole journal; a gap or damage fails the test."""
        with self.rack.open() as board:
            rows = list(board.events())
        findings = [row for row in rows if isinstance(row, Finding) and not row.harmless]
        assert not findings, findings
        return [row for row in rows if isinstance(row, Entry)]

    def names(self) -> list[tuple[str, str]]:
        """Return the journal as (event, node)."""
        return [(row.event, row.node) for row in self.events()]

    def wait(self, condition: Callable[[Board], bool], limit_s: float = 15.0) -> None:
        """Wait until `condition(board)`; fails with the journal after `limit_s`."""
        deadline = time.monotonic() + limit_s
        with self.rack.open() as board:
            while not condition(board):
                if time.monotonic() > deadline:
                    story = "\n".join(str(getattr(row, "sentence", lambda row=row: row)()) for row in board.events())
                    pytest.fail(f"not within {limit_s:g} s; the journal:\n{story}")
                time.sleep(0.05)

    def wait_event(self, event: str, node: str = "", limit_s: float = 15.0) -> Entry:
        """Wait until the journal holds `event`; return the newest such entry."""
        found: list[Entry] = []

        def look(board: Board) -> bool:
            rows = [row for row in board.events() if isinstance(row, Entry)]
            found[:] = [row for row in rows if row.event == event and row.node == node]
            return bool(found)

        self.wait(look, limit_s)
        return found[-1]


@pytest.fixture
def make_rack(tmp_path: Path) -> Iterator[Callable[..., ProductRack]]:
    """Return a maker of racks that run in auto mode with a active, unless `arm` is false."""
    racks: list[ProductRack] = []

    def make(arm: bool = True, **options: object) -> ProductRack:
        rack = ProductRack(tmp_path / f"rack{len(racks)}", **options)  # type: ignore[arg-type]
        racks.append(rack)
        rack.start()
        if arm:
            with rack.open() as board:
                board.set_mode("auto")
            rack.wait_active("a")
        return rack

    yield make
    for rack in racks:
        rack.close()


@pytest.fixture
def rack(make_rack: Callable[..., ProductRack]) -> ProductRack:
    """Return an armed rack with a active."""
    return make_rack()


@pytest.fixture
def watcher(rack: ProductRack) -> Watcher:
    """Return a watcher of the armed rack."""
    return Watcher(rack)
