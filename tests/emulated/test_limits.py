"""Started just below every limit nothing changes: ticks, days, ages, sequences, epochs. All times are virtual."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from heartwire_protocol import events
from heartwire_protocol.operations import DAY_MS
from tests.emulated import limits
from tests.emulated.conftest import forked

pytestmark = pytest.mark.emulated
# Each takes a minute; `make test` crosses the two where ticks wrap, and the ages of 2^30 ms.
LONG = ("timer's low word wraps, 72 minutes", "6.2 days", "day roll-over")


def crossed(name: str, image: Path) -> limits.Crossing:
    """Cross a limit in a child process and hold that nothing changed."""
    if name in LONG and not os.environ.get("HEARTWIRE_LONG"):
        pytest.skip(f"takes a minute: {name} (make test-emulated)")
    found = forked(lambda: limits.LIMITS[name](image))
    assert not found.complaints()
    return found


@pytest.mark.parametrize("limit", limits.TICKS)
def test_ticks_limit(board_image: Path, limit: str) -> None:
    crossed(limit, board_image)


@pytest.mark.parametrize(("limit", "day"), list(zip(limits.AGES, (1, 12), strict=True)))
def test_age_limit(board_image: Path, limit: str, day: int) -> None:
    limit_ms = limits.AGES[limit]
    found = crossed(limit, board_image)
    assert found.uptime_s >= limit_ms // 1000
    fired = next(row for row in found.rows if row["event"] == events.FENCE_FIRED)
    assert fired["uptime_day"] == day
    assert fired["uptime_ms"] == pytest.approx(limit_ms - day * DAY_MS + 2000, abs=2000)


def test_sequence_limit(board_image: Path) -> None:
    assert crossed("heartbeat sequence", board_image).incarnations == [10, 10]


def test_epoch_limit(board_image: Path) -> None:
    # The last epoch is given; after it nobody is granted any more, so that none repeats (tests/unit: test_board.py).
    assert crossed("epoch", board_image).granted == limits.LAST_EPOCH
