"""The board's hardware: the one module that imports machine. Fulfils ports.py on the chips of heartwire_protocol.chips
(or on the virtual board's shim).

Made once by main.py; importing it has no effect on any pin. It never decides anything and never blocks; a full output
buffer loses bytes rather than time.
"""

import gc
import os
import select
import sys
import time

import machine

from heartwire_firmware import board, hw_pio, idle, ports
from heartwire_protocol import chips, reasons

# PL011: raw interrupt status and clear (RP2040 datasheet 4.2.8, RP2350 12.1.8).
_UART_RIS = 0x3C
_UART_ICR = 0x44
_ERRORS = 0x380  # framing, parity, break
_OVERRUN = 0x400
# Scratch register 2: why main.py restarts the chip on purpose.
NOTE_REGISTER = 2
NOTE_RESTART = 0x2A57E001
NOTE_REPL = 0x2A57E002
# SIO: the levels of pins 0 to 31 (RP2040 datasheet 2.3.1.7, RP2350 3.1.11).
_GPIO_IN = 0xD0000004
_FOLDER = "/data"
# Scratch register 3: bit 0 while flash is written, above it how often the watchdog ended that, in a row. Worn-out flash
# keeps the file system looking for a good block for longer than the watchdog waits. After this often nothing is written
# until the power was off: a board that fences nobody but renews leases is better than one that restarts for ever.
_WRITING_REGISTER = 3
_BITES_MAX = 2
# A failure that took so long counts as a bite: longer than any two erases (W25Q16JV datasheet 9.6).
_LONG_MS = 900
# What main.py writes when the firmware fails.
_CRASH = "/crash.txt"
_CRASH_MAX = 100
# From the look that finds a node dead to the contact, with a pass under way before it (tools/bench_board.py). The
# supervisor decides that much ahead, waits for the deadline and looks once more, so a faster chip moves no contact
# early and a heartbeat in that time still counts.
LEAD_MS = 30
# The loop looks at everything at least this often: less than clock.STALL_MS, and the host link waits so long.
REST_MS = 8


class UartLine(ports.Line):
    """A line on one of the two UARTs."""

    def __init__(self, number: int, base: int, tx, rx, baud: int):
        self._number = number
        self._tx = tx
        self._rx = rx
        self._raised = base + _UART_RIS
        self._clear = base + _UART_ICR
        self.idle = idle.IdleStamp()  # its mark: how many bytes wait
        self.set_baud(baud)

    def set_baud(self, baud: int) -> None:
        self.uart = machine.UART(
            self._number, baudrate=baud, tx=self._tx, rx=self._rx, rxbuf=256, txbuf=256, timeout=0, timeout_char=0
        )
        if sys.platform == "rp2":
            self.idle.listen(self.uart, self._fell_idle, machine.UART.IRQ_RXIDLE)

    def _fell_idle(self, uart) -> None:
        self.idle.note(uart.any())

    def waiting(self) -> int:
        """Return how many received bytes wait."""
        count = self.uart.any()
        if count:
            # Asking has emptied the chip's FIFO, and it raises no interrupt for one that is empty.
            self.idle.see(count)
        return count

    def read_into(self, buffer: bytearray, limit: int) -> int:
        waiting = self.uart.any()
        if not waiting:
            return 0
        self.idle.take(waiting, waiting <= limit)
        return self.uart.readinto(buffer, waiting if waiting < limit else limit) or 0

    def write(self, buffer) -> int:
        return self.uart.write(buffer) or 0

    def take_errors(self) -> int:
        return self._take(_ERRORS)

    def take_overruns(self) -> int:
        return self._take(_OVERRUN)

    def _take(self, bits: int) -> int:
        if machine.mem32[self._raised] & bits:
            machine.mem32[self._clear] = bits
            return 1
        return 0


class UsbPort(ports.Usb):
    """The host link: the USB serial port that MicroPython gives as stdin and stdout."""

    def __init__(self):
        self._in = sys.stdin.buffer
        self._out = sys.stdout.buffer
        self._readable = select.poll()
        self._readable.register(sys.stdin, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sys.stdout, select.POLLOUT)
        self._byte = bytearray(1)

    def waiting(self) -> int:
        """Return 1 if a received byte waits."""
        for event in self._readable.ipoll(0):
            return event[1] & select.POLLIN
        return 0

    def read_into(self, buffer: bytearray, limit: int) -> int:
        count = 0
        byte = self._byte
        while count < limit:
            ready = 0
            for event in self._readable.ipoll(0):
                ready = event[1]
            if not ready & select.POLLIN or not self._in.readinto(byte):
                break
            buffer[count] = byte[0]
            count += 1
        return count

    def write(self, buffer: memoryview, start: int, end: int) -> int:
        # A host that has the port open but does not read would block a larger write for 500 ms.
        sent = 0
        while start < end:
            ready = 0
            for event in self._writable.ipoll(0):
                ready = event[1]
            if not ready & select.POLLOUT:
                break
            self._byte[0] = buffer[start]
            self._out.write(self._byte)
            start += 1
            sent += 1
        return sent


