"""The host's end of the emulated USB serial port: sends only when it has data, and may stop reading.

The emulator's host answers a waiting OUT endpoint with an empty packet every 10 us for ever, which keeps the guest's
CPU busy; here it waits until there is something to send. `stalled` models a host that has the port open and does not
read: the board's IN packets stay in its buffers. Made by chip.py; it never looks into the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# A full-speed host asks again within a frame; what was queued until then goes as one packet.
_GATHER_NS = 1000
_FIFO = 512


class UsbHost:
    """The host on `cdc` (the emulator's USBCDC). Bytes from the board go to `on_data`; `connected` tells of DTR."""

    def __init__(self, cdc: Any, on_data: Callable[[bytes], None]) -> None:
        self._cdc = cdc
        self._usb = cdc.usb
        self._clock = cdc.usb.rp2040.clock
        self.on_data = on_data
        self.on_connected: Callable[[], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self.connected = False
        self.connections: list[float] = []
        self._stalled = False
        self._held: list[int] = []
        self._held_data: list[bytes] = []
        self._queue = bytearray()
        self._asked: tuple[int, int] | None = None
        self._read, self._reset = self._usb.on_endpoint_read, self._usb.on_reset
        self._indicate = self._usb._indicate_buffer_ready
        self._usb.on_endpoint_read = self._wanted
        self._usb.on_reset = self._gone
        self._usb._indicate_buffer_ready = self._ready
        cdc.on_serial_data = self._arrived
        cdc.on_device_connected = self._enumerated
        self._alarm = self._clock.create_alarm(self._answer)

    def send(self, data: bytes) -> None:
        """Send bytes to the board; they wait here as long as it takes none."""
        self._queue += data
        if self._asked is not None:
            self._alarm.schedule(_GATHER_NS)

    @property
    def unsent(self) -> int:
        """How many bytes the board has not taken yet."""
        return len(self._queue) + int(self._cdc.tx_fifo.item_count)

    @property
    def stalled(self) -> bool:
        """Whether the host has stopped reading."""
        return self._stalled

    @stalled.setter
    def stalled(self, value: bool) -> None:
        self._stalled = value
        if not value:
            held, self._held = self._held, []
            data, self._held_data = self._held_data, []
            for chunk in data:
                self.on_data(chunk)
            for endpoint in held:
                self._indicate(endpoint, False)

    def set_dtr(self, dtr: bool) -> None:
        """Open or close the port as a program on the host does."""
        if self.connected:
            self._cdc.set_control_lines(dtr=dtr, rts=dtr)

    def _enumerated(self) -> None:
        self.connected = True
        self.connections.append(self._clock.nanos)
        if self.on_connected is not None:
            self.on_connected()

    def _gone(self) -> None:
        self.connected = False
        self._asked = None
        self._alarm.cancel()
        self._queue.clear()
        self._held.clear()
        self._held_data.clear()
        self._reset()
        if self.on_gone is not None:
            self.on_gone()

    def _wanted(self, endpoint: int, size: int) -> None:
        if endpoint == 0 or endpoint != self._cdc._out_endpoint:
            self._read(endpoint, size)
            return
        self._asked = (endpoint, size)
        if self._queue:
            self._alarm.schedule(_GATHER_NS)

    def _answer(self) -> None:
        if self._asked is None or not self._queue:
            return
        (endpoint, size), self._asked = self._asked, None
        chunk = self._queue[: min(size, _FIFO)]
        del self._queue[: len(chunk)]
        for byte in chunk:
            self._cdc.send_serial_byte(byte)
        self._read(endpoint, size)

    def _ready(self, endpoint: int, out: bool) -> None:
        if self._stalled and not out and endpoint and endpoint == self._cdc._in_endpoint:
            self._held.append(endpoint)
        else:
            self._indicate(endpoint, out)

    def _arrived(self, data: bytes | bytearray) -> None:
        if self._stalled:
            self._held_data.append(bytes(data))
        else:
            self.on_data(bytes(data))
