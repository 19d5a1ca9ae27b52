"""A model of the PL011 UART, as far as MicroPython's machine.UART uses it: FIFOs, interrupts, paced bytes.

Takes the place of the emulator's own UART, whose transmit interrupt never goes away. RP2040 datasheet 4.2 throughout.
It moves whole characters, never samples bits; DMA is not modelled. Made by chip.py for both UARTs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from heartwire.flash.boards import RP2040

# Register offsets (4.2.8).
DR, RSR, FR, IBRD, FBRD, LCR_H, CR, IFLS, IMSC, RIS, MIS, ICR, DMACR = (
    0x00, 0x04, 0x18, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x40, 0x44, 0x48,
)  # fmt: skip
# Interrupt bits.
RX, TX, RX_TIMEOUT, OVERRUN = 1 << 4, 1 << 5, 1 << 6, 1 << 10
_ERROR_SHIFT = 7  # framing, parity and break errors are bits 7 to 9
FRAMING, PARITY, BREAK = 1, 2, 4
_IDENTITY = {0xFE0: 0x11, 0xFE4: 0x10, 0xFE8: 0x34, 0xFEC: 0, 0xFF0: 0x0D, 0xFF4: 0xF0, 0xFF8: 0x05, 0xFFC: 0xB1}
_LEVELS = (4, 8, 16, 24, 28)
FIFO_DEPTH = 32


class Uart:
    """One UART at `base` with interrupt `irq`; `on_byte(byte)` is called at the end of each sent character."""

    def __init__(self, mcu: Any, irq: int, on_byte: Callable[[int], None]) -> None:
        self._mcu = mcu
        self._clock = mcu.clock
        self._irq_number = irq
        self.on_byte = on_byte
        self.lost = 0
        self.raw_write_value = 0
        self._sent_alarm = self._clock.create_alarm(self._sent)
        self._timeout_alarm = self._clock.create_alarm(self._timed_out)
        self._start()

    def _start(self) -> None:
        self._control, self._line, self._trigger, self._mask, self._raw = 0x300, 0, 0x12, 0, 0
        self._whole, self._fraction, self._dma = 0, 0, 0
        self._received: deque[int] = deque()
        self._waiting: deque[int] = deque()
        self._shifting: int | None = None

    def reset(self) -> None:
        """Go back to the state after a reset; whatever was being sent is gone."""
        self._sent_alarm.cancel()
        self._timeout_alarm.cancel()
        self._start()
        self._mcu.set_interrupt(self._irq_number, False)

    @property
    def baud(self) -> float:
        """The baud rate that the divisors give; 0 while they are not set."""
        divisor = self._whole + self._fraction / 64
        return RP2040.peripheral_hz / (16 * divisor) if divisor else 0.0

    @property
    def char_ns(self) -> float:
        """How long one character takes."""
        line = self._line
        bits = 1 + 5 + (line >> 5 & 3) + (1 if line & 2 else 0) + (2 if line & 8 else 1)
        return bits * 1e9 / (self.baud or 115200)

    @property
    def listening(self) -> bool:
        """Whether the receiver is enabled."""
        return bool(self._control & 1 and self._control & 0x200)

    def feed(self, byte: int, errors: int = 0) -> None:
        """A character has arrived, its stop bit is over; `errors`: FRAMING, PARITY, BREAK."""
        if not self.listening:
            self.lost += 1
            return
        if len(self._received) >= self._depth():
            self.lost += 1
            self._raw |= OVERRUN
        else:
            self._received.append(byte & 0xFF | errors << 8)
            self._raw |= errors << _ERROR_SHIFT
            if len(self._received) >= self._receive_level():
                self._raw |= RX
            self._timeout_alarm.schedule(32 * self.char_ns / 10)
        self._interrupt()

    def _depth(self) -> int:
        return FIFO_DEPTH if self._line & 0x10 else 1

    def _receive_level(self) -> int:
        return _LEVELS[min(self._trigger >> 3 & 7, 4)] if self._line & 0x10 else 1

    def _send_level(self) -> int:
        return _LEVELS[min(self._trigger & 7, 4)] if self._line & 0x10 else 0

    def _interrupt(self) -> None:
        self._mcu.set_interrupt(self._irq_number, bool(self._raw & self._mask))

    def _timed_out(self) -> None:
        if self._received:
            self._raw |= RX_TIMEOUT
            self._interrupt()

    def _send_next(self) -> None:
        if self._shifting is None and self._waiting and self._control & 1 and self._control & 0x100:
            self._shifting = self._waiting.popleft()
            if len(self._waiting) == self._send_level():
                self._raw |= TX
            self._sent_alarm.schedule(self.char_ns)

    def _sent(self) -> None:
        byte, self._shifting = self._shifting, None
        if byte is not None:
            self.on_byte(byte)
        self._send_next()
        self._interrupt()

    # The bus: what the emulator asks of a peripheral.

    def read_uint32(self, offset: int) -> int:
        """Read a register."""
        if offset == DR:
            return self._take()
        if offset == FR:
            return (
                (0x80 if not self._waiting else 0)
                | (0x40 if len(self._received) >= self._depth() else 0)
                | (0x20 if len(self._waiting) >= self._depth() else 0)
                | (0x10 if not self._received else 0)
                | (0x08 if self._shifting is not None or self._waiting else 0)
            )
        values = {
            IBRD: self._whole, FBRD: self._fraction, LCR_H: self._line, CR: self._control, IFLS: self._trigger,
            IMSC: self._mask, RIS: self._raw, MIS: self._raw & self._mask, DMACR: self._dma,
        }  # fmt: skip
        return values.get(offset, _IDENTITY.get(offset, 0))

    def _take(self) -> int:
        if not self._received:
            return 0
        value = self._received.popleft()
        if len(self._received) < self._receive_level():
            self._raw &= ~RX
        if not self._received:
            self._raw &= ~RX_TIMEOUT
            self._timeout_alarm.cancel()
        self._interrupt()
        return value

    def write_uint32(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset == DR:
            if len(self._waiting) < self._depth():
                self._waiting.append(value & 0xFF)
            if len(self._waiting) > self._send_level():
                self._raw &= ~TX
            self._send_next()
        elif offset == IBRD:
            self._whole = value & 0xFFFF
        elif offset == FBRD:
            self._fraction = value & 0x3F
        elif offset == LCR_H:
            self._line = value & 0xFF
        elif offset == CR:
            self._control = value & 0xFFFF
            self._send_next()
        elif offset == IFLS:
            self._trigger = value & 0x3F
        elif offset == IMSC:
            self._mask = value & 0x7FF
        elif offset == ICR:
            self._raw &= ~self.raw_write_value
        elif offset == DMACR:
            self._dma = value & 7
        else:
            return
        self._interrupt()

    def write_uint32_atomic(self, offset: int, value: int, kind: int) -> None:
        """Write a register through one of its atomic aliases: plain, XOR, set, clear (datasheet 2.1.2)."""
        self.raw_write_value = value
        if kind:
            before = self.read_uint32(offset)
            value = (before, before ^ value, before | value, before & ~value)[kind]
        self.write_uint32(offset, value)
