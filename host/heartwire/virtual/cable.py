"""A serial cable between a server's port and a line of the board, with everything that happens to cables.

Carries bytes as they come, at no more than the baud rate towards the board (a faster sender has to wait, as at a real
port), and loses them while it is cut, while the server is off, or while the board is off. Noise is reproducible: it
comes from the seed alone, byte by byte, in each direction. It never knows frames. Made by rack.py.
"""

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from heartwire.virtual.board import VirtualBoard
from heartwire.virtual.power import Report
from heartwire.virtual.terminals import SerialPort

TO_BOARD = "to-board"
TO_SERVER = "to-server"
_BURST_BYTES = 64  # what a port's own FIFO hides of the baud rate


class Cable:
    """The cable of one node: `port` is the server's end, a path that stays the same for the life of the rack."""

    def __init__(self, board: VirtualBoard, node: str, path: Path, report: Report, *, baud: int = 115200) -> None:
        """Connect the port at `path` with the board's line of `node`; `baud` 0 lets bytes through unpaced."""
        self.node = node
        self.line = node
        self.baud = baud
        self.live = True  # whether the server's end has power
        self.dropped = 0
        self._board = board
        self._report = report
        self._partner: Cable | None = None
        self._cut = {TO_BOARD: False, TO_SERVER: False}
        self._noise_rate = 0.0
        self._random = {TO_BOARD: random.Random(0), TO_SERVER: random.Random(0)}  # noqa: S311 - noise, not a secret
        self._room = float(_BURST_BYTES)
        self._room_ns = time.monotonic_ns()
        self._port = board.reactor.call(lambda: SerialPort(board.reactor, path, self._from_server, self._take_bytes))
        self._plug_in(node)

    @property
    def port(self) -> Path:
        """Return the path of the server's serial port."""
        return self._port.path

    def cut(self) -> None:
        """Cut both directions."""
        self._set({TO_BOARD: True, TO_SERVER: True}, "cut")

    def one_way(self, direction: str) -> None:
        """Let only one direction (TO_BOARD or TO_SERVER) through."""
        self._set({TO_BOARD: direction != TO_BOARD, TO_SERVER: direction != TO_SERVER}, f"carries only {direction}")

    def mend(self) -> None:
        """Mend everything: cuts, noise and a swap."""
        self._noise_rate = 0.0
        self._set({TO_BOARD: False, TO_SERVER: False}, "mended")
        for cable in (self, self._partner):
            if cable is not None:
                self._board.reactor.call(partial(cable._plug_in, cable.node))

    def noise(self, rate: float, seed: int = 1) -> None:
        """Flip a random bit in a share `rate` (0 to 1) of the bytes of both directions; 0 ends it."""

        def change() -> None:
            self._noise_rate = rate
            for direction, source in self._random.items():
                source.seed(f"{seed} {direction}")
            self._report(f"cable {self.node}", f"noise in {rate:.1%} of the bytes")

        self._board.reactor.call(change)

    def swap(self, other: "Cable") -> None:
        """Exchange the board's ends of two cables; mend() of either puts both back."""
        self._partner, other._partner = other, self
        self._board.reactor.call(lambda: self._plug_in(other.node))
        self._board.reactor.call(lambda: other._plug_in(self.node))
        self._report(f"cable {self.node}", f"swapped with cable {other.node}")

    def set_live(self, live: bool) -> None:
        """Take or give the power of the server's end; bytes on their way are lost."""
        self.live = live
        self._port.flush()

    def close(self) -> None:
        """Remove the server's port."""
        self._board.reactor.call(self._port.close)

    def _plug_in(self, line: str) -> None:
        self.line = line
        self._board.on_line(line, self._from_board)

    def _set(self, cut: dict[str, bool], text: str) -> None:
        def change() -> None:
            self._cut.update(cut)
            self._report(f"cable {self.node}", text)

        self._board.reactor.call(change)

    def _take_bytes(self) -> int:
        """Return how many bytes the server may send now; 0 has the port ask again after a moment."""
        if not self.baud:
            return 4096
        now_ns = time.monotonic_ns()
        self._room = min(_BURST_BYTES, self._room + (now_ns - self._room_ns) * self.baud / 10 / 1e9)
        self._room_ns = now_ns
        return int(self._room)

    def _from_server(self, data: bytes) -> None:
        self._room -= len(data)
        self._carry(data, TO_BOARD, lambda carried: self._board.chip.send_line(self.line, carried))

    def _from_board(self, data: bytes) -> None:
        self._carry(data, TO_SERVER, self._port.send)

    def _carry(self, data: bytes, direction: str, deliver: Callable[[bytes], None]) -> None:
        if self._cut[direction] or not self.live:
            self.dropped += len(data)
            return
        if self._noise_rate:
            data = bytes(self._spoil(byte, self._random[direction]) for byte in data)
        deliver(data)

    def _spoil(self, byte: int, source: random.Random) -> int:
        if source.random() < self._noise_rate:
            return byte ^ 1 << source.randrange(8)
        return byte
