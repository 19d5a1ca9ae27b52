"""The broker itself: programs at a Unix socket, boards at their ports, and nothing in between but turns.

One thread and one selector; only opening and closing a port, which a device that hangs may keep waiting, happen beside
it. Everything is bounded: programs, what they send, what waits for them. Who does not read is dropped, and nothing that
a program or a device does escapes `run`. It holds no key and decides nothing about boards. Started by __main__.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable

from heartwire.broker import access, members, wire
from heartwire.broker.access import Caller
from heartwire.broker.members import Client, SharedPort
from heartwire.broker.turns import Session, Turns
from heartwire.errors import (
    BoardNotFound,
    HeartwireError,
    NoAnswer,
    NotPermitted,
    PortBusy,
    PortLent,
    Unplugged,
    UsageProblem,
)
from heartwire.transport import Port, open_port

CLIENTS_MAX = 64
# Of one user; root has the rest, so that a fence finds a place.
CLIENTS_OF_ONE = 24
PORTS_MAX = 16
# Messages that wait for a program that does not read, beyond what the kernel keeps. A page of the log is some 40.
WAITING_MAX = 256
SEND_BUFFER = 65536
# A program says at once what it wants.
INTRODUCTION_S = 3.0
# A port is given back this long after the last program that used it.
KEEP_S = 0.3
# A board whose port takes nothing for so long is gone.
TAKES_NOTHING_S = 5.0
PROGRAM_MAX = 60
Log = Callable[[str], None]
Opener = Callable[[str], Port]


class Server:
    """A broker on a listening socket. `idle_s`: how long it stays without a program; None for ever."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        idle_s: float | None,
        log: Log,
        opener: Opener = open_port,
        allowed: Callable[[Caller, str], bool] | None = None,
    ) -> None:
        self._listener = listener
        self._idle_s = idle_s
        self._log = log
        self._opener = opener
        self._allowed = allowed or members.may_use
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, Client] = {}
        self._ports: dict[str, SharedPort] = {}
        self._done: queue.SimpleQueue[tuple[SharedPort, Port | HeartwireError | None]] = queue.SimpleQueue()
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken, listener):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._finished)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._unused_since: float | None = time.monotonic()
        self._stopping = False

    def run(self) -> None:
        """Serve until nobody has used it for `idle_s`, or `stop`."""
        try:
            while not self._stopping:
                now = time.monotonic()
                for key, events in self._selector.select(self._wait_s(now)):
                    key.data(events)
                self._look_around(time.monotonic())
        finally:
            self.close()

    def stop(self) -> None:
        """End `run`; callable from a signal handler or another thread."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def close(self) -> None:
        """End every connection and give all ports back."""
        for client in list(self._clients.values()):
            self._drop(client)
        for port in self._ports.values():
            if port.channel is not None:
                port.channel.close()
        for end in (self._waker, self._woken, self._listener):
            end.close()
        self._selector.close()

    # -- time

    def _wait_s(self, now: float) -> float | None:
        """Return how long the selector may wait."""
        dues = [client.since + INTRODUCTION_S for client in self._clients.values() if client.port is None]
        for port in self._ports.values():
            due = port.turns.step(now) if port.channel is not None else None
            dues += [due] if due is not None else []
            if port.unused_since is not None:
                dues.append(port.unused_since + KEEP_S)
            if port.output:
                dues.append(port.output_since + TAKES_NOTHING_S)
        if self._unused_since is not None and self._idle_s is not None:
            dues.append(self._unused_since + self._idle_s)
        if any(client.closing for client in self._clients.values()):
            return 0.0
        return max(0.0, min(dues) - now) if dues else None

    def _look_around(self, now: float) -> None:
        """Do what is due, and write what the turns have for the boards."""
        for client in [one for one in self._clients.values() if one.closing]:
            self._drop(client)
        for client in [one for one in self._clients.values() if one.port is None]:
            if now - client.since > INTRODUCTION_S:
                self._drop(client)
        for port in list(self._ports.values()):
            self._write(port, now)
            if port.output and now - port.output_since > TAKES_NOTHING_S:
                self._lost(port, NoAnswer(f"{port.path}: the other end takes no data"))
            if port.unused_since is not None and now - port.unused_since >= KEEP_S:
                port.unused_since = None
                self._close_port(port)
        if self._clients or self._ports:
            self._unused_since = None
        elif self._unused_since is None:
            self._unused_since = now
        elif self._idle_s is not None and now - self._unused_since >= self._idle_s:
            self._stopping = True

    # -- programs

    def _accept(self, _: int) -> None:
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            client = Client(connection, access.caller_of(connection), time.monotonic())
        except OSError:
            connection.close()
            return
        uid = client.caller.uid
        of_one = sum(other.caller.uid == uid for other in self._clients.values())
        if len(self._clients) >= CLIENTS_MAX or (uid != 0 and of_one >= CLIENTS_OF_ONE):
            self._log(f"refused: pid {client.caller.pid} of user {uid}, {of_one} connections of that user are open")
            with contextlib.suppress(OSError):
                words = f"the broker has {len(self._clients)} programs already, {of_one} of them yours"
                connection.send(wire.pack_error(PortBusy(words, "end some of them")))
            connection.close()
            return
        self._clients[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ, lambda events: self._serve(client, events))

    def _serve(self, client: Client, events: int) -> None:
        """Take what a program sends, and send what waits for it; whatever goes wrong ends this connection only."""
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(client)
            if events & selectors.EVENT_READ:
                self._read(client)
        except (OSError, ValueError) as error:
            if not isinstance(error, OSError):
                self._log(f"dropped: {client.name}: {error}")
            self._drop(client)
        except HeartwireError as error:
            self._refuse(client, error)

    def _read(self, client: Client) -> None:
        try:
            message = client.connection.recv(wire.MESSAGE_MAX)
        except BlockingIOError:
            return
        if not message:
            self._drop(client)
            return
        letter, now = message[:1], time.monotonic()
        session, port = client.session, client.port
        if letter == wire.OPEN and session is None:
            self._open(client, wire.body_of(message))
        elif letter == wire.STATE:
            self._send(client, wire.pack(wire.TOLD, self._state_for(client.caller)))
        elif session is None or port is None or port.channel is None or client.borrows:
            raise ValueError("a message out of its order")
        elif letter == wire.WANT:
            port.turns.want(session, message[1:65].decode("ascii"), now)
        elif letter == wire.FRAME:
            port.turns.take(session, message[1:], now)
        else:
            raise ValueError(f"an unknown message {letter!r}")

    def _open(self, client: Client, body: dict[str, object]) -> None:
        """Let a program in, or lend it the port. Raises what speaks against it, ValueError for nonsense."""
        path, program = body.get("port"), body.get("program")
        if body.get("v") != wire.VERSION:
            raise PortBusy("the broker is of another version", "end the programs that use it, or restart its unit")
        if not isinstance(path, str) or not isinstance(program, str) or not 0 < len(path) < 4096:
            raise ValueError("no port or program")
        path = path if "://" in path else os.path.realpath(path)
        client.session = Session(
            wire.printable(program[:PROGRAM_MAX]),
            lambda message: self._send(client, message),
            urgent=body.get("urgent") is True,
        )
        device = list(members.device_of(path))
        if device == [0, 0] and "://" not in path:
            raise BoardNotFound(f"{path}: no such port")
        if not self._allowed(client.caller, path):
            self._log(f"refused: {client.name} of user {client.caller.uid} may not open {path}")
            raise NotPermitted(f"{path}: you may not use this port")
        if "://" not in path and body.get("device") != device:
            raise UsageProblem(f"{path} is another device for the broker", "")
        port = self._ports.get(path)
        if port is None:
            if len(self._ports) >= PORTS_MAX:
                raise PortBusy(f"the broker has {PORTS_MAX} ports open already")
            port = self._ports[path] = self._new_port(path)
        if port.borrower is not None:
            raise PortLent(f"{path} is lent to {port.borrower.name}, which needs the board for itself")
        client.port = port
        port.clients.append(client)
        port.unused_since = None
        if body.get("lend") is True:
            self._lend(port, client)
        elif port.channel is not None:
            self._join(port, client)
        elif not port.opening and not port.closing:
            self._open_port(port)

    def _join(self, port: SharedPort, client: Client) -> None:
        if client.session is not None:
            port.turns.join(client.session)
            self._send(client, wire.OPENED)

    def _send(self, client: Client, message: bytes) -> None:
        """Send a message, now or as soon as the program reads; drop one that does not read."""
        if client.closing:
            return
        if not client.waiting:
            try:
                client.connection.send(message)
            except BlockingIOError:
                pass
            except OSError:
                client.closing = True
                return
            else:
                return
        client.waiting.append(message)
        if len(client.waiting) > WAITING_MAX:
            self._log(f"dropped: {client.name} does not read")
            client.closing = True
        elif len(client.waiting) == 1:
            self._watch(client)

    def _flush(self, client: Client) -> None:
        while client.waiting:
            try:
                client.connection.send(client.waiting[0])
            except BlockingIOError:
                return
            del client.waiting[0]
        self._watch(client)

    def _watch(self, client: Client) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.waiting else 0)
        self._selector.modify(client.connection, events, lambda events: self._serve(client, events))

    def _refuse(self, client: Client, error: HeartwireError) -> None:
        """Tell a program why it is not served any more, and end its connection."""
        with contextlib.suppress(OSError):
            client.connection.send(wire.pack_error(error))
        self._drop(client)

    def _drop(self, client: Client) -> None:
        descriptor = client.connection.fileno()
        if self._clients.get(descriptor) is not client:
            return
        del self._clients[descriptor]
        client.closing = True
        self._selector.unregister(client.connection)
        client.connection.close()
        port = client.port
        if port is None:
            return
        port.clients.remove(client)
        if port.borrower is client:
            port.borrower = None
            self._log(f"{port.path}: given back by {client.name}")
        elif client.session is not None:
            port.turns.leave(client.session, time.monotonic())
        if not port.clients and not port.opening and not port.closing:
            port.unused_since = time.monotonic()

    # -- ports

    def _new_port(self, path: str) -> SharedPort:
        output = bytearray()
        return SharedPort(path, Turns(output.extend), output=output)

    def _open_port(self, port: SharedPort) -> None:
        port.opening = True
        self._beside(port, lambda: self._opener(port.path))

    def _close_port(self, port: SharedPort) -> None:
        """Give the port back; who waits for it meanwhile gets it opened again, or lent, as soon as it is free."""
        channel, port.channel = port.channel, None
        self._selector_forget(channel)
        port.output.clear()
        if channel is None:
            self._closed(port)
            return
        port.closing = True
        self._log(f"{port.path}: closed")
        self._beside(port, channel.close)

    def _beside(self, port: SharedPort, work: Callable[[], Port | None]) -> None:
        """Do `work` in a thread of its own; a device that hangs keeps that one waiting, and nobody else."""

        def thread() -> None:
            result: Port | HeartwireError | None
            try:
                result = work()
            except HeartwireError as error:
                result = error
            except Exception as error:  # whatever a driver makes of it, it is no open port
                result = Unplugged(f"{port.path}: {type(error).__name__}: {error}")
            self._done.put((port, result))
            with contextlib.suppress(OSError):
                self._waker.send(b"x")

        threading.Thread(target=thread, daemon=True, name=f"port {port.path}").start()

    def _finished(self, _: int) -> None:
        """Take what the threads have done."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        with contextlib.suppress(queue.Empty):
            while True:
                port, result = self._done.get_nowait()
                if port.closing:
                    port.closing = False
                    self._closed(port)
                else:
                    port.opening = False
                    self._opened(port, result)

    def _opened(self, port: SharedPort, result: Port | HeartwireError | None) -> None:
        if result is None or isinstance(result, HeartwireError):
            error = result or Unplugged(f"{port.path}: not open")
            self._ports.pop(port.path, None)
            for client in list(port.clients):
                self._refuse(client, error)
            return
        port.channel = result
        port.turns = Turns(port.output.extend)
        self._selector.register(result.fileno(), selectors.EVENT_READ, lambda events: self._hear(port, events))
        self._log(f"{port.path}: open")
        if not port.clients or port.borrower is not None:
            self._close_port(port)
            return
        for client in list(port.clients):
            self._join(port, client)

    def _closed(self, port: SharedPort) -> None:
        if port.borrower is not None:
            self._log(f"{port.path}: lent to {port.borrower.name}")
            self._send(port.borrower, wire.OPENED)
        elif port.clients:
            self._open_port(port)
        elif self._ports.get(port.path) is port:
            del self._ports[port.path]

    def _hear(self, port: SharedPort, events: int) -> None:
        channel = port.channel
        if channel is None:
            return
        now = time.monotonic()
        if events & selectors.EVENT_WRITE:
            self._write(port, now)
        if events & selectors.EVENT_READ and port.channel is channel:
            try:
                data = channel.read(0)
            except HeartwireError as error:
                self._lost(port, error)
                return
            if data:
                port.turns.heard(data, now)

    def _write(self, port: SharedPort, now: float) -> None:
        """Write what waits for a board, as much as it takes; it is watched for taking more."""
        channel = port.channel
        if channel is None:
            return
        waited = bool(port.output_since)
        if port.output:
            try:
                sent = os.write(channel.fileno(), port.output)
            except BlockingIOError:
                sent = 0
            except (OSError, ValueError, TypeError) as error:
                self._lost(
                    port, Unplugged(f"{port.path}: connection lost ({getattr(error, 'strerror', None) or error})")
                )
                return
            del port.output[:sent]
            if sent or not waited:
                port.output_since = now
        if not port.output:
            port.output_since = 0.0
        if waited != bool(port.output):
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if port.output else 0)
            self._selector.modify(channel.fileno(), mask, lambda events: self._hear(port, events))

    def _lost(self, port: SharedPort, error: HeartwireError) -> None:
        """Tell everybody that the port is gone; who wants it opens it anew."""
        self._log(error.words)
        for client in list(port.clients):
            self._refuse(client, error)
        port.unused_since = None
        self._close_port(port)

    def _lend(self, port: SharedPort, borrower: Client) -> None:
        """Give the port itself to one program for as long as its connection stands; everybody else loses it."""
        port.borrower, borrower.borrows = borrower, True
        words = f"{port.path} is lent to {borrower.name}, which needs the board for itself"
        for client in [one for one in port.clients if one is not borrower]:
            self._refuse(client, Unplugged(words, "wait until that program has ended"))
        port.unused_since = None
        if not port.opening and not port.closing:
            self._close_port(port)

    def _selector_forget(self, channel: Port | None) -> None:
        if channel is None:
            return
        with contextlib.suppress(KeyError, ValueError, OSError, TypeError):
            self._selector.unregister(channel.fileno())

    def _state_for(self, caller: Caller) -> dict[str, object]:
        return members.state_of(port for port in self._ports.values() if self._allowed(caller, port.path))
