"""What `heartwire log` prints and which records it asks for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heartwire.cli import log_view
from heartwire_protocol import events, reasons
from tests import golden
from tests.fakes.board import FakeBoard

Run = Callable[..., Any]


def failover(board: FakeBoard) -> None:
    """Fill the journal with a whole failover."""
    board.log(events.BOOT, reason=reasons.POWER_ON, wall_day=0, wall_ms=0)
    board.log(events.FIRST_HEARD, node=0, a=1200)
    board.log(events.ADOPTED, node=0, a=7)
    board.log(events.LATE, node=0, a=3000)
    board.log(events.FENCE_PREPARED, node=0, reason=reasons.DEAD)
    board.log(events.EVIDENCE, node=0, a=10002, b=1 | 33 << 3 | 2 << 10 | 3 << 14)
    board.log(events.DEAD, node=0, a=10001)
    board.log(events.FENCE_FIRED, node=0, reason=reasons.DEAD, a=1, b=10012)
    board.log(events.OFF_PROVEN, node=0, reason=reasons.FENCE_PROVEN, a=1405)
    board.log(events.GRANTED, node=1, reason=reasons.FENCE_PROVEN, a=8, b=11420)
    board.log(events.ROLE_CHANGED, node=0, reason=reasons.FENCE_FIRED, a=3, b=2)


def trouble(board: FakeBoard) -> None:
    """Make everything on the status screen light up."""
    board.status.update(
        mode="approve", phase="approval", target="a", successor="b", held="needs_approval", bench=1, active=None,
        approval={"request": 4, "left_s": 500}, alarm=1, lost=3, key=1, maintenance_s=1800, wall=None, trial_s=30,
    )  # fmt: skip
    board.script["time"] = {"error": "not_allowed"}
    board.node_bodies["a"].update(
        verdict="dead", age_ms=83211, lease_ms=0, half_line=1, altered=1, drops={"crc": 12, "wrong_answer": 2}
    )
    board.node_bodies["b"].update(
        name="a-server-with-a-long-name", state="degraded", flags=43, role="quarantined", actions=2, power="unknown",
        relay=1, fence="firing", grace_s=200,
    )  # fmt: skip
    board.node_bodies["spare"].update(enabled=1, verdict="unheard", age_ms=None, state="", locked=1, actions=3)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without any extra."""
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: there(name) if name.startswith("heartwire") else None)


def follow(run: Run, steps: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch, *options: str) -> Any:
    """Run `log --follow`; at each pause take the next step, then press Ctrl-C."""
    import time

    left = iter(steps)

    def sleep(_: float) -> None:
        step = next(left, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(time, "sleep", sleep)
    return run("log", "--follow", *options)


def many(board: FakeBoard, count: int) -> None:
    for number in range(count):
        board.log(events.LATE, node=number % 2, a=number)


def sequences(text: str) -> list[int]:
    return [json.loads(line)["sequence"] for line in text.splitlines()]


def test_log_in_a_pipe(board: FakeBoard, run: Run) -> None:
    failover(board)
    result = run("log")
    assert (result.code, result.err) == (0, "")
    golden.check("host/log.txt", result.out)


@pytest.mark.parametrize("width", [80, 120])
def test_log_on_a_terminal(board: FakeBoard, width: int) -> None:
    from rich.console import Console

    from heartwire import journal
    from heartwire.chain import Finding

    failover(board)
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system="standard", highlight=False)
    writer = log_view.TerminalWriter(console)
    writer.names = {"a": "a (alpha)", "b": "b (beta)"}
    for raw in board.records:
        writer.entry(journal.decode(raw))
    writer.finding(Finding("lost", 12, 13, "records 12 to 13 (2) are missing"))
    golden.check(f"host/log_{width}.ansi", stream.getvalue())


