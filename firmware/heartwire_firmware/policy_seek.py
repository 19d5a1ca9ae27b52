"""Nobody is active: who was, and who may be.

The running durable holder is adopted at once and without interruption; anybody else needs a new epoch, and a holder
that stays away is fenced with proof first. With an empty or older store nobody is granted until all nodes reported or
an operator says who (rule 5.2).
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_observe import Observe
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

ALIVE = (codes.VERDICT_GOOD, codes.VERDICT_UNHEARD)


class Seek(Observe):
    """The part of the policy that looks for a node to be active."""

    def _seek(self) -> None:
        """Find who may be active: the running durable holder at once, another only by a new epoch."""
        state = self.state
        if state.mode not in ARMED:
            self._seek_advisory()
            return
        if not state.store_empty and not state.sure and self._store_is_old():
            state.store_empty = 1
            self.out.say(events.STORE_EMPTY)
        if state.store_empty:
            self._seek_first()
        elif state.holder == NO_NODE:
            self._seek_successor()
        else:
            self._seek_holder(state.holder)

    def _store_is_old(self) -> bool:
        """Tell whether a node knows a higher epoch than the store: who holds that epoch is unknown here."""
        state = self.state
        facts = self.facts
        for node in range(NODE_COUNT):
            if facts.enabled[node] and facts.beats[node] and not facts.text[node]:
                if facts.node_epoch[node] > state.epoch and not state.claimed[node]:
                    return True
        return False

    def _seek_advisory(self) -> None:
        # Observe and fencer mode: the node that runs is called active, without a new epoch, and its lease binds nobody.
        state = self.state
        for node in range(NODE_COUNT):
            if fitness.is_running(state, self.facts, node) and not state.two_running and not state.quarantined[node]:
                state.active = node
                state.active_incarnation = self.facts.incarnation[node]
                state.held = reasons.NONE
                self.set_role(node, codes.ROLE_ACTIVE, reasons.OBSERVE_MODE)
                return

    def _seek_successor(self) -> None:
        """It is proven that nobody holds anything: who is fit may have it."""
        state = self.state
        node = fitness.successor_of(self.settings, state, self.facts, NO_NODE)
        if node == NO_NODE or state.safe_mode or state.maintenance_ms[NODE_COUNT]:
            return
        if state.named != NO_NODE and state.named != node:
            if not fitness.is_fit(self.settings, state, self.facts, state.named):
                self.hold(node, reasons.NEEDS_APPROVAL)
                return
            node = state.named
        if node == state.last_active and self._returns(node):
            return
        self.promote(node, reasons.FENCE_PROVEN)

    def _seek_first(self) -> None:
        """Rule 5.2: with an empty or older store, wait for all configured nodes (or for an operator's word, which is a
        request); then highest + 1.
        """
        state = self.state
        facts = self.facts
        candidate = NO_NODE
        for node in range(NODE_COUNT):
            if not facts.enabled[node]:
                continue
            if not fitness.is_good(facts, node):
                if not fitness.is_cold(self.settings, facts, node):
                    return
                continue
            if fitness.is_running(state, facts, node):
                candidate = node
        if state.two_running:
            self.hold(NO_NODE, reasons.TWO_RUNNING)
            return
        if candidate == NO_NODE and not state.safe_mode and not state.maintenance_ms[NODE_COUNT]:
            candidate = fitness.successor_of(self.settings, state, facts, NO_NODE)
        if candidate != NO_NODE:
            self.promote(candidate, reasons.FIRST_START)

    def _seek_holder(self, node: int) -> None:
        state = self.state
        facts = self.facts
        heard = facts.beats[node] and facts.verdict[node] in ALIVE
        if state.quarantined[node]:
            self._seek_fenced(node)
        elif heard:
            self._seek_heard(node)
        if self.state.holder != node or self.state.active != NO_NODE or self.state.phase:
            return
        if state.start_ms >= self.settings.board.cold_start_ms and not state.failed[node]:
            if facts.verdict[node] in fitness.SILENT and not heard:
                self.fail_over(node, reasons.HOLDER_MISSING)

    def _seek_heard(self, node: int) -> None:
        """The holder is heard: it is adopted if it runs, else it may have it again with a new epoch."""
        state = self.state
        facts = self.facts
        running = bool(facts.flags[node] & messages.FLAG_RUNNING)
        if running and not state.two_running and facts.durable_holder == node and facts.durable_epoch == state.epoch:
            self.take_seat(node)
            state.awaiting_running = 0
            self.set_role(node, codes.ROLE_ACTIVE, reasons.HOLDER_RETURNED)
            self.out.say(events.ADOPTED, node, reasons.HOLDER_RETURNED, state.epoch)
        elif state.safe_mode:
            return
        elif fitness.is_fit(self.settings, state, facts, node):
            rogue = fitness.other_runs(state, facts, node)
            if rogue != NO_NODE:
                self.hold(rogue, reasons.TWO_RUNNING)
            elif node != state.last_active or not self._returns(node):
                self.promote(node, reasons.HOLDER_RETURNED)
        elif self._stays_away(node):
            self._pass_over(node)

    def _returns(self, node: int) -> bool:
        """Count that `node` lost its services by itself and would have them again; return True if that was once too
        often: it is no candidate any more.
        """
        state = self.state
        state.last_active = NO_NODE  # counted once
        if fitness.is_alone(self.settings, self.facts, node):
            return False
        self.count_action(node, reasons.CRASH_LOOP)
        if not state.locked[node]:
            return False
        self.hold(node, reasons.CRASH_LOOP)
        return True

    def _stays_away(self, node: int) -> bool:
        """Tell whether the holder, which is heard and holds no lease, will not get fit by itself soon."""
        state = self.state
        facts = self.facts
        if state.locked[node] or facts.half_line[node] or state.claimed[node] or fitness.has_left(facts, node):
            return True
        return state.seek_ms >= self.settings.nodes[node].boot_grace_ms

    def _seek_fenced(self, node: int) -> None:
        """The holder's fence fired, but its proof was lost or never came, and it is back. Its lease is void.

        If it says that it has stopped, and what it may have had of a lease is over, nothing is left to fence. If it
        runs on, only an operator may take it back (rule 5.7).
        """
        state = self.state
        facts = self.facts
        if facts.fence[node] != IDLE or not fitness.is_good(facts, node) or not fitness.has_stopped(facts, node):
            return
        if state.safe_mode or state.maintenance_ms[NODE_COUNT]:
            return
        settings = self.settings.nodes[node]
        alone = fitness.may_serve_alone(self.settings, facts, node)
        if settings.quarantine == "clean_start" or alone:
            rogue = fitness.other_runs(state, facts, node)
            if facts.incarnation[node] != state.fired_incarnation[node] and rogue == NO_NODE:
                state.quarantined[node] = 0
                if fitness.is_fit(self.settings, state, facts, node):
                    self.promote(node, reasons.CLEAN_START)
                    return
                state.quarantined[node] = 1
        self._pass_over(node)

    def _pass_over(self, node: int) -> None:
        """The holder is heard, holds no lease and says that nothing runs, but does not get fit: another one may have
        it.
        """
        facts = self.facts
        board = self.settings.board
        # It may have got a lease just before the board restarted, and it may still believe in it.
        lease_ms = board.lease_ms + board.lease_ms * board.clock_drift_ppm // 1000000 + board.late_ms
        if self.state.seek_ms < lease_ms or self.state.long_ms:
            return
        successor = fitness.successor_of(self.settings, self.state, facts, node)
        if fitness.has_stopped(facts, node) and fitness.is_good(facts, node) and successor != NO_NODE:
            if guards.in_maintenance(self.settings, self.state, facts, node):
                return
            rogue = fitness.other_runs(self.state, facts, successor)
            if rogue != NO_NODE and rogue != node:
                self.hold(rogue, reasons.TWO_RUNNING)
                return
            self.retire(node, reasons.NOT_FIT)
            self.promote(successor, reasons.NODE_STOPPED)
