"""The serial lines of the emulated board: characters to the two UARTs, bits to the pins of the third line.

A line sends what it is given at its baud rate and hands on each byte the board has sent, with its time. Faults of a
cable (noise, a break) are bytes and levels that the caller chooses. Made by chip.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from heartwire.emulated.pio import PacedPio
from heartwire.emulated.uart import Uart

OnByte = Callable[[int], None]
_BITS = 10  # 8N1


class UartLine:
    """A line on one of the chip's UARTs."""

    def __init__(self, clock: Any, uart: Uart, on_byte: OnByte) -> None:
        self._uart = uart
        self._queue: deque[int] = deque()
        self._alarm = clock.create_alarm(self._arrived)
        uart.on_byte = on_byte

    @property
    def idle(self) -> bool:
        """Whether everything has been sent."""
        return not self._queue

    @property
    def lost(self) -> int:
        """How many bytes the board's UART had no room for, or was not listening to."""
        return self._uart.lost

    @property
    def char_ns(self) -> float:
        """How long one character takes."""
        return self._uart.char_ns

    def send(self, data: bytes) -> None:
        """Send bytes to the board, behind what is still being sent."""
        was_idle = not self._queue
        self._queue.extend(data)
        if was_idle and data:
            self._alarm.schedule(self._uart.char_ns)

    def _arrived(self) -> None:
        self._uart.feed(self._queue.popleft())
        if self._queue:
            self._alarm.schedule(self._uart.char_ns)


class PioLine:
    """The line on PIO: drives the receive pin bit by bit and samples the send pin like a receiver would."""

    def __init__(self, clock: Any, pio: PacedPio, receive_pin: Any, send_pin: Any, on_byte: OnByte) -> None:
        self._clock = clock
        self._pio = pio
        self._pin = receive_pin
        self._send_pin = send_pin
        self._on_byte = on_byte
        self.baud = 115200
        self.lost = 0
        self._queue: deque[int] = deque()
        self._bits = 0
        self._bit = 0
        self._alarm = clock.create_alarm(self._next_bit)
        self._sampled = -1
        self._sample = 0
        self._sample_alarm = clock.create_alarm(self._take_sample)
        pio.set_input(receive_pin, 1)
        send_pin.add_listener(self._sent_edge)

    @property
    def idle(self) -> bool:
        """Whether everything has been sent."""
        return not self._queue

    @property
    def char_ns(self) -> float:
        """How long one character takes."""
        return _BITS * 1e9 / self.baud

    def send(self, data: bytes) -> None:
        """Send bytes to the board, behind what is still being sent."""
        was_idle = not self._queue
        self._queue.extend(data)
        if was_idle and data:
            self._bit = 0
            self._next_bit()

    def _next_bit(self) -> None:
        if self._bit == _BITS:
            self._queue.popleft()
            self._bit = 0
            if not self._queue:
                return
        if self._bit == 0:
            self._bits = self._queue[0] << 1 | 1 << 9
        level = self._bits >> self._bit & 1
        self._bit += 1
        if self._bit == 1 or level != self._bits >> (self._bit - 2) & 1:
            self._pio.set_input(self._pin, level)
        self._alarm.schedule(1e9 / self.baud)

    def _sent_edge(self, level: Any, _before: Any) -> None:
        if self._sampled < 0 and level.name == "LOW":
            self._sampled, self._sample = 0, 0
            self._sample_alarm.schedule(1.5e9 / self.baud)

    def _take_sample(self) -> None:
        level = self._send_pin.value.name != "LOW"
        if self._sampled < 8:
            self._sample |= level << self._sampled
            self._sampled += 1
            self._sample_alarm.schedule(1e9 / self.baud)
            return
        self._sampled = -1
        if level:  # a stop bit
            self._on_byte(self._sample)
