"""The last look before a relay moves: it ends at the deadline, hears what comes until then, and never stands still."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from heartwire.simulate.hardware import FakeTicks
from heartwire_firmware import policy_state
from heartwire_firmware.clock import AHEAD_MS
from heartwire_firmware.lastlook import TAKEN_BACK_MAX, LastLook
from heartwire_protocol import codes

DEAD_MS = 2500
TURN_US = 50  # what one turn of the look takes here


class Scene:
    """A board that has decided that node a is dead, `ahead_us` before its deadline; the clock moves as it is read."""

    def __init__(self, ahead_us: int, frame_at_us: int | None = None) -> None:
        self.deadline_us = 10_000_000
        self.now_us = self.deadline_us - ahead_us
        self.shots: list[tuple[int, int]] = []
        self.frame_at_us = frame_at_us
        self.intake = SimpleNamespace(good_us=self.deadline_us - DEAD_MS * 1000, gather=self._gather)
        ticks = FakeTicks()
        self.livenesses = [SimpleNamespace(verdict=verdict) for verdict in (codes.VERDICT_DEAD, codes.VERDICT_GOOD, 0)]
        self.selftest = SimpleNamespace(phase=0)
        self.look = LastLook(
            SimpleNamespace(current=SimpleNamespace(board=SimpleNamespace(dead_ms=DEAD_MS))),
            [self.intake] * 3,
            self.livenesses,
            SimpleNamespace(may_shoot=lambda _node: True, shoot=lambda n: self.shots.append((n, self.now_us))),
            self.selftest,
            self._ticks_us,
            ticks.ticks_diff,
        )
        self.out = policy_state.Decisions()
        self.out.act(policy_state.FENCE, 0)

    def confirms(self, out: policy_state.Decisions | None = None) -> bool:
        """Look for the last time; node a was late before this pass."""
        return self.look.confirms(out or self.out, [codes.VERDICT_LATE, codes.VERDICT_GOOD, 0])

    def _ticks_us(self) -> int:
        self.now_us += TURN_US
        return self.now_us

    def _gather(self) -> bool:
        return self.frame_at_us is not None and self.now_us >= self.frame_at_us


def test_shoots_at_the_deadline_and_not_before() -> None:
    scene = Scene(ahead_us=20_000)
    assert scene.confirms()
    [(node, at_us)] = scene.shots
    assert node == 0
    assert 0 <= at_us - scene.deadline_us <= TURN_US


@pytest.mark.parametrize("before_us", [15_000, 1000, 100])
def test_frame_before_the_deadline_undoes_it(before_us: int) -> None:
    scene = Scene(ahead_us=20_000, frame_at_us=10_000_000 - before_us)
    assert not scene.confirms()
    assert not scene.shots


def test_bytes_that_are_no_heartbeat_do_not_move_the_deadline() -> None:
    scene = Scene(ahead_us=20_000)
    scene.intake.heard_us = scene.deadline_us - 300_000
    assert scene.confirms()
    assert scene.shots[0][1] - scene.deadline_us <= TURN_US


@pytest.mark.parametrize("more_us", [1000, 5_000, 1_000_000])
def test_a_deadline_out_of_reach_is_neither_waited_for_nor_taken_as_come(
    more_us: int,
) -> None:
    # The age was counted too high. The loop of a board that guards others must not stand still.
    scene = Scene(ahead_us=AHEAD_MS * 1000 + TURN_US + more_us)
    began_us = scene.now_us
    assert not scene.confirms()
    assert not scene.shots
    assert scene.now_us - began_us <= TURN_US
    assert scene.livenesses[0].age_ms == (DEAD_MS * 1000 - AHEAD_MS * 1000 - more_us) // 1000


def test_babbling_line_puts_its_death_off_only_so_often() -> None:
    scene = Scene(ahead_us=20_000, frame_at_us=0)
    for _ in range(TAKEN_BACK_MAX):
        assert not scene.confirms()
    assert scene.confirms()
    assert scene.shots


def test_test_of_a_relay_under_way_is_ended_first() -> None:
    scene = Scene(ahead_us=1000)
    scene.selftest.phase = 1
    assert scene.confirms()
    assert not scene.shots


def test_nothing_decided_waits_for_nothing() -> None:
    scene = Scene(ahead_us=20_000)
    began_us = scene.now_us
    assert scene.confirms(policy_state.Decisions())
    assert scene.now_us == began_us
