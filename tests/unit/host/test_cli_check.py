"""`heartwire check`: the line and the exit code of a monitoring plugin, whatever happens."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from heartwire import plugin
from tests.fakes.board import FakeBoard
from tests.unit.host.conftest import Result
from tests.unit.host.scenes import Run, trouble

DATUM = r"'[a-z_]+'=-?\d+(\.\d+)?(s|B|c|%)?;(\d+(\.\d+)?)?;(\d+(\.\d+)?)?;0"
LINE = re.compile(rf"HEARTWIRE (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \| {DATUM}( {DATUM})*)?\n")


def stated(result: Result, state: int) -> str:
    """Return the words of a line that says `state`; there is nothing else."""
    assert LINE.fullmatch(result.out), result.out
    assert result.err == ""
    assert result.out.split()[1] == plugin.STATES[state]
    assert result.code == state
    return result.out


def test_a_rack_that_is_well(board: FakeBoard, run: Run) -> None:
    line = stated(run("check"), plugin.OK)
    assert line.startswith("HEARTWIRE OK - rack-1: a (alpha) is active, mode auto | ")
    assert "'age_a'=0.31s;;;0" in line
    assert "'active_a'=1;;;0" in line and "'active_b'=0;;;0" in line
    assert "'lease_a'=7.6s;;;0" in line


def test_a_rack_in_trouble(board: FakeBoard, run: Run) -> None:
    trouble(board)
    stated(run("check"), plugin.CRITICAL)


def test_what_is_critical_stands_before_what_is_not(board: FakeBoard, run: Run) -> None:
    board.status["mode"] = "observe"
    board.node_bodies["b"]["verdict"] = "dead"
    line = stated(run("check"), plugin.CRITICAL)
    assert line.index("b (beta) is dead") < line.index("observe mode: it decides")


@pytest.mark.parametrize(
    ("status", "node", "state"),
    [
        ({"mode": "observe"}, {}, plugin.WARNING),
        ({"safe": 1}, {}, plugin.CRITICAL),
        ({}, {"verdict": "late"}, plugin.WARNING),
        ({}, {"verdict": "dead"}, plugin.CRITICAL),
        ({}, {"verdict": "dead", "state": "planned_off"}, plugin.OK),
        ({}, {"fence": "failed"}, plugin.CRITICAL),
        ({}, {"altered": 1}, plugin.WARNING),
    ],
)
def test_what_needs_a_person_now_is_critical(
    board: FakeBoard, run: Run, status: dict[str, object], node: dict[str, object], state: int
) -> None:
    board.status.update(status)
    board.node_bodies["b"].update(node)
    stated(run("check"), state)


def test_limits_of_ones_own(board: FakeBoard, run: Run) -> None:
    line = stated(run("check", "-w", "0.4", "-c", "2"), plugin.WARNING)
    assert "b (beta) was last heard 0.42 s ago" in line and "a (alpha) was" not in line
    assert "'age_a'=0.31s;0.4;2;0" in line
    stated(run("check", "-w", "0.1", "-c", "0.4"), plugin.CRITICAL)
    stated(run("check", "-w", "1"), plugin.OK)


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--no-such-option"), ("check", "-w", "soon"), ("check", "extra"), ("check", "--board", "x"),
        ("check", "--store", "/nowhere/monitor.db"), ("check", "--key-file", "/nowhere/keys"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_unknown_even_if_the_command_line_is_wrong(run: Run, words: tuple[str, ...]) -> None:
    stated(run(*words), plugin.UNKNOWN)


def test_a_silent_board_is_unknown(board: FakeBoard, run: Run) -> None:
    board.silent = True
    stated(run("check"), plugin.UNKNOWN)


def test_a_board_that_is_too_slow_is_unknown_and_leaves_no_alarm_behind(
    board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(_op: str) -> None:
        signal.raise_signal(signal.SIGALRM)

    before = signal.getsignal(signal.SIGALRM)
    board.before_answer = hang
    assert "no answer within 10 s" in stated(run("check"), plugin.UNKNOWN)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_a_fault_of_ours_is_one_line_too(board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("two\nlines | and a bar")

    monkeypatch.setattr(plugin, "board_data", broken)
    assert "RuntimeError: two lines / and a bar" in stated(run("check"), plugin.UNKNOWN)


def test_help_is_no_state(run: Run) -> None:
    assert run("check", "--help").code == 0


@given(some.text(), some.lists(some.tuples(some.floats(), some.sampled_from(["s", "B", "c", ""]))))
def test_any_words_and_values_make_one_line(words: str, values: list[tuple[float, str]]) -> None:
    data = [plugin.Datum("x", value, unit) for value, unit in values]
    line = plugin.line(plugin.WARNING, words, data)
    assert len(line.splitlines()) == 1
    assert line.count("|") <= 1
    assert len(line.partition(" | ")[0]) <= plugin.WORDS_MAX + 30


def test_the_store_of_a_monitor(run: Run, tmp_path: Path) -> None:
    from heartwire.monitor.archive import Archive, Observed
    from heartwire.monitor.routing import Router
    from heartwire.monitor.store import Store

    path = tmp_path / "monitor.db"
    with Store.open(path) as store:
        archive = Archive(store, Router([]))
        known = archive.meet("E66118604B5C4A2A", "rack-1")
        line = stated(run("check", "--store", str(path)), plugin.CRITICAL)
        assert "no monitor is at work on this store" in line
        store.claim()
        assert "1 board, 0 open problems | 'boards'=1;;;0" in stated(run("check", "--store", str(path)), plugin.OK)
        assert run("monitor", "status", "--store", str(path), "--check").code == 0
        archive.observe(known, Observed("unreachable", "gone"))
        assert "rack-1: unreachable since 20" in stated(run("check", "--store", str(path)), plugin.WARNING)
        archive.observe(known, Observed("flash_failing", "worn"))
        line = stated(run("check", "--store", str(path), "--board", "rack-1"), plugin.CRITICAL)
        assert line.index("storage bad") < line.index("unreachable")
        stated(run("check", "--store", str(path), "--board", "rack-9"), plugin.UNKNOWN)
        result = run("monitor", "status", "--store", str(path), "--check", "--json")
        assert result.code == 15
        import json

        from heartwire.cli.monitor import STATUS_DOC

        found = json.loads(result.out)
        assert set(found) == {name for name, _ in STATUS_DOC}
        assert (found["running"], [row["alarm"] for row in found["problems"]]) == (True, [False, True])
    assert json.loads(run("monitor", "status", "--store", str(path), "--json").out)["running"] is False


def test_a_reader_of_the_store_never_keeps_a_monitor_from_it(tmp_path: Path) -> None:
    from heartwire.monitor.store import Store, is_claimed

    path = tmp_path / "monitor.db"
    with Store.open(path) as store:
        assert is_claimed(path) is False
        store.claim()
        assert is_claimed(path) is True
    assert is_claimed(path) is False
