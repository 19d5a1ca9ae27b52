"""Measure the virtual board: deadline overshoot, failover time, heap growth, and how fast the command line starts.

Runs the real firmware on the real MicroPython VM in real time and prints a table; it asserts nothing, because these are
timings of this machine under its load. The nodes are the test suite's, beaten from this process. `make bench`;
`--quick` for a first look.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from heartwire.board import Board  # noqa: E402 - the repository's root must be importable first
from heartwire.virtual.board import VirtualBoard  # noqa: E402
from heartwire_protocol import codes, settings  # noqa: E402
from tests.fakes.node import FakeNode  # noqa: E402

KEYS = (b"\x11" * 32, b"\x22" * 32)
INTERVAL_MS = 100
DEAD_MS = 750
SENSE_DELAY_S = 0.02
SETTINGS = f"""board.bench=1
board.interval_ms={INTERVAL_MS}
board.early_ms=10
board.late_ms=250
board.common_cause_ms=50
board.dead_ms={DEAD_MS}
board.lease_ms=700
board.good_count=2
board.off_stable_ms=50
board.off_timeout_ms=500
board.off_ms=400
board.max_actions=20
board.window_s=12
node.a.boot_grace_ms=6000
node.b.boot_grace_ms=6000
node.a.quarantine=clean_start
node.b.quarantine=clean_start
node.a.key={KEYS[0].hex()}
node.b.key={KEYS[1].hex()}
"""


class Bench:
    """A virtual board and two nodes that beat from this process."""

    def __init__(self, directory: Path) -> None:
        self.board = VirtualBoard(directory)
        self.nodes = [FakeNode(index, KEYS[index]) for index in range(2)]
        self.sent_ns = [0, 0]
        self.granted_ns = [0, 0]
        self.cut_ns = [0, 0]
        self._lock = threading.Lock()
        self._sending = (threading.Lock(), threading.Lock())  # taken before the other one
        self._ending = threading.Event()

    def __enter__(self) -> Bench:
        self.board.on_output(self._output)
        for index in range(2):
            self.board.on_line(codes.NODES[index], partial(self._hear, index))
            self.board.set_input(f"SENSE_{codes.NODES[index].upper()}1", True)
        self.board.power_on()
        found, _ = settings.parse(SETTINGS)
        self.board.wait_usb()
        self.board.set_input("KEY", True)
        time.sleep(0.1)
        with Board.open(str(self.board.usb_path)) as link:
            link.apply_settings(found)
            link.set_mode("auto")
        for index in range(2):
            threading.Thread(target=self._beat, args=(index,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.board.close()

    def _beat(self, index: int) -> None:
        due = time.monotonic() + index * 0.05
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due += INTERVAL_MS / 1000
            with self._sending[index]:
                with self._lock:
                    frame = self.nodes[index].heartbeat() if self.nodes[index].alive else b""
                if frame:
                    # Not under the lock: sending waits for the reactor, which may wait for the lock in _hear.
                    self.board.send_line(codes.NODES[index], frame)
                    self.sent_ns[index] = time.monotonic_ns()

    def _hear(self, index: int, data: bytes) -> None:
        with self._lock:
            node = self.nodes[index]
            epoch = node.epoch
            if node.alive:
                node.hear(data)
            if node.epoch > epoch:
                self.granted_ns[index] = time.monotonic_ns()

    def _output(self, signal: str, asserted: bool, at_ns: int) -> None:
        if signal not in ("POWER_A", "POWER_B"):
            return
        index = 0 if signal == "POWER_A" else 1
        sense = f"SENSE_{signal[-1]}1"
        if asserted:
            self.cut_ns[index] = at_ns
            threading.Timer(SENSE_DELAY_S, self.board.set_input, (sense, False)).start()
        else:
            self.board.set_input(sense, True)
            threading.Timer(0.1, self.nodes[index].boot).start()

    def active(self) -> int:
        """Return who runs; waits until exactly one does and the other is a good standby."""
        while True:
            with self._lock:
                running = [index for index in range(2) if self.nodes[index].running]
                ready = all(node.alive and node.role in (1, 2) for node in self.nodes)
            if len(running) == 1 and ready:
                return running[0]
            time.sleep(0.01)

    def trial(self) -> tuple[float, float]:
        """Let the active node die; return (relay edge, grant heard by the other) in ms after the deadline."""
        index = self.active()
        other = 1 - index
        time.sleep(0.15)
        with self._sending[index], self._lock:
            self.nodes[index].crash()
            last_ns = self.sent_ns[index]
            self.cut_ns[index] = self.granted_ns[other] = 0
        while not self.granted_ns[other] or not self.cut_ns[index]:
            time.sleep(0.005)
        deadline_ns = last_ns + DEAD_MS * 1_000_000
        return (self.cut_ns[index] - deadline_ns) / 1e6, (self.granted_ns[other] - deadline_ns) / 1e6


def heap(directory: Path, minutes: float, found: list[int]) -> None:
    """Collect what the board says is free after its collections, over `minutes` of steady heartbeats."""
    with Bench(directory) as bench:
        bench.active()
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            time.sleep(min(6.0, minutes * 10))
            with Board.open(str(bench.board.usb_path)) as link:
                found.append(link.status().free)


def start_times(words: list[str], runs: int) -> list[float]:
    """Return how long `heartwire WORDS` takes as a process, in ms, after one run that fills the file cache."""
    times = []
    for _ in range(runs + 1):
        begin = time.monotonic_ns()
        subprocess.run([sys.executable, "-m", "heartwire", *words], stdout=subprocess.DEVNULL, check=True)
        times.append((time.monotonic_ns() - begin) / 1e6)
    return times[1:]


def row(name: str, values: list[float], unit: str = "ms") -> str:
    """Return a line of the table."""
    ranked = sorted(values)
    p99 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
    middle = statistics.median(ranked)
    return f"{name:<58} {ranked[0]:>9.1f} {middle:>9.1f} {p99:>9.1f} {ranked[-1]:>9.1f} {unit:<4} n={len(ranked)}"


def main() -> None:
    """Run it all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=100, help="failovers (default 100)")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the heap measurement (default 10)")
    parser.add_argument("--quick", action="store_true", help="10 failovers, 1 minute of heap")
    options = parser.parse_args()
    trials, minutes = (10, 1.0) if options.quick else (options.trials, options.minutes)
    edges: list[float] = []
    grants: list[float] = []
    free: list[int] = []
    with tempfile.TemporaryDirectory() as temporary:
        side = threading.Thread(target=heap, args=(Path(temporary) / "heap", minutes, free))
        side.start()
        with Bench(Path(temporary) / "trials") as bench, Progress(console=Console(stderr=True)) as progress:
            for _ in progress.track(range(trials), description="failovers"):
                edge, grant = bench.trial()
                edges.append(edge)
                grants.append(grant)
            version = start_times(["--version"], 10)
            status = start_times(["-p", str(bench.board.usb_path), "status"], 10)
            wait = progress.add_task("heap", total=minutes * 60)
            while side.is_alive():
                side.join(1)
                progress.update(wait, completed=min(minutes * 60, len(free) * 6))
    print(f"{'virtual board, this machine':<58} {'min':>9} {'median':>9} {'p99':>9} {'max':>9}")
    print(row("deadline overshoot: dead_ms over -> relay edge", edges))
    print(row("failover: last heartbeat -> grant, minus dead_ms", grants))
    print(row(f"  of it: proof of off (sense {SENSE_DELAY_S * 1000:.0f} ms, stable 50 ms, debounce 25 ms)", [95.0]))
    print(row("heartwire --version, cold process", version))
    print(row("heartwire status, cold process", status))
    growth = free[0] - free[-1] if len(free) > 1 else 0
    print(f"heap growth over {minutes:g} min: {growth} bytes (free {free[0]} -> {free[-1]}, {len(free)} looks)")


if __name__ == "__main__":
    main()
