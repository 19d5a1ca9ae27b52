"""What the agent's line is made of: a tty, or a TCP connection to a serial server.

A port is opened, read, written and let go; line.py brings it back. It knows nothing of what the bytes mean. Used by
line.py, and by the doctor.
"""

import contextlib
import errno
import fcntl
import os
import queue
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from heartwire import tcp
from heartwire.names import is_numeric, split_address

READ_MAX = 4096
SOCKET_SCHEME = "socket://"
FORMS = "a serial device, or socket://ADDRESS:PORT"
# A connection whose bytes are not acknowledged for two heartbeats is given up.
UNACKNOWLEDGED_INTERVALS = 2
# A tty is open within a few ms, if at all.
OPENING_S = 0.05


class Port(Protocol):
    """An open port."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def ready(self) -> bool:
        """Tell whether it may be used, or is still being connected; OSError if that failed."""

    def read(self) -> bytes:
        """Return what has arrived; BlockingIOError if nothing has, OSError or b"" if it is gone."""

    def write(self, data: memoryview) -> int:
        """Write what fits now; BlockingIOError if nothing does, OSError if it is gone."""

    def waiting(self) -> int:
        """Return the count of written bytes that have not left it, or are not acknowledged."""

    def discard(self) -> bool:
        """Throw away what waits to be sent; tell whether that can be done."""

    def close(self) -> None:
        """Let go of it; what was written still leaves."""

    def drop(self) -> None:
        """Let go of it at once, and of what waits to be sent."""


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
        # Output that another program has stopped (tcflow, XOFF) stays stopped else.
        termios.tcflow(self._descriptor, termios.TCOON)
        # Grants that waited in the buffer answer heartbeats of somebody else.
        termios.tcflush(self._descriptor, termios.TCIOFLUSH)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._descriptor

    def ready(self) -> bool:
        """Tell that it may be used."""
        return True

    def read(self) -> bytes:
        """Return what has arrived; see Port.read."""
        return os.read(self._descriptor, READ_MAX)

    def write(self, data: memoryview) -> int:
        """Write what fits now; see Port.write."""
        return os.write(self._descriptor, data)

    def waiting(self) -> int:
        """Return the count of bytes in the driver's buffer."""
        return tcp.outgoing(self._descriptor)

    def discard(self) -> bool:
        """Empty the driver's buffer."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
        return True

    def close(self) -> None:
        """Let go of it; see Port.close."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def drop(self) -> None:
        """Let go of it; the kernel would wait up to half a minute for bytes that a hung adapter does not take."""
        if self._descriptor >= 0:
            self.discard()
        self.close()


class Hand:
    """A thread that does one thing after another, because a driver of a hung USB adapter may hold it for many seconds.

    Started with it, as a thread that begins after the memory was locked has its whole stack locked.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="heartwire-port", daemon=True).start()

    def do(self, job: Callable[[], None]) -> None:
        """Have `job` done when its turn comes; what it raises is lost."""
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            with contextlib.suppress(Exception):
                self._jobs.get()()


class AsidePort:
    """A tty that is opened and let go by a hand, so that its driver holds up no heartbeat and no kernel watchdog."""

    def __init__(self, path: str, baud: int, hand: Hand) -> None:
        """Begin to open it; `ready` says when it is, and raises what went wrong."""
        self._hand = hand
        self._port: SerialPort | None = None
        self._problem: OSError | None = None
        self._over = threading.Event()
        self._asked = False
        hand.do(lambda: self._open(path, baud))

    def _open(self, path: str, baud: int) -> None:
        try:
            self._port = SerialPort(path, baud)
        except OSError as error:
            self._problem = error
        except Exception as error:  # else it would be opened for ever
            self._problem = OSError(errno.EIO, repr(error))
        finally:
            self._over.set()

    def ready(self) -> bool:
        """Tell whether it is open; OSError if it cannot be. Only the first call waits, for OPENING_S at most."""
        self._over.wait(0 if self._asked else OPENING_S)
        self._asked = True
        if self._problem:
            raise self._problem
        return self._port is not None

    @property
    def _opened(self) -> SerialPort:
        if self._port is None:
            raise BlockingIOError
        return self._port

    def fileno(self) -> int:
        """Return its descriptor; -1 while it is being opened."""
        return self._port.fileno() if self._port else -1

    def read(self) -> bytes:
        """Return what has arrived; see Port.read."""
        return self._opened.read()

    def write(self, data: memoryview) -> int:
        """Write what fits now; see Port.write."""
        return self._opened.write(data)

    def waiting(self) -> int:
        """Return the count of bytes in the driver's buffer."""
        return self._opened.waiting()

    def discard(self) -> bool:
        """Empty the driver's buffer."""
        return self._opened.discard()

    def close(self) -> None:
        """Let go of it; wait for that as long as for opening it."""
        over = threading.Event()
        self._hand.do(lambda: self._end(over, drop=False))
        over.wait(OPENING_S)

    def drop(self) -> None:
        """Let go of it when its turn comes; what is opened after it is opened after that."""
        self._hand.do(lambda: self._end(threading.Event(), drop=True))

    def _end(self, over: threading.Event, drop: bool) -> None:
        if self._port:
            (self._port.drop if drop else self._port.close)()
        over.set()


