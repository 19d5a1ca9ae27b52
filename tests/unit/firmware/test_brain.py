"""What was decided ahead of a deadline and is given back leaves no trace: state, verdicts, time and leases."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from heartwire_firmware.brain import DIES
from heartwire_protocol import codes
from tests.fakes.bench import Bench

LEASE_MS = 5000
LEAD_MS = 30


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.settle()
    made.run(3000)
    return made


def seen(bench: Bench) -> dict[str, Any]:
    """Return all that a decision changes."""
    board = bench.board
    return {
        **copy.deepcopy(board.state.__dict__),
        "leases": list(board.grants.left_ms),
        "since": board.brain.since_ms,
        "verdicts": [live.verdict for live in board.livenesses],
        "told": list(board.facts.verdict),
        "out": (list(board.out.records), list(board.out.actions), board.out.persist),
    }


def test_all_that_a_decision_changes_is_given_back(bench: Bench) -> None:
    board = bench.board
    brain = board.brain
    for node in bench.nodes:
        node.crash()
    bench.run_until(lambda: list(board.facts.verdict[:2]) == [codes.VERDICT_LATE] * 2)
    board.grants.left_ms[0] = LEASE_MS
    before = seen(bench)
    for live in board.livenesses[:2]:
        live.age_ms = board.config.current.board.dead_ms
    assert brain.judge(0) == DIES
    brain.since_ms = 70
    brain.keep()
    brain.step()
    assert board.facts.verdict[0] == codes.VERDICT_DEAD and board.out.records and board.grants.left_ms[0] < LEASE_MS
    brain.give_back()
    assert seen(bench) == {**before, "since": 70}
    assert brain.judge(0) == DIES, "the same death is decided again"


@pytest.mark.parametrize("frames", [1, 4])
def test_a_lease_grows_no_older_by_what_was_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    board = bench.board
    board.pace.lead_ms = LEAD_MS
    bench.nodes[0].crash()
    dead_ms = board.config.current.board.dead_ms
    bench.run_until(lambda: board.livenesses[0].age_ms >= dead_ms - 4 * LEAD_MS)
    left: list[int] = []

    def confirms(_out: object, _verdicts: object) -> bool:
        left.append(board.grants.left_ms[0])
        return len(left) > frames

    monkeypatch.setattr(board._last_look, "confirms", confirms)
    board.grants.left_ms[0] = LEASE_MS
    board.brain.since_ms = 0
    began_ms = bench.ms
    bench.run_until(lambda: len(left) > frames)
    # It was asked ahead, with its time set to the deadline.
    assert LEASE_MS - left[-1] <= bench.ms - began_ms + LEAD_MS
    assert board.facts.verdict[0] == codes.VERDICT_DEAD
