"""Recovery of nodes that hold nothing, or of a lone node: a ladder of steps, each tried only after the one before.

notify -> ask the agent -> reset pulse -> power cycle -> lock-out. How far it goes is config; how often is bounded by
max_actions in window_s; the time between two steps doubles. Builds on policy_switch. The active node is never touched
for the sake of another one.
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import PULSE, WATCHING
from heartwire_firmware.policy_switch import Switch
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, events, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE

# The time between two steps doubles at most this often.
DOUBLE_MAX = 4


class Recover(Switch):
    """The part of the policy that tries to bring a silent node back."""

    def watch_recovery(self, node: int, elapsed_ms: int) -> None:
        """Take the next step on `node`, if it is silent and holds nothing."""
        state = self.state
        facts = self.facts
        if facts.verdict[node] != codes.VERDICT_DEAD:
            if facts.verdict[node] == codes.VERDICT_GOOD:
                state.rung[node] = codes.RUNG_NOTIFY
                state.rung_ms[node] = 0
            return
        if state.rung_ms[node]:
            state.rung_ms[node] = max(0, state.rung_ms[node] - elapsed_ms)
            return
        highest = codes.RUNGS.index(self.settings.nodes[node].recovery)
        if highest == codes.RUNG_NOTIFY or state.phase != WATCHING or state.mode not in ARMED or state.locked[node]:
            return
        if node == state.holder and not fitness.is_alone(self.settings, facts, node):
            return  # that is a failover, or a fence that proved nothing
        if facts.node_state[node] == codes.STATE_PLANNED_OFF or facts.fence[node] != IDLE:
            return
        if fitness.is_cold(self.settings, facts, node):
            return
        rung = self._next_rung(node, highest)
        if rung == codes.RUNG_ASK:
            self._step_taken(node, rung)
            return
        if state.mode == codes.MODE_AUTO and self._may_be_booting(node):
            return
        reason = guards.first_reason(guards.RECOVERY, self.settings, state, facts, node)
        if reason == reasons.NONE:
            self.prepare(node, reasons.RECOVERY)
            reason = guards.first_reason(guards.RECOVERY_AT_FIRE, self.settings, state, facts, node)
        if reason == reasons.NEEDS_APPROVAL and not state.denied[node]:
            self.ask(node, reasons.RECOVERY)
        elif reason == reasons.NONE:
            self.recover_now(node)
        elif reason != reasons.NOT_DURABLE and node == state.active:
            self.hold(node, reason)

    def _may_be_booting(self, node: int) -> bool:
        """Tell whether `node` has power and may be starting by itself: a reset in its self-test would begin it anew.
        So long is its slowest start that was seen, with a fourth more, or else its boot grace.
        """
        state = self.state
        facts = self.facts
        if facts.power[node] == codes.POWER_OFF and facts.off_ms[node] >= self.settings.board.off_stable_ms:
            return False
        wait_ms = state.slowest_s[node] * 1250
        return facts.age_ms[node] < (wait_ms or self.settings.nodes[node].boot_grace_ms)

    def _next_rung(self, node: int, highest: int) -> int:
        """Return the next step that is wired, the highest one again and again."""
        rung = min(self.state.rung[node] + 1, highest)
        settings = self.settings.nodes[node]
        if rung == codes.RUNG_RESET and settings.front != "reset":
            rung = min(rung + 1, highest)
        return rung

    def approved(self) -> None:
        """Carry out what was approved: a recovery asks its own guards again, a failover those of a fence."""
        state = self.state
        node = state.target
        if state.cause != reasons.RECOVERY:
            Switch.approved(self)
            return
        self.rest()
        for reason, guard in guards.RECOVERY_AT_FIRE:
            if reason != reasons.NEEDS_APPROVAL and guard(self.settings, state, self.facts, node):
                self.hold(node, reason)
                return
        self.recover_now(node)

    def recover_now(self, node: int) -> None:
        """Reset or power-cycle `node`; the guards have allowed it."""
        state = self.state
        highest = codes.RUNGS.index(self.settings.nodes[node].recovery)
        rung = self._next_rung(node, highest)
        self._step_taken(node, rung)
        if rung == codes.RUNG_RESET:
            self.count_action(node, reasons.RECOVERY)
            self.out.act(PULSE, node)
            state.prepared[node] = 0
            state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms
        else:
            # One that is off already needs no proof: it holds nothing, and its power only has to come back.
            state.successor = NO_NODE
            vouched = node != state.holder and fitness.is_off(self.settings, state, self.facts, node)
            self.begin_fence(node, reasons.RECOVERY, True, vouched)

    def _step_taken(self, node: int, rung: int) -> None:
        state = self.state
        state.rung[node] = rung
        doubled = min(state.actions[node], DOUBLE_MAX)
        state.rung_ms[node] = min(self.settings.board.rung_ms << doubled, COUNT_MAX)
        self.out.say(events.RECOVERY_STEP, node, reasons.RECOVERY, rung, state.actions[node] + 1)
