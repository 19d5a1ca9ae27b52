"""The board's one clock: what the loop calls once per pass, and every stage gets its time from.

It accumulates differences of a wrapping millisecond counter into (day, ms of day), so that no integer reaches 2^30 and
no difference longer than one loop pass is ever taken (MicroPython's ticks_diff is right only within 6.2 days). Stages
get `elapsed_ms`, the time since the pass before, and keep ages and remaining times themselves. It never reads a wall
clock; the host may tell it the wall time once.
"""

DAY_MS = 86400000
# A pass longer than this is a stall: lines are drained first and the early window is skipped once.
STALL_MS = 20


def add_capped(value: int, step: int, limit: int) -> int:
    """Return `value` + `step`, at most `limit`: an age that stops growing instead of wrapping."""
    value += step
    return value if value < limit else limit


class Clock:
    """Time since boot, from `ticks_ms()` (wrapping counter) and `ticks_diff(later, earlier)`."""

    def __init__(self, ticks_ms, ticks_diff):
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._last = ticks_ms()
        self.day = 0
        self.ms = 0
        self.elapsed_ms = 0
        self.stalled = False
        self.worst_ms = 0
        self.wall_known = False
        self._wall_day = 0
        self._wall_ms = 0

    def tick(self) -> int:
        """Take the time of this pass; return the milliseconds since the pass before (0 to one day)."""
        now = self._ticks_ms()
        elapsed = self._ticks_diff(now, self._last)
        self._last = now
        if elapsed < 0:
            elapsed = 0
        elif elapsed > DAY_MS:
            elapsed = DAY_MS
        self.elapsed_ms = elapsed
        self.stalled = elapsed > STALL_MS
        if elapsed > self.worst_ms:
            self.worst_ms = elapsed
        self.ms += elapsed
        if self.ms >= DAY_MS:
            self.ms -= DAY_MS
            self.day += 1
        if self.wall_known:
            self._wall_ms += elapsed
            if self._wall_ms >= DAY_MS:
                self._wall_ms -= DAY_MS
                self._wall_day += 1
        return elapsed

    def forgive(self) -> None:
        """Forget a stall that was planned, so that worst_ms shows only the others."""
        self.worst_ms = 0

    def set_wall(self, day: int, ms: int) -> None:
        """Take the wall time from the host: days since 1970-01-01 UTC, milliseconds of that day."""
        self.wall_known = True
        self._wall_day = day
        self._wall_ms = ms

    @property
    def wall_day(self) -> int:
        """Days since 1970-01-01 UTC, 0 when unknown."""
        return self._wall_day if self.wall_known else 0

    @property
    def wall_ms(self) -> int:
        """Milliseconds of that day, 0 when unknown."""
        return self._wall_ms if self.wall_known else 0

    def uptime_s(self) -> int:
        """Return seconds since boot, at most 2^30 - 1 (34 years)."""
        return self.day * 86400 + self.ms // 1000