class BoardPins(ports.Pins):
    """All inputs and outputs of board.PINS that are not part of a serial line."""

    def __init__(self):
        self._pins = {}
        self._active_high = {}
        for signal, gpio, function, active_high, _, pull in board.PINS:
            self._active_high[signal] = active_high
            if function == "OUT":
                # boot.py has set the level already; a pin that is an output keeps it.
                self._pins[signal] = machine.Pin(gpio, machine.Pin.OUT)
            elif function == "IN":
                self._pins[signal] = machine.Pin(gpio, machine.Pin.IN, _PULLS[pull])

    def put(self, signal: str, asserted: int) -> None:
        self._pins[signal].value(asserted if self._active_high[signal] else 1 - asserted)

    def get(self, signal: str) -> int:
        level = self._pins[signal].value()
        return level if self._active_high[signal] else 1 - level


class FlashFiles(ports.Files):
    """The flat folder for settings, state and journal on the board's littlefs."""

    def __init__(self, noted: int):
        try:
            os.mkdir(_FOLDER)
        except OSError:
            pass
        self._noted = noted
        word = machine.mem32[self._noted]
        bites = (word >> 1) + (word & 1)
        machine.mem32[self._noted] = bites << 1
        self._is_stuck = bites >= _BITES_MAX

    def read(self, name: str) -> "bytes | None":
        try:
            with open(_FOLDER + "/" + name, "rb") as file:
                return file.read()
        except OSError:
            return None

    def read_part(self, name: str, offset: int, buffer: bytearray) -> int:
        try:
            with open(_FOLDER + "/" + name, "rb") as file:
                file.seek(offset)
                return file.readinto(buffer) or 0
        except OSError:
            return 0

    def write(self, name: str, data: bytes) -> bool:
        return self._try(True, self._write, name, data)

    def begin(self, name: str) -> bool:
        return self._try(False, self._begin, name)

    def put(self, data) -> bool:
        return self._try(False, self._put, data)

    def end(self) -> bool:
        return self._try(True, self._end)

    def remove(self, name: str) -> bool:
        return self._try(False, os.remove, _FOLDER + "/" + name)

    def _write(self, name: str, data: bytes) -> bool:
        # littlefs commits on close: before, the old contents stand; after, the new ones do.
        with open(_FOLDER + "/" + name, "wb") as file:
            return file.write(data) == len(data)

    def _begin(self, name: str) -> None:
        self._open = open(_FOLDER + "/" + name, "ab")

    def _put(self, data) -> bool:
        return self._open.write(data) == len(data)

    def _end(self) -> None:
        self._open.close()

    def _try(self, whole: bool, step, *arguments) -> bool:
        """Take a `step` that writes flash, noted before and after; return whether it was done. `whole`: what was
        written is there with it.
        """
        done = False
        if self._starts():
            try:
                done = step(*arguments) is not False
            except OSError:
                pass
            finally:
                self._ends(done, whole)
        return done

    def _starts(self) -> bool:
        """Note that flash is written from now on; return False where it has never come back from that."""
        if not self._is_stuck:
            self._since_ms = time.ticks_ms()
            machine.mem32[self._noted] = machine.mem32[self._noted] | 1
        return not self._is_stuck

    def _ends(self, done: bool, whole: bool) -> None:
        """Note that it came back, `done` or after looking for so long that the next time may be too long; `whole`: what
        was written is there.
        """
        word = machine.mem32[self._noted] & ~1
        if done and whole:
            word = 0
        elif not done and time.ticks_diff(time.ticks_ms(), self._since_ms) > _LONG_MS:
            word += 2
            self._is_stuck = word >> 1 >= _BITES_MAX
        machine.mem32[self._noted] = word

    def names(self) -> "list[str]":
        try:
            return list(os.listdir(_FOLDER))
        except OSError:
            return []


class Rp2Chip(ports.Chip):
    """Watchdog, scratch registers, random numbers, restarts."""

    def __init__(self, scratch: "tuple[int, ...]"):
        self._scratch = scratch
        self._watchdog: "machine.WDT | None" = None
        self.reset_cause = reasons.POWER_ON
        if machine.reset_cause() == machine.WDT_RESET:
            # machine.reset() goes through the watchdog as well: the note tells them apart.
            note = self.scratch(NOTE_REGISTER)
            self.reset_cause = reasons.REQUESTED_RESET if note == NOTE_RESTART else reasons.WATCHDOG
        self.put_scratch(NOTE_REGISTER, 0)

    def start_watchdog(self, timeout_ms: int) -> None:
        self._watchdog = machine.WDT(timeout=timeout_ms)
        self.feed = self._watchdog.feed  # type: ignore[method-assign] # each pass feeds: one call instead of two

    def feed(self) -> None:
        if self._watchdog is not None:
            self._watchdog.feed()

    def scratch(self, index: int) -> int:
        return machine.mem32[self._scratch[index]]

    def put_scratch(self, index: int, value: int) -> None:
        machine.mem32[self._scratch[index]] = value

    def random_into(self, buffer: bytearray) -> None:
        buffer[:] = os.urandom(len(buffer))

    def unique_id(self) -> bytes:
        return machine.unique_id()

    def platform(self) -> "tuple[str, str, str]":
        found = sys.implementation
        parts = [str(part) for part in found[1] if part != ""]  # type: ignore[index]
        folder = sys.path[0]
        return (
            "-".join([".".join(parts[:3])] + parts[3:]),
            getattr(found, "_machine", ""),
            folder[1:] if folder[:4] == "/fw_" else "",
        )

    def crash(self) -> str:
        try:
            with open(_CRASH) as file:
                return file.read().strip().split("\n")[-1][:_CRASH_MAX]
        except OSError:
            return ""

    def restart(self, note: int = NOTE_RESTART) -> None:
        self.put_scratch(NOTE_REGISTER, note)
        machine.reset()

    def give_prompt(self) -> None:
        """Restart into the MicroPython prompt: boot.py sees the note, for one start."""
        self.restart(NOTE_REPL)

    def collect(self) -> None:
        gc.collect()
        self.free = gc.mem_free()


