"""Each row of the table of alarms: it alone opens the contact and lights the LED, and its end closes them."""

from __future__ import annotations

import pytest

from heartwire_firmware import lights, policy_state
from heartwire_protocol import alarms, codes, reasons
from tests.fakes.bench import Bench

# The least change of a well board that makes each row true, and the LED that shows it.
STATES = {
    "safe_mode": ("state.safe_mode = 1", "safe mode"),
    "two_running": ("state.two_running = 1", "degraded"),
    "nobody_active": ("state.active = codes.NO_NODE", "degraded"),
    "store_empty": ("state.store_empty = 1", "degraded"),
    "all_silent": ("state.all_silent = 1", "degraded"),
    "fence_failed": ("state.phase = policy_state.FAILED", "acting"),
    "approval": ("state.phase = policy_state.APPROVAL", "approval"),
    "held": ("state.held = reasons.POWERED", "degraded"),
    "storage_bad": ("facts.storage_bad = True", "degraded"),
    "transfer": ("facts.transfer_fault = True", "degraded"),
    "service_failed": ("state.ill_told = 1", "degraded"),
    "exposed": ("state.exposed = 1", "degraded"),
    "locked_out": ("state.locked[1] = 1", "locked out"),
    "missing": ("facts.verdict[1] = codes.VERDICT_DEAD", "degraded"),
    "half_line": ("facts.half_line[1] = True", "degraded"),
    "disagree": ("state.disagree[1] = 1", "degraded"),
    "feed_lost": ("state.feed_lost[1] = 1", "degraded"),
    "relay_suspect": ("state.suspect[1] = 1", "degraded"),
    "epoch_claim": ("state.claimed[1] = 1", "degraded"),
}


def test_every_row_is_tried() -> None:
    assert list(STATES) == [row[1] for row in alarms.ALARMS]


@pytest.mark.parametrize("name", STATES)
def test_a_row_alone_is_seen_and_named(name: str) -> None:
    change, pattern = STATES[name]
    bench = Bench()
    bench.settle()
    bench.run(3000)
    state, facts = bench.board.state, bench.board.facts
    assert lights.alarm_bits(state, facts) == 0
    assert lights.PATTERNS[lights.pattern_of(state, facts)][0] == "armed"
    state.keep()
    exec(change, {"state": state, "facts": facts, "codes": codes, "reasons": reasons, "policy_state": policy_state})
    assert name in alarms.names_of(lights.alarm_bits(state, facts))
    assert lights.is_alarm(state, facts)
    assert lights.PATTERNS[lights.pattern_of(state, facts)][0] == pattern
    shown = lights.Lights(bench.hardware.pins, state, facts)
    shown.step(10)
    assert not bench.hardware.pins.levels["GUARDING"]
    state.take_back()
    bench.board.filler.note_all()
    bench.run(2000)
    assert lights.alarm_bits(state, facts) == 0
    assert bench.hardware.pins.levels["GUARDING"]


def test_status_names_what_is_wrong() -> None:
    bench = Bench()
    bench.settle()
    bench.nodes[1].crash()
    bench.run(12000)
    status = bench.ask(op="status")
    assert (status["alarm"], alarms.names_of(status["alarms"])) == (1, ["missing"])
