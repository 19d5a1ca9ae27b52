"""The store: opens the database, hands out transactions, and turns its faults into errors with a next step.

A write is one transaction under one lock; what `write` returned from is on the disk (SQLite: WAL, synchronous FULL),
and what raised has changed nothing, so a full disk costs time and never a record. It knows no tables' meaning: archive,
outbox and query do. Several processes may read while one monitor writes; a second monitor on the same file is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event as hooks
from sqlalchemy import exc

from heartwire.errors import BadConfig, PortBusy, StorageProblem
from heartwire.extras import install_hint
from heartwire.monitor import schema

BUSY_S = 10.0
LOCKS = Path("/proc/locks")
# What SQLite keeps beside its file.
BESIDE = ("-wal", "-shm")
_READ_ONLY_WORDS = ("readonly", "read-only")
_FULL_WORDS = ("full", "no space")
_DAMAGED_WORDS = ("malformed", "not a database", "corrupt")


def now_ms() -> int:
    """Return the wall time in ms since 1970 UTC; for records, never for deadlines."""
    return time.time_ns() // 1_000_000


def with_driver(url: str) -> str:
    """Return a store's URL with the driver that the extra `postgresql` brings, where it names PostgreSQL and none."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if separator and scheme in ("postgresql", "postgres") else url


def driver_problem(url: str) -> str:
    """Return why a store at `url` cannot be opened here, without showing it; "" if the driver is at hand."""
    try:
        dialect = sqlalchemy.make_url(with_driver(url)).get_dialect()
        dialect.import_dbapi()
    except exc.ArgumentError:  # of a kind that SQLAlchemy does not know, too
        return "not a store that can be opened: a file, or a URL such as postgresql://user@host/heartwire"
    except ModuleNotFoundError as error:
        hint = f": {install_hint('postgresql')}" if error.name == "psycopg" else ""
        return f"its driver {error.name} is not installed{hint}"
    return ""


