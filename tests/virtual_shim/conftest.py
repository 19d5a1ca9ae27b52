"""Boards and consoles for the tests of the virtual board's own parts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.virtual.board import VirtualBoard
from tests.virtual_shim.console import FIRMWARE, Console


@pytest.fixture
def make_board(tmp_path: Path) -> Iterator[Callable[..., VirtualBoard]]:
    """Make boards with the toy firmware that are closed at the end."""
    boards: list[VirtualBoard] = []

    def make(**options: object) -> VirtualBoard:
        directory = tmp_path / f"board{len(boards)}"
        board = VirtualBoard(directory, firmware_dir=FIRMWARE, **options)  # type: ignore[arg-type]
        boards.append(board)
        return board

    yield make
    for board in boards:
        board.close()
        assert not board.reactor.failures


@pytest.fixture
def board(make_board: Callable[..., VirtualBoard]) -> VirtualBoard:
    """Return a board with the toy firmware, switched on."""
    board = make_board()
    board.power_on()
    return board


@pytest.fixture
def console(board: VirtualBoard) -> Iterator[Console]:
    """Return the toy's console."""
    console = Console(board)
    yield console
    console.port.close()
