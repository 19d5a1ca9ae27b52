"""Nobody is active: who was, and who may be.

The running durable holder is adopted at once and without interruption; anybody else needs a new epoch, and a holder
that stays away is fenced with proof first. With an empty or older store nobody is granted until all nodes reported or
an operator says who (rule 5.2).
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.policy_core import ARMED, HEARD
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
        if not state.store_empty and self._store_is_old():
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
                if facts.node_epoch[node] > state.epoch:
                    return True
        return False

    def _seek_advisory(self) -> None:
        # Observe and fencer mode: the node that runs is called active, without a new epoch, and its lease binds nobody.
        state = self.state
        for node in range(NODE_COUNT):
            if fitness.is_running(self.facts, node) and not state.two_running and not state.quarantined[node]:
                state.active = node
                state.active_incarnation = self.facts.incarnation[node]
                state.held = reasons.NONE
                self.set_role(node, codes.ROLE_ACTIVE, reasons.OBSERVE_MODE)
                return

    def _seek_successor(self) -> None:
        """It is proven that nobody holds anything: who is fit may have it."""
        state = self.state
        if self._declared_is_good():
            self._take_declared()
            return
        node = fitness.successor_of(self.settings, state, self.facts, NO_NODE)
        if node != NO_NODE and not state.safe_mode and not state.maintenance_ms[NODE_COUNT]:
            if not self._other_runs(node) and not state.two_running:
                self.promote(node, reasons.FENCE_PROVEN)

    def _declared_is_good(self) -> bool:
        declared = self.state.declared
        return declared != NO_NODE and fitness.is_good(self.facts, declared) and self.facts.fence[declared] == IDLE

    def _take_declared(self) -> None:
        """An operator said who: not while another one runs."""
        state = self.state
        node = state.declared
        if self._other_runs(node):
            self.hold(node, reasons.TWO_RUNNING)
            return
        state.quarantined[node] = 0
        self.promote(node, reasons.OPERATOR)

    def _seek_first(self) -> None:
        """Rule 5.2: with an empty or older store, wait for all configured nodes or an operator's word; then highest +
        1.
        """
        state = self.state
        facts = self.facts
        candidate = NO_NODE
        for node in range(NODE_COUNT):
            if not facts.enabled[node]:
                continue
            if not fitness.is_good(facts, node):
                if state.declared == NO_NODE and not fitness.is_cold(self.settings, facts, node):
                    return
                continue
            if fitness.is_running(facts, node):
                candidate = node
        if state.two_running:
            self.hold(NO_NODE, reasons.TWO_RUNNING)
            return
        if state.declared != NO_NODE:
            # An operator may not make a second one active while another runs.
            if candidate != NO_NODE and candidate != state.declared:
                self.hold(candidate, reasons.TWO_RUNNING)
                return
            candidate = state.declared if fitness.is_good(facts, state.declared) else NO_NODE
        elif candidate == NO_NODE and not state.safe_mode and not state.maintenance_ms[NODE_COUNT]:
            candidate = fitness.successor_of(self.settings, state, facts, NO_NODE)
        if candidate != NO_NODE:
            self.promote(candidate, reasons.FIRST_START)

    def _seek_holder(self, node: int) -> None:
        state = self.state
        facts = self.facts
        if state.declared != NO_NODE and state.declared != node:
            self._replace_by_word(node)
            return
        if state.declared == node and self._declared_is_good():
            self._take_declared()
            return
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

    def _replace_by_word(self, node: int) -> None:
        """An operator vouches that the holder is off; the board still refuses while it is heard or has power."""
        state = self.state
        facts = self.facts
        if facts.verdict[node] in HEARD or facts.sign_ms[node] < self.settings.board.dead_ms:
            self.hold(node, reasons.TWO_RUNNING)
        elif facts.power[node] == codes.POWER_ON:
            self.hold(node, reasons.POWERED)
        elif fitness.is_fit(self.settings, state, facts, state.declared):
            successor = state.declared
            self.retire(node, reasons.OPERATOR)
            self.promote(successor, reasons.OPERATOR)

    def _seek_heard(self, node: int) -> None:
        """The holder is heard: it is adopted if it runs, else it may have it again with a new epoch."""
        state = self.state
        facts = self.facts
        running = bool(facts.flags[node] & messages.FLAG_RUNNING)
        if running and not state.two_running and facts.durable_holder == node and facts.durable_epoch == state.epoch:
            state.active = node
            state.active_incarnation = facts.incarnation[node]
            state.held = reasons.NONE
            state.awaiting_running = 0
            state.declared = NO_NODE
            self.set_role(node, codes.ROLE_ACTIVE, reasons.HOLDER_RETURNED)
            self.out.say(events.ADOPTED, node, reasons.HOLDER_RETURNED, state.epoch)
        elif fitness.is_fit(self.settings, state, facts, node) and not state.safe_mode:
            if not self._other_runs(node):
                self.promote(node, reasons.HOLDER_RETURNED)
        elif state.seek_ms >= self.settings.nodes[node].boot_grace_ms and not state.safe_mode:
            self._pass_over(node)

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
            if facts.incarnation[node] != state.fired_incarnation[node] and not self._other_runs(node):
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
            if guards.in_maintenance(self.settings, self.state, facts, node) or self._other_runs(successor):
                return
            self.retire(node, reasons.NOT_FIT)
            self.promote(successor, reasons.NODE_STOPPED)

    def _other_runs(self, node: int) -> bool:
        for other in range(NODE_COUNT):
            if other != node and fitness.is_running(self.facts, other):
                return True
        return False
