"""Everything of Heartwire that reads what somebody else sends, each as a target: `feed` gives it bytes and asserts.

A finding is an exception: what escaped, a server that does not answer any more, a line in its log that tells of a
failure, a heartbeat that was not sent, a record that is gone. Driven by Hypothesis (test_fuzz.py) and, for long runs,
by tools/fuzz_sockets.py. Sockets are real (Unix, UDP and TCP on loopback); time of agent and board is virtual.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from heartwire.agent import control
from heartwire.agent.errors import ControlError
from heartwire.agent.log import Log as AgentLog
from heartwire.agent.peer import BODY, PeerLink
from heartwire.agent.settings import PeerSettings as AgentPeerSettings
from heartwire.answers import Answer, Levels, LogPage, NodeStatus, RelayTest, Status
from heartwire.board import Board
from heartwire.errors import HeartwireError
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire.monitor import deadman, metrics, peer, receipts
from heartwire.monitor.log import Log
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.settings import PeerSettings
from heartwire.monitor.sources import AgentSource
from heartwire.monitor.store import Store
from heartwire.web.server import Server as WebServer
from heartwire_protocol import auth, events, framing, messages
from tests.fakes.bench import Bench
from tests.fakes.board import FakeBoard, MemoryChannel
from tests.fakes.clients import exchange
from tests.fuzz import tokens
from tests.fuzz.broker_targets import BoardOfBroker, BrokerSocket, SharedBoard
from tests.fuzz.target import Finding, Target
from tests.unit.agent.agent_fakes import World as AgentWorld
from tests.unit.agent.test_agent_world import active
from tests.unit.monitor.test_metrics import source
from tests.unit.web.room import Room

KEY = bytes(range(32))
# Longer than a long run at low priority on a busy machine is kept waiting.
PATIENCE_S = 60


class AgentSocket(Target):
    """The agent's control socket; its heartbeats go on."""

    keep = False
    tokens: tuple[bytes, ...] = tokens.CONTROL

    def begin(self) -> None:
        self.world = active(AgentWorld(self.folder, key=KEY))
        handler = self.world.agent.read_events if self.keep else self.world.agent.handle
        path = self.folder / "s"
        self.log = io.StringIO()
        self.control = control.Control(path, handler, AgentLog(self.log, "a"), keep=self.keep)
        self._end.callback(self.control.close)
        self.path = str(path)

    def feed(self, data: bytes) -> int:
        beats = len(self.world.board.beats)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(self.path)
            client.setblocking(False)
            given = 0
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                given = client.send(data)
            self._serve()
        self._serve()
        self.world.go(1100)
        if len(self.world.board.beats) == beats:
            raise Finding("no heartbeat was sent")
        if "client_failed" in self.log.getvalue():
            raise Finding(self.log.getvalue()[-300:])
        self.world.board.beats.clear()
        return given

    def _serve(self) -> None:
        for _ in range(16):
            for descriptor in self.control.descriptors():
                self.control.serve(descriptor)

    def finish(self) -> None:
        if not self.keep:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(self.path)
                client.sendall(b'{"do": "ready"}\n')
                self._serve()
                assert client.recv(1000).endswith(b"}\n"), "it does not answer any more"


class AgentEvents(AgentSocket):
    """The socket through which monitors read events of an agent."""

    keep = True
    tokens: tuple[bytes, ...] = tokens.EVENTS


class AgentLine(Target):
    """The serial line of a node: frames of any kind and length, and noise."""

    tokens: tuple[bytes, ...] = tokens.LINE

    def begin(self) -> None:
        self.world = active(AgentWorld(self.folder, key=KEY))
        self._kinds = (
            messages.GRANT,
            messages.FENCE_REPLY,
            messages.EVENT,
            messages.HEARTBEAT,
            messages.RESPONSE,
            0,
            0xFF,
        )

    def feed(self, data: bytes) -> int:
        beats, stopped = len(self.world.board.beats), self.world.commands.names()
        frame = framing.encode(self._kinds[len(data) % len(self._kinds)], data[:200])
        self.world.agent.handle({"do": "fence", "target": "b", "seconds": 1}, lambda answer: None)
        self.world.ports[-1].inbox += data + frame
        self.world.go(1100)
        if len(self.world.board.beats) == beats:
            raise Finding("no heartbeat was sent")
        if self.world.commands.names() != stopped:
            raise Finding(f"services were touched: {self.world.commands.names()}")
        self.world.board.beats.clear()
        return len(data) + len(frame)


class AgentPeer(Target):
    """The UDP port of an agent's peer."""

    tokens: tuple[bytes, ...] = tokens.PEER_PACKET

    def begin(self) -> None:
        settings = AgentPeerSettings(node="b", addresses=(), key_file=self.folder / "key", listen=("127.0.0.1", 0))
        self.link = PeerLink(0, settings, KEY, AgentLog(io.StringIO(), "a"), 0)
        self._end.callback(self.link.close)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._end.callback(self.sender.close)
        self.signer = auth.Signer(KEY)
        self.now_ns = 0

    def feed(self, data: bytes) -> int:
        given = 0
        body = data[: BODY.size].ljust(BODY.size, b"\0")
        for packet in (data[:1400], body + self.signer.mac(b"P", body)):
            given += self.sender.sendto(packet, ("127.0.0.1", self.link.port))
        self.now_ns += 50_000_000
        if self.link.step(self.now_ns):
            raise Finding("something that is no answer counts as a sign of life")
        return given


