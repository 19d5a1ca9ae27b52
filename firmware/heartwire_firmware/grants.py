"""Grants: the reply to a heartbeat, built in place. Says who is active, for how long, and what the node is asked to do.

A lease leaves the board only for the node that is entitled, in the incarnation that was granted, and only while exactly
this (epoch, holder) is durable; no node is told an epoch that a power cut could take back. A board that has not made up
its mind about a node orders `hold`, so that a running service is not interrupted by a restart of the board. It decides
nothing.
"""

from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import DRAINING
from heartwire_protocol import auth, bits, codes, framing, messages, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT


class Grants:
    """Builds the grants of all nodes from `state` and `facts`; `left_ms[node]` is what a node may still have of a
    lease.
    """

    def __init__(self, state, facts):
        self._state = state
        self._facts = facts
        self._layout = messages.layout_of(messages.GRANT)
        self._payload = bytearray(self._layout.length)
        self._mac_at = self._layout.offset("mac")
        self._body = memoryview(self._payload)[: self._mac_at]
        self._frame = bytearray(framing.wire_length(self._layout.length))
        self._view = memoryview(self._frame)
        self._answered = bytearray(8)
        self._lease_ms = 0
        self.left_ms = [0] * NODE_COUNT
        self._told = [0] * NODE_COUNT
        self._told_epoch = 0

    def configure(self, board) -> None:
        """Take settings."""
        self._lease_ms = board.lease_ms

    def step(self, elapsed_ms: int) -> None:
        """Let time pass."""
        for node in range(NODE_COUNT):
            if self.left_ms[node]:
                self.left_ms[node] = max(0, self.left_ms[node] - elapsed_ms)

    def is_entitled(self, node: int) -> bool:
        """Tell whether `node` may be given a lease now."""
        state = self._state
        facts = self._facts
        if state.active != node or facts.incarnation[node] != state.active_incarnation or state.quarantined[node]:
            return False
        return state.mode not in ARMED or (facts.durable_epoch == state.epoch and facts.durable_holder == node)

    def _orders(self, node: int) -> int:
        state = self._state
        facts = self._facts
        orders = 0
        if state.mode not in ARMED:
            orders |= messages.ORDER_ADVISORY
        if state.phase == DRAINING and state.target == node and state.cause != reasons.OPERATOR:
            orders |= messages.ORDER_DRAIN
        if state.rung[node] and facts.verdict[node] != codes.VERDICT_GOOD:
            orders |= messages.ORDER_RECOVER
        if state.active != node:
            if self._is_revoked(node):
                orders |= messages.ORDER_REVOKE
            else:
                orders |= messages.ORDER_HOLD
        return orders

    def _is_revoked(self, node: int) -> bool:
        """Tell whether `node`, which is not active, must stop. A board that may have an old store only says hold."""
        state = self._state
        facts = self._facts
        if state.quarantined[node] or state.active != NO_NODE:
            return True
        if state.store_empty or state.holder == node or state.holder == NO_NODE:
            return False
        return facts.beats[node] > 0 and facts.node_epoch[node] <= state.epoch

    def has_changed(self, node: int) -> bool:
        """Tell, once, whether what `node` would be told has changed: it is then told at once, not at its next
        heartbeat.
        """
        told = self._orders(node) | self._state.role[node] << 5 | (1 << 7 if self.is_entitled(node) else 0)
        if told == self._told[node] and self._facts.durable_epoch == self._told_epoch:
            return False
        self._told[node] = told
        if node == NODE_COUNT - 1:
            self._told_epoch = self._facts.durable_epoch
        return True

    def frame(self, intake, newest_event: int, good: bool) -> memoryview:
        """Return the grant that answers `intake`'s last heartbeat; `good`: its answer was right, so a lease may go with
        it.
        """
        node = intake.node
        layout = self._layout
        payload = self._payload
        role = self._state.role[node]
        orders = self._orders(node)
        lease_ms = 0
        if good and self.is_entitled(node):
            lease_ms = self._lease_ms
            if node == self._state.long_node and self._facts.durable_long:
                lease_ms = max(lease_ms, self._state.long_ms)
            self.left_ms[node] = lease_ms
        elif self._state.active == node:
            # Its role stands, but this heartbeat proves nothing that a lease could answer.
            orders |= messages.ORDER_HOLD
        payload[0] = node | role << bits.ROLE_AT
        payload[1] = orders
        layout.put(payload, "epoch", self._facts.durable_epoch)
        layout.put(payload, "lease_ms", lease_ms)
        layout.put(payload, "answers", intake.answer_sequence & 0xFFFF)
        layout.put(payload, "newest_event", newest_event & 0xFFFFFF)
        layout.put(payload, "challenge", intake.challenge.current)
        answered = self._answered
        answered[:4] = intake.answer_incarnation.to_bytes(4, "little")
        answered[4:] = intake.answer_sequence.to_bytes(4, "little")
        layout.put(payload, "mac", auth.grant_mac(intake.signer, answered, self._body) if intake.signer else answered)
        length = framing.encode_into(self._frame, messages.GRANT, payload, len(payload))
        return self._view[:length]

    def text(self, intake) -> bytes:
        """Return the reply of the plain-text profile, such as b"active 7"."""
        node = intake.node
        role = self._state.role[node]
        if role == codes.ROLE_ACTIVE and not self.is_entitled(node):
            role = codes.ROLE_STANDBY
        elif role == codes.ROLE_ACTIVE:
            self.left_ms[node] = self._lease_ms
        return b"%s %d\r\n" % (codes.ROLES[role].encode(), self._facts.durable_epoch)
