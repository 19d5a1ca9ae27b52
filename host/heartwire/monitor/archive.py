"""From pages of a board's journal to rows: each record once, the cursor with them, mentions with them, or nothing.

A page is one transaction. Records that are there already are left out, so pages may be read twice or by two ways; a
journal that was started anew gets a number of its own, so that its sequences do not meet the old ones. It never judges
a chain (chain.ChainChecker does, in collect) and never talks to a board. Called by collect; retention by housekeeping.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from heartwire import dating, journal
from heartwire.errors import StorageProblem
from heartwire.journal import Entry
from heartwire.monitor import advice, planned, postgresql, retention, schema
from heartwire.monitor.looks import Sum
from heartwire.monitor.routing import Router, Subject, key_of
from heartwire.monitor.store import Store, now_ms
from heartwire_protocol import codes, records

RINGS = codes.RINGS
# So many other boards' records may have taken a lost one's place.
PLACES = 50
# As many records a board may have written without the time before somebody set it.
UNDATED = 5000


@dataclass(frozen=True)
class Known:
    """A board as the store knows it; `chains` holds the chain value that each ring must continue from."""

    board_id: str
    name: str
    boot: int
    journal: int
    cursor: int
    chains: Mapping[str, bytes] = field(default_factory=dict)
    history: int = 0  # records up to this sequence were there before the board was met: nobody is told


@dataclass(frozen=True)
class Observed:
    """Something the monitor noticed, to be kept and perhaps told; `first` to `last` are sequences."""

    kind: str
    words: str
    first: int = 0
    last: int = 0


class StoreChanged(StorageProblem):
    """The store is not as its reader left it: put back, or written by another monitor of the same board."""

    default_next = "the board is read from there; nothing is to be done"


class Archive:
    """Writes what boards say into a store."""

    def __init__(self, store: Store, router: Router) -> None:
        self.store = store
        self.router = router

    def meet(self, board_id: str, name: str) -> Known:
        """Return the board `board_id`, new or known, under its current name. Raises StorageProblem."""
        boards = schema.board
        with self.store.write() as connection:
            postgresql.take_turn(connection)
            row = connection.execute(select(boards).where(boards.c.board_id == board_id)).one_or_none()
            if row is None:
                connection.execute(insert(boards), {"board_id": board_id, "name": name, "reached_ms": now_ms()})
                return Known(board_id, name, 0, 1, 0)
            if row.name != name:
                connection.execute(update(boards).where(boards.c.board_id == board_id).values(name=name))
            known = Known(board_id, name, row.boot, row.journal, row.cursor, history=row.history)
            return replace(known, chains=_chains(connection, known))

    def knows(self, board_id: str) -> bool:
        """Tell whether the store has a board of that id."""
        with self.store.read() as connection:
            wanted = select(schema.board.c.board_id).where(schema.board.c.board_id == board_id)
            return connection.scalar(wanted) is not None

    def record_at(self, known: Known) -> bytes | None:
        """Return the raw record at the cursor, or None if it is not kept."""
        event = schema.event.c
        with self.store.read() as connection:
            return connection.scalar(
                select(event.raw).where(
                    event.board_id == known.board_id,
                    event.journal == known.journal,
                    event.sequence == known.cursor,
                )
            )

    def named(self, name: str) -> Known:
        """Return the board that was last met under `name`, or a stand-in for one that never was."""
        boards = schema.board
        with self.store.read() as connection:
            row = connection.execute(
                select(boards).where(boards.c.name == name).order_by(boards.c.reached_ms.desc()).limit(1)
            ).one_or_none()
        if row is None:
            return Known(f"?{name}"[:16], name, 0, 0, 0)
        return Known(row.board_id, name, row.boot, row.journal, row.cursor, history=row.history)

    def is_open(self, board_id: str, kind: str) -> bool:
        """Tell whether a problem of this kind stands open."""
        problem = schema.problem.c
        wanted = select(problem.id).where(
            problem.board_id == board_id, problem.kind == kind, problem.closed_ms.is_(None)
        )
        with self.store.read() as connection:
            return connection.scalar(wanted.limit(1)) is not None

    def is_maintained(self, known: Known) -> bool:
        """Tell whether somebody has put the whole board into maintenance, as for an update of its firmware."""
        with self.store.read() as connection:
            found = planned.Journal(connection, known.board_id, known.journal)
            return planned.board_is_maintained(found, now_ms())

    def label(self, known: Known, labels: Mapping[str, str]) -> None:
        """Keep what people call the nodes. Raises StorageProblem."""
        with self.store.write() as connection:
            boards = schema.board
            connection.execute(
                update(boards).where(boards.c.board_id == known.board_id).values(labels=json.dumps(dict(labels)))
            )

    def add(
        self,
        known: Known,
        entries: Sequence[tuple[Entry, int]],
        observed: Sequence[Observed] = (),
        *,
        cursor: int | None = None,
        new_journal: bool = False,
        boot: int | None = None,
        history: int | None = None,
    ) -> tuple[Known, int, int]:
        """Keep (entry, time in ms) pairs and observations, and move the cursor; all of it or nothing.

        `cursor`, `boot` and `history` set what the store knows of the board beyond what the entries say.

        Returns the board as it is known now, how many events were new, and how many mentions wait. Raises
        StorageProblem: then nothing happened, and the same page may be offered again.
        """
        later = known
        if new_journal:
            later = replace(known, journal=known.journal + 1, cursor=0, boot=0, history=0)
        if boot is not None:
            later = replace(later, boot=boot)
        if history is not None:
            later = replace(later, history=history)
        for entry, _ in entries:
            later = replace(later, cursor=max(later.cursor, entry.sequence), boot=max(later.boot, entry.boot))
        if cursor is not None:
            later = replace(later, cursor=cursor)
        waiting = 0
        with self.store.write() as connection:
            postgresql.take_turn(connection)
            later = replace(later, cursor=max(later.cursor, self._unchanged(connection, known, later)))
            waiting += self._observe(connection, later, observed)
            fresh = _unknown(connection, later, entries)
            for entry, at_ms in fresh:
                waiting += self._keep(connection, later, entry, at_ms)
            _date_anew(connection, later, [entry for entry, _ in fresh])
            connection.execute(
                update(schema.board)
                .where(schema.board.c.board_id == known.board_id)
                .values(
                    boot=later.boot,
                    journal=later.journal,
                    cursor=later.cursor,
                    history=later.history,
                    reached_ms=now_ms(),
                )
            )
        return later, len(fresh), waiting

    def count(self, known: Known, sums: Sequence[Sum]) -> None:
        """Add looks at heartbeats to those of today. Raises StorageProblem: then nothing was added."""
        look = schema.look.c
        day = now_ms() // retention.DAY_MS
        with self.store.write() as connection:
            postgresql.take_turn(connection)
            for item in sums:
                key = {
                    "board_id": known.board_id,
                    "node": codes.NODES.index(item.node),
                    "day": day,
                    "kind": item.kind,
                    "bound_ms": item.bound_ms,
                }
                row = and_(*[look[name] == value for name, value in key.items()])
                added = connection.execute(update(schema.look).where(row).values(count=look["count"] + item.times))
                if not added.rowcount:
                    connection.execute(insert(schema.look), {**key, "count": item.times})

    def observe(self, known: Known, observed: Observed) -> int:
        """Keep one observation; return how many mentions wait. Raises StorageProblem."""
        with self.store.write() as connection:
            postgresql.take_turn(connection)
            return self._observe(connection, known, (observed,))

    @staticmethod
    def _unchanged(connection: Connection, known: Known, later: Known) -> int:
        """Return the cursor below which a journal that is not new must not go. Raises StoreChanged.

        A store that was restored, or whose server lost what it had taken, has less than its reader believes: what is
        missing would never be read again.
        """
        board = schema.board.c
        wanted = select(board.journal, board.cursor).where(board.board_id == known.board_id)
        row = connection.execute(wanted).one_or_none()
        if row is None or row.journal != known.journal or row.cursor < known.cursor:
            place = "it is gone" if row is None else f"journal {row.journal}, record {row.cursor}"
            words = f"board {known.name} was at journal {known.journal}, record {known.cursor}; in the store: {place}"
            raise StoreChanged(words)
        return int(row.cursor) if later.journal == known.journal else 0

    def _keep(self, connection: Connection, known: Known, entry: Entry, at_ms: int) -> int:
        before = planned.Journal(connection, known.board_id, known.journal)
        severity = planned.severity_of(before, entry, at_ms)
        values = {
            "board_id": known.board_id,
            "journal": known.journal,
            "sequence": entry.sequence,
            "severity": codes.SEVERITIES.index(severity),
            "event": entry.event_number,
            "node": codes.NODES.index(entry.node) if entry.node in codes.NODES else codes.NO_NODE,
            "at_ms": at_ms,
            "raw": entry.raw,
        }
        place = _place(connection, known, entry.sequence) if entry.sequence <= known.history else None
        made = connection.execute(insert(schema.event).values({**values, **({"id": place} if place else {})}))
        key = key_of(known.board_id, entry.raw)
        event_id = made.inserted_primary_key[0] if made.inserted_primary_key else None
        subject = Subject(key, known.board_id, known.name, severity, at_ms, event_id=event_id)
        return self.router.event(connection, subject, entry, quiet=entry.sequence <= known.history)

    def _observe(self, connection: Connection, known: Known, observed: Sequence[Observed]) -> int:
        waiting = 0
        for item in observed:
            severity = advice.OBSERVATIONS[item.kind][0]
            at_ms = now_ms()
            values = {
                "board_id": known.board_id,
                "journal": known.journal,
                "kind": item.kind,
                "severity": codes.SEVERITIES.index(severity),
                "first": item.first,
                "last": item.last,
                "at_ms": at_ms,
                "words": item.words,
            }
            made = connection.execute(insert(schema.observation).values(values))
            number = made.inserted_primary_key[0] if made.inserted_primary_key else 0
            subject = Subject(f"o{number}", known.board_id, known.name, severity, at_ms, observation_id=number)
            waiting += self.router.observation(connection, subject, item.kind)
        return waiting

    def sweep(self, days: int, events: int, alarm_days: int = retention.ALARM_DAYS) -> int:
        """Remove a portion of what is too old or too much, in every table; return how many rows went.

        Raises StorageProblem.
        """
        return retention.sweep(self.store, days, events, alarm_days, self.router.channels)


def _place(connection: Connection, known: Known, sequence: int) -> int | None:
    """Return the free id at which a record that a mended store has lost stood, so that reading keeps its order.

    None where nothing newer of its journal is stored: then it is the newest.
    """
    event = schema.event.c
    ours = and_(event.board_id == known.board_id, event.journal == known.journal)
    columns = select(event.id, event.sequence)
    after = connection.execute(
        columns.where(ours, event.sequence > sequence).order_by(event.sequence).limit(1)
    ).one_or_none()
    if after is None:
        return None
    newest_before = columns.where(ours, event.sequence < sequence).order_by(event.sequence.desc()).limit(1)
    before = connection.execute(newest_before).one_or_none()
    first, last = before.id + 1 if before else 1, after.id - (after.sequence - sequence)
    nearest = range(last, max(first, last - PLACES) - 1, -1)
    taken = set(connection.scalars(select(event.id).where(event.id.in_(nearest))))
    return next((number for number in nearest if number not in taken), None)


def _date_anew(connection: Connection, known: Known, fresh: Sequence[Entry]) -> None:
    """Give what was stored before the clock was known its right time, as soon as a record tells it."""
    for boot, start_ms in dating.starts_in(fresh).items():
        first = next(entry.sequence for entry in fresh if entry.boot == boot and entry.wall is not None)
        if not _undated_before(connection, known, first, 1):
            continue
        rows = _undated_before(connection, known, first, UNDATED)
        entries = [journal.decode(row.raw) for row in rows]
        dates = dating.dates(entries, {boot: start_ms}, [row.at_ms for row in rows])
        for row, at_ms in zip(rows, dates, strict=True):
            if at_ms != row.at_ms:
                connection.execute(update(schema.event).where(schema.event.c.id == row.id).values(at_ms=at_ms))


def _undated_before(connection: Connection, known: Known, sequence: int, limit: int) -> list[Any]:
    """Return the rows without wall time right before `sequence`, at most `limit`, oldest first."""
    event = schema.event.c
    wanted = (
        select(event.id, event.at_ms, event.raw)
        .where(event.board_id == known.board_id, event.journal == known.journal, event.sequence < sequence)
        .order_by(event.sequence.desc())
        .limit(limit)
    )
    found: list[Any] = []
    for row in connection.execute(wanted):
        if journal.decode(row.raw).wall is not None:
            break
        found.append(row)
    return found[::-1]


def _unknown(connection: Connection, known: Known, entries: Sequence[tuple[Entry, int]]) -> list[tuple[Entry, int]]:
    """Leave out what is stored already."""
    if not entries:
        return []
    event = schema.event.c
    stored = set(
        connection.scalars(
            select(event.sequence).where(
                event.board_id == known.board_id,
                event.journal == known.journal,
                event.sequence.in_([entry.sequence for entry, _ in entries]),
            )
        )
    )
    fresh = []
    for entry, at_ms in entries:
        if entry.sequence not in stored:
            stored.add(entry.sequence)
            fresh.append((entry, at_ms))
    return fresh


def _chains(connection: Connection, known: Known) -> dict[str, bytes]:
    """Return the chain value of the newest stored record of each ring, where the cursor says that it was the newest."""
    found: dict[str, bytes] = {}
    event = schema.event.c
    newest = (
        select(event.raw)
        .where(event.board_id == known.board_id, event.journal == known.journal, event.sequence <= known.cursor)
        .order_by(event.sequence.desc())
        .limit(256)
    )
    for raw in connection.scalars(newest):
        try:
            entry = journal.decode(raw)
        except ValueError:
            continue
        if entry.ring not in RINGS:
            break  # an event of a newer version: neither chain can be followed past it
        if entry.ring not in found:
            found[entry.ring] = records.decode(raw)["chain"]
        if len(found) == len(RINGS):
            break
    return found
