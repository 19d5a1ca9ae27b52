"""Two emulators, written apart, run the same image and firmware through the same failover: all that the board decides
is equal, and when it acts within a stated bound.

What differs: the other one counts an instruction's cycles a little differently, so a pass of the loop begins elsewhere
in its millisecond; and everything that waits for a pass moves with it. All times are virtual.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heartwire.emulated.chip import MS, EmulatedChip, emulator
from heartwire.emulated.errors import NotReady
from heartwire.flash import images
from tests.bodies.bench import DEAD_MS
from tests.emulated.conftest import absent, forked
from tests.emulated.rig import EPOCH, Rig, fence_edges
from tests.second.chip import NAME, SecondChip, package

pytestmark = pytest.mark.emulated
# The active node falls silent here; the racks have settled long before. Its power is back within 1.5 s, and then
# nothing moves for a while.
SILENT_MS = 6000
WATCHED_MS = 1750
# boot.py is the same instructions on both; until the guard runs it is seven hundred milliseconds of them.
OUTPUTS_WITHIN_MS = 0.1
GUARDING_WITHIN_MS = 2.0
# The board looks every millisecond around a deadline, and moves the relay at its first look behind it.
RELAY_WITHIN_MS = 1.0
# A light, and the end of a fence, wait for a full pass (REST_MS and the work of one), and that for a collection.
PASS_WITHIN_MS = 45.0
# What goes on and off all the time: by the loop's passes, by the second, and by the tenth of a second in which a state
# begins or ends.
TOGGLES = ("ARM", "LED_BOARD", "LED_STATUS")


@dataclass(frozen=True)
class Seen:
    """What a failover showed, in ms: `edges` from its deadline on, but `first` from power-on."""

    first: dict[str, tuple[int | None, float]]
    guarding_ms: float
    relay_ms: list[float]
    edges: list[tuple[str, int | None, float]]
    rows: list[tuple[int, int, int]]
    running: list[bool]
    epoch: int
    two_active: bool


def failover(image: Path, make: Callable[..., Any]) -> Seen:
    """Let the active node of a settled rack fall silent."""
    rig = Rig(image, make=make)
    rig.settle()
    rig.chip.run_until(SILENT_MS * MS)
    since_ns = rig.chip.ns
    rig.cut.add(0)
    rig.chip.run_for(WATCHED_MS * MS)
    deadline_ns = rig.beats[0][-1] + DEAD_MS * MS
    first: dict[str, tuple[int | None, float]] = {}
    for edge in rig.chip.edges:
        first.setdefault(edge.signal, (edge.level, edge.ns / MS))
    later = [edge for edge in rig.chip.edges if edge.ns > since_ns and edge.signal not in TOGGLES]
    return Seen(
        first,
        rig.chip.passes[0].ns / MS,
        [(ns - deadline_ns) / MS for ns in fence_edges(rig, 0)],
        [(edge.signal, edge.level, (edge.ns - deadline_ns) / MS) for edge in later],
        [(row["event"], row["node"], row["reason"]) for row in rig.journal()],
        [fake.running for fake in rig.nodes],
        rig.epoch(),
        rig.two_active,
    )


def _what(edge: tuple[str, int | None, float]) -> tuple[str, int]:
    """Return what an edge is but for its time; an output that is not driven comes before low."""
    return edge[0], -1 if edge[1] is None else edge[1]


def test_another_emulator_sees_the_same_failover() -> None:
    try:
        emulator()
        package()
        image = images.find()
    except images.ImageMissing as error:
        pytest.skip(absent(error))
    except NotReady as error:
        pytest.skip(f"not installed: {NAME} ({error})")
    ours, theirs = forked(lambda: failover(image, EmulatedChip)), forked(lambda: failover(image, SecondChip))
    assert theirs.rows == ours.rows
    assert (theirs.running, theirs.epoch, theirs.two_active) == (ours.running, ours.epoch, ours.two_active)
    assert (ours.running, ours.epoch, ours.two_active) == ([False, True], EPOCH + 1, False)
    assert theirs.first.keys() == ours.first.keys()
    for signal, (level, ms) in ours.first.items():
        assert theirs.first[signal][0] == level, signal
        assert theirs.first[signal][1] == pytest.approx(ms, abs=OUTPUTS_WITHIN_MS), signal
    assert theirs.guarding_ms == pytest.approx(ours.guarding_ms, abs=GUARDING_WITHIN_MS)
    assert len(ours.relay_ms) == len(theirs.relay_ms) == 1
    assert min(ours.relay_ms + theirs.relay_ms) >= 0
    assert theirs.relay_ms[0] == pytest.approx(ours.relay_ms[0], abs=RELAY_WITHIN_MS)
    # Two signals that move close together may do so in either order.
    assert sorted(map(_what, theirs.edges)) == sorted(map(_what, ours.edges))
    for one, other in zip(sorted(ours.edges, key=_what), sorted(theirs.edges, key=_what), strict=True):
        assert other[2] == pytest.approx(one[2], abs=PASS_WITHIN_MS), one
    print(f"relay {ours.relay_ms[0]:.3f} and {theirs.relay_ms[0]:.3f} ms after the deadline")
    print(f"guard {ours.guarding_ms:.3f} and {theirs.guarding_ms:.3f} ms after power-on")
