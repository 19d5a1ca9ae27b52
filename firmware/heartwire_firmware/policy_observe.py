"""What the nodes show: verdicts, senses, quarantine, common silence, and the passing of time.

Turns facts into records and roles of nodes that are not active. It never fences and never grants; policy and
policy_seek do.
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.clock import add_capped
from heartwire_firmware.policy_core import HEARD, Core
from heartwire_firmware.policy_state import RELEASED, WATCHING
from heartwire_firmware.sequencer import FAILED, FIRED, HOLD_UP_MS, IDLE, PROVEN, SURELY_OFF
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT

# An intent that good heartbeats made obsolete is cancelled only after this long, so that a flapping node does not wear
# out flash.
CANCEL_AFTER_MS = 10000
# Each further one takes twice as long, up to this: a node that is late again and again must not fill the journal.
CANCEL_MAX_S = 3600
# So long before maintenance ends it is told.
ENDS_SOON_MS = 60000
# How often what is left of maintenance is saved.
SAVE_MAINTENANCE_MS = 300000


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
        if state.cold_ms:
            state.cold_ms = max(0, state.cold_ms - elapsed_ms)
        if state.long_ms:
            state.long_ms = max(0, state.long_ms - elapsed_ms)
            if not state.long_ms:
                state.long_node = NO_NODE
                self.out.say(events.LONG_LEASE_ENDED, NO_NODE, reasons.EXPIRED)
                self.out.persist = True
        for node in range(NODE_COUNT):
            if not self.facts.enabled[node]:
                continue
            state.good_ms[node] = add_capped(state.good_ms[node], elapsed_ms, COUNT_MAX)
            if state.grace_ms[node]:
                state.grace_ms[node] = max(0, state.grace_ms[node] - elapsed_ms)
            if state.quiet_ms[node]:
                state.quiet_ms[node] = max(0, state.quiet_ms[node] - elapsed_ms)
            if state.maintenance_ms[node]:
                self._count_maintenance(node, elapsed_ms)
            if state.window_ms[node]:
                state.window_ms[node] = max(0, state.window_ms[node] - elapsed_ms)
                if not state.window_ms[node]:
                    state.actions[node] = 0
                    self.out.persist = True
            if state.boot_ms[node]:
                state.boot_ms[node] = add_capped(state.boot_ms[node], elapsed_ms, COUNT_MAX)
            if state.common_ms[node] and guards.heard_clearly_later(self.settings, self.facts, node):
                state.common_ms[node] = max(0, state.common_ms[node] - elapsed_ms)

        if state.maintenance_ms[NODE_COUNT]:
            self._count_maintenance(NODE_COUNT, elapsed_ms)

    def _count_maintenance(self, index: int, elapsed_ms: int) -> None:
        state = self.state
        before = state.maintenance_ms[index]
        state.maintenance_ms[index] = max(0, before - elapsed_ms)
        if before // SAVE_MAINTENANCE_MS != state.maintenance_ms[index] // SAVE_MAINTENANCE_MS:
            self.out.persist = True  # power cuts may not make it longer and longer
        if before > ENDS_SOON_MS >= state.maintenance_ms[index]:
            self.out.say(events.MAINTENANCE_ENDS, index, 0, state.maintenance_ms[index] // 1000)
        if not state.maintenance_ms[index]:
            self.out.say(events.MAINTENANCE_ENDED, index, reasons.EXPIRED)
            self.out.persist = True
            self.maintenance_over(index)

    def maintenance_over(self, index: int) -> None:
        """After maintenance of a node, or of the board, silence counts anew: nobody looked at it until now."""
        state = self.state
        for node in range(NODE_COUNT):
            if index == node or (index == NODE_COUNT and not state.maintenance_ms[node]):
                state.quiet_ms[node] = self.settings.board.dead_ms

    def _observe(self, node: int) -> None:
        state = self.state
        facts = self.facts
        verdict = facts.verdict[node]
        if verdict != state.last_verdict[node]:
            self._verdict_changed(node, verdict)
            state.last_verdict[node] = verdict
        if facts.power[node] != state.last_power[node]:
            self.out.say(events.SENSE_CHANGED, node, 0, facts.power[node])
            if facts.power[node] == codes.POWER_ON and state.was_off[node]:
                state.was_off[node] = 0
                state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms
                if facts.proof != node:  # its load may be on a bypass: then nothing boots
                    state.boot_ms[node] = 1
            state.last_power[node] = facts.power[node]
        if facts.power[node] == codes.POWER_OFF and facts.off_ms[node] >= self.settings.board.off_stable_ms:
            state.was_off[node] = 1
        if facts.proof == node:
            state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms
        if verdict == codes.VERDICT_GOOD:
            if not state.boot_ms[node] or facts.age_ms[node] < state.boot_ms[node]:
                state.grace_ms[node] = 0  # it has beaten since it got power
            state.denied[node] = 0
            state.failed[node] = 0
            armed = 1 if facts.flags[node] & messages.FLAG_WATCHDOG_ARMED else 0
            if armed != state.watchdog_seen[node]:
                state.watchdog_seen[node] = armed
                self.out.persist = True
            # Calls are dear on the board, and this is done for each node in each step.
            if not facts.power_full[node] or not state.sense_seen[node] or state.feed_lost[node]:
                if facts.fence[node] == IDLE and facts.proof != node and facts.power[node] != codes.POWER_UNKNOWN:
                    self._watch_feeds(node)
            if state.prepared[node] or state.cancel_s[node]:
                self._cancel(node)
        elif facts.power[node] == codes.POWER_OFF and self._is_off_since(node):
            state.off_beats[node] = facts.beats[node]  # what it said last is over
        if facts.fence[node] != state.fence_told[node]:
            self._fence_changed(node, facts.fence[node])
        if facts.node_epoch[node] > state.epoch or state.claimed[node]:
            self._watch_claim(node)
        self._watch_disagreement(node)
        if state.quarantined[node]:
            self._watch_quarantine(node)
        elif node != state.active:
            if verdict in HEARD:
                self.set_role(node, codes.ROLE_STANDBY, reasons.HEARD)
            else:
                self.set_role(node, codes.ROLE_OFFLINE, reasons.DEAD)

    def _is_off_since(self, node: int) -> bool:
        """Tell whether its power went off with its last heartbeat or later, and not long before."""
        facts = self.facts
        since_ms = facts.off_ms[node]
        return since_ms >= self.settings.board.off_stable_ms and since_ms - facts.age_ms[node] < HOLD_UP_MS

    def _watch_feeds(self, node: int) -> None:
        """A sense proves something only if each feed was seen on while its node beat."""
        state = self.state
        facts = self.facts
        if facts.power_full[node]:
            if not state.sense_seen[node]:
                state.sense_seen[node] = 1
                self.out.persist = True
            if state.feed_lost[node]:
                state.feed_lost[node] = 0
                self.out.say(events.FEED_BACK, node)
            return
        since_ms = facts.part_ms[node]
        if since_ms < self.settings.board.off_stable_ms or since_ms - facts.age_ms[node] < HOLD_UP_MS:
            return
        if state.sense_seen[node]:
            state.sense_seen[node] = 0
            self.out.persist = True
        if facts.power[node] == codes.POWER_ON and not state.feed_lost[node]:
            state.feed_lost[node] = 1
            self.out.say(events.FEED_LOST, node)

    def _cancel(self, node: int) -> None:
        """An intent that good heartbeats made obsolete is cancelled, the later the more often that happens."""
        state = self.state
        good_ms = state.good_ms[node]
        if not state.prepared[node] or state.target == node:
            if state.cancel_s[node] and good_ms >= CANCEL_MAX_S * 1000:
                state.cancel_s[node] = 0
        elif good_ms >= max(CANCEL_AFTER_MS, state.cancel_s[node] * 1000):
            state.prepared[node] = 0
            state.cancel_s[node] = min(max(CANCEL_AFTER_MS // 1000, state.cancel_s[node]) * 2, CANCEL_MAX_S)
            self.out.say(events.FENCE_CANCELLED, node, reasons.GOOD_AGAIN)

    def _fence_changed(self, node: int, status: int) -> None:
        """Journal what became of a fence, whatever else is under way."""
        state = self.state
        facts = self.facts
        fired = state.fence_told[node]
        state.fence_told[node] = status
        if status in SURELY_OFF:
            event = events.OFF_PROVEN if status == PROVEN else events.OFF_ASSUMED
            self.out.say(event, node, reasons.NONE, facts.proof_ms[node])
            state.off_beats[node] = facts.beats[node]
            state.failed[node] = 0
            if status == PROVEN and fired != FAILED and facts.fence_reason[node] == reasons.STILL_ON:
                if state.suspect[node]:  # this time its contact did cut its power
                    state.suspect[node] = 0
                    self.out.persist = True
        elif status == FAILED or (status == IDLE and fired == FIRED and state.given_back[node] != RELEASED):
            # hold_max_s may be over in the moment in which it fails.
            self.out.say(events.OFF_FAILED, node, facts.fence_reason[node], facts.proof_ms[node])
            state.failed[node] = 1
            if facts.fence_reason[node] == reasons.STILL_ON and not state.suspect[node]:
                state.suspect[node] = 1
                self.out.persist = True
        if status == IDLE and state.suspect[node]:
            self.out.say(events.RELAY_SUSPECT, node)
        if status != FIRED:
            state.prepared[node] = 0

    def _watch_claim(self, node: int) -> None:
        """An epoch that no node of this rack can have been given is told, and counts for nothing."""
        state = self.state
        claims = 1 if fitness.claims_too_much(state, self.facts, node) else 0
        if claims and not state.claimed[node]:
            self.out.say(events.EPOCH_REFUSED, node, reasons.EPOCH, self.facts.node_epoch[node], state.epoch)
        state.claimed[node] = claims

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
            self._note_boot(node)
        elif verdict == codes.VERDICT_LATE:
            state.good_ms[node] = age_ms
            self.out.say(events.LATE, node, 0, age_ms)
            self._note_line(node)
            if node == state.active:
                state.awaiting_running = 0  # its lease may have run out: if it stopped, it needs a new epoch
            if node == state.active and state.phase == WATCHING:
                self.prepare(node, reasons.DEAD)
        elif verdict == codes.VERDICT_DEAD:
            self.out.say(events.DEAD, node, 0, age_ms)
            state.held = reasons.NONE

    def _note_line(self, node: int) -> None:
        """Tell a broken line from a silent node, for people: breaks and bad frames come from cables and plugs."""
        if self.facts.line_error_ms[node] < self.settings.board.late_ms:
            self.out.say(events.LINE_FAULT, node, reasons.LINE_FAULT, self.facts.line_error_ms[node])

    def _note_boot(self, node: int) -> None:
        """Learn how long the node takes from power to its first good heartbeat; propose twice the slowest as grace."""
        state = self.state
        took_ms = state.boot_ms[node]
        state.boot_ms[node] = 0
        if not took_ms:
            return
        took_s = min((took_ms + 999) // 1000, 65535)
        grace_ms = self.settings.nodes[node].boot_grace_ms
        if took_s > state.slowest_s[node]:
            state.slowest_s[node] = took_s
            self.out.persist = True
            if took_s * 2000 > grace_ms:
                self.out.say(events.BOOT_SLOW, node, 0, took_s * 2000, grace_ms)
        self.out.say(events.BOOT_TIME, node, 0, took_ms, state.slowest_s[node])

    def _watch_disagreement(self, node: int) -> None:
        """Commanded and observed power: a node that beats without power, or has power behind an open contact."""
        facts = self.facts
        state = self.state
        if facts.power[node] == codes.POWER_UNKNOWN:
            return
        beats_off = facts.power[node] == codes.POWER_OFF and facts.age_ms[node] < self.settings.board.late_ms
        beats_off = beats_off and facts.fence[node] == IDLE and facts.beats[node] > 0 and facts.proof != node
        # It must have beaten while it was off: a server that loses its power beat just before.
        beats_off = beats_off and facts.off_ms[node] - facts.age_ms[node] >= HOLD_UP_MS
        cut_on = facts.fence[node] == FAILED and facts.power[node] == codes.POWER_ON
        disagree = 1 if (beats_off and facts.off_ms[node] >= self.settings.board.off_stable_ms) or cut_on else 0
        if disagree and not state.disagree[node]:
            self.out.say(events.DISAGREE, node, 0, codes.POWER_OFF if cut_on else codes.POWER_ON, facts.power[node])
        elif state.disagree[node] and not disagree:
            self.out.say(events.AGREE, node)
        state.disagree[node] = disagree

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
            if facts.flags[node] & messages.FLAG_RUNNING and fitness.is_running(state, facts, node):
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
        """End the quarantine of `node`; an operator's word also ends its lock-out."""
        state = self.state
        state.quarantined[node] = 0
        if reason == reasons.OPERATOR:
            # A clean start is no reason to forget how often it had to be fenced: else two nodes could fence in turn.
            state.locked[node] = 0
            state.actions[node] = 0
        self.out.persist = True
        self.out.say(events.CLEARED, node, reason)
        if node != state.active:
            heard = self.facts.verdict[node] in HEARD
            self.set_role(node, codes.ROLE_STANDBY if heard else codes.ROLE_OFFLINE, reason)
