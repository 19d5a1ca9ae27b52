"""Nobody is active: who was, and who may be.

The running durable holder is adopted at once and without interruption; anybody else needs a new epoch, and a holder
that stays away is fenced with proof first. With an empty or older store nobody is granted until all nodes reported or
an operator says who (rule 5.2).
"""

from heartwire_firmware import guards
from heartwire_firmware.policy_core import ALIVE, ARMED, HEARD, STOPPED
from heartwire_firmware.policy_observe import Observe
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

# How far one unsigned heartbeat may lift the epoch of a board with an empty store.
UNKEYED_EPOCH_MAX = 1000


class Seek(Observe):
    """The part of the policy that looks for a node to be active."""

    def _seek(self) -> None:
        """Find who may be active: the running durable holder at once, another only by a new epoch."""
        state = self.state
        if state.mode not in ARMED:
            self._seek_advisory()
        elif state.store_empty:
            self._seek_first()
        elif state.holder == NO_NODE:
            successor = guards.successor_of(self.settings, state, self.facts, NO_NODE)
            if successor != NO_NODE and not state.safe_mode and not state.maintenance_ms[NODE_COUNT]:
                self.promote(successor, reasons.FENCE_PROVEN)
        else:
            self._seek_holder(state.holder)

    def _seek_advisory(self) -> None:
        # Observe and fencer mode: the node that runs is called active, without a new epoch, and its lease binds nobody.
        state = self.state
        for node in range(NODE_COUNT):
            if guards.is_running(self.facts, node) and not state.two_running and not state.quarantined[node]:
                state.active = node
                state.active_incarnation = self.facts.incarnation[node]
                state.held = reasons.NONE
                self.set_role(node, codes.ROLE_ACTIVE, reasons.OBSERVE_MODE)
                return

    def _seek_first(self) -> None:
        """Rule 5.2: with an empty or older store, wait for all configured nodes or an operator's word; then highest +
        1.
        """
        state = self.state
        facts = self.facts
        candidate = NO_NODE
        highest = state.epoch
        for node in range(NODE_COUNT):
            if not facts.enabled[node]:
                continue
            if not guards.is_good(facts, node):
                if state.declared == NO_NODE:
                    return
                continue
            if facts.keyed[node] or facts.node_epoch[node] <= state.epoch + UNKEYED_EPOCH_MAX:
                highest = max(highest, facts.node_epoch[node])
            if guards.is_running(facts, node):
                candidate = node
        if state.two_running:
            self.hold(NO_NODE, reasons.TWO_RUNNING)
            return
        if state.declared != NO_NODE:
            # An operator may not make a second one active while another runs.
            if candidate not in (NO_NODE, state.declared):
                self.hold(candidate, reasons.TWO_RUNNING)
                return
            candidate = state.declared if guards.is_good(facts, state.declared) else NO_NODE
        elif candidate == NO_NODE and not state.safe_mode and not state.maintenance_ms[NODE_COUNT]:
            candidate = guards.successor_of(self.settings, state, facts, NO_NODE)
        if candidate != NO_NODE:
            state.epoch = highest
            self.promote(candidate, reasons.FIRST_START)

    def _seek_holder(self, node: int) -> None:
        state = self.state
        facts = self.facts
        if facts.beats[node] and facts.verdict[node] in ALIVE and not facts.text[node]:
            if facts.node_epoch[node] > state.epoch:
                # The node knows a higher epoch than the store: the store is old, whoever holds that epoch is unknown
                # here.
                state.store_empty = 1
                self.out.say(events.STORE_EMPTY)
                return
        if state.declared not in (NO_NODE, node):
            # An operator vouches that the holder is off; the board still refuses while it is heard.
            if facts.verdict[node] in HEARD or facts.sign_ms[node] < self.settings.board.dead_ms:
                self.hold(node, reasons.TWO_RUNNING)
            elif guards.is_fit(self.settings, state, facts, state.declared):
                self.retire(node, reasons.OPERATOR)
                self.promote(state.declared, reasons.OPERATOR)
            return
        if state.quarantined[node]:
            if state.declared == node and guards.is_good(facts, node) and facts.fence[node] == IDLE:
                state.quarantined[node] = 0
                self.promote(node, reasons.OPERATOR)
            return
        if facts.beats[node] and facts.verdict[node] in ALIVE:
            running = bool(facts.flags[node] & messages.FLAG_RUNNING)
            if running and not state.two_running and facts.durable_holder == node:
                state.active = node
                state.active_incarnation = facts.incarnation[node]
                state.held = reasons.NONE
                state.awaiting_running = 0
                self.set_role(node, codes.ROLE_ACTIVE, reasons.HOLDER_RETURNED)
                self.out.say(events.ADOPTED, node, reasons.HOLDER_RETURNED, state.epoch)
                return
            if guards.is_fit(self.settings, state, facts, node) and not state.safe_mode and not self._other_runs(node):
                self.promote(node, reasons.HOLDER_RETURNED)
                return
            if state.seek_ms >= self.settings.nodes[node].boot_grace_ms and not state.safe_mode:
                self._pass_over(node)
                return
        if state.start_ms >= self.settings.board.cold_start_ms:
            if facts.verdict[node] in (codes.VERDICT_UNHEARD, codes.VERDICT_DEAD):
                self.fail_over(node, reasons.HOLDER_MISSING)

    def _pass_over(self, node: int) -> None:
        """The holder is heard, holds no lease and says that nothing runs, but does not get fit: another one may have
        it.
        """
        stopped = self.facts.flags[node] & STOPPED == messages.FLAG_VERIFIED_STOPPED
        successor = guards.successor_of(self.settings, self.state, self.facts, node)
        if stopped and successor != NO_NODE:
            self.retire(node, reasons.NOT_FIT)
            self.promote(successor, reasons.NODE_STOPPED)

    def _other_runs(self, node: int) -> bool:
        for other in range(NODE_COUNT):
            if other != node and guards.is_running(self.facts, other):
                return True
        return False
