"""Another emulator's chip under the rig of tests/emulated: in a Node.js process of its own, in lock step.

It has of EmulatedChip what the rig uses: virtual time, edges, lines, the flash, USB. The process cannot be forked, so a
settled rig serves one test.
"""

from __future__ import annotations

import heapq
import itertools
import json
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

from heartwire.emulated.chip import MS, UNIQUE_ID, Edge, Pass, Reset
from heartwire.emulated.errors import NotReady, TooLong
from heartwire.emulated.flashchip import Times
from heartwire.flash.boards import Board
from heartwire.virtual import pins

KEY_SHIFT = 12  # the emulators' tables of peripherals go by addresses without their last bits


def need_node() -> None:
    """Raise NotReady where there is no Node.js."""
    if shutil.which("node") is None:
        raise NotReady("Node.js is not installed (Debian: apt-get install nodejs npm)")


class _Alarm:
    def __init__(self, action: Callable[[], object]) -> None:
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        self.action = None


class _Line:
    """A serial line; the driver paces it."""

    char_ns = 10e9 / 115200

    def __init__(self, chip: LockStepChip, node: int) -> None:
        self._chip, self._node = chip, node

    def send(self, data: bytes) -> None:
        self._chip._do("line", self._node, data.hex())


class _Usb:
    """The host on the board's USB port; it reads whatever comes."""

    def __init__(self, chip: LockStepChip) -> None:
        self._chip = chip
        self.connected = False

    def send(self, data: bytes) -> None:
        self._chip._do("usb", data.hex())


class LockStepChip:
    """A chip that has just got power; as EmulatedChip. `flash` is all of it, `setup` what its `driver` needs besides,
    `lines` how many serial lines that has.
    """

    def __init__(
        self,
        driver: Path,
        board: Board,
        flash: bytes,
        times: Times,
        lines: int,
        setup: dict[str, object],
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="heartwire-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder, self._name = folder, driver.parent.name
        (folder / "flash").write_bytes(flash)
        shared = {
            "flash": str(folder / "flash"),
            "flash_bytes": board.flash_bytes,
            "unique_id": list(UNIQUE_ID),
            "cycle_ns": 1e9 / board.chip.clock_hz,
            "peripheral_hz": board.chip.peripheral_hz,
            "watchdog_key": board.chip.watchdog >> KEY_SHIFT,
            "outputs": [pins.SIGNALS[name].gpio for name in sorted(pins.OUTPUTS)],
            "sector_ns": times.sector_ns,
            "block_ns": times.block_ns,
            "page_ns": times.page_ns,
        }
        (folder / "setup").write_text(json.dumps(shared | setup))
        command = ["node", str(driver), str(folder / "setup")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        weakref.finalize(self, self._process.kill)
        self.ns = self.busy_ns = 0.0
        self._todo: list[list[object]] = []
        self._alarms: list[tuple[float, int, _Alarm]] = []
        self._numbers = itertools.count()
        self._stopped = False
        self._watched = False
        self._fed_ns = 0.0
        self._levels: dict[str, int | None] = {}
        self.edges: list[Edge] = []
        self.passes: list[Pass] = []
        self.resets: list[Reset] = []
        self.flash = SimpleNamespace(count=0)
        self.usb = _Usb(self)
        self.lines = tuple(_Line(self, node) for node in range(lines))
        self.on_edge: Callable[[Edge], None] | None = None
        self.on_reset: Callable[[Reset], None] | None = None
        self.on_line_byte: Callable[[int, int, float], None] | None = None
        self.on_usb_data: Callable[[bytes], None] | None = None

    def _do(self, *action: object) -> None:
        self._todo.append(list(action))

    def _ask(self, until_ns: float | None) -> None:
        question: dict[str, Any] = {"do": self._todo}
        if until_ns is not None:
            question["run"] = until_ns
        self._todo = []
        stdin, stdout = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise NotReady(f"the chip of {self._name} ended at {self.ns / 1e9:.6f} virtual s")
        answer = json.loads(line)
        self.ns, self.busy_ns, self.flash.count = answer["ns"], answer["busy_ns"], answer["flash"]
        for kind, ns, *values in answer["events"]:
            self._happened(kind, ns, values)

    def _happened(self, kind: str, ns: float, values: list[Any]) -> None:
        if kind == "edge":
            self._edge(Edge(ns, pins.BY_GPIO[values[0]].name, values[1]))
        elif kind == "line" and self.on_line_byte is not None:
            self.on_line_byte(values[0], values[1], ns)
        elif kind == "usb" and self.on_usb_data is not None:
            self.on_usb_data(bytes.fromhex(values[0]))
        elif kind == "connected":
            self.usb.connected = True
        elif kind == "feed":
            # The first starts the watchdog in boot.py.
            if self._watched:
                self.passes.append(Pass(ns, values[0] - self._fed_ns))
            self._watched, self._fed_ns = True, values[0]
        elif kind == "reset":
            self._bitten(Reset(ns, values[0]))

    def _bitten(self, reset: Reset) -> None:
        """Take note of a reset by the watchdog, after which the driver goes on with a new life."""
        self.resets.append(reset)
        for signal in sorted(self._levels):
            self._edge(Edge(reset.ns, signal, None))
        self._watched = self.usb.connected = False
        if self.on_reset is not None:
            self.on_reset(reset)

    def _edge(self, edge: Edge) -> None:
        # Setting up a pin that nobody drives yet is told as well.
        if edge.level != self._levels.get(edge.signal):
            self._levels[edge.signal] = edge.level
            self.edges.append(edge)
            if self.on_edge is not None:
                self.on_edge(edge)

    def output(self, signal: str) -> int | None:
        """Return the level of an output; None while the chip does not drive it."""
        return self._levels.get(signal)

    def at(self, ns: float, action: Callable[[], object]) -> _Alarm:
        """Do something at a virtual time; the result has `cancel()`."""
        alarm = _Alarm(action)
        heapq.heappush(self._alarms, (max(ns, self.ns), next(self._numbers), alarm))
        return alarm

    def stop(self) -> None:
        """End the run under way."""
        self._stopped = True

    def run_until(self, ns: float) -> None:
        """Let the chip run up to a virtual time, or until `stop`."""
        self._stopped = False
        while not self._stopped and self.ns < ns:
            self._ask(min(ns, self._alarms[0][0]) if self._alarms else ns)
            while self._alarms and self._alarms[0][0] <= self.ns:
                action = heapq.heappop(self._alarms)[2].action
                if action is not None:
                    action()

    def run_for(self, ns: float) -> None:
        """Let the chip run for a virtual time."""
        self.run_until(self.ns + ns)

    def run_while(self, condition: Callable[[], bool], limit_ns: float, step_ns: float = MS) -> None:
        """Run in steps as long as `condition` holds. Raises TooLong after `limit_ns` virtual nanoseconds."""
        end = self.ns + limit_ns
        while condition():
            if self.ns >= end:
                raise TooLong(f"not within {limit_ns / 1e9:g} virtual s, at {self.ns / 1e9:.6f} s")
            self.run_for(step_ns)

    def set_input(self, signal: str, asserted: bool) -> None:
        """Drive an input of the board."""
        found = pins.SIGNALS[signal]
        self._do("input", found.gpio, found.level(asserted))

    def hang(self) -> None:
        """Let the processor go on in a loop of one instruction, with interrupts off: it never feeds again."""
        self._do("hang")

    def contents(self) -> bytes:
        """Return the flash as it stands."""
        self._do("save", str(self._folder / "saved"))
        self._ask(None)
        return (self._folder / "saved").read_bytes()
