"""The board's one clock: what the loop calls once per pass, and every stage gets its time from.

It accumulates differences of a wrapping millisecond counter into (day, ms of day), so that no integer reaches 2^30 and
no difference longer than one loop pass is ever taken (MicroPython's ticks_diff is right only within 6.2 days). Stages
get `elapsed_ms`, the time since the pass before, and keep ages and remaining times themselves. It never reads a wall
clock; the host may tell it the wall time once.
"""

from heartwire_protocol.operations import DAY_MS

# A pass longer than this is a stall: lines are drained first and the early window is skipped once.
STALL_MS = 20
# A pass may set its time ahead by less than this.
AHEAD_MS = 32
OVERDUE = 1 << 29


def add_capped(value: int, step: int, limit: int) -> int:
    """Return `value` + `step`, at most `limit`: an age that stops growing instead of wrapping."""
    value += step
    return value if value < limit else limit


class Clock:
    """Time since boot, from `ticks_ms()` (wrapping counter), `ticks_diff(later, earlier)` and `ticks_add`."""

    def __init__(self, ticks_ms, ticks_diff, ticks_add=None):
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._ticks_add = ticks_add
        now = ticks_ms()
        self._last = now
        # In a list, as storing an attribute takes six times as long on the board: the time of the last look,
        # and the longest gap between two.
        self._looked = [now, 0]
        self._ahead = False
        self.day = 0
        self.ms = 0
        self.elapsed_ms = 0
        self.stalled = False
        self.wall_known = False
        self._wall_day = 0
        self._wall_ms = 0

    def look(self) -> int:
        """Return the milliseconds since the last `tick` without taking them; OVERDUE after a gap that tick must see."""
        now = self._ticks_ms()
        diff = self._ticks_diff
        looked = self._looked
        gap = diff(now, looked[0])
        if not 0 <= gap <= STALL_MS:
            return OVERDUE
        if gap > looked[1]:
            looked[1] = gap
        looked[0] = now
        return diff(now, self._last)

    def run_ahead(self, ms: int) -> int:
        """Set this pass's time `ms` (a few) ahead, as what it decides takes effect then; return `ms`."""
        self._last = self._ticks_add(self._last, ms)
        self._ahead = True
        self._add(ms)
        return ms

    @property
    def is_ahead(self) -> bool:
        """Tell whether the time that this pass has run ahead to has not come yet."""
        return self._ahead and self._ticks_diff(self._last, self._ticks_ms()) > 0

    def before(self, ms: int) -> int:
        """Return the milliseconds from `ms` ago to the time of this pass; below 0 for what came after it had begun."""
        return self._ticks_diff(self._last, self._ticks_ms()) + ms

    def tick(self) -> int:
        """Take the time of this pass; return the milliseconds since the pass before (0 to one day)."""
        now = self._ticks_ms()
        elapsed = self._ticks_diff(now, self._last)
        gap = self._ticks_diff(now, self._looked[0])
        if elapsed >= 0 or elapsed < -AHEAD_MS:
            self._last = now
            if self._ahead:
                self._ahead = False
        self._looked[0] = now
        if elapsed < 0:
            elapsed = 0
        elif elapsed > DAY_MS:
            elapsed = DAY_MS
        self.elapsed_ms = elapsed
        # A gap between two looks is a stall; a long time between two passes that the looks found empty is none.
        if gap < 0 or gap > elapsed:
            gap = elapsed
        self.stalled = gap > STALL_MS
        if gap > self._looked[1]:
            self._looked[1] = gap
        self._add(elapsed)
        return elapsed

    def _add(self, elapsed: int) -> None:
        self.ms += elapsed
        if self.ms >= DAY_MS:
            self.ms -= DAY_MS
            self.day += 1
        if self.wall_known:
            self._wall_ms += elapsed
            if self._wall_ms >= DAY_MS:
                self._wall_ms -= DAY_MS
                self._wall_day += 1

    def forgive(self) -> None:
        """Forget a stall that was planned, so that worst_ms shows only the others."""
        self._looked[1] = 0

    @property
    def worst_ms(self) -> int:
        """The longest gap between two looks of the loop."""
        return self._looked[1]

    def set_wall(self, day: int, ms: int) -> None:
        """Take the wall time from the host: days since 1970-01-01 UTC, milliseconds of that day."""
        self.wall_known = True
        self._wall_day = day
        self._wall_ms = ms

    def wall_error_ms(self, day: int, ms: int) -> int:
        """Return how far the wall time is from `day` and `ms`, either way; at most a day's milliseconds."""
        if not self.wall_known or abs(day - self._wall_day) > 1:
            return DAY_MS
        return min(DAY_MS, abs((day - self._wall_day) * DAY_MS + ms - self._wall_ms))

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
