"""The real board on a bench: `pytest tests/hil --port /dev/ttyACM0`; skipped without one."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the port of the board."""
    parser.addoption("--port", default=None, help="port of a real board, wired as bench_wiring.toml says")


@pytest.fixture
def port(request: pytest.FixtureRequest) -> str:
    """The port of the board; skips without one."""
    found = request.config.getoption("--port", None)
    if not found:
        pytest.skip("no board: give --port, and wire it as tests/hil/bench_wiring.toml says")
    return str(found)
