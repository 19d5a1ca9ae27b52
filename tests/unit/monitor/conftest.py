"""A store, a fake board and settings for the tests of the monitor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from heartwire.monitor.store import Store
from tests.fakes.board import FakeBoard


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return an empty store."""
    with Store.open(tmp_path / "monitor.db") as store:
        yield store


@pytest.fixture
def board() -> FakeBoard:
    """Return a fake board with an empty journal."""
    return FakeBoard()
