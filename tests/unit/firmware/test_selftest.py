"""The test of a power relay in virtual time: what it measures, what forbids it, and that it always lets go."""

from __future__ import annotations

from typing import Any

import pytest

from heartwire_firmware import fitness, guards, policy_requests, policy_state, starts
from heartwire_protocol import codes, events, messages, operations, reasons
from heartwire_protocol import settings as settings_table
from tests.fakes.bench import Bench


def make(settings: str = "", nodes: int = 2) -> Bench:
    bench = Bench(settings, nodes=nodes)
    assert bench.board.config.problem == reasons.NONE and bench.settings.text() == bench.board.config.current.text()
    bench.run(5000)
    return bench


@pytest.fixture
def bench() -> Bench:
    """A board in observe mode, both nodes beating, the key switch on."""
    made = make()
    made.hardware.pins.levels["KEY"] = 1
    made.run(50)
    return made


@pytest.fixture
def armed(bench: Bench) -> Bench:
    """The same in auto mode with a active."""
    bench.settle()
    bench.run(3000)
    assert bench.board.state.active == 0
    return bench


def maintain(bench: Bench, node: str | None = "b", seconds: int = 3600) -> None:
    assert bench.ask(op="maintenance", node=node, seconds=seconds) == {"ok": 1}


def begin(bench: Bench, node: str = "b", seconds: int = 5) -> None:
    answer = bench.ask(op="proof", node=node, seconds=seconds)
    assert answer.get("ok") == 1, answer
    bench.run_until(lambda: bool(level(bench, node)))


def level(bench: Bench, node: str) -> int:
    return bench.hardware.pins.levels[f"POWER_{node.upper()}"]


def finish(bench: Bench) -> dict[str, Any]:
    bench.run_until(lambda: bench.board.selftest.phase == 0)
    bench.run(3000)
    return bench.ask(op="tests")


def pulses(bench: Bench, signal: str = "POWER_B") -> list[int]:
    """Return for how long each pulse on `signal` was asserted, in ms."""
    edges = [edge for edge in bench.hardware.pins.edges if edge[1] == signal]
    return [off[0] - on[0] for on, off in zip(edges[::2], edges[1::2], strict=True)]


def refused(bench: Bench, node: str = "b", seconds: int = 5) -> str:
    answer = bench.ask(op="proof", node=node, seconds=seconds)
    assert "error" in answer, answer
    bench.run(12000)
    assert pulses(bench, f"POWER_{node.upper()}") == []
    return str(answer.get("reason", answer["error"]))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", reasons.NONE),
        ("state.safe_mode = 1", reasons.SAFE_MODE),
        ("state.phase = policy_state.DRAINING", reasons.OTHER_OPERATION),
        ("facts.fence[0] = 3", reasons.OTHER_OPERATION),
        ("state.long_ms = 1000", reasons.LONG_LEASE),
        ("state.active = 1", reasons.ALREADY_ACTIVE),
        ("state.holder = 1", reasons.ALREADY_ACTIVE),
        ("facts.flags[1] = messages.FLAG_RUNNING; facts.beats[1] = 9", reasons.ALREADY_ACTIVE),
        ("state.maintenance_ms[1] = 0", reasons.NOT_IN_MAINTENANCE),
        ("state.maintenance_ms[1] = settings.nodes[1].boot_grace_ms - 1", reasons.NOT_IN_MAINTENANCE),
        ("facts.verdict[0] = codes.VERDICT_LATE", reasons.ACTIVE_NOT_GOOD),
        ("state.active = codes.NO_NODE", reasons.ACTIVE_NOT_GOOD),
        ("settings.nodes[1].fence = 'reset'", reasons.NO_FENCE),
    ],
)
def test_each_guard_of_a_relay_test(change: str, expected: int) -> None:
    settings, state, facts = settings_table.Settings(), policy_state.State(), policy_state.Facts()
    state.mode, state.active, state.holder, state.maintenance_ms[1] = codes.MODE_AUTO, 0, 0, 10**6
    facts.enabled = [True, True, False]
    facts.verdict = [codes.VERDICT_GOOD] * 3
    names = {"settings": settings, "state": state, "facts": facts, "policy_state": policy_state, "codes": codes}
    exec(change, {**names, "messages": messages})
    assert guards.first_reason(guards.PROOF, settings, state, facts, 1) == expected


