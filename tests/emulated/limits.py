"""Racks that start just below a limit of the board, cross it with both nodes beating, and then lose the active one.

The chip's integers are small up to 2^30 and objects from there on, and its ticks wrap there, which neither CPython nor
the 64-bit VM shows. All times are virtual. Called by test_limits.py and tools/bench_board.py, in a child process each;
asserts nothing about what it finds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

from heartwire.emulated.chip import MS
from heartwire_protocol import codes, events
from heartwire_protocol.operations import DAY_MS
from tests.bodies import guarding
from tests.bodies.bench import DEAD_MS, LEASE_MS, quick_settings
from tests.emulated.rig import Rig, fence_edges, stored
from tests.emulated.rig_bench import RigBench
from tests.fakes.node import FakeNode

# Power-on to settled takes less; then the limit comes.
BEFORE_MS = 5500
AGED_BEFORE_MS = 6500
ACROSS_MS = 700
# A pass of the loop ends within this, so that it takes the time of one jump and not of two.
PASS_MS = 150
GUARDING_MS = 1000
# Between heartbeats this close together a record that is not urgent waits so long for its slot.
ROWS_WAIT_MS = 1800
LATE_MAX_MS = 3
LAST_EPOCH = codes.COUNT_MAX - 1


class Crossing:
    """What a settled `rig` showed: around the limit at `crossed_ns`, and when its active node died after it."""

    def __init__(self, rig: Rig, crossed_ns: float, rows_wait_ms: int = 0) -> None:
        chip, bench = rig.chip, RigBench(rig)
        nodes = range(len(rig.nodes))
        assert chip.ns < crossed_ns, f"settled {(chip.ns - crossed_ns) / MS:.0f} ms after the limit"
        self.epoch = rig.epoch()
        settled = [row["sequence"] for row in rig.journal()]
        sent = [bench.sent(node) for node in nodes]
        missing = [guarding.missing(bench, node) for node in nodes]
        heard = [len(grants) for grants in rig.grants]
        incarnations = [fake.incarnation for fake in rig.nodes]
        first_ns = chip.ns
        chip.run_until(crossed_ns + ACROSS_MS * MS)
        self.sent = [bench.sent(node) - first for node, first in enumerate(sent)]
        self.missing = [guarding.missing(bench, node) - first for node, first in enumerate(missing)]
        self.drops = [rig.ask("drops", node=codes.NODES[node])["drops"] for node in nodes]
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
        deadline = rig.beats[0][-1] + DEAD_MS * MS
        chip.run_while(lambda: not rig.nodes[1].running, 2500 * MS)
        chip.run_for(rows_wait_ms * MS)
        self.late_ms = [(ns - deadline) / MS for ns in fence_edges(rig, 0)]
        self.rows = [row for row in rig.journal() if row["sequence"] not in settled]
        self.incarnations = [fake.incarnation - first for fake, first in zip(rig.nodes, incarnations, strict=True)]
        self.two_active = rig.two_active
        self.granted = rig.epoch()
        self.resets = len(chip.resets)

    def complaints(self) -> list[str]:
        """Return what the limit changed, or how the death after it was not seen as ever; none if all is well."""
        found = {
            f"{self.resets} resets": self.resets,
            f"fenced before anybody died: {self.fenced_before}": self.fenced_before,
            f"running before the death: {self.running}": self.running != [True, False],
            f"two were active, epoch {self.epoch} became {self.granted}": self.two_active
            or self.granted != self.epoch + 1,
            f"relay after its deadline: {self.late_ms} ms": len(self.late_ms) != 1
            or not 0 <= self.late_ms[0] <= LATE_MAX_MS,
            f"too few heartbeats to see anything: {self.sent}": min(self.sent) < ACROSS_MS // 100,
            # Asking takes time, so that one may be on its way at either end.
            f"heartbeats not taken: {self.missing}": max(map(abs, self.missing)) > 1,
            f"dropped: {self.drops}": set().union(*self.drops) - {"unanswered", "not_allowed"},
            # Two that came during a write share an answer; a lease is far from over by then.
            f"without an answer for {self.unanswered_ms} ms": max(self.unanswered_ms) >= LEASE_MS / 2,
            # Whoever is late gets an intent at once, which is urgent and so durable.
            f"late or altered: {self.across}": {events.FENCE_PREPARED, events.ALTERED} & set(self.across),
            # One at most: intents are rate-limited, an older one of this life may still stand.
            "more than one intent": sum(row["event"] == events.FENCE_PREPARED for row in self.rows) > 1,
        }
        return [words for words, wrong in found.items() if wrong]


def ticks(timer_ms: float, image: Path) -> Crossing:
    """Let the chip's timer cross `timer_ms`."""
    rig = Rig(image)
    rig.chip.set_timer_ms(timer_ms - BEFORE_MS)
    rig.settle()
    return Crossing(rig, BEFORE_MS * MS)


def _timer_ms(rig: Rig) -> float:
    return float((rig.chip.ns - rig.chip.mcu.timer._epoch_nanos) / MS)


def age(limit_ms: int, image: Path) -> Crossing:
    """Let the board, before it hears anybody, grow almost as old as `limit_ms`, a day at most per pass; cross it with
    nodes.
    """
    rig = Rig(image)
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
    return Crossing(rig, chip.ns + (limit_ms + started_ms - _timer_ms(rig)) * MS, ROWS_WAIT_MS)


def _renew(fake: FakeNode) -> None:
    """Let the sequences of `fake` end soon, and its agent start anew when they do."""
    fake.sequence = codes.COUNT_MAX - 32
    said = fake.heartbeat

    def heartbeat() -> bytes:
        if fake.sequence >= codes.COUNT_MAX:
            fake.restart_agent()
        return said()

    fake.heartbeat = heartbeat  # type: ignore[method-assign] # the rig asks the node itself


def sequences(image: Path) -> Crossing:
    """Let the heartbeats' sequences be used up: the agents start a new incarnation (heartwire.agent.beat)."""
    rig = Rig(image)
    for fake in rig.nodes:
        _renew(fake)
    rig.settle()
    left = max(codes.COUNT_MAX - fake.sequence for fake in rig.nodes)
    return Crossing(rig, rig.chip.ns + left * rig.interval_ms * MS)


def epochs(image: Path) -> Crossing:
    """Let a failover give out the last epoch there is."""
    rig = Rig(image, data=stored(quick_settings(), epoch=LAST_EPOCH - 1))
    rig.nodes[0].epoch = LAST_EPOCH - 1
    rig.settle()
    return Crossing(rig, rig.chip.ns + 100 * MS)


TICKS = {
    "ticks_us wrap, 18 minutes": (1 << 30) / 1000,
    "timer's low word wraps, 72 minutes": (1 << 32) / 1000,
    "6.2 days": float(1 << 29),
    "ticks_ms wrap, 12.4 days": float(1 << 30),
}
AGES = {"day roll-over": DAY_MS, "ages of 2^30 ms": 1 << 30}
LIMITS: dict[str, Callable[[Path], Crossing]] = {
    **{name: partial(ticks, timer_ms) for name, timer_ms in TICKS.items()},
    **{name: partial(age, limit_ms) for name, limit_ms in AGES.items()},
    "heartbeat sequence": sequences,
    "epoch": epochs,
}
