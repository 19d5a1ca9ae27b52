"""Run one test for a mutant: exit 0 if it holds, 3 if it fails, anything else is an accident.

Started by test_mutation.py with the mutant's code first on the path: `catch.py scenario NAME`, `walk CASE`,
`handover CASE` or `test PATH::NAME` (a path below tests/).
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# A breach ends a walk at once; a busy machine must not let one pass for closure.
LIMIT_S = 600


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
        Walk(case).run(LIMIT_S)
    except Broken:
        return False
    return True


def handover(name: str) -> bool:
    """Return whether a search of the hand-over finds nothing."""
    from tests.handover.search import CASES, DEEP, Search
    from tests.walk.rules import Broken

    case = next(case for case in CASES + DEEP if case.name == name)
    try:
        Search(case).run(LIMIT_S)
    except Broken:
        return False
    return True


def test(name: str) -> bool:
    """Return whether one test of pytest holds; anything but a failed one is an accident."""
    import pytest

    code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", f"{ROOT}/tests/{name}"])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r}")
    return code == pytest.ExitCode.OK


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    held = {"scenario": scenario, "walk": walk, "handover": handover, "test": test}[sys.argv[1]](sys.argv[2])
    sys.exit(0 if held else 3)
