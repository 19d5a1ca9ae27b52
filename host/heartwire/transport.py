"""Channels: open a serial port, a pty or a serial server by its address, and move bytes with a deadline.

A serial server is `socket://host:port` (raw TCP) or `rfc2217://host:port`. A port knows nothing of frames. It is taken
for one program alone (a second one gets PortBusy), no line is toggled that could reset something, and every fault of
the operating system becomes an error of heartwire.errors. That one program is the broker where there is one
(heartwire.broker), and `open_channel` leads to it. Called by link (through `open_channel`) and by the broker; tests
hand link a channel of their own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import time
from pathlib import Path
from typing import Protocol, runtime_checkable

import serial

from heartwire import names, ports, rfc2217, serial_servers, tcp
from heartwire.errors import BoardNotFound, HeartwireError, NoAnswer, NotPermitted, PortBusy, Unplugged, UsageProblem

# USB ignores it. Never 1200: closing a Pico's port at 1200 baud resets it into its boot loader.
BAUD = 115200
CONNECT_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 5.0
CHUNK = 4096
SOCKET_SCHEME = "socket://"
RFC2217_SCHEME = rfc2217.SCHEME
# What the system says of a device that is not there, or not any more.
_AWAY = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EIO, errno.EPIPE, errno.EPROTO, errno.ESHUTDOWN)
# What comes when a device goes away: pyserial's error, the system's, the terminal's, or a TypeError for a lost
# descriptor.
_FAULTS = (serial.SerialException, OSError, TypeError, termios.error)


class Channel(Protocol):
    """What link needs from the world: bytes in, bytes out, and a clock that runs while it waits."""

    name: str
    # Whether its bytes go over a network that others may read; a key never does.
    exposed: bool

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, waiting up to `timeout_s` for the first byte; b"" after that. Raises Unplugged."""

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises Unplugged, or NoAnswer if the other end takes nothing."""

    def close(self) -> None:
        """Give the port back. Never raises."""

    def now(self) -> float:
        """Return seconds on a clock that only moves forward."""


@runtime_checkable
class SharedChannel(Channel, Protocol):
    """A channel to a board that other programs ask as well."""

    def turn(self, operation: str, timeout_s: float) -> bool:
        """Wait for the turn to ask for one operation; tell whether the session of the last hello still stands."""


class Port(Channel, Protocol):
    """A channel that this program has for itself, and can wait for beside others."""

    def fileno(self) -> int:
        """Return the descriptor, readable when something has come; it does not block."""


def open_channel(address: str | None, *, urgent: bool = False) -> Channel:
    """Open the channel that the user named (see ports.resolve): through a broker, or else the port itself.

    `urgent` goes before all other programs. Raises BoardNotFound, PortBusy, NotPermitted, UsageProblem.
    """
    from heartwire.broker import client  # noqa: PLC0415 - which opens ports with this module

    name = ports.resolve(address)
    shared = client.connect(name, urgent=urgent)
    if shared is not None:
        return shared
    try:
        return open_port(name)
    except PortBusy:
        # Perhaps by the broker that another user's program has started.
        shared = client.connect(name, urgent=urgent, others=True)
        if shared is None:
            raise
        return shared


def open_port(name: str) -> Port:
    """Open the port itself, a path or `socket://HOST:PORT`.

    Raises BoardNotFound, PortBusy, NotPermitted, UsageProblem.
    """
    if name.startswith(SOCKET_SCHEME):
        return SocketChannel(name)
    if name.startswith(RFC2217_SCHEME):
        return Rfc2217Channel(name)
    if "://" in name:
        raise UsageProblem(f"{name}: a port is a path, id:SERIAL, socket://HOST:PORT or rfc2217://HOST:PORT")
    return SerialChannel(name)


class SerialChannel:
    """A serial port or a pty, held exclusively."""

    exposed = False

    def __init__(self, path: str) -> None:
        self.name = path
        port = serial.Serial(
            port=None,
            baudrate=BAUD,
            timeout=0,
            write_timeout=WRITE_TIMEOUT_S,
            exclusive=True,
            rtscts=False,
            dsrdtr=False,
            xonxoff=False,
        )
        port.port = path
        # MicroPython's USB port drops its output while DTR is low; RTS stays low, nothing is wired to it.
        port.dtr = True
        port.rts = False
        try:
            port.open()
        except (*_FAULTS, ValueError) as error:
            raise _open_problem(path, error) from None
        self._port = port
        self._exclude(True)

    def read(self, timeout_s: float) -> bytes:
        try:
            if not select.select([self._port.fileno()], [], [], max(0.0, timeout_s))[0]:
                return b""
            return self._port.read(max(1, min(CHUNK, self._port.in_waiting)))
        except _FAULTS as error:
            raise _gone(self.name, error) from None

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except serial.SerialTimeoutException:
            raise NoAnswer(f"{self.name}: the other end takes no data") from None
        except _FAULTS as error:
            raise _gone(self.name, error) from None

    def fileno(self) -> int:
        return int(self._port.fileno())

    def _exclude(self, others: bool) -> None:
        """Let nobody else (but root) open the port: pyserial's lock stops only who asks for it.

        A port that somebody else has open too would keep the mark beyond us, so it is taken back; a pty always would.
        """
        with contextlib.suppress(*_FAULTS):
            if not os.path.realpath(self.name).startswith("/dev/pts/"):
                fcntl.ioctl(self._port.fileno(), termios.TIOCEXCL if others else termios.TIOCNXCL)

    def close(self) -> None:
        self._exclude(False)
        with contextlib.suppress(*_FAULTS):
            # Waiting output for a board that hangs must not keep close() waiting.
            self._port.reset_output_buffer()
        with contextlib.suppress(*_FAULTS):
            self._port.close()

    def now(self) -> float:
        return time.monotonic()


class SocketChannel:
    """A TCP connection to something that passes the bytes on to a board."""

    def __init__(self, url: str) -> None:
        self.name = url
        try:
            address = names.split_address(url.removeprefix(SOCKET_SCHEME).strip("/"))
        except ValueError:
            raise UsageProblem(f"{url}: must be socket://HOST:PORT") from None
        try:
            self._socket = names.create_connection(address, CONNECT_TIMEOUT_S)
        except OSError as error:
            words = getattr(error, "strerror", None) or str(error) or "no connection"
            raise BoardNotFound(f"{url}: {words}", "check that the other end runs and listens there") from None
        self.exposed = not names.is_loopback(self._socket.getpeername()[0])
        self._socket.settimeout(WRITE_TIMEOUT_S)
        tcp.set_patience(self._socket, tcp.REQUEST_MS)
        self._greeting = serial_servers.Greeting()

    def read(self, timeout_s: float) -> bytes:
        try:
            if not select.select([self._socket], [], [], max(0.0, timeout_s))[0]:
                return b""
            data = self._socket.recv(CHUNK)
        except OSError as error:
            raise (self._refusal() if self._greeting.words else _gone(self.name, error)) from None
        if not data:
            raise self._refusal()
        self._greeting.take(data)
        if self._greeting.is_telnet:
            raise UsageProblem(
                f"{self.name}: {serial_servers.TELNET}",
                f"{serial_servers.TELNET_NEXT}, or give rfc2217://HOST:PORT where it knows RFC 2217",
            )
        return data

    def _refusal(self) -> HeartwireError:
        words = self._greeting.end
        if serial_servers.BUSY in words:
            return PortBusy(f"{self.name}: {words}", serial_servers.BUSY_NEXT)
        return Unplugged(f"{self.name}: {words}")

    def write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise NoAnswer(f"{self.name}: the other end takes no data") from None
        except OSError as error:
            raise _gone(self.name, error) from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        # A request that nobody heard must not reach the board minutes later, when whoever asked has given it up.
        tcp.close(self._socket)

    def now(self) -> float:
        return time.monotonic()


class Rfc2217Channel(SocketChannel):
    """A serial server that speaks RFC 2217."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._socket, self._bridge = rfc2217.bridge(url, BAUD)
        self.exposed = names.crosses_network(url)
        self._socket.settimeout(WRITE_TIMEOUT_S)
        self._greeting = serial_servers.Greeting()

    def close(self) -> None:
        self._bridge.close()
        self._socket.close()


