"""One agent: the stages joined and stepped, in this order: judge, watchdog, grants, services, heartbeat, status.

The lease is judged before anything else, so that an agent that was paused or suspended finds out first that its lease
is over. It never waits and never reads a clock but the one handed in; run.py waits for input and calls `step`. The
board's words come in through `line`, everything else that touches the world is handed in as well.
"""

from collections.abc import Callable
from typing import Any

from heartwire import __version__
from heartwire.agent import watchdog as dog
from heartwire.agent.beat import HeartbeatBuilder, Incarnation, Report, Schedule
from heartwire.agent.conditions import Conditions
from heartwire.agent.control import Reply
from heartwire.agent.events import EventReader
from heartwire.agent.fence import FenceAsker
from heartwire.agent.grants import GrantReader, Refusal
from heartwire.agent.lease import NS_PER_MS, Judgement, Lease, Verdict, Wish, grace_ns
from heartwire.agent.line import Line
from heartwire.agent.log import Log
from heartwire.agent.peer import PeerLink
from heartwire.agent.probes import Probes
from heartwire.agent.services import NS_PER_S, STORING, Services
from heartwire.agent.settings import AgentSettings
from heartwire.agent.silence import Silence
from heartwire.agent.state import Store
from heartwire_protocol import codes, framing, messages
from heartwire_protocol.auth import Signer

STATUS_NS = NS_PER_S
EPOCH_RETRY_NS = 5 * NS_PER_S
# How often a port that is being opened is looked at: nothing wakes the loop when a driver is done.
CONNECTS_NS = 20_000_000
# A node that has just started, or heard a recorded grant, is told so as well; only an order that stands is obeyed.
RECOVER_GRANTS = 3
# Why a service that has no lease must stop.
WITHOUT_LEASE = ("board_holds", "not_leased", "lease_over")
# The last heartbeats say "planned off" this often; the higher number where the services were stopped for it and no
# answer came, as the board lets another one take over only by that word.
FAREWELLS = 2
FAREWELLS_MAX = 5

# The longest payload that the board sends on a node line.
PAYLOAD_MAX = max(messages.layout_of(messages.GRANT).length, messages.RECORD_LENGTH)

Clock = Callable[[], int]


def _nobody(_: dict[str, Any]) -> None:
    """Take an answer that nobody waits for."""