class Hardware:
    """All ports of the board, and its ticks."""

    def __init__(self):
        self.ticks_ms = time.ticks_ms
        self.ticks_us = time.ticks_us
        self.ticks_diff = time.ticks_diff
        self.ticks_add = time.ticks_add
        # What deciding on a death takes here; elsewhere (the virtual board) it takes no time worth noting.
        self.lead_ms = LEAD_MS if sys.platform == "rp2" else 0
        name = getattr(sys.implementation, "_machine", "")
        # main.py starts nothing on a chip of no row.
        _, watchdog, uart0, uart1, _ = next(row for row in chips.CHIPS if name.endswith(row[0]))
        first = watchdog + chips.SCRATCH
        # Made once: an address is no small integer, so a sum takes from the heap, and looking for room there between a
        # deadline and its relay has taken half a millisecond.
        scratch = (first, first + 4, first + 8, first + 12)
        self.chip = Rp2Chip(scratch)
        self.pins = BoardPins()
        self.files = FlashFiles(scratch[_WRITING_REGISTER])
        self.usb = UsbPort()
        gpio = {}
        for row in board.PINS:
            gpio[row[0]] = row[1]
        baud = 115200
        self.lines = (
            UartLine(0, uart0, machine.Pin(gpio["LINE_A_TX"]), machine.Pin(gpio["LINE_A_RX"]), baud),
            UartLine(1, uart1, machine.Pin(gpio["LINE_B_TX"]), machine.Pin(gpio["LINE_B_RX"]), baud),
            hw_pio.PioLine(
                machine.Pin(gpio["LINE_SPARE_TX"], machine.Pin.OUT, value=1),
                machine.Pin(gpio["LINE_SPARE_RX"], machine.Pin.IN, machine.Pin.PULL_UP),
                baud,
            ),
        )
        self._input_mask = 0
        for _, number, function, _, _, _ in board.PINS:
            if function == "IN":
                self._input_mask |= 1 << number
        # Lists, as storing an attribute takes six times as long.
        self._seen = [-1]
        self._next = [time.ticks_ms()]

    def activity(self) -> int:
        """Return the bits of ports.Activity. Asked every millisecond."""
        bits = 0
        lines = self.lines
        if lines[0].waiting():
            bits = 1
        if lines[1].waiting():
            bits |= 2
        if lines[2].waiting():
            bits |= 4
        if self.usb.waiting():
            bits |= 8
        levels = machine.mem32[_GPIO_IN] & self._input_mask
        seen = self._seen
        if levels != seen[0]:
            seen[0] = levels
            bits |= 16
        return bits

    def wait_for_tick(self, quiet_ms: int) -> None:
        """Sleep until the next millisecond of the loop; for up to `quiet_ms` if nothing comes before. A byte on a UART
        ends the sleep at once.
        """
        if quiet_ms > 1:
            self._rest(quiet_ms if quiet_ms < REST_MS else REST_MS)
            return
        following = self._next
        now = time.ticks_ms()
        left = time.ticks_diff(following[0], now)
        if left > 0:
            time.sleep_ms(left)
            following[0] = time.ticks_add(following[0], 1)
        else:
            following[0] = time.ticks_add(now, 1)

    def _rest(self, rest_ms: int) -> None:
        # What `activity` looks at but the host link, without its calls: the board does this nearly all the time.
        lines = self.lines
        a = lines[0].uart
        b = lines[1].uart
        spare = lines[2]
        levels = self._seen[0]
        began_us = time.ticks_us()
        # A turn is a millisecond on 1.24 and half of one from 1.26 on; the last one begins half a one before the end.
        rest_us = 1000 * rest_ms - 500
        while time.ticks_diff(time.ticks_us(), began_us) < rest_us:
            if a.any() or b.any() or spare.waiting() or machine.mem32[_GPIO_IN] & self._input_mask != levels:
                return
            # The first returns at once, as asking a UART has set the processor's event register (a mutex).
            machine.idle()
            machine.idle()


_PULLS = {"up": machine.Pin.PULL_UP, "down": machine.Pin.PULL_DOWN, "none": -1}
