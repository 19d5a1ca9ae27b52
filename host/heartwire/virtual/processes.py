"""Start, freeze and kill the processes of a virtual rack, so that none survives its power or its owner.

Each process leads its own session, gets the rack's mark in its environment, and is watched by pidfd, so that its end
is noticed at once. Killing reaches the process group and whatever escaped from it, found by the mark. Nothing here
touches a process that does not carry the mark. Used by vm.py and server.py.
"""

import contextlib
import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from heartwire.virtual import guardian
from heartwire.virtual.reactor import Reactor


class ProcessYard:
    """The processes of one rack, and the guardian that ends them when the owner dies."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.mark = secrets.token_hex(8)
        reading, self._pipe = os.pipe()
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, self.mark],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(reading)

    def remove_at_end(self, directory: Path) -> None:
        """Have a directory removed even if this program is killed."""
        os.write(self._pipe, f"{directory}\n".encode())

    def start(
        self,
        argv: Sequence[str],
        *,
        name: str,
        ended: Callable[[int], None],
        environment: Mapping[str, str],
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.DEVNULL,
        stderr: int | IO[Any] = subprocess.STDOUT,
        pass_fds: Sequence[int] = (),
        cwd: Path | None = None,
    ) -> "MarkedProcess":
        """Start a marked process; `ended(exit_code)` is called once, unless it was killed here."""
        mark = f"{self.mark}/{name}"
        process = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**environment, guardian.MARK: mark},
            pass_fds=pass_fds,
            cwd=cwd,
            start_new_session=True,
        )
        return MarkedProcess(self.reactor, process, mark, ended)

    def close(self) -> None:
        """Kill whatever is left and let the guardian go."""
        guardian.kill_marked(self.mark)
        os.close(self._pipe)
        self._guardian.wait(10)


class MarkedProcess:
    """A running process of the rack; made by ProcessYard.start()."""

    def __init__(
        self, reactor: Reactor, process: "subprocess.Popen[bytes]", mark: str, ended: Callable[[int], None]
    ) -> None:
        self.pid = process.pid
        self.alive = True
        self._reactor = reactor
        self._process = process
        self._mark = mark
        self._ended = ended
        self._pidfd = os.pidfd_open(process.pid)
        reactor.watch(self._pidfd, select.EPOLLIN, self._on_exit)

    def signal(self, number: int) -> None:
        """Send a signal to the process group and to what escaped from it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        guardian.send_marked(self._mark, number)

    def kill(self, *, whole_tree: bool = True) -> None:
        """Kill the group with SIGKILL, at once, then what escaped from it; returns once all are dead.

        `ended` is not called. Without `whole_tree` only the group is killed, which a process without children needs.
        """
        self._forget()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if whole_tree:
            guardian.kill_marked(self._mark)
        self._process.wait()

    def _on_exit(self, _events: int) -> None:
        self._forget()
        self._ended(self._process.wait())

    def _forget(self) -> None:
        if self.alive:
            self.alive = False
            self._reactor.unwatch(self._pidfd)
            os.close(self._pidfd)
