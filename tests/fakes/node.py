"""A node as the board sees it: beats on its line, answers challenges, obeys grants. The smallest right agent, in
virtual time.

Not the product's agent (heartwire.agent): a second reading of PROTOCOL.md, so that both must agree with the board.
"""

from __future__ import annotations

from heartwire_protocol import auth, codes, framing, messages

HEARTBEAT = messages.layout_of(messages.HEARTBEAT)
GRANT = messages.layout_of(messages.GRANT)


class FakeNode:
    """Node `node` with 32-byte key `key` (or none); the bench moves bytes and time."""

    def __init__(self, node: int, key: bytes | None = None, incarnation: int = 1000) -> None:
        self.node = node
        self.signer = auth.Signer(key) if key else None
        self.incarnation = incarnation + node
        self.sequence = 0
        self.epoch = 0
        self.state = codes.STATE_HEALTHY
        self.running = False
        self.stopped = True
        self.extra_flags = 0
        self.busy_s = 0
        self.alive = True
        self.obedient = True
        self.role = codes.ROLE_OFFLINE
        self.orders = 0
        self.lease_ms = 0
        self.challenge: bytes | None = None
        self.grants: list[dict[str, int]] = []
        self.decoder = framing.Decoder(64)
        self.next_beat_ms = 0
        self.interval_ms = 1000

    def heartbeat(self) -> bytes:
        self.sequence += 1
        flags = self.extra_flags
        flags |= messages.FLAG_RUNNING if self.running else 0
        flags |= messages.FLAG_VERIFIED_STOPPED if self.stopped else 0
        challenge = self.challenge or bytes(4)
        if self.challenge:
            flags |= messages.FLAG_ANSWERED
            flags |= messages.FLAG_CHALLENGE_ODD if challenge[0] & 1 else 0
        payload = HEARTBEAT.pack(
            node_state=self.node | self.state << 2,
            flags=flags,
            incarnation=self.incarnation,
            sequence=self.sequence,
            epoch=self.epoch,
            busy_s=self.busy_s,
            mac=bytes(8),
        )
        body = payload[: HEARTBEAT.offset("mac")]
        mac = self.signer.mac(b"H", challenge, body) if self.signer else challenge + bytes(4)
        return framing.encode(messages.HEARTBEAT, body + mac)

    def hear(self, data: bytes) -> None:
        """Take what the board sent."""
        at = 0
        while at < len(data):
            at = self.decoder.feed(data, at, len(data))
            if self.decoder.ready and self.decoder.message_type == messages.GRANT:
                self._take(GRANT.unpack(bytes(self.decoder.payload[: self.decoder.length])))

    def _take(self, grant: dict[str, int]) -> None:
        if grant["answers"] != self.sequence & 0xFFFF:
            return
        answered = self.incarnation.to_bytes(4, "little") + self.sequence.to_bytes(4, "little")
        body = bytes(self.decoder.payload[: GRANT.offset("mac")])
        right = self.signer.mac(b"G", answered, body) if self.signer else answered
        assert grant["mac"] == right, "the board signed another answer"
        if self.grants and self.grants[-1]["answers"] == grant["answers"]:
            # A second grant for one heartbeat may take away, or give a higher epoch; it may not give again.
            gives = grant["lease_ms"] and not grant["orders"] & (messages.ORDER_DRAIN | messages.ORDER_REVOKE)
            if gives and grant["epoch"] <= self.epoch:
                return
        self.challenge = bytes(grant["challenge"])  # type: ignore[call-overload]
        self.grants.append(grant)
        self.orders = grant["orders"]
        self.lease_ms = grant["lease_ms"]
        if self.orders & messages.ORDER_HOLD:
            return
        self.role = grant["node_role"] >> 2
        if not self.obedient or self.orders & messages.ORDER_ADVISORY:
            return
        if self.orders & messages.ORDER_DRAIN:
            self.state, self.running, self.stopped = codes.STATE_DRAINING, False, True
        elif self.role == codes.ROLE_ACTIVE and self.lease_ms and grant["epoch"] >= self.epoch:
            self.state, self.running, self.stopped, self.epoch = codes.STATE_HEALTHY, True, False, grant["epoch"]
        elif self.orders & messages.ORDER_REVOKE or self.role != codes.ROLE_ACTIVE:
            self.state, self.running, self.stopped = codes.STATE_HEALTHY, False, True

    def crash(self) -> None:
        """Lose everything but the epoch on disk."""
        self.alive = False

    def boot(self) -> None:
        """Start a new agent."""
        self.alive = True
        self.incarnation += 10
        self.sequence = 0
        self.challenge = None
        self.running, self.stopped = False, True
        self.state = codes.STATE_HEALTHY
        self.lease_ms = 0
