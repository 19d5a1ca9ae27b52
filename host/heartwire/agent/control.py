"""The control socket: how other programs on this server tell the agent that it is busy, about to go down, or ready
again.

A unix socket, mode 0600, in the state directory; one JSON object per line each way. It is served inside the agent's
loop, so everything is bounded and non-blocking: few clients, short lines, and who does not read his answer is dropped.
Only root and the agent's own user get in. `ask` is the other end, used by `heartwire agent busy` and its like.
"""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from heartwire.agent.errors import ControlError
from heartwire.agent.log import Log

SOCKET_FILE = "control"
CLIENTS_MAX = 8
BACKLOG = 64
LINE_MAX = 4096

Handler = Callable[[dict[str, Any]], dict[str, Any]]


@contextlib.contextmanager
def _short_path(directory: Path) -> Iterator[str]:
    """Give a path of the socket that fits into the 108 bytes that the kernel allows, however deep `directory` is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_FILE}"
    finally:
        os.close(descriptor)


class Control:
    """Serve the socket; `handler` answers requests, and is called from `serve` only."""

    def __init__(self, directory: Path, handler: Handler, log: Log) -> None:
        """Listen. OSError if the socket cannot be made. The state directory's lock keeps a second agent out."""
        self._path = directory / SOCKET_FILE
        self._handler = handler
        self._log = log
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            with _short_path(directory) as path:
                self._listener.bind(path)
        finally:
            os.umask(mask)
        self._listener.listen(BACKLOG)

    def descriptors(self) -> list[int]:
        """Return what to poll for reading; it changes as clients come and go."""
        return [self._listener.fileno(), *self._clients]

    def serve(self, descriptor: int) -> None:
        """Handle one descriptor that became readable; unknown ones are ignored."""
        if descriptor == self._listener.fileno():
            with contextlib.suppress(OSError):
                self._accept()
        elif descriptor in self._clients:
            self._read(descriptor)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        for descriptor in list(self._clients):
            self._drop(descriptor)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setblocking(False)
        _, user, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user not in (0, os.geteuid()):
            self._log.warning("control_refused", user=user)
            client.close()
            return
        if len(self._clients) >= CLIENTS_MAX:
            self._drop(next(iter(self._clients)))
        self._clients[client.fileno()] = (client, bytearray())

    def _read(self, descriptor: int) -> None:
        client, line = self._clients[descriptor]
        try:
            data = client.recv(LINE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        line += data
        if not data or len(line) > LINE_MAX:
            self._drop(descriptor)
            return
        end = line.find(b"\n")
        if end < 0:
            return
        try:
            request = json.loads(line[:end])
            answer = self._handler(request) if isinstance(request, dict) else {"error": "not an object"}
        except ValueError:
            answer = {"error": "not JSON"}
        with contextlib.suppress(OSError):
            client.send(json.dumps(answer).encode() + b"\n")
        self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        self._clients.pop(descriptor)[0].close()


def ask(directory: Path, request: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Send one request to the agent whose state is in `directory`; return its answer. ControlError if none comes."""
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            with _short_path(directory) as path:
                connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            while not answer.endswith(b"\n"):
                data = connection.recv(LINE_MAX)
                if not data:
                    break
                answer += data
    except PermissionError as error:
        raise ControlError(f"{directory}: the agent belongs to another user", "run this as root") from error
    except OSError as error:
        raise ControlError(f"no agent answers in {directory}: {error.strerror or 'no answer in time'}") from error
    try:
        result = json.loads(answer)
    except ValueError:
        raise ControlError(f"the agent in {directory} hung up without an answer", "run this as root") from None
    if not isinstance(result, dict) or "error" in result:
        raise ControlError(f"the agent refused: {result.get('error') if isinstance(result, dict) else result}")
    return result
