"""The real board on a bench: `make test-hil PORT=... LINE_A=... LINE_B=...`; skipped without one.

A board that guards servers is refused before anything is asked of it but its status.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from heartwire.board import Board
from tests.hil.serial_bench import NotForBenches, SerialAdapter, SerialBench, refuse_rack

WIRE_IT = "wire it as tests/hil/bench_wiring.toml says"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the ports of the board and of its two servers."""
    parser.addoption("--port", default=None, help="port of a real board that guards nothing")
    parser.addoption("--line-a", default=None, help="port of the adapter that is server a")
    parser.addoption("--line-b", default=None, help="port of the adapter that is server b")


@pytest.fixture(scope="session")
def port(request: pytest.FixtureRequest) -> str:
    """The port of the board; skips without one, fails if it guards servers."""
    found = request.config.getoption("--port", None)
    if not found:
        pytest.skip(f"no board: give --port, and {WIRE_IT}")
    with Board.open(str(found)) as board:
        try:
            refuse_rack(board.status())
        except NotForBenches as error:
            pytest.fail(str(error))
    return str(found)


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest, port: str) -> Iterator[SerialBench]:
    """The bench with its settings; skips without both adapters."""
    lines = [request.config.getoption(name, None) for name in ("--line-a", "--line-b")]
    if None in lines:
        pytest.skip(f"no servers: give --line-a and --line-b, and {WIRE_IT}")
    adapters = [SerialAdapter(str(line)) for line in lines]
    made = SerialBench(port, adapters)
    try:
        made.prepare()
    except NotForBenches as error:
        pytest.fail(str(error))
    yield made
    made.close()
    for adapter in adapters:
        adapter.close()


@pytest.fixture
def bench(prepared: SerialBench) -> SerialBench:
    """The bench, settled: one node is active, the other is fit."""
    prepared.settle()
    return prepared
