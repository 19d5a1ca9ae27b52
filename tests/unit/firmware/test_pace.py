"""What gives way to what in a pass; which deadlines keep flash from being written; and when garbage is collected: by
count, with no heartbeat expected and no deadline near, and at last at any moment.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from heartwire_firmware import pace
from heartwire_firmware.brain import CHANGED, DIES
from heartwire_firmware.intents import Intents
from heartwire_protocol.codes import COUNT_MAX, NODE_COUNT, VERDICT_GOOD, VERDICT_LATE, VERDICT_UNHEARD
from heartwire_protocol.settings_rules import FLASH_STALL_MS

INTERVAL_MS = 1000
VARIATION_MS = INTERVAL_MS // pace.VARIATION_PARTS
DEAD_MS = 10_000
LEAD_MS = 30


@pytest.fixture
def nodes() -> list[SimpleNamespace]:
    made = [SimpleNamespace(verdict=VERDICT_UNHEARD, age_ms=0) for _ in range(NODE_COUNT)]
    made[0].verdict = VERDICT_GOOD
    return made


@pytest.fixture
def slots(nodes: list[SimpleNamespace]) -> pace.Pace:
    nothing = SimpleNamespace()
    made = pace.Pace(
        LEAD_MS,
        nothing,
        SimpleNamespace(changed=True),
        nodes,
        nothing,
        SimpleNamespace(next_ms=lambda: COUNT_MAX),
        nothing,
        SimpleNamespace(is_moving=False),
        Intents(SimpleNamespace(decided=COUNT_MAX)),
        nothing,
        SimpleNamespace(waiting=False),
        SimpleNamespace(waiting=0),
        SimpleNamespace(behind=False, events_left=0, answers_wait=lambda: False),
        SimpleNamespace(tell=False),
        SimpleNamespace(busy=False),
    )
    made.configure(SimpleNamespace(interval_ms=INTERVAL_MS, late_ms=DEAD_MS // 2, dead_ms=DEAD_MS))
    made.step(pace.COLLECT_AHEAD_MS)
    return made


def stand(slots: pace.Pace, node: SimpleNamespace, passes: int, age_ms: int) -> None:
    """Let `passes` have been, and the last heartbeat of `node` `age_ms` ago."""
    slots.passes, node.age_ms = passes, age_ms
    slots.step(0)


def test_garbage_is_collected_by_count(slots: pace.Pace, nodes: list[SimpleNamespace]) -> None:
    stand(slots, nodes[0], pace.COLLECT_EVERY_PASSES - 1, 0)
    assert not slots.garbage_waits()
    assert not slots.may_collect(heavy=False)
    stand(slots, nodes[0], pace.COLLECT_EVERY_PASSES, 0)
    assert slots.garbage_waits()
    assert slots.may_collect(heavy=False)
    assert not slots.garbage_waits()


@pytest.mark.parametrize(
    ("heavy", "expected_in_ms"),
    [
        (True, INTERVAL_MS),
        (False, pace.COLLECT_MS + VARIATION_MS),
        (False, 1),
        (False, 0),
        (False, 1 - VARIATION_MS),
    ],
    ids=str,
)
def test_moment_that_does_not_suit_is_waited_out_until_memory_is_at_its_end(
    slots: pace.Pace, nodes: list[SimpleNamespace], heavy: bool, expected_in_ms: int
) -> None:
    stand(slots, nodes[0], pace.COLLECT_AT_LAST_PASSES - 1, INTERVAL_MS - expected_in_ms)
    assert slots.garbage_waits()
    assert not slots.may_collect(heavy)
    slots.passes += 1
    assert slots.may_collect(heavy)


@pytest.mark.parametrize("expected_in_ms", [pace.COLLECT_MS + VARIATION_MS + 1, -VARIATION_MS], ids=str)
def test_garbage_is_collected_before_a_heartbeat_may_come_and_not_kept_for_one_that_stays_out(
    slots: pace.Pace, nodes: list[SimpleNamespace], expected_in_ms: int
) -> None:
    stand(slots, nodes[0], pace.COLLECT_EVERY_PASSES, INTERVAL_MS - expected_in_ms)
    assert slots.may_collect(heavy=False)


@pytest.mark.parametrize(
    ("left_ms", "suits", "collects"),
    [
        (pace.COLLECT_AHEAD_MS + 1, True, False),
        (pace.COLLECT_AHEAD_MS, True, True),
        (pace.COLLECT_AHEAD_AT_LAST_MS + 1, False, False),
        (pace.COLLECT_AHEAD_AT_LAST_MS, False, True),
        (pace.COLLECT_CLEAR_MS, True, False),
    ],
)
def test_garbage_is_collected_once_before_a_death(
    slots: pace.Pace, nodes: list[SimpleNamespace], left_ms: int, suits: bool, collects: bool
) -> None:
    stand(slots, nodes[0], 0, DEAD_MS - left_ms)
    assert slots.may_collect(heavy=not suits) is collects
    assert not slots.may_collect(heavy=not suits)


def test_no_count_collects_shortly_before_a_deadline(slots: pace.Pace, nodes: list[SimpleNamespace]) -> None:
    stand(slots, nodes[0], pace.COLLECT_AT_LAST_PASSES, DEAD_MS - pace.COLLECT_CLEAR_MS)
    assert not slots.garbage_waits()
    assert not slots.may_collect(heavy=False)


@pytest.mark.parametrize("prepared", [True, False], ids=["can be fenced", "cannot"])
def test_only_a_node_that_can_be_fenced_at_its_deadline_keeps_an_intent_from_being_written(
    slots: pace.Pace, nodes: list[SimpleNamespace], prepared: bool
) -> None:
    slots._intents.sequence[0] = int(prepared)
    nodes[0].verdict = VERDICT_LATE
    stand(slots, nodes[0], 0, DEAD_MS - FLASH_STALL_MS)
    slots.step(pace.WRITE_PATIENCE_MS)
    assert slots.may_write(True) is not prepared
    assert not slots.may_write(False)


def test_near_a_deadline_the_policy_is_asked_for_a_death_and_for_nothing_else(slots: pace.Pace) -> None:
    slots.is_near = True
    assert slots.asks(DIES, taken=False, since_ms=0)
    assert not slots.asks(CHANGED, taken=True, since_ms=COUNT_MAX)
    assert not slots.asks(0, taken=True, since_ms=COUNT_MAX)
    slots.is_near = False
    assert slots.asks(CHANGED, taken=False, since_ms=0)


def test_a_frame_alone_lets_the_policy_wait_for_the_next_pass(slots: pace.Pace) -> None:
    assert not slots.asks(0, taken=True, since_ms=pace.POLICY_MS - 1)
    assert slots.asks(0, taken=True, since_ms=pace.POLICY_MS)
    assert slots.asks(0, taken=False, since_ms=pace.POLICY_MS - 1), "what has changed is told in the next pass"


def test_an_answer_gives_way_once(slots: pace.Pace) -> None:
    assert [slots.may_answer(heavy=True) for _ in range(2)] == [False, True]
    slots.answered()
    assert [slots.may_answer(heavy=True), slots.may_answer(heavy=False)] == [False, True]


def test_the_rest_gives_way_to_heavy_passes_only_so_often_and_to_a_near_deadline_always(slots: pace.Pace) -> None:
    turns = [slots.has_turn(True, pace.REST_MS, 0) for _ in range(pace.HEAVY_MAX + 1)]
    assert turns == [False] * pace.HEAVY_MAX + [True]
    assert slots.begin_turn() == pace.REST_MS * (pace.HEAVY_MAX + 1)
    slots.is_near = True
    assert not slots.has_turn(False, COUNT_MAX // 2, 0)
