"""`heartwire plans` and `heartwire update` against a fake board."""

import json

import pytest

from tests.fakes.board import FakeBoard
from tests.unit.host.conftest import Run


def test_plans_tells_what_would_happen_and_changes_nothing(board: FakeBoard, run: Run) -> None:
    board.settings.nodes[0].enabled = board.settings.nodes[1].enabled = 1
    board.script["plans"] = {"schedule": "b", "schedule_s": 60, "long_lease_s": 0, "led": "armed", "transfer": None}
    result = run("plans")
    assert result.code == 0, result.err
    assert "a (alpha), active: after 10 s of silence its power is cut and once its power sense" in result.out
    assert "b (beta) takes over" in result.out
    assert "b (beta), standby: after 10 s of silence it is told" in result.out
    assert "Scheduled: a switchover to b in 1m" in result.out
    assert {body["op"] for body in board.asked} <= {"status", "node", "drops", "plans", "settings"}


def test_plans_as_json(board: FakeBoard, run: Run) -> None:
    board.node_bodies["b"]["state"] = "busy"
    found = json.loads(run("plans", "--json").out)
    first = found["nodes"][0]
    assert (first["node"], first["outcome"], first["successor"]) == ("a", "held", None)
    assert first["forbidden_by"] == ["no_successor"]


def test_update_enters_and_leaves(board: FakeBoard, run: Run) -> None:
    board.script["update"] = {"ok": 1}
    board.script["plans"] = {"schedule": None, "schedule_s": None, "long_lease_s": 600, "led": "", "transfer": None}
    result = run("update", "10m", "--yes")
    assert result.code == 0, result.err
    assert "in maintenance for 10m" in result.out
    assert "a (alpha) has a lease for 10m" in result.out
    assert [body for body in board.asked if body["op"] == "update"] == [{"op": "update", "seconds": 600}]
    result = run("update", "off")
    assert "the board guards again" in result.out
    assert "until then nobody else is granted" in result.out
    assert board.asked[-2] == {"op": "maintenance", "node": None, "seconds": 0}


@pytest.mark.parametrize("duration", ["0s", "soon"])
def test_update_needs_a_span(board: FakeBoard, run: Run, duration: str) -> None:
    assert run("update", duration, "--yes").code == 2
    assert not [body for body in board.asked if body["op"] == "update"]
