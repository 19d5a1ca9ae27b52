"""Wall time: what follows when the host says what time it is. Called by supervisor."""

from heartwire_protocol import events
from heartwire_protocol.codes import NO_NODE

# A clock that the host corrects by less is not worth a record.
WALL_ERROR_MS = 2000


def take(board, day: int, ms: int) -> bool:
    """Set the clock of `board` to `ms` of `day` since 1970-01-01 UTC; return True if the durable state changed."""
    known = board.clock.wall_known
    left_s = board.facts.schedule_s
    off_ms = board.clock.wall_error_ms(day, ms)
    board.clock.set_wall(day, ms)
    if known and off_ms < WALL_ERROR_MS:
        return False
    board.journal.append(events.TIME_SET, NO_NODE, 0, 1 if known else 0, off_ms if known else 0)
    if not known or board.state.schedule_node == NO_NODE:
        return False
    # "In a minute" stays a minute: the schedule was given as a time from then, and only kept in wall time.
    board.filler.note_schedule(max(0, left_s))
    return True
