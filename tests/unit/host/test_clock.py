"""A board's clock that was set wrong, and local times that do not exist."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from heartwire import hostclock, journal
from heartwire.answers import Status
from heartwire.cli.operate import seconds_until
from heartwire.dating import Dating, dated
from heartwire.errors import UsageProblem
from heartwire.journal import Entry
from heartwire_protocol import events
from tests.fakes.bench import Bench

NOW = datetime(2030, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_time_in_the_spring_gap_is_refused(berlin: None) -> None:
    # The clocks of 2030-03-31 jump from 02:00 to 03:00.
    with pytest.raises(UsageProblem, match="no such time here"):
        seconds_until("2030-03-31T02:30")


def entries(bench: Bench) -> list[Entry]:
    return [journal.decode(raw) for raw in bench.raw_journal()]


def wrong_clock() -> Bench:
    """A board that was told a time two years off, and then the right one."""
    bench = Bench()
    bench.settle()
    assert bench.ask(op="time", day=21000, ms=0) == {"ok": 1}
    bench.nodes[1].crash()
    bench.run(15000)
    assert bench.ask(op="time", day=21974, ms=43200000) == {"ok": 1}
    bench.run(3000)
    return bench


def test_a_correction_is_journaled() -> None:
    rows = [one for one in entries(wrong_clock()) if one.event == "time_set"]
    assert [one.a for one in rows] == [0, 1]


def test_small_corrections_are_not() -> None:
    bench = Bench()
    bench.settle()
    for second in (0, 1):
        assert bench.ask(op="time", day=21974, ms=43200000 + 1000 * second) == {"ok": 1}
    bench.run(3000)
    assert sum(row["event"] == events.TIME_SET for row in bench.journal()) == 1


def test_records_of_a_wrong_clock_are_dated_by_uptime() -> None:
    bench = wrong_clock()
    rows = entries(bench)
    booted = NOW - timedelta(milliseconds=bench.ms)
    found = list(dated(rows, Dating(rows[-1].boot, booted)))
    assert all(one.wall is not None and booted <= one.wall <= NOW + timedelta(minutes=1) for one in found)
    times = [one.wall for one in found if one.wall is not None]
    assert times == sorted(times)


def test_a_schedule_stays_as_far_away_when_the_clock_is_corrected() -> None:
    bench = Bench()
    bench.settle()
    assert bench.ask(op="time", day=21000, ms=0) == {"ok": 1}
    assert bench.ask(op="schedule", node="b", seconds=60) == {"ok": 1}
    assert bench.ask(op="time", day=21974, ms=43200000) == {"ok": 1}
    left_s = bench.ask(op="status")["schedule_s"]
    assert 55 <= left_s <= 60
    bench.run(70000)
    assert bench.board.state.active == 1
    assert not bench.has(events.SCHEDULE_ENDED)


@pytest.mark.parametrize(
    ("off_s", "kept", "expected"), [(1, True, False), (60, True, True), (60, False, False), (-60, True, True)]
)
def test_only_a_clock_that_is_kept_corrects_a_board(
    off_s: int, kept: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostclock, "is_kept", lambda: kept)
    told = NOW + timedelta(seconds=off_s)
    since = told - datetime(1970, 1, 1, tzinfo=UTC)
    status = replace(Status(), wall=[since.days, since.seconds * 1000])
    assert hostclock.is_off(status, NOW) is expected


def test_a_board_without_time_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostclock, "is_kept", lambda: False)
    assert hostclock.is_off(Status(), NOW)
