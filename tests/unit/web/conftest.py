"""A room of three racks and a browser's requests to its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="not installed: heartwire[web]")

from starlette.testclient import TestClient

from tests.unit.web.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Return three racks with a failover behind them."""
    with Room(tmp_path, 3) as made:
        yield made


@pytest.fixture
def client(room: Room) -> TestClient:
    """Return a client of their page."""
    return TestClient(room.app(), base_url="http://localhost")
