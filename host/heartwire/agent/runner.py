"""The process that runs hooks, checks and probes for the agent, each in a process group, with a time limit.

It is forked once, before the agent locks its memory or opens its port, so that starting a program - which may hang on
a broken disk - never holds up a heartbeat. It speaks JSON over a socket pair: start and kill come in, one result per
command goes out. When the agent ends, however it ends, it kills what still runs and ends too. It decides nothing.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heartwire.agent import probe_kinds

MESSAGE_MAX = 65_536
# Between SIGTERM and SIGKILL of a command that took too long or is no longer wanted.
GRACE_S = 2.0
POLL_S = 0.02
# What is meant for the agent may reach its helpers too: they end with it, not before.
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
OOM_SCORE_ADJ = Path("/proc/self/oom_score_adj")


@contextlib.contextmanager
def ordinary_for_oom(path: Path = OOM_SCORE_ADJ) -> Iterator[None]:
    """Let what is started meanwhile be as precious to the out-of-memory killer as any other program.

    The unit protects the agent and its helpers (OOMScoreAdjust); a database that inherited that would have everything
    else killed for its own hunger.
    """
    protected = ""
    with contextlib.suppress(OSError, ValueError):
        found = path.read_text(encoding="ascii").strip()
        if int(found):
            path.write_text("0", encoding="ascii")
            protected = found
    try:
        yield
    finally:
        if protected:
            with contextlib.suppress(OSError):
                path.write_text(protected, encoding="ascii")


class _Forked:
    """A built-in probe in a process of its own: what runner and _Job need of subprocess.Popen."""

    def __init__(self, kind: str, values: dict[str, Any], channel: socket.socket) -> None:
        self.pid = os.fork()
        if self.pid:
            return
        status = 125
        try:
            channel.close()
            os.setsid()
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL)
            status = probe_kinds.run(kind, values)
        finally:
            os._exit(status)

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, None while it runs."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if done else None


class _Job:
    def __init__(self, process: subprocess.Popen[bytes] | _Forked, limit_s: float) -> None:
        self.process = process
        self.started = time.monotonic()
        self.deadline = self.started + limit_s
        self.kill_at = 0.0
        self.outcome = "exit"

    def end(self, outcome: str) -> None:
        if self.kill_at:
            return
        self.outcome = outcome
        self.kill_at = time.monotonic() + GRACE_S
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


class Runner:
    """Serve one agent over `channel` until it closes."""

    def __init__(self, channel: socket.socket, quiet: bool) -> None:
        self._channel = channel
        self._quiet = quiet
        self._jobs: dict[int, _Job] = {}

    def serve(self) -> None:
        """Run until the agent is gone, then kill what is left."""
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        while True:
            for _ in poller.poll(POLL_S * 1000 if self._jobs else None):
                try:
                    data = self._channel.recv(MESSAGE_MAX)
                except ConnectionError:
                    data = b""
                if not data:
                    for job in self._jobs.values():
                        job.signal(signal.SIGKILL)
                    return
                self._take(json.loads(data))
            self._watch()

    def _take(self, message: dict[str, Any]) -> None:
        number = int(message["id"])
        if message["do"] == "kill":
            if number in self._jobs:
                self._jobs[number].end("killed")
            return
        not_after_ns = int(message.get("not_after_ns", 0))
        if not_after_ns and time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= not_after_ns:
            self._tell(number, "too_late", 0, 0.0)
            return
        if "probe" in message:
            try:
                probe = _Forked(message["probe"], message["values"], self._channel)
            except OSError as error:
                self._tell(number, "not_started", error.errno or 0, 0.0)
                return
            self._jobs[number] = _Job(probe, float(message["limit_s"]))
            return
        environment = {**os.environ, **message.get("env", {})}
        output = subprocess.DEVNULL if self._quiet else None
        try:
            with ordinary_for_oom():
                process = subprocess.Popen(
                    message["argv"],
                    stdin=subprocess.DEVNULL,
                    stdout=output if output else 2,
                    stderr=output,
                    env=environment,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            code = error.errno if isinstance(error, OSError) and error.errno else 0
            self._tell(number, "not_started", code, 0.0)
            return
        self._jobs[number] = _Job(process, float(message["limit_s"]))

    def _watch(self) -> None:
        now = time.monotonic()
        for number, job in list(self._jobs.items()):
            code = job.process.poll()
            if code is not None:
                if job.kill_at:
                    job.signal(signal.SIGKILL)  # what it left behind in its group
                del self._jobs[number]
                outcome = "signal" if job.outcome == "exit" and code < 0 else job.outcome
                self._tell(number, outcome, abs(code), now - job.started)
            elif job.kill_at:
                if now >= job.kill_at:
                    job.signal(signal.SIGKILL)
            elif now >= job.deadline:
                job.end("time_limit")

    def _tell(self, number: int, outcome: str, code: int, seconds: float) -> None:
        message = {"id": number, "outcome": outcome, "code": code, "seconds": round(seconds, 3)}
        with contextlib.suppress(ConnectionError):
            self._channel.send(json.dumps(message).encode())


def fork_runner(quiet: bool) -> tuple[socket.socket, int]:
    """Fork a runner; return (non-blocking channel to it, process id). Commands write to stderr unless `quiet`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = os.fork()
    if process:
        theirs.close()
        ours.setblocking(False)
        return ours, process
    status = 1
    try:
        # Nothing of the agent stays open here: neither its port and its watchdog, nor the channel of another runner.
        os.closerange(3, theirs.fileno())
        os.closerange(theirs.fileno() + 1, 4096)
        os.setsid()
        # A handler, not SIG_IGN: what is ignored would be ignored in every command as well.
        for number in HANDLED:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(-1)
        Runner(theirs, quiet).serve()
        status = 0
    finally:
        os._exit(status)
