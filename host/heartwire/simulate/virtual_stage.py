"""The virtual tier: a scenario on the real firmware on the MicroPython VM, with fake nodes on its lines, in real time.

The board, its flash and its USB port are those of heartwire.virtual; the rack around it is the fake one of every tier.
This is how bytes and pins get to the virtual board, and how real time passes. Called through tiers.open_stage.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from heartwire.board import Board
from heartwire.errors import HeartwireError
from heartwire.keys import Keys
from heartwire.simulate.language import Scenario
from heartwire.simulate.rack import KINDS
from heartwire.simulate.wired_stage import WiredStage
from heartwire.virtual.board import VirtualBoard
from heartwire.virtual.power import ChargePump
from heartwire_protocol import codes

# How exact real time is on a busy machine: an event may come this much later or sooner than the scenario says.
SLACK_MS = 1000
TICK_MS = 5
# The charge pump outlasts the time that a busy machine may keep the board's process waiting; a board that is reset or
# loses power drops its coils at once all the same.
ARM_HOLD_MS = 1000
STALL_MS = 400
OPEN_S = 8.0
DATA = "data/"
COILS = {f"POWER_{node.upper()}" for node in codes.NODES}


class VirtualWires:
    """A virtual board's lines, pins and host link in real time; fulfils wired_stage.WiredBoard."""

    slack_ms = SLACK_MS

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="heartwire-scenario-")
        self._board = VirtualBoard(Path(self._folder.name) / "board")
        self._zero_ns = time.monotonic_ns()
        self._edges: list[tuple[int, str, bool]] = []
        self._coils = dict.fromkeys(COILS, False)
        self._sent: dict[str, deque[bytes]] = {node: deque() for node in codes.NODES}
        self._starts_ns: list[int] = []
        self._tick: Callable[[], None] = lambda: None
        self._image = b""
        self._closing = False
        self._pump = ChargePump(self._board, self._move_coils, ARM_HOLD_MS)
        self._board.on_output(self._edge)
        for node in codes.NODES:
            self._board.on_line(node, self._sent[node].append)

    def now_ms(self) -> int:
        """Return the milliseconds since this was made."""
        return (time.monotonic_ns() - self._zero_ns) // 1_000_000

    def start(self, files: dict[str, bytes], tick: Callable[[], None]) -> None:
        """Write `files` into the flash, switch the board on, and tick from now on in the reactor's thread."""
        for name, data in files.items():
            self._board.flash.write(DATA + name, data)
        self._tick = tick
        self._board.power_on()
        self._board.reactor.call(self._tick_again)

    def _tick_again(self) -> None:
        main_ns = self._board.main_ns
        if main_ns and (not self._starts_ns or self._starts_ns[-1] != main_ns):
            self._starts_ns.append(main_ns)
        self._tick()
        if not self._closing:
            self._board.reactor.later(TICK_MS, self._tick_again)

    def wait_until(self, ms: int) -> None:
        """Sleep."""
        time.sleep(max(0, ms - self.now_ms()) / 1000)

    def call(self, function: Callable[[], None]) -> None:
        """Call `function` in the reactor's thread."""
        self._board.reactor.call(function)

    def feed(self, line: int, data: bytes) -> None:
        """Let bytes arrive on a line."""
        self._board.chip.send_line(codes.NODES[line], data)

    def take(self, line: int) -> bytes:
        """Return what the board has sent on a line."""
        waiting = self._sent[codes.NODES[line]]
        found = b"".join(waiting)
        waiting.clear()
        return found

    def set_input(self, signal: str, asserted: bool) -> None:
        """Set an input."""
        self._board.set_input(signal, asserted)

    def take_edges(self) -> list[tuple[int, str, bool]]:
        """Return the edges since the last call."""
        found, self._edges = self._edges, []
        return found

    def _edge(self, signal: str, asserted: bool, at_ns: int) -> None:
        if signal in COILS:
            self._move_coils()
        else:
            self._edges.append(((at_ns - self._zero_ns) // 1_000_000, signal, asserted))

    def _move_coils(self) -> None:
        for signal, before in self._coils.items():
            coil = self._pump.charged and self._board.output(signal)
            if coil != before:
                self._coils[signal] = coil
                self._edges.append((self.now_ms(), signal, coil))

    def is_on(self) -> bool:
        """Tell whether the board runs."""
        return self._board.state in ("running", "hung")

    def starts_ms(self) -> list[int]:
        """Return when main.py began, once for each start."""
        return [(ns - self._zero_ns) // 1_000_000 for ns in list(self._starts_ns)]

    def open(self, keys: Keys) -> Board:
        """Open the host link; a board that has just come back is waited for."""
        end = time.monotonic() + OPEN_S
        while True:
            try:
                return Board.open(str(self._board.wait_usb()), keys=keys)
            except HeartwireError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def act(self, verb: str) -> None:
        """Let a board statement happen."""
        board = self._board
        {
            "resets": board.bite, "loses-power": board.power_off, "gets-power": board.power_on,
            "forgets": self._forget, "stores": self._store, "restores": self._restore, "stalls": self._stall,
            "bad-boots": lambda: board.chip.scratch.__setitem__(1, 4),
        }[verb]()  # fmt: skip

    def _forget(self) -> None:
        for name in self._board.flash.names():
            if name.startswith(DATA) and not name.startswith(DATA + "settings"):
                self._board.flash.remove(name)

    def _store(self) -> None:
        self._board.hang()  # so that no write is half done
        self._image = self._board.flash.path.read_bytes()
        self._board.resume()

    def _restore(self) -> None:
        self._board.flash.path.write_bytes(self._image)

    def _stall(self) -> None:
        self._board.hang()
        time.sleep(STALL_MS / 1000)
        self._board.resume()

    def close(self) -> None:
        """Switch everything off and remove its files."""
        self._closing = True
        failures = list(self._board.reactor.failures)
        self._board.close()
        self._folder.cleanup()
        if failures:
            raise failures[0]


def open_virtual(scenario: Scenario, kind: str = KINDS[0]) -> WiredStage:
    """Start `scenario` on a virtual board, settled. Raises MissingExtra, ScenarioError."""
    return WiredStage(scenario, VirtualWires(), kind)