class SocketPort:
    """A TCP connection to a serial server or a virtual rack: socket://ADDRESS:PORT."""

    def __init__(self, url: str, *, interval_ms: int = 1000, source_port: int = 0) -> None:
        """Begin to connect; until `ready`, reads and writes raise BlockingIOError. OSError for a bad address."""
        host, port = address_of(url)
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self.connected = False
        self.ended = False  # by the other side, which therefore knows that it is over
        self.source_port = source_port
        try:
            self._prepare(UNACKNOWLEDGED_INTERVALS * interval_ms, source_port)
            with contextlib.suppress(BlockingIOError):
                self._socket.connect((host, port))
            self.source_port = int(self._socket.getsockname()[1])
        except OSError:
            self._socket.close()
            raise

    def _prepare(self, unacknowledged_ms: int, source_port: int) -> None:
        self._socket.setblocking(False)
        tcp.set_patience(self._socket, unacknowledged_ms)
        if source_port:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("", source_port))

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._socket.fileno()

    def ready(self) -> bool:
        """Tell whether the connection is there; OSError if it was refused."""
        if self.connected:
            return True
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        try:
            self._socket.getpeername()
        except OSError:
            return False
        self.connected = True
        return True

    def read(self) -> bytes:
        """Return what has arrived; see Port.read."""
        with self._noting_the_end():
            data = self._socket.recv(READ_MAX)
        self.ended = not data
        return data

    def write(self, data: memoryview) -> int:
        """Write what fits now; see Port.write."""
        if not self.ready():
            raise BlockingIOError
        with self._noting_the_end():
            return self._socket.send(data)

    @contextlib.contextmanager
    def _noting_the_end(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionResetError, BrokenPipeError):
            self.ended = True
            raise

    def waiting(self) -> int:
        """Return the count of bytes that the other end has not acknowledged."""
        return tcp.outgoing(self._socket.fileno())

    def discard(self) -> bool:
        """Tell that TCP gives nothing back."""
        return False

    def close(self) -> None:
        """Let go of it; see Port.close."""
        self._socket.close()

    def drop(self) -> None:
        """Reset the connection: what waits in it would else be sent later, in a burst of old heartbeats."""
        tcp.reset(self._socket)


def address_of(url: str) -> tuple[str, int]:
    """Return (numeric address, TCP port) of socket://ADDRESS:PORT. OSError for anything else.

    A name is refused: a name server that is down would hold up heartbeats, leases and the kernel watchdog.
    """
    try:
        host, port = split_address(url.removeprefix(SOCKET_SCHEME))
    except ValueError:
        port = 0
    if not port:
        raise OSError(errno.EINVAL, "must be socket://ADDRESS:PORT with a number from 1 to 65535")
    host = "127.0.0.1" if host == "localhost" else host
    if not is_numeric(host):
        words = f"must have a numeric address, not {host}: a name server that is down would hold up heartbeats"
        raise OSError(errno.EINVAL, words)
    return host, port


def port_problem(text: str) -> str:
    """Return why `text` cannot be the port of a node line, with what works; "" if it can."""
    scheme, separator, _ = text.partition("://")
    if not separator:
        return ""
    if scheme == "rfc2217":
        return (
            "rfc2217:// works for the host link only: its negotiation waits for the server, and heartbeats must not; "
            f"set raw TCP there and give {SOCKET_SCHEME}ADDRESS:PORT"
        )
    if f"{scheme}://" != SOCKET_SCHEME:
        return f"must be {FORMS}, not {scheme}://"
    try:
        address_of(text)
    except OSError as error:
        return str(error.strerror)
    return ""


def open_port(path: str, baud: int) -> Port:
    """Open a device, or begin to connect to a socket:// URL. OSError if it cannot be."""
    if "://" not in path:
        return SerialPort(path, baud)
    if problem := port_problem(path):
        raise OSError(errno.EINVAL, problem)
    return SocketPort(path)


class Opener:
    """Opens the port of one line again and again; TCP's patience is measured by the interval of heartbeats.

    A serial server that did not hear the end of a connection keeps the line for it. A new connection from the same TCP
    port makes its kernel find that out (RFC 9293, half-open connections). Every second one comes from another port, as
    some servers remember the port of a connection for minutes after its end.
    """

    def __init__(self, interval_ms: int = 1000) -> None:
        self._interval_ms = interval_ms
        self._hand = Hand()
        self._last: SocketPort | None = None
        self._half_open = 0  # source port of a connection that the server may still believe in
        self._same = False

    def __call__(self, path: str, baud: int) -> Port:
        """Begin to open a device or a socket:// URL. OSError if it cannot be."""
        if "://" not in path:
            return AsidePort(path, baud, self._hand)
        if problem := port_problem(path):
            raise OSError(errno.EINVAL, problem)
        last = self._last
        if last and last.connected and not last.ended:
            self._half_open, self._same = last.source_port, False
        elif last and last.ended and last.source_port == self._half_open:
            self._half_open = 0
        self._same = bool(self._half_open) and not self._same
        self._last = self._connect(path, self._half_open if self._same else 0)
        return self._last

    def _connect(self, path: str, source_port: int) -> SocketPort:
        if source_port:
            # The address that it belonged to may be gone, or another program may have the port by now.
            with contextlib.suppress(OSError):
                return SocketPort(path, interval_ms=self._interval_ms, source_port=source_port)
        return SocketPort(path, interval_ms=self._interval_ms)
