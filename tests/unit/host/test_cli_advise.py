"""`heartwire advise` on a board: what it prints, and that it changes nothing."""

from __future__ import annotations

import io
import json
import re

import pytest

from heartwire.cli.advise import JSON_DOC
from heartwire_protocol import codes, events
from tests.fakes.board import FakeBoard
from tests.unit.host.scenes import Run

DAY_MS = 86_400_000


def lived(board: FakeBoard, days: int = 30) -> None:
    """Give the board a history: both nodes heard, two silences of a, one start of b, good ever since."""
    for at_ms, event, node, a, b in (
        (0, events.BOOT, codes.NO_NODE, 0, 0),
        (1000, events.FIRST_HEARD, codes.NODE_A, 0, 0),
        (1000, events.FIRST_HEARD, codes.NODE_B, 0, 0),
        (50_000, events.BOOT_TIME, codes.NODE_B, 200_000, 200),
        (DAY_MS - 9000, events.LATE, codes.NODE_A, 3000, 0),
        (DAY_MS - 8000, events.GOOD_AGAIN, codes.NODE_A, 4000, 0),
        (DAY_MS - 5000, events.LATE, codes.NODE_A, 3000, 0),
        (DAY_MS - 1000, events.GOOD_AGAIN, codes.NODE_A, 7000, 0),
    ):
        board.log(event, node, a=a, b=b, uptime_ms=at_ms)
    board.status["uptime_s"] = days * DAY_MS // 1000


def test_a_month_of_a_board(board: FakeBoard, run: Run) -> None:
    lived(board)
    result = run("advise")
    assert (result.code, result.err) == (0, "")
    assert "59d 23h of watched nodes, 8 records" in result.out
    assert "2 silences of healthy nodes of 3000 ms and more, the longest 7000 ms" in result.out
    rows = {line.split("  ")[0]: line.split() for line in result.out.splitlines()}
    assert rows["board.dead_ms"][1:3] == ["10000", "10500"]
    assert rows["node.b.boot_grace_ms"][1:3] == ["300000", "400000"]
    assert "dead_ms = 10500" in result.out
    assert "Corosync, Pacemaker: token 3000 ms, then consensus 3600 ms" in result.out
    assert {body["op"] for body in board.asked} <= {"status", "node", "drops", "log", "settings"}


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_no_number_is_cut_off(
    board: FakeBoard, run: Run, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from heartwire.cli import output

    lived(board)
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, no_color=True, highlight=False)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setattr(output, "terminal", lambda: console)
    assert run("advise").code == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert re.search(r"board.dead_ms +10000 +10500", text)
    assert re.search(r"node.b.boot_grace_ms +300000 +400000", text)
    assert re.search(r"what is proposed +10500 +0 +\d", text)
    assert all(len(row) <= width for row in text.splitlines())


def test_json_has_the_documented_keys_and_nothing_that_is_no_number(board: FakeBoard, run: Run) -> None:
    lived(board)
    found = json.loads(run("advise", "--json").out)
    assert set(found) == {name for row in JSON_DOC for name in row[0].split(", ")}
    assert found["shown"] == "no"
    odds = {row["name"]: row for row in found["odds"]}
    assert odds["what runs now"]["dead_ms"] == 10_000
    assert odds["sbd: watchdog timeout"]["seen"] == 1
    assert odds["Corosync, Pacemaker: token 3000 ms, then consensus 3600 ms"]["seen"] == 1
    assert odds["Linux-HA heartbeat: deadtime"]["seen"] == 0
    # Nothing seen so long in 60 days of a node: 3.0 of them, for two nodes and a year.
    assert round(odds["Linux-HA heartbeat: deadtime"]["per_year"], 1) == round(3.0 / 60 * 365.25 * 2, 1)
    assert all(row["tail_per_year"] is None for row in odds.values())


def test_too_little_is_an_error_of_its_own(board: FakeBoard, run: Run) -> None:
    lived(board, days=2)
    result = run("advise")
    assert result.code == 24
    assert "of watched nodes, 7d are wanted" in result.err
    assert run("advise", "--least", "3d").code == 0
    assert run("advise", "--least", "soon").code == 2


def test_a_board_that_is_known_to_have_started_slowly_is_believed(board: FakeBoard, run: Run) -> None:
    lived(board)
    board.node_bodies["a"]["slowest_boot_s"] = 290
    rows = {row["path"]: row for row in json.loads(run("advise", "--json").out)["settings"]}
    assert rows["node.a.boot_grace_ms"]["proposed"] == 580_000
