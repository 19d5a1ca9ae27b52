"""What the firmware uses of MicroPython's `machine` on an RP2040, for the unix port: pins, UARTs, watchdog, scratch.

A behavioural stand-in: levels, bytes, limits and losses are right, electrical timing is not. It never allocates in
Pin.value(), Pin.toggle(), UART.any() or WDT.feed(), because the firmware asserts that an idle turn allocates nothing.
Imported by the firmware's hardware module in place of the built-in `machine`.
"""

import time

import virtual_link as _link
from micropython import RingIO

PWRON_RESET = 1
WDT_RESET = 3


class Pin:
    """One GPIO: an input follows the rack, an output is reported to it."""

    IN = 0
    OUT = 1
    PULL_UP = 1
    PULL_DOWN = 2

    def __init__(self, id, mode=-1, pull=-1, *, value=None):
        if not 0 <= id < _link.GPIOS:
            raise ValueError("unknown pin")
        self._gpio = id
        self._pulled = 0
        self._output = False
        self._reported_ms = -1000
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None):
        """Configure the pin; a value is put out before the direction changes, as on the chip."""
        if value is not None:
            _link.levels_out[self._gpio] = 1 if value else 0
        self._pulled = 1 if pull == Pin.PULL_UP else 0
        if mode == Pin.OUT:
            self._output = True
            _link.report_level("O", self._gpio, _link.levels_out[self._gpio])
        elif mode == Pin.IN:
            if self._output:
                _link.report_level("Z", self._gpio, 0)
            self._output = False

    def value(self, level=None):
        """Return the level, or set the output."""
        gpio = self._gpio
        if level is None:
            if self._output:
                return _link.levels_out[gpio]
            _link.pump()
            driven = _link.levels_in[gpio]
            return self._pulled if driven == 2 else driven
        level = 1 if level else 0
        if level != _link.levels_out[gpio]:
            _link.levels_out[gpio] = level
            if self._output:
                self._changed(level)
        return None

    def __call__(self, level=None):
        return self.value(level)

    def toggle(self):
        """Invert the output."""
        level = _link.levels_out[self._gpio] ^ 1
        _link.levels_out[self._gpio] = level
        if self._output:
            self._changed(level)

    def on(self):
        """Set the output high."""
        self.value(1)

    def off(self):
        """Set the output low."""
        self.value(0)

    def _changed(self, level):
        if not _link.fast[self._gpio]:
            _link.report_level("O", self._gpio, level)
            return
        now_ms = time.ticks_ms()
        if now_ms - self._reported_ms >= _link.TOGGLE_EVERY_MS:
            self._reported_ms = now_ms
            _link.report_level("T", self._gpio, level)


class UART:
    """UART0 or UART1: a receive buffer that overflows, and a transmitter as fast as its baud rate."""

    INV_TX = 1
    INV_RX = 2
    _TX_ROOM = 32 + 256  # hardware FIFO and MicroPython's default txbuf

    def __init__(self, id, baudrate=115200, *, tx=None, rx=None, rxbuf=256, txbuf=256, timeout=0, timeout_char=0, **kw):
        if id not in (0, 1):
            raise ValueError("there is no such UART")
        self._id = id
        self._ring = RingIO(max(32, rxbuf))
        self._bytes_per_s = baudrate // 10
        self._queued = 0
        self._queued_us = time.ticks_us()
        _link.lines[id] = self

    def receive(self, buffer, start, count):
        """Take bytes from the line; what does not fit is lost."""
        self._ring.write(buffer, start, count)

    def any(self):
        """Return how many bytes wait."""
        _link.pump()
        return self._ring.any()

    def readinto(self, buffer, count=-1):
        """Read what waits; return None if there is nothing."""
        waiting = self.any()
        if not waiting:
            return None
        if count < 0 or count > len(buffer):
            count = len(buffer)
        return self._ring.readinto(buffer, min(count, waiting))

    def read(self, count=-1):
        """Read what waits as bytes; return None if there is nothing."""
        waiting = self.any()
        if not waiting:
            return None
        return self._ring.read(waiting if count < 0 else min(count, waiting))

    def write(self, buffer):
        """Queue what fits into the transmitter; return how many bytes."""
        now_us = time.ticks_us()
        sent = (now_us - self._queued_us) * self._bytes_per_s // 1_000_000
        if sent:
            self._queued = max(0, self._queued - sent)
            self._queued_us = now_us
        count = min(len(buffer), UART._TX_ROOM - self._queued, 255)
        if count <= 0 or not _link.send_bytes(self._id, buffer, count):
            return 0
        if not self._queued:
            self._queued_us = now_us
        self._queued += count
        return count

    def txdone(self):
        """Return whether everything has left the transmitter."""
        sent = (time.ticks_us() - self._queued_us) * self._bytes_per_s // 1_000_000
        return sent >= self._queued

    def flush(self):
        """Wait until everything has left."""
        while not self.txdone():
            time.sleep_us(100)

    def deinit(self):
        """Let go of the line."""
        if _link.lines[self._id] is self:
            _link.lines[self._id] = None


class WDT:
    """The hardware watchdog; it cannot be stopped, and the supervisor bites even if this program hangs."""

    def __init__(self, id=0, timeout=5000):
        if not 1 <= timeout <= 8388:
            raise ValueError("timeout exceeds 8388")
        _link.report_number("D", 0, timeout)
        _link.report_fed(True)

    def feed(self):
        """Start the timeout again."""
        _link.report_fed()


class _Registers:
    """Scratch registers, the UARTs' overrun flags and the levels of all pins; all else reads 0 and ignores writes."""

    _OVERRUN = 0x400
    _GPIO_IN = 0xD0000004

    def __init__(self):
        self._scratch = _link.config["scratch_at"]
        self._raw_interrupts = [base + 0x3C for base in _link.config["uarts_at"]]
        self._clear_interrupts = [base + 0x44 for base in _link.config["uarts_at"]]

    def __getitem__(self, address):
        if address == self._GPIO_IN:
            _link.pump()
            levels = 0
            for gpio in range(_link.GPIOS):
                if _link.levels_in[gpio]:
                    levels |= 1 << gpio
            return levels
        index = (address - self._scratch) >> 2
        if 0 <= index < 8:
            return _link.config["scratch"][index]
        for number in range(2):
            if address == self._raw_interrupts[number] and _link.overrun[number]:
                return self._OVERRUN
        return 0

    def __setitem__(self, address, value):
        index = (address - self._scratch) >> 2
        if 0 <= index < 8:
            _link.config["scratch"][index] = value & 0xFFFFFFFF
            _link.report_number("S", index, value & 0xFFFFFFFF)
        for number in range(2):
            if address == self._clear_interrupts[number] and value & self._OVERRUN:
                _link.overrun[number] = False


mem32 = _Registers()


def reset_cause():
    """Return PWRON_RESET, or WDT_RESET (after a bite and after reset(), as on the chip)."""
    return _link.config["reset_cause"]


def reset():
    """Restart the chip; does not return."""
    _link.end("R")


def bootloader(timeout=0):
    """Enter the ROM's USB boot loader; does not return, only a power cycle leaves it."""
    _link.end("B")


def unique_id():
    """Return the chip's 8-byte id."""
    return bytes(_link.config["unique_id"])


def freq(hz=None):
    """Return the clock in Hz."""
    return _link.config["clock_hz"]


def idle():
    """Wait for the next interrupt, at most a millisecond."""
    time.sleep_ms(1)


def disable_irq():
    """Do nothing: no interrupt ever runs Python code here."""
    return 0


def enable_irq(state=0):
    """Do nothing, see disable_irq()."""
