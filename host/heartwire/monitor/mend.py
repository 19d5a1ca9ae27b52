"""The way back from a damaged SQLite store: set it aside, keep what can be read, let the boards fill the rest again.

Records are on the boards. Each known board is read from its beginning once more, told of nothing that the old store
says was read; so nothing is lost that a board still has, and nobody hears anything twice. The damaged file stays, under
another name. Nothing is done while a monitor runs, and the damaged store stays in its place until the new one is whole:
a full disk or Ctrl-C changes nothing. Called by `heartwire monitor mend`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, case, func, insert, select, update

from heartwire.errors import StorageProblem
from heartwire.monitor import schema
from heartwire.monitor.store import BESIDE, Store, now_ms
from heartwire_protocol import records

PORTION = 500


@dataclass(frozen=True)
class Mended:
    """Where the damaged store is now, and how many rows of each table were kept."""

    aside: Path
    kept: dict[str, int]
    cut_short: tuple[str, ...]  # tables whose rows could not all be read


def damage(path: Path) -> str:
    """Return what SQLite says is wrong with the file, "" if nothing is. Raises StorageProblem if it cannot be read."""
    if not path.is_file():
        raise StorageProblem(f"{path}: there is no store", "name it with --config, or start the monitor first")
    try:
        with contextlib.closing(_open(path)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == ["ok"] else found[0].splitlines()[-1]


def _open(path: Path) -> sqlite3.Connection:
    """Open a file for reading only."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def mend(path: Path) -> Mended:
    """Set the store at `path` aside and put a new one with what can be read of it in its place, once that is whole.

    Raises StorageProblem, PortBusy if a monitor runs; then nothing was changed.
    """
    with contextlib.closing(Store.claimed(path)):
        aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        if aside.exists():
            raise StorageProblem(f"{aside}: is there already", "wait a second and repeat the command")
        fresh = path.with_name(f"{path.name}.new")
        _remove(fresh)  # of a command that was killed
        try:
            kept, cut_short = _fill(fresh, path)
            _exchange(path, aside, fresh)
        except OSError as error:
            raise StorageProblem(f"{path}: {error.strerror}", "make room there, or look after its disk") from None
        finally:
            _remove(fresh)
    return Mended(aside, kept, cut_short)


def _fill(fresh: Path, damaged: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Make the store `fresh` of what can be read of `damaged`; return rows kept by table, and tables cut short."""
    kept: dict[str, int] = {}
    cut_short = []
    with Store.open(fresh) as store:
        for table in schema.metadata.sorted_tables:
            kept[table.name], whole = _copy(damaged, store, table)
            if not whole:
                cut_short.append(table.name)
        with store.write() as connection:
            # From the beginning, and silently up to where it was: what is stored is left out by its constraint.
            board = schema.board.c
            read = case((board.history > board.cursor, board.history), else_=board.cursor)
            connection.execute(update(schema.board).where(board.cursor > 0).values(history=read, cursor=0))
    return kept, tuple(cut_short)


def _exchange(path: Path, aside: Path, fresh: Path) -> None:
    """Move the store at `path` to `aside` and `fresh` into its place; cut anywhere, there is a store at `path`."""
    stat = path.stat()
    with contextlib.suppress(PermissionError):
        os.chown(fresh, stat.st_uid, stat.st_gid)
    os.link(path, aside)
    for ending in BESIDE:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{ending}").rename(f"{aside}{ending}")
    fresh.replace(path)


def _remove(store: Path) -> None:
    for ending in ("", *BESIDE):
        Path(f"{store}{ending}").unlink(missing_ok=True)


def _copy(damaged: Path, store: Store, table: Table) -> tuple[int, bool]:
    """Copy the rows of one table that can be read, from both ends; return how many, and whether that is all."""
    whole = True
    for newest_first in (False, True):
        rows: list[dict[str, Any]] = []
        try:
            for row in _rows(damaged, table, newest_first=newest_first):
                if not _is_sound(table, row):
                    whole = False
                    continue
                rows.append(row)
                if len(rows) == PORTION:
                    _keep(store, table, rows)
                    rows = []
        except sqlite3.DatabaseError:
            whole = False
        _keep(store, table, rows)
        if whole:
            break
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0, whole


def _is_sound(table: Table, row: dict[str, Any]) -> bool:
    """Tell whether a row holds what the code trusts it to hold."""
    if table is schema.event:
        return isinstance(row["raw"], bytes) and records.is_whole(row["raw"])
    if table is schema.board:
        try:
            return isinstance(json.loads(row["labels"]), dict)
        except (ValueError, TypeError):
            return False
    return True


def _rows(damaged: Path, table: Table, *, newest_first: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in the damaged file. Raises sqlite3.DatabaseError where it cannot be read on."""
    with contextlib.closing(_open(damaged)) as connection:
        there = {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table.name})")}
        names = [column.name for column in table.columns if column.name in there]
        if not names:
            return
        quoted = ", ".join(f'"{name}"' for name in names)
        order = " ORDER BY rowid DESC" if newest_first else " ORDER BY rowid"
        for row in connection.execute(f"SELECT {quoted} FROM {table.name}{order}"):  # noqa: S608 - names of ours
            yield dict(zip(names, row, strict=True))


def _keep(store: Store, table: Table, rows: list[dict[str, Any]]) -> None:
    """Store rows; those that break a constraint, or are there already, are left out."""
    if not rows:
        return
    with store.write() as connection:
        if table is schema.event:
            # A board whose own row is lost is met anew: what its journal holds then is history.
            ids = sorted({row["board_id"] for row in rows})
            boards = [{"board_id": number, "name": number, "reached_ms": now_ms()} for number in ids]
            connection.execute(insert(schema.board).prefix_with("OR IGNORE"), boards)
        connection.execute(insert(table).prefix_with("OR IGNORE"), rows)
