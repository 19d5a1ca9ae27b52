"""Wall time: what follows when the host says what time it is, and when a scheduled switchover is due.

A schedule is a time from now; it is kept in wall time because only that survives a restart, and moved with the clock
when that is corrected. Used by supervisor.
"""

from heartwire_protocol import events
from heartwire_protocol.codes import COUNT_MAX, NO_NODE

# A clock that the host corrects by less is not worth a record.
WALL_ERROR_MS = 2000


class WallTime:
    """The wall time of `clock`, and the schedule of `state` in it."""

    def __init__(self, clock, state, facts, journal, durable):
        self._clock = clock
        self._state = state
        self._facts = facts
        self._journal = journal
        self._durable = durable

    def set(self, day: int, ms: int) -> None:
        """Set the clock to `ms` of `day` since 1970-01-01 UTC."""
        clock = self._clock
        known = clock.wall_known
        left_s = self._facts.schedule_s
        off_ms = clock.wall_error_ms(day, ms)
        clock.set_wall(day, ms)
        if known and off_ms < WALL_ERROR_MS:
            return
        self._journal.append(events.TIME_SET, NO_NODE, 0, 1 if known else 0, off_ms if known else 0)
        if known and self._state.schedule_node != NO_NODE:
            # "In a minute" stays a minute: the schedule was given as a time from then, and only kept in wall time.
            self.note_schedule(max(0, left_s))
            self._durable.waiting = True

    def note_schedule(self, seconds: int) -> None:
        """Keep when the scheduled switchover is due, `seconds` from now."""
        clock = self._clock
        due_s = clock.wall_ms // 1000 + seconds
        self._state.schedule_day = clock.wall_day + due_s // 86400
        self._state.schedule_of_day_s = due_s % 86400

    def schedule_s(self) -> int:
        """Return the seconds until the scheduled switchover is due, negative when past; COUNT_MAX: unknown."""
        clock = self._clock
        state = self._state
        if not clock.wall_known:
            return COUNT_MAX
        days = state.schedule_day - clock.wall_day
        if state.schedule_node == NO_NODE or days > 8:
            return COUNT_MAX - 1
        return max(days, -8) * 86400 + state.schedule_of_day_s - clock.wall_ms // 1000
