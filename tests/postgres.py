"""Real PostgreSQL clusters for tests: made once, copied, on a socket of their own, run by an unprivileged user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The PATH of a systemd service: what lies in /usr/local/bin here is not there.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


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

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Return what a statement says."""
        place = ("-h", str(self.directory), "-p", str(self.port), "-U", "postgres")
        return self.run("psql", "-X", *place, "-v", "ON_ERROR_STOP=1", "-Atc", statement, database)

    def url(self, database: str, user: str = "postgres") -> str:
        """Return where a database is, as a store's URL."""
        return f"postgresql://{user}@/{database}?host={self.directory}&port={self.port}"

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

    def is_primary(self) -> bool:
        """Tell whether it runs and takes writes."""
        return (self.data / "postmaster.pid").exists() and self.sql("select pg_is_in_recovery()") == "f"

    def end(self) -> None:
        """Stop it, however it is."""
        if (self.data / "postmaster.pid").exists():
            words = [str(self.bin / "pg_ctl"), "stop", "-m", "immediate", "-D", str(self.data)]
            prefix = ["runuser", "-u", self.user, "--"] if self.user else []
            subprocess.run([*prefix, *words], check=False, capture_output=True, cwd="/")


def data_directory() -> Iterator[Path]:
    """Yield a data directory as initdb makes it, or skip."""
    if not newest_bin():
        pytest.skip("not installed: postgresql")
    if not shutil.which("runuser", path=PATH):
        pytest.skip("not installed: util-linux")
    folder = directory()
    try:
        maker = Cluster(folder, folder / "data", 5500, start_plainly)
        maker.run("initdb", "-D", str(maker.data), "--auth=trust", "-U", "postgres", "--no-sync", "-N")
        yield maker.data
    finally:
        shutil.rmtree(folder)


def directory() -> Path:
    """Return a new folder of the clusters' user."""
    folder = Path(tempfile.mkdtemp(prefix="hwpg", dir="/tmp"))  # a socket's path must be short
    if Cluster.user:
        try:
            shutil.chown(folder, Cluster.user)
        except LookupError:
            folder.rmdir()
            pytest.skip("needs a user postgres")
    return folder


def start_plainly(cluster: Cluster) -> None:
    """Start a cluster that has all its files in one directory."""
    cluster.run("pg_ctl", "start", "-w", "-D", str(cluster.data), "-l", str(cluster.directory / f"log-{cluster.port}"))
