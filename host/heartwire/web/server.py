"""The socket of the page: uvicorn in a thread of its own, with a limit to all that a client sends and to how long.

A connection has HEAD_S for each request and EXCHANGE_S for each answer, so neither one that says nothing nor one that
reads nothing stays; where there are too many, those that wait go first. What fails in an answer is noted in the
monitor's log and ends nothing. Knows nothing of what is answered. Called by monitor.run.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from heartwire import names
from heartwire.errors import BadConfig, PortBusy
from heartwire.monitor.log import Log

# Browsers open six connections each, and keep one for the live update.
CONNECTIONS_MAX = 96
BACKLOG = 64
# Of request line and headers; a browser's are 2 KB.
HEAD_BYTES = 16_384
# From the connection, or the last answer, to the end of the next request.
HEAD_S = 10.0
# From the end of a request to the end of its answer: a live update ends itself before (live.STREAM_S).
EXCHANGE_S = 75.0
LOOK_S = 1.0
# Longer than an answer under way takes that is not a live update.
STOP_S = 5.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Bounded(H11Protocol):
    """A connection of so many bytes and seconds, and all together so many connections."""

    _since_s = 0.0
    _state: tuple[object, bool] = (None, True)
    _ended = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; where there are too many, one that waits has had its time, else this one goes."""
        super().connection_made(transport)
        self._since_s = self.loop.time()
        if len(self.connections) > CONNECTIONS_MAX:
            self._make_room()
        self._look()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request, or drop who sends what is no HTTP."""
        try:
            super().data_received(data)
        except Exception:
            # Whatever a parser makes of bytes that nobody foresaw: this connection's end, and no other's.
            self.transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Go on with the answer to a client that says no more; end where there is none (TLS knows no half)."""
        self._ended = True
        return self.scheme == "http" and not self._is_waited_for()

    def _is_waited_for(self) -> bool:
        """Tell whether the client is still to send something."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body

    def _make_room(self) -> None:
        waiting = [one for one in self.connections if isinstance(one, Bounded) and one is not self]
        idle = [one for one in waiting if one._is_waited_for()]
        oldest = min(idle, key=lambda one: one._since_s, default=self)
        oldest.transport.abort()

    def _look(self) -> None:
        """End the connection where its time is over; called every second while it lasts."""
        if self.transport.is_closing() and self not in self.connections:
            return
        now_s, state = self.loop.time(), (self.cycle, self._is_waited_for())
        if state != self._state:
            self._state, self._since_s = state, now_s
        limit_s = HEAD_S if state[1] else EXCHANGE_S
        if now_s - self._since_s > limit_s or (self._ended and state[1]):
            self.transport.abort()
            return
        self.loop.call_later(LOOK_S, self._look)


class Guarded:
    """An app that lets nothing escape: what fails is noted once a kind, and the client gets a plain 500."""

    def __init__(self, app: App, log: Log | None) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if self._log is not None and self._log.changed("client of web", type(error).__name__):
                self._log.error("client_failed", part="web", kind=type(error).__name__)
            if begun or scope["type"] != "http":
                raise ConnectionError from None  # nothing sensible can follow: the connection ends
            body = b"The page failed at this; the monitor's log says where. The boards guard on.\n"
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": body})


class Server:
    """Listens on `address` (host:port) from the beginning, answers from start() to close(). Raises PortBusy, BadConfig.

    `certificate` is (certificate file, key file) for HTTPS.
    """

    def __init__(
        self, address: str, app: App, log: Log | None = None, *, certificate: tuple[Path, Path] | None = None
    ) -> None:
        self._log = log
        _silence()
        config = uvicorn.Config(
            Guarded(app, log),
            http=Bounded,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=int(HEAD_S),
            timeout_graceful_shutdown=1,
        )
        if certificate is not None:
            config.ssl_certfile, config.ssl_keyfile = str(certificate[0]), str(certificate[1])
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            words = "no certificate and its key" if isinstance(error, ssl.SSLError) else error.strerror
            raise BadConfig(f"web.certificate_file: {words}", "name a PEM certificate and its key") from None
        self._server = uvicorn.Server(config)
        try:
            host, port = names.split_address(address)
            self._socket = _bound(names.RESOLVER.addresses(host)[0], port)
        except OSError as error:
            raise PortBusy(f"web: {address}: {error.strerror}", "choose another address, or stop its user") from None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(self._server.serve(sockets=[self._socket]))
        except (Exception, SystemExit) as error:
            if self._log is not None:
                self._log.error("failed", part="web", kind=type(error).__name__)


class _Loop(asyncio.SelectorEventLoop):
    """A loop that gives a TLS client as long for its first words as any other."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", HEAD_S)
        return await super().create_server(*arguments, **options)


class _Listening(socket.socket):
    """A listening socket that takes no more than CONNECTIONS_MAX and two rounds of BACKLOG at a time, of any kind.

    The monitor's other sockets and files need descriptors, too, and nothing else counts a TLS client before it speaks.
    """

    _open: list[socket.socket]

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection; BlockingIOError where there is none, or are too many."""
        made, address = super().accept()
        self._open = [one for one in getattr(self, "_open", []) if one.fileno() != -1]
        if len(self._open) >= CONNECTIONS_MAX + 2 * BACKLOG:  # a round may be taken before the first of it is looked at
            made.close()
            raise BlockingIOError
        self._open.append(made)
        return made, address


def _bound(address: str, port: int) -> _Listening:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = _Listening(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _silence() -> None:
    """Keep uvicorn's own lines, one for each odd request, from the terminal."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
