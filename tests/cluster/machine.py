"""Machines in namespaces of their own: Pacemaker's programs run in them as on a server, and see nothing of this one.

`Machine` is one such machine's folder and command line; a rack's server starts and kills it, or `Fenced` does. The
inside is machine.sh.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

from tests.cluster.bench import program

INSIDE = Path(__file__).parent / "machine.sh"
# Calls the agent that is under test; a cluster starts agents by their name in /usr/sbin only.
WRAPPER = '#!/bin/sh\nexec {program} "$@"\n'


class Machine:
    """The folder of a machine, and what to run for it."""

    def __init__(self, name: str, directory: Path, role: str, namespace: str = "") -> None:
        self.name = name
        self.directory = directory
        self.role = role
        self.namespace = namespace
        for folder in ("agents", "resources", "log", "state"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        self.add("agents/fence_heartwire", WRAPPER.format(program=program("fence_heartwire")))

    def add(self, path: str, text: str) -> None:
        """Put an executable file into the machine's folder."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    @property
    def command(self) -> list[str]:
        """What starts the machine; killing its first process kills all of it."""
        # A network of its own in any case: the sockets of Pacemaker's programs are names in it, one owner each.
        network = ["ip", "netns", "exec", self.namespace] if self.namespace else ["unshare", "-n"]
        spaces = ["unshare", "-m", "-u", "-p", "-f", "--kill-child=KILL", "--mount-proc"]
        return [*network, *spaces, "/bin/bash", str(INSIDE), self.role, self.name, str(self.directory)]

    def inside(self, first: int, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine whose first process is `first` as seen from outside."""
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        enter = ["nsenter", "-t", children[0], "-m", "-u", "-p", "-n", "--"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=timeout_s, check=False)

    def log(self, name: str) -> str:
        """Return the text of one of the machine's logs."""
        path = self.directory / "log" / name
        return path.read_text(errors="replace") if path.exists() else ""


class Fenced:
    """Pacemaker's fencer alone in a machine, and stonith_admin to talk to it."""

    def __init__(self, directory: Path) -> None:
        self.machine = Machine("watcher", directory, "fenced")
        with (directory / "console").open("wb") as console:
            self.process = subprocess.Popen(self.machine.command, stdout=console, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 10
        while "successfully started" not in self.machine.log("fenced.log"):
            if time.monotonic() > deadline or self.process.poll() is not None:
                text = (directory / "console").read_text() + self.machine.log("fenced.log")
                self.close()
                raise TimeoutError(f"pacemaker-fenced did not start:\n{text}")
            time.sleep(0.05)

    def admin(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run stonith_admin with `arguments`."""
        return self.machine.inside(self.process.pid, "stonith_admin", *arguments, timeout_s=timeout_s)

    def register(self, device: str, **values: object) -> int:
        """Register a fence device; return the exit code."""
        options = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
        return self.admin("-R", device, "-a", "fence_heartwire", *options).returncode

    def close(self) -> None:
        """End it."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
