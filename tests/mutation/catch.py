"""Run one test without pytest, for a mutant: exit 0 if it holds, 3 if it fails, anything else is an accident.

Started by test_mutation.py with the mutant's firmware first on the path: `catch.py scenario NAME` or `walk CASE`.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def scenario(name: str) -> bool:
    """Return whether a scenario holds."""
    from heartwire.simulate import language, run, tiers

    read = language.read(ROOT / "tests" / "scenarios" / f"{name}.txt")
    return run.run(read, tiers.open_stage("policy", read)).held


def walk(name: str) -> bool:
    """Return whether a walk finds nothing."""
    from tests.walk.cases import CASES
    from tests.walk.rules import Broken
    from tests.walk.walk import Walk

    case = next(case for case in CASES if case.name == name)
    try:
        Walk(case.world, case.kinds, case.budget, case.settle).run(60)
    except Broken:
        return False
    return True


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    held = {"scenario": scenario, "walk": walk}[sys.argv[1]](sys.argv[2])
    sys.exit(0 if held else 3)