def test_passes_and_measures_both_ways(bench: Bench) -> None:
    begin(bench)
    assert bench.has(events.PROOF_BEGAN, 1), "durable before the contact moves"
    found = finish(bench)
    assert found["result"] == "passed" and found["node"] == "b"
    assert 200 <= found["off_ms"] <= 260, found
    assert 0 < found["on_ms"] <= 60, found
    assert pulses(bench) == [5000]
    assert bench.has(events.PROOF_PASSED, 1)
    row = next(row for row in bench.journal() if row["event"] == events.PROOF_PASSED)
    assert (row["a"], row["b"]) == (found["off_ms"], found["on_ms"])
    assert not bench.violations


def test_arm_toggles_while_the_relay_is_cut(bench: Bench) -> None:
    begin(bench)
    at = len(bench.hardware.pins.edges)
    bench.run(100)
    assert len([edge for edge in bench.hardware.pins.edges[at:] if edge[1] == "ARM"]) == 100
    finish(bench)
    assert bench.hardware.pins.levels["ARM"] == 0


def test_welded_relay_is_found(bench: Bench) -> None:
    bench.supplies[1].welded = True
    begin(bench)
    assert finish(bench)["result"] == "relay_idle"
    assert bench.has(events.PROOF_FAILED, 1)
    assert bench.nodes[1].alive


def test_dead_sense_is_told_from_a_dead_relay(bench: Bench) -> None:
    bench.supplies[1].sense_stuck = True
    begin(bench)
    assert finish(bench)["result"] == "sense_dead"


def test_without_heartbeats_nobody_can_tell(bench: Bench) -> None:
    bench.supplies[1].sense_stuck = True
    bench.cut.add(1)
    bench.run(12000)
    begin(bench)
    assert finish(bench)["result"] == "unclear"


def test_sense_that_does_not_come_back(bench: Bench) -> None:
    begin(bench)
    bench.run(1000)
    bench.supplies[1].mains = False
    assert finish(bench)["result"] == "no_return"


def test_off_later_than_a_fence_would_wait_for_is_no_pass() -> None:
    bench = make("board.off_timeout_ms=2500\nboard.off_stable_ms=500\n")
    bench.hardware.pins.levels["KEY"] = 1
    bench.supplies[1].off_delay_ms = 3000
    bench.run(50)
    begin(bench)
    assert finish(bench)["result"] == "slow"


def test_without_a_sense_the_relay_moves_and_nothing_is_claimed() -> None:
    bench = make("node.b.senses=0\nnode.b.off_proof=assumed\nnode.b.on_board_loss=stop\nnode.b.assumed_off_ms=70000\n")
    bench.hardware.pins.levels["KEY"] = 1
    bench.run(50)
    begin(bench)
    assert finish(bench)["result"] == "no_sense"


def test_already_off_proves_nothing(bench: Bench) -> None:
    bench.supplies[1].mains = False
    bench.run(2000)
    assert refused(bench) == "already_off"
    assert bench.has(events.REFUSED, 1, reasons.ALREADY_OFF)


def test_armed_and_in_maintenance_leads_to_no_fence(armed: Bench) -> None:
    maintain(armed)
    begin(armed)
    found = finish(armed)
    assert found["result"] == "passed"
    armed.run_until(lambda: armed.nodes[1].alive)
    armed.run(30000)
    assert not armed.has(events.FENCE_FIRED) and not armed.has(events.FENCE_PREPARED)
    assert not armed.has(events.DISAGREE)
    assert armed.board.state.active == 0 and armed.nodes[0].running and not armed.violations


def test_a_load_on_a_bypass_is_no_disagreement_and_no_boot(armed: Bench) -> None:
    maintain(armed)
    supply = armed.supplies[1]
    begin(armed)
    supply.hidden_feed = True  # the server goes on ...
    supply.sense_stuck = False  # ... and the sense sees the switched side
    armed.nodes[1].alive = True
    armed.run_until(lambda: not level(armed, "b"))
    supply.sense_stuck = None
    assert finish(armed)["result"] == "passed"
    assert not armed.has(events.DISAGREE) and armed.board.state.boot_ms[1] == 0