def test_log_as_csv_and_json_say_the_same(board: FakeBoard, run: Run) -> None:
    failover(board)
    rows = list(csv.DictReader(io.StringIO(run("log", "--csv").out)))
    objects = [json.loads(line) for line in run("log", "--json").out.splitlines()]
    assert len(rows) == len(objects) == 11
    for row, entry in zip(rows, objects, strict=True):
        assert row == {name: "" if entry[name] is None else str(entry[name]) for name in row}


def test_log_saved_and_read_again(board: FakeBoard, run: Run, tmp_path: Path) -> None:
    failover(board)
    file = tmp_path / "journal.jsonl"
    file.write_text(run("log", "--since", "0", "--json").out)
    live = run("log").out.replace("a (alpha)", "a").replace("b (beta)", "b")
    assert run("log", "--file", str(file)).out == live
    assert len(run("log", "--file", str(file), "--node", "b", "--limit", "1").out.splitlines()) == 1
    assert run("log", "--file", str(file), "--follow").code == 2


def test_log_shows_the_newest_fifty(board: FakeBoard, run: Run) -> None:
    many(board, 120)
    assert sequences(run("log", "--json").out) == list(range(71, 121))
    assert sequences(run("log", "--json", "--limit", "3").out) == [118, 119, 120]
    assert sequences(run("log", "--json", "--limit", "0").out) == list(range(1, 121))
    assert sequences(run("log", "--json", "--since", "100").out) == list(range(100, 121))
    assert sequences(run("log", "--json", "--limit", "3", "--node", "a").out) == [115, 117, 119]


@pytest.mark.parametrize(
    ("since", "first"),
    [("2026-12-31T12:01:40Z", 100), ("2026-12-31T12:01:40.001Z", 101), ("2020-01-01", 1), ("2030-01-01", None)],
)
def test_log_since_a_time(board: FakeBoard, run: Run, since: str, first: int | None) -> None:
    many(board, 120)
    found = sequences(run("log", "--json", "--since", since).out)
    assert found == (list(range(first, 121)) if first else [])
    asked = [body for body in board.asked if body["op"] == "log" and body["count"] == 1]
    assert len(asked) < 10


def test_log_since_a_span_uses_uptime_where_there_is_no_wall_time(board: FakeBoard, run: Run) -> None:
    for _ in range(40):
        board.log(events.LATE, wall_day=0, wall_ms=0)
    board.status["uptime_s"] = 100  # the record of second 40 is 60 seconds old
    board.status["wall"] = None
    assert sequences(run("log", "--json", "--since", "70.5s").out) == list(range(30, 41))


def test_log_of_an_empty_journal(run: Run) -> None:
    result = run("log")
    assert (result.code, result.out, result.err) == (0, "", "-- no such record\n")


def test_log_with_a_gap_is_loud(board: FakeBoard, run: Run) -> None:
    failover(board)
    del board.records[4:6]
    result = run("log")
    assert result.code == 14
    assert "JOURNAL DAMAGED          alarm    records 5 to 6 (2) are missing" in result.out
    assert "journal is not whole" in result.err


def test_log_with_rotated_records_says_so_and_is_fine(board: FakeBoard, run: Run) -> None:
    failover(board)
    del board.records[:3]
    board.oldest = (4, 4)
    result = run("log", "--limit", "0")
    assert result.code == 0
    assert "3 older records were rotated out" in result.err


def test_log_with_an_altered_record_in_csv_tells_it_on_stderr(board: FakeBoard, run: Run) -> None:
    failover(board)
    raw = board.records[7]
    board.records[7] = raw[:30] + b"\xff" + raw[31:]
    result = run("log", "--csv")
    assert result.code == 14
    assert "record 8 is damaged" in result.err
    assert "damaged" not in result.out


def test_log_of_a_store_without_the_monitor_names_the_extra(run: Run, bare: None) -> None:
    result = run("log", "--store", "monitor.db")
    assert result.code == 2
    assert "--store needs sqlalchemy" in result.err and "[monitor]" in result.err
