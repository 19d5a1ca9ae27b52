"""The line that comes back: silence, stale bytes, connections, and what serial servers say instead of a board."""

import io
import os
import select
import socket
import termios
import threading
import tty
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from heartwire import serial_servers
from heartwire.agent import port as port_module
from heartwire.agent.agent import CONNECTS_NS
from heartwire.agent.errors import SettingsError
from heartwire.agent.line import BACK_OFF_NS, CONNECT_NS, STALE_NS, WRONG_SERVER_NS, Line
from heartwire.agent.log import Log
from heartwire.agent.port import Opener, SerialPort, SocketPort
from heartwire.agent.settings import settings_from
from heartwire.agent.silence import PAUSE_MAX_S, Silence
from tests.unit.agent.agent_fakes import World, ms
from tests.unit.agent.test_agent_parts import wait_for

HOUR_NS = 3600 * 1_000_000_000
BUSY = b"Port already in use\r\n"
# ser2net 4.3.11 greets so with `accepter: telnet,PORT`.
TELNET_GREETING = b"\xff\xfb\x03\xff\xfb\x01\xff\xfd\x03\xff\xfd\x01\xff\xfe\x01"


class HalfPort:
    """A port that is told what to do."""

    def __init__(self) -> None:
        self.connected = True
        self.keeps = 0  # bytes that wait
        self.discards = True
        self.written: list[bytes] = []
        self.inbox: list[bytes] = []
        self.dropped = False
        self.fault: OSError | None = None

    def fileno(self) -> int:
        return -1

    def ready(self) -> bool:
        if self.fault:
            raise self.fault
        return self.connected

    def read(self) -> bytes:
        if self.fault:
            raise self.fault
        if not self.inbox:
            raise BlockingIOError
        return self.inbox.pop(0)

    def write(self, data: memoryview) -> int:
        self.written.append(bytes(data))
        return len(data)

    def waiting(self) -> int:
        return self.keeps

    def discard(self) -> bool:
        if self.discards:
            self.keeps = 0
        return self.discards

    def close(self) -> None:
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


class Stand:
    """A line on ports that the test made."""

    def __init__(self, path: str = "/dev/x") -> None:
        self.ports: list[HalfPort] = []
        self.text = io.StringIO()
        self.line = Line(path, 115_200, Log(self.text, "a"), self._open)
        self.next = HalfPort()

    def _open(self, path: str, baud: int) -> HalfPort:
        port, self.next = self.next, HalfPort()
        self.ports.append(port)
        return port

    def events(self) -> list[str]:
        return [line.split("event=")[1].split()[0] for line in self.text.getvalue().splitlines()]


