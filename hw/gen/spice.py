"""Runs the circuits under hw/sim with ngspice and holds the results against hw/sim/cases.toml.

`python3 hw/gen/spice.py` runs every case, prints one line for each and exits 1 when one fails. Results are rounded and
committed as hw/sim/results.json; reading those needs no ngspice. It never changes a circuit file: parameters are set in
a copy in memory. Called by make.py and the tests.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIM = ROOT / "hw" / "sim"
RESULTS = SIM / "results.json"
MEASURED = re.compile(r"^([a-z]\w*)\s*=\s*([-+0-9.]+e?[-+0-9]*)\b", re.MULTILINE | re.IGNORECASE)
TIMEOUT_S = 120
DIGITS = 3


class SpiceError(RuntimeError):
    """ngspice did not run the circuit; the text is its own."""


@dataclass
class Case:
    """One run: a circuit, the parameters that differ, and what must be measured."""

    name: str
    file: str
    says: str
    params: dict[str, str] = field(default_factory=dict)
    limits: dict[str, dict[str, float]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    negative: bool = False

    def problems(self, measured: dict[str, float]) -> list[str]:
        """Return one sentence for each limit that does not hold."""
        found = []
        for name, limit in self.limits.items():
            if name not in measured:
                found.append(f"{self.name}: {name} was not measured")
                continue
            value = measured[name]
            if value < limit.get("min", value) or value > limit.get("max", value):
                found.append(f"{self.name}: {name} is {value:.4g}, must be within {limit}")
        found += [f"{self.name}: {name} happened" for name in self.absent if name in measured]
        return found


def cases() -> list[Case]:
    """Return the cases in file order; an unknown key raises TypeError."""
    document: dict[str, Any] = tomllib.loads((SIM / "cases.toml").read_text(encoding="utf-8"))
    return [Case(**run) for run in document["run"]]


def circuits() -> dict[str, str]:
    """Return the text of every circuit file by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(SIM.glob("*.cir"))}


def missing() -> list[str]:
    """Return the tools that are not installed."""
    return [] if shutil.which("ngspice") else ["ngspice"]


def with_params(text: str, params: dict[str, str]) -> str:
    """Return the circuit with parameters replaced in its .param line; KeyError for one it does not have."""
    for name, value in params.items():
        text, count = re.subn(rf"(?m)^(\.param\b.*?\b{name}=)\S+", rf"\g<1>{value}", text)
        if count != 1:
            raise KeyError(name)
    return text


def run(case: Case) -> dict[str, float]:
    """Return what ngspice measured for a case."""
    text = with_params((SIM / case.file).read_text(encoding="utf-8"), case.params)
    done = subprocess.run(["ngspice", "-b"], input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    measured = {name: float(f"{float(value):.{DIGITS}g}") for name, value in MEASURED.findall(done.stdout)}
    if not measured:
        raise SpiceError(f"{case.name}: ngspice measured nothing\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {name: measured[name] for name in sorted(measured) if name in _asked(case, text)}


def _asked(case: Case, text: str) -> set[str]:
    """Return the names the circuit measures, so that other lines of output do not count."""
    return {name.lower() for name in re.findall(r"(?m)^meas tran (\w+)", text)} | set(case.limits)


def as_json(results: dict[str, dict[str, float]]) -> str:
    """Return results as the text of results.json."""
    return json.dumps(results, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Run every case and print what it found; return the exit code."""
    bad = 0
    for case in cases():
        found = case.problems(run(case))
        bad += len(found)
        print(f"{'FAIL' if found else 'ok  '} {case.name}: {case.says}")
        for sentence in found:
            print(f"     {sentence}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