def _gone(name: str, error: Exception) -> Unplugged:
    words = getattr(error, "strerror", None) or "the device is gone"
    return Unplugged(f"{name}: connection lost ({words})")


def _open_problem(path: str, error: Exception) -> HeartwireError:
    """Return what it means that a port does not open.

    A device that goes away meanwhile shows as an error of pyserial's, of the system's or of termios's, with and without
    a number, by how far the opening had come.
    """
    number = _number_of(error)
    if number in (errno.EBUSY, errno.EAGAIN):
        holder = ports.holder_of(path)
        return PortBusy(f"{path} is in use by {holder or 'another program'}")
    if number in (errno.EACCES, errno.EPERM):
        return NotPermitted(
            f"{path}: you may not open this port",
            "add yourself to the group that owns it (often `dialout`) and log in again, or install the udev rule that "
            "`heartwire help ports` shows",
        )
    if number in _AWAY or not Path(path).exists():
        return BoardNotFound(f"{path}: no such port")
    words = os.strerror(number) if number else getattr(error, "strerror", None) or error
    return BoardNotFound(f"{path}: not a serial port that can be opened ({words})")


def _number_of(error: BaseException | None) -> int | None:
    """Return the system's error number of an error, or of the one that it was made of."""
    while error is not None:
        number = getattr(error, "errno", None)
        if number is None and isinstance(error, termios.error) and error.args:
            number = error.args[0]
        if isinstance(number, int):
            return number
        error = error.__context__
    return None