def test_a_board_that_does_not_answer_has_its_port_opened_anew(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    assert len(world.ports) == 1
    world.board.silent = True
    world.go(4500)
    assert len(world.ports) == 2
    assert world.ports[0].closed
    # Nothing is lost by it: each heartbeat still comes.
    sequences = [beat["sequence"] for beat in world.board.beats]
    assert sequences == list(range(1, len(sequences) + 1))
    assert world.log.count("line_silent") == 1
    world.go(120_000)
    # 3, 6, 12, then every 16 beats.
    assert len(world.ports) == 2 + 2 + 6
    assert world.log.count("line_silent") == 1
    status = world.agent.status(world.clock())
    assert status["port_reopened"] == len(world.ports) - 1
    assert 120 <= status["beats_unanswered"] <= 126
    world.board.silent = False
    world.go(3000)
    assert world.agent.status(world.clock())["beats_unanswered"] <= 1
    assert world.log.count("line_answers") == 1


def test_reopening_can_be_switched_off(tmp_path: Path) -> None:
    world = World(tmp_path, reopen_after=0)
    world.board.silent = True
    world.go(60_000)
    assert len(world.ports) == 1


def test_refused_answers_are_answers(tmp_path: Path) -> None:
    """Another key, or crossed cables: the line works, and opening it again would mend nothing."""
    world = World(tmp_path, key=bytes(32))
    world.board.signer = World(tmp_path / "other").board.signer
    world.go(30_000)
    assert len(world.ports) == 1
    assert world.agent.status(world.clock())["beats_unanswered"] <= 1


def test_pauses_of_silence_grow_and_are_bounded() -> None:
    silence = Silence(3, 1000)
    gaps, count = [], 0
    for _ in range(100):
        if silence.is_due:
            silence.reopen()
            gaps.append(count)
            count = 0
        silence.sent()
        count += 1
    assert gaps == [3, 6, 12, *[PAUSE_MAX_S] * 4]
    silence.answered()
    for _ in range(3):
        assert not silence.is_due
        silence.sent()
    assert silence.is_due
    assert silence.unanswered == 3


def test_a_slow_line_is_not_reopened_less_often_than_it_was_told() -> None:
    silence = Silence(3, 60_000)
    for _ in range(3):
        silence.reopen()
        for _ in range(3):
            silence.sent()
        assert silence.is_due


def test_stale_bytes_are_thrown_away_and_the_newest_frame_is_sent() -> None:
    stand = Stand()
    stand.line.ensure(0)
    port = stand.ports[0]
    assert stand.line.write(memoryview(b"one"), 0)
    port.keeps = 3
    # Still on its way.
    assert stand.line.write(memoryview(b"two"), STALE_NS - 1)
    assert port.keeps == 3
    assert stand.line.write(memoryview(b"new"), STALE_NS)
    assert port.keeps == 0
    assert port.written == [b"one", b"two", b"new"]


def test_nothing_is_queued_where_nothing_can_be_thrown_away() -> None:
    stand = Stand()
    stand.line.ensure(0)
    port = stand.ports[0]
    port.discards = False
    assert stand.line.write(memoryview(b"one"), 0)
    port.keeps = 3
    for number in range(1, 60):
        assert not stand.line.write(memoryview(b"old"), number * ms(1000))
    assert port.written == [b"one"]
    assert stand.line.dropped_frames == 59
    port.keeps = 0
    assert stand.line.write(memoryview(b"new"), ms(60_000))


def test_a_connection_that_does_not_come_is_begun_anew_at_a_steady_pace() -> None:
    stand = Stand("socket://127.0.0.1:1")
    tries = []
    for now in range(0, 20 * CONNECT_NS, CONNECT_NS // 100):
        stand.next.connected = False
        before = len(stand.ports)
        assert not stand.line.ensure(now)
        assert not stand.line.write(memoryview(b"x"), now)
        if len(stand.ports) > before:
            tries.append(now)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert max(gaps) <= max(CONNECT_NS, BACK_OFF_NS[-1]) + CONNECT_NS // 100
    assert min(gaps) >= CONNECT_NS
    assert stand.events() == ["line_lost"]
    assert stand.ports[-2].dropped
    assert stand.line.opened_count == 0


def test_a_server_that_hangs_up_is_logged_once_with_what_it_said() -> None:
    stand = Stand("socket://127.0.0.1:1")
    for now in range(0, 60 * ms(1000), ms(50)):
        stand.next.inbox = [BUSY[:7], BUSY[7:], b""]
        stand.line.ensure(now)
        for _ in range(3):
            stand.line.read(now)
    assert 50 <= len(stand.ports) <= 70
    assert stand.events() == ["line_open", "line_lost"]
    assert stand.line.problem == 'the server closed the connection and said "Port already in use"'
    # After an hour without a good word the trouble is told again.
    stand.next.inbox = [BUSY, b""]
    stand.line.ensure(HOUR_NS + ms(1))
    stand.line.read(HOUR_NS + ms(1))
    stand.line.read(HOUR_NS + ms(1))
    assert stand.events()[2:] == ["line_open", "line_lost"]


def test_a_reset_after_words_shows_the_words() -> None:
    stand = Stand("socket://127.0.0.1:1")
    stand.next.inbox = [BUSY]
    stand.line.ensure(0)
    stand.line.read(0)
    stand.ports[0].fault = ConnectionResetError(104, "Connection reset by peer")
    stand.line.read(0)
    assert "Port already in use" in stand.line.problem


def test_telnet_is_recognised_and_left_alone_for_a_while() -> None:
    stand = Stand("socket://127.0.0.1:1")
    tries = 0
    for now in range(0, 60 * ms(1000), ms(100)):
        stand.next.inbox = [TELNET_GREETING[:1], TELNET_GREETING[1:]]
        stand.line.ensure(now)
        assert stand.line.read(now) in (b"", b"\xff")
        stand.line.read(now)
    tries = len(stand.ports)
    assert tries == 60 * ms(1000) // WRONG_SERVER_NS
    assert stand.line.problem == f"{serial_servers.TELNET}: {serial_servers.TELNET_NEXT}"
    assert stand.events() == ["line_open", "line_lost"]


@pytest.mark.parametrize("first", [b"\x00\xff\xfb\x01", b"\xff", b"\xff\xff\xfb", b"\xff\x01\x02", b""])
def test_noise_is_not_taken_for_telnet(first: bytes) -> None:
    assert not serial_servers.speaks_telnet(first)


@pytest.mark.parametrize(("first", "words"), [(BUSY, "Port already in use"), (b"\x00\x05ab\x00", ""), (b"", "")])
def test_what_a_server_said(first: bytes, words: str) -> None:
    assert serial_servers.said(first) == words


def test_words_before_the_end_of_a_port_are_read_although_the_poll_reports_its_end() -> None:
    stand = Stand("socket://127.0.0.1:1")
    stand.next.inbox = [BUSY, b""]
    stand.line.ensure(0)
    stand.line.hung_up(0)
    assert stand.line.read(0) == BUSY
    stand.line.hung_up(0)
    assert "Port already in use" in stand.line.problem


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(master)
    path = os.ttyname(slave)
    os.close(slave)
    yield master, path
    os.close(master)


def test_a_port_opened_anew_has_its_mode_again(terminal: tuple[int, str]) -> None:
    """As after another program left the tty in its own mode, with output stopped."""
    line = Line(terminal[1], 115_200, Log(io.StringIO(), "a"))
    assert line.ensure(0)
    other = os.open(terminal[1], os.O_RDWR | os.O_NOCTTY)
    right = termios.tcgetattr(other)
    wrong = termios.tcgetattr(other)
    wrong[3] |= termios.ICANON | termios.ECHO
    wrong[4] = wrong[5] = termios.B9600
    termios.tcsetattr(other, termios.TCSANOW, wrong)
    termios.tcflow(other, termios.TCOOFF)
    assert line.reopen(0, 3)
    assert termios.tcgetattr(other) == right
    assert line.write(memoryview(b"beat"), 0)
    assert select.select([terminal[0]], [], [], 5)[0]
    assert os.read(terminal[0], 10) == b"beat"
    os.close(other)
    with pytest.raises(OSError, match="in use"):
        SerialPort(terminal[1], 115_200)
    line.close()


def test_the_kernel_gives_up_a_dead_connection_after_two_heartbeats() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = SocketPort(f"socket://127.0.0.1:{server.getsockname()[1]}", interval_ms=700)
        with socket.socket(fileno=os.dup(port.fileno())) as same:
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1400
        port.close()


def test_a_dropped_connection_is_reset_and_its_port_used_again() -> None:
    """Half open at the server: only a connection from the same port makes its kernel find out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        opener = Opener(1000)
        sources = []
        for _ in range(4):
            port = opener(url, 9600)
            peer, address = server.accept()
            assert port.ready()
            sources.append(address[1])
            port.write(memoryview(b"beat"))
            port.drop()
            assert select.select([peer], [], [], 5)[0]
            with pytest.raises(ConnectionResetError):
                while peer.recv(100):
                    pass
            peer.close()
        assert sources[1] == sources[0]
        assert len(set(sources)) == 1
        # One that its server ended is not insisted on.
        port = opener(url, 9600)
        peer, address = server.accept()
        assert port.ready()
        peer.close()
        assert select.select([port.fileno()], [], [], 5)[0]
        assert port.read() == b""
        port.drop()
        opener(url, 9600).drop()
        assert server.accept()[1][1] != address[1]


def test_attempts_alternate_between_the_old_port_and_new_ones() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        opener = Opener(1000)
        first = opener(f"socket://127.0.0.1:{address[1]}", 9600)
        server.accept()[0].close()
        assert first.ready()
        first.drop()
    sources = []
    for _ in range(6):
        port = opener(f"socket://127.0.0.1:{address[1]}", 9600)
        assert isinstance(port, SocketPort)
        assert isinstance(first, SocketPort)
        sources.append(port.source_port == first.source_port)
        port.drop()
    assert sources == [True, False] * 3


def test_a_tty_that_takes_nothing_is_flushed_before_it_is_closed(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel waits up to half a minute for the rest to leave, and with it everything else that the agent does."""
    port = SerialPort(terminal[1], 115_200)
    done: list[object] = []
    close = os.close

    def close_and_note(descriptor: int) -> None:
        done.append("close")
        close(descriptor)

    monkeypatch.setattr(termios, "tcflush", lambda _, queue: done.append(queue))
    monkeypatch.setattr(os, "close", close_and_note)
    port.drop()
    monkeypatch.undo()
    assert done == [termios.TCOFLUSH, "close"]
    assert port.fileno() == -1


def test_a_driver_that_hangs_holds_up_nothing(terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a hung USB adapter does, for seconds: when it is opened, and when it is let go."""
    goes_on = threading.Event()

    class Hung(SerialPort):
        def __init__(self, path: str, baud: int) -> None:
            assert goes_on.wait(30)
            super().__init__(path, baud)

        def drop(self) -> None:
            assert goes_on.wait(30)
            super().drop()

    monkeypatch.setattr(port_module, "SerialPort", Hung)
    text = io.StringIO()
    line = Line(terminal[1], 115_200, Log(text, "a"))
    for number in range(50):
        assert not line.ensure(number * ms(100))
        assert not line.write(memoryview(b"beat"), number * ms(100))
        assert line.read(number * ms(100)) == b""
    assert line.connects
    assert "hangs" in line.problem
    assert text.getvalue().count("line_hangs") == 1
    goes_on.set()
    wait_for(lambda: line.ensure(ms(5000)))
    assert line.problem == ""
    assert line.write(memoryview(b"beat"), ms(5000))
    # Let go while it hangs: what comes next waits in its turn, and is not "in use by another program".
    goes_on.clear()
    assert not line.reopen(ms(6000), 3)
    assert line.connects
    goes_on.set()
    wait_for(lambda: line.ensure(ms(6100)))
    assert line.write(memoryview(b"beat"), ms(6100))
    line.close()


def test_a_port_that_is_being_opened_is_looked_at_often(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    now_ns = world.clock.now_ns
    assert world.agent.next_ns(now_ns) > now_ns + CONNECTS_NS
    world.agent.line.is_open = False
    assert world.agent.next_ns(now_ns) == now_ns + CONNECTS_NS


def test_what_goes_wrong_aside_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path / "file", "not a serial port")):
        line = Line(str(path), 115_200, Log(io.StringIO(), "a"))
        wait_for(lambda line=line: not line.ensure(0) and not line.connects)
        assert words in line.problem


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("socket://rack:4000", "must have a numeric address, not rack"),
        ("socket://192.0.2.1", "must be socket://ADDRESS:PORT"),
        ("socket://192.0.2.1:0", "from 1 to 65535"),
        ("socket://192.0.2.1:65536", "from 1 to 65535"),
        ("socket://192.0.2.1:²", "from 1 to 65535"),
        ("rfc2217://192.0.2.1:4000", "works for the host link only"),
        ("telnet://192.0.2.1:23", "must be a serial device, or socket://ADDRESS:PORT, not telnet://"),
        ("loop://", "not loop://"),
        ("spy:///dev/ttyS0", "not spy://"),
    ],
)
def test_ports_that_cannot_be_a_line_are_refused_with_what_works(port: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({"node": "a", "port": port})
    assert words in caught.value.words
    assert "socket://ADDRESS:PORT" in caught.value.words + caught.value.next_step


@pytest.mark.parametrize("port", ["socket://localhost:4000", "socket://[2001:db8::1]:4000", "/dev/ttyS0"])
def test_ports_that_can_be_a_line(port: str) -> None:
    assert settings_from({"node": "a", "port": port}).port == port


@pytest.mark.parametrize("value", [-1, 1001, 2.5, True, "3"])
def test_reopen_after_has_limits(value: object) -> None:
    with pytest.raises(SettingsError, match="reopen_after"):
        settings_from({"node": "a", "port": "/dev/x", "reopen_after": value})
