"""Reading the store: events by filter, a page at a time, as the entries that `heartwire log` prints.

A page is found by keyset, never by counting rows to skip, so the last of a million events comes as fast as the first.
It writes nothing. Called by the CLI (log, export, timeline) and by whoever explains a decision.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, and_, func, inspect, select

from heartwire import journal
from heartwire.errors import BadConfig, UsageProblem
from heartwire.journal import Entry
from heartwire.monitor import schema
from heartwire.monitor.retention import DAY_MS
from heartwire.monitor.store import Store
from heartwire_protocol import codes, events

PAGE = 1000
event = schema.event.c
total = schema.relay_total.c


@dataclass(frozen=True)
class Filter:
    """Which events; everything that is set must hold."""

    board_id: str = ""
    node: str | None = None
    severity: str | None = None  # this and worse
    event: str | None = None
    since: int | datetime | None = None  # a sequence, or a time
    until: datetime | None = None


@dataclass(frozen=True)
class Found:
    """One stored event."""

    id: int
    board_id: str
    board: str
    journal: int
    at_ms: int
    entry: Entry


@dataclass(frozen=True)
class BoardRow:
    """One board of the store."""

    board_id: str
    name: str
    labels: dict[str, str]
    boot: int
    journal: int
    cursor: int
    reached_ms: int


class Reader:
    """The reading side of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def boards(self) -> list[BoardRow]:
        """Return all boards, by name."""
        with self._store.read() as connection:
            return [
                BoardRow(
                    row.board_id, row.name, json.loads(row.labels), row.boot, row.journal, row.cursor, row.reached_ms
                )
                for row in connection.execute(select(schema.board).order_by(schema.board.c.name))
            ]

    def board(self, name: str | None) -> BoardRow | None:
        """Return the board of this name or id (its beginning is enough); None for None where there are several.

        Raises BadConfig if there is no such board.
        """
        rows = self.boards()
        if name is None:
            return rows[0] if len(rows) == 1 else None
        found = [row for row in rows if row.name == name or row.board_id.startswith(name.upper())]
        if len(found) != 1:
            names = ", ".join(f"{row.name} ({row.board_id})" for row in rows) or "none"
            raise BadConfig(f"{self._store.name}: no board {name!r}", f"boards of this store: {names}")
        return found[0]

    def newest(self, wanted: Filter, limit: int, before: int | None = None) -> list[Found]:
        """Return the newest `limit` events of a filter in order of time; `before` is the id to page on from."""
        rows = _filtered(wanted)
        if before is not None:
            rows = rows.where(event.id < before)
        rows = rows.order_by(event.id.desc()).limit(limit)
        return list(reversed(self._found(rows)))

    def last(self) -> int:
        """Return the id of the newest event, 0 if there is none."""
        with self._store.read() as connection:
            return connection.scalar(select(func.max(event.id))) or 0

    def all(self, wanted: Filter, page: int = PAGE, *, after: int = 0) -> Iterator[Found]:
        """Yield every event of a filter (with an id above `after`), oldest first, holding one page in memory."""
        last = after
        while True:
            found = self._found(_filtered(wanted).where(event.id > last).order_by(event.id).limit(page))
            yield from found
            if len(found) < page:
                return
            last = found[-1].id

    def observations(self, board_id: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest observations of the monitor, oldest first."""
        table = schema.observation
        rows = select(table).order_by(table.c.id.desc()).limit(limit)
        if board_id:
            rows = rows.where(table.c.board_id == board_id)
        with self._store.read() as connection:
            return [dict(row._mapping) for row in reversed(connection.execute(rows).all())]

    def problems(self) -> list[dict[str, Any]]:
        """Return the problems that stand open, oldest first."""
        table = schema.problem
        rows = select(table).where(table.c.closed_ms.is_(None)).order_by(table.c.id)
        with self._store.read() as connection:
            return [dict(row._mapping) for row in connection.execute(rows)]

    def looks(self, board_id: str, since_ms: int = 0) -> dict[tuple[str, str, int], int]:
        """Return the looks at heartbeats of a board by (node, kind, bound in ms), from the day after `since_ms` on.

        Nothing from a store that an older monitor made.
        """
        look = schema.look.c
        first = since_ms // DAY_MS + 1 if since_ms else 0
        wanted = (
            select(look.node, look.kind, look.bound_ms, func.sum(look["count"]))
            .where(look.board_id == board_id, look.day >= first)
            .group_by(look.node, look.kind, look.bound_ms)
        )
        with self._store.read() as connection:
            if not inspect(connection).has_table(schema.look.name):
                return {}
            return {
                (codes.name_of(codes.NODES, node), kind, bound_ms): int(count)
                for node, kind, bound_ms, count in connection.execute(wanted)
            }

    def count(self) -> int:
        """Return the number of events."""
        with self._store.read() as connection:
            return connection.scalar(select(func.count()).select_from(schema.event)) or 0

    def relay_events(self, names: Sequence[str]) -> dict[tuple[str, str, str], int]:
        """Return how often each of the events `names` was ever stored, by board name, node and event."""
        numbers = {row[0]: row[1] for row in events.EVENTS if row[1] in names}
        rows = (
            select(schema.board.c.name, event.node, event.event, func.count())
            .join_from(schema.event, schema.board, event.board_id == schema.board.c.board_id)
            .where(event.event.in_(numbers))
            .group_by(schema.board.c.name, event.node, event.event)
        )
        removed = select(schema.board.c.name, total.node, total.event, total.count).join_from(
            schema.relay_total, schema.board, total.board_id == schema.board.c.board_id
        )
        found: dict[tuple[str, str, str], int] = {}
        with self._store.read() as connection:
            for name, node, kind, count in connection.execute(rows.union_all(removed)):  # one look: never counted twice
                if kind in numbers:
                    key = (name, codes.name_of(codes.NODES, node) if node != codes.NO_NODE else "", numbers[kind])
                    found[key] = found.get(key, 0) + count
        return found

    def _found(self, rows: Select[Any]) -> list[Found]:
        names = {row.board_id: row.name for row in self.boards()}
        with self._store.read() as connection:
            return [
                Found(
                    row.id,
                    row.board_id,
                    names.get(row.board_id, row.board_id),
                    row.journal,
                    row.at_ms,
                    _judged(journal.decode(row.raw), row.at_ms, row.severity),
                )
                for row in connection.execute(rows)
            ]


def _judged(entry: Entry, at_ms: int, severity: int) -> Entry:
    """Return an entry with what the monitor knows better: when it was, where the board did not know the time, and how
    much it matters, where it was meant.
    """
    wall = entry.wall or datetime.fromtimestamp(at_ms / 1000, UTC)
    return replace(entry, wall=wall, severity=codes.SEVERITIES[severity])


def _filtered(wanted: Filter) -> Select[Any]:
    rows = select(event.id, event.board_id, event.journal, event.at_ms, event.severity, event.raw)
    conditions = []
    if wanted.board_id:
        conditions.append(event.board_id == wanted.board_id)
    if wanted.node is not None:
        conditions.append(event.node == codes.NODES.index(wanted.node))
    if wanted.severity is not None:
        conditions.append(event.severity >= codes.SEVERITIES.index(wanted.severity))
    if wanted.event is not None:
        conditions.append(event.event == number_of(wanted.event))
    if isinstance(wanted.since, int):
        conditions.append(event.sequence >= wanted.since)
    if isinstance(wanted.since, datetime):
        conditions.append(event.at_ms >= _ms(wanted.since))
    if wanted.until is not None:
        conditions.append(event.at_ms <= _ms(wanted.until))
    return rows.where(and_(*conditions)) if conditions else rows


def number_of(name: str) -> int:
    """Return the number of an event by name. Raises UsageProblem with the nearest names."""
    for row in events.EVENTS:
        if row[1] == name:
            return int(row[0])
    import difflib  # noqa: PLC0415 - only for the error

    close = difflib.get_close_matches(name, [row[1] for row in events.EVENTS], 3)
    raise UsageProblem(f"there is no event {name!r}", f"did you mean {' or '.join(close)}?" if close else "see the log")


def _ms(moment: datetime) -> int:
    try:
        return int(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        return 0
