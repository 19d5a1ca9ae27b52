"""What `heartwire log` prints and which records it asks for."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from heartwire.cli import log_view
from heartwire_protocol import events
from tests import golden
from tests.fakes.board import FakeBoard
from tests.unit.host.scenes import Run, failover, many, sequences


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
