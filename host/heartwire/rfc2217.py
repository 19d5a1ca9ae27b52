"""The host link over a serial server that speaks Telnet with serial options (RFC 2217): rfc2217://HOST:PORT.

pyserial negotiates and undoes the doubling of bytes; a thread hands over what comes, so that it can be waited for like
any other channel. Opening it takes up to three seconds, which is why a node line refuses it. Used by transport.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import serial

from heartwire import names, serial_servers, tcp
from heartwire.errors import BoardNotFound, HeartwireError, PortBusy, UsageProblem

SCHEME = "rfc2217://"
# How long the end of a connection may stay unseen by the thread that hands over.
LOOK_S = 0.2
FAULTS = (serial.SerialException, OSError, ValueError)


def bridge(url: str, baud: int) -> tuple[socket.socket, Bridge]:
    """Return a socket that carries the bytes of `url`, and what keeps it.

    Raises BoardNotFound, PortBusy, UsageProblem.
    """
    try:
        host, port = names.split_address(url.removeprefix(SCHEME).strip("/"))
    except ValueError:
        raise UsageProblem(f"{url}: must be {SCHEME}HOST:PORT") from None
    try:
        numeric = names.RESOLVER.addresses(host)[0]
    except OSError as error:
        raise BoardNotFound(f"{url}: {error.strerror}", "give a numeric address") from None
    at = f"[{numeric}]" if ":" in numeric else numeric
    # Without waiting for what becomes of DTR: a server whose device has no such line never says. MicroPython's USB port
    # drops its output while DTR is low.
    address = f"{SCHEME}{at}:{port}?ign_set_control"
    opened: Any = serial.serial_for_url(address, do_not_open=True, baudrate=baud, timeout=LOOK_S)
    opened.dtr = True
    opened.rts = False
    try:
        with _silent_threads():
            opened.open()
    except FAULTS as error:
        raise _problem(url, (numeric, port), error) from None
    inner = getattr(opened, "_socket", None)
    if isinstance(inner, socket.socket):
        tcp.set_patience(inner, tcp.REQUEST_MS)
    ours, theirs = socket.socketpair()
    return ours, Bridge(opened, theirs)


@contextlib.contextmanager
def _silent_threads() -> Iterator[None]:
    """Keep pyserial's reader from printing a traceback where the server hangs up in the middle of a negotiation."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not str(getattr(arguments.thread, "name", "")).startswith("pySerial RFC 2217"):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _problem(url: str, address: tuple[str, int], error: Exception) -> HeartwireError:
    words = serial_servers.said(_first_bytes(address))
    if serial_servers.BUSY in words:
        return PortBusy(f'{url}: the server said "{words}"', serial_servers.BUSY_NEXT)
    if "refused" in str(error):
        return BoardNotFound(f"{url}: connection refused", "check that the server runs and listens there")
    if "support" in str(error):
        hint = "set RFC 2217 there (ser2net: `accepter: telnet(rfc2217),PORT`), or give socket:// for raw TCP"
        return BoardNotFound(f"{url}: the server does not speak RFC 2217", hint)
    return BoardNotFound(f"{url}: no connection{f': {words}' if words else ''}", "check the server and the network")


def _first_bytes(address: tuple[str, int]) -> bytes:
    """Return what the server says to whoever connects: pyserial shows it to nobody."""
    first = b""
    with contextlib.suppress(OSError), socket.create_connection(address, LOOK_S) as connection:
        while len(first) < serial_servers.FIRST_BYTES and (data := connection.recv(serial_servers.FIRST_BYTES)):
            first += data
    return first


class Bridge:
    """Carries bytes both ways until it is closed, or the server hangs up."""

    def __init__(self, opened: Any, end: socket.socket) -> None:
        self._opened = opened
        self._end = end
        self._threads = [
            threading.Thread(target=work, name=f"rfc2217 {work.__name__}", daemon=True)
            for work in (self._inward, self._outward)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End it. The server is told in the background: pyserial may take seconds for that."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        threading.Thread(target=self._end_all, name="rfc2217 close", daemon=True).start()

    def _end_all(self) -> None:
        with contextlib.suppress(*FAULTS):
            self._opened.close()
        for thread in self._threads:
            thread.join(LOOK_S * 2)
        self._end.close()

    def _inward(self) -> None:
        with contextlib.suppress(*FAULTS):
            while self._opened.is_open:
                data = self._opened.read(1)
                if data:
                    self._end.sendall(data + self._opened.read(self._opened.in_waiting))
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def _outward(self) -> None:
        with contextlib.suppress(*FAULTS):
            while data := self._end.recv(serial_servers.FIRST_BYTES):
                self._opened.write(data)
