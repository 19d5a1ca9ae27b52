"""A real two-node cluster of Corosync and Pacemaker with a board: four faults, and exactly one side survives.

`make test-cluster` sets HEARTWIRE_DEEP to the number of repetitions, and compares with the same cluster on fence_dummy,
an agent that says "off" and does nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.conftest import Need
from tests.cluster.pair import TOKEN_MS, Pair
from tests.cluster.trial import FAULTS, Trial, run_trial, table

pytestmark = pytest.mark.usefixtures("brokers_used")

RUNS = int(os.environ.get("HEARTWIRE_DEEP") or "0")
NEEDED = ("pacemakerd", "stonith_admin", "corosync", "ip", "unshare")


def show(capsys: pytest.CaptureFixture[str], trials: list[Trial]) -> None:
    """Print the table past pytest's capture."""
    with capsys.disabled():
        print(f"\n\nCorosync token {TOKEN_MS} ms; seconds from the fault, least/median/most\n{table(trials)}")


@pytest.mark.cluster
def test_one_side_survives_each_fault(need: Need, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need(*NEEDED, namespaces=True)
    trials: list[Trial] = []
    with Pair(tmp_path) as pair:
        pair.wait_up()
        for _ in range(RUNS or 1):
            for fault in FAULTS:
                trial = run_trial(pair, "fence_heartwire", fault)
                trials.append(trial)
                story = f"{trial}\n{pair.story()}"
                assert trial.survivor, f"nobody took over\n{story}"
                assert trial.servers_cut == 1, f"not exactly one side lost its power\n{story}"
                assert trial.copies == 1, f"not exactly one copy of the service\n{story}"
                assert not trial.started_before_off, f"the service started before the other side was off\n{story}"
                pair.cut_network(False)
                pair.wait_up()
    show(capsys, trials)


@pytest.mark.cluster
def test_the_cluster_follows_a_board_that_decides(
    need: Need, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need(*NEEDED, namespaces=True)
    trials: list[Trial] = []
    with Pair(tmp_path, "board-decides") as pair:
        pair.wait_up()
        for _ in range(RUNS or 1):
            for fault in FAULTS if RUNS else FAULTS[:1]:
                trial = run_trial(pair, "only_confirm", fault)
                trials.append(trial)
                story = f"{trial}\n{pair.story()}"
                assert trial.copies == 1, f"not exactly one copy of the service\n{story}"
                if fault == "network cut":
                    # Both are heard: the board sees no reason to fence anybody, and the service stays where it is.
                    assert (trial.servers_cut, trial.survivor) == (0, ""), story
                else:
                    assert (trial.servers_cut, trial.started_before_off) == (1, False), story
                    assert trial.survivor not in ("", trial.holder), f"nobody took over\n{story}"
                if RUNS:
                    pair.cut_network(False)
                    pair.wait_up()
    show(capsys, trials)


@pytest.mark.cluster
def test_the_same_cluster_on_an_agent_that_proves_nothing(
    need: Need, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need(*NEEDED, "fence_dummy", namespaces=True)
    if not RUNS:
        pytest.skip("a comparison of some minutes: `make test-cluster` runs it")
    trials: list[Trial] = []
    with Pair(tmp_path, "dummy") as pair:
        for _ in range(RUNS):
            for fault in FAULTS:
                pair.wait_up()
                trials.append(run_trial(pair, "fence_dummy", fault))
                pair.power_cycle()
    show(capsys, trials)
    # What the comparison is for: both sides of a split believe the agent, and the service runs twice.
    assert {trial.copies for trial in trials if trial.fault == "network cut"} == {2}
    assert not any(trial.servers_cut for trial in trials)