class Store:
    """An open store. Use as a context manager, or close() it."""

    def __init__(self, engine: sqlalchemy.Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self._lock = threading.RLock()
        self._claim: int | None = None

    @classmethod
    def open(cls, where: str | Path, *, name: str | None = None, create: bool = True) -> Store:
        """Open the SQLite file or SQLAlchemy URL `where`; `name` is what errors call it (a URL may hold a password).

        With `create` False it only reads. Raises StorageProblem, BadConfig.
        """
        text = str(where)
        path = None if "://" in text else Path(text)
        label = name or text
        if path is not None:
            if create:
                _make_folder(path)
            elif not path.exists():
                raise StorageProblem(f"{label}: there is no store", "name it with --store, or start the monitor first")
        try:
            options: dict[str, Any] = {"connect_args": {"timeout": BUSY_S}} if path is not None else {}
            url = sqlalchemy.URL.create("sqlite", database=str(path)) if path is not None else with_driver(text)
            engine = sqlalchemy.create_engine(url, **options)
        except (exc.ArgumentError, exc.NoSuchModuleError, ModuleNotFoundError):
            words = driver_problem(text) or "not a store that can be opened"
            raise BadConfig(f"{label}: {words}", "give a file or an SQLAlchemy URL") from None
        if engine.dialect.name == "sqlite":
            _tune_sqlite(engine, writer=create)
        store = cls(engine, label)
        try:
            store._prepare(create)
        except BaseException:
            store.close()
            raise
        if path is not None and create:
            with contextlib.suppress(OSError):
                path.chmod(0o640)
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and give the claim back."""
        self.engine.dispose()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def claim(self) -> None:
        """Be the one monitor of this store until close(). Raises PortBusy if another one is."""
        if self.engine.dialect.name == "sqlite" and self.engine.url.database:
            self._claim = _claim(Path(self.engine.url.database), self.name)

    @staticmethod
    def claimed(path: Path) -> Claim:
        """Keep every monitor from the store at `path`, which need not be whole, until it is closed. Raises PortBusy."""
        return Claim(_claim(path, str(path)))

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlalchemy.Connection]:
        """Give one transaction that is committed at the end, or rolled back by any exception. Raises StorageProblem."""
        with self._lock, self._faults(), self.engine.begin() as connection:
            yield connection

    def noted(self, name: str) -> str | None:
        """Return what was noted under a name, None for nothing. Raises StorageProblem."""
        about = schema.about.c
        with self.read() as connection:
            return connection.scalar(sqlalchemy.select(about.value).where(about.name == name))

    def note(self, name: str, value: str) -> None:
        """Note a value under a name of at most 32 characters, for the next start. Raises StorageProblem."""
        about = schema.about
        with self.write() as connection:
            changed = connection.execute(sqlalchemy.update(about).where(about.c.name == name).values(value=value))
            if not changed.rowcount:
                connection.execute(sqlalchemy.insert(about), {"name": name, "value": value})

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlalchemy.Connection]:
        """Give a connection for reading one state of the store. Raises StorageProblem."""
        options = {"heartwire_reads": True}
        with self._faults(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except exc.IntegrityError:
            raise
        except exc.DBAPIError as error:
            raise self._problem(error) from None

    def _problem(self, error: exc.DBAPIError) -> StorageProblem:
        words = str(error.orig).splitlines()[0] if error.orig and str(error.orig) else "the database failed"
        lower = words.lower()
        if any(word in lower for word in _FULL_WORDS):
            step = "make room on its disk; the boards keep their journals, and nothing is taken from them meanwhile"
        elif any(word in lower for word in _READ_ONLY_WORDS):
            step = "remount its disk for writing, or check the owner; nothing is taken from the boards meanwhile"
        elif any(word in lower for word in _DAMAGED_WORDS):
            step = "stop the monitor, then `heartwire monitor mend` sets it aside and keeps what can be read of it"
        elif "locked" in lower:
            step = "another program holds the store; end it, or wait"
        else:
            step = "check its disk; nothing is taken from the boards meanwhile"
        if self.engine.url.password:
            # A driver may quote the address it connected to: never show it.
            words = "the database failed"
        return StorageProblem(f"{self.name}: {words}", step)

    def _prepare(self, create: bool) -> None:
        if create:
            with self.write() as connection:
                schema.metadata.create_all(connection)
                for table in schema.metadata.sorted_tables:
                    for index in sorted(table.indexes, key=lambda index: str(index.name)):
                        index.create(connection, checkfirst=True)  # a store of before may lack one
                found = connection.scalar(
                    sqlalchemy.select(schema.about.c.value).where(schema.about.c.name == "version")
                )
                if found is None:
                    row = {"name": "version", "value": str(schema.VERSION)}
                    connection.execute(sqlalchemy.insert(schema.about), row)
                    return
        else:
            with self.read() as connection:
                if not sqlalchemy.inspect(connection).has_table("about"):
                    raise StorageProblem(f"{self.name}: this is no store of a monitor", "name another file")
                found = connection.scalar(
                    sqlalchemy.select(schema.about.c.value).where(schema.about.c.name == "version")
                )
        if found != str(schema.VERSION):
            raise StorageProblem(
                f"{self.name}: the store has version {found}, this heartwire knows {schema.VERSION}",
                "use the heartwire that wrote it, or start a new store",
            )


class Claim:
    """A claim on a store that is not open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Give it back."""
        os.close(self._descriptor)


def is_claimed(path: Path) -> bool | None:
    """Tell whether a monitor has the store at `path`; None if the kernel does not tell.

    To try the lock would keep a monitor that starts in that moment from it, so the kernel's list is read: proc(5).
    """
    try:
        inode = Path(f"{path}.monitor").stat().st_ino
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return None
    return any(words[1:4:2] == ["FLOCK", "WRITE"] and words[5].endswith(f":{inode}") for words in map(str.split, lines))


def _claim(path: Path, name: str) -> int:
    """Return the locked descriptor of the file beside the store. Raises PortBusy, StorageProblem."""
    beside = f"{path}.monitor"
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StorageProblem(f"{beside}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise PortBusy(f"{name}: another monitor writes this store", "stop the other monitor first") from None
    return descriptor


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageProblem(f"{path.parent}: {error.strerror}") from None


def _tune_sqlite(engine: sqlalchemy.Engine, *, writer: bool) -> None:
    """Make commits durable and transactions begin where they are asked for, on each new connection."""

    @hooks.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the module must not begin transactions on its own
        cursor = connection.cursor()
        if writer:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-8000")
        cursor.close()

    @hooks.listens_for(engine, "begin")
    def begun(connection: sqlalchemy.Connection) -> None:
        reads = not writer or connection.get_execution_options().get("heartwire_reads")
        # A write that begins as a read may find the store changed when it first writes, and fails then.
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
