"""Pseudo terminals that look like serial ports: raw, without echo, reachable under a path that stays the same.

A port that is always there (a server's serial port) keeps its slave side open, so that no reader sees an end. Nothing
here knows what the bytes mean. Used by cable.py; usb.py makes its own, because a USB device vanishes.
"""

import contextlib
import errno
import os
import select
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from heartwire.virtual.reactor import Reactor, Timer

_READ_BYTES = 4096
_PAUSE_MS = 2


def open_raw_pair(path: Path) -> tuple[int, int]:
    """Return (master, slave) of a raw pseudo terminal that `path` points to; the master does not block."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    fresh = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(os.ttyname(slave))
    fresh.replace(path)
    return master, slave


class SerialPort:
    """A serial port of a server: programs open `path`, the rack is at the other end."""

    def __init__(
        self,
        reactor: Reactor,
        path: Path,
        on_data: Callable[[bytes], None],
        allowance: Callable[[], int] = lambda: _READ_BYTES,
    ) -> None:
        """Make the port; `allowance()` tells how many bytes may be taken now, 0 makes the sender wait."""
        self.path = path
        self.lost = 0
        self._reactor = reactor
        self._on_data = on_data
        self._allowance = allowance
        self._pause: Timer | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._master, self._slave = open_raw_pair(path)
        reactor.watch(self._master, select.EPOLLIN, self._readable)

    def send(self, data: bytes) -> None:
        """Deliver bytes to whoever has the port open; what nobody reads is lost once 4 KiB wait."""
        try:
            sent = os.write(self._master, data)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EIO):
                raise
            sent = 0
        self.lost += len(data) - sent

    def flush(self) -> None:
        """Forget the bytes on their way in both directions, as a port without power does."""
        termios.tcflush(self._slave, termios.TCIOFLUSH)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._master, 4096):
                pass

    def close(self) -> None:
        """Remove the port."""
        if self._pause is not None:
            self._pause.cancel()
        self._reactor.unwatch(self._master)
        os.close(self._master)
        os.close(self._slave)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def _readable(self, _events: int) -> None:
        allowed = self._allowance()
        if not allowed:
            self._reactor.change(self._master, 0)
            self._pause = self._reactor.later(_PAUSE_MS, self._go_on)
            return
        try:
            data = os.read(self._master, allowed)
        except BlockingIOError:
            return
        self._on_data(data)

    def _go_on(self) -> None:
        self._reactor.change(self._master, select.EPOLLIN)
