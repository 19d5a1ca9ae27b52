"""Measure how punctual real agents are under load: heartbeat jitter and false "late", at normal and real-time priority.

Real `heartwire agent run` processes beat on pseudo terminals; this program answers as a board would and stamps each
heartbeat as it arrives, itself at a higher real-time priority where the system allows it. Phases: idle; four busy
loops; the same with memory pressure. It says what it could not have (real-time priority, a memory cgroup). `make bench`
runs it; it asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import os
import select
import subprocess
import sys
import tempfile
import time
import tty
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from heartwire import keys  # noqa: E402 - the repository's root must be importable first
from heartwire_protocol import settings  # noqa: E402
from tests.unit.agent.agent_fakes import FakeBoard, FakePort  # noqa: E402

INTERVAL_MS = 50  # the shortest that an agent takes, for many samples in a short time
BOARD = settings.Settings().board
# Late at this interval, as a rack with default settings would be.
LATE_MS = BOARD.late_ms / BOARD.interval_ms * INTERVAL_MS
METER_PRIORITY = 40
AGENT_PRIORITY = 10
BUSY_LOOPS = 4
WARM_S = 3.0
CGROUP = Path("/sys/fs/cgroup/memory")
LIMIT_MB = 320
BUSY = "while True: pass"
THRASH = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    view = mmap.mmap(file.fileno(), 0)
    while True:
        for at in range(0, len(view), 4096):
            view[at] = 1
        memory = mmap.mmap(-1, 32 << 20)
        for at in range(0, 32 << 20, 4096):
            memory[at] = 1
        memory.close()
"""


@dataclass
class Sender:
    """One agent and the board's end of its line."""

    priority: int
    process: subprocess.Popen[bytes]
    master: int
    board: FakeBoard
    port: FakePort
    stamps: list[tuple[int, int]] = field(default_factory=list)  # (sequence, ns of its arrival)

    def take(self, now_ns: int) -> None:
        """Take what arrived; stamp it, then answer it."""
        try:
            data = os.read(self.master, 4096)
        except OSError:
            return
        before = len(self.board.beats)
        self.board.hear(data, self.port)
        for beat in self.board.beats[before:]:
            self.stamps.append((beat["sequence"], now_ns))
        del self.board.beats[:]
        if self.port.inbox:
            os.write(self.master, self.port.inbox)
            self.port.inbox = b""


def start(directory: Path, name: str, priority: int, group: Path | None) -> Sender:
    """Start one agent at `priority` (0: normal)."""
    master, slave = os.openpty()
    tty.setraw(slave)
    key_file = directory / f"{name}.key"
    keys.write_new(key_file, ("",))
    config = directory / f"{name}.toml"
    config.write_text(
        f'node = "a"\nport = "{os.ttyname(slave)}"\nkey_file = "{key_file}"\ninterval_ms = {INTERVAL_MS}\n'
        f'state_directory = "{directory / name}"\nreal_time_priority = {priority}\n'
    )
    join = f"echo $$ > {group}/cgroup.procs; " if group else ""
    command = ["sh", "-c", f'{join}exec "$@"', "sh", sys.executable, "-m", "heartwire", "agent", "run"]
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([*command, "--config", str(config)], stderr=log)
    key = bytes.fromhex(keys.read_file(key_file)[""])
    board = FakeBoard(key=key)
    return Sender(priority, process, master, board, FakePort(board))


def listen(senders: list[Sender], seconds: float) -> None:
    """Stamp and answer heartbeats for so long."""
    poller = select.poll()
    by_descriptor = {sender.master: sender for sender in senders}
    for descriptor in by_descriptor:
        poller.register(descriptor, select.POLLIN)
    until_ns = time.monotonic_ns() + int(seconds * 1e9)
    while (now_ns := time.monotonic_ns()) < until_ns:
        for descriptor, _ in poller.poll((until_ns - now_ns) / 1e6):
            by_descriptor[descriptor].take(time.monotonic_ns())


def gaps_ms(stamps: list[tuple[int, int]]) -> list[float]:
    """Return the times between heartbeats."""
    return [(later[1] - earlier[1]) / 1e6 for earlier, later in itertools.pairwise(stamps)]


