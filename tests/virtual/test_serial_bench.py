"""The bench of `make test-hil` on the virtual board: its code and the bodies run, so that only wires are missing.

Lines and host link are ptys, on which a frame takes no time; the two control pins of each adapter are stand-ins. All
times are four times as long as on a real board, as this machine may keep a process waiting.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heartwire.answers import Status
from heartwire.board import Board
from heartwire.keys import Keys
from heartwire.simulate.rack import POWER
from heartwire.virtual.board import VirtualBoard
from heartwire_firmware.relays import SENSE_SIGNALS
from heartwire_protocol import codes
from heartwire_protocol.settings import Settings
from tests.bodies import guarding
from tests.hil.serial_bench import NotForBenches, SerialAdapter, SerialBench

pytestmark = pytest.mark.virtual
TIMES = 4


class PtyAdapter(SerialAdapter):
    """An adapter on the pty of a node's line; relay and senses are the virtual board's pins."""

    def __init__(self, board: VirtualBoard, node: int) -> None:
        super().__init__(str(board.line_path(codes.NODES[node])))
        self._board = board
        self._node = node

    def relay(self) -> bool:
        return self._board.output(POWER[self._node])

    def sense(self, on: bool) -> None:
        for signal in SENSE_SIGNALS[self._node]:
            self._board.set_input(signal, on)


@contextlib.contextmanager
def powered(folder: Path) -> Iterator[VirtualBoard]:
    pytest.importorskip("littlefs", reason="not installed: heartwire[virtual]")
    with VirtualBoard(folder) as made:
        made.set_input("KEY", True)
        made.power_on()
        made.wait_usb()
        yield made


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SerialBench]:
    with powered(tmp_path_factory.mktemp("bench")) as board:
        made = SerialBench(
            str(board.usb_path), [PtyAdapter(board, node) for node in range(2)],
            times=TIMES, early_by_ms=4.0, late_by_ms=1000.0, saves_ms=(1200.0,), host_fill=80,
        )  # fmt: skip
        made.prepare()
        yield made
        made.close()


@pytest.mark.parametrize("body", guarding.BODIES, ids=lambda body: body.__name__)
def test_guards(bench: SerialBench, body: object) -> None:
    bench.settle()
    body(bench)  # type: ignore[operator]


def at_rest(host: Board) -> Status:
    """Return the status of a board whose records are all durable."""
    found = host.status()
    while True:
        time.sleep(0.5)
        before, found = found, host.status()
        if found.newest == before.newest:
            return found


def refused(address: str, adapters: list[PtyAdapter]) -> str:
    """Return why the bench does not take this board; assert that it left it alone."""
    with Board.open(address, keys=Keys()) as host:
        before = at_rest(host)
    made = SerialBench(address, adapters)
    with pytest.raises(NotForBenches) as refusal:
        made.prepare()
    made.close()
    with Board.open(address, keys=Keys()) as host:
        after = host.status()
    assert (after.mode, after.generation, after.newest) == (before.mode, before.generation, before.newest)
    return str(refusal.value)


def test_boards_of_a_rack_and_wrong_wiring_are_refused(tmp_path: Path) -> None:
    class Loose(PtyAdapter):
        def relay(self) -> bool:
            return True  # a CTS that nothing is wired to

    with powered(tmp_path) as board:
        address = str(board.usb_path)
        assert "POWER wired to CTS" in refused(address, [Loose(board, node) for node in range(2)])
        with Board.open(address, keys=Keys()) as host:
            host.apply_settings(Settings())
            host.set_mode("auto")
        assert "guards nothing" in refused(address, [PtyAdapter(board, node) for node in range(2)])
