"""A store, a fake board and settings for the tests of the monitor."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from heartwire.monitor.store import Store
from tests.fakes.board import FakeBoard


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
