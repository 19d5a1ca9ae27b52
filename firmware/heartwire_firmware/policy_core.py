"""Core of the policy: the steps that change who is entitled and what is fenced, each with its record.

Shared by the other policy files, which build on it: policy_observe (what the nodes show), policy_seek (nobody is
active) and policy (the operation under way). It decides nothing by itself; guards.py says what forbids a fence.
"""

from heartwire_firmware import guards
from heartwire_firmware.policy_state import APPROVAL, FENCE, FENCING, PROMOTING
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT

ARMED = (codes.MODE_APPROVE, codes.MODE_AUTO)
HEARD = (codes.VERDICT_GOOD, codes.VERDICT_LATE)
ALIVE = (codes.VERDICT_GOOD, codes.VERDICT_UNHEARD)
STOPPED = messages.FLAG_RUNNING | messages.FLAG_VERIFIED_STOPPED


class Core:
    """The policy's parts and the changes they can make."""

    def __init__(self, settings, state, facts, out):
        self.settings = settings
        self.state = state
        self.facts = facts
        self.out = out

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
        if phase != APPROVAL:
            state.approval_ms = 0

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
            self.begin_fence(node, cause, True)
        elif reason == reasons.NEEDS_APPROVAL and not state.denied[node]:
            self.ask(node, cause)
        elif reason != reasons.NOT_DURABLE:
            self.hold(node, reason)

    def would(self, node: int, cause: int) -> None:
        state = self.state
        if state.held == reasons.OBSERVE_MODE and state.held_node == node:
            return
        state.held = reasons.OBSERVE_MODE
        state.held_node = node
        self.out.say(events.WOULD_FENCE, node, cause)
        self.evidence()
        successor = guards.successor_of(self.settings, state, self.facts, node)
        self.out.say(events.WOULD_GRANT, successor, cause, state.epoch + 1)
        state.active = NO_NODE

    def ask(self, node: int, cause: int) -> None:
        state = self.state
        state.request_number = state.request_number + 1 if state.request_number < 65535 else 1
        state.approval_ms = self.settings.board.approval_s * 1000
        successor = guards.successor_of(self.settings, state, self.facts, node)
        self.enter(APPROVAL, node, successor, cause)
        self.out.say(events.APPROVAL_ASKED, node, cause, state.request_number, successor)
        self.evidence()
        self.out.persist = True

    def begin_fence(self, node: int, cause: int, automatic: bool) -> None:
        state = self.state
        state.last_age_ms = self.facts.age_ms[node]
        self.enter(FENCING, node, NO_NODE, cause)
        self.out.say(events.FENCE_FIRED, node, cause, 1, state.last_age_ms)
        self.evidence()
        self.out.act(FENCE, node)
        self.quarantine(node)
        if state.active == node:
            state.active = NO_NODE
        if automatic:
            state.actions[node] = min(state.actions[node] + 1, 255)
            if not state.window_ms[node]:
                state.window_ms[node] = self.settings.board.window_s * 1000
            if state.actions[node] >= self.settings.board.max_actions:
                state.locked[node] = 1
                self.out.say(events.LOCKED_OUT, node, cause, state.actions[node])
        state.fired_incarnation[node] = self.facts.incarnation[node]
        self.out.persist = True

    def retire(self, node: int, reason: int) -> None:
        """Note durably that `node`, proven off or stopped, holds nothing any more."""
        state = self.state
        if state.active == node:
            state.active = NO_NODE
        if state.holder == node:
            state.holder = NO_NODE
            self.out.persist = True
        self.out.say(events.REVOKED, node, reason, state.epoch)
        if not state.quarantined[node]:
            self.set_role(node, codes.ROLE_STANDBY, reason)

    def promote(self, node: int, cause: int) -> None:
        """Make `node` the holder of a new epoch; it is granted once that is durable."""
        state = self.state
        if state.epoch >= COUNT_MAX - 1:
            self.hold(node, reasons.NOT_DURABLE)
            return
        state.epoch += 1
        state.holder = node
        state.declared = NO_NODE
        state.store_empty = 0
        self.out.persist = True
        self.enter(PROMOTING, state.target, node, cause)


def evidence_bits(facts, node: int) -> int:
    """Return the evidence on `node` as bits: 0-2 state, 3-9 flags, 10-11 power, 12 half line, 13 altered, 14-15
    verdict.
    """
    bits = facts.node_state[node] | facts.flags[node] << 3 | facts.power[node] << 10 | facts.verdict[node] << 14
    if facts.half_line[node]:
        bits |= 1 << 12
    if facts.altered[node]:
        bits |= 1 << 13
    return bits
