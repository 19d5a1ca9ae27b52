"""Two short scenario files on the image, through its own pins and ports; `make test-scenario-emulated` runs more."""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire.simulate import language, tiers

pytestmark = pytest.mark.emulated
SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"


@pytest.mark.parametrize("name", ["schedule_needs_time", "agent_restart"])
def test_scenario_on_the_chip(board_image: Path, name: str) -> None:
    verdict = tiers.judge("emulated", language.read(SCENARIOS / f"{name}.txt"))
    assert verdict.held, "\n".join(verdict.failures)
