"""An answer to a heartbeat follows the policy's judgement of it, whatever else the loop did just before."""

from __future__ import annotations

import pytest

from heartwire_protocol import codes
from tests.fakes.bench import Bench


@pytest.mark.parametrize("apart_ms", range(0, 48, 3))
def test_a_new_agent_is_never_given_the_lease_of_the_one_before(apart_ms: int) -> None:
    """The first good heartbeat after a death changes no verdict, so nothing hurries the policy to look at it."""
    bench = Bench()
    bench.settle()
    bench.arm(codes.MODE_APPROVE)
    bench.run(15000)
    active, other = bench.nodes[0], bench.nodes[1]
    assert active.running
    active.crash()
    bench.run(12000)
    active.grants = []
    active.boot()
    active.beat_from(int(other.next_beat_ms) + 300 + apart_ms)
    bench.run(2800)
    assert [(one["answers"], one["lease_ms"]) for one in active.grants[:2]] == [(1, 0), (2, 0)]


def test_a_heartbeat_that_comes_in_a_long_pass_counts_from_when_it_came() -> None:
    """A collection of garbage makes a pass of 35 ms; its frame is taken at the end of it."""
    bench = Bench()
    bench.settle()
    bench.arm()
    bench.run(5000)
    node, senses = bench.nodes[0], bench.board.senses
    node.mute = True
    bench.run(300)
    advance = senses.advance

    def slow(elapsed_ms: int) -> None:
        senses.advance = advance  # type: ignore[method-assign]
        bench.hardware.ticks.now += 35
        bench.board.lines.behind = True
        bench.hardware.lines[0].arrive(node.heartbeat())
        advance(elapsed_ms)

    senses.advance = slow  # type: ignore[method-assign]
    bench.run_until(lambda: senses.advance == advance)
    passed_ms = bench.run_until(lambda: bench.board.livenesses[0].verdict == codes.VERDICT_DEAD)
    assert passed_ms >= bench.board.config.current.board.dead_ms - 1
