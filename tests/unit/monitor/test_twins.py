"""Two boards with one id under one monitor: each has its own journal in the store, and people are told."""

from __future__ import annotations

import pytest

from heartwire.monitor import twins
from heartwire.monitor.collect import Collector
from heartwire.monitor.log import Log
from heartwire.monitor.query import Reader
from heartwire.monitor.settings import BoardSettings, MonitorSettings
from heartwire.monitor.store import Store
from heartwire.monitor.twins import Claims
from heartwire_protocol import events
from tests.fakes.board import BOARD_ID, FakeBoard
from tests.unit.monitor.helpers import FakeSource, World

ID = BOARD_ID.hex().upper()


class Pair:
    """Two collectors of one monitor, by hand; both boards say that they are the same one."""

    def __init__(self, store: Store) -> None:
        self.world = world = World(store, FakeBoard(), ())
        self.settings = MonitorSettings(board=(BoardSettings(name="rack-1", port="fake"),), channel=())
        self.claims = Claims()
        self.boards = [world.board, FakeBoard()]
        for count, board in enumerate(self.boards):
            for _ in range(3 + count):
                board.log(events.BOOT, a=count)
        self.sources = [FakeSource(board) for board in self.boards]
        self.collectors = self.made()

    def made(self) -> list[Collector]:
        """Return the collectors as a monitor that starts makes them."""
        return [
            Collector(
                f"rack-{at + 1}", source, self.world.archive, self.settings, Log(self.world.stream),
                clock=self.world.clock, claims=self.claims, port=f"/dev/ttyACM{at}",
            )
            for at, source in enumerate(self.sources)
        ]  # fmt: skip

    def step(self, *order: int) -> None:
        for at in order or (0, 1):
            self.world.clock.now_s += 20
            self.collectors[at].step()

    @property
    def reader(self) -> Reader:
        return Reader(self.world.store)

    def kinds(self) -> list[str]:
        return [row["kind"] for row in self.reader.problems()]


@pytest.fixture
def pair(store: Store) -> Pair:
    return Pair(store)


def test_each_has_its_own_journal_and_both_are_named(pair: Pair) -> None:
    pair.step()
    rows = {row.name: row for row in pair.reader.boards()}
    assert rows["rack-1"].board_id == ID
    assert rows["rack-2"].board_id == twins.stand_in(ID, "rack-2") != ID
    assert (rows["rack-1"].cursor, rows["rack-2"].cursor) == (3, 4)
    assert pair.kinds() == ["same_id"]
    said = [row["words"] for row in pair.reader.observations()]
    assert f"rack-2 at /dev/ttyACM1 and rack-1 at /dev/ttyACM0 all say that they are board {ID}" in said
    pair.step(0, 1, 0, 1)
    assert len(pair.reader.observations()) == 1, "told once"
    assert "altered" not in pair.kinds() and "restarted" not in pair.kinds()


def test_who_comes_back_first_does_not_get_the_other_ones_journal(pair: Pair) -> None:
    pair.step()
    for collector in pair.collectors:
        collector.close()
    pair.claims = Claims()
    pair.collectors = pair.made()
    pair.boards[0].log(events.BOOT)
    pair.step(1, 0)
    rows = {row.name: (row.board_id, row.cursor) for row in pair.reader.boards()}
    assert rows == {"rack-1": (ID, 4), "rack-2": (twins.stand_in(ID, "rack-2"), 4)}


def test_it_is_over_when_the_other_one_is_gone(pair: Pair) -> None:
    pair.step()
    pair.sources[0].down = True
    pair.step(0, 1)
    assert pair.kinds() == []
    pair.sources[0].down = False
    pair.step(0, 1)
    assert pair.kinds() == ["same_id"]


def test_an_id_of_its_own_ends_it(pair: Pair) -> None:
    pair.step()
    pair.sources[0].board_id = "AA00000000000001"
    pair.sources[0].down = True
    pair.step(0)
    pair.sources[0].down = False
    pair.step(0, 1)
    assert pair.kinds() == []
    assert {row.board_id for row in pair.reader.boards()} >= {"AA00000000000001"}


def test_a_line_of_the_same_board_is_no_twin(pair: Pair) -> None:
    pair.collectors[1] = Collector(
        "line", pair.sources[1], pair.world.archive, pair.settings, Log(pair.world.stream),
        clock=pair.world.clock, claims=pair.claims, port="",
    )  # fmt: skip
    pair.sources[1].board = pair.boards[0]
    pair.step()
    assert pair.kinds() == [] and len(pair.reader.boards()) == 1
