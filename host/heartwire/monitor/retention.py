"""What of the store is too old or too much, table by table; removed in small portions, so that collecting never waits.

Nothing goes that somebody is still to be told. What counters have shown is added up before its rows go, so that they
never fall. A clock that jumped ahead removes nothing that the newest event does not make old. Called by archive.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, update

from heartwire.monitor import postgresql, schema
from heartwire.monitor.colleagues import colleagues
from heartwire.monitor.store import Store, now_ms
from heartwire_protocol import codes
from heartwire_protocol.events import EVENTS

# Rows removed in one transaction, so that collecting never waits long for housekeeping.
PORTION = 2000
DAY_MS = 86_400_000
ALARM_DAYS = 3650
ALARM = codes.SEVERITIES.index("alarm")
COUNTED = [row[0] for row in EVENTS if row[1] in schema.RELAY_EVENTS]
# Table -> what bounds it; a test holds that none is missing.
RULES = {
    "about": "a row for each name",
    "board": "a board without events that was not reached for `days` goes",
    "look": "older than `days`",
    "event": "older than `days`, alarms than `alarm_days`; at most `events` a board, and as many alarms",
    "observation": "older than `days`, alarms than `alarm_days`; at most `events`",
    "problem": "closed before `days`; open ones are at most one a board, kind and node",
    "mention": "with its message; told by the other monitor, or of a channel that is no more, before `days`",
    "message": "sent before `days`; of a channel that is no more, made before `days`",
    "monitor": "not seen for `days`",
    "relay_total": "a row a board, node and kind of relay event; goes with its board",
}
event, observation, problem = schema.event.c, schema.observation.c, schema.problem.c
mention, message, board, total = schema.mention.c, schema.message.c, schema.board.c, schema.relay_total.c


def sweep(store: Store, days: int, events: int, alarm_days: int, channels: Collection[str]) -> int:
    """Remove a portion of what is too old or too much; return how many rows went. Raises StorageProblem."""
    with store.read() as connection:
        # What other monitors of this store serve is theirs.
        channels = {*channels, *(name for one in colleagues(store, connection) for name in one.channels)}
        newest = connection.scalar(select(func.max(event.at_ms))) or 0
        today_ms = min(now_ms(), newest + DAY_MS)
        old_ms, alarm_ms = today_ms - days * DAY_MS, today_ms - alarm_days * DAY_MS
        doomed = _old_events(connection, old_ms, alarm_ms) | _surplus_events(connection, events)
        seen = _old_observations(connection, old_ms, alarm_ms, events)
    gone = _remove_events(store, sorted(doomed)[:PORTION]) if doomed else 0
    with store.write() as connection:
        postgresql.take_turn(connection)
        gone += _remove_told(connection, old_ms, channels)
        gone += _remove_observations(connection, sorted(seen)[:PORTION])
        gone += _remove(connection, schema.problem, problem.id, problem.closed_ms < old_ms)
        gone += connection.execute(delete(schema.look).where(schema.look.c.day < old_ms // DAY_MS)).rowcount
        gone += _remove_boards(connection, old_ms)
        gone += connection.execute(delete(schema.monitor).where(schema.monitor.c.seen_ms < old_ms)).rowcount
    return gone


def _old_events(connection: Connection, old_ms: int, alarm_ms: int) -> set[int]:
    old = or_(and_(event.at_ms < old_ms, event.severity < ALARM), event.at_ms < alarm_ms)
    return set(connection.scalars(select(event.id).where(old).order_by(event.at_ms).limit(PORTION)))


def _surplus_events(connection: Connection, events: int) -> set[int]:
    """Return events of boards that have more than `events`, and alarms of those that have more than so many of them."""
    doomed: set[int] = set()
    for board_id in connection.scalars(select(board.board_id)).all():
        for counted, goes in (
            (event.severity >= 0, event.severity < ALARM),
            (event.severity >= ALARM, event.severity >= ALARM),
        ):
            last_over = connection.execute(
                select(event.journal, event.sequence)
                .where(event.board_id == board_id, counted)
                .order_by(event.journal.desc(), event.sequence.desc())
                .offset(events)
                .limit(1)
            ).one_or_none()
            if last_over is not None:
                older = (event.journal < last_over.journal) | (
                    (event.journal == last_over.journal) & (event.sequence <= last_over.sequence)
                )
                over = select(event.id).where(event.board_id == board_id, older, goes)
                doomed |= set(connection.scalars(over.order_by(event.journal, event.sequence).limit(PORTION)))
    return doomed


def _old_observations(connection: Connection, old_ms: int, alarm_ms: int, most: int) -> set[int]:
    old = or_(and_(observation.at_ms < old_ms, observation.severity < ALARM), observation.at_ms < alarm_ms)
    doomed = set(connection.scalars(select(observation.id).where(old).order_by(observation.id).limit(PORTION)))
    last_over = connection.scalar(select(observation.id).order_by(observation.id.desc()).offset(most).limit(1))
    if last_over is not None:
        over = select(observation.id).where(observation.id <= last_over).order_by(observation.id).limit(PORTION)
        doomed |= set(connection.scalars(over))
    return doomed


def _untold(connection: Connection, column: object, numbers: Sequence[int]) -> set[int]:
    """Return those of `numbers` that a mention which is not told names in `column`."""
    open_ = (mention.state == "waiting") | mention.message_id.in_(select(message.id).where(message.state != "sent"))
    return set(connection.scalars(select(column).where(column.in_(numbers), open_)))  # type: ignore[call-overload,attr-defined]


def _remove_events(store: Store, numbers: Sequence[int]) -> int:
    gone = 0
    with store.write() as connection:
        postgresql.take_turn(connection)
        for at in range(0, len(numbers), 500):
            part = numbers[at : at + 500]
            held = _untold(connection, mention.event_id, part)
            part = [number for number in part if number not in held]
            _add_up(connection, part)
            connection.execute(delete(schema.event).where(event.id.in_(part)))
            gone += len(part)
    return gone


def _add_up(connection: Connection, numbers: Sequence[int]) -> None:
    """Count what goes of relay events."""
    rows = connection.execute(
        select(event.board_id, event.node, event.event, func.count())
        .where(event.id.in_(numbers), event.event.in_(COUNTED))
        .group_by(event.board_id, event.node, event.event)
    ).all()
    for board_id, node, kind, count in rows:
        changed = connection.execute(
            update(schema.relay_total)
            .where(total.board_id == board_id, total.node == node, total.event == kind)
            .values(count=total.count + count)
        ).rowcount
        if not changed:
            row = {"board_id": board_id, "node": node, "event": kind, "count": count}
            connection.execute(insert(schema.relay_total), row)


def _remove_told(connection: Connection, old_ms: int, channels: Collection[str]) -> int:
    """Remove messages that were sent long ago or are for a channel that is no more, and the mentions that are done."""
    done = or_(
        and_(message.state == "sent", message.sent_ms < old_ms),
        and_(message.channel.not_in(channels), message.made_ms < old_ms),
    )
    numbers = list(connection.scalars(select(message.id).where(done).order_by(message.id).limit(500)))
    gone = 0
    if numbers:
        gone += connection.execute(delete(schema.mention).where(mention.message_id.in_(numbers))).rowcount
        gone += connection.execute(delete(schema.message).where(message.id.in_(numbers))).rowcount
    elsewhere = and_(
        mention.message_id.is_(None),
        mention.at_ms < old_ms,
        or_(mention.state.in_(("covered", "ceded")), mention.channel.not_in(channels)),
    )
    return gone + _remove(connection, schema.mention, mention.id, elsewhere)


def _remove_observations(connection: Connection, numbers: Sequence[int]) -> int:
    gone = 0
    for at in range(0, len(numbers), 500):
        part = numbers[at : at + 500]
        held = _untold(connection, mention.observation_id, part)
        gone += connection.execute(
            delete(schema.observation).where(observation.id.in_([number for number in part if number not in held]))
        ).rowcount
    return gone


def _remove_boards(connection: Connection, old_ms: int) -> int:
    empty = ~exists().where(event.board_id == board.board_id)
    gone = list(connection.scalars(select(board.board_id).where(board.reached_ms < old_ms, empty).limit(100)))
    if gone:
        connection.execute(delete(schema.relay_total).where(total.board_id.in_(gone)))
        connection.execute(delete(schema.look).where(schema.look.c.board_id.in_(gone)))
        connection.execute(delete(schema.problem).where(problem.board_id.in_(gone)))
        connection.execute(delete(schema.board).where(board.board_id.in_(gone)))
    return len(gone)


def _remove(connection: Connection, table: object, number: object, wanted: object) -> int:
    """Remove a portion of the rows of `table`, whose key is `number`, that are as `wanted`."""
    rows = list(connection.scalars(select(number).where(wanted).limit(500)))  # type: ignore[call-overload]
    if rows:
        connection.execute(delete(table).where(number.in_(rows)))  # type: ignore[arg-type,attr-defined]
    return len(rows)
