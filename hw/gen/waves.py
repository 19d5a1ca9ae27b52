"""Runs one deck with ngspice and reads the curves it gives. Everything happens in a folder of its own.

Called by fault_run.py; what the curves mean is read by outcome.py.
"""

from __future__ import annotations

import bisect
import subprocess
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 1800  # a run takes 2 s of one core, and much longer on a machine with other work


@dataclass
class Waves:
    """Curves by name ("v(node)" as in the deck's .save line); `time_s` rises."""

    time_s: array[float]
    curves: dict[str, array[float]]

    def at(self, name: str, second: float) -> float:
        """Return the value of a node's voltage at a time."""
        return self.curves[f"v({name})"][max(0, bisect.bisect(self.time_s, second) - 1)]

    def upside_down(self, name: str) -> str:
        """Add a voltage with its sign turned, so that longest_s() can look for what is high; return its name."""
        self.curves.setdefault(f"v(minus_{name})", array("d", (-value for value in self.curves[f"v({name})"])))
        return f"minus_{name}"

    def longest_s(self, name: str, below: float, spans: list[tuple[float, float]]) -> float:
        """Return the longest time for which a voltage stays below a level within the spans."""
        curve = self.curves[f"v({name})"]
        longest = 0.0
        for start, end in spans:
            since = None
            for index in range(bisect.bisect(self.time_s, start), bisect.bisect(self.time_s, end)):
                if curve[index] >= below:
                    since = None
                    continue
                since = self.time_s[index] if since is None else since
                longest = max(longest, self.time_s[index] - since)
        return longest


def run(deck: str, end_s: float) -> Waves | None:
    """Return the curves, or None when ngspice found no solution up to `end_s`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "deck.cir").write_text(deck, encoding="utf-8")
        try:
            subprocess.run(["ngspice", "-b", "-r", "out.raw", "deck.cir"], cwd=folder, capture_output=True,
                           timeout=TIMEOUT_S, check=False)  # fmt: skip
        except subprocess.TimeoutExpired:
            return None
        raw = folder / "out.raw"
        waves = parse(raw.read_bytes()) if raw.exists() else None
    return waves if waves and waves.time_s and waves.time_s[-1] > 0.99 * end_s else None


def parse(data: bytes) -> Waves:
    """Return the curves in ngspice's binary raw file; ValueError when it is none."""
    start = data.index(b"Binary:\n") + len(b"Binary:\n")
    head = data[:start].decode("utf-8")
    counts = {key: int(value) for key, _, value in (line.partition(":") for line in head.splitlines())
              if key in ("No. Variables", "No. Points")}  # fmt: skip
    width, rows = counts["No. Variables"], counts["No. Points"]
    names = [line.split()[1] for line in head.split("Variables:\n")[1].splitlines()[:width]]
    numbers = array("d")
    numbers.frombytes(data[start : start + 8 * width * rows])
    return Waves(numbers[0::width], {name: numbers[index::width] for index, name in enumerate(names) if index})
