"""A fake agent on its server: beats on its line, answers challenges, obeys grants. The smallest right agent.

Not the product's agent (heartwire.agent): a second reading of PROTOCOL.md and of the agent's README, so that both must
agree with the board and with each other (tests/unit/agent/test_agent_twin.py). It also models what a server does
without its agent: services of a frozen server go on, its kernel watchdog bites. Fulfils body.Node.
"""

from __future__ import annotations

from typing import Any

from heartwire.simulate.body import Body
from heartwire_protocol import auth, codes, framing, messages

HEARTBEAT = messages.layout_of(messages.HEARTBEAT)
GRANT = messages.layout_of(messages.GRANT)
FENCE_REQUEST = messages.layout_of(messages.FENCE_REQUEST)
# How often an agent that ends says that it goes.
FAREWELLS = 2
FAREWELLS_MAX = 5
FOR_EVER_MS = 1 << 40
BUSY_MAX_S = 0xFFFF


class FakeNode(Body):
    """Node `node` with 32-byte key `key` (or none); the bench moves bytes and time."""

    def __init__(self, node: int, key: bytes | None = None, incarnation: int = 1000) -> None:
        super().__init__(node)
        self.signer = auth.Signer(key) if key else None
        self.incarnation = incarnation + node
        self.sequence = 0
        self.epoch = 0
        self.running = False
        self.stopped = True  # and that is verified
        self.extra_flags = 0
        self.role = codes.ROLE_OFFLINE
        self.orders = 0
        self.lease_ms = 0  # of the newest grant
        self.left_ms = 0  # of its lease
        self.challenge: bytes | None = None
        self.grants: list[dict[str, Any]] = []
        self.decoder = framing.Decoder(64)
        self.next_beat_ms = 0
        self.interval_ms = 1000
        self.told = ""  # the last line of text that the board has sent
        self.wants_fence: int | None = None
        self._ms = 0
        # What it knows of the board's word: nothing before the first grant.
        self._heard = False
        self._lease_epoch = 0  # the lease was given under this one
        self._is_own = False  # and to this agent, not to the one before it
        self._active_epoch = 0
        self._sent_ms = {0: 0}  # when its last heartbeats were sent, by sequence
        self._answered = 0  # the newest sequence that was
        self._leased_at = 0  # the sequence that the lease answers
        self._keep_ms = -1  # without a lease, what runs goes on until then; -1: not begun
        self._free_ms = 0  # the same, since a board that only watched was heard
        # What other programs told it.
        self._planned_off = False
        self._off_at = 0  # the last sequence that said so
        self._busy_until_ms = 0
        self._dump_until_ms = 0
        self._ill = False
        self._service_before: str | None = None  # it was made to hang, so that the agent says it starts
        # Its service.
        self._takes_ms = {"on_active": 0, "on_standby": 0, "check": 0}
        self._job = ""  # what takes time just now: on_active, on_standby
        self._job_ms = 0  # for so long still
        self._failed = False  # the last start
        self._up = False  # its agent is: with the first heartbeat
        self._known = False  # a check has told how the service is
        # Its agent ends and a new one starts: heartbeats that said farewell, and the first of them with all at rest.
        self._ends = False
        self._farewells = 0
        self._rest_at = 0
        self._over_ms = 0  # since it should have stopped
        self._unfed_ms = 0  # its kernel watchdog

    @property
    def serving(self) -> bool:
        """Tell whether its services act on the outside world: also those of a frozen server."""
        return self.running and (self.alive or self.frozen)

    @property
    def state(self) -> int:
        """Return the state that it says it is in."""
        if not self._up:
            return codes.STATE_STARTING
        is_busy = self._ms < max(self._busy_until_ms, self._dump_until_ms)
        if self._planned_off or (self._ends and not is_busy):
            return codes.STATE_PLANNED_OFF
        if self._ms < self._dump_until_ms:
            return codes.STATE_CRASH_DUMP
        if self._says() == "drain":
            return codes.STATE_DRAINING
        if self._ms < self._busy_until_ms:
            return codes.STATE_BUSY
        if self._ill or self._failed:
            return codes.STATE_DEGRADED
        if self._job == "on_active" or not (self._known or self.running):
            return codes.STATE_STARTING
        return codes.STATE_HEALTHY

    @state.setter
    def state(self, state: int) -> None:
        self.report(state)

    def _says(self) -> str:
        """Return what the board's newest word means for the service: advisory, keep, run, drain, stop."""
        runs = self.left_ms > 0 or self._ms < self._keep_ms
        without = "keep" if self.on_board_loss == "hold" else "stop"
        if not self._heard:
            return "keep" if runs else without
        if self.orders & messages.ORDER_ADVISORY:
            return "advisory"
        is_active = self.role == codes.ROLE_ACTIVE
        if self.orders & messages.ORDER_REVOKE or not (is_active or self.orders & messages.ORDER_HOLD):
            return "stop"
        if is_active and self.orders & messages.ORDER_DRAIN:
            return "drain"
        if not runs:
            return without if self._ms >= self._free_ms else "keep"
        return "run" if is_active and self._is_own and self._lease_epoch == self._active_epoch else "keep"

    def advance(self, elapsed: int) -> None:
        """Let the lease run out, and the kernel watchdog of a node that must stop."""
        self._ms += elapsed
        self.left_ms = max(0, self.left_ms - elapsed)
        self._job_ms -= elapsed if self.alive else 0
        if self.on_board_loss != "stop" or not (self.alive or self.frozen):
            self._over_ms = self._unfed_ms = 0
            return
        # A hung system feeds nothing; an agent goes on until a stop has had its time.
        must_stop = not self.stopped and self._says() == "stop"
        self._over_ms = self._over_ms + elapsed if must_stop else 0
        is_fed = self.alive and self._over_ms < self.stop_timeout_ms
        self._unfed_ms = 0 if is_fed else self._unfed_ms + elapsed
        if self._unfed_ms > self.watchdog_ms:
            self._unfed_ms = 0
            self.bitten = True

    def due(self, ms: int) -> list[bytes]:
        """Return what it sends at `ms` on its own clock, if anything is due."""
        self._ms = ms
        if not self.alive or (ms < self.next_beat_ms and not self._up):
            return []
        if self._keep_ms < 0:
            self._keep_ms = ms + self._grace_ms
        sent = self._beat(ms) if ms >= self.next_beat_ms else self._ask_to_fence()
        # What is done now is said in the next heartbeat: commands and checks take their time, if only a moment.
        if self._up:
            self._known = True
            if self._job and self._job_ms <= 0:
                self._finish()
            self._act()
        return [] if self.mute else sent

    @property
    def _grace_ms(self) -> int:
        return 1000 + 3 * self.interval_ms

    def _beat(self, ms: int) -> list[bytes]:
        # Fixed slots; after a pause no two closer than half an interval, which the board would take for altered.
        self.next_beat_ms += self.interval_ms
        while (self.next_beat_ms - ms) * 2 < self.interval_ms:
            self.next_beat_ms += self.interval_ms
        if self.speaks_text:
            return [b"hb\n"]
        frame = self.heartbeat()
        self._end()
        return [frame]

    @property
    def _rests(self) -> bool:
        """Tell whether nothing is left to be stopped, as far as it may be."""
        return self.stopped or self._says() == "advisory"

    def _end(self) -> None:
        """Let a new agent start once this one has said farewell; a drain is told until it was heard, or five times."""
        is_told = 0 < self._rest_at <= self._answered
        enough = FAREWELLS_MAX if self._planned_off and self._rests and not is_told else FAREWELLS
        if self._ends and self._farewells >= enough:
            self.restart_agent()

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
        self._up = True
        if self.trouble != "stuck":
            self.sequence += 1
        self._sent_ms[self.sequence] = self._ms
        self._sent_ms.pop(self.sequence - 64, None)
        state = self.state
        is_off = state == codes.STATE_PLANNED_OFF
        if is_off:
            self._off_at = self.sequence
        self._rest_at = (self._rest_at or self.sequence) if is_off and self._rests else 0
        if self._ends and (self._rests or not self._planned_off):
            self._farewells += 1
        flags = self.extra_flags
        flags |= messages.FLAG_RUNNING if self.running else 0
        flags |= messages.FLAG_VERIFIED_STOPPED if self.stopped and self._known else 0
        flags |= messages.FLAG_WATCHDOG_ARMED if self.on_board_loss == "stop" else 0
        challenge = self.challenge or bytes(4)
        if self.challenge:
            flags |= messages.FLAG_ANSWERED
            flags |= messages.FLAG_CHALLENGE_ODD if challenge[0] & 1 else 0
        payload = HEARTBEAT.pack(
            node_state=self.node | state << 2,
            flags=flags,
            incarnation=self.incarnation,
            sequence=self.sequence,
            epoch=self.epoch,
            busy_s=self._busy_s(state),
            mac=bytes(8),
        )
        body = payload[: HEARTBEAT.offset("mac")]
        mac = self.signer.mac(b"H", challenge, body) if self.signer else challenge + bytes(4)
        if self.trouble == "wrong":
            mac = bytes(byte ^ 0x5A for byte in mac)
        return framing.encode(messages.HEARTBEAT, body + mac)

    def _busy_s(self, state: int) -> int:
        """Return what is left of what keeps it busy, in s."""
        until_ms = {codes.STATE_BUSY: self._busy_until_ms, codes.STATE_CRASH_DUMP: self._dump_until_ms}.get(state, 0)
        return min(BUSY_MAX_S, -(-max(0, until_ms - self._ms) // 1000))

    def hear(self, data: bytes) -> None:
        """Take what the board sent."""
        if self.frozen or not (self._up or self.speaks_text):
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
        """Take a grant: does it answer a heartbeat of mine, none older than the newest answered, and is it signed?"""
        sequence = self.sequence - ((self.sequence - grant["answers"]) & 0xFFFF)
        newest = self._answered if self._answered <= self.sequence else 0  # it may have begun anew
        if sequence < max(1, newest) or sequence not in self._sent_ms:
            return
        answered = self.incarnation.to_bytes(4, "little") + sequence.to_bytes(4, "little")
        body = bytes(self.decoder.payload[: GRANT.offset("mac")])
        right = self.signer.mac(b"G", answered, body) if self.signer else answered
        if grant["mac"] != right:
            if self.foreign:
                return
            raise AssertionError("the board signed another answer")
        role, orders, epoch, lease_ms = grant["node_role"] >> 2, grant["orders"], grant["epoch"], grant["lease_ms"]
        is_second = sequence == self._answered
        self._known = True
        self.challenge = bytes(grant["challenge"])
        self.grants = [*self.grants[-20:], grant]
        self._answered = sequence
        takes = orders & (messages.ORDER_DRAIN | messages.ORDER_REVOKE | messages.ORDER_ADVISORY)
        if is_second and not takes and role == codes.ROLE_ACTIVE and lease_ms and epoch <= self.epoch:
            return  # it may take away, or give a higher epoch; it may not give again
        advisory, revoked = orders & messages.ORDER_ADVISORY, orders & messages.ORDER_REVOKE
        if epoch < self.epoch and not (advisory or revoked):
            return  # the board has lost its memory
        self._heard = True
        self.role, self.orders = role, orders
        if advisory:
            self.lease_ms = 0
            self._free_ms = self._ms + self._grace_ms
            self._end()
            return
        self.epoch = max(self.epoch, epoch)
        self.lease_ms = lease_ms
        if role == codes.ROLE_ACTIVE and not revoked:
            self._active_epoch = epoch
            if lease_ms:
                self.left_ms = max(0, lease_ms - (self._ms - self._sent_ms[sequence]))
                self._lease_epoch, self._is_own, self._leased_at, self._keep_ms = epoch, True, sequence, 0
        elif revoked or not orders & messages.ORDER_HOLD or epoch > self._lease_epoch:
            self.left_ms = self._keep_ms = 0
        self._act()
        self._end()

    def _act(self) -> None:
        """Bring the service to what the board, and whoever shuts this server down, wishes."""
        wish = self._says()
        if wish == "advisory":
            self._free_ms = self._ms + self._grace_ms
        if self._planned_off and wish in ("run", "keep"):
            wish = "drain"
        if not self.obedient:
            return
        if wish == "run":
            # A grant answers what was said: whoever takes his shutdown back starts nothing before he has said so.
            if self._leased_at > self._off_at:
                self._start()
        elif wish in ("drain", "stop"):
            self._stop()

    def _start(self) -> None:
        if self._job != "on_active" and (not self.running or self._job):
            self._begin("on_active")

    def _stop(self) -> None:
        if self._job != "on_standby" and (self._job or not self.stopped or self.running):
            self._begin("on_standby")

    def _begin(self, job: str) -> None:
        """Start or stop the service; what was under way is ended."""
        self._job, self._job_ms = job, self._takes_ms[job]
        self.stopped = self.stopped and job != "on_active"
        if job == "on_active" and self.service == "hangs":
            self._job_ms = FOR_EVER_MS
        if self._job_ms <= 0:
            self._finish()

    def _finish(self) -> None:
        """Come to the end of what was under way."""
        job, self._job = self._job, ""
        self.stopped = job == "on_standby"
        self.running = job == "on_active" and not self.service
        self._failed = job == "on_active" and self.service == "fails"

    def beat_from(self, ms: int) -> None:
        """Beat first at `ms`."""
        self.next_beat_ms = ms

    def beat_every(self, interval_ms: int) -> None:
        """Beat at another interval from now on."""
        self.interval_ms = interval_ms

    def report(self, state: int, seconds: int = 0) -> None:
        """Say `state` from now on; for busy and crash_dump how long it will take."""
        if not self._up:
            return
        until_ms = self._ms + 1000 * (seconds or BUSY_MAX_S)
        if state == codes.STATE_PLANNED_OFF:
            self._planned_off = True
            self._act()
        elif state == codes.STATE_BUSY:
            self._busy_until_ms = until_ms
        elif state == codes.STATE_CRASH_DUMP:
            self._dump_until_ms = until_ms
        elif state == codes.STATE_DEGRADED:
            self._ill = True
        elif state == codes.STATE_STARTING:
            self._service_before = self.service
            self.fail_service("hangs")
        else:
            self.end_report()
        self._end()

    def end_report(self) -> None:
        """Say that it is healthy."""
        self._forget()
        if self._service_before is not None:
            self.fail_service(self._service_before)
            self._service_before = None

    def _forget(self) -> None:
        self._planned_off = self._ill = False
        self._busy_until_ms = self._dump_until_ms = 0

    def serve(self) -> None:
        """Run the service without being asked."""
        self.running, self.stopped = True, False

    def obey(self, on: bool) -> None:
        """Do what the board says again, or neither start nor stop anything."""
        self.obedient = on

    def see_peer(self, seen: bool | None) -> None:
        """Say of the peer that it is seen, or missed; None: that none is known."""
        known, peer_seen = messages.FLAG_PEER_KNOWN, messages.FLAG_PEER_SEEN
        said = 0 if seen is None else known | (peer_seen if seen else 0)
        self.extra_flags = self.extra_flags & ~(known | peer_seen) | said

    def claim_epoch(self, epoch: int) -> None:
        """Say that this epoch was seen."""
        self.epoch = epoch

    def arm_watchdog(self, on: bool) -> None:
        """Have a kernel watchdog and stop without a lease, or neither."""
        self.on_board_loss = "stop" if on else "hold"

    def ask_to_fence(self, target: int) -> None:
        """Ask the board to fence another node."""
        self.wants_fence = target

    def fail_service(self, how: str) -> None:
        """Let its service fail from now on; see body.Node."""
        fails_now = bool(how) and (self.running or not self.stopped)
        self.service = how
        self._failed = False
        self._job = ""
        if fails_now:
            self.running = self.stopped = False
            self._act()

    def take_time(self, what: str, ms: int) -> None:
        """Let each start or stop take `ms` from now on; it knows without a check whether its service runs."""
        self._takes_ms[what] = ms

    def take_key(self, key: bytes) -> None:
        """Sign with another key from now on."""
        self.signer = auth.Signer(key)

    def crash(self) -> None:
        """Lose everything but the epoch on disk."""
        self.alive = False
        self.frozen = False
        self.running = False
        self._job = ""
        self._ends = False

    def boot(self) -> None:
        """Start a new agent on a fresh system."""
        super().boot()
        self.running, self.stopped = False, True
        self._forget()
        self._begin_agent()

    def upgrade_agent(self) -> None:
        """End the agent in good order, with its farewell, and start a new one, while the services go on."""
        if self._up and self.alive:
            self._ends = True

    def restart_agent(self) -> None:
        """Kill the agent and start a new one, while the services go on."""
        resumes = not self.stopped and self._says() != "advisory"
        left_ms = self.left_ms
        self._begin_agent()
        if resumes:
            self.left_ms, self._keep_ms = left_ms, 0

    def _begin_agent(self) -> None:
        self.incarnation += 10
        self.sequence = self._answered = self._leased_at = self._off_at = 0
        self._sent_ms = {}
        self.challenge = None
        self._heard = self._is_own = self._up = self._known = self._failed = False
        self._ends = False
        self._farewells = self._rest_at = 0
        self._job = ""
        self.lease_ms = self.left_ms = 0
        self._keep_ms = -1
        self._free_ms = 0
