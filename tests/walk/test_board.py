"""The supervisor's wiring, as the walk uses it."""

from __future__ import annotations

from heartwire_protocol import codes, events
from tests.walk.ramble import settled
from tests.walk.steps import QUIET, apply

B = 1
LONGEST_S = 30


def test_an_intent_ends_with_the_reset_that_it_was_for() -> None:
    world, _demands = settled("ladder_reset")
    step: tuple[str, object] = ("crash", B)
    prepared = False
    for _ in range(LONGEST_S):
        apply(world, step)
        step = QUIET
        prepared = prepared or any(row[:2] == (events.FENCE_PREPARED, B) for row in world.journal)
        if any(row[0] == events.RECOVERY_STEP and row[3] == codes.RUNG_RESET for row in world.journal):
            assert prepared
            assert world.intent[B] == 0
            return
    raise AssertionError("nobody reset it")
