"""A node as the board sees it: beats on its line, answers challenges, obeys grants. The smallest right agent.

Not the product's agent (heartwire.agent): a second reading of PROTOCOL.md, so that both must agree with the board. It
also models what a server does without its agent: services of a frozen server go on, its kernel watchdog bites.
"""

from __future__ import annotations

from typing import Any

from heartwire_protocol import auth, codes, framing, messages

HEARTBEAT = messages.layout_of(messages.HEARTBEAT)
GRANT = messages.layout_of(messages.GRANT)
FENCE_REQUEST = messages.layout_of(messages.FENCE_REQUEST)
# What an agent says of a service that fails so.
SAYS = {"fails": codes.STATE_DEGRADED, "hangs": codes.STATE_STARTING}


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
        self.left_ms = 0  # of its lease
        self.on_board_loss = "hold"
        self.self_fence_ms = 60000
        self.challenge: bytes | None = None
        self.grants: list[dict[str, Any]] = []
        self.decoder = framing.Decoder(64)
        self.next_beat_ms = 0
        self.interval_ms = 1000
        self.baud = 0  # what its line is set to; 0: always what the board's is
        self.speaks_text = False  # the plain-text profile: any line is a sign of life
        self.told = ""  # the last line of text that the board has sent
        self.wants_fence: int | None = None
        # Faults.
        self.frozen = False  # everything stands still but what the services still do to the outside
        self.mute = False
        self.trouble = ""  # how its heartbeats are altered: wrong, stuck
        self.service = ""  # how its service fails under a living agent: fails, fails-quietly, hangs
        self.foreign = False  # the board has another key for it, or answers what was recorded: not all is meant for it
        self.bitten = False
        self._said = self.state
        self._unfed_ms = 0

    @property
    def serving(self) -> bool:
        """Tell whether its services act on the outside world: also those of a frozen server."""
        return self.running and (self.alive or self.frozen)

    def advance(self, elapsed: int) -> None:
        """Let the lease run out, and the kernel watchdog of a node that must stop."""
        self.left_ms = max(0, self.left_ms - elapsed)
        if self.left_ms or not self.running or self.on_board_loss != "stop" or not self.lease_ms:
            self._unfed_ms = 0
            return
        if self.alive and not self.frozen and self.obedient:
            self._stop()
            return
        self._unfed_ms += elapsed
        if self._unfed_ms >= self.self_fence_ms and (self.alive or self.frozen):
            self._unfed_ms = 0
            self.bitten = True

    def due(self, ms: int) -> list[bytes]:
        """Return what it sends at `ms` on its own clock, if anything is due."""
        if not self.alive:
            return []
        if ms < self.next_beat_ms:
            return self._ask_to_fence()
        self.next_beat_ms += self.interval_ms
        if self.next_beat_ms <= ms:
            self.next_beat_ms = ms + self.interval_ms
        if self.mute:
            return []
        return [b"hb\n" if self.speaks_text else self.heartbeat()]

    def _ask_to_fence(self) -> list[bytes]:
        """Return the request to fence another node, once its newest heartbeat was answered: it is bound to that."""
        if self.wants_fence is None or not self.grants or not self.signer or not self.challenge:
            return []
        if self.grants[-1]["answers"] != self.sequence & 0xFFFF:
            return []
        body = FENCE_REQUEST.pack(target=self.wants_fence, sequence=self.sequence, mac=bytes(8))
        body = body[: FENCE_REQUEST.offset("mac")]
        self.wants_fence = None
        mac = self.signer.mac(b"F", self.challenge, self.incarnation.to_bytes(4, "little"), body)
        return [framing.encode(messages.FENCE_REQUEST, body + mac)]

    def heartbeat(self) -> bytes:
        """Return the next heartbeat as it goes onto the line."""
        if self.trouble != "stuck":
            self.sequence += 1
        self._said = self.state
        flags = self.extra_flags
        flags |= messages.FLAG_RUNNING if self.running else 0
        flags |= messages.FLAG_VERIFIED_STOPPED if self.stopped else 0
        flags |= messages.FLAG_WATCHDOG_ARMED if self.on_board_loss == "stop" else 0
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
        if self.trouble == "wrong":
            mac = bytes(byte ^ 0x5A for byte in mac)
        return framing.encode(messages.HEARTBEAT, body + mac)

    def hear(self, data: bytes) -> None:
        """Take what the board sent."""
        if self.frozen:
            return
        if self.speaks_text:
            self._hear_text(data)
            return
        at = 0
        while at < len(data):
            at = self.decoder.feed(data, at, len(data))
            if self.decoder.ready and self.decoder.message_type == messages.GRANT:
                self._take(GRANT.unpack(bytes(self.decoder.payload[: self.decoder.length])))

    def _hear_text(self, data: bytes) -> None:
        """Take a line such as "active 7": a script without a lease does what it was told last."""
        self.told = data.decode("ascii", "replace").strip()
        word = self.told.split(" ")[0]
        if self.obedient and word in codes.ROLES:
            self.role = codes.ROLES.index(word)
            if self.role == codes.ROLE_ACTIVE:
                self._start()
            else:
                self._stop()

    def _take(self, grant: dict[str, Any]) -> None:
        if grant["answers"] != self.sequence & 0xFFFF:
            return
        answered = self.incarnation.to_bytes(4, "little") + self.sequence.to_bytes(4, "little")
        body = bytes(self.decoder.payload[: GRANT.offset("mac")])
        right = self.signer.mac(b"G", answered, body) if self.signer else answered
        if grant["mac"] != right:
            if self.foreign:
                return
            raise AssertionError("the board signed another answer")
        if self.grants and self.grants[-1]["answers"] == grant["answers"]:
            # A second grant for one heartbeat may take away, or give a higher epoch; it may not give again.
            gives = grant["lease_ms"] and not grant["orders"] & (messages.ORDER_DRAIN | messages.ORDER_REVOKE)
            if gives and grant["epoch"] <= self.epoch:
                return
        self.challenge = bytes(grant["challenge"])
        self.grants = [*self.grants[-20:], grant]
        self.orders = grant["orders"]
        if self.orders & messages.ORDER_ADVISORY:
            self.lease_ms = 0
            return
        if grant["epoch"] < self.epoch and not self.orders & messages.ORDER_REVOKE:
            return  # the board has lost its memory
        self.epoch = max(self.epoch, grant["epoch"])
        self.lease_ms = grant["lease_ms"]
        if self.state == codes.STATE_DRAINING and not self.orders & messages.ORDER_DRAIN:
            self.state = codes.STATE_HEALTHY
        if self.orders & messages.ORDER_HOLD:
            return
        self.role = grant["node_role"] >> 2
        if not self.obedient:
            return
        if self.orders & messages.ORDER_DRAIN:
            self.state = codes.STATE_DRAINING
            self._stop()
        elif self.role == codes.ROLE_ACTIVE and self.lease_ms:
            self.left_ms = self.lease_ms
            # A grant answers what it said: one that takes its shutdown back starts nothing before it has said so.
            if codes.STATE_PLANNED_OFF not in (self.state, self._said):
                self._start()
        elif self.orders & messages.ORDER_REVOKE or self.role != codes.ROLE_ACTIVE:
            self._stop()

    def _start(self) -> None:
        if not self.service:
            self.running, self.stopped = True, False
            return
        self.running, self.stopped = False, self.service == "fails-quietly"
        if self.state == codes.STATE_HEALTHY and self.service in SAYS:
            self.state = SAYS[self.service]

    def _stop(self) -> None:
        self.running, self.stopped = False, True
        self._forget_failure()  # stopping succeeds, and nothing has failed since

    def _forget_failure(self) -> None:
        if self.state == SAYS.get(self.service):
            self.state = codes.STATE_HEALTHY

    def fail_service(self, how: str) -> None:
        """Let its service fail from now on, the running one and each that is started, while its agent lives.

        fails: the agent says degraded; hangs: no start comes to its end, so it says starting; fails-quietly: it says
        healthy, and verified stopped. With "" the next grant starts it again.
        """
        fails_now = self.running or not self.stopped
        self._forget_failure()
        self.service = how
        if how and fails_now:
            self._start()

    def take_key(self, key: bytes) -> None:
        """Sign with another key from now on."""
        self.signer = auth.Signer(key)

    def crash(self) -> None:
        """Lose everything but the epoch on disk."""
        self.alive = False
        self.frozen = False
        self.running = False

    def freeze(self) -> None:
        """Stop beating and hearing while the services' effects go on: a hung system."""
        if self.alive:
            self.alive = False
            self.frozen = True

    def thaw(self) -> None:
        """Go on after freezing, with everything as it was."""
        if self.frozen:
            self.frozen = False
            self.alive = True

    def boot(self) -> None:
        """Start a new agent on a fresh system."""
        self.alive = True
        self.frozen = False
        self.mute = False
        self.trouble = ""
        self.incarnation += 10
        self.sequence = 0
        self.challenge = None
        self.running, self.stopped = False, True
        self.state = codes.STATE_HEALTHY
        self.busy_s = 0
        self.lease_ms = 0
        self.left_ms = 0

    def restart_agent(self) -> None:
        """Start a new agent while the services go on."""
        self.incarnation += 10
        self.sequence = 0
        self.challenge = None
