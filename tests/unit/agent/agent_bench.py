"""A real agent on the line of a real firmware, both in virtual time: node b of a bench is the product's agent."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from heartwire.agent.agent import Agent
from heartwire.agent.build import resumed_lease
from heartwire.agent.hooks import Result
from heartwire.agent.lease import Lease
from heartwire.agent.line import Line
from heartwire.agent.log import Log
from heartwire.agent.probes import Probes
from heartwire.agent.services import Services
from heartwire.agent.settings import AgentSettings, Command, HookSettings
from heartwire.agent.state import read_epoch, read_resumption
from heartwire.simulate.agent_hands import MemoryPort
from heartwire_protocol import codes, framing
from tests.fakes.bench import KEYS, Bench
from tests.unit.agent.agent_fakes import HOOKS, DirectDisk, FakeCommands, FakeWatchdog, ms

B = codes.NODE_B
# How often the agent's loop comes round.
ROUND_MS = 20


class BenchPort(MemoryPort):
    """The agent's end of the line, whose other end is the bench's board."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self._bench = bench

    def write(self, data: memoryview) -> int:
        self.written.append(bytes(data))
        if B not in self._bench.cut:
            self._bench.hardware.lines[B].arrive(bytes(data))
        return len(data)

    def close(self) -> None:
        """Keep what has not been read: the bench puts it there between two rounds."""

    def drop(self) -> None:
        self.close()


class SlowChecks(FakeCommands):
    """Checks that find what the hooks did, `takes_ms` after they began."""

    def __init__(self, clock_ms: Callable[[], int], takes_ms: int = 0, finds: int = 3) -> None:
        super().__init__()
        self._clock_ms = clock_ms
        self._takes_ms = takes_ms
        self._due: list[int] = []
        self.instant = {"check": finds}

    def start(self, command: Command, environment: Mapping[str, str], not_after_ns: int = 0) -> int:
        if not self._takes_ms:
            return super().start(command, environment, not_after_ns)
        self._due.append(self._clock_ms() + self._takes_ms)
        finds = self.instant.pop("check")
        number = super().start(command, environment, not_after_ns)
        self.instant["check"] = finds
        return number

    def results(self) -> list[Result]:
        while self._due and self._due[0] <= self._clock_ms():
            del self._due[0]
            self.end("check", self.instant["check"])
        return super().results()


class AgentBench:
    """A bench whose node b is a real agent; node a stays a fake one. `text` is laid over the board's settings.

    `obedient`: the check finds what the hooks did; else it finds nothing running.
    """

    def __init__(
        self,
        directory: Path,
        text: str = "node.b.may_fence=1\n",
        mode: int = codes.MODE_FENCER,
        hooks: HookSettings = HOOKS,
        interval_ms: int = 1000,
        obedient: bool = False,
        **settings: Any,
    ) -> None:
        import io

        self.text = io.StringIO()
        log = Log(self.text, "b")
        self.bench = Bench(text)
        fake = self.bench.nodes[B]
        fake.mute = True
        self.port = BenchPort(self.bench)
        self.obedient = obedient
        fake.hear = self._hear  # type: ignore[method-assign]
        self.commands = FakeCommands()
        self.commands.instant = {"on_active": 0, "on_standby": 0}
        self.checks = SlowChecks(lambda: self.bench.ms)
        self._log = log
        self.settings = AgentSettings(
            node="b", port="bench", state_directory=directory, hooks=hooks, interval_ms=interval_ms, **settings
        )
        # Tells of each frame from the board (type, payload) whether it is lost on the way.
        self.loses: Callable[[int, bytes], bool] = lambda kind, payload: False
        self.agent = Agent(
            self.settings,
            key=KEYS[B],
            lease=Lease(self.settings.on_board_loss, 0, 0, self.now_ns()),
            line=Line("bench", 115_200, log, lambda path, baud: self.port),
            services=Services("b", hooks, self.commands, self.checks, log),
            probes=Probes((), FakeCommands(), log, self.now_ns()),
            watchdog=FakeWatchdog(),
            disk=DirectDisk(directory, 0),
            log=log,
            boot="boot-1",
            clock=self.now_ns,
        )
        self.bench.each_ms.append(self._round)
        self.bench.run(4000)
        if mode != codes.MODE_OBSERVE:
            self.bench.arm(mode)
        self.bench.run(6000)

    def restart_agent(self, check_ms: int = 0) -> None:
        """Have the agent end without a word and a new one come at once, as it finds things; its check takes
        `check_ms`.
        """
        directory = self.settings.state_directory
        former = read_resumption(directory, "b", "boot-1")
        epoch = read_epoch(directory)
        self.port.inbox = b""
        self.checks = SlowChecks(lambda: self.bench.ms, check_ms, self.checks.instant["check"])
        services = Services("b", self.settings.hooks, self.commands, self.checks, self._log)
        services.take_over(former.suspect, former.running)
        self.agent = Agent(
            self.settings,
            key=KEYS[B],
            lease=resumed_lease(self.settings, epoch, former, self.now_ns()),
            line=Line("bench", 115_200, self._log, lambda path, baud: self.port),
            services=services,
            probes=Probes((), FakeCommands(), self._log, self.now_ns()),
            watchdog=FakeWatchdog(),
            disk=DirectDisk(directory, epoch),
            log=self._log,
            boot="boot-1",
            clock=self.now_ns,
        )

    def now_ns(self) -> int:
        return ms(1_000_000 + self.bench.ms)

    def _hear(self, data: bytes) -> None:
        frames = [frame + b"\0" for frame in data.split(b"\0") if frame]
        for frame in frames:
            decoder = framing.Decoder(64)
            decoder.feed(frame, 0, len(frame))
            if not self.loses(decoder.message_type, bytes(decoder.payload[: decoder.length])):
                self.port.inbox += frame

    def _round(self) -> None:
        if self.bench.ms % ROUND_MS == 0:
            before = len(self.commands.started)
            self.agent.step()
            for name, _ in self.commands.started[before:]:
                if self.obedient and self.commands.instant.get(name) == 0:
                    self.checks.instant["check"] = 0 if name == "on_active" else 3

    def ask(self, handler: Any, request: dict[str, Any], limit_ms: int = 130_000) -> dict[str, Any]:
        """Give `handler` (agent.handle or agent.read_events) a request; return its answer, as a socket would."""
        answers: list[dict[str, Any]] = []
        at_once = handler(request, answers.append)
        if at_once is not None:
            return dict(at_once)
        self.bench.run_until(lambda: bool(answers), limit_ms)
        assert len(answers) == 1
        return answers[0]
