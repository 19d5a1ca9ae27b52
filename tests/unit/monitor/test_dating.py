"""Records that a board wrote before it knew the time are dated by uptime and a later clock, not by when they came."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heartwire import dating, journal
from heartwire.answers import NodeStatus, Status
from heartwire.monitor import collect
from heartwire.monitor import store as store_module
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.store import Store
from heartwire_protocol import events, reasons
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel
from tests.unit.monitor.test_reading import heartwire

DAY_MS = 86_400_000
BOOTED_MS = 20_818 * DAY_MS + 43_200_000  # when the board of these tests was switched on


class Wall:
    """The host's clock, by hand: ms since 1970."""

    def __init__(self) -> None:
        self.ms = BOOTED_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """Return the clock that the monitor reads."""
    clock = Wall()
    for module in (collect, store_module):
        monkeypatch.setattr(module, "now_ms", clock)
    return clock


def write(
    board: FakeBoard, uptime_ms: int, event: int = events.STATE_REPORTED, *, set_by: int = 0, **fields: int
) -> None:
    """Let the board write a record; `set_by` is the wall time at uptime 0 once a host has set the time."""
    day, ms = divmod(set_by + uptime_ms, DAY_MS) if set_by else (0, 0)
    board.log(event, uptime_ms=uptime_ms, wall_day=day, wall_ms=ms, **fields)


def times(store: Store) -> dict[int, int]:
    """Return how long after BOOTED_MS each stored record was written, in ms, by sequence."""
    return {found.entry.sequence: found.at_ms - BOOTED_MS for found in Reader(store).all(Filter())}


def without_status(world: World) -> World:
    """Let the board be reached by a node's line, which tells no status."""

    def nothing() -> tuple[Status, list[NodeStatus]] | None:
        return None

    world.source.status = nothing  # type: ignore[method-assign]
    return world


def test_a_board_that_was_up_before_the_monitor_came_is_dated_by_its_uptime(
    store: Store, board: FakeBoard, wall: Wall
) -> None:
    board.status.update(uptime_s=123, wall=None)
    for uptime_ms in (0, 1746, 3000):
        write(board, uptime_ms)
    wall.ms = BOOTED_MS + 123_000
    World(store, board, []).collect()
    assert times(store) == {1: 0, 2: 1746, 3: 3000}


def test_a_clock_that_is_set_later_dates_what_was_stored_before(store: Store, board: FakeBoard, wall: Wall) -> None:
    world = without_status(World(store, board, []))
    for uptime_ms in (0, 1746, 3000):
        write(board, uptime_ms)
    wall.ms = BOOTED_MS + 123_000
    world.collect()
    # Nothing says when the newest one was written but that it was there by now.
    assert times(store) == {1: 120_000, 2: 121_746, 3: 123_000}
    write(board, 124_000, events.TIME_SET, set_by=BOOTED_MS)
    wall.ms = BOOTED_MS + 125_000
    world.collect()
    assert times(store) == {1: 0, 2: 1746, 3: 3000, 4: 124_000}
    # A clock that is corrected later moves nothing any more.
    write(board, 126_000, events.TIME_SET, set_by=BOOTED_MS + 3_600_000)
    world.collect()
    assert times(store) == {1: 0, 2: 1746, 3: 3000, 4: 124_000, 5: 3_726_000}


def test_the_clock_dates_records_of_the_same_page_too(store: Store, board: FakeBoard, wall: Wall) -> None:
    for uptime_ms in (0, 1746):
        write(board, uptime_ms)
    write(board, 10_000, events.TIME_SET, set_by=BOOTED_MS)
    wall.ms = BOOTED_MS + 500_000
    without_status(World(store, board, [])).collect()
    assert times(store) == {1: 0, 2: 1746, 3: 10_000}


@pytest.mark.parametrize("count", [2, 40])
def test_a_boot_that_never_had_the_time_ended_before_the_next_began(
    count: int, store: Store, board: FakeBoard, wall: Wall
) -> None:
    for number in range(count):
        write(board, 1000 * number, boot=1)
    for number in range(count):
        write(board, 1000 * number, boot=2)
    write(board, 99_000, events.TIME_SET, set_by=BOOTED_MS, boot=2)
    wall.ms = BOOTED_MS + 999_000
    without_status(World(store, board, [])).collect()
    found = list(times(store).values())
    assert found == sorted(found)
    last = (count - 1) * 1000
    assert found[: 2 * count] == [at - last for at in range(0, 1000 * count, 1000)] + list(range(0, 1000 * count, 1000))


def test_what_was_read_as_it_happened_keeps_its_time(store: Store, board: FakeBoard, wall: Wall) -> None:
    """The next boot is hours later: its beginning is no better bound than when the record came."""
    world = without_status(World(store, board, []))
    write(board, 1000, boot=1)
    wall.ms = BOOTED_MS - 7_200_000
    world.collect()
    write(board, 50, boot=2)
    write(board, 60, events.TIME_SET, set_by=BOOTED_MS, boot=2)
    wall.ms = BOOTED_MS + 100
    world.collect()
    assert times(store) == {1: -7_200_000, 2: 50, 3: 60}


def test_a_message_tells_when_it_was_and_leaves_out_what_was_long_before(
    store: Store, board: FakeBoard, wall: Wall
) -> None:
    board.status.update(uptime_s=3600, wall=None)
    write(board, 0, events.BOOT, reason=reasons.POWER_ON)
    wall.ms = BOOTED_MS + 3_600_000
    world = World(store, board, [channel()])
    world.collect()
    write(board, 3_605_000, events.DEAD, node=0, a=10_000)
    wall.ms = BOOTED_MS + 3_700_000
    world.collect()
    (letter,) = world.post()
    assert "2026-12-31 13:00:05.000Z rack-1: a (alpha) is dead" in letter.body
    assert "the board started" not in letter.body


def test_log_and_export_show_the_time_that_was_found(store: Store, board: FakeBoard, wall: Wall) -> None:
    board.status.update(uptime_s=10, wall=None)
    write(board, 1746, events.BOOT)
    wall.ms = BOOTED_MS + 10_000
    World(store, board, []).collect()
    path = Path(str(store.engine.url.database))
    (line,) = heartwire("monitor", "export", "--store", path).output.splitlines()
    assert json.loads(line)["time"] == "2026-12-31T12:00:01.746Z"
    assert "boot 3 +" not in heartwire("log", "--store", path).output
    assert "1 records checked" in heartwire("monitor", "verify", "--store", path).output


def test_dates_of_nothing_and_of_wall_times_alone(board: FakeBoard) -> None:
    assert dating.dates([], {}, []) == []
    write(board, 5, set_by=BOOTED_MS)
    entry = journal.decode(board.records[0])
    assert entry.wall == datetime.fromtimestamp(BOOTED_MS / 1000 + 0.005, UTC)
    assert dating.dates([entry], {3: 0}, [0]) == [BOOTED_MS + 5]
