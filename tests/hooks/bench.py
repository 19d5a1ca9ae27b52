"""Calls of the shipped hooks, stand-ins for the programs they use, and real PostgreSQL clusters in both layouts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import heartwire

SHARE = Path(heartwire.__file__).parent / "share"
HOOKS = SHARE / "hooks"
LIMIT_S = "120"
# The PATH of a systemd service: what lies in /usr/local/bin here is not there.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Outcome:
    """How a hook ended."""

    code: int
    words: str


def call(name: str, *words: str, path: Path | str = "", limit_s: str = LIMIT_S, **environment: str) -> Outcome:
    """Run a hook as the agent does, with the programs in `path` before those of the system."""
    variables = {"PATH": f"{path}:{PATH}" if path else PATH, "LANG": "de_DE.UTF-8", **environment}
    done = subprocess.run(
        [str(HOOKS / name), *words],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=float(limit_s),
        cwd="/",
    )
    return Outcome(done.returncode, done.stderr + done.stdout)


def program(directory: Path, name: str, text: str) -> None:
    """Put an executable shell script into a folder."""
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


def only(directory: Path, *names: str) -> Path:
    """Return a folder that has nothing but these programs of the system: the whole PATH of a hook."""
    directory.mkdir()
    for name in names:
        found = shutil.which(name, path=PATH)
        assert found, name
        (directory / name).symlink_to(found)
    return directory


# --- PostgreSQL ---


def newest_bin() -> Path | None:
    """Return the folder of the newest PostgreSQL server here, where distributions put it."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *Path("/usr").glob("pgsql-*/bin/initdb")]
    return max(found).parent if found else None


class Cluster:
    """One PostgreSQL cluster, run by an unprivileged user."""

    user = "postgres" if not os.geteuid() else ""

    def __init__(self, directory: Path, data: Path, port: int, start: Callable[[Cluster], None]) -> None:
        self.directory = directory
        self.data = data
        self.port = port
        self._start = start
        found = newest_bin()
        assert found
        self.bin = found

    def run(self, *words: str) -> str:
        """Run a program of the server as its owner; it must succeed."""
        prefix = ["runuser", "-u", self.user, "--"] if self.user else []
        words = (str(self.bin / words[0]), *words[1:]) if (self.bin / words[0]).exists() else words
        done = subprocess.run([*prefix, *words], capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()

    def sql(self, statement: str) -> str:
        """Return what a statement says."""
        return self.run("psql", "-X", "-h", str(self.directory), "-p", str(self.port), "-Atc", statement, "postgres")

    def settings(self) -> str:
        """Return settings for a test."""
        return (
            f"port={self.port}\nlisten_addresses=''\nunix_socket_directories='{self.directory}'\n"
            "fsync=off\nwal_level=replica\nrestart_after_crash=off\n"
        )

    def start(self) -> None:
        """Start it without the hook, as a person would."""
        self._start(self)

    def follow(self, primary: Cluster) -> None:
        """Make it a running copy that follows `primary`."""
        if self.data.exists():
            shutil.rmtree(self.data)
        self.run(
            *("pg_basebackup", "-h", str(primary.directory), "-p", str(primary.port), "-U", "postgres"),
            *("-D", str(self.data), "-R", "-c", "fast", "--no-sync"),
        )
        (self.data / "postgresql.auto.conf").open("a").write(self.settings())
        self.start()

    def kill(self) -> None:
        """End it as a power cut would."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (str(pid), *children):
            subprocess.run(["kill", "-9", one], check=False, capture_output=True)
        while any(Path(f"/proc/{one}").exists() for one in (str(pid), *children)):
            os.sched_yield()

    def hook(self, verb: str, **environment: str) -> Outcome:
        """Call the hook for it."""
        return call("postgresql", verb, str(self.data), **environment)

    def is_primary(self) -> bool:
        """Tell whether it runs and takes writes."""
        return (self.data / "postmaster.pid").exists() and self.sql("select pg_is_in_recovery()") == "f"

    def end(self) -> None:
        """Stop it, however it is."""
        if (self.data / "postmaster.pid").exists():
            words = [str(self.bin / "pg_ctl"), "stop", "-m", "immediate", "-D", str(self.data)]
            prefix = ["runuser", "-u", self.user, "--"] if self.user else []
            subprocess.run([*prefix, *words], check=False, capture_output=True, cwd="/")
