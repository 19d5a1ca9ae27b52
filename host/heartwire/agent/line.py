"""The serial line to the board, as the agent needs it: never blocks, flushed on open, exclusive, and back by itself.

`Line` opens a port, reads into a buffer and writes frames; when the port vanishes it tries again with growing pauses,
and says so once per outage. A frame that does not fit into the output buffer is dropped, because a late heartbeat is
worth nothing. It knows nothing of what the bytes mean.
"""

import contextlib
import errno
import fcntl
import os
import socket
import termios
from collections.abc import Callable
from typing import Protocol

from heartwire.agent.log import Log

BACK_OFF_NS = (100_000_000, 200_000_000, 500_000_000, 1_000_000_000, 2_000_000_000)
CONNECT_NS = 3_000_000_000
READ_MAX = 4096


class Port(Protocol):
    """An open port."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def read(self) -> bytes:
        """Return what has arrived; BlockingIOError if nothing has, OSError or b"" if it is gone."""

    def write(self, data: memoryview) -> int:
        """Write what fits now; BlockingIOError if nothing does, OSError if it is gone."""

    def close(self) -> None:
        """Let go of it."""


class SerialPort:
    """A tty, set to raw 8N1."""

    def __init__(self, path: str, baud: int) -> None:
        """Open, lock, set and flush it. OSError if any of that fails; EBUSY if another program holds it."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._prepare(path, baud)
        except termios.error as error:
            self.close()
            raise OSError(errno.ENOTTY, f"not a serial port: {error.args[-1]}") from error
        except OSError:
            self.close()
            raise

    def _prepare(self, path: str, baud: int) -> None:
        if not os.isatty(self._descriptor):
            raise OSError(errno.ENOTTY, "not a serial port")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OSError(errno.EBUSY, "in use by another program") from error
        # A pty keeps this flag while anybody has it open, even after its holder was killed; a real port does not.
        if not os.path.realpath(path).startswith("/dev/pts/"):
            fcntl.ioctl(self._descriptor, termios.TIOCEXCL)
        speed = getattr(termios, f"B{baud}")
        control = termios.CS8 | termios.CREAD | termios.CLOCAL
        characters = termios.tcgetattr(self._descriptor)[6]
        # With 1, an empty buffer gives EAGAIN and only a port that is gone gives an empty read.
        characters[termios.VMIN] = 1
        characters[termios.VTIME] = 0
        termios.tcsetattr(self._descriptor, termios.TCSANOW, [0, 0, control, 0, speed, speed, characters])
        # Grants that waited in the buffer answer heartbeats of somebody else.
        termios.tcflush(self._descriptor, termios.TCIOFLUSH)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._descriptor

    def read(self) -> bytes:
        """Return what has arrived; see Port.read."""
        return os.read(self._descriptor, READ_MAX)

    def write(self, data: memoryview) -> int:
        """Write what fits now; see Port.write."""
        return os.write(self._descriptor, data)

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


class SocketPort:
    """A TCP connection, for serial servers and virtual racks: socket://host:port."""

    def __init__(self, url: str) -> None:
        """Begin to connect; until that is done reads and writes raise BlockingIOError. OSError for a bad address."""
        host, _, port = url.removeprefix("socket://").rpartition(":")
        if not host or not port.isdigit():
            raise OSError(errno.EINVAL, "must be socket://host:port with a number")
        # Numeric addresses and localhost only resolve without waiting; a name server must not hold up heartbeats.
        address = "127.0.0.1" if host == "localhost" else host.strip("[]")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            try:
                self._socket.connect((address, int(port)))
            except BlockingIOError:
                raise
            except OSError as error:
                self._socket.close()
                raise OSError(error.errno or errno.EINVAL, error.strerror or "give a numeric address") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._socket.fileno()

    def read(self) -> bytes:
        """Return what has arrived; see Port.read."""
        return self._socket.recv(READ_MAX)

    def write(self, data: memoryview) -> int:
        """Write what fits now; see Port.write."""
        try:
            return self._socket.send(data)
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                raise BlockingIOError from error
            raise

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


def open_port(path: str, baud: int) -> Port:
    """Open a device or a socket:// URL. OSError if it cannot be."""
    return SocketPort(path) if path.startswith("socket://") else SerialPort(path, baud)


class Line:
    """A port that comes back. All methods return at once and never raise."""

    def __init__(self, path: str, baud: int, log: Log, opener: Callable[[str, int], Port] = open_port) -> None:
        self.path = path
        self.port: Port | None = None
        self.opened_count = 0
        self.dropped_frames = 0
        self.problem = "not opened yet"
        self._baud = baud
        self._log = log
        self._open = opener
        self._attempt = 0
        self._next_try_ns = 0

    def ensure(self, now_ns: int) -> bool:
        """Open the port if it is closed and a try is due; tell whether it was opened now."""
        if self.port is not None or now_ns < self._next_try_ns:
            return False
        try:
            self.port = self._open(self.path, self._baud)
        except OSError as error:
            self._lost(now_ns, error.strerror or type(error).__name__)
            return False
        self.opened_count += 1
        self.problem = ""
        self._log.changed("line", "")
        self._log.info("line_open", port=self.path, count=self.opened_count)
        return True

    def read(self, now_ns: int) -> bytes:
        """Return what has arrived, or nothing."""
        if self.port is None:
            return b""
        try:
            data = self.port.read()
        except BlockingIOError:
            return b""
        except OSError as error:
            self._lost(now_ns, error.strerror or type(error).__name__)
            return b""
        if not data:
            self._lost(now_ns, "closed by the other side")
            return b""
        self._attempt = 0
        return data

    def write(self, data: memoryview, now_ns: int) -> bool:
        """Write one frame; tell whether all of it was taken."""
        if self.port is None:
            return False
        try:
            taken = self.port.write(data)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._lost(now_ns, error.strerror or type(error).__name__)
            return False
        if taken < len(data):
            self.dropped_frames += 1
        return taken == len(data)

    def hung_up(self, now_ns: int) -> None:
        """Note that the poll reported the port gone."""
        self._lost(now_ns, "port is gone")

    def close(self) -> None:
        """Close the port for good."""
        if self.port is not None:
            self.port.close()
            self.port = None

    def _lost(self, now_ns: int, problem: str) -> None:
        self.close()
        self.problem = problem
        self._next_try_ns = now_ns + BACK_OFF_NS[min(self._attempt, len(BACK_OFF_NS) - 1)]
        self._attempt += 1
        if self._log.changed("line", "lost"):
            self._log.warning("line_lost", port=self.path, problem=problem)
