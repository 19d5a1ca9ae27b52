"""From a frame to a grant: check length, node, the heartbeat it answers, and the signature.

Whatever fails a check is counted and dropped here; lease.py sees only good grants. A grant is good only if it answers
a heartbeat that this process sent, none older than the newest answered: a grant that waited in a buffer answers an
old heartbeat, and its lease runs from the old time. Called by the agent for each frame that comes in.
"""

from enum import Enum

from heartwire.agent.beat import Incarnation
from heartwire.agent.lease import Grant
from heartwire_protocol import auth, bits, messages
from heartwire_protocol.auth import Signer


class Refusal(Enum):
    """Why a frame did not count as a grant."""

    NOT_A_GRANT = "not_a_grant"
    WRONG_LENGTH = "wrong_length"
    OUT_OF_RANGE = "out_of_range"
    WRONG_NODE = "wrong_node"
    UNKNOWN_HEARTBEAT = "unknown_heartbeat"
    WRONG_MAC = "wrong_mac"


class GrantReader:
    """Read grants for one node; `refused` counts what was dropped, `newest_event` is the board's newest record."""

    def __init__(self, node: int, signer: Signer | None) -> None:
        self.node = node
        self.newest_event = 0
        self.refused = dict.fromkeys(Refusal, 0)
        self._signer = signer
        self._former: Signer | None = None  # until the first grant with the key after it
        self._layout = messages.layout_of(messages.GRANT)
        self._values = [0] * len(self._layout.names)
        self._index = {name: at for at, name in enumerate(self._layout.names)}
        self._challenge_at = self._layout.offset("challenge")
        self._mac_at = self._layout.offset("mac")

    def use(self, signer: Signer) -> None:
        """Take another key from now on; what answers a heartbeat from before may still be signed with the former."""
        self._former, self._signer = self._signer, signer

    def read(self, message_type: int, payload: memoryview | bytes, incarnation: Incarnation) -> Grant | Refusal:
        """Return the grant in `payload`, or why it is none. A good one also sets the challenge to answer next."""
        grant = self._read(message_type, payload, incarnation)
        if isinstance(grant, Refusal):
            self.refused[grant] += 1
        return grant

    def _read(self, message_type: int, payload: memoryview | bytes, incarnation: Incarnation) -> Grant | Refusal:
        if message_type != messages.GRANT:
            return Refusal.NOT_A_GRANT
        if not self._layout.fits(len(payload)):
            return Refusal.WRONG_LENGTH
        values = self._values
        index = self._index
        if not self._layout.read_into(values, payload):
            return Refusal.OUT_OF_RANGE
        node_role = values[index["node_role"]]
        parts = bits.unpack(bits.NODE_ROLE, node_role)
        if parts["node"] != self.node:
            return Refusal.WRONG_NODE
        if bits.pack(bits.NODE_ROLE, **parts) != node_role:
            return Refusal.OUT_OF_RANGE
        sent = incarnation.sent_as(values[index["answers"]])
        if sent is None:
            return Refusal.UNKNOWN_HEARTBEAT
        sequence, sent_ns = sent
        binding = incarnation.number.to_bytes(4, "little") + sequence.to_bytes(4, "little")
        mac = bytes(payload[self._mac_at : self._mac_at + 8])
        if self._signer is None:
            right = auth.same(mac, binding)
        else:
            body = bytes(payload[: self._mac_at])
            right = auth.same(mac, auth.grant_mac(self._signer, binding, body))
            if right:
                self._former = None
            elif self._former is not None:
                right = auth.same(mac, auth.grant_mac(self._former, binding, body))
        if not right:
            return Refusal.WRONG_MAC
        incarnation.answered(sequence, bytes(payload[self._challenge_at : self._challenge_at + 4]))
        self.newest_event = values[index["newest_event"]]
        return Grant(
            sequence=sequence,
            sent_ns=sent_ns,
            role=parts["role"],
            orders=values[index["orders"]],
            epoch=values[index["epoch"]],
            lease_ms=values[index["lease_ms"]],
        )
