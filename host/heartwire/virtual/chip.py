"""The chip of the virtual board: its lives, resets, watchdog, outputs, scratch registers and USB.

It does what the RP2040's hardware does and nothing more: drops every output when the chip resets, bites when the
watchdog is not fed, keeps the scratch registers until power goes. It never looks into the bytes and never helps a
firmware that has crashed. Owned by board.py, which is the way in from other threads; everything here runs in the
reactor's thread.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from heartwire.virtual import pins
from heartwire.virtual.processes import ProcessYard
from heartwire.virtual.reactor import Reactor, Timer
from heartwire.virtual.usb import UsbPort
from heartwire.virtual.vm import Vm, VmSettings

POWER_ON_RESET = 1
WATCHDOG_RESET = 3
FAST_SIGNALS = ("ARM",)  # toggles every tick: summed up by the shim, see VirtualBoard.on_toggle()
_FEED_REPORT_MS = 50  # the shim reports feeds no more often, so the bite may come this much late, never early
_EDGES_KEPT = 100_000

OutputCallback = Callable[[str, bool, int], None]
EventCallback = Callable[[int, str], None]


class Edge(NamedTuple):
    """One change of an output, as electrical level; `at_ns` is time.monotonic_ns()."""

    at_ns: int
    signal: str
    level: int


class ChipOptions(NamedTuple):
    """What stays the same over all lives: heap in KiB, flash times in microseconds, USB enumeration in ms."""

    unique_id: bytes
    heap_kib: int
    erase_us: int
    program_us: int
    enumerate_ms: float
    self_powered: bool


class Chip:
    """The chip: off, running, hung, dead (its program ended), in the boot loader, or closed."""

    def __init__(
        self, reactor: Reactor, yard: ProcessYard, directory: Path, options: ChipOptions, changed: Callable[[], None]
    ) -> None:
        self.reactor = reactor
        self.yard = yard
        self.options = options
        self.image_path = directory / "flash.img"
        self.log_path = directory / "board.log"
        self.usb_path = directory / "usb"
        self.state = "off"
        self.crash: str | None = None
        self.boots = 0
        self.bites = 0
        self.reset_cause = 0
        self.started_ns = 0
        self.main_ns = 0
        self.scratch = [0] * 8
        self.levels = dict.fromkeys(pins.OUTPUTS, 0)
        self.edges: deque[Edge] = deque(maxlen=_EDGES_KEPT)
        self.toggled_ns = dict.fromkeys(FAST_SIGNALS, 0)
        self.vm: Vm | None = None
        self.usb: UsbPort | None = None
        self.output_callbacks: list[OutputCallback] = []
        self.toggle_callbacks: list[OutputCallback] = []
        self.event_callbacks: list[EventCallback] = []
        self.line_callbacks: dict[str, Callable[[bytes], None]] = {}
        self._changed = changed
        self._log_start = 0
        self._inputs = [pins.FLOATING] * pins.GPIOS
        self._plugged = True
        self._usb_timer: Timer | None = None
        self._watchdog_ms = 0
        self._fed_ns = 0
        self._watchdog_timer: Timer | None = None
        self._flash_fail_at = 0

    # What the VM reports (VmListener)

    def vm_level(self, gpio: int, level: int, at_ns: int) -> None:
        """Take an output's level."""
        signal = pins.BY_GPIO.get(gpio)
        if signal is None or signal.name not in self.levels or self.levels[signal.name] == level:
            return
        self.levels[signal.name] = level
        self.edges.append(Edge(at_ns, signal.name, level))
        for callback in self.output_callbacks:
            callback(signal.name, signal.asserted(level), at_ns)
        self._changed()

    def vm_toggling(self, gpio: int, level: int, at_ns: int) -> None:
        """Take the news that an output still toggles."""
        signal = pins.BY_GPIO[gpio]
        self.levels[signal.name] = level
        self.toggled_ns[signal.name] = at_ns
        for callback in self.toggle_callbacks:
            callback(signal.name, signal.asserted(level), at_ns)

    def vm_released(self, gpio: int, at_ns: int) -> None:
        """Take the news that an output became an input, which the carrier pulls down."""
        self.vm_level(gpio, 0, at_ns)

    def vm_sent(self, line: int, data: bytes) -> None:
        """Pass on what the board sends on a line."""
        callback = self.line_callbacks.get(pins.NODE_OF_LINE[line])
        if callback is not None:
            callback(data)

    def vm_fed(self, at_ns: int) -> None:
        """Take the news that the watchdog was fed."""
        self._fed_ns = at_ns

    def vm_watchdog(self, timeout_ms: int) -> None:
        """Start the watchdog."""
        self._watchdog_ms = timeout_ms
        self._fed_ns = time.monotonic_ns()
        self._check_watchdog()

    def vm_scratch(self, index: int, value: int) -> None:
        """Keep a scratch register."""
        self.scratch[index] = value

    def vm_event(self, kind: str) -> None:
        """Take the start of main.py, a reset, or an end."""
        if kind == "H":
            self.main_ns = time.monotonic_ns()
            self._changed()
        elif kind == "R":
            self._soon(lambda: self.restart(WATCHDOG_RESET, "reset by the firmware"))
        elif kind == "B":
            self._soon(lambda: self.stop("bootloader", "enters the boot loader"))
        elif kind == "P":
            self._flash_fail_at = 0
            self._soon(lambda: self.stop("off", "power lost during a flash operation"))
        elif kind == "E":
            self.state = "dead"
            self.crash = self.tail()
            self._event("main.py ended: " + (self.crash.strip().splitlines() or ["without a word"])[-1])

    def vm_exited(self, code: int) -> None:
        """Take the end of the VM's process: the chip is dead until a power cycle, or until the watchdog bites."""
        self._end_life()
        self.state = "dead"
        self.crash = self.tail()
        self._event(f"the VM exited with {code}")

    # Inside the reactor's thread

    def power_on(self) -> None:
        """Apply power, with scratch registers at zero."""
        if self.state != "off":
            return
        self.scratch = [0] * 8
        self._event("power on")
        self._start(POWER_ON_RESET)

    def _start(self, cause: int) -> None:
        self.reset_cause = cause
        self.boots += 1
        self.crash = None
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.usb = UsbPort(self.reactor, self.usb_path, self._log)
        settings = VmSettings(
            unique_id=self.options.unique_id,
            reset_cause=cause,
            scratch=self.scratch,
            inputs=self._inputs,
            fast_gpios=[pins.SIGNALS[name].gpio for name in FAST_SIGNALS],
            heap_kib=self.options.heap_kib,
            erase_us=self.options.erase_us,
            program_us=self.options.program_us,
            flash_fail_at=self._flash_fail_at,
        )
        self.started_ns = time.monotonic_ns()
        self.vm = Vm(
            self.reactor, self.yard, self, settings, image=self.image_path, log=self.log_path, usb=self.usb.vm_end
        )
        self.state = "running"
        self._usb_timer = self.reactor.later(self.options.enumerate_ms, self._enumerate)
        self._changed()

    def _end_life(self) -> None:
        """Kill the VM; outputs fall to what the chip's reset makes of them, USB vanishes."""
        vm, self.vm = self.vm, None
        if vm is not None:
            vm.kill()
        at_ns = time.monotonic_ns()
        self._watchdog_ms = 0
        for timer in (self._watchdog_timer, self._usb_timer):
            if timer is not None:
                timer.cancel()
        if self.usb is not None:
            self.usb.close()
            self.usb = None
        for name, level in sorted(self.levels.items()):
            if level:
                self.vm_level(pins.SIGNALS[name].gpio, 0, at_ns)

    def stop(self, state: str, text: str) -> None:
        """End this life and stay in `state`."""
        if self.state in ("off", "closed"):
            return
        self._end_life()
        self.state = state
        self._event(text)

    def restart(self, cause: int, text: str) -> None:
        """End this life and start the next one."""
        if self.state in ("off", "closed"):
            return
        self._end_life()
        if cause == POWER_ON_RESET:
            self.scratch = [0] * 8
        self._event(text)
        self._start(cause)

    def _soon(self, action: Callable[[], None]) -> None:
        """Act after the VM's present messages, unless its life has ended by then."""
        vm = self.vm

        def act() -> None:
            if self.vm is vm and vm is not None:
                action()

        self.reactor.post(act)

    def _check_watchdog(self) -> None:
        if not self._watchdog_ms or self.vm is None:
            return
        left_ms = self._watchdog_left_ms()
        if left_ms <= 0:
            self.vm.drain()  # a feed may be waiting if this thread is late
            left_ms = self._watchdog_left_ms()
        if left_ms > 0:
            self._watchdog_timer = self.reactor.later(left_ms, self._check_watchdog)
            return
        self.bites += 1
        self.restart(WATCHDOG_RESET, "reset by the watchdog")

    def _watchdog_left_ms(self) -> float:
        return self._watchdog_ms + _FEED_REPORT_MS - (time.monotonic_ns() - self._fed_ns) / 1e6

    def hang(self) -> None:
        """Stop the processor where it is."""
        if self.vm is not None:
            self.vm.stop()
            self.state = "hung"
            self._event("hangs")

    def resume(self) -> None:
        """Let a hung processor go on."""
        if self.vm is not None and self.state == "hung":
            self.vm.resume()
            self.state = "running"
            self._event("goes on")

    def cut_power_at(self, number: int) -> None:
        """Lose power half-way through the n-th flash operation."""
        self._flash_fail_at = number
        if self.vm is not None:
            self.vm.fail_flash_at(number)

    def _enumerate(self) -> None:
        if self.usb is not None and self._plugged:
            self.usb.connect()
            self._event("USB is there")

    def unplug(self) -> None:
        """Pull the USB cable."""
        self.usb_unplug()
        if not self.options.self_powered:
            self.stop("off", "power off")

    def plug(self) -> None:
        """Put the USB cable back."""
        self._plugged = True
        if self.state == "off":
            self.power_on()
        else:
            self.usb_plug()

    def usb_unplug(self) -> None:
        """Let only the USB data vanish."""
        self._plugged = False
        if self.usb is not None and self.usb.connected:
            self.usb.disconnect()
            self._event("USB is gone")

    def usb_plug(self) -> None:
        """Let the USB data come back."""
        self._plugged = True
        if self.usb is not None and not self.usb.connected:
            self._usb_timer = self.reactor.later(self.options.enumerate_ms, self._enumerate)

    def set_input(self, gpio: int, level: int) -> None:
        """Drive an input to a level, or let it float."""
        if self._inputs[gpio] != level:
            self._inputs[gpio] = level
            if self.vm is not None:
                self.vm.set_input(gpio, level)

    def send_line(self, node: str, data: bytes) -> None:
        """Deliver bytes to a line's receiver; lost while the chip is off."""
        if self.vm is not None:
            self.vm.send_line(pins.LINES[node], data)

    def close(self) -> None:
        """End for good."""
        self._end_life()
        self.state = "closed"

    def _log(self, data: bytes) -> None:
        with self.log_path.open("ab") as log:
            log.write(data)

    def log_text(self) -> str:
        """Return what this life wrote to its console log."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_bytes()[self._log_start :].decode(errors="replace")

    def tail(self) -> str:
        """Return the end of this life's log."""
        with contextlib.suppress(OSError):
            return self.log_text()[-2000:]
        return ""

    def _event(self, text: str) -> None:
        at_ns = time.monotonic_ns()
        for callback in self.event_callbacks:
            callback(at_ns, text)
        self._changed()