class Agent:
    """Heartbeats, lease, services and watchdog of one node."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        key: bytes | None,
        lease: Lease,
        line: Line,
        services: Services,
        probes: Probes,
        peer: PeerLink | None = None,
        watchdog: dog.Watchdog,
        disk: Store,
        log: Log,
        boot: str,
        clock: Clock,
    ) -> None:
        signer = Signer(key) if key else None
        node = settings.node_number
        self.settings = settings
        self.lease = lease
        self.line = line
        self.services = services
        self.watchdog = watchdog
        self.disk = disk
        self.conditions = Conditions()
        self.probes = probes
        self.peer = peer
        self.incarnation = Incarnation()
        self.schedule = Schedule(settings.interval_ms * NS_PER_MS, clock())
        self.silence = Silence(settings.reopen_after, settings.interval_ms)
        self.grants = GrantReader(node, signer)
        self.fencing = FenceAsker(node, signer)
        self.events = EventReader(settings.board_id, signer)
        self.peer_seen: bool | None = None
        self.newest_grant_ns = 0
        self.judged = lease.judge(clock())
        self.wish = self.judged
        if services.suspect and self.judged.left_ms:
            services.presume_running()
        self.epochs_refused = 0
        self._log = log
        self._boot = boot
        self._clock = clock
        self._builder = HeartbeatBuilder(node, signer)
        self._decoder = framing.Decoder(PAYLOAD_MAX)
        self._recover_grants = 0
        self._stop_timeout_ns = int(settings.stop_timeout_s * NS_PER_S)
        self._interval_ns = settings.interval_ms * NS_PER_MS
        self._next_status_ns = 0
        self._epoch_asked = 0
        self._next_epoch_ns = 0  # when it is asked for again
        self._stored_as: tuple[Any, ...] = ()
        self._free_until_ns = 0  # what runs without a lease goes on till then
        self._leaving = False
        self._left_ns = 0
        self._taken_ns = 0  # when the line took a heartbeat last
        self._farewells = 0
        self._stopped_by_unit = False
        self._off_sequence = 0  # of the last heartbeat that said planned off
        self._rest_sequence = 0  # of the first heartbeat that said planned off with the services at rest

    def use_key(self, key: bytes) -> None:
        """Sign with `key` from the next heartbeat on, as the same incarnation; a board that rolls it takes both."""
        signer = Signer(key)
        self._builder.use(signer)
        self.grants.use(signer)
        self.fencing.use(signer)
        self.events.use(signer)
        self._log.info("key_read")

    def say_key_stays(self, problem: str) -> None:
        """Log that the key file could not be read again; the key stays."""
        self._log.error("key_not_read", problem=problem)

    def leave(self) -> None:
        """Begin to end: stop the services if so wanted, say farewell, then be `finished`."""
        if not self._leaving:
            self._leaving = True
            self._left_ns = self._clock()
            self._log.info("leaving", services="stop" if self._drains else "leave")

    def plan_off(self, shutdown: bool) -> None:
        """Take the word of the system that it goes down (`shutdown`), or that this agent is stopped for good.

        Either is a drain, as without an agent the board would cut the power. But whoever said that he is busy, and only
        stops the agent, keeps his services: the board waits for him.
        """
        busy = self.conditions.is_busy(self._clock())
        self._log.info("told", do="planned_off", shutdown=shutdown, busy=busy or None)
        if shutdown or not busy:
            self.conditions.planned_off = True
            self._stopped_by_unit = True

    @property
    def _drains(self) -> bool:
        """Tell whether the services shall stop in good order because this server, or this agent, ends."""
        return self.conditions.planned_off or (self._leaving and self.settings.on_exit == "stop")

    @property
    def at_rest(self) -> bool:
        """Tell whether nothing is left to be stopped before this server goes down, or nothing can be."""
        services = self.services
        return not services.suspect or self.judged.wish is Wish.ADVISORY or not services.can_stop

    def _gave_up(self, now_ns: int) -> bool:
        """Tell whether the services took longer to stop than an agent that ends may wait."""
        settings = self.settings
        limit_s = settings.drain_timeout_s if self.conditions.planned_off else settings.stop_timeout_s
        return now_ns - self._left_ns >= limit_s * NS_PER_S

    @property
    def off_told(self) -> bool:
        """Tell whether the board has answered a heartbeat that said planned off, with the services at rest."""
        return 0 < self._rest_sequence <= self.incarnation.newest_answered

    @property
    def finished(self) -> bool:
        """Tell whether the farewell is said."""
        enough = FAREWELLS_MAX if self._drains and self.at_rest and not self.off_told else FAREWELLS
        return self._leaving and self._farewells >= enough

    def next_ns(self, now_ns: int) -> int:
        """Return when `step` must be called next even if nothing comes in."""
        soonest = self.schedule.next_ns
        if self.line.connects:
            soonest = min(soonest, now_ns + CONNECTS_NS)
        if self.watchdog.armed:
            soonest = min(soonest, now_ns + int(self.settings.watchdog_timeout_s * NS_PER_S) // 4)
        if self.judged.left_ms:
            soonest = min(soonest, self.lease.until_ns)
        if self.fencing.waits and self.fencing.next_ns > now_ns:
            soonest = min(soonest, self.fencing.next_ns)
        return max(now_ns, min(soonest, now_ns + NS_PER_S // 4))

    def step(self) -> None:
        """Do one round."""
        now_ns = self._clock()
        self._judge(now_ns)
        self._guard(now_ns)
        if self.line.ensure(now_ns):
            self._begin_line(now_ns)
        self._listen(now_ns)
        now_ns = self._clock()
        self._ask(now_ns)
        self._judge(now_ns)
        self._keep_epoch(now_ns)
        self._serve(now_ns)
        self.probes.step(now_ns)
        if self.peer:
            self.peer_seen = self.peer.step(now_ns)
        if self.schedule.due(now_ns):
            self._beat()
        self._guard(self._clock())
        self._tell(now_ns)

    def _judge(self, now_ns: int) -> None:
        self.judged = self.lease.judge(now_ns)
        if self.judged.wish is Wish.ADVISORY:
            self._free_until_ns = now_ns + grace_ns(self.settings.interval_ms)
        wish = self._wish_at(now_ns)
        if (self.wish.wish, self.wish.reason) != (wish.wish, wish.reason):
            self._log.info("wish", wish=wish.wish.value, reason=wish.reason, role=self.role, epoch=self.lease.epoch)
        self.wish = wish

    @property
    def role(self) -> str:
        """Return the name of the role that the board gave last; "none" before the first grant."""
        return "none" if self.lease.role is None else codes.ROLES[self.lease.role]

    def _wish_at(self, now_ns: int) -> Judgement:
        """Return what is done with the services: what the lease says, but for two cases.

        While this server or agent ends they stop in good order. And a board that is armed may say `hold` before it
        takes over what runs: that goes on for a grace, unless it is revoked.
        """
        judged = self.judged
        if self._drains and judged.wish in (Wish.RUN, Wish.KEEP):
            reason = "planned_off" if self.conditions.planned_off else "agent_ends"
            return judged._replace(wish=Wish.DRAIN, reason=reason)
        return self._with_grace(judged, now_ns)

    def _with_grace(self, judged: Judgement, now_ns: int) -> Judgement:
        """Return `judged`, or that what runs goes on for the moment."""
        if judged.wish is Wish.STOP and judged.reason in WITHOUT_LEASE and now_ns < self._free_until_ns:
            return judged._replace(wish=Wish.KEEP)
        return judged

    def _guard(self, now_ns: int) -> None:
        if dog.may_feed(
            self._with_grace(self.lease.judge(now_ns), now_ns), self.services.suspect, now_ns, self._stop_timeout_ns
        ):
            self.watchdog.feed()
            self._log.changed("watchdog", "fed")
        elif self._log.changed("watchdog", "starving"):
            self._log.error(
                "watchdog_not_fed", reason="services are not verified stopped in time", armed=self.watchdog.armed
            )

    def _begin_line(self, now_ns: int) -> None:
        self._decoder = framing.Decoder(PAYLOAD_MAX)
        self.silence.opened()
        self.schedule.hurry(now_ns, self._taken_ns)

    def _listen(self, now_ns: int) -> None:
        data = self.line.read(now_ns)
        at = 0
        decoder = self._decoder
        while at < len(data):
            at = decoder.feed(data, at, len(data))
            if decoder.ready:
                self._take(decoder.message_type, decoder.payload[: decoder.length])

    def _ask(self, now_ns: int) -> None:
        """Send at most one request: for a fence, or for records."""
        self.fencing.step(now_ns)
        self.events.step(now_ns)
        if frame := self.fencing.frame(self.incarnation, now_ns) or self.events.frame(now_ns):
            self.line.write(memoryview(frame), now_ns)

    def _take(self, message_type: int, payload: memoryview) -> None:
        if message_type != messages.HEARTBEAT:
            # Whatever the board says, and however it is judged: the line works both ways. Our own words prove nothing.
            self.silence.answered()
            self.line.answered(self._clock())
        if message_type == messages.FENCE_REPLY:
            self.fencing.take(bytes(payload))
            return
        if message_type == messages.EVENT:
            self.events.take(bytes(payload), self._clock())
            return
        if message_type == messages.EVENTS_END:
            self.events.end(bytes(payload))
            return
        grant = self.grants.read(message_type, payload, self.incarnation)
        if isinstance(grant, Refusal):
            if self._log.changed("refusal", grant):
                self._log.warning("grant_dropped", reason=grant.value)
            return
        now_ns = self._clock()
        self.events.granted(self.grants.newest_event)
        verdict = self.lease.take(grant, now_ns)
        if verdict is Verdict.LOWER_EPOCH:
            self.epochs_refused += 1
            if self._log.changed("refusal", verdict):
                self._log.error("grant_refused", reason="lower_epoch", epoch=grant.epoch, seen=self.lease.epoch)
            return
        if verdict is Verdict.ACCEPTED:
            self._log.changed("refusal", None)
            self.newest_grant_ns = now_ns
            self._judge(now_ns)
            self._recover(grant.orders)

    def _recover(self, orders: int) -> None:
        """Obey, once per outage, the order to bring right what keeps the board from hearing good heartbeats."""
        self._recover_grants = self._recover_grants + 1 if orders & messages.ORDER_RECOVER else 0
        if self._recover_grants == RECOVER_GRANTS:
            self._log.warning("recovery_asked", hook="on_recover" if self.settings.hooks.on_recover else None)
            self.services.recover(self.role, self.lease.epoch)

    def _keep_epoch(self, now_ns: int) -> None:
        epoch = self.lease.epoch
        # A higher one does not wait until the one before it is stored.
        if self.disk.durable_epoch < epoch and (epoch != self._epoch_asked or now_ns >= self._next_epoch_ns):
            self._epoch_asked = epoch
            self._next_epoch_ns = now_ns + EPOCH_RETRY_NS
            self.disk.store_epoch(epoch)
        if self._log.changed("epoch_error", self.disk.epoch_error) and self.disk.epoch_error:
            self._log.error("epoch_not_stored", problem=self.disk.epoch_error, directory=self.settings.state_directory)

    def _may_start(self) -> str:
        if self.lease.answered_sequence <= self._off_sequence:
            # The board may act on that word still: it has to hear first that this server stays.
            return "the board knows this server as going down"
        if not self.services.running and not self.lease.knows_of_stop:
            return "the board has not heard yet that the services stopped"
        if self.disk.durable_epoch < self.lease.active_epoch:
            return (self.disk.epoch_error and f"the epoch could not be stored: {self.disk.epoch_error}") or STORING
        return ""

    def _serve(self, now_ns: int) -> None:
        self.wish = judged = self._wish_at(now_ns)
        epoch = self.lease.active_epoch if judged.wish is Wish.RUN else self.lease.epoch
        self.services.epoch_before = self.lease.epoch_before
        self.services.step(now_ns, judged, self.role, epoch, self._may_start, self.lease.until_ns)

    def state(self, now_ns: int) -> int:
        """Return the state that a heartbeat sent now reports."""
        conditions = self.conditions
        if conditions.planned_off or (self._leaving and not conditions.is_busy(now_ns)):
            return codes.STATE_PLANNED_OFF
        if now_ns < conditions.crash_dump_until_ns:
            return codes.STATE_CRASH_DUMP
        if self.judged.wish is Wish.DRAIN:
            return codes.STATE_DRAINING
        if now_ns < conditions.busy_until_ns:
            return codes.STATE_BUSY
        if self.why_degraded():
            return codes.STATE_DEGRADED
        return codes.STATE_STARTING if self.services.starting else codes.STATE_HEALTHY

    def why_degraded(self) -> str:
        """Return what is wrong with this server; empty if nothing is."""
        if self.services.failed:
            return f"{self.services.failed} failed"
        if self.disk.epoch_error:
            return "epoch not stored"
        bad = self.probes.bad
        return f"probes: {', '.join(bad)}" if bad else ""

    def handle(self, request: dict[str, Any], reply: Reply = _nobody) -> dict[str, Any] | None:
        """Answer a request from the control socket, that for a fence later; the next heartbeat reports what changed."""
        now_ns = self._clock()
        if request.get("do") == "fence":
            problem = self.fencing.begin(request, now_ns, reply)
            if not problem and not request.get("question"):
                self._log.warning("fence_asked", target=request["target"])
            return {"error": problem} if problem else None
        problem = self.conditions.handle(request, now_ns)
        if problem:
            return {"error": problem}
        if request["do"] != "status":
            self._log.info("told", do=request["do"], seconds=request.get("seconds"))
            self._stored_as = ()
        return {"ok": True, "status": self.status(now_ns)}

    def read_events(self, request: dict[str, Any], reply: Reply) -> dict[str, Any] | None:
        """Answer a monitor's request for records, later."""
        problem = self.events.begin(request, self._clock(), reply)
        return {"error": problem} if problem else None

    def _beat(self) -> None:
        now_ns = self._clock()
        if self._leaving and (not self._drains or self.at_rest or self._gave_up(now_ns)):
            self._farewells += 1
        state = self.state(now_ns)
        busy_until_ns = {
            codes.STATE_BUSY: self.conditions.busy_until_ns,
            codes.STATE_CRASH_DUMP: self.conditions.crash_dump_until_ns,
        }.get(state, 0)
        report = Report(
            state=state,
            running=self.services.running,
            verified_stopped=self.services.verified_stopped,
            watchdog_armed=self.watchdog.armed,
            peer_seen=self.peer_seen,
            epoch=self.lease.epoch,
            busy_s=-(-max(0, busy_until_ns - now_ns) // NS_PER_S),
        )
        if self.incarnation.sequence >= codes.COUNT_MAX:
            self.incarnation = Incarnation()
            self.lease.restart()
            self._off_sequence = 0
        if self.silence.is_due:
            self.silence.reopen()
            if self.line.reopen(now_ns, self.silence.unanswered):
                self._begin_line(now_ns)
        sent_ns = self._clock()
        sequence = self.incarnation.next_sequence(sent_ns)
        frame = self._builder.build(self.incarnation, sequence, report)
        if self.line.is_open:
            self.silence.sent()
        if self.line.write(frame, sent_ns):
            self._taken_ns = sent_ns
        self.schedule.sent(sent_ns)
        if report.running:
            self.lease.running_sequence = sequence
        if state == codes.STATE_PLANNED_OFF:
            self._off_sequence = sequence
        if state != codes.STATE_PLANNED_OFF or not self.at_rest:
            self._rest_sequence = 0
        elif not self._rest_sequence:
            self._rest_sequence = sequence

    def _tell(self, now_ns: int) -> None:
        services = self.services
        subject = (self.role, self.judged.wish, services.running, services.verified_stopped, self.disk.durable_epoch)
        if now_ns < self._next_status_ns and subject == self._stored_as:
            return
        self._stored_as = subject
        self._next_status_ns = now_ns + STATUS_NS
        self.disk.store_status(self.status(now_ns))

    def tell_last(self) -> None:
        """Store what the next agent must know. What the system said of this agent's end is over with it."""
        if self._stopped_by_unit:
            self.conditions.planned_off = False
        self.disk.store_status(self.status(self._clock()))

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return what the status file says. Times are ms ago, or ns of CLOCK_BOOTTIME where the name says ns."""
        since_grant_ms = (now_ns - self.newest_grant_ns) // NS_PER_MS if self.newest_grant_ns else None
        return {
            "node": self.settings.node,
            "board_id": self.settings.board_id,
            "boot_id": self._boot,
            "version": __version__,
            "time_ns": now_ns,
            "incarnation": self.incarnation.number,
            "sequence": self.incarnation.sequence,
            "state": codes.STATES[self.state(now_ns)],
            "degraded": self.why_degraded(),
            "busy_until_ns": self.conditions.busy_until_ns,
            "crash_dump_until_ns": self.conditions.crash_dump_until_ns,
            "planned_off": self.conditions.planned_off,
            "at_rest": self.at_rest,
            "off_told": self.off_told,
            "role": self.role,
            "orders": [row[1] for row in messages.ORDERS if self.lease.orders & row[0]],
            "wish": self.wish.wish.value,
            "reason": self.wish.reason,
            "entitled": self.judged.entitled,
            "lease_left_ms": self.judged.left_ms,
            "lease_until_ns": self.lease.until_ns,
            "lease_epoch": self.lease.lease_epoch,
            "epoch": self.lease.epoch,
            "epoch_durable": self.disk.durable_epoch,
            "epoch_running": self.services.epoch,
            "running": self.services.running,
            "verified_stopped": self.services.verified_stopped,
            "suspect": self.services.suspect,
            "watchdog_armed": self.watchdog.armed,
            "peer_seen": self.peer_seen,
            "peer_hears_us": self.peer.view.heard_back if self.peer and self.peer_seen else None,
            "newest_grant_ms_ago": since_grant_ms,
            "newest_event": self.grants.newest_event,
            "port": self.line.path,
            "port_problem": self.line.problem,
            "port_opened": self.line.opened_count,
            "port_reopened": self.silence.reopened,
            "beats_unanswered": self.silence.unanswered,
            "frames_dropped": self.line.dropped_frames,
            "grants_refused": {reason.value: count for reason, count in self.grants.refused.items() if count},
            "frames_broken": sum(self._decoder.drops),
            "epochs_refused": self.epochs_refused,
            "beat_late_max_ms": self.schedule.late_max_ns / NS_PER_MS,
            "beats_skipped": self.schedule.skipped,
            "challenged": self.incarnation.challenge is not None,
        }