def test_refused_when_armed_without_maintenance(armed: Bench) -> None:
    assert refused(armed) == "not_in_maintenance"
    assert armed.has(events.REFUSED, 1, reasons.NOT_IN_MAINTENANCE)


def test_refused_when_maintenance_is_shorter_than_a_start(armed: Bench) -> None:
    grace_s = armed.settings.nodes[1].boot_grace_ms // 1000
    maintain(armed, "b", grace_s - 1)
    assert refused(armed) == "not_in_maintenance"


def test_the_active_node_is_refused_outside_observe(armed: Bench) -> None:
    maintain(armed, "a")
    assert refused(armed, "a") == "already_active"
    assert armed.nodes[0].running


def test_the_durable_holder_is_refused_even_while_nobody_is_active(armed: Bench) -> None:
    maintain(armed, "a")
    armed.board.state.active = codes.NO_NODE
    facts = armed.board.facts
    facts.flags[0] = 0
    reason = policy_requests.request(armed.board.policy, operations.PROOF, 0, 5)
    assert reason == reasons.ALREADY_ACTIVE


def test_the_active_node_may_be_tested_in_observe_mode(bench: Bench) -> None:
    begin(bench, "a")
    assert finish(bench)["result"] == "passed"
    bench.run(20000)
    assert not bench.has(events.WOULD_FENCE)


def test_refused_without_key_switch_and_without_configure_key(bench: Bench) -> None:
    bench.hardware.pins.levels["KEY"] = 0
    bench.run(50)
    assert refused(bench) == "not_armed"


@pytest.mark.parametrize("seconds", [0, 11, 3600])
def test_time_is_bounded(bench: Bench, seconds: int) -> None:
    assert refused(bench, seconds=seconds) == "bad_argument"


def test_the_host_may_die_in_the_middle(bench: Bench) -> None:
    begin(bench, seconds=10)
    bench.hardware.usb.stalled = True
    bench.run(30000)
    assert pulses(bench) == [10000]
    assert bench.has(events.PROOF_PASSED, 1)


def test_a_reset_in_the_middle_releases_the_relay(bench: Bench) -> None:
    begin(bench, seconds=10)
    bench.run(700)
    bench.scratch = bench.hardware.chip.scratches
    bench.reset()
    bench.run(5000)
    assert level(bench, "b") == 0 and pulses(bench) == []
    assert not bench.has(events.FENCE_RESUMED) and not bench.board.state.quarantined[1]
    bench.run_until(lambda: bench.nodes[1].alive)


def test_a_requested_restart_releases_the_relay_first(bench: Bench) -> None:
    begin(bench, seconds=10)
    bench.board.stop(starts.RESTART)
    assert level(bench, "b") == 0
    bench.run(3000)
    assert level(bench, "b") == 0 and bench.has(events.PROOF_ENDED, 1, reasons.REQUESTED_RESET)


def test_ended_by_request_at_once(bench: Bench) -> None:
    begin(bench, seconds=10)
    bench.run(1000)
    assert bench.ask(op="test_end") == {"ok": 1}
    assert level(bench, "b") == 0
    assert max(pulses(bench)) < 1200
    assert finish(bench)["result"] == "ended"
    assert bench.has(events.PROOF_ENDED, 1, reasons.CANCELLED)


def test_one_test_at_a_time(bench: Bench) -> None:
    begin(bench)
    assert bench.ask(op="proof", node="a", seconds=5)["reason"] == "other_operation"
    assert bench.ask(op="mode", mode="auto")["reason"] == "other_operation"
    assert bench.ask(op="maintenance", node="b", seconds=0)["reason"] == "other_operation"
    finish(bench)
    assert pulses(bench, "POWER_A") == []


def test_refused_while_a_fence_is_on(armed: Bench) -> None:
    bench = armed
    assert bench.ask(op="fence", node="b", by=3) == {"ok": 1}
    bench.run_until(lambda: bool(level(bench, "b")))
    maintain(bench, "a")
    bench.board.state.active = codes.NO_NODE
    assert bench.ask(op="proof", node="b", seconds=5)["reason"] == "other_operation"


