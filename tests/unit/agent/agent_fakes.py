"""Fakes for the agent: a clock that is moved by hand, a board in memory, commands that end when the test says so."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heartwire.agent.agent import Agent
from heartwire.agent.hooks import Result
from heartwire.agent.lease import NS_PER_MS, Lease, Loss
from heartwire.agent.line import Line
from heartwire.agent.log import Log
from heartwire.agent.probes import Probes
from heartwire.agent.services import Services
from heartwire.agent.settings import AgentSettings, Command, HookSettings
from heartwire.agent.state import Disk
from heartwire.simulate.agent_hands import MemoryPort
from heartwire_protocol import codes, framing, messages
from heartwire_protocol.auth import Signer

KEY = bytes(range(32))
ACTIVE = codes.ROLE_ACTIVE
STANDBY = codes.ROLE_STANDBY


def ms(count: float) -> int:
    """Return `count` ms in ns."""
    return int(count * NS_PER_MS)


class FakeClock:
    """CLOCK_BOOTTIME of a machine that does only what the test does."""

    def __init__(self) -> None:
        self.now_ns = ms(1_000_000)

    def __call__(self) -> int:
        return self.now_ns

    def pass_ms(self, count: float) -> None:
        self.now_ns += ms(count)


class FakeCommands:
    """Commands that run until `end` is called; `instant` gives exit codes of programs that end at once."""

    def __init__(self) -> None:
        self.started: list[tuple[str, dict[str, str]]] = []
        self.open: dict[int, str] = {}
        self.killed: list[str] = []
        self.instant: dict[str, int] = {}
        self._results: list[Result] = []
        self._number = 0

    def start(self, command: Command, environment: Mapping[str, str], not_after_ns: int = 0) -> int:
        self._number += 1
        name = command.argv[0]
        self.started.append((name, dict(environment)))
        self.open[self._number] = name
        if name in self.instant:
            self.end(name, self.instant[name])
        return self._number

    def start_probe(self, kind: str, values: Mapping[str, Any], limit_s: float) -> int:
        return self.start(Command((kind,), limit_s), {})

    def kill(self, number: int) -> None:
        self.killed.append(self.open[number])
        self._results.append(Result(number, "killed", 15, 0.0))
        del self.open[number]

    def end(self, name: str, code: int = 0, outcome: str = "exit") -> None:
        number = next(number for number, open_name in self.open.items() if open_name == name)
        del self.open[number]
        self._results.append(Result(number, outcome, code, 0.0))

    def results(self) -> list[Result]:
        results, self._results = self._results, []
        return results

    def names(self) -> list[str]:
        return [name for name, _ in self.started]


class FakePort(MemoryPort):
    """One end of a serial line in memory; `board` sees what is written."""

    def __init__(self, board: "FakeBoard") -> None:
        super().__init__()
        self.closed = False
        self.broken = False
        self._board = board

    def read(self) -> bytes:
        if self.broken:
            raise OSError(5, "Input/output error")
        return super().read()

    def write(self, data: memoryview) -> int:
        if self.broken:
            raise OSError(5, "Input/output error")
        self._board.hear(bytes(data), self)
        return len(data)

    def close(self) -> None:
        self.closed = True

    def drop(self) -> None:
        self.close()


class FakeBoard:
    """Answers heartbeats as the board does; set role, orders, epoch and lease_ms to what it shall say."""

    def __init__(self, node: int = 0, key: bytes | None = KEY) -> None:
        self.node = node
        self.signer = Signer(key) if key else None
        self.role = STANDBY
        self.orders = 0
        self.epoch = 1
        self.lease_ms = 8000
        self.silent = False
        self.delayed = False
        self.challenge = b"\x11\x22\x33\x44"
        self.beats: list[dict[str, Any]] = []
        self.kept: list[bytes] = []
        self._decoder = framing.Decoder(64)
        self._heartbeat = messages.layout_of(messages.HEARTBEAT)
        self._grant = messages.layout_of(messages.GRANT)

    def hear(self, data: bytes, port: FakePort) -> None:
        at = 0
        while at < len(data):
            at = self._decoder.feed(data, at, len(data))
            if self._decoder.ready and self._decoder.message_type == messages.HEARTBEAT:
                payload = bytes(self._decoder.payload[: self._decoder.length])
                fields = self._heartbeat.unpack(payload)
                answered = bool(fields["flags"] & messages.FLAG_ANSWERED)
                challenge = self.challenge if answered else bytes(4)
                signed = payload[: self._heartbeat.offset("mac")]
                right = self.signer.mac(b"H", challenge, signed) if self.signer else challenge + bytes(4)
                fields["right"] = fields["mac"] == right
                self.beats.append(fields)
                good = answered and fields["right"]
                frame = self.grant(fields["incarnation"], fields["sequence"], self.lease_ms if good else 0)
                if self.delayed:
                    self.kept.append(frame)
                elif not self.silent:
                    port.inbox += frame

    def grant(self, incarnation: int, sequence: int, lease_ms: int) -> bytes:
        """Return the frame of a grant that answers this heartbeat."""
        lease_ms = lease_ms if self.role == ACTIVE else 0
        payload = bytearray(
            self._grant.pack(
                node_role=self.node | self.role << 2,
                orders=self.orders,
                epoch=self.epoch,
                lease_ms=lease_ms,
                answers=sequence & 0xFFFF,
                newest_event=5,
                challenge=self.challenge,
                mac=bytes(8),
            )
        )
        binding = incarnation.to_bytes(4, "little") + sequence.to_bytes(4, "little")
        at = self._grant.offset("mac")
        payload[at:] = self.signer.mac(b"G", binding, bytes(payload[:at])) if self.signer else binding
        frame: bytes = framing.encode(messages.GRANT, bytes(payload))
        return frame


class FakeWatchdog:
    """Counts how often it was fed."""

    def __init__(self) -> None:
        self.armed = True
        self.fed = 0

    def feed(self) -> None:
        self.fed += 1

    def close(self, disarm: bool) -> None:
        self.armed = not disarm


class DirectDisk(Disk):
    """Writes at once, in the caller's thread; `broken` makes the epoch fail."""

    broken = ""

    def _put(self, kind: str, value: Any) -> None:
        if self.broken and kind == "epoch":
            self.epoch_error = self.broken
            return
        self.write(kind, value)


