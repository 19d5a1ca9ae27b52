"""A node that runs the product's own agent: its stages, joined as on a server, in virtual time.

What touches the world are stand-ins (agent_hands.py). The agent's rounds come as on a server: when something comes in,
when a command ends, or when it asked to be called. It starts with its first heartbeat. Fulfils body.Node.
"""

from __future__ import annotations

from typing import Any

from heartwire.agent.agent import Agent
from heartwire.agent.beat import Schedule
from heartwire.agent.build import Hands, build
from heartwire.agent.conditions import BUSY_MAX_S
from heartwire.agent.grants import Refusal
from heartwire.agent.lease import NS_PER_MS, Loss
from heartwire.agent.line import Line
from heartwire.agent.log import Log
from heartwire.agent.run import is_harmless
from heartwire.agent.settings import AgentSettings, Command, HookSettings, ProbeSettings
from heartwire.agent.state import Resumption, resumption_of
from heartwire.agent.watchdog import NoWatchdog
from heartwire.simulate.agent_hands import (
    CountingWatchdog,
    MemoryPort,
    MemoryStore,
    Program,
    Silence,
    SimulatedIncarnation,
    StandIn,
)  # fmt: skip
from heartwire.simulate.body import Body
from heartwire_protocol import codes, framing, messages

HOOKS = HookSettings(
    on_active=Command(("on_active",)),
    on_standby=Command(("on_standby",)),
    check=Command(("check",)),
    # Scenarios are about the board's times: what the agent finds out by itself, it finds out soon.
    check_interval_s=0.5,
    retry_s=1.0,
)
PROBE = ProbeSettings("health", "command", Command(("probe",)), interval_s=0.5, failures=1, successes=1)
# Rounds that follow each other at once, because commands end at once.
ROUNDS_MAX = 20
# What an agent is told of itself, by the state that a scenario wants it to report.
TOLD = {codes.STATE_BUSY: "busy", codes.STATE_CRASH_DUMP: "crash_dump", codes.STATE_PLANNED_OFF: "planned_off"}
FENCE_S = 100


