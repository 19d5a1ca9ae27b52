"""The store: opens the database, hands out transactions, and turns its faults into errors with a next step.

A write is one transaction under one lock; what `write` returned from is on the disk (SQLite: WAL, synchronous FULL),
and what raised has changed nothing, so a full disk costs time and never a record. It knows no tables' meaning: archive,
outbox and query do. Several processes may read while one monitor writes; a second monitor on the same file is refused,
on a PostgreSQL server many work. Whoever opens a store for writing brings its tables up to date (migrate). A server
that is away costs each call little: after one failure others fail at once, until it was tried again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event as hooks
from sqlalchemy import exc

from heartwire.errors import BadConfig, PortBusy, StorageProblem, UsageProblem
from heartwire.extras import install_hint
from heartwire.monitor import migrate, postgresql, schema

BUSY_S = 10.0
# A server that was away is tried again after this; meanwhile whoever asks hears so at once.
AWAY_S = 1.0
LOCKS = Path("/proc/locks")
# What `about` has of a copy that is not finished: see copying.
COPYING = "copying"
# What SQLite keeps beside its file.
BESIDE = ("-wal", "-shm")
_READ_ONLY_WORDS = ("readonly", "read-only")
_FULL_WORDS = ("full", "no space")
_DAMAGED_WORDS = ("malformed", "not a database", "corrupt")


def now_ms() -> int:
    """Return the wall time in ms since 1970 UTC; for records, never for deadlines."""
    return time.time_ns() // 1_000_000


def with_driver(url: str) -> str:
    """Return a store's URL with the driver that the extra `fleet` brings, where it names PostgreSQL and none."""
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
        hint = f": {install_hint('fleet')}" if error.name == "psycopg" else ""
        return f"its driver {error.name} is not installed{hint}"
    return ""


class StoreAway(StorageProblem):
    """The server of the store is not there; it may be back soon."""

    default_next = "look at the server; the monitor tries again by itself, and the boards keep their journals meanwhile"


