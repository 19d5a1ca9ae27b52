"""What the product's agent touches the world with in virtual time: its line, its commands, its disk, its watchdog.

Stand-ins for agent/port.py, hooks.py, state.py and watchdog.py; agent_node.py joins them to the stages. They know
nothing of roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heartwire.agent.beat import Incarnation
from heartwire.agent.hooks import Result
from heartwire.agent.lease import NS_PER_MS
from heartwire.agent.settings import Command


class Program:
    """The service of a node, and the commands that start, stop and check it."""

    def __init__(self) -> None:
        self.runs = False
        self.fault = ""  # fails, fails-quietly, hangs
        self.stops = True  # False: no stop comes to its end
        self.is_ill = False  # what a probe measures
        self.takes_ms = {"on_active": 0, "on_standby": 0, "check": 0}


class StandIn:
    """Commands of `program` in virtual time; fulfils hooks.Commands and probes.ProbeCommands."""

    def __init__(self, program: Program) -> None:
        self.ms = 0
        self._program = program
        self._number = 0
        self._open: dict[int, tuple[str, int, int]] = {}  # what, when it began, its limit
        self._killed: list[Result] = []

    def start(self, command: Command, environment: Mapping[str, str], not_after_ns: int = 0) -> int:
        """Start a command, unless it is too late for it."""
        self._number += 1
        if not_after_ns and self.ms * NS_PER_MS > not_after_ns:
            self._killed.append(Result(self._number, "too_late", 0, 0.0))
        else:
            self._open[self._number] = (command.argv[0], self.ms, round(command.limit_s * 1000))
        return self._number

    def start_probe(self, kind: str, values: Mapping[str, Any], limit_s: float) -> int:
        """Start a built-in probe, which is never bad."""
        return self.start(Command((kind,), limit_s), {})

    def kill(self, number: int) -> None:
        """End a command; what it would have done is not done."""
        if self._open.pop(number, None):
            self._killed.append(Result(number, "killed", 15, 0.0))

    @property
    def ready(self) -> bool:
        """Tell whether a result is there."""
        return bool(self._killed) or any(self._is_over(*job) for job in self._open.values())

    def results(self) -> list[Result]:
        """Return what ended since the last call."""
        found, self._killed = self._killed, []
        for number, job in list(self._open.items()):
            if self._is_over(*job):
                del self._open[number]
                found.append(self._end(number, *job))
        return found

    def _is_over(self, what: str, began_ms: int, limit_ms: int) -> bool:
        return self.ms - began_ms >= (limit_ms if self._hangs(what) else self._program.takes_ms.get(what, 0))

    def _hangs(self, what: str) -> bool:
        if what == "on_active":
            return self._program.fault == "hangs" or not self._program.stops
        return what == "on_standby" and not self._program.stops

    def _end(self, number: int, what: str, began_ms: int, limit_ms: int) -> Result:
        program = self._program
        seconds = (self.ms - began_ms) / 1000
        if self._hangs(what):
            return Result(number, "time_limit", 9, seconds)
        code = 0
        if what == "on_active":
            program.runs = not program.fault
            code = int(program.fault == "fails")
        elif what == "on_standby":
            program.runs = False
        elif what == "check":
            code = 0 if program.runs else 3
        elif what == "probe":
            code = int(program.is_ill)
        return Result(number, "exit", code, seconds)


class MemoryStore:
    """What the agent keeps on disk, there at once; it outlives the agent and the boots of its server."""

    def __init__(self) -> None:
        self.durable_epoch = 0
        self.epoch_error = ""
        self.status: dict[str, Any] = {}

    def store_epoch(self, epoch: int) -> None:
        """Keep the highest epoch."""
        self.durable_epoch = max(self.durable_epoch, epoch)

    def store_status(self, status: dict[str, Any]) -> None:
        """Keep the status."""
        self.status = status


class MemoryPort:
    """The agent's end of its line."""

    def __init__(self) -> None:
        self.inbox = b""
        self.outbox: list[bytes] = []

    def fileno(self) -> int:
        """Return nothing that can be polled."""
        return -1

    def read(self) -> bytes:
        """Return what has arrived."""
        if not self.inbox:
            raise BlockingIOError
        data, self.inbox = self.inbox, b""
        return data

    def write(self, data: memoryview) -> int:
        """Keep a frame until the rack takes it."""
        self.outbox.append(bytes(data))
        return len(data)

    def ready(self) -> bool:
        """Be usable from the start."""
        return True

    def waiting(self) -> int:
        """Let everything leave at once."""
        return 0

    def discard(self) -> bool:
        """Have nothing to throw away."""
        return True

    def close(self) -> None:
        """Lose what has not arrived yet."""
        self.inbox = b""

    def drop(self) -> None:
        """Lose what has not arrived yet; nothing waits to be sent."""
        self.inbox = b""


class CountingWatchdog:
    """A kernel watchdog: `bites` once nobody has fed it for `timeout_ms`, and nobody disarmed it."""

    def __init__(self, timeout_ms: int) -> None:
        self.armed = True
        self.timeout_ms = timeout_ms
        self.unfed_ms = 0

    def feed(self) -> None:
        """Put off the reset."""
        self.unfed_ms = 0

    def close(self, disarm: bool) -> None:
        """Let go of it."""
        self.armed = not disarm

    def advance(self, elapsed: int) -> bool:
        """Let time pass; tell whether it resets the server now."""
        self.unfed_ms += elapsed if self.armed else 0
        return self.armed and self.unfed_ms > self.timeout_ms


class SimulatedIncarnation(Incarnation):
    """Rising sequences, unless it is `stuck`."""

    stuck = False

    def next_sequence(self, sent_ns: int) -> int:
        """Take the next sequence, or the same one again."""
        if self.stuck and self.sequence:
            self.sequence -= 1
        return super().next_sequence(sent_ns)


class Silence:
    """A stream that nobody reads."""

    def write(self, text: str) -> int:
        """Take a line."""
        return len(text)

    def flush(self) -> None:
        """Do nothing."""
