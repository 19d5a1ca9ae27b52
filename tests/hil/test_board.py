"""What a real board must show that the emulated one shows: the bodies of tests/bodies, and that it keeps its loop."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire.board import Board
from heartwire.virtual import pins
from tests.bodies import guarding
from tests.bodies.bench import Bench
from tests.hil.serial_bench import SerialBench

pytestmark = pytest.mark.hil
WIRING = Path(__file__).parent / "bench_wiring.toml"


def test_wiring_names_signals_of_the_board() -> None:
    wires = tomllib.loads(WIRING.read_text())["wire"]
    for wire in wires:
        assert wire["board"] in pins.SIGNALS
    assert len({wire["board"] for wire in wires}) == len(wires)


def test_answers_and_keeps_its_loop(port: str) -> None:
    with Board.open(port) as board:
        status = board.status()
    assert status.loop_ms <= 40
    assert not status.safe


@pytest.mark.parametrize("body", guarding.BODIES, ids=lambda body: body.__name__)
def test_guards(bench: SerialBench, body: Callable[[Bench], None]) -> None:
    body(bench)
