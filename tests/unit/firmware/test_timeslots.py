"""Which deadlines keep flash from being written; and when garbage is collected: by count, with no heartbeat expected
and no deadline near, and at last at any moment.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from heartwire_firmware import timeslots
from heartwire_firmware.intents import Intents
from heartwire_protocol.codes import COUNT_MAX, NODE_COUNT, VERDICT_GOOD, VERDICT_LATE, VERDICT_UNHEARD
from heartwire_protocol.settings_rules import FLASH_STALL_MS

INTERVAL_MS = 1000
VARIATION_MS = INTERVAL_MS // timeslots.VARIATION_PARTS
DEAD_MS = 10_000


@pytest.fixture
def nodes() -> list[SimpleNamespace]:
    made = [SimpleNamespace(verdict=VERDICT_UNHEARD, age_ms=0) for _ in range(NODE_COUNT)]
    made[0].verdict = VERDICT_GOOD
    return made


@pytest.fixture
def slots(nodes: list[SimpleNamespace]) -> timeslots.TimeSlots:
    nothing = SimpleNamespace()
    made = timeslots.TimeSlots(
        nothing,
        nothing,
        nodes,
        nothing,
        SimpleNamespace(next_ms=lambda: COUNT_MAX),
        nothing,
        SimpleNamespace(is_moving=False),
        Intents(SimpleNamespace(decided=COUNT_MAX)),
        nothing,
    )
    made.configure(SimpleNamespace(interval_ms=INTERVAL_MS, late_ms=DEAD_MS // 2, dead_ms=DEAD_MS))
    made.step(timeslots.COLLECT_AHEAD_MS)
    return made


def stand(slots: timeslots.TimeSlots, node: SimpleNamespace, passes: int, age_ms: int) -> None:
    """Let `passes` have been, and the last heartbeat of `node` `age_ms` ago."""
    slots.passes, node.age_ms = passes, age_ms
    slots.step(0)


def test_garbage_is_collected_by_count(slots: timeslots.TimeSlots, nodes: list[SimpleNamespace]) -> None:
    stand(slots, nodes[0], timeslots.COLLECT_EVERY_PASSES - 1, 0)
    assert not slots.garbage_waits()
    assert not slots.may_collect(heavy=False)
    stand(slots, nodes[0], timeslots.COLLECT_EVERY_PASSES, 0)
    assert slots.garbage_waits()
    assert slots.may_collect(heavy=False)
    assert not slots.garbage_waits()


@pytest.mark.parametrize(
    ("heavy", "expected_in_ms"),
    [
        (True, INTERVAL_MS),
        (False, timeslots.COLLECT_MS + VARIATION_MS),
        (False, 1),
        (False, 0),
        (False, 1 - VARIATION_MS),
    ],
    ids=str,
)
def test_moment_that_does_not_suit_is_waited_out_until_memory_is_at_its_end(
    slots: timeslots.TimeSlots, nodes: list[SimpleNamespace], heavy: bool, expected_in_ms: int
) -> None:
    stand(slots, nodes[0], timeslots.COLLECT_AT_LAST_PASSES - 1, INTERVAL_MS - expected_in_ms)
    assert slots.garbage_waits()
    assert not slots.may_collect(heavy)
    slots.passes += 1
    assert slots.may_collect(heavy)


@pytest.mark.parametrize("expected_in_ms", [timeslots.COLLECT_MS + VARIATION_MS + 1, -VARIATION_MS], ids=str)
def test_garbage_is_collected_before_a_heartbeat_may_come_and_not_kept_for_one_that_stays_out(
    slots: timeslots.TimeSlots, nodes: list[SimpleNamespace], expected_in_ms: int
) -> None:
    stand(slots, nodes[0], timeslots.COLLECT_EVERY_PASSES, INTERVAL_MS - expected_in_ms)
    assert slots.may_collect(heavy=False)


@pytest.mark.parametrize(
    ("left_ms", "suits", "collects"),
    [
        (timeslots.COLLECT_AHEAD_MS + 1, True, False),
        (timeslots.COLLECT_AHEAD_MS, True, True),
        (timeslots.COLLECT_AHEAD_AT_LAST_MS + 1, False, False),
        (timeslots.COLLECT_AHEAD_AT_LAST_MS, False, True),
        (timeslots.COLLECT_CLEAR_MS, True, False),
    ],
)
def test_garbage_is_collected_once_before_a_death(
    slots: timeslots.TimeSlots, nodes: list[SimpleNamespace], left_ms: int, suits: bool, collects: bool
) -> None:
    stand(slots, nodes[0], 0, DEAD_MS - left_ms)
    assert slots.may_collect(heavy=not suits) is collects
    assert not slots.may_collect(heavy=not suits)


def test_no_count_collects_shortly_before_a_deadline(slots: timeslots.TimeSlots, nodes: list[SimpleNamespace]) -> None:
    stand(slots, nodes[0], timeslots.COLLECT_AT_LAST_PASSES, DEAD_MS - timeslots.COLLECT_CLEAR_MS)
    assert not slots.garbage_waits()
    assert not slots.may_collect(heavy=False)


@pytest.mark.parametrize("prepared", [True, False], ids=["can be fenced", "cannot"])
def test_only_a_node_that_can_be_fenced_at_its_deadline_keeps_an_intent_from_being_written(
    slots: timeslots.TimeSlots, nodes: list[SimpleNamespace], prepared: bool
) -> None:
    slots._intents.sequence[0] = int(prepared)
    nodes[0].verdict = VERDICT_LATE
    stand(slots, nodes[0], 0, DEAD_MS - FLASH_STALL_MS)
    slots.step(timeslots.WRITE_PATIENCE_MS)
    assert slots.may_write(True) is not prepared
    assert not slots.may_write(False)
