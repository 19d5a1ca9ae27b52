"""The hand-over protocol, searched to closure: never two entitled, a dead holder is always replaced or told of."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from tests.handover.search import CASES, EVERYTHING, Handover, Search, describe
from tests.walk.rules import Broken
from tests.walk.steps import QUIET

LIMIT_S = 600  # a busy machine must not let a search end before its closure
SEEDS = 5
STEPS = 40
CANCEL_MAX_S = 10  # beyond it the walk takes two waits for one


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_state_keeps_the_rules(case: Handover, capsys: pytest.CaptureFixture[str]) -> None:
    search = Search(case)
    began = time.monotonic()
    closed = search.run(LIMIT_S)
    with capsys.disabled():
        print(f"\n  {case.name}: {describe(search, closed, time.monotonic() - began)}")
    assert closed, "the search did not come to an end in time"


@pytest.mark.parametrize("case", [CASES[0], CASES[1]], ids=["hold", "stop"])
def test_a_state_goes_on_as_if_it_had_never_been_frozen(case: Handover) -> None:
    """Two worlds take the same steps; one is thawed from what the other froze before each of them."""
    compared = 0
    for seed in range(SEEDS):
        chance = random.Random(seed)
        plain, thawed = (
            Search(Handover("any", 1, EVERYTHING, extra=case.extra, rates_ms=case.rates_ms)) for _ in range(2)
        )
        plain.world.observers = []
        thawed.world.observers = []
        choices = plain.choices()
        for _ in range(STEPS):
            step = QUIET if chance.random() < 0.4 else chance.choice(choices)
            frozen = plain.world.freeze()
            thawed.world.thaw(frozen)
            assert thawed.world.freeze() == frozen
            if not plain.apply(step):
                assert not thawed.apply(step)
                continue
            assert thawed.apply(step)
            if max(plain.world.state.cancel_s) >= CANCEL_MAX_S:
                break
            assert thawed.world.freeze() == plain.world.freeze(), (seed, step)
            compared += 1
    assert compared > SEEDS * STEPS // 4


def test_a_clock_that_is_far_slower_than_the_settings_allow_is_found() -> None:
    """The model sees drift: a lease and a watchdog that take nearly twice as long outlast what the board waits."""
    case = next(case for case in CASES if case.name == "self_fence")
    with pytest.raises(Broken, match="rule 5"):
        Search(replace(case, rates_ms=(550, 1000))).run(LIMIT_S)
