"""Stores that a heartwire from before there were steps of migration made, as SQL: records, problems, messages."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from tests.postgres import Cluster

HERE = Path(__file__).parent


def make_sqlite(path: Path) -> None:
    """Write the SQLite store."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((HERE / "sqlite-1.sql").read_text())


def make_postgresql(cluster: Cluster, database: str) -> None:
    """Fill a database with the PostgreSQL store, which holds the same rows."""
    cluster.sql((HERE / "postgresql-1.sql").read_text(), database)
