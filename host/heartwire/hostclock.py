"""The host's clock against a board's: whether the board's wall time is missing or wrong, and this host may say so.

Called by whoever talks to a board anyway (CLI, monitor). It sets nothing.
"""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime, timedelta

from heartwire.answers import Status

# Two hosts kept by NTP differ by milliseconds; a crystal of 100 ppm is off by this after half a day.
OFF = timedelta(seconds=5)
# adjtimex(2): what it returns while nothing keeps the clock.
TIME_ERROR = 5
# struct timex is 208 bytes on 64-bit Linux; modes = 0 only asks.
TIMEX_BYTES = 512


def is_kept() -> bool:
    """Tell whether the kernel says that something, such as NTP, keeps this host's clock."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return False
    return bool(0 <= state < TIME_ERROR)


def is_off(status: Status, now: datetime | None = None) -> bool:
    """Tell whether the board of `status` needs this host's time: it has none, or a clock that is kept says another."""
    wall = status.wall_clock
    if wall is None:
        return True
    return abs(wall - (now or datetime.now(UTC))) > OFF and is_kept()
