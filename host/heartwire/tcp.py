"""What a TCP connection does with bytes that the other end has not acknowledged.

The kernel sends them again for a quarter of an hour, also after the program has closed the connection and ended: a
heartbeat or a request would arrive long after it was meant. So a connection gives up soon, and is reset where something
waits in it. Used by agent.port and transport.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios

# How long a request may be on its way: as long as its answer is waited for.
REQUEST_MS = 5000
# A busy network catches up within it.
UNACKNOWLEDGED_MIN_MS = 1000
# A connection on which nothing is said is asked after so long, so often, and so often more: it is gone within a minute.
KEEPALIVE_S = ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


def set_patience(connection: socket.socket, unacknowledged_ms: int) -> None:
    """Send at once; give the connection up when bytes are not acknowledged for so long, or an idle one is dead."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(UNACKNOWLEDGED_MIN_MS, unacknowledged_ms))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE_S:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def outgoing(descriptor: int) -> int:
    """Return the count of bytes that wait in a tty or are unacknowledged in a TCP connection; 0 if it cannot tell."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0


def reset(connection: socket.socket) -> None:
    """Close the connection, and throw away what waits in it."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close(connection: socket.socket) -> None:
    """Close the connection in good order if all of it was heard, else as `reset` does."""
    if outgoing(connection.fileno()):
        reset(connection)
    else:
        connection.close()
