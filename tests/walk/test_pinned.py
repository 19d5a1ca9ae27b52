"""Every counterexample that a walk has found holds now."""

from __future__ import annotations

import pytest

from tests.walk.pinned import PINS, Pin
from tests.walk.ramble import settled
from tests.walk.rules import Broken
from tests.walk.steps import QUIET, apply

AFTERWARDS = 20


def played(pin: Pin) -> None:
    """Take the steps of `pin`, and let time pass after them."""
    world, _demands = settled(pin.case)
    for step in (*pin.steps, *[QUIET] * AFTERWARDS):
        apply(world, step)


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.name)
def test_what_was_found_holds_or_is_known(pin: Pin) -> None:
    if not pin.waits:
        played(pin)
        return
    with pytest.raises(Broken):
        played(pin)
