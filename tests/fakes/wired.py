"""A board with lines, pins and a host link in memory, in virtual time: the smallest WiredBoard there is.

It makes time pass step by step in the caller's own thread, also while the host link waits for an answer, as an emulated
board does. Tests hold with it that a scenario means the same through wires as on the policy tier.
"""

from __future__ import annotations

from collections.abc import Callable

from heartwire.board import Board
from heartwire.errors import Unplugged
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire.simulate.hardware import FakeFiles, FakeHardware
from heartwire_firmware.supervisor import Supervisor

STEP_MS = 20


class MemoryChannel:
    """The host link to whatever board is on now; ends with that board's life."""

    name = "memory"
    exposed = False

    def __init__(self, wires: MemoryWires) -> None:
        self._wires = wires
        self._hardware = wires.hardware

    def read(self, timeout_s: float) -> bytes:
        end_ms = self._wires.now_ms() + max(1, round(timeout_s * 1000))
        while True:
            if self._wires.hardware is not self._hardware or not self._wires.is_on():
                raise Unplugged("the board is gone")
            sent = bytes(self._hardware.usb.sent)
            self._hardware.usb.sent.clear()
            if sent or self._wires.now_ms() >= end_ms:
                return sent
            self._wires.wait_until(self._wires.now_ms() + STEP_MS)

    def write(self, data: bytes) -> None:
        if self._wires.hardware is not self._hardware or not self._wires.is_on():
            raise Unplugged("the board is gone")
        self._hardware.usb.incoming.extend(data)

    def close(self) -> None:
        pass

    def now(self) -> float:
        return self._wires.now_ms() / 1000


class MemoryWires:
    """A supervisor on fake hardware; fulfils wired_stage.WiredBoard."""

    slack_ms = 50

    def __init__(self) -> None:
        self.hardware = FakeHardware()
        self._files = FakeFiles()
        self._scratch: dict[int, int] = {}
        self._inputs: dict[str, int] = {}
        self._board: Supervisor | None = None
        self._ms = 0
        self._edges: list[tuple[int, str, bool]] = []
        self._starts: list[int] = []
        self._kept: dict[str, bytes] = {}
        self._tick: Callable[[], None] = lambda: None

    def now_ms(self) -> int:
        return self._ms

    def start(self, files: dict[str, bytes], tick: Callable[[], None]) -> None:
        self._files.contents.update(files)
        self._tick = tick
        self._power_on()

    def _power_on(self) -> None:
        self._note_edges()
        self._drop()
        self.hardware = FakeHardware(self._files, self._scratch, self._ms)
        self.hardware.pins.levels.update(self._inputs)
        self._board = Supervisor(self.hardware)
        self._board.start()
        self._starts.append(self._ms)

    def _drop(self) -> None:
        self._edges += [(self._ms, name, False) for name, level in self.hardware.pins.levels.items() if level]

    def _note_edges(self) -> None:
        edges = self.hardware.pins.edges
        self._edges += [(self._ms, name, bool(level)) for _, name, level in edges if name != "ARM"]
        edges.clear()

    def wait_until(self, ms: int) -> None:
        while self._ms < ms:
            step = min(STEP_MS, ms - self._ms)
            self._ms += step
            self.hardware.ticks.now += step
            self._tick()
            if self._board is not None:
                self._board.step()
                self._note_edges()
                if self._board.stopping and self._board.hostlink.idle:
                    self._board._write_all()
                    self._power_on()

    def call(self, function: Callable[[], None]) -> None:
        function()

    def feed(self, line: int, data: bytes) -> None:
        if self._board is not None:
            self.hardware.lines[line].arrive(data)

    def take(self, line: int) -> bytes:
        return self.hardware.lines[line].take_sent()

    def set_input(self, signal: str, asserted: bool) -> None:
        self._inputs[signal] = int(asserted)
        self.hardware.pins.levels[signal] = int(asserted)

    def take_edges(self) -> list[tuple[int, str, bool]]:
        found, self._edges = self._edges, []
        return found

    def is_on(self) -> bool:
        return self._board is not None

    def starts_ms(self) -> list[int]:
        return self._starts

    def open(self, keys: Keys) -> Board:
        if self._board is None:
            raise Unplugged("the board is off")
        link = Link(MemoryChannel(self), keys)
        link.hello()
        return Board(link)

    def act(self, verb: str) -> None:
        contents = self._files.contents
        if verb in ("resets", "gets-power"):
            self._power_on()
        elif verb == "loses-power":
            self._note_edges()
            self._drop()
            self._board = None
            self._scratch = {}
        elif verb == "bad-boots":
            self._scratch[1] = 4
        elif verb == "stores":
            self._kept = dict(contents)
        elif verb == "restores":
            contents.clear()
            contents.update(self._kept)
        elif verb == "forgets":
            for name in [name for name in contents if not name.startswith("settings")]:
                del contents[name]
        else:
            self._ms += 400
            self.hardware.ticks.now += 400

    def close(self) -> None:
        self._board = None
