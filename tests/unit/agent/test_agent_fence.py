"""A fence asked over the node's own line is answered, also by a board that has just started, and fires once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heartwire_protocol import events
from tests.unit.agent.agent_bench import AgentBench

FENCE = {"do": "fence", "target": "a", "seconds": 20, "tool": 2}


def asked(world: AgentBench) -> dict[str, Any]:
    return world.ask(world.agent.handle, dict(FENCE), 30000)


def fired(world: AgentBench) -> int:
    return sum(1 for row in world.bench.happened if row[1] == events.FENCE_FIRED)


@pytest.mark.parametrize("since_ms", [1, 300, 700, 1010, 1500, 2100])
def test_a_board_that_has_just_started_answers(tmp_path: Path, since_ms: int) -> None:
    world = AgentBench(tmp_path)
    world.bench.run(3000)
    world.bench.reset()
    world.bench.run(since_ms)
    begun_ms = world.bench.ms
    answer = asked(world)
    # Nobody counts as good yet, so nobody fit would remain; that is said, and not left open.
    assert (answer["result"], answer["reason"]) == ("refused", "last_powered")
    assert world.bench.ms - begun_ms < 4000
    world.bench.run(5000)
    assert asked(world)["result"] == "accepted"
    world.bench.run(5000)
    assert fired(world) == 1


def test_a_lost_reply_costs_no_second_fence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = AgentBench(tmp_path)
    world.bench.run(3000)
    send = world.bench.board.intakes[1].send
    lost: list[int] = []

    def lose(frame: Any) -> None:
        if len(frame) < 30 and not lost:  # a reply is shorter than a grant
            lost.append(len(frame))
            return
        send(frame)

    monkeypatch.setattr(world.bench.board.intakes[1], "send", lose)
    answer = asked(world)
    world.bench.run(8000)
    assert lost
    assert answer["result"] == "accepted"
    assert fired(world) == 1
