"""An HTTP server of the monitor: answers in threads of its own until it is closed, and logs no request.

Knows nothing of what is answered; has no TLS and no passwords of its own. Used by metrics and peer.
"""

from __future__ import annotations

import http.server
import socketserver
import threading
from typing import Any

from heartwire import names
from heartwire.errors import PortBusy
from heartwire.monitor.settings import address_of


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request; a subclass has do_GET or do_POST and a `timeout` in seconds."""

    server_version = "heartwire"
    sys_version = ""

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
    """Asks no name server what it is called, as the standard one does: that may take longer than a start may."""

    daemon_threads = True

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


class Server:
    """Listens on `address` (host:port) from the beginning, for the setting `name`; answers from start() to close().

    Raises PortBusy.
    """

    def __init__(self, name: str, address: str, handler: type[Handler]) -> None:
        try:
            host, port = address_of(address)
            self._server = _Listener((names.RESOLVER.addresses(host)[0], port), handler)
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
