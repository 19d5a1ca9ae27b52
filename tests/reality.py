"""The table of REALITY.md: read, checked, printed with the command that shows each row again, and run.

python -m tests.reality [ROW]
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "REALITY.md"
COLUMNS = ("tool, version", "what it really does", "what Heartwire does about it", "held by")
_NAMED = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """One row; `number` counts from 1."""

    number: int
    tool: str
    does: str
    answer: str
    held_by: tuple[str, ...]

    @property
    def commands(self) -> list[list[str]]:
        """Return what shows this row again: its tests in one run, and each script."""
        tests, scripts = [], []
        for name in self.held_by:
            if name.startswith("findings/"):
                scripts.append(["sh", name])
            elif name.startswith("scenarios/"):
                tests += ["tests/scenarios/test_scenarios.py", "-k", Path(name).stem]
            elif name.endswith(".py"):
                tests.append(f"tests/{name}")
        return ([[sys.executable, "-m", "pytest", "-q", "-rs", *tests]] if tests else []) + scripts


def path_of(name: str) -> Path:
    """Return the file that a name of the last column stands for."""
    return ROOT / name if name.startswith("findings/") else ROOT / "tests" / name


def rows() -> list[Row]:
    """Return the table. ValueError for a line that has other columns."""
    found: list[Row] = []
    head: tuple[str, ...] = ()
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|") or line.startswith("|---"):
            continue
        cells = tuple(cell.strip() for cell in line.strip("|").split(" | "))
        if not head:
            head = cells
            if head != COLUMNS:
                raise ValueError(f"{TABLE.name} has the columns {head}")
            continue
        if len(cells) != len(COLUMNS) or not all(cells):
            raise ValueError(f"{TABLE.name}, row {len(found) + 1}: {len(cells)} columns, or an empty one")
        tool, does, answer, held_by = cells
        found.append(Row(len(found) + 1, tool, does, answer, tuple(_NAMED.findall(held_by))))
    return found


def main() -> int:
    """Print all rows with their commands, or print and run one."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    worst = 0
    for row in rows():
        if wanted and row.number != wanted:
            continue
        print(f"{row.number}. {row.tool}: {row.does}\n   Heartwire: {row.answer}")
        for command in row.commands:
            print(f"   $ {shlex.join(command)}", flush=True)
            if wanted:
                worst = max(worst, subprocess.run(command, cwd=ROOT, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