class Store:
    """An open store. Use as a context manager, or close() it."""

    def __init__(self, engine: sqlalchemy.Engine, name: str, *, create: bool, unfinished: bool = False) -> None:
        self.engine = engine
        self.name = name
        self._create = create
        self._unfinished = unfinished
        self._lock = threading.RLock()
        self._claim: int | None = None
        self._ready = False
        # Why the server is away, and when it is tried again, by the monotonic clock.
        self._away = ""
        self._away_until = 0.0

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        name: str | None = None,
        create: bool = True,
        password: str = "",
        patient: bool = False,
        check: bool = True,
        unfinished: bool = False,
    ) -> Store:
        """Open the SQLite file or SQLAlchemy URL `where`; `name` is what errors call it (a URL may hold a password).

        With `create` False it only reads. A `patient` one is open although its server is away: each use tries again.
        Without `check` nothing is asked of it yet; `unfinished` takes one that is not copied to its end.
        Raises StorageProblem, BadConfig.
        """
        text = str(where)
        path = None if "://" in text else Path(text)
        label = name or shown(text)
        if path is not None:
            if create:
                _make_folder(path)
            elif not path.exists():
                raise StorageProblem(f"{label}: there is no store", "name it with --store, or start the monitor first")
        try:
            engine = _engine(text, path, password)
        except (exc.ArgumentError, exc.NoSuchModuleError, ModuleNotFoundError):
            words = driver_problem(text) or "not a store that can be opened"
            raise BadConfig(f"{label}: {words}", "give a file or an SQLAlchemy URL") from None
        if engine.dialect.name == "sqlite":
            _tune_sqlite(engine, writer=create)
        store = cls(engine, label, create=create, unfinished=unfinished)
        try:
            if check:
                store.prepare()
        except StoreAway:
            if not patient:
                store.close()
                raise
        except BaseException:
            store.close()
            raise
        if path is not None and create:
            with contextlib.suppress(OSError):
                path.chmod(0o640)
        return store

    @classmethod
    def named(cls, where: str) -> Store:
        """Open for reading what somebody typed. Raises UsageProblem if that shows a password, else as `open`."""
        refuse_password(where)
        return cls.open(where, create=False)

    @property
    def is_shared(self) -> bool:
        """Whether other monitors may work on it too."""
        return self.engine.dialect.name != "sqlite"

    @property
    def away(self) -> str:
        """Why the server of the store is away, as far as the last use showed; "" if it is not."""
        return self._away

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
        self.prepare()
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
        self.prepare()
        with self._reading() as connection:
            yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlalchemy.Connection]:
        options: dict[str, Any] = {"heartwire_reads": True}
        if self.is_shared:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._faults(), self.engine.connect() as connection:
            yield connection.execution_options(**options)

    def clock_ms(self, connection: sqlalchemy.Connection) -> int:
        """Return the wall time in ms since 1970 UTC that all monitors of this store agree on."""
        if not self.is_shared:
            return now_ms()
        return int(connection.scalar(sqlalchemy.text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)")))

    def revision(self) -> str:
        """Return how far its tables are: see migrate.revision. Raises StorageProblem."""
        with self._reading() as connection:
            return migrate.revision(connection, self.name)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        now_s = time.monotonic()
        if self._away:
            if now_s < self._away_until:
                raise StoreAway(self._away)
            # This one tries; the others fail at once as long as it may take.
            self._away_until = now_s + AWAY_S + postgresql.CONNECT_S
        try:
            yield
            self._away = ""
        except exc.IntegrityError:
            raise
        except exc.DBAPIError as error:
            if self.is_shared and postgresql.is_away(error):
                self._away = f"{self.name}: {self._words(error)}"
                self._away_until = time.monotonic() + AWAY_S
                raise StoreAway(self._away) from None
            raise self._problem(error) from None
        except exc.TimeoutError:
            raise StoreAway(f"{self.name}: no connection became free within {postgresql.POOL_WAIT_S} s") from None

    def _words(self, error: exc.DBAPIError) -> str:
        """Return what the database said, without any password."""
        words = str(error.orig).strip().splitlines()[0] if error.orig and str(error.orig).strip() else ""
        password = self.engine.url.password
        # No driver is known to quote it; one that does shows nothing.
        return words if words and not (password and str(password) in words) else "the database failed"

    def _problem(self, error: exc.DBAPIError) -> StorageProblem:
        words = self._words(error)
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
        return StorageProblem(f"{self.name}: {words}", step)

    def prepare(self) -> None:
        """Bring the tables up to date, or for reading see that they are; once. Raises StorageProblem."""
        if self._ready:
            return
        with self._lock:
            if self._create:
                with self._faults(), self.engine.begin() as connection:
                    migrate.upgrade(connection, self.name)
            else:
                found = self.revision()
                if found == migrate.NOTHING:
                    raise StorageProblem(f"{self.name}: this is no store of a monitor", "name another one")
                if found != migrate.HEAD:
                    raise StorageProblem(
                        f"{self.name}: an older heartwire made this store",
                        "start its monitor, or `heartwire monitor migrate`: all records are kept",
                    )
            if not self._unfinished:
                self._refuse_half_a_copy()
            self._ready = True

    def _refuse_half_a_copy(self) -> None:
        about = schema.about.c
        with self._reading() as connection:
            half = connection.scalar(sqlalchemy.select(about.value).where(about.name == COPYING)) is not None
        if half:
            raise StorageProblem(
                f"{self.name}: a copy into this store has not come to its end",
                "repeat `heartwire monitor copy-store`: it goes on where it was",
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


def refuse_password(where: str) -> None:
    """Raise UsageProblem if a URL that somebody typed holds a password: everybody on this machine can read it."""
    with contextlib.suppress(exc.ArgumentError):
        if "://" in where and sqlalchemy.make_url(where).password is not None:
            raise UsageProblem(
                "a password on the command line is shown to everybody by `ps`",
                "leave it out: --password-file or --config where the command has it, or ~/.pgpass of PostgreSQL",
            )


def shown(where: str) -> str:
    """Return a store's file or URL as it may be shown: without a password."""
    try:
        return sqlalchemy.make_url(where).render_as_string() if "://" in where else where
    except exc.ArgumentError:
        return "the store"


def _engine(text: str, path: Path | None, password: str) -> sqlalchemy.Engine:
    """Return the engine of a store. Raises ArgumentError, NoSuchModuleError, ModuleNotFoundError."""
    if path is not None:
        return sqlalchemy.create_engine(
            sqlalchemy.URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_S}
        )
    url = sqlalchemy.make_url(with_driver(text))
    if password:
        url = url.set(password=password)
    if url.drivername != "postgresql+psycopg":
        return sqlalchemy.create_engine(url)
    return sqlalchemy.create_engine(url, **postgresql.options(f"heartwire-{socket.gethostname()}"[:63]))


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
