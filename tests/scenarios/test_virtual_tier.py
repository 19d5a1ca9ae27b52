"""The same files on the virtual tier: the firmware on the MicroPython VM, real agents, real time."""

from pathlib import Path

import pytest

from heartwire.errors import UsageProblem
from heartwire.simulate import language, run, tiers

HERE = Path(__file__).parent

pytestmark = pytest.mark.virtual


@pytest.mark.parametrize("name", ["switchover_emergency"])
def test_scenario_on_the_virtual_board(name: str) -> None:
    pytest.importorskip("littlefs", reason="extra `virtual` is not installed")
    scenario = language.read(HERE / f"{name}.txt")
    stage = tiers.open_stage("virtual", scenario)
    try:
        verdict = run.run(scenario, stage)
    finally:
        stage.close()
    assert verdict.held, "\n".join(verdict.failures)


def test_what_only_fake_nodes_can_do_is_refused_before_anything_starts() -> None:
    scenario = language.read(HERE / "altered_frozen.txt")
    with pytest.raises(UsageProblem, match="needs a fake node"):
        tiers.open_stage("virtual", scenario)
