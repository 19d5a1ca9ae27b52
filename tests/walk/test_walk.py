"""The exhaustive walk of every case: each rule holds in each state, and a dead holder is always replaced.

HEARTWIRE_WALK_BUDGET=3 walks deeper (minutes), HEARTWIRE_WALK_LIMIT_S bounds each case.
"""

from __future__ import annotations

import os

import pytest

from heartwire_protocol import codes
from tests.walk.cases import CASES, Case
from tests.walk.rules import Broken
from tests.walk.walk import Walk

BUDGET = int(os.environ.get("HEARTWIRE_WALK_BUDGET", "0"))
LIMIT_S = float(os.environ.get("HEARTWIRE_WALK_LIMIT_S", "120" if not BUDGET else "3600"))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_state_keeps_the_rules(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    walk = Walk(case, BUDGET or None)
    frozen = walk.world.freeze()
    walk.world.thaw(frozen)
    assert walk.world.freeze() == frozen, "a state does not survive being frozen"
    if case.waits:
        with pytest.raises(Broken, match=case.waits):
            walk.run(LIMIT_S)
        return
    closed = walk.run(LIMIT_S)
    with capsys.disabled():
        how = "to closure" if closed else "until time ran out"
        counts = f"{walk.states} distinct states, {walk.transitions} steps"
        waits = f"served within {walk.served_s} s, told within {walk.told_s} s"
        print(f"\n  {case.name}: {counts}; {walk.budget} disturbances {how}; {waits}")
    disarmed = {phase for phase, mode in walk.asked_in if mode == codes.MODE_OBSERVE}
    assert disarmed.issuperset(case.disarms), "disarming was not asked for in every phase"
    assert closed or BUDGET, "the walk did not come to an end in time"
