"""What the nodes show: verdicts, senses, quarantine, common silence, and the passing of time.

Turns facts into records and roles of nodes that are not active. It never fences and never grants; policy and
policy_seek do.
"""

from heartwire_firmware import guards
from heartwire_firmware.clock import add_capped
from heartwire_firmware.policy_core import HEARD, Core
from heartwire_firmware.policy_state import WATCHING
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT

# An intent that good heartbeats made obsolete is cancelled only after this long, so that a flapping node does not wear
# out flash.
CANCEL_AFTER_MS = 10000


class Observe(Core):
    """The part of the policy that looks at each node."""

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass for all ages and remaining times."""
        state = self.state
        state.phase_ms = add_capped(state.phase_ms, elapsed_ms, COUNT_MAX)
        state.start_ms = add_capped(state.start_ms, elapsed_ms, COUNT_MAX)
        state.grant_ms = add_capped(state.grant_ms, elapsed_ms, COUNT_MAX)
        state.seek_ms = 0 if state.active != NO_NODE else add_capped(state.seek_ms, elapsed_ms, COUNT_MAX)
        if state.approval_ms:
            state.approval_ms = max(0, state.approval_ms - elapsed_ms)
        if state.maintenance_ms[NODE_COUNT]:
            self._count_maintenance(NODE_COUNT, elapsed_ms)
        for node in range(NODE_COUNT):
            if not self.facts.enabled[node]:
                continue
            state.good_ms[node] = add_capped(state.good_ms[node], elapsed_ms, COUNT_MAX)
            if state.grace_ms[node]:
                state.grace_ms[node] = max(0, state.grace_ms[node] - elapsed_ms)
            if state.maintenance_ms[node]:
                self._count_maintenance(node, elapsed_ms)
            if state.window_ms[node]:
                state.window_ms[node] = max(0, state.window_ms[node] - elapsed_ms)
                if not state.window_ms[node]:
                    state.actions[node] = 0
                    self.out.persist = True
            if state.common_ms[node] and guards.heard_clearly_later(self.settings, self.facts, node):
                state.common_ms[node] = max(0, state.common_ms[node] - elapsed_ms)

    def _count_maintenance(self, index: int, elapsed_ms: int) -> None:
        state = self.state
        state.maintenance_ms[index] = max(0, state.maintenance_ms[index] - elapsed_ms)
        if not state.maintenance_ms[index]:
            self.out.say(events.MAINTENANCE_ENDED, index, reasons.EXPIRED)
            self.out.persist = True

    def _observe(self, node: int) -> None:
        state = self.state
        facts = self.facts
        verdict = facts.verdict[node]
        if verdict != state.last_verdict[node]:
            self._verdict_changed(node, verdict)
            state.last_verdict[node] = verdict
        if facts.power[node] != state.last_power[node]:
            self.out.say(events.SENSE_CHANGED, node, 0, facts.power[node])
            if facts.power[node] == codes.POWER_ON and state.last_power[node] == codes.POWER_OFF:
                state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms
            state.last_power[node] = facts.power[node]
        if verdict == codes.VERDICT_GOOD:
            state.grace_ms[node] = 0
            state.denied[node] = 0
            if facts.power_full[node] and not state.sense_seen[node] and facts.fence[node] == IDLE:
                state.sense_seen[node] = 1
                self.out.persist = True
            if state.prepared[node] and state.good_ms[node] >= CANCEL_AFTER_MS and state.target != node:
                state.prepared[node] = 0
                self.out.say(events.FENCE_CANCELLED, node, reasons.GOOD_AGAIN)
        if state.quarantined[node]:
            self._watch_quarantine(node)
        elif node != state.active:
            if verdict in HEARD:
                self.set_role(node, codes.ROLE_STANDBY, reasons.HEARD)
            else:
                self.set_role(node, codes.ROLE_OFFLINE, reasons.DEAD)

    def _verdict_changed(self, node: int, verdict: int) -> None:
        state = self.state
        age_ms = self.facts.age_ms[node]
        if verdict == codes.VERDICT_GOOD:
            before = state.last_verdict[node]
            if before == codes.VERDICT_UNHEARD:
                self.out.say(events.FIRST_HEARD, node, 0, state.start_ms)
            else:
                self.out.say(events.GOOD_AGAIN, node, 0, state.good_ms[node])
            state.good_ms[node] = 0
            state.common_ms[node] = 0
        elif verdict == codes.VERDICT_LATE:
            state.good_ms[node] = age_ms
            self.out.say(events.LATE, node, 0, age_ms)
            if node == state.active and state.phase == WATCHING:
                self.prepare(node, reasons.DEAD)
        elif verdict == codes.VERDICT_DEAD:
            self.out.say(events.DEAD, node, 0, age_ms)
            state.held = reasons.NONE

    def _watch_common(self) -> None:
        """Rule 5.4: lines that are silent together are one fault; each must stay silent a full dead_ms after it
        ended.
        """
        state = self.state
        facts = self.facts
        heard = 0
        good = 0
        for node in range(NODE_COUNT):
            if facts.enabled[node] and facts.verdict[node] != codes.VERDICT_UNHEARD:
                heard += 1
                if facts.verdict[node] == codes.VERDICT_GOOD:
                    good += 1
        silent = 1 if heard > 1 and not good else 0
        running = 0
        for node in range(NODE_COUNT):
            if guards.is_running(facts, node):
                running += 1
            if silent and facts.verdict[node] == codes.VERDICT_DEAD and facts.fence[node] == IDLE:
                if not guards.heard_clearly_later(self.settings, facts, node):
                    state.common_ms[node] = self.settings.board.dead_ms
        if silent and not state.all_silent:
            self.out.say(events.ALL_SILENT)
        state.all_silent = silent
        two = 1 if running > 1 else 0
        if two and not state.two_running:
            self.out.say(events.TWO_RUNNING)
        state.two_running = two

    def _watch_quarantine(self, node: int) -> None:
        state = self.state
        facts = self.facts
        if self.settings.nodes[node].quarantine != "clean_start" or node == state.target or node == state.holder:
            return
        if facts.fence[node] != IDLE or facts.verdict[node] != codes.VERDICT_GOOD:
            return
        clean = messages.FLAG_RUNNING | messages.FLAG_VERIFIED_STOPPED
        if facts.flags[node] & clean != messages.FLAG_VERIFIED_STOPPED:
            return
        if facts.incarnation[node] != state.fired_incarnation[node]:
            self.end_quarantine(node, reasons.CLEAN_START)

    def end_quarantine(self, node: int, reason: int) -> None:
        """End the quarantine and lock-out of `node`."""
        state = self.state
        state.quarantined[node] = 0
        state.locked[node] = 0
        state.actions[node] = 0
        self.out.persist = True
        self.out.say(events.CLEARED, node, reason)
        heard = self.facts.verdict[node] in HEARD
        self.set_role(node, codes.ROLE_STANDBY if heard else codes.ROLE_OFFLINE, reason)
