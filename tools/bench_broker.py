"""Measure what sharing a board costs: `status` and the start of a fence, alone at the port and beside five readers.

Runs a virtual rack in real time (the real firmware on the MicroPython VM) and prints times and ratios; it asserts
nothing, as these are timings of this machine under its load. Rounds with and without company alternate, so that what
else the machine does falls on both. The board observes: it refuses each fence at once, so the time until its refusal
is the time until it would have begun. `make bench-broker`; `--rounds 2` for a first look.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from heartwire.board import Board
from heartwire.broker.places import ENVIRONMENT, OFF
from heartwire.errors import Refused
from heartwire.keys import Keys, find
from heartwire.virtual.product import ProductRack

READERS = 5
SAMPLES = 5
STATUS, FENCE = "status", "fence"
LONE_READER, FIVE_READERS = ("log", "one"), ("log", "five")
# What was promised: status beside the readers / alone; a fence beside them - alone.
STATUS_RATIO = 1.5
FENCE_MORE_MS = 50.0


def read_for_ever(port: str) -> None:
    """Read the whole log again and again; print at the end how many a second it got."""
    print("ready", flush=True)
    count, began = 0, time.monotonic()

    def tell(*_: object) -> None:
        print(count / (time.monotonic() - began), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, tell)
    with Board.open(port, keys=Keys()) as board:
        while True:
            for _ in board.events():
                count += 1


def call(port: str, key_file: str) -> None:
    """Do what each line of standard input names, and print how long it took, in ms."""
    keys = find(key_file)
    for line in sys.stdin:
        begin = time.monotonic()
        fence = line.strip() == FENCE
        with Board.open(port, keys=keys, urgent=fence) as board:
            if fence:
                with contextlib.suppress(Refused):
                    board.fence("a")
            else:
                board.status()
                board.nodes()
        print((time.monotonic() - begin) * 1000, flush=True)


class Caller:
    """A process that asks the board when it is told to."""

    def __init__(self, port: str, key_file: Path, broker: str) -> None:
        self._process = _start(["--call", port, str(key_file)], broker)

    def times(self, what: str, count: int) -> list[float]:
        """Return how long each of `count` calls took, in ms."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        found = []
        for _ in range(count):
            self._process.stdin.write(f"{what}\n")
            self._process.stdin.flush()
            found.append(float(self._process.stdout.readline()))
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def _start(words: list[str], broker: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, ENVIRONMENT: broker},
    )


@contextlib.contextmanager
def readers(port: str, broker: str, speeds: list[float], number: int = READERS) -> Iterator[None]:
    """Let programs read the log at full speed; add how many records a second all of them got to `speeds`."""
    processes = [_start(["--read", port], broker) for _ in range(number)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(1.0)
        yield
    finally:
        for process in processes:
            process.terminate()
        speeds.append(sum(float(process.communicate()[0] or 0) for process in processes))


def measure(directory: Path, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Return the times in ms by (what, how), and records a second."""
    found: dict[tuple[str, str], list[float]] = {}
    alone, together = found.setdefault(LONE_READER, []), found.setdefault(FIVE_READERS, [])
    broker = str(directory / "broker")
    with ProductRack(directory / "rack") as rack:
        rack.start()
        port = str(rack.board.wait_usb())
        for number in range(rounds):
            for how in ("at the port", "through the broker", "beside five readers"):
                way = OFF if how == "at the port" else broker
                with readers(port, broker, together) if how == "beside five readers" else contextlib.nullcontext():
                    caller = Caller(port, rack.host_keys, way)
                    if way != OFF:
                        caller.times(STATUS, 1)  # the broker is there
                    for what in (STATUS, FENCE):
                        found.setdefault((what, how), []).extend(caller.times(what, SAMPLES))
                    caller.close()
                if how != "at the port":
                    time.sleep(1.0)  # the broker gives the port back
            with readers(port, OFF, alone, 1):
                time.sleep(2.0)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return found


def main() -> None:
    """Run it all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of five calls each way (default 6)")
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        call(*options.call)
        return
    if options.read:
        read_for_ever(options.read)
        return
    os.environ[ENVIRONMENT] = OFF  # of this process, which only sets the scene
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        found = measure(Path(temporary), options.rounds)
    print(f"{'virtual board, this machine, ms':<32} {'min':>8} {'median':>8} {'max':>8}")
    alone, together = (statistics.median(found.pop(key)) for key in (LONE_READER, FIVE_READERS))
    for (what, how), values in found.items():
        print(f"{what + ', ' + how:<32} {min(values):>8.1f} {statistics.median(values):>8.1f} {max(values):>8.1f}")
    middle = {key: statistics.median(values) for key, values in found.items()}
    for what, how in (STATUS, "through the broker"), (STATUS, "beside five readers"):
        ratio = middle[what, how] / middle[what, "at the port"]
        print(f"{what}: {how} / alone at the port = {ratio:.2f} (at most {STATUS_RATIO})")
    print(f"log: five readers get {together:.0f} records a second together, one alone at the port {alone:.0f}")
    more = middle[FENCE, "beside five readers"] - middle[FENCE, "at the port"]
    print(
        f"{FENCE}: begins {more:+.0f} ms later beside five readers than alone at the port (at most {FENCE_MORE_MS:.0f})"
    )


if __name__ == "__main__":
    main()
