"""The verdict on a node: late and dead by age, and what ends a death."""

from __future__ import annotations

from types import SimpleNamespace

from heartwire_firmware.liveness import Liveness
from heartwire_protocol import codes

LATE_MS, DEAD_MS, GOOD_COUNT = 1000, 3000, 3
INTERVAL_MS = 400


def dead() -> Liveness:
    """Return the liveness of a node that was good and died."""
    live = Liveness()
    live.configure(SimpleNamespace(late_ms=LATE_MS, dead_ms=DEAD_MS, good_count=GOOD_COUNT))
    for _ in range(GOOD_COUNT):
        live.good()
    live.judge()
    assert live.verdict == codes.VERDICT_GOOD
    for age_ms, verdict in ((LATE_MS, codes.VERDICT_LATE), (DEAD_MS - LATE_MS, codes.VERDICT_DEAD)):
        live.advance(age_ms)
        live.judge()
        assert live.verdict == verdict
    return live


def beat(live: Liveness, pause_ms: int = INTERVAL_MS) -> int:
    """Let a good heartbeat come after a pause; return the verdict."""
    live.advance(pause_ms)
    live.judge()
    live.good()
    live.judge()
    return int(live.verdict)


def test_dead_lasts_until_so_many_good_ones_came_in_a_row() -> None:
    live = dead()
    verdicts = [beat(live) for _ in range(GOOD_COUNT)]
    assert verdicts == [codes.VERDICT_DEAD] * (GOOD_COUNT - 1) + [codes.VERDICT_GOOD]


def test_an_altered_one_ends_the_row() -> None:
    live = dead()
    for _ in range(GOOD_COUNT - 1):
        beat(live)
    live.bad()
    assert beat(live) == codes.VERDICT_DEAD


def test_a_pause_ends_the_row() -> None:
    live = dead()
    for _ in range(GOOD_COUNT - 1):
        beat(live)
    assert beat(live, LATE_MS) == codes.VERDICT_DEAD


def test_one_good_heartbeat_ends_being_late() -> None:
    live = dead()
    for _ in range(GOOD_COUNT):
        beat(live)
    live.advance(LATE_MS)
    live.judge()
    assert live.verdict == codes.VERDICT_LATE
    assert beat(live, 0) == codes.VERDICT_GOOD
