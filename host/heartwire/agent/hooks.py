"""Commands as the agent sees them: start one, learn its result later, or kill it. Never waits.

`Commands` is the seam that services.py and probes.py stand on; tests put a fake in its place. `ForkedCommands` talks
to a runner process (runner.py), which has the time limits; as the runner itself may hang in starting a program from a
broken disk, a result that is overdue is made up here.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from heartwire.agent.runner import GRACE_S, MESSAGE_MAX, fork_runner
from heartwire.agent.settings import Command

# How much later than its own limit a command's result may come before it counts as hung.
OVERDUE_S = GRACE_S + 3.0
# Checks and probes that hang (on a dead disk not even SIGKILL ends them) before no more are started: a disk may be dead
# for days. Hooks are always started, because whatever hangs, a stop must be tried.
HUNG_MAX = 4


class Result(NamedTuple):
    """How a command ended: outcome is exit, signal, time_limit, killed, not_started, too_late or hung."""

    number: int
    outcome: str
    code: int
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Tell whether it ended by itself, in time, with exit status 0."""
        return self.outcome == "exit" and self.code == 0


class Commands(Protocol):
    """Start commands, and collect their results."""

    def start(self, command: Command, environment: Mapping[str, str], not_after_ns: int = 0) -> int:
        """Start a command unless it is later than `not_after_ns` (CLOCK_BOOTTIME, 0: always); return its number."""

    def kill(self, number: int) -> None:
        """End a command and its group; its result still comes."""

    def results(self) -> list[Result]:
        """Return what ended since the last call."""


class ForkedCommands:
    """Commands run by a forked runner. Build it before threads, locked memory and open ports."""

    def __init__(self, quiet: bool) -> None:
        self._channel: socket.socket
        self._channel, self.process = fork_runner(quiet)
        self._numbers = 0
        self._bounded = quiet
        self._hung: set[int] = set()
        self._overdue: dict[int, float] = {}
        self._early: list[Result] = []

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a result is there."""
        return self._channel.fileno()

    def start(self, command: Command, environment: Mapping[str, str], not_after_ns: int = 0) -> int:
        """Start a command; see Commands.start. A runner that takes nothing more gives the result `hung`."""
        variables = {**dict(command.environment), **environment}
        message = {"argv": list(command.argv), "env": variables, "not_after_ns": not_after_ns}
        return self._begin(message, command.limit_s)

    def start_probe(self, kind: str, values: Mapping[str, Any], limit_s: float) -> int:
        """Start a built-in probe (probe_kinds) with its time limit; return its number."""
        return self._begin({"probe": kind, "values": dict(values)}, limit_s)

    def _begin(self, message: dict[str, Any], limit_s: float) -> int:
        self._numbers += 1
        self._overdue[self._numbers] = time.monotonic() + limit_s + OVERDUE_S
        full = self._bounded and len(self._hung) >= HUNG_MAX
        if full or not self._send({"do": "start", "id": self._numbers, "limit_s": limit_s, **message}):
            del self._overdue[self._numbers]
            self._early.append(Result(self._numbers, "hung", 0, 0.0))
        return self._numbers

    def kill(self, number: int) -> None:
        """End a command and its group; see Commands.kill."""
        if number in self._overdue:
            self._send({"do": "kill", "id": number})

    def results(self) -> list[Result]:
        """Return what ended since the last call, overdue ones as `hung`."""
        found = self._early
        self._early = []
        with contextlib.suppress(OSError):  # nothing there, or the runner is gone
            while data := self._channel.recv(MESSAGE_MAX):
                message = json.loads(data)
                self._hung.discard(message["id"])
                if self._overdue.pop(message["id"], None) is not None:
                    found.append(Result(message["id"], message["outcome"], message["code"], message["seconds"]))
        now = time.monotonic()
        for number, deadline in list(self._overdue.items()):
            if now >= deadline:
                del self._overdue[number]
                self._hung.add(number)
                found.append(Result(number, "hung", 0, 0.0))
        return found

    def close(self) -> None:
        """End the runner, which kills what still runs; wait for it 500 ms at most."""
        self._channel.close()
        with contextlib.suppress(ChildProcessError):
            for _ in range(50):
                if os.waitpid(self.process, os.WNOHANG)[0]:
                    return
                time.sleep(0.01)

    def _send(self, message: dict[str, object]) -> bool:
        try:
            self._channel.send(json.dumps(message).encode())
        except OSError:
            return False
        return True
