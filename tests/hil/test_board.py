"""What a real board must show that the emulated one shows: it answers, keeps its loop, comes back from a restart."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from heartwire.board import Board
from heartwire.errors import HeartwireError
from heartwire.virtual import pins

pytestmark = pytest.mark.hil
WIRING = Path(__file__).parent / "bench_wiring.toml"


def test_wiring_names_signals_of_the_board() -> None:
    for wire in tomllib.loads(WIRING.read_text())["wire"]:
        assert wire["from"] in pins.SIGNALS
        assert wire["to"] in pins.SIGNALS or " " in wire["to"]


def test_answers_and_keeps_its_loop(port: str) -> None:
    with Board.open(port) as board:
        status = board.status()
    assert status.loop_ms <= 20
    assert not status.safe


def test_comes_back_from_a_restart(port: str) -> None:
    with Board.open(port) as board:
        boot = board.status().boot
        board.restart()
    deadline = time.monotonic() + 15
    while True:
        try:
            with Board.open(port) as board:
                assert board.status().boot == boot + 1
                return
        except HeartwireError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
