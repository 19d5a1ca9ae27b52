"""A store, a fake board, settings and a PostgreSQL server for the tests of the monitor."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from heartwire.monitor.store import Store
from tests.fakes.board import FakeBoard
from tests.postgres import Cluster, data_directory, directory, start_plainly

_numbers = itertools.count(1)


def hasty(store: Store) -> Store:
    """Let a store commit without waiting for the disk, which these tests never take away."""

    def connected(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(store.engine, "connect", connected)
    store.engine.dispose()
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return an empty store."""
    with hasty(Store.open(tmp_path / "monitor.db")) as store:
        yield store


@pytest.fixture
def board() -> FakeBoard:
    """Return a fake board with an empty journal."""
    return FakeBoard()


@pytest.fixture(scope="session")
def cluster_template() -> Iterator[Path]:
    """Return a data directory of PostgreSQL to copy."""
    pytest.importorskip("psycopg", reason="not installed: heartwire[fleet]")
    yield from data_directory()


def new_cluster(template: Path) -> Iterator[Cluster]:
    """Yield a running server."""
    folder = directory()
    cluster = Cluster(folder, folder / "data", 5600, start_plainly)
    try:
        cluster.run("cp", "-a", str(template), str(cluster.data))
        (cluster.data / "postgresql.auto.conf").open("a").write(cluster.settings())
        cluster.start()
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared_cluster(cluster_template: Path) -> Iterator[Cluster]:
    """Return a server for tests that leave it alone, each with a database of its own."""
    yield from new_cluster(cluster_template)


@pytest.fixture
def cluster(cluster_template: Path) -> Iterator[Cluster]:
    """Return a server that the test may kill."""
    yield from new_cluster(cluster_template)


@pytest.fixture
def database(shared_cluster: Cluster) -> str:
    """Return the URL of an empty database."""
    name = f"hw{next(_numbers)}"
    shared_cluster.sql(f"create database {name}")
    return shared_cluster.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a new store may be, of either kind."""
    if request.param == "sqlite":
        return str(tmp_path / "monitor.db")
    found: str = request.getfixturevalue("database")
    return found
