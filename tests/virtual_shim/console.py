"""The toy firmware, and its commands over USB."""

from pathlib import Path

import serial

from heartwire.virtual.board import VirtualBoard

FIRMWARE = Path(__file__).parent / "firmware"


class Console:
    """The toy firmware's commands over USB."""

    def __init__(self, board: VirtualBoard) -> None:
        self.board = board
        self.port = serial.Serial(str(board.wait_usb()), timeout=20)

    def send(self, command: str) -> None:
        """Send a command without waiting for an answer."""
        self.port.write(command.encode() + b"\n")

    def ask(self, command: str) -> str:
        """Send a command and return its answer."""
        self.send(command)
        line = self.port.readline()
        assert line.endswith(b"\n"), f"no whole answer to {command!r}: {line!r}, board {self.board.state}"
        return line.decode().strip()
