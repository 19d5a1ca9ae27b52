"""The same files through lines, pins and host link, on a board in memory: statements mean there what they mean here."""

from pathlib import Path

import pytest

from heartwire.simulate import language, run
from heartwire.simulate.wired_stage import WiredStage
from tests.fakes.wired import MemoryWires

HERE = Path(__file__).parent
# The long ones run on the virtual tier: `make test-scenario-virtual`.
LONGEST_MS = 70000


def suits(path: Path) -> bool:
    scenario = language.read(path)
    return scenario.end_ms <= LONGEST_MS and "virtual" in scenario.tiers


FILES = [path for path in sorted(HERE.glob("*.txt")) if suits(path)]


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_scenario_through_wires(path: Path) -> None:
    scenario = language.read(path)
    stage = WiredStage(scenario, MemoryWires())
    try:
        verdict = run.run(scenario, stage)
    finally:
        stage.close()
    assert verdict.held, "\n".join(verdict.failures)
