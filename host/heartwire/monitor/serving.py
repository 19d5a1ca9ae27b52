"""An HTTP server of the monitor: answers in threads of its own until it is closed, and logs no request.

Whoever reaches the port may send anything, so each connection has a size and a time, all together a number, and what
fails in an answer ends neither the server nor reaches a terminal. Knows nothing of what is answered; has no TLS and no
passwords of its own. Used by metrics and peer.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import socketserver
import sys
import threading
import time
from typing import Any, BinaryIO, cast

from heartwire import names
from heartwire.errors import PortBusy
from heartwire.monitor.log import Log

CONNECTIONS_MAX = 16
BACKLOG = 64
# From the connection to the end of the answer: a scraper on a slow line needs a second.
CONNECTION_S = 15.0
HEAD_MAX = 16384


class TooMuch(Exception):
    """A client sent more than it may."""


class _Limited:
    """What a handler reads a request from: so many bytes and no more."""

    def __init__(self, stream: BinaryIO, size_max: int) -> None:
        self._stream = stream
        self._left = size_max

    def readline(self, size: int = -1) -> bytes:
        """Return a line, or its first `size` bytes. Raises TooMuch."""
        return self._taken(self._stream.readline(min(size, self._left + 1) if size >= 0 else self._left + 1))

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, or what comes until the end. Raises TooMuch."""
        return self._taken(self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1))

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _taken(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise TooMuch
        return data


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request; a subclass has do_GET or do_POST, a `timeout` in seconds and, with a body, `body_max`."""

    server_version = "heartwire"
    sys_version = ""
    body_max = 0

    def setup(self) -> None:
        """Begin a connection."""
        super().setup()
        self.rfile = cast(Any, _Limited(cast(BinaryIO, self.rfile), HEAD_MAX + self.body_max))

    def body_length(self) -> int | None:
        """Return how long the body is, None if it has no length or one beyond `body_max`."""
        said = self.headers.get("Content-Length", "")
        return int(said) if re.fullmatch("[0-9]{1,9}", said) and int(said) <= self.body_max else None

    def answer(self, body: bytes, headers: dict[str, str]) -> None:
        """Answer with `body`."""
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: every request would be a line."""


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, address: tuple[str, int], handler: type[Handler], name: str, log: Log | None) -> None:
        self._since: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._name = name
        self._log = log
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection; where there are too many the oldest has had its time."""
        with self._lock:
            oldest = next(iter(self._since), None) if len(self._since) >= CONNECTIONS_MAX else None
            full = len(self._since) >= 2 * CONNECTIONS_MAX
            if not full:
                self._since[request] = time.monotonic()
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def server_bind(self) -> None:
        """Bind, without asking a name server what this host is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that take too long; called twice a second."""
        before_s = time.monotonic() - CONNECTION_S
        with self._lock:
            late = [connection for connection, since_s in self._since.items() if since_s < before_s]
        for connection in late:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note, once a kind, what failed in an answer; a client that went away, or sent too much, is none."""
        error = sys.exc_info()[1]
        if isinstance(error, (OSError, TooMuch)) or self._log is None:
            return
        if self._log.changed(f"client of {self._name}", type(error).__name__):
            self._log.error("client_failed", part=self._name, kind=type(error).__name__)


class Server:
    """Listens on `address` (host:port) from the beginning, for the setting `name`; answers from start() to close().

    Raises PortBusy.
    """

    def __init__(self, name: str, address: str, handler: type[Handler], log: Log | None = None) -> None:
        try:
            host, port = names.split_address(address)
            self._server = _Listener((names.RESOLVER.addresses(host)[0], port), handler, name, log)
        except OSError as error:
            raise PortBusy(f"{name}: {address}: {error.strerror}", "choose another address, or stop its user") from None
        self._thread = threading.Thread(target=self._server.serve_forever, name=name, daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
