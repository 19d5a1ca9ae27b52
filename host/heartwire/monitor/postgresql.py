"""What is special about a store on a PostgreSQL server: how it is reached, who waits for whom, how long anything lasts.

A server that is gone, restarts or hangs costs a statement its bound, never a thread. Every function does nothing on a
connection to SQLite, whose one writer at a time needs none of it. Called by store, migrate, archive, retention and
copying.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import Connection, text

DIALECT = "postgresql"
# Advisory locks: any numbers that no other program on this database uses; "heartwire" in ASCII, and what for.
STEPS_LOCK = (0x68656172, 1)
RECORDS_LOCK = (0x68656172, 2)
# Seconds to reach the server.
CONNECT_S = 5
# Seconds that a statement, the wait for a lock, and a transaction without a statement may last: longer than any of ours
# on a busy server, short enough that a monitor which hangs keeps nobody.
STATEMENT_S, LOCK_S, IDLE_S = 60, 20, 60
# Connections of one monitor: its boards take turns at writing anyway.
POOL, POOL_MORE, POOL_WAIT_S = 5, 5, 10
# SQLSTATE classes that say that the server is not there, or not ready: connection, shutdown and start-up.
AWAY = ("08", "57P")
# Who is refused a connection gets no SQLSTATE, only words; these mean: later.
LATER = ("starting up", "shutting down", "recovery", "too many clients", "connection slots", "not yet accepting")


def options(name: str) -> dict[str, Any]:
    """Return the arguments of create_engine for a server; `name` is what its list of connections shows."""
    settings = {
        # What was committed is on the server's disk, whatever its configuration says: else a crash takes it back.
        "synchronous_commit": "on",
        "statement_timeout": f"{STATEMENT_S}s",
        "lock_timeout": f"{LOCK_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_S}s",
    }
    arguments = {
        "application_name": name,
        "connect_timeout": CONNECT_S,
        # A server whose host lost power answers nothing: found after keepalives_idle + count * interval.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "options": " ".join(f"-c {key}={value}" for key, value in settings.items()),
    }
    pool = {"pool_size": POOL, "max_overflow": POOL_MORE, "pool_timeout": POOL_WAIT_S, "pool_pre_ping": True}
    return {"connect_args": arguments, "isolation_level": "READ COMMITTED", **pool}


def is_away(error: sqlalchemy.exc.DBAPIError) -> bool:
    """Tell whether an error says that the server is gone, restarts or cannot be reached."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return str(state).startswith(AWAY)
    words = str(error.orig)
    refused = "FATAL" in words and not any(word in words for word in LATER)
    return isinstance(error, sqlalchemy.exc.OperationalError) and not refused


def wait_for_steps(connection: Connection) -> None:
    """Wait until no other monitor changes the tables, however long that takes; held to the end of the transaction."""
    if connection.dialect.name == DIALECT:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        _lock(connection, STEPS_LOCK)


def take_turn(connection: Connection) -> None:
    """Let monitors write records one after the other, to the end of the transaction.

    So that numbers of records become visible in their order: who pages by number leaves none out. Also two monitors
    that read one board never store a record twice.
    """
    if connection.dialect.name == DIALECT:
        _lock(connection, RECORDS_LOCK)


def _lock(connection: Connection, lock: tuple[int, int]) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:group, :what)"), {"group": lock[0], "what": lock[1]})