def test_a_fence_ends_the_test_before_it_fires() -> None:
    bench = make("node.spare.key=" + "43" * 32 + "\n", nodes=3)
    bench.hardware.pins.levels["KEY"] = 1
    bench.settle()
    bench.run(3000)
    maintain(bench, "spare")
    begin(bench, "spare", 10)
    assert bench.ask(op="fence", node="b", by=3) == {"ok": 1}
    bench.run_until(lambda: bool(level(bench, "b")))
    assert level(bench, "spare") == 0
    assert (events.PROOF_ENDED, 2, reasons.OTHER_OPERATION) in [row[1:4] for row in bench.happened]


def test_no_decision_of_the_policy_leaves_two_relays_cut(bench: Bench) -> None:
    begin(bench)
    bench.board.out.act(policy_state.FENCE, 0)
    bench.board.hands.carry_out()
    assert (level(bench, "a"), level(bench, "b")) == (1, 0)


def test_the_test_ends_when_the_active_node_dies(armed: Bench) -> None:
    maintain(armed)
    begin(armed, seconds=10)
    armed.nodes[0].crash()
    armed.run(9000)
    assert level(armed, "b") == 0
    rows = [row for row in armed.happened if row[1] == events.PROOF_ENDED]
    assert [(row[2], row[3]) for row in rows] == [(1, reasons.ACTIVE_NOT_GOOD)]


def test_the_test_ends_when_maintenance_gets_too_short(armed: Bench) -> None:
    grace_s = armed.settings.nodes[1].boot_grace_ms // 1000
    maintain(armed, "b", grace_s + 3)
    begin(armed, seconds=10)
    finish(armed)
    assert max(pulses(armed)) < 4000
    assert armed.has(events.PROOF_ENDED, 1, reasons.NOT_IN_MAINTENANCE)


def test_a_node_under_test_takes_over_from_nobody(armed: Bench) -> None:
    maintain(armed, None)
    begin(armed)
    assert armed.ask(op="switchover", node="b", force=0)["reason"] == "other_operation"
    finish(armed)


def test_a_full_flash_moves_no_contact(bench: Bench) -> None:
    bench.files.full = True
    assert bench.ask(op="proof", node="b", seconds=5).get("ok") == 1
    bench.run(8000)
    assert pulses(bench) == [] and bench.board.selftest.phase == 0


def test_only_power_relays_are_tested() -> None:
    bench = make("node.b.fence=reset\nnode.b.front=reset\nnode.b.on_board_loss=stop\n")
    bench.hardware.pins.levels["KEY"] = 1
    bench.run(50)
    assert refused(bench) == "no_fence"
    answer = bench.ask(op="press", node="b")
    assert answer["ok"] == 1
    bench.run(answer["ms"] + 50)
    assert abs(pulses(bench, "FRONT_B")[0] - answer["ms"]) <= 1
    assert bench.ask(op="press", node="a")["reason"] == "no_fence"


def test_a_front_panel_is_not_pressed_when_armed() -> None:
    bench = make("node.b.front=reset\n")
    bench.hardware.pins.levels["KEY"] = 1
    bench.settle()
    assert bench.ask(op="press", node="b")["reason"] == "not_in_maintenance"
    assert pulses(bench, "FRONT_B") == []


def test_inputs_and_outputs_fit_one_answer(bench: Bench) -> None:
    levels = bench.ask(op="inputs")
    assert levels["inputs"]["SENSE_A1"] == 1 and levels["inputs"]["KEY"] == 1 and levels["inputs"]["BUTTON"] == 0
    assert len(levels["inputs"]) == 9 and levels["outputs"]["POWER_A"] == 0
    assert "ARM" not in levels["outputs"] and "LINE_A_RX" not in levels["inputs"]


def test_lamps_show_what_is_asked_and_then_the_truth(bench: Bench) -> None:
    levels = bench.hardware.pins.levels
    assert bench.ask(op="lamps", lit=7, seconds=2) == {"ok": 1}
    bench.run(5)
    assert (levels["LED_BOARD"], levels["LED_STATUS"], levels["GUARDING"]) == (1, 1, 1)
    bench.run(1900)
    assert levels["GUARDING"] == 1
    bench.run(200)
    assert levels["GUARDING"] == 0
    assert bench.ask(op="lamps", lit=7, seconds=31)["error"] == "bad_argument"


