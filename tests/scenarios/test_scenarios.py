"""Every scenario file on the policy tier; the same files run on the virtual and the emulated tier."""

from pathlib import Path

import pytest

from heartwire.simulate import language, run, tiers

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_scenario(path: Path) -> None:
    scenario = language.read(path)
    stage = tiers.open_stage("policy", scenario)
    verdict = run.run(scenario, stage)
    assert verdict.held, "\n".join(verdict.failures)
