"""Mutants that the walk alone catches: relay tests, what nodes say of themselves, cold standby, transfer, schedule."""

from __future__ import annotations

from tests.mutation.mutant import Mutant, guard

MUTANTS = (
    guard(
        "test of who holds or runs",
        "return node == state.active or node == state.holder or is_running(state, facts, node)",
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
        "hands.py",
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
        "transfer relay before the grant",
        "following.py",
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
