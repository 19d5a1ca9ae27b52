"""Core of the policy: the steps that change who is entitled and what is fenced, each with its record.

Shared by the other policy files, which build on it, in order: policy_observe (what the nodes show), policy_seek (nobody
is active), policy_fence (fences under way), policy_switch (switchovers), policy_recover (nodes that hold nothing) and
policy. It decides nothing by itself; guards.py says what forbids a fence.
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.policy_state import APPROVAL, FENCE, FENCING, PROMOTING, STARTING, VOUCH, WATCHING
from heartwire_protocol import bits, codes, events, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT

ARMED = (codes.MODE_APPROVE, codes.MODE_AUTO)
HEARD = (codes.VERDICT_GOOD, codes.VERDICT_LATE)
# A journal write takes 450 ms at worst; several may stand before it.
PREPARE_MS = 5000


class Core:
    """The policy's parts and the changes they can make."""

    def __init__(self, settings, state, facts, out):
        self.settings = settings
        self.state = state
        self.facts = facts
        self.out = out
        self.why = reasons.OPERATOR  # who asks, while a request is carried out

    def set_role(self, node: int, role: int, reason: int) -> None:
        state = self.state
        if state.role[node] != role:
            self.out.say(events.ROLE_CHANGED, node, reason, role, state.role[node])
            state.role[node] = role

    def evidence(self) -> None:
        facts = self.facts
        for node in range(NODE_COUNT):
            if facts.enabled[node]:
                self.out.say(events.EVIDENCE, node, 0, facts.age_ms[node], evidence_bits(facts, node))

    def hold(self, node: int, reason: int) -> None:
        """Journal once why nothing is done."""
        state = self.state
        if state.held == reasons.NONE or state.held != reason or state.held_node != node:
            state.held = reason
            state.held_node = node
            self.out.say(events.HELD, node, reason)
            self.evidence()

    def enter(self, phase: int, target: int, successor: int, cause: int) -> None:
        state = self.state
        state.phase = phase
        state.target = target
        state.successor = successor
        state.cause = cause
        state.phase_ms = 0
        if phase == FENCING:
            state.cold_ms = 2 * self.settings.board.off_timeout_ms
        if phase != APPROVAL:
            state.approval_ms = 0

    def rest(self) -> None:
        """End the operation under way."""
        self.state.forced = 0
        self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)

    def take_seat(self, node: int) -> None:
        """Make `node` the active one, as the incarnation that it is."""
        state = self.state
        state.active = node
        state.active_incarnation = self.facts.incarnation[node]
        state.last_active = node
        state.named = NO_NODE
        state.sure = 1
        state.ill_ms = 0
        state.ill_told = 0
        state.held = reasons.NONE

    def quarantine(self, node: int) -> None:
        # Once fired, the node's lease is void; heartbeats that come back do not cancel.
        self.state.quarantined[node] = 1
        self.set_role(node, codes.ROLE_QUARANTINED, reasons.FENCE_FIRED)

    def prepare(self, node: int, reason: int) -> None:
        """Journal the intent to fence, with its evidence, long before it may be needed."""
        state = self.state
        if state.prepared[node] or state.mode == codes.MODE_OBSERVE:
            return
        state.prepared[node] = 1
        self.out.say(events.FENCE_PREPARED, node, reason)
        self.evidence()

    def void(self, node: int, reason: int) -> None:
        """What a fence of `node` was prepared for is over: the next one needs its own intent."""
        if self.state.prepared[node]:
            self.state.prepared[node] = 0
            self.out.say(events.FENCE_CANCELLED, node, reason)

    def fail_over(self, node: int, cause: int) -> None:
        """Fence `node` and let its successor take over, if no guard forbids it."""
        state = self.state
        if state.mode in ARMED:
            self.prepare(node, cause)
            reason = guards.first_reason(guards.AUTOMATIC, self.settings, state, self.facts, node)
        elif state.mode == codes.MODE_FENCER:
            return
        else:
            reason = guards.first_reason(guards.WOULD, self.settings, state, self.facts, node)
            if reason == reasons.NONE:
                self.would(node, cause)
                return
        if reason == reasons.NONE:
            state.successor = NO_NODE
            if self._loss_is_proof(node):
                self.begin_fence(node, reasons.POWER_LOST, True, True)
            else:
                self.begin_fence(node, cause, True)
        elif reason == reasons.NEEDS_APPROVAL and not state.denied[node]:
            off = fitness.is_off(self.settings, state, self.facts, node)
            self.ask(node, reasons.POWER_LOST if off else cause)
        elif reason != reasons.NOT_DURABLE or self.facts.age_ms[node] > self.settings.board.dead_ms + PREPARE_MS:
            # The intent is on its way into flash; that it cannot be written at all is a fault of its own.
            self.hold(node, reason)

    def _loss_is_proof(self, node: int) -> bool:
        """Tell whether the loss of its own power proves `node` off, once its contact is open, without a person: where
        the settings say so and something other than that one sense agrees.
        """
        settings = self.settings.nodes[node]
        wish = settings.power_loss if settings.power_loss != "board" else self.settings.board.power_loss
        if wish != "proof" or settings.fence != "power":
            return False
        if not fitness.lost_power(self.settings, self.state, self.facts, node):
            return False
        return settings.senses > 1 or fitness.peer_misses(self.facts, node)

    def would(self, node: int, cause: int) -> None:
        state = self.state
        if state.held == reasons.OBSERVE_MODE and state.held_node == node:
            return
        state.held = reasons.OBSERVE_MODE
        state.held_node = node
        self.out.say(events.WOULD_FENCE, node, cause)
        self.evidence()
        self.out.say(events.WOULD_GRANT, self.successor(node), cause, state.epoch + 1)
        state.active = NO_NODE

    def successor(self, node: int) -> int:
        """Return who would replace `node`, hot before cold; or NO_NODE."""
        found = fitness.successor_of(self.settings, self.state, self.facts, node)
        if found == NO_NODE:
            found = fitness.cold_successor_of(self.settings, self.state, self.facts, node)
        return found

    def ask(self, node: int, cause: int) -> None:
        """Ask a person to approve."""
        state = self.state
        state.request_number = state.request_number + 1 if state.request_number < 65535 else 1
        successor = self.successor(node)
        self.enter(APPROVAL, node, successor, cause)
        state.approval_ms = self.settings.board.approval_s * 1000
        state.asked_beats = self.facts.beats[node]
        self.out.say(events.APPROVAL_ASKED, node, cause, state.request_number, successor)
        self.evidence()
        self.out.persist = True

    def begin_fence(self, node: int, cause: int, automatic: bool, vouched: bool = False) -> None:
        """Fire: void the lease, count the action, and have the sequencer move the contact. `vouched`: its power is off
        already, and that is to be proof enough if it stays off.
        """
        state = self.state
        state.last_age_ms = self.facts.age_ms[node]
        state.asked_beats = self.facts.beats[node]
        self.enter(FENCING, node, state.successor, cause)
        self.out.say(events.FENCE_FIRED, node, cause, self._method(node), state.last_age_ms)
        self.evidence()
        self.out.act(VOUCH if vouched else FENCE, node)
        self.quarantine(node)
        if state.active == node:
            state.active = NO_NODE
        if automatic:
            self.count_action(node, cause)
        state.fired_incarnation[node] = self.facts.incarnation[node]
        state.forced = 0
        self.out.persist = True

    def _method(self, node: int) -> int:
        fence = self.settings.nodes[node].fence
        if fence == "power":
            return codes.METHOD_POWER
        if fence == "reset":
            return codes.METHOD_RESET
        return codes.METHOD_BUTTON if fence == "button" else codes.METHOD_LEASE

    def count_action(self, node: int, cause: int) -> None:
        """Count an automatic action on `node`; too many in the window lock it out."""
        state = self.state
        state.actions[node] = min(state.actions[node] + 1, 255)
        if not state.window_ms[node]:
            state.window_ms[node] = self.settings.board.window_s * 1000
        if state.actions[node] >= self.settings.board.max_actions and not state.locked[node]:
            state.locked[node] = 1
            self.out.say(events.LOCKED_OUT, node, cause, state.actions[node])
        self.out.persist = True

    def retire(self, node: int, reason: int) -> None:
        """Note durably that `node`, proven off or stopped, holds nothing any more."""
        state = self.state
        if state.active == node:
            state.active = NO_NODE
        if state.holder == node:
            state.holder = NO_NODE
            self.out.persist = True
        state.off_beats[node] = self.facts.beats[node]
        self.out.say(events.REVOKED, node, reason, state.epoch)
        if not state.quarantined[node]:
            self.set_role(node, codes.ROLE_STANDBY, reason)

    def highest_epoch(self) -> int:
        """Return the highest epoch that the store or any node heard knows; what leaps too far counts for nothing."""
        state = self.state
        facts = self.facts
        highest = state.epoch
        for node in range(NODE_COUNT):
            known = facts.node_epoch[node]
            if facts.enabled[node] and facts.beats[node] and known > highest:
                if not fitness.claims_too_much(state, facts, node):
                    highest = known
        return highest

    def promote(self, node: int, cause: int) -> None:
        """Make `node` the holder of a new epoch; it is granted once that is durable. Whatever led here, nobody is
        granted beside a node that says it runs, or while another one's long lease may be believed: then the seat of a
        node that was proven off stays empty.
        """
        state = self.state
        epoch = self.highest_epoch()
        rogue = fitness.other_runs(state, self.facts, node)
        reason = reasons.NONE
        if rogue != NO_NODE:
            reason = reasons.TWO_RUNNING
        elif state.long_ms and node != state.long_node:
            reason = reasons.LONG_LEASE
        elif epoch >= COUNT_MAX - 1:
            reason = reasons.EPOCH
        if reason != reasons.NONE:
            if state.phase == FENCING or state.phase == STARTING:
                self.retire(state.target, reasons.FENCE_PROVEN)
            self.rest()
            self.hold(node if rogue == NO_NODE else rogue, reason)
            return
        state.epoch = epoch + 1
        state.holder = node
        state.store_empty = 0
        self.out.persist = True
        self.enter(PROMOTING, state.target, node, cause)


def evidence_bits(facts, node: int) -> int:
    """Return the evidence on `node` as bits.EVIDENCE."""
    found = facts.node_state[node] | facts.flags[node] << bits.FLAGS_AT
    found |= facts.power[node] << bits.POWER_AT | facts.verdict[node] << bits.VERDICT_AT
    if fitness.is_half(facts, node):
        found |= 1 << bits.HALF_LINE_AT
    if facts.altered[node]:
        found |= 1 << bits.ALTERED_AT
    return found
