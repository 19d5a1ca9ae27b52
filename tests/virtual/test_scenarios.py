"""A few scenario files on the virtual tier: the firmware on the MicroPython VM, fake nodes on its lines, real time.

All of them run with `make test-scenario-virtual`. These are the short ones that together use every kind of wire: signed
and altered frames, text, relay, sense, button, front panel, transfer relay, power cut and reset of the board. They run
side by side, because they mostly wait.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire.errors import UsageProblem
from heartwire.simulate import language, tiers

HERE = Path(__file__).parent.parent / "scenarios"
NAMES = (
    "altered_wrong_answer", "approve_button", "board_resets_in_fence_shortly", "line_fault_told", "peer_fences",
    "power_cut_after_grant", "switchover_emergency", "transfer_relay", "unkeyed_epoch_jump",
)  # fmt: skip
WRONG = """# Never true: what is expected here must fail.
nodes a b
start auto with a
0s a crashes
never late a
expect by 2s dead a
expect at 4s a serves yes
"""

pytestmark = pytest.mark.virtual


def test_scenarios_on_the_virtual_board() -> None:
    pytest.importorskip("littlefs", reason="not installed: heartwire[virtual]")
    scenarios = [language.read(HERE / f"{name}.txt") for name in NAMES]
    wrong = language.parse(WRONG, "wrong")
    verdicts = {verdict.scenario.name: verdict for verdict in tiers.judge_all("virtual", [*scenarios, wrong], 10)}
    assert len(verdicts.pop("wrong").failures) == 3
    failures = [text for verdict in verdicts.values() for text in verdict.failures]
    assert not failures, "\n".join(failures)


def test_a_file_that_a_tier_cannot_show_says_why() -> None:
    scenario = language.read(HERE / "lease_after_power_cut.txt")
    assert "very pass" in tiers.obstacle("virtual", scenario)
    with pytest.raises(UsageProblem, match="very pass"):
        tiers.open_stage("virtual", scenario)
