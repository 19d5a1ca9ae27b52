"""Peers: answers a node that asks over its own line to have another one fenced, or only how that one is.

Whether it may is the policy's to say; a node that asks too often is refused before. Used by supervisor.
"""

from heartwire_firmware import policy_requests
from heartwire_firmware.policy_state import PREPARING
from heartwire_firmware.sequencer import FIRED, IDLE
from heartwire_protocol import auth, bits, messages, operations, reasons
from heartwire_protocol.codes import NODE_COUNT

# Fences that may be asked for over one line in a window: a cluster that retries asks every few seconds.
ASKS_MAX = 12
ASKS_WINDOW_MS = 60000


class Peers:
    """Asks `brain` (brain.Brain) and tells how the target is by `sequencer`, `senses` and `relays`."""

    def __init__(self, brain, sequencer, senses, relays):
        self._brain = brain
        self._sequencer = sequencer
        self._senses = senses
        self._relays = relays
        self._asks = [0] * NODE_COUNT  # fences that each node asked for since the window began
        self._asks_ms = 0
        self._reply = messages.layout_of(messages.FENCE_REPLY)

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass; called in quiet slots."""
        if self._asks_ms:
            self._asks_ms = max(0, self._asks_ms - elapsed_ms)

    def answer(self, intake, asked: int) -> bytearray:
        """Return the reply to the node of `intake`, which asks for a fence; `asked`: fence_request.target."""
        node = intake.node
        policy = self._brain.policy
        target = asked & bits.NODE_MASK
        by = (asked & bits.TOOL_MASK | node) << bits.BY_AT
        result = 1
        if asked & messages.FENCE_QUESTION:
            result = 2
            reason = policy_requests.may_ask(policy, node, target)
        elif self._sequencer.status[target] == IDLE and self._asks_too_often(node):
            reason = reasons.TOO_OFTEN
            self._brain.refuse(operations.FENCE, target, reason, by)
        else:
            reason = self._brain.request(policy_requests.PEER_FENCE, target, by, reasons.PEER)
        state = policy.state
        fence = self._sequencer.status[target]
        if fence == IDLE and state.phase == PREPARING and state.target == target:
            fence = FIRED
        payload = bytearray(self._reply.length)
        shown = fence | self._senses.power[target] << bits.IS_POWER_AT | state.mode << bits.IS_MODE_AT
        if self._relays.commanded[target]:
            shown |= 1 << bits.IS_RELAY_AT
        values = (asked, 0 if reason else result, reason, shown, intake.request_sequence)
        for index in range(len(values)):
            self._reply.put(payload, self._reply.names[index], values[index])
        if intake.signer is not None:
            body = bytes(payload[: self._reply.offset("mac")])
            self._reply.put(payload, "mac", auth.fence_reply_mac(intake.signer, intake.incarnation, body))
        return payload

    def _asks_too_often(self, node: int) -> bool:
        """Count a request that may move something; a peer that goes wrong must not keep the board busy."""
        if not self._asks_ms:
            self._asks_ms = ASKS_WINDOW_MS
            self._asks = [0] * NODE_COUNT
        self._asks[node] += 1
        return self._asks[node] > ASKS_MAX