def test_lamps_do_not_lie_while_the_board_guards(armed: Bench) -> None:
    assert armed.ask(op="lamps", lit=0, seconds=30)["error"] == "refused"
    maintain(armed, None)
    assert armed.ask(op="lamps", lit=0, seconds=30) == {"ok": 1}
    armed.run(5)
    assert armed.hardware.pins.levels["GUARDING"] == 0
    maintain(armed, None, 0)
    armed.run(5)
    assert armed.hardware.pins.levels["GUARDING"] == 1


def test_transfer_relay_is_moved_in_observe_mode_only() -> None:
    bench = make("board.transfer=1\n")
    assert bench.ask(op="transfer", node="b") == {"ok": 1}
    bench.run(2000)
    assert bench.transfer_at == 1 and bench.has(events.TRANSFERRED)
    assert bench.board.selftest.transfer == codes.NO_NODE
    assert bench.ask(op="plans")["transfer"] == "b"
    bench.transfer_stuck = True
    assert bench.ask(op="transfer", node="a") == {"ok": 1}
    bench.run(4000)
    assert bench.has(events.TRANSFER_FAULT) and bench.hardware.pins.levels["TRANSFER_SET_A"] == 0
    bench.transfer_stuck = False
    bench.settle()
    assert bench.ask(op="transfer", node="b")["reason"] == "other_operation"


def test_a_coil_of_the_transfer_relay_is_never_left_on() -> None:
    bench = make("board.transfer=1\n")
    assert bench.ask(op="transfer", node="b") == {"ok": 1}
    bench.run_until(lambda: bool(bench.hardware.pins.levels["TRANSFER_SET_B"]))
    assert bench.ask(op="test_end") == {"ok": 1}
    bench.run(200)
    assert bench.hardware.pins.levels["TRANSFER_SET_B"] == 0


def test_what_a_person_saw_is_journaled(bench: Bench) -> None:
    assert bench.ask(op="test_note", node=None, check=2, outcome=0) == {"ok": 1}
    assert bench.ask(op="test_note", node="a", check=99, outcome=0)["error"] == "bad_argument"
    bench.run(3000)
    assert bench.has(events.TESTED, codes.NO_NODE)


def test_a_server_that_lost_its_power_unseen_gets_its_boot_grace(bench: Bench) -> None:
    bench.supplies[1].sense_stuck = True
    begin(bench)
    bench.run_until(lambda: bench.board.selftest.phase == 0)
    assert bench.board.state.grace_ms[1] > 0


def test_off_counts_only_from_when_it_stays_off(bench: Bench) -> None:
    begin(bench)
    bench.run(1000)
    bench.supplies[1].sense_stuck = True
    bench.run(1000)
    bench.supplies[1].sense_stuck = None
    assert finish(bench)["off_ms"] >= 2000


def test_the_last_bounds_are_kept_on_the_spot(bench: Bench) -> None:
    test = bench.board.selftest
    bench.board.relays.cut(0)
    assert test.begin(1, 5) == reasons.OTHER_OPERATION
    bench.board.relays.restore(0)
    assert test.begin(1, 99) == reasons.NONE and test.cut_ms == 10000


def test_no_write_that_can_wait_stops_the_loop_in_a_test(bench: Bench) -> None:
    begin(bench)
    bench.board.pace._waiting_ms = codes.COUNT_MAX
    assert not bench.board.pace.may_write(False) and bench.board.pace.may_write(True)


def test_a_node_under_test_is_not_fit(bench: Bench) -> None:
    board = bench.board
    board.filler.fill()
    board.facts.flags[1] = messages.FLAG_VERIFIED_STOPPED
    assert fitness.is_fit(board.config.current, board.state, board.facts, 1)
    board.facts.proof = 1
    assert not fitness.is_fit(board.config.current, board.state, board.facts, 1)


def test_a_feed_that_is_off_before_proves_nothing() -> None:
    bench = make("node.b.senses=2\n")
    bench.board.senses.full[1] = False
    bench.board.senses.power[1] = codes.POWER_ON
    assert bench.board.selftest.begin(1, 3) == reasons.SENSE_UNSEEN


def test_a_test_that_passes_clears_a_contact_that_was_suspected(bench: Bench) -> None:
    bench.board.state.suspect[1] = 1
    begin(bench, seconds=3)
    finish(bench)
    assert not bench.board.state.suspect[1]
