"""A real agent on the line of a real firmware, both in virtual time: node b of a bench is the product's agent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from heartwire.agent.agent import Agent
from heartwire.agent.lease import Lease, Loss
from heartwire.agent.line import Line
from heartwire.agent.log import Log
from heartwire.agent.probes import Probes
from heartwire.agent.services import Services
from heartwire.agent.settings import AgentSettings, HookSettings
from heartwire_protocol import codes, framing
from tests.fakes.bench import KEYS, Bench
from tests.unit.agent.agent_fakes import HOOKS, DirectDisk, FakeCommands, FakeWatchdog, ms

B = codes.NODE_B
# How often the agent's loop comes round.
ROUND_MS = 20


class BenchPort:
    """The agent's end of the line."""

    def __init__(self, bench: Bench) -> None:
        self.inbox = b""
        self.written: list[bytes] = []
        self._bench = bench

    def fileno(self) -> int:
        return -1

    def read(self) -> bytes:
        if not self.inbox:
            raise BlockingIOError
        data, self.inbox = self.inbox, b""
        return data

    def write(self, data: memoryview) -> int:
        self.written.append(bytes(data))
        if B not in self._bench.cut:
            self._bench.hardware.lines[B].arrive(bytes(data))
        return len(data)

    def close(self) -> None:
        pass


class AgentBench:
    """A bench whose node b is a real agent; node a stays a fake one. `text` is laid over the board's settings."""

    def __init__(
        self,
        directory: Path,
        text: str = "node.b.may_fence=1\n",
        mode: int = codes.MODE_FENCER,
        hooks: HookSettings = HOOKS,
        interval_ms: int = 1000,
        **settings: Any,
    ) -> None:
        import io

        self.text = io.StringIO()
        log = Log(self.text, "b")
        self.bench = Bench(text)
        fake = self.bench.nodes[B]
        fake.mute = True
        self.port = BenchPort(self.bench)
        fake.hear = self._hear  # type: ignore[method-assign]
        self.commands = FakeCommands()
        self.commands.instant = {"on_active": 0, "on_standby": 0}
        checks = FakeCommands()
        checks.instant = {"check": 3}
        wanted = AgentSettings(
            node="b", port="bench", state_directory=directory, hooks=hooks, interval_ms=interval_ms, **settings
        )
        # Tells of each frame from the board (type, payload) whether it is lost on the way.
        self.loses: Callable[[int, bytes], bool] = lambda kind, payload: False
        self.agent = Agent(
            wanted,
            key=KEYS[B],
            lease=Lease(Loss.HOLD, 0, 0, self.now_ns()),
            line=Line("bench", 115_200, log, lambda path, baud: self.port),
            services=Services("b", hooks, self.commands, checks, log),
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
            self.agent.step()

    def ask(self, handler: Any, request: dict[str, Any], limit_ms: int = 130_000) -> dict[str, Any]:
        """Give `handler` (agent.handle or agent.read_events) a request; return its answer, as a socket would."""
        answers: list[dict[str, Any]] = []
        at_once = handler(request, answers.append)
        if at_once is not None:
            return dict(at_once)
        self.bench.run_until(lambda: bool(answers), limit_ms)
        assert len(answers) == 1
        return answers[0]
