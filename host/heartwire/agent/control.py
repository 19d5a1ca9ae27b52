"""The agent's local sockets: the control socket, through which programs on this server tell the agent that it is busy,
about to go down, or ready again, or ask it to have another node fenced; and the one that monitors read events through.

Unix sockets; one JSON object per line each way. They are served inside the agent's loop, so everything is bounded and
non-blocking: few clients, short lines, one request of a client at a time, and who does not read his answer is dropped.
Whatever a client sends, nothing escapes `serve`: the agent's heartbeats do not depend on the programs that ask it.
The control socket lets only root and the agent's own user in. `ask` is its other end, used by `heartwire agent busy`
and its like.
"""

import contextlib
import json
import os
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from heartwire import bounded
from heartwire.agent.errors import ControlError
from heartwire.agent.log import Log

SOCKET_FILE = "control"
CLIENTS_MAX = 8
BACKLOG = 64
LINE_MAX = 4096
# Read of a client in one round of the loop: what he asks takes time from heartbeats, and the rest waits in the kernel.
READ_MAX = 512
# An answer is a page of records or a few words.
ANSWER_MAX = 65536

Reply = Callable[[dict[str, Any]], None]
# Takes a request; returns the answer, or None if it calls the reply later.
Handler = Callable[[dict[str, Any], Reply], dict[str, Any] | None]


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a path of the socket that fits into the 108 bytes that the kernel allows, however deep it lies."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


class _Client:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.line = bytearray()
        self.waits = False  # for the answer to its request


class Control:
    """Serve one socket; `handler` answers requests, and is called from `serve` only."""

    def __init__(self, path: Path, handler: Handler, log: Log, *, group: str | None = None, keep: bool = False) -> None:
        """Listen at `path`. OSError if the socket cannot be made. The state directory's lock keeps a second agent out.

        Without a `group` only root and the agent's own user get in; with one (empty: the agent's own), its members do.
        `keep` leaves connections open after an answer.
        """
        self._path = path
        self._handler = handler
        self._log = log
        self._restricted = group is None
        self._keep = keep
        self._clients: dict[int, _Client] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._path.unlink(missing_ok=True)
            mask = os.umask(0o177 if self._restricted else 0o117)
            try:
                with short_path(path) as short:
                    self._listener.bind(short)
            finally:
                os.umask(mask)
            if group:
                shutil.chown(path, group=group)
            self._listener.listen(BACKLOG)
        except (OSError, LookupError) as error:
            self._listener.close()
            raise error if isinstance(error, OSError) else OSError(str(error)) from error

    def descriptors(self) -> list[int]:
        """Return what to poll for reading; it changes as clients come and go."""
        return [self._listener.fileno(), *self._clients]

    def serve(self, descriptor: int) -> None:
        """Handle one descriptor that became readable; unknown ones are ignored."""
        if descriptor == self._listener.fileno():
            with contextlib.suppress(OSError):
                self._accept()
        elif client := self._clients.get(descriptor):
            try:
                self._read(client)
            except Exception as error:  # a client must not end the agent
                self._failed(client, error)

    def _failed(self, client: _Client, error: Exception) -> None:
        if self._log.changed("client", type(error)):
            self._log.error("client_failed", socket=self._path.name, problem=repr(error))
        self._drop(client)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if self._restricted and user not in (0, os.geteuid()):
            if self._log.changed("refused user", user):
                self._log.warning("control_refused", user=user)
            connection.close()
            return
        if len(self._clients) >= CLIENTS_MAX:
            # Who waits for an answer keeps his place.
            idle = next((client for client in self._clients.values() if not client.waits), None)
            if idle is None:
                connection.close()
                return
            self._drop(idle)
        self._clients[connection.fileno()] = _Client(connection)

    def _read(self, client: _Client) -> None:
        try:
            data = client.connection.recv(READ_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.line += data
        if not data or len(client.line) > LINE_MAX:
            self._drop(client)
            return
        self._go_on(client)

    def _go_on(self, client: _Client) -> None:
        """Take the requests of `client`, one after the other, until one waits for its answer."""
        while not client.waits and client in self._clients.values():
            end = client.line.find(b"\n")
            if end < 0:
                return
            line = bytes(client.line[:end])
            del client.line[: end + 1]
            client.waits = True
            answer = self._handle(client, line)
            if answer is not None:
                self._send(client, answer)

    def _handle(self, client: _Client, line: bytes) -> dict[str, Any] | None:
        """Return the answer to one line; None if it comes later."""
        try:
            request = bounded.load(line, LINE_MAX)
        except ValueError:
            return {"error": "not JSON"}
        if not isinstance(request, dict):
            return {"error": "not an object"}
        try:
            return self._handler(request, lambda later: self._answer_late(client, later))
        except Exception as error:  # a client must not end the agent
            if self._log.changed("client", type(error)):
                self._log.error("client_failed", socket=self._path.name, problem=repr(error))
            return {"error": "the agent could not handle this; its log tells more"}

    def _answer_late(self, client: _Client, answer: dict[str, Any]) -> None:
        """Answer from the agent's own step, which what this client sent meanwhile must not end either."""
        try:
            self._send(client, answer)
            self._go_on(client)
        except Exception as error:  # a client must not end the agent
            self._failed(client, error)

    def _send(self, client: _Client, answer: dict[str, Any]) -> None:
        if client not in self._clients.values() or not client.waits:
            return
        client.waits = False
        data = json.dumps(answer).encode() + b"\n"
        try:
            sent = client.connection.send(data)
        except OSError:
            sent = 0
        if not self._keep or sent < len(data):
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._clients = {number: other for number, other in self._clients.items() if other is not client}
        client.connection.close()


def exchange(path: Path, request: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Send one request to the agent that listens at `path`; return its answer. ControlError if none comes."""
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            with short_path(path) as short:
                connection.connect(short)
            connection.sendall(json.dumps(request).encode() + b"\n")
            while not answer.endswith(b"\n"):
                data = connection.recv(LINE_MAX)
                if not data or len(answer) > ANSWER_MAX:
                    break
                answer += data
    except PermissionError as error:
        raise ControlError(f"{path.parent}: the agent belongs to another user", "run this as root") from error
    except OSError as error:
        raise ControlError(f"no agent answers in {path.parent}: {error.strerror or 'no answer in time'}") from error
    try:
        result = bounded.load(answer, ANSWER_MAX)
    except ValueError:
        raise ControlError(f"the agent in {path.parent} hung up without an answer", "run this as root") from None
    if not isinstance(result, dict):
        raise ControlError(f"the agent refused: {result}")
    return result


def ask(directory: Path, request: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Send one request to the agent whose state is in `directory`; return its answer. ControlError if it has none."""
    result = exchange(directory / SOCKET_FILE, request, timeout_s)
    if "error" in result:
        raise ControlError(f"the agent refused: {result['error']}")
    return result
