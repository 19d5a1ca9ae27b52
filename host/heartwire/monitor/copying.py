"""Copy a whole store into another one that is empty: from an SQLite file to a PostgreSQL server, or back.

In portions, each a transaction, so that it may be cut anywhere and repeated: it goes on where it was, as long as no
monitor has worked on the source since; else the half copy is removed and begun anew. An unfinished copy says so, and
no monitor takes it for a store. The source is only read. Called by `heartwire monitor copy-store`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, insert, select, text, update

from heartwire.errors import PortBusy, StorageProblem
from heartwire.monitor import postgresql, schema
from heartwire.monitor.colleagues import colleagues
from heartwire.monitor.store import COPYING, Store

# Rows of one transaction: some hundred kilobytes.
PORTION = 2000
TABLES = tuple(table for table in schema.metadata.sorted_tables if table is not schema.about)
# Those whose rows the database numbers.
NUMBERED = tuple(table for table in TABLES if "id" in table.c and table is not schema.monitor)
# What the target says of itself.
OWN = ("version", COPYING)
# Table, rows that are there, rows that there will be.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Copied:
    """Rows by table, all of them and those that this call copied."""

    rows: dict[str, int]
    fresh: int


def copy(source: Store, target: Store, progress: Progress = lambda table, done, total: None) -> Copied:
    """Copy `source` into `target`, which `Store.open` with `unfinished` opened; return what is there then.

    Raises StorageProblem, PortBusy if a monitor works on one of them; what was copied by then stays for the next time.
    """
    for store in (source, target):
        _alone(store)
    with source.read() as reading:
        mark = _mark(reading)
        _begin(target, mark)
        rows, fresh = {}, 0
        for table in TABLES:
            total = reading.scalar(select(func.count()).select_from(table)) or 0
            fresh += _copy(reading, target, table, total, progress)
            rows[table.name] = total
        _finish(reading, target, rows)
    return Copied(rows, fresh)


def _alone(store: Store) -> None:
    """Raise PortBusy if a monitor works on a store that many share; one of a file is claimed by who opened it."""
    if store.is_shared:
        with store.read() as connection:
            working = [one.name for one in colleagues(store, connection) if one.at_work]
        if working:
            raise PortBusy(f"{store.name}: a monitor works on it: {', '.join(working)}", "stop it first")


def _mark(source: Connection) -> str:
    """Return what the source is and how far it was written: every monitor changes it when it starts."""
    seen = source.scalar(select(func.max(schema.monitor.c.seen_ms)))
    boards = source.execute(select(schema.board.c.board_id, schema.board.c.reached_ms)).all()
    ends = [source.scalar(select(func.max(table.c.id))) for table in NUMBERED]
    said = json.dumps([seen, sorted([*row] for row in boards), ends])
    return hashlib.sha256(said.encode()).hexdigest()


def _begin(target: Store, mark: str) -> None:
    """Note in the target what is copied into it; remove what was copied of another state. Raises StorageProblem."""
    with target.write() as connection:
        about = schema.about.c
        found = connection.scalar(select(about.value).where(about.name == COPYING))
        if found == mark:
            return
        if found is None:
            used = [table.name for table in TABLES if connection.execute(select(table).limit(1)).first() is not None]
            if used:
                raise StorageProblem(
                    f"{target.name}: is in use already: it has rows in {', '.join(used)}", "name an empty database"
                )
            connection.execute(insert(schema.about), {"name": COPYING, "value": mark})
            return
        for table in reversed(TABLES):
            connection.execute(delete(table))
        connection.execute(update(schema.about).where(about.name == COPYING).values(value=mark))


def _copy(source: Connection, target: Store, table: Table, total: int, progress: Progress) -> int:
    """Copy the rows of a table that the target lacks, in the order of its key; return how many."""
    with target.read() as connection:
        done = began = connection.scalar(select(func.count()).select_from(table)) or 0
    progress(table.name, done, total)
    rows = select(table).order_by(*table.primary_key.columns).offset(done)
    found = source.execute(rows, execution_options={"yield_per": PORTION})
    for part in found.mappings().partitions():
        with target.write() as connection:
            connection.execute(insert(table), [dict(row) for row in part])
        done += len(part)
        progress(table.name, done, total)
    return done - began


def _finish(source: Connection, target: Store, rows: dict[str, int]) -> None:
    """Let the target count on from the source's numbers, and be a store. Raises StorageProblem."""
    said = source.execute(select(schema.about.c.name, schema.about.c.value)).all()
    with target.write() as connection:
        for table in TABLES:
            there = connection.scalar(select(func.count()).select_from(table))
            if there != rows[table.name]:
                raise StorageProblem(
                    f"{target.name}: has {there} rows in {table.name}, not {rows[table.name]}: somebody else wrote it",
                    "empty that database, and repeat the command",
                )
            if table in NUMBERED and target.engine.dialect.name == postgresql.DIALECT:
                connection.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) "  # noqa: S608 - ours
                        f"FROM {table.name} HAVING max(id) IS NOT NULL"
                    )
                )
        connection.execute(delete(schema.about).where(schema.about.c.name != "version"))
        more = [{"name": row.name, "value": row.value} for row in said if row.name not in OWN]
        if more:
            connection.execute(insert(schema.about), more)