class AgentNode(Body):
    """Node `node` with the product's agent, which has 32-byte key `key` (or none)."""

    def __init__(self, node: int, key: bytes | None = None) -> None:
        super().__init__(node)
        self._key = key
        self._store = MemoryStore()
        self._program = Program()
        self._port = MemoryPort()
        self._hands = tuple(StandIn(self._program) for _ in range(3))
        self._watchdog: NoWatchdog | CountingWatchdog = NoWatchdog()
        self._running_agent: Agent | None = None
        self._ms = 0  # CLOCK_BOOTTIME
        self._boots = 1
        self._incarnations = 0
        self._interval_ms = 1000
        self._first_beat_ms = 0
        self._said = codes.STATE_STARTING
        self._reported = codes.STATE_HEALTHY  # what a scenario makes it report
        self._peer_seen: bool | None = None
        self._next_ns = 0
        self._grace_until_ns = 0

    @property
    def serving(self) -> bool:
        """Tell whether its service acts on the outside world: also that of a frozen server."""
        return self._program.runs and (self.alive or self.frozen)

    @property
    def state(self) -> int:
        """Return the state that it says it is in; of one that says nothing, what it said last."""
        if self._running_agent is None:
            return codes.STATE_STARTING
        if self.alive:
            self._said = self._running_agent.state(self._clock())
        return self._said

    @property
    def epoch(self) -> int:
        """Return the highest epoch it has seen."""
        return self._running_agent.lease.epoch if self._running_agent else self._store.durable_epoch

    @property
    def left_ms(self) -> int:
        """Return what is left of its lease; the grace of an agent that knows of no lease is none."""
        agent = self._running_agent
        if agent is None:
            former = self._former()
            until_ns = former.lease_until_ns if former.suspect and not former.advisory else 0
        else:
            is_grace = agent.lease.until_ns == self._grace_until_ns and not agent.lease.answered_sequence
            until_ns = 0 if is_grace else agent.lease.until_ns
        return max(0, until_ns - self._clock()) // NS_PER_MS

    @property
    def next_beat_ms(self) -> int:
        """Return when its next heartbeat is due."""
        agent = self._running_agent
        return agent.schedule.next_ns // NS_PER_MS if agent else self._first_beat_ms

    def beat_from(self, ms: int) -> None:
        """Beat first at `ms`."""
        self._first_beat_ms = ms
        if self._running_agent:
            self._running_agent.schedule = Schedule(self._interval_ms * NS_PER_MS, ms * NS_PER_MS)

    def beat_every(self, interval_ms: int) -> None:
        """Beat at another interval from now on."""
        if interval_ms != self._interval_ms:
            self._interval_ms = interval_ms
            self.beat_from(max(self._ms, self.next_beat_ms))

    def advance(self, elapsed: int) -> None:
        """Let the kernel's watchdog count; the agent's own time is `due`'s."""
        if isinstance(self._watchdog, CountingWatchdog) and (self.alive or self.frozen):
            self.bitten = self._watchdog.advance(elapsed)

    def due(self, ms: int) -> list[bytes]:
        """Give the agent its round at `ms`, if it wants one; return what it sends."""
        self._ms = ms
        if not self.alive or (self._running_agent is None and ms < self._first_beat_ms):
            return []
        if self._running_agent is None:
            self._running_agent = self._new_agent()
        if self._clock() >= self._next_ns or any(hand.ready for hand in self._hands):
            self._go_round(self._running_agent)
        sent, self._port.outbox = self._port.outbox, []
        return [] if self.mute else [self._altered(frame) for frame in sent]

    def hear(self, data: bytes) -> None:
        """Take what the board sent."""
        if not self.frozen and self._running_agent:
            self._port.inbox += data
            self._go_round(self._running_agent)

    def _clock(self) -> int:
        for hand in self._hands:
            hand.ms = self._ms
        return self._ms * NS_PER_MS

    def _new_agent(self) -> Agent:
        name = codes.NODES[self.node]
        loss = Loss(self.on_board_loss)
        settings = AgentSettings(
            node=name, port="memory", interval_ms=self._interval_ms, on_board_loss=loss, hooks=HOOKS, probes=(PROBE,),
            stop_timeout_s=self.stop_timeout_ms / 1000, watchdog_timeout_s=self.watchdog_ms / 1000,
        )  # fmt: skip
        self._watchdog = NoWatchdog()
        if loss is Loss.STOP:
            self._watchdog = CountingWatchdog(self.watchdog_ms)
        self._hands = commands, checks, probes = tuple(StandIn(self._program) for _ in range(3))
        # What the agent before it wrote last is on its way.
        self._port, before = MemoryPort(), self._port
        self._port.outbox = before.outbox
        log = Log(Silence(), name)  # type: ignore[arg-type]
        line = Line("memory", settings.baud, log, lambda path, baud: self._port)
        hands = Hands(line, commands, checks, probes, self._watchdog, self._store, log, clock=self._clock)
        former = self._former()
        agent = build(settings, hands, self._key, self._store.durable_epoch, former, self._boot)
        self._grace_until_ns = 0 if former.suspect and not former.advisory else agent.lease.until_ns
        self._incarnations += 1
        agent.incarnation = SimulatedIncarnation(1000 * (self.node + 1) + self._incarnations)
        agent.schedule = Schedule(self._interval_ms * NS_PER_MS, max(self._ms, self._first_beat_ms) * NS_PER_MS)
        agent.peer_seen = self._peer_seen
        return agent

    @property
    def _boot(self) -> str:
        return f"boot-{self._boots}"

    def _former(self) -> Resumption:
        return resumption_of(self._store.status, codes.NODES[self.node], self._boot)

    def _go_round(self, agent: Agent) -> None:
        """Let the agent step until nothing is left that it would not wait for."""
        for _ in range(ROUNDS_MAX):
            now_ns = self._clock()
            if isinstance(agent.incarnation, SimulatedIncarnation):
                agent.incarnation.stuck = self.trouble == "stuck"
            agent.step()
            if agent.grants.refused[Refusal.WRONG_MAC] and not self.foreign:
                raise AssertionError("the board signed another answer")
            if agent.finished:
                self._end(agent)
                return
            if not any(hand.ready for hand in self._hands):
                break
        self._next_ns = agent.next_ns(now_ns)

    def _end(self, agent: Agent) -> None:
        """End the agent in good order, as run.py does; its last frames are on the line already."""
        agent.tell_last()
        advisory = self._store.status["wish"] == "advisory"
        self._watchdog.close(disarm=is_harmless(agent.settings, agent.services.suspect, advisory))
        self._begin_again(agent.schedule.next_ns // NS_PER_MS)

    def _begin_again(self, ms: int) -> None:
        """Have a new agent at `ms`: it beats as soon as it is there."""
        self._first_beat_ms = ms
        self._running_agent = None
        self._next_ns = 0

    def _altered(self, frame: bytes) -> bytes:
        """Return `frame` as it leaves the server, with a wrong answer if that is its trouble."""
        if self.trouble != "wrong":
            return frame
        decoder = framing.Decoder(64)
        decoder.feed(frame, 0, len(frame))
        if decoder.message_type != messages.HEARTBEAT:
            return frame
        payload = bytearray(decoder.payload[: decoder.length])
        at = messages.layout_of(messages.HEARTBEAT).offset("mac")
        payload[at:] = bytes(byte ^ 0x5A for byte in payload[at:])
        return bytes(framing.encode(messages.HEARTBEAT, bytes(payload)))

    # What a scenario does to it.

    def report(self, state: int, seconds: int = 0) -> None:
        """Have the agent report `state`, by what makes an agent do so."""
        self._reported = state
        if state in TOLD:
            request: dict[str, Any] = {"do": TOLD[state]}
            if state != codes.STATE_PLANNED_OFF:
                request["seconds"] = seconds or BUSY_MAX_S
            self._tell(request)
        elif state == codes.STATE_DEGRADED:
            self._program.is_ill = True
        elif state == codes.STATE_STARTING:
            self._program.runs, self._program.fault = False, "hangs"
        else:
            self.end_report()

    def end_report(self) -> None:
        """End what `report` began."""
        self._tell({"do": "ready"})
        self._program.is_ill = False
        if self._reported == codes.STATE_STARTING:
            self._program.fault = ""
        self._reported = codes.STATE_HEALTHY

    def _tell(self, request: dict[str, Any]) -> None:
        """Give the agent a request, as through its socket, which wakes it."""
        if agent := self._running_agent:
            agent.handle(request)
            if self.alive:
                self._go_round(agent)

    def serve(self) -> None:
        """Run the service without being asked."""
        self._program.runs = True

    def obey(self, on: bool) -> None:
        """Do what the board says again, or let no start and no stop come to its end."""
        self.obedient = self._program.stops = on

    def fail_service(self, how: str) -> None:
        """Let its service fail from now on; see body.Node."""
        self.service = self._program.fault = how
        if how:
            self._program.runs = False

    def take_time(self, what: str, ms: int) -> None:
        """Let the service take `ms` to start, stop or be checked from now on."""
        self._program.takes_ms[what] = ms

    def see_peer(self, seen: bool | None) -> None:
        """Say of the peer that it is seen, or missed; None: that none is known."""
        self._peer_seen = seen
        if self._running_agent:
            self._running_agent.peer_seen = seen

    def claim_epoch(self, epoch: int) -> None:
        """Say that this epoch was seen."""
        self._store.store_epoch(epoch)
        if self._running_agent:
            self._running_agent.lease.epoch = epoch

    def arm_watchdog(self, on: bool) -> None:
        """Have a kernel watchdog and stop without a lease, or neither."""
        self.on_board_loss = "stop" if on else "hold"
        if self._running_agent:
            self._running_agent.tell_last()
            self._begin_again(self.next_beat_ms)

    def ask_to_fence(self, target: int) -> None:
        """Ask the board to fence another node."""
        self._tell({"do": "fence", "target": codes.NODES[target], "seconds": FENCE_S})

    def take_key(self, key: bytes) -> None:
        """Sign with another key from the agent's next start on."""
        self._key = key

    def crash(self) -> None:
        """Lose everything but what is on disk."""
        self._said = self.state
        self.alive = self.frozen = False
        self._program.runs = False
        self._watchdog = NoWatchdog()

    def boot(self) -> None:
        """Start a new agent on a fresh system."""
        super().boot()
        self._boots += 1
        self._said = codes.STATE_STARTING
        self._program.runs = False
        self._program.is_ill = False
        self._begin_again(self._ms)

    def restart_agent(self) -> None:
        """Kill the agent and start a new one, while the services go on."""
        if self.alive:
            self._begin_again(self.next_beat_ms)

    def upgrade_agent(self) -> None:
        """End the agent in good order and start a new one, while the services go on."""
        if self.alive and self._running_agent:
            self._running_agent.leave()
            self._go_round(self._running_agent)