HOOKS = HookSettings(
    on_active=Command(("on_active",)),
    on_standby=Command(("on_standby",)),
    check=Command(("check",)),
    check_interval_s=1.0,
    retry_s=5.0,
)


class World:
    """One agent with everything around it faked; services obey hooks unless the test says otherwise."""

    def __init__(
        self,
        directory: Path,
        *,
        loss: Loss = Loss.HOLD,
        hooks: HookSettings = HOOKS,
        key: bytes | None = KEY,
        epoch: int = 0,
        resumed_ms: float = 0,
        **settings: Any,
    ) -> None:
        self.clock = FakeClock()
        self.board = FakeBoard(key=key)
        self.ports: list[FakePort] = []
        self.text = io.StringIO()
        log = Log(self.text, "a")
        self.settings = AgentSettings(
            node="a", port="fake", state_directory=directory, hooks=hooks, on_board_loss=loss, **settings
        )
        self.commands = FakeCommands()
        self.checks = FakeCommands()
        self.probe_commands = FakeCommands()
        self.commands.instant = {"on_active": 0, "on_standby": 0, "on_drain": 0}
        self.checks.instant = {"check": 3}
        self.obedient = True
        self.disk = DirectDisk(directory, epoch)
        self.watchdog = FakeWatchdog()
        self.services = Services("a", hooks, self.commands, self.checks, log)
        until_ns = self.clock.now_ns + ms(resumed_ms) if resumed_ms else 0
        self.agent = Agent(
            self.settings,
            key=key,
            lease=Lease(loss, epoch, until_ns, self.clock.now_ns),
            line=Line("fake", 115_200, log, self._open),
            services=self.services,
            probes=Probes(self.settings.probes, self.probe_commands, log, self.clock.now_ns),
            watchdog=self.watchdog,
            disk=self.disk,
            log=log,
            boot="boot-1",
            clock=self.clock,
        )

    def _open(self, path: str, baud: int) -> FakePort:
        self.ports.append(FakePort(self.board))
        return self.ports[-1]

    def go(self, milliseconds: float, step_ms: float = 50) -> None:
        """Let time pass in small steps; the check finds what the hooks did."""
        end_ns = self.clock.now_ns + ms(milliseconds)
        while self.clock.now_ns < end_ns:
            self.clock.pass_ms(min(step_ms, (end_ns - self.clock.now_ns) / NS_PER_MS))
            self.step()

    def step(self) -> None:
        """Do one round."""
        before = len(self.commands.started)
        self.agent.step()
        if self.obedient:
            for name, _ in self.commands.started[before:]:
                if self.commands.instant.get(name) == 0:
                    self.checks.instant["check"] = 0 if name == "on_active" else 3

    @property
    def log(self) -> str:
        """Return what was logged."""
        return self.text.getvalue()
