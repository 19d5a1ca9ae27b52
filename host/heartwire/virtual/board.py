"""The virtual board: the unchanged firmware on the MicroPython VM, with pins, lines, USB, flash and watchdog around it.

The way in for the rack, the demo and tests, from any thread: every request is handed to the reactor's thread, where
chip.py does the work. It never looks into the bytes and never repairs anything behind the firmware's back.
"""

import hashlib
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from heartwire import ports
from heartwire.virtual import image, pins
from heartwire.virtual.chip import (
    POWER_ON_RESET,
    WATCHDOG_RESET,
    Chip,
    ChipOptions,
    Edge,
    EventCallback,
    OutputCallback,
)
from heartwire.virtual.errors import BoardTimeout, VirtualError
from heartwire.virtual.processes import ProcessYard
from heartwire.virtual.reactor import Reactor
from heartwire.virtual.terminals import SerialPort


def id_of(directory: Path) -> bytes:
    """Return the id of the board whose flash is in `directory`: its own as long as it lives, and no other board's."""
    return bytes.fromhex(ports.VIRTUAL_IDS) + hashlib.sha256(os.fsencode(directory)).digest()[:4]


class VirtualBoard:
    """A board that is off, running, hung, dead (its program ended, or the VM crashed) or in the boot loader."""

    def __init__(
        self,
        directory: Path | str | None = None,
        *,
        firmware_dir: Path | str | None = None,
        unique_id: bytes | None = None,
        compiled: bool = True,
        heap_kib: int = 228,
        erase_ms: float = 0.0,
        program_ms: float = 0.0,
        enumerate_ms: float = 30.0,
        self_powered: bool = False,
    ) -> None:
        """Install the firmware into the flash of the board in `directory` (a temporary one if None); it stays off.

        `firmware_dir` holds boot.py, main.py and packages; None takes the installed firmware. `erase_ms` per 4 KiB
        block and `program_ms` per 256 bytes make the flash as slow as a real one (45 and 0.4). `self_powered`: pulling
        USB does not take the board's power. Raises MissingExtra or VirtualError.
        """
        if unique_id is not None and len(unique_id) != 8:
            raise VirtualError(f"a unique id has 8 bytes, not {len(unique_id)}")
        files = image.find_firmware() if firmware_dir is None else image.read_firmware(Path(firmware_dir))
        missing = [name for name in image.ROOT_FILES if name not in files]
        if missing:
            raise VirtualError(f"the firmware in {firmware_dir} has no {' and no '.join(missing)}")
        self.directory = Path(tempfile.mkdtemp(prefix="heartwire-") if directory is None else directory).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.reactor = Reactor()
        self.yard = ProcessYard(self.reactor)
        if directory is None:
            self.yard.remove_at_end(self.directory)
        self._changed = threading.Condition()
        self._line_ports: dict[str, SerialPort] = {}
        options = ChipOptions(
            unique_id or id_of(self.directory),
            heap_kib,
            int(erase_ms * 1000),
            int(program_ms * 1000),
            enumerate_ms,
            self_powered,
        )
        self.chip = Chip(self.reactor, self.yard, self.directory, options, self._notify)
        self.flash = image.FlashImage(self.chip.image_path)
        self.log_path = self.chip.log_path
        self.usb_path = self.chip.usb_path
        try:
            self.flash.install(files, compiled=compiled)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "VirtualBoard":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Power and resets

    def power_on(self) -> None:
        """Apply power; scratch registers start at zero. Does nothing if power is on."""
        self.reactor.call(self.chip.power_on)

    def power_off(self) -> None:
        """Cut power in the middle of whatever the board is doing. Does nothing if it is off."""
        self.reactor.call(lambda: self.chip.stop("off", "power off"))

    def press_reset(self) -> None:
        """Pulse the RUN pin: like a power cycle, the scratch registers are lost."""
        self.reactor.call(lambda: self.chip.restart(POWER_ON_RESET, "reset by the RUN pin"))

    def bite(self) -> None:
        """Reset the chip as the watchdog does, now: the scratch registers stay."""
        self.reactor.call(lambda: self.chip.restart(WATCHDOG_RESET, "reset by the watchdog"))

    def unplug(self) -> None:
        """Pull the USB cable, which takes the power of a bus-powered board with it."""
        self.reactor.call(self.chip.unplug)

    def plug(self) -> None:
        """Put the USB cable back."""
        self.reactor.call(self.chip.plug)

    def usb_unplug(self) -> None:
        """Let only the USB data vanish, whatever powers the board."""
        self.reactor.call(self.chip.usb_unplug)

    def usb_plug(self) -> None:
        """Let the USB data come back."""
        self.reactor.call(self.chip.usb_plug)

    def hang(self) -> None:
        """Stop the processor where it is: outputs keep their level, the watchdog goes on counting."""
        self.reactor.call(self.chip.hang)

    def resume(self) -> None:
        """Let a hung processor go on, if the watchdog has not bitten yet."""
        self.reactor.call(self.chip.resume)

    def cut_power_at_flash_operation(self, number: int) -> None:
        """Lose power half-way through the n-th erase or program from now (or from the next power-on); 0 never."""
        self.reactor.call(lambda: self.chip.cut_power_at(number))

    def close(self) -> None:
        """End everything that belongs to the board; a temporary directory is removed."""
        if self.chip.state == "closed":
            return

        def end() -> None:
            self.chip.close()
            for port in self._line_ports.values():
                port.close()

        self.reactor.call(end)
        self.reactor.close()
        self.yard.close()

    # What can be seen from outside

    @property
    def state(self) -> str:
        """Return off, running, hung, dead, bootloader or closed."""
        return self.chip.state

    @property
    def crashed(self) -> str | None:
        """Return the end of the log if this life's program ended or the VM crashed, else None."""
        return self.chip.crash

    @property
    def boots(self) -> int:
        """Return how often the chip has started."""
        return self.chip.boots

    @property
    def watchdog_bites(self) -> int:
        """Return how often the watchdog has bitten."""
        return self.chip.bites

    @property
    def reset_cause(self) -> int:
        """Return why this life began: 1 power (or RUN pin), 3 watchdog (or machine.reset())."""
        return self.chip.reset_cause

    @property
    def started_ns(self) -> int:
        """Return when this life began, in time.monotonic_ns()."""
        return self.chip.started_ns

    @property
    def main_ns(self) -> int:
        """Return when main.py last began, in time.monotonic_ns()."""
        return self.chip.main_ns

    @property
    def scratch(self) -> tuple[int, ...]:
        """Return the eight watchdog scratch registers."""
        return tuple(self.chip.scratch)

    @property
    def edges(self) -> deque[Edge]:
        """Return every output edge so far, oldest first; fast outputs (ARM) only where they begin and fall."""
        return self.chip.edges

    @property
    def vm_pid(self) -> int | None:
        """Return the process id of the VM."""
        return self.chip.vm.pid if self.chip.vm is not None else None

    def log_text(self) -> str:
        """Return this life's log: uncaught exceptions, and what it printed while no program had USB open."""
        return self.chip.log_text()

    def output(self, signal: str) -> bool:
        """Return whether an output is asserted."""
        return pins.SIGNALS[signal].asserted(self.chip.levels[signal])

    def toggled_ns(self, signal: str) -> int:
        """Return when a fast output (ARM) was last seen to toggle, in time.monotonic_ns(); 0 never."""
        return self.chip.toggled_ns[signal]

    def set_input(self, signal: str, asserted: bool | None) -> None:
        """Assert or release an input; None leaves it to its pull."""
        if signal not in pins.INPUTS:
            raise VirtualError(f"{signal} is not an input; inputs are {', '.join(sorted(pins.INPUTS))}")
        level = pins.FLOATING if asserted is None else pins.SIGNALS[signal].level(asserted)
        self.reactor.call(lambda: self.chip.set_input(pins.SIGNALS[signal].gpio, level))

    def on_output(self, callback: OutputCallback) -> None:
        """Have `callback(signal, asserted, at_ns)` called at each edge, in the reactor's thread."""
        self.chip.output_callbacks.append(callback)

    def on_toggle(self, callback: OutputCallback) -> None:
        """Have `callback(signal, asserted, at_ns)` called about every 20 ms while a fast output toggles."""
        self.chip.toggle_callbacks.append(callback)

    def on_event(self, callback: EventCallback) -> None:
        """Have `callback(at_ns, text)` called for what happens to the board."""
        self.chip.event_callbacks.append(callback)

    def on_line(self, node: str, callback: Callable[[bytes], None]) -> None:
        """Have `callback(data)` called, in the reactor's thread, with what the board sends on a node's line."""
        self.chip.line_callbacks[node] = callback

    def send_line(self, node: str, data: bytes) -> None:
        """Deliver bytes to the receiver of a node's line; lost while the board is off."""
        self.reactor.call(lambda: self.chip.send_line(node, data))

    def line_path(self, node: str) -> Path:
        """Return a serial port wired straight to a node's line (instead of a rack's cable)."""

        def make() -> Path:
            if node not in self._line_ports:
                path = self.directory / f"line-{node}"
                port = SerialPort(self.reactor, path, lambda data: self.chip.send_line(node, data))
                self._line_ports[node] = port
                self.chip.line_callbacks[node] = port.send
            return self._line_ports[node].path

        return self.reactor.call(make)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 5.0, what: str = "the awaited state") -> None:
        """Wait until `condition()` holds, looking at each change of the board or rack; raises BoardTimeout."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                state = f"the board is {self.state}\n{self.chip.tail()}"
                raise BoardTimeout(f"{what} did not come within {timeout_s} s; {state}")

    def wait_output(self, signal: str, asserted: bool, timeout_s: float = 5.0) -> None:
        """Wait until an output is asserted or not; raises BoardTimeout."""
        self.wait_for(lambda: self.output(signal) == asserted, timeout_s, f"{signal} {'on' if asserted else 'off'}")

    def wait_usb(self, timeout_s: float = 5.0) -> Path:
        """Wait until USB is enumerated and return its path; raises BoardTimeout."""
        self.wait_for(lambda: self.chip.usb is not None and self.chip.usb.connected, timeout_s, "USB")
        return self.usb_path

    def notify(self) -> None:
        """Let wait_for() look again; for parts of the rack."""
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