def row(name: str, senders: list[Sender]) -> str:
    """Return a line of the table for the senders of one priority, and forget their stamps."""
    gaps: list[float] = []
    for sender in senders:
        gaps += gaps_ms(sender.stamps)
        sender.stamps.clear()
    if not gaps:
        return f"{name:<50} no heartbeat came"
    jitter = sorted(abs(gap - INTERVAL_MS) for gap in gaps)
    p999 = jitter[min(len(jitter) - 1, int(len(jitter) * 0.999))]
    here = sum(gap > LATE_MS for gap in gaps)
    rack = sum(gap > BOARD.late_ms for gap in gaps)
    return (
        f"{name:<50} {jitter[len(jitter) // 2]:>8.2f} {p999:>8.2f} {max(gaps):>9.1f} {here:>9} {rack:>9} n={len(gaps)}"
    )


def own_priority() -> str:
    """Raise this program's priority; return why not, or ""."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(METER_PRIORITY))
    except OSError as error:
        return error.strerror or "unknown"
    return ""


def make_group() -> Path | None:
    """Return a new memory cgroup (v1) of LIMIT_MB, or None where none can be made."""
    group = CGROUP / f"heartwire-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_MB << 20))
    except OSError:
        return None
    return group


def hog(script: str, group: Path | None, *words: str) -> subprocess.Popen[bytes]:
    """Start a program that makes trouble."""
    join = f"echo $$ > {group}/cgroup.procs; " if group else ""
    return subprocess.Popen(["sh", "-c", f'{join}exec "$@"', "sh", sys.executable, "-c", script, *words])


def measure(directory: Path, seconds: float, group: Path | None) -> None:
    """Run the phases and print the table."""
    kinds = (("normal priority", 0), ("real-time priority", AGENT_PRIORITY))
    senders = [start(directory, f"{priority}-{at}", priority, group) for _, priority in kinds for at in range(2)]
    hogs: list[subprocess.Popen[bytes]] = []
    data = directory / "data"
    with data.open("wb") as file:
        file.truncate(2 * LIMIT_MB << 20)
    refused = own_priority()
    gc.disable()
    try:
        meter = f"normal priority: {refused}" if refused else "real-time priority"
        print(f"agents beat each {INTERVAL_MS} ms; the meter runs at {meter}")
        pressure = f"a memory cgroup of {LIMIT_MB} MB" if group else "no memory cgroup (v1): there is no pressure here"
        print(f"memory pressure: two programs that dirty {2 * LIMIT_MB} MB of file and 32 MB of memory, in {pressure}")
        print(
            f"jitter: |time between two heartbeats - {INTERVAL_MS} ms|. late: longer than {LATE_MS:g} ms, as late_ms is"
        )
        print(f"to interval_ms by default; longer than late_ms ({BOARD.late_ms} ms) itself")
        columns = ("median", "p99.9", "worst gap", f"> {LATE_MS:g}", f"> {BOARD.late_ms}")
        print(
            f"{'jitter and false late, ms':<50} {columns[0]:>8} {columns[1]:>8}"
            + "".join(f" {c:>9}" for c in columns[2:])
        )
        listen(senders, WARM_S)
        for title, share in (("idle", 0.4), (f"{BUSY_LOOPS} busy loops", 1.0), ("busy loops and memory pressure", 1.0)):
            if share == 1.0 and not hogs:
                hogs += [hog(BUSY, None) for _ in range(BUSY_LOOPS)]
            elif hogs:
                hogs += [hog(THRASH, group, str(data)) for _ in range(2)]
            listen(senders, WARM_S)
            for sender in senders:
                sender.stamps.clear()
            listen(senders, seconds * share)
            for name, priority in kinds:
                print(row(f"{title}, {name}", [one for one in senders if one.priority == priority]), flush=True)
        for name, priority in kinds:
            lines = (directory / f"{priority}-0.log").read_text().splitlines()
            reached = next((line for line in lines if "event=on_time" in line), "event=on_time nothing")
            print(f"agents at {name}: {reached.partition('event=on_time ')[2]}")
        if group:
            print(f"the memory limit was hit {(group / 'memory.failcnt').read_text().strip()} times")
    finally:
        for process in [*hogs, *(sender.process for sender in senders)]:
            process.kill()
            process.wait()


def main() -> None:
    """Measure in a directory and a cgroup of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=26.0, help="length of each phase under load (default 26)")
    options = parser.parse_args()
    group = make_group()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            measure(Path(temporary), options.seconds, group)
    finally:
        if group:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (CGROUP / "cgroup.procs").write_text(pid)
            with contextlib.suppress(OSError):
                group.rmdir()


if __name__ == "__main__":
    main()