class MetricsPort(Target):
    """The monitor's /metrics."""

    tokens: tuple[bytes, ...] = tokens.HTTP

    def begin(self) -> None:
        self.log = io.StringIO()
        server = metrics.server("127.0.0.1:0", source(), Log(self.log))
        self._serve(server.port, server.start, server.close)

    def _serve(self, port: int, start: Callable[[], None], close: Callable[[], None]) -> None:
        start()
        self._end.callback(close)
        self.port = port

    def _send(self, data: bytes) -> bytes:
        answer = exchange(self.port, data, PATIENCE_S)
        if b" 500 " in answer[:16]:
            raise Finding("it answers 500")
        if "client_failed" in self.log.getvalue():
            raise Finding(self.log.getvalue()[-300:])
        return answer

    def feed(self, data: bytes) -> int:
        self._send(data)
        return len(data)

    def finish(self) -> None:
        answer = self._send(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b" 200 " in answer[:16] and b"heartwire_board_up" in answer, "it does not answer any more"


class PeerPort(MetricsPort):
    """The port that the other monitor asks, and what stands under a right signature."""

    tokens: tuple[bytes, ...] = tokens.PEER_HTTP

    def begin(self) -> None:
        self.log = io.StringIO()
        store = self._end.enter_context(Store.open(self.folder / "store.db"))
        self.outbox = Outbox(store)
        server = peer.server(PeerSettings(listen="127.0.0.1:0"), KEY, self.outbox, ["mail"], Log(self.log))
        self._serve(server.port, server.start, server.close)

    def _signed(self, body: bytes) -> bytes:
        nonce = secrets.token_bytes(peer.NONCE_BYTES)
        head = f"POST {peer.PATH} HTTP/1.0\r\nContent-Length: {len(body)}\r\nX-Heartwire-Nonce: {nonce.hex()}\r\n"
        return (head + f"X-Heartwire-Mac: {peer.mac_of(KEY, b'Q', nonce, body)}\r\n\r\n").encode() + body

    def feed(self, data: bytes) -> int:
        self._send(data)
        signed = self._signed(data)
        self._send(signed)
        return len(data) + len(signed)

    def finish(self) -> None:
        answer = self._send(self._signed(b'{"channel": "mail", "subjects": [], "claim": []}'))
        assert b" 200 " in answer[:16], "it does not answer any more"


class WebPort(MetricsPort):
    """The monitor's page."""

    tokens: tuple[bytes, ...] = tokens.WEB

    def begin(self) -> None:
        self.log = io.StringIO()
        room = self._end.enter_context(Room(self.folder))
        server = WebServer("127.0.0.1:0", room.app(), Log(self.log))
        self._serve(server.port, server.start, server.close)

    def finish(self) -> None:
        answer = self._send(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in answer[:16] and b"rack-1" in answer, "it does not answer any more"


class Answering(Target):
    """A socket of somebody else, which answers everything with what is fed; `ask` is our end."""

    family = socket.AF_INET
    tokens: tuple[bytes, ...] = tokens.ANSWERS
    error: type[Exception] = HeartwireError

    def begin(self) -> None:
        self.data = b""
        self.listener = socket.socket(self.family, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0) if self.family == socket.AF_INET else str(self.folder / "a"))
        self.listener.listen(16)
        self._end.callback(self._leave)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _leave(self) -> None:
        """End the thread: closing alone would leave it in accept."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(PATIENCE_S)

    def _loop(self) -> None:
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                connection.recv(65536)
                connection.sendall(self.data)

    def feed(self, data: bytes) -> int:
        self.data = data
        with contextlib.suppress(self.error):
            self.ask()
        return len(data)

    def ask(self) -> None:
        """Ask it once."""
        raise NotImplementedError

    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/"


class AskedMonitor(Answering):
    """What the other monitor answers us."""

    error = peer.Unreachable

    def ask(self) -> None:
        peer.asker(self.url(), KEY)("mail", ["e" + "0" * 22], [])


class Pinged(Answering):
    """What the dead man's switch gets from its URL."""

    def ask(self) -> None:
        assert isinstance(deadman.fetch(self.url()), str)


class AskedAgent(Answering):
    """What an agent's control socket answers a command."""

    family = socket.AF_UNIX
    tokens: tuple[bytes, ...] = tokens.JSON
    error = ControlError

    def ask(self) -> None:
        assert isinstance(control.exchange(self.folder / "a", {"do": "status"}, 5.0), dict)


class AskedEvents(Answering):
    """What an agent's events socket answers the monitor."""

    family = socket.AF_UNIX
    tokens: tuple[bytes, ...] = tokens.EVENT_ANSWERS

    def ask(self) -> None:
        found = AgentSource(self.folder / "a", timeout_s=5.0)
        try:
            found.open()
            found.page(0)
        finally:
            found.close()


class Receipt(Target):
    """A receipt in the spool that somebody else wrote."""

    tokens: tuple[bytes, ...] = tokens.JSON

    def feed(self, data: bytes) -> int:
        path = self.folder / "uid.1"
        path.write_bytes(data)
        assert receipts.look(path)[0] in ("done", "torn")
        return len(data)


class HostLink(Target):
    """The host's end of the host link: noise, frames of any kind, and answers of any content."""

    tokens: tuple[bytes, ...] = tokens.HOST

    def begin(self) -> None:
        self._kinds = (messages.WELCOME, messages.RESPONSE, messages.EVENT, messages.REQUEST, 0, 0xFF)
        self._asks: tuple[Callable[[Board], Any], ...] = (
            Board.status, Board.nodes, Board.settings, Board.plans, Board.platform, Board.inputs, Board.relay_test,
            lambda board: board.page(0), lambda board: board.fence("a"), lambda board: board.proof("a", 1),
            lambda board: board.press("a"), Board.transfer_at, lambda board: list(board.events()),
        )  # fmt: skip
        self._response = messages.layout_of(messages.RESPONSE)
        kinds = (Status, NodeStatus, Levels, RelayTest, LogPage)
        self._names = [*(entry.name for kind in kinds for entry in fields(kind)), "error", "reason", "next", "say"]

    def feed(self, data: bytes) -> int:
        fake = FakeBoard()
        real = fake.receive
        given, given_data = 0, data

        def noisy(data: bytes) -> bytes:
            nonlocal given
            kind = self._kinds[(len(given_data) + given) % len(self._kinds)]
            added = given_data + framing.encode(kind, given_data[: messages.JSON_MAX])
            given += len(added)
            return added + real(data)

        channel = MemoryChannel(fake)
        fake.receive = noisy  # type: ignore[method-assign]
        ask = self._asks[len(data) % len(self._asks)]
        with contextlib.suppress(HeartwireError):
            link = Link(channel, Keys(), 0.5)
            link.hello()
            ask(Board(link))
        fake.receive = real  # type: ignore[method-assign]
        body = (data if len(data) % 2 else tokens.odd(data, self._names))[: messages.JSON_MAX]
        raw = framing.encode(messages.RESPONSE, self._response.pack(number=1, mac=bytes(8), body=body))
        with contextlib.suppress(HeartwireError):
            link = Link(MemoryChannel(fake), Keys(), 0.5)
            link.hello()
            fake.receive = lambda data: raw  # type: ignore[method-assign]
            found = ask(Board(link))
            str(found.as_json() if isinstance(found, Answer) else found)
        return given + len(raw)


class BoardLink(Target):
    """The board's end of the host link: nodes stay good, nobody is fenced, the journal stays whole."""

    tokens: tuple[bytes, ...] = tokens.BOARD

    def begin(self) -> None:
        keys = "".join(
            f"board.{name}_key={bytes([at + 1]).hex() * 32}\n" for at, name in enumerate(("operate", "configure"))
        )
        self.bench = Bench(keys)
        self.bench.run(4000)
        self.bench.settle()
        self._request = messages.layout_of(messages.REQUEST)
        self._kinds = (messages.HELLO, messages.REQUEST, messages.GRANT, messages.HEARTBEAT, 0, 0xFF)
        self._number = 0

    def feed(self, data: bytes) -> int:
        self._number += 1
        text = data[:300]
        request = self._request.pack(right=0, number=self._number & 0xFFFF, mac=bytes(8), body=text)
        hello = framing.encode(messages.HELLO, bytes([messages.PROTOCOL_VERSION]) + bytes(8))
        frames = framing.encode(messages.REQUEST, request) + framing.encode(
            self._kinds[len(data) % len(self._kinds)], text
        )
        given = hello + data + frames
        usb = self.bench.hardware.usb
        usb.incoming.extend(given)
        for _ in range(20_000):
            self.bench.step()
            usb.sent.clear()
            if not usb.incoming:
                break
        else:
            raise Finding("it does not read any more")
        self._look()
        return len(given)

    def _look(self) -> None:
        bad = [row for row in self.bench.happened if row[1] in (events.LATE, events.DEAD, events.FENCE_FIRED)]
        self.bench.happened.clear()
        if bad:
            raise Finding(f"a node was late, dead or fenced: {bad[:3]}")

    def finish(self) -> None:
        self.bench.run(3000)
        self._look()
        assert self.bench.ask(op="status")["active"] is not None, "nobody is active any more"


TARGETS: tuple[type[Target], ...] = (
    AgentSocket, AgentEvents, AgentLine, AgentPeer, MetricsPort, PeerPort, WebPort, AskedMonitor, Pinged, AskedAgent,
    AskedEvents, Receipt, HostLink, BoardLink, BrokerSocket, BoardOfBroker, SharedBoard,
)  # fmt: skip
