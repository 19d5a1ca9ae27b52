"""Phases follow each other as the table says; tests/conftest.py holds every policy of every test to it."""

from __future__ import annotations

import pytest

from heartwire_firmware import policy_state
from heartwire_protocol import reasons
from tests.walk.world import World

PHASES = range(len(policy_state.PHASES))


@pytest.mark.parametrize("before", PHASES)
def test_what_the_table_does_not_allow_is_refused(before: int) -> None:
    policy = World().policy
    for after in PHASES:
        policy.state.phase = before
        if after in policy_state.NEXT[before]:
            policy.enter(after, 0, 1, reasons.DEAD)
            assert policy.state.phase == after
            continue
        with pytest.raises(AssertionError, match=f"{policy_state.PHASES[after]} after {policy_state.PHASES[before]}"):
            policy.enter(after, 0, 1, reasons.DEAD)


def test_each_operation_ends() -> None:
    assert all(policy_state.WATCHING in after for after in policy_state.NEXT)
    assert len(policy_state.NEXT) == len(policy_state.PHASES)
