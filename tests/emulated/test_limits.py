"""Started just below every limit nothing changes: ticks, days, ages, sequences, epochs. All times are virtual.

The chip's integers are small up to 2^30 and objects from there on, and its ticks wrap there, which neither CPython nor
the 64-bit VM shows. Each test crosses one limit with both nodes beating and then lets the active one die.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from heartwire.emulated.chip import MS
from heartwire_firmware.clock import DAY_MS
from heartwire_protocol import codes, events
from tests.bodies.bench import DEAD_MS, LEASE_MS, quick_settings
from tests.emulated.conftest import forked
from tests.emulated.rig import Rig, fence_edges, stored

pytestmark = pytest.mark.emulated
# Power-on to settled takes less; then the limit comes.
BEFORE_MS = 2500
AGED_BEFORE_MS = 3000
ACROSS_MS = 700
# A pass of the loop ends within this, so that it takes the time of one jump and not of two.
PASS_MS = 150
GUARDING_MS = 1000
# Between heartbeats this close together a record that is not urgent waits so long for its slot.
ROWS_WAIT_MS = 1800


class Found:
    """What a rack showed: around the limit, and when its active node died after it."""

    def __init__(self, rig: Rig, crossed_ns: float, rows_wait_ms: int = 0) -> None:
        chip = rig.chip
        assert chip.ns < crossed_ns, f"settled {(chip.ns - crossed_ns) / MS:.0f} ms after the limit"
        self.epoch = rig.epoch()
        settled = [row["sequence"] for row in rig.journal()]
        sent = [len(beats) for beats in rig.beats]
        taken = [_taken(rig, node) for node in range(len(rig.nodes))]
        heard = [len(grants) for grants in rig.grants]
        first_ns = chip.ns
        chip.run_until(crossed_ns + ACROSS_MS * MS)
        self.sent = [len(beats) - first for beats, first in zip(rig.beats, sent, strict=True)]
        self.taken = [_taken(rig, node) - first for node, first in enumerate(taken)]
        self.drops = [rig.ask("drops", node=codes.NODES[node])["drops"] for node in range(len(rig.nodes))]
        self.unanswered_ms = [
            max(later - sooner for sooner, later in itertools.pairwise([first_ns, *(ns for ns, _ in grants[first:])]))
            / MS
            for grants, first in zip(rig.grants, heard, strict=True)
        ]
        self.fenced_before = list(rig.fenced)
        self.running = [fake.running for fake in rig.nodes]
        self.uptime_s = int(rig.ask("status")["uptime_s"])
        self.across = [row["event"] for row in rig.journal() if row["sequence"] not in settled]
        rig.cut.add(0)
        chip.run_for(120 * MS)
        died_ns = rig.beats[0][-1]
        deadline = died_ns + DEAD_MS * MS
        chip.run_while(lambda: not rig.nodes[1].running, 2500 * MS)
        chip.run_for(rows_wait_ms * MS)
        self.late_ms = [(ns - deadline) / MS for ns in fence_edges(rig, 0)]
        self.rows = [row for row in rig.journal() if row["sequence"] not in settled]
        self.two_active = rig.two_active
        self.granted = rig.epoch()
        self.resets = len(chip.resets)

    def holds(self) -> None:
        """Assert that the limit changed nothing, and that the death was seen as ever."""
        assert self.resets == 0
        assert self.fenced_before == []
        assert self.running == [True, False]
        for sent, taken, drops in zip(self.sent, self.taken, self.drops, strict=True):
            assert sent >= ACROSS_MS // 100
            # Asking takes time, so that one may be on its way at either end.
            assert abs(taken - sent) <= 1
            assert set(drops) <= {"unanswered", "not_allowed"}, drops
        # Two that came during a write share an answer; a lease is far from over by then.
        assert max(self.unanswered_ms) < LEASE_MS / 2
        assert len(self.late_ms) == 1
        assert 0 <= self.late_ms[0] <= 3
        assert not self.two_active
        assert self.granted == self.epoch + 1
        # Whoever is late gets an intent at once, which is urgent and so durable.
        assert events.FENCE_PREPARED not in self.across
        assert events.ALTERED not in self.across
        # One at most: intents are rate-limited, an older one of this life may still stand.
        assert sum(row["event"] == events.FENCE_PREPARED for row in self.rows) <= 1


def _taken(rig: Rig, node: int) -> int:
    """Return how many heartbeats of `node` were good, or the first of an incarnation."""
    name = codes.NODES[node]
    return int(rig.ask("node", node=name)["beats"]) + int(rig.ask("drops", node=name)["drops"].get("unanswered", 0))


TICKS = {
    "ticks_us wrap, 18 minutes": (1 << 30) / 1000,
    "timer's low word wraps, 72 minutes": (1 << 32) / 1000,
    "6.2 days": float(1 << 29),
    "ticks_ms wrap, 12.4 days": float(1 << 30),
}


# Each takes a minute; `make test` crosses the two where ticks wrap.
LONG = ("timer's low word wraps, 72 minutes", "6.2 days")


@pytest.mark.parametrize("limit", TICKS)
def test_ticks_limit(board_image: Path, limit: str) -> None:
    if limit in LONG and not os.environ.get("HEARTWIRE_LONG"):
        pytest.skip(f"takes a minute: {limit} (make test-emulated)")

    def body() -> Found:
        rig = Rig(board_image)
        rig.chip.set_timer_ms(TICKS[limit] - BEFORE_MS)
        rig.settle()
        return Found(rig, BEFORE_MS * MS)

    forked(body).holds()


def _timer_ms(rig: Rig) -> float:
    return float((rig.chip.ns - rig.chip.mcu.timer._epoch_nanos) / MS)


def _aged(rig: Rig, limit_ms: float) -> Found:
    """Let the board, before it hears anybody, grow almost as old as `limit_ms`, a day at most per pass; cross it with
    nodes.
    """
    chip = rig.chip
    rig.cut |= {0, 1}
    chip.run_while(lambda: not chip.passes, GUARDING_MS * MS)
    # Its own time began somewhere between power-on and its first pass.
    started_ms = chip.passes[0].ns / MS
    while (left_ms := limit_ms - AGED_BEFORE_MS - _timer_ms(rig)) > 0:
        chip.set_timer_ms(_timer_ms(rig) + min(left_ms, DAY_MS - 1000))
        chip.run_for(PASS_MS * MS)
    # The last holder is waited for only so long, and that is over: it comes first.
    rig.cut.discard(0)
    chip.run_while(lambda: not any(grant["lease_ms"] for _, grant in rig.grants[0][-2:]), GUARDING_MS * MS)
    rig.cut.discard(1)
    rig.settle()
    assert _timer_ms(rig) < limit_ms, "settled too late"
    return Found(rig, chip.ns + (limit_ms + started_ms - _timer_ms(rig)) * MS, ROWS_WAIT_MS)


@pytest.mark.parametrize(("limit_ms", "day"), [(DAY_MS, 1), (1 << 30, 12)], ids=["day roll-over", "ages of 2^30 ms"])
def test_age_limit(board_image: Path, limit_ms: int, day: int) -> None:
    def body() -> Found:
        rig = Rig(board_image)
        return _aged(rig, limit_ms)

    found = forked(body)
    found.holds()
    assert found.uptime_s >= limit_ms // 1000
    fired = next(row for row in found.rows if row["event"] == events.FENCE_FIRED)
    assert fired["uptime_day"] == day
    assert fired["uptime_ms"] == pytest.approx(limit_ms - day * DAY_MS + 2000, abs=2000)


def test_sequence_limit(board_image: Path) -> None:
    # An agent whose sequence is used up starts a new incarnation; its services go on (heartwire.agent.beat).
    def body() -> tuple[Found, list[int]]:
        rig = Rig(board_image)
        for fake in rig.nodes:
            fake.sequence = codes.COUNT_MAX - 32
            said = fake.heartbeat

            def heartbeat(fake=fake, said=said) -> bytes:  # type: ignore[no-untyped-def]
                if fake.sequence >= codes.COUNT_MAX:
                    fake.restart_agent()
                return bytes(said())

            fake.heartbeat = heartbeat  # type: ignore[method-assign]
        rig.settle()
        before = [fake.incarnation for fake in rig.nodes]
        left = max(codes.COUNT_MAX - fake.sequence for fake in rig.nodes)
        found = Found(rig, rig.chip.ns + left * rig.interval_ms * MS)
        return found, [fake.incarnation - old for fake, old in zip(rig.nodes, before, strict=True)]

    found, incarnations = forked(body)
    assert incarnations == [10, 10]
    found.holds()


def test_epoch_limit(board_image: Path) -> None:
    # The last epoch is given; after it nobody is granted any more, so that none repeats (tests/unit: test_board.py).
    last = codes.COUNT_MAX - 1

    def body() -> Found:
        rig = Rig(board_image, data=stored(quick_settings(), epoch=last - 1))
        rig.nodes[0].epoch = last - 1
        rig.settle()
        return Found(rig, rig.chip.ns + 100 * MS)

    found = forked(body)
    found.holds()
    assert found.granted == last
