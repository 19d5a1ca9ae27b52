"""Mutants: each rule broken on purpose, and the test that must notice.

A row is (name, file, text to be replaced, text that replaces it, catcher). The text must stand in the file exactly
once. A catcher is `scenario NAME` or `walk CASE`. Run by test_mutation.py.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One rule broken."""

    name: str
    file: str
    old: str
    new: str
    catcher: str


def guard(name: str, returns: str, catcher: str, words: str) -> Mutant:
    """Return a mutant of a guard that never forbids: its last line is replaced."""
    return Mutant(f"no guard: {name}", "guards.py", returns, words, catcher)


MUTANTS = (
    Mutant(
        "fence in observe mode",
        "policy_requests.py",
        "if state.mode == codes.MODE_OBSERVE:\n        return reasons.OBSERVE_MODE\n    reason = guards",
        "reason = guards",
        "scenario observe_ships_so",
    ),
    Mutant(
        "fencer mode grants",
        "policy_fence.py",
        " or state.mode not in ARMED:\n            # A standby",
        ":\n            # A standby",
        "walk fencer",
    ),
    guard("safe mode", "return bool(state.safe_mode)", "scenario safe_mode", "return False"),
    guard(
        "maintenance",
        "return state.maintenance_ms[node] > 0 or state.maintenance_ms[NODE_COUNT] > 0",
        "scenario maintenance_node",
        "return False",
    ),
    guard(
        "maintenance of the board",
        "return state.maintenance_ms[node] > 0 or state.maintenance_ms[NODE_COUNT] > 0",
        "scenario maintenance_board",
        "return state.maintenance_ms[node] > 0",
    ),
    guard(
        "long lease",
        "return state.long_ms > 0 and node == state.long_node",
        "scenario update_holder_dies",
        "return False",
    ),
    guard("lock-out", "return bool(state.locked[node])", "scenario lock_out_over_restart", "return False"),
    guard(
        "heard since the start",
        "if facts.verdict[node] != codes.VERDICT_UNHEARD or facts.beats[node]:",
        "scenario maintenance_survives_restart",
        "if facts.verdict[node] != codes.VERDICT_UNHEARD:",
    ),
    guard("boot grace", "return state.grace_ms[node] > 0", "scenario boot_grace", "return False"),
    guard("half line", "return facts.sign_ms[node] < settings.board.late_ms", "walk auto", "return False"),
    guard(
        "line fault",
        "return facts.line_error_ms[node] < settings.board.late_ms",
        "scenario line_fault_holds",
        "return False",
    ),
    guard(
        "busy", "return facts.age_ms[node] < settings.board.dead_ms + seconds * 1000", "scenario busy", "return False"
    ),
    guard(
        "cap of busy",
        "seconds = min(facts.busy_s[node], settings.nodes[node].busy_max_s)",
        "scenario busy_capped",
        "seconds = facts.busy_s[node]",
    ),
    guard(
        "starting",
        "return facts.age_ms[node] < settings.nodes[node].boot_grace_ms",
        "scenario starting_grace",
        "return False",
    ),
    guard(
        "common cause",
        "return not heard_clearly_later(settings, facts, node)",
        "scenario not_clearly_later",
        "return False",
    ),
    guard(
        "common cause margin",
        "if facts.age_ms[node] - facts.age_ms[other] > margin:",
        "scenario nearly_together",
        "if facts.age_ms[node] - facts.age_ms[other] > 0:",
    ),
    guard(
        "lone node holds",
        'return settings.board.lone == "hold"',
        "scenario cold_standby_holds_without_config",
        "return False",
    ),
    guard(
        "common cause lasts",
        "if state.common_ms[node] > 0:\n        return True",
        "scenario common_cause_ends_per_line",
        "pass",
    ),
    guard(
        "peer sees",
        "if other != node and is_good(facts, other) and facts.flags[other] & known == known:",
        "scenario second_sign_peer",
        "if False:",
    ),
    guard(
        "powered",
        'return settings.nodes[node].second_sign in ("power", "any") and facts.power[node] == codes.POWER_ON',
        "scenario second_sign_power",
        "return False",
    ),
    guard(
        "watchdog armed",
        'return settings.nodes[node].fence == "lease" and not state.watchdog_seen[node]',
        "scenario lease_only_unarmed",
        "return False",
    ),
    guard(
        "successor",
        "return cold_successor_of(settings, state, facts, node) == NO_NODE",
        "scenario no_successor",
        "return False",
    ),
    guard(
        "active stays good",
        "return state.active == NO_NODE or state.active == node or not is_good(facts, state.active)",
        "scenario standby_recovery_waits_for_active",
        "return False",
    ),
    guard(
        "one relay",
        "if other != node and facts.fence[other] in OPEN:",
        "scenario second_fence_waits",
        "if False:",
    ),
    Mutant(
        "denied is asked again",
        "policy_core.py",
        "elif reason == reasons.NEEDS_APPROVAL and not state.denied[node]:",
        "elif reason == reasons.NEEDS_APPROVAL:",
        "scenario approve_denied_in_auto",
    ),
    guard("approval", "return state.mode == codes.MODE_APPROVE", "scenario approve", "return False"),
    guard(
        "last powered",
        "return no_successor(settings, state, facts, node)\n\n\ndef any_fence",
        "scenario operator_fence_last",
        "return False\n\n\ndef any_fence",
    ),
    Mutant(
        "fit while quarantined",
        "fitness.py",
        "return not state.quarantined[node] or may_serve_alone(settings, facts, node)",
        "return True",
        "scenario quarantine",
    ),
    Mutant("fit while degraded first", "fitness.py", "rank = 4 if", "rank = 1 if", "scenario failover_degraded_last"),
    Mutant(
        "fit without power",
        "fitness.py",
        " or facts.power[node] == codes.POWER_OFF or",
        " or",
        "scenario sense_broken_off",
    ),
    Mutant(
        "fit in maintenance",
        "fitness.py",
        "if state.locked[node] or state.maintenance_ms[node]:",
        "if state.locked[node]:",
        "scenario maintenance_is_not_fit",
    ),
    Mutant(
        "sense never seen on is trusted",
        "sequencer.py",
        "self._start(node, sense_seen and self._senses.power[node] == POWER_ON)",
        "self._start(node, self._senses.power[node] == POWER_ON)",
        "scenario sense_unknown",
    ),
    Mutant(
        "off already before proves",
        "sequencer.py",
        "if not self._trusted[node]:\n            self._fail",
        "if False:\n            self._fail",
        "scenario already_off",
    ),
    Mutant(
        "timeout is success",
        "sequencer.py",
        "elif since >= self._board.off_timeout_ms:\n            self._fail(node, since, reasons.STILL_ON)",
        "elif since >= self._board.off_timeout_ms:\n            self.status[node] = PROVEN",
        "scenario welded",
    ),
    Mutant(
        "off need not be stable",
        "sequencer.py",
        "elif self._off_ms[node] >= self._board.off_stable_ms:",
        "elif self._off_ms[node] > 0:",
        "scenario power_comes_back",
    ),
    Mutant(
        "relay never released",
        "sequencer.py",
        "if since >= self._board.hold_max_s * 1000 and",
        "if False and",
        "scenario welded",
    ),
    Mutant(
        "mark forgotten",
        "sequencer.py",
        "        self._chip.put_scratch(MARK_REGISTER, self._mark)\n        # A mark",
        "        # A mark",
        "scenario board_reset_in_fence",
    ),
    Mutant("epoch stands still", "policy_core.py", "state.epoch = epoch + 1", "state.epoch = epoch", "walk lone"),
    Mutant(
        "grant before durable",
        "policy_fence.py",
        "if facts.durable_epoch != state.epoch or facts.durable_holder != node:",
        "if False:",
        "walk auto",
    ),
    Mutant(
        "an old store revokes",
        "grants.py",
        "return facts.beats[node] > 0 and facts.node_epoch[node] <= state.epoch",
        "return True",
        "scenario store_restored",
    ),
    Mutant("observe mode binds", "grants.py", "orders |= messages.ORDER_ADVISORY", "pass", "walk observe"),
    Mutant(
        "fired node keeps its lease",
        "policy_core.py",
        "if state.active == node:\n            state.active = NO_NODE\n        if automatic",
        "if automatic",
        "walk auto",
    ),
    Mutant("no quarantine", "policy_core.py", "self.state.quarantined[node] = 1", "pass", "walk auto"),
    Mutant(
        "actions are not counted",
        "policy_core.py",
        "state.actions[node] = min(state.actions[node] + 1, 255)",
        "pass",
        "scenario ladder_bounded",
    ),
    Mutant(
        "clean start forgets lock-out",
        "policy_observe.py",
        "if reason == reasons.OPERATOR:",
        "if True:",
        "scenario lock_out",
    ),
    Mutant(
        "running node interrupted",
        "policy_seek.py",
        "if running and not state.two_running and facts.durable_holder == node and facts.durable_epoch == state.epoch:",
        "if False:",
        "scenario board_restarts_adopts",
    ),
    Mutant(
        "old store believed",
        "policy_seek.py",
        "if facts.node_epoch[node] > state.epoch:",
        "if False:",
        "scenario store_restored",
    ),
    Mutant(
        "empty store grants at once",
        "policy_seek.py",
        "if state.declared == NO_NODE and not fitness.is_cold(self.settings, facts, node):\n                    return",
        "pass",
        "scenario store_lost",
    ),
    Mutant(
        "lease not waited out",
        "policy_seek.py",
        "if self.state.seek_ms < lease_ms or self.state.long_ms:",
        "if False:",
        "scenario lease_waited_out",
    ),
    Mutant(
        "runs while declared",
        "policy_seek.py",
        "if facts.verdict[node] in HEARD or facts.sign_ms[node] < self.settings.board.dead_ms:",
        "if False:",
        "scenario declare_refused_while_heard",
    ),
    Mutant(
        "heartbeat does not void",
        "policy_fence.py",
        "if facts.beats[node] != state.asked_beats or facts.sign_ms[node] < state.phase_ms:",
        "if False:",
        "scenario approve_void_on_first_beat",
    ),
    Mutant(
        "approval not judged again",
        "policy_fence.py",
        "if reason != reasons.NEEDS_APPROVAL and guard(self.settings, state, self.facts, node):",
        "if False:",
        "scenario approve_evaluated_again",
    ),
    Mutant(
        "proceed without proof",
        "policy_fence.py",
        "if proceed and (proven or state.cause == reasons.PLANNED_OFF):",
        "if proceed:",
        "scenario approve_proceed_needs_proof",
    ),
    Mutant(
        "power back while promoting",
        "policy_fence.py",
        "if state.target == node and state.phase in NEED_OFF:\n            return",
        "pass",
        "scenario cold_standby_boots_slowly",
    ),
    Mutant(
        "power given back at once",
        "policy_fence.py",
        " or facts.fence_ms[node] < self.settings.board.off_ms:",
        ":",
        "scenario off_time",
    ),
    Mutant(
        "reset proves by itself",
        "policy_fence.py",
        "return new and facts.verdict[node] == codes.VERDICT_GOOD and fitness.has_stopped(facts, node)",
        "return True",
        "scenario fence_by_reset_fails",
    ),
    Mutant(
        "drained without an answer",
        "policy_switch.py",
        "if facts.verdict[node] == codes.VERDICT_GOOD and answered and fitness.has_stopped(facts, node):",
        "if facts.verdict[node] == codes.VERDICT_GOOD:",
        "scenario switchover_fences_who_does_not_stop",
    ),
    Mutant(
        "failback fences",
        "policy_switch.py",
        "if state.cause == reasons.FAILBACK:\n",
        "if False:\n",
        "scenario failback_never_fences",
    ),
    Mutant(
        "failback at once",
        "policy_switch.py",
        "state.stable_ms[preferred] < board.stable_s * 1000",
        "False",
        "scenario failback_auto",
    ),
    Mutant(
        "same epoch after a stopped drain",
        "policy_switch.py",
        "state.active = NO_NODE\n            self.promote(node, reasons.CANCELLED)",
        "pass",
        "walk auto",
    ),
    Mutant(
        "stopped service, same epoch",
        "policy_fence.py",
        "elif state.awaiting_running or state.phase == DRAINING or not self._stopped_by_itself(node):",
        "else:",
        "walk assumed_faults",
    ),
    Mutant(
        "schedule without time",
        "policy_requests.py",
        "if policy.facts.schedule_s == COUNT_MAX:\n        return reasons.NO_WALL_TIME",
        "pass",
        "scenario schedule_needs_time",
    ),
    Mutant(
        "arms with two running",
        "policy_requests.py",
        "if mode in ARMED and state.two_running:",
        "if False:",
        "scenario arming_refused_with_two",
    ),
    # What the walk alone catches: relay tests, what nodes say of themselves, cold standby, transfer relay, schedule.
    guard(
        "test of who holds or runs",
        "return node == state.active or node == state.holder or is_running(facts, node)",
        "walk relay_test_lone",
        "return False",
    ),
    guard(
        "test while the active node is silent",
        "if state.active != NO_NODE or state.mode != codes.MODE_FENCER:\n        return none_remains(",
        "walk relay_test",
        "if True:\n        return False and (",
    ),
    Mutant(
        "a test is not asked about again",
        "supervisor.py",
        "if reason != reasons.NONE:\n                test.end(reason)",
        "if False:\n                pass",
        "walk relay_test",
    ),
    Mutant(
        "an ended test leaves the relay cut",
        "selftest.py",
        "            self._release()\n            self.result = codes.PROOF_ENDED",
        "            self.result = codes.PROOF_ENDED",
        "walk relay_test",
    ),
    Mutant(
        "a test has no end",
        "selftest.py",
        "if self._since_ms >= self.cut_ms:\n            stayed_on",
        "if False:\n            stayed_on",
        "walk relay_test_observe",
    ),
    guard(
        "busy counts from its last word",
        "return facts.age_ms[node] < settings.board.dead_ms + seconds * 1000",
        "walk states",
        "return facts.age_ms[node] < seconds * 1000",
    ),
    Mutant(
        "planned off is believed while it runs",
        "fitness.py",
        "return facts.flags[node] & STOPPED == messages.FLAG_VERIFIED_STOPPED",
        "return facts.node_state[node] == codes.STATE_PLANNED_OFF or facts.flags[node] & STOPPED == 2",
        "walk states",
    ),
    Mutant(
        "stopped during an approval, same epoch",
        "policy_fence.py",
        "elif state.awaiting_running or state.phase == DRAINING or not self._stopped_by_itself(node):",
        "elif state.awaiting_running or state.phase or not self._stopped_by_itself(node):",
        "walk states_approve",
    ),
    Mutant(
        "stopped while busy, same epoch",
        "policy_fence.py",
        "return not going and fitness.has_stopped(self.facts, node)",
        "return self.facts.node_state[node] in fitness.ABLE and fitness.has_stopped(self.facts, node)",
        "walk states_approve",
    ),
    Mutant(
        "late answer to a drain, same epoch",
        "policy_fence.py",
        "return not going and fitness.has_stopped(self.facts, node)",
        "return not going and self.facts.node_state[node] != 4 and fitness.has_stopped(self.facts, node)",
        "scenario drain_answered_late",
    ),
    Mutant(
        "a standby that is on counts as cold",
        "fitness.py",
        " or facts.power[node] != codes.POWER_OFF:\n        return False\n    return facts.fence[node] == IDLE",
        ":\n        return False\n    return facts.fence[node] == IDLE",
        "walk cold",
    ),
    Mutant(
        "transfer relay before the grant",
        "supervisor.py",
        "wanted = state.active if armed and state.active < codes.NODE_SPARE else NO_NODE",
        "wanted = state.holder if armed and state.holder < codes.NODE_SPARE else NO_NODE",
        "walk transfer",
    ),
    Mutant(
        "schedule before it is due",
        "policy_switch.py",
        "if facts.schedule_s > 0:\n            return False",
        "pass",
        "walk schedule",
    ),
)
