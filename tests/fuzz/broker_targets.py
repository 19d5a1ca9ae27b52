"""The broker's three sides as fuzz targets: what programs send it, what a board sends it, what it sends a program."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading

from heartwire.board import Board
from heartwire.broker import wire
from heartwire.broker.client import BrokerChannel
from heartwire.broker.server import Server
from heartwire.broker.turns import Session, Turns
from heartwire.errors import HeartwireError
from heartwire.keys import Keys
from heartwire.link import Link
from tests.fakes.board import FakeBoard, PtyBoard
from tests.fuzz.target import Finding, Target
from tests.unit.broker.frames import event, hello, request, response, welcome

END = b"|end|"
PORT = b"@PORT@"
MESSAGES = (
    b"O" + json.dumps({"v": wire.VERSION, "port": PORT.decode(), "device": [0, 0], "program": "x"}).encode(),
    wire.WANT, wire.WANT + b"log", wire.WANT + b"fence", wire.FRAME + hello(), wire.FRAME + request("status"),
    wire.FRAME + request("log"), wire.FRAME, wire.STATE, b"O{}", b"O[]", b"O" + b"[" * 300, b"Z", b"\0", b"\xff",
)  # fmt: skip


class BrokerSocket(Target):
    """The socket of a broker with a board; a program that behaves is served after each input."""

    tokens = tuple(token + END for token in MESSAGES)

    def begin(self) -> None:
        self.pty = self._end.enter_context(PtyBoard(FakeBoard()))
        number = os.stat(self.pty.path).st_rdev  # noqa: PTH116
        self.device = f"{os.major(number)}, {os.minor(number)}".encode()
        self.path = str(self.folder / "b")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(8)
        server = Server(self.listener, idle_s=None, log=lambda words: None)
        self.thread = threading.Thread(target=server.run, daemon=True)
        self.thread.start()

        def end() -> None:
            server.stop()
            self.thread.join(10)

        self._end.callback(end)

    def feed(self, data: bytes) -> int:
        data = data.replace(PORT, self.pty.path.encode()).replace(b"0, 0", self.device)
        given = 0
        with self._dial() as client, contextlib.suppress(OSError):
            for message in data.split(END):
                given += client.send(message[:60000] or b" ")
                client.settimeout(0.02)
                with contextlib.suppress(TimeoutError):
                    client.recv(wire.ANSWER_MAX)
        with self._dial() as client:
            client.send(wire.STATE)
            if client.recv(wire.ANSWER_MAX)[:1] != wire.TOLD:
                raise Finding("it does not answer any more")
        return given

    def finish(self) -> None:
        connection = self._dial()
        body = {"v": wire.VERSION, "port": self.pty.path, "program": "good"}
        connection.send(wire.pack(wire.OPEN, {**body, "device": [int(part) for part in self.device.split(b",")]}))
        assert connection.recv(100) == wire.OPENED
        with Board(Link(BrokerChannel(self.pty.path, connection), Keys(), 5.0)) as board:
            board.link.hello()
            assert board.status().mode == "auto"

    def _dial(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(10)
        connection.connect(self.path)
        return connection


class BoardOfBroker(Target):
    """What a board says while two programs wait; each of them gets its turn all the same."""

    tokens = (welcome(), event(), response(), response(2), hello(), b"\0", b">>> ", event()[:30])

    def begin(self) -> None:
        self.now = 1000.0
        self.sent: list[bytes] = []
        self.turns = Turns(self.sent.append)
        self.got: dict[str, list[bytes]] = {"one": [], "two": []}
        self.sessions = {name: Session(name, self.got[name].append) for name in self.got}
        for session in self.sessions.values():
            self.turns.join(session)

    def feed(self, data: bytes) -> int:
        for name, session in self.sessions.items():
            self.got[name].clear()
            self.turns.want(session, "", self.now)
        third = len(data) // 3
        for piece in (data[:third], data[third : 2 * third], data[2 * third :]):
            for session in self.sessions.values():
                self.turns.take(session, hello(), self.now)
            self.turns.heard(piece, self.now)
            self.now += 0.3
            self.turns.step(self.now)
        for _ in range(8):
            self.now += 2.1
            self.turns.step(self.now)
        for name, got in self.got.items():
            if not any(message[:1] == wire.TURN for message in got):
                raise Finding(f"{name} never had its turn")
        return len(data)


class SharedBoard(Target):
    """A program that a broker answers with chance: an answer or one of our errors, and no wait beyond its patience."""

    tokens = tuple(
        token + END
        for token in (
            wire.KEPT, wire.ANEW, wire.LOST, wire.DATA + welcome(), wire.DATA + response(), wire.DATA + b">>> ",
            b"e{}", b'e{"kind":"PortBusy","words":1,"next":[]}', b"e" + b"[" * 300, b"r{}", b"Z", wire.OPENED,
        )
    )  # fmt: skip

    def feed(self, data: bytes) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        given = 0
        with ours, theirs:
            theirs.setblocking(False)
            with contextlib.suppress(OSError):
                for message in data.split(END):
                    given += theirs.send(message[:20000] or b" ")
            theirs.shutdown(socket.SHUT_WR)
            link = Link(BrokerChannel("board", ours), Keys(), 0.05)
            with contextlib.suppress(HeartwireError):
                link.hello()
                link.request("status")
        return given
