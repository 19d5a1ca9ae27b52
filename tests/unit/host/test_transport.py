"""Real ports: pseudo terminals and sockets, two programs on one port, unplugging, closed and full output."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire import ports, transport
from heartwire.board import Board
from heartwire.cli.main import main
from heartwire.errors import BoardNotFound, NoAnswer, NotPermitted, PortBusy, Unplugged, UsageProblem
from heartwire.keys import Keys
from heartwire_protocol import events
from tests.fakes.board import BOARD_ID, FakeBoard, PtyBoard

ROOT = Path(__file__).parents[3]


def test_a_board_over_a_real_pseudo_terminal() -> None:
    with PtyBoard(FakeBoard()) as pty, Board.open(pty.path, keys=Keys()) as board:
        assert board.status().board_id == BOARD_ID.hex().upper()
        assert [node.node for node in board.nodes()] == ["a", "b"]


def test_two_programs_on_one_port(capsys: pytest.CaptureFixture[str]) -> None:
    with PtyBoard(FakeBoard()) as pty, Board.open(pty.path, keys=Keys()) as board:
        with pytest.raises(PortBusy, match="in use by"):
            transport.open_channel(pty.path)
        assert main(["-p", pty.path, "status"]) == 4
        assert "is in use by" in capsys.readouterr().err
        assert board.status().mode == "auto"


def test_the_port_is_free_again_after_close() -> None:
    with PtyBoard(FakeBoard()) as pty:
        for _ in range(2):
            Board.open(pty.path, keys=Keys()).close()


def test_the_holder_of_a_port_is_named() -> None:
    with PtyBoard(FakeBoard()) as pty:
        code = "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", code, pty.path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert ports.holder_of(pty.path).endswith(f"(pid {other.pid})")


def test_unplugged_in_the_middle_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    board = FakeBoard()
    with PtyBoard(board) as pty:
        board.before_answer = lambda op: pty.unplug() if op == "release" else None
        assert main(["-p", pty.path, "release", "a"]) == 7
    assert "connection lost" in capsys.readouterr().err


def test_a_closed_channel_is_unplugged() -> None:
    with PtyBoard(FakeBoard()) as pty:
        channel = transport.open_channel(pty.path)
        pty.unplug()
        with pytest.raises(Unplugged):
            channel.read(0.05)
        with pytest.raises(Unplugged):
            channel.write(b"x")
        channel.close()


def test_nothing_at_the_other_end(capsys: pytest.CaptureFixture[str]) -> None:
    board = FakeBoard()
    board.silent = True
    with PtyBoard(board) as pty:
        assert main(["-p", pty.path, "--timeout", "0.1", "status"]) == 6
    assert "no answer within 0.1 s" in capsys.readouterr().err


def test_no_such_port(tmp_path: Path) -> None:
    with pytest.raises(BoardNotFound, match="no such port"):
        transport.open_channel(str(tmp_path / "ttyACM0"))


def test_a_file_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BoardNotFound, match="not a serial port"):
        transport.open_channel(str(tmp_path / "file"))


def away_by_pyserial() -> None:
    """Raise what pyserial makes of a device that has gone before its mode is read: an error without a number."""
    import serial

    try:
        raise termios.error(errno.EIO, os.strerror(errno.EIO))
    except termios.error as error:
        raise serial.SerialException(f"Could not configure port: {error}")  # noqa: B904 - as pyserial does


def away_by_termios() -> None:
    """Raise what comes when it goes before its mode is set."""
    raise termios.error(errno.EIO, os.strerror(errno.EIO))


def away_by_system() -> None:
    """Raise what comes when it goes before its DTR is set."""
    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def away_without_a_word() -> None:
    """Raise what pyserial makes of its own closed descriptor."""
    raise TypeError("an integer is required (got type NoneType)")


@pytest.mark.parametrize("fault", [away_by_pyserial, away_by_termios, away_by_system, away_without_a_word])
def test_a_port_that_vanishes_while_it_is_opened_is_one_kind_of_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: Callable[[], None]
) -> None:
    import serial

    monkeypatch.setattr(serial.Serial, "open", lambda self: fault())
    with pytest.raises(BoardNotFound, match="/dev/ttyACM9: no such port"):
        transport.open_channel("/dev/ttyACM9")
    assert main(["-p", "/dev/ttyACM9", "status"]) == BoardNotFound.exit_code
    assert "no such port" in capsys.readouterr().err


def test_a_second_reader_of_the_port_is_named_where_no_answer_comes(capsys: pytest.CaptureFixture[str]) -> None:
    board = FakeBoard()
    board.silent = True
    code = "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print(flush=True); sys.stdin.read()"
    with PtyBoard(board) as pty:
        command = [sys.executable, "-c", code, pty.path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert main(["-p", pty.path, "--timeout", "0.1", "status"]) == 6
    said = " ".join(capsys.readouterr().err.split())
    assert f"(pid {other.pid}) has this port open too" in said
    assert "heartwire flash" not in said, "a board that guards is not to be flashed for somebody else's reading"


def test_an_open_port_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pty keeps the mark beyond its holder, so the calls are looked at, under another name."""
    marks: list[int] = []
    real, ioctl = os.path.realpath, fcntl.ioctl

    def note(descriptor: int, call: int, argument: bytes | int = 0) -> object:
        marks.extend([call] if call in (termios.TIOCEXCL, termios.TIOCNXCL) else [])
        return 0 if call in marks else ioctl(descriptor, call, argument)

    with PtyBoard(FakeBoard()) as pty:
        monkeypatch.setattr(os.path, "realpath", lambda path: "/dev/ttyACM0" if path == pty.path else real(path))
        monkeypatch.setattr(fcntl, "ioctl", note)
        transport.open_channel(pty.path).close()
    assert marks == [termios.TIOCEXCL, termios.TIOCNXCL]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EACCES, NotPermitted), (errno.EBUSY, PortBusy), (errno.EAGAIN, PortBusy), (errno.ENXIO, BoardNotFound)],
)
def test_what_the_system_says_when_opening(monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]) -> None:
    import serial

    def fail(self: object) -> None:
        raise serial.SerialException(number, os.strerror(number))

    monkeypatch.setattr(serial.Serial, "open", fail)
    with pytest.raises(kind):
        transport.open_channel("/dev/ttyACM9")


def serve(board: FakeBoard, answers: int) -> tuple[str, threading.Thread]:
    """Serve a fake board on a TCP port of this host, for so many chunks; return its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def loop() -> None:
        with listener, listener.accept()[0] as connection:
            for _ in range(answers):
                data = connection.recv(4096)
                if not data:
                    return
                connection.sendall(board.receive(data))

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return f"socket://127.0.0.1:{listener.getsockname()[1]}", thread


def test_a_board_over_a_socket_that_closes_in_the_middle() -> None:
    url, thread = serve(FakeBoard(), 2)
    with Board.open(url, keys=Keys()) as board:
        assert board.status().mode == "auto"
        thread.join(5)
        with pytest.raises(Unplugged):
            board.status()


def test_a_socket_nobody_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(BoardNotFound, match="refused"):
        transport.open_channel(f"socket://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "url",
    [
        "socket://", "socket://host", "socket://host:http", "socket://127.0.0.1:²", "socket://127.0.0.1:99999",
        "http://host:80", "rfc2217://host", "rfc2217://127.0.0.1:²", "rfc2217://127.0.0.1:99999",
    ],
)  # fmt: skip
def test_addresses_that_make_no_sense(url: str) -> None:
    with pytest.raises(UsageProblem):
        transport.open_channel(url)


def say(words: bytes) -> str:
    """Serve one connection that says `words` and is closed; return its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def once() -> None:
        with listener, listener.accept()[0] as connection:
            connection.sendall(words)

    threading.Thread(target=once, daemon=True).start()
    return f"socket://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("words", "kind", "shown"),
    [
        (b"\xff\xfb\x03\xff\xfb\x01", UsageProblem, "the server speaks Telnet"),
        (b"Port already in use\r\n", PortBusy, 'the server closed the connection and said "Port already in use"'),
        (b"go away\n", Unplugged, 'said "go away"'),
        (b"", Unplugged, "closed by the other side"),
    ],
)
def test_what_a_serial_server_says_in_place_of_a_board(words: bytes, kind: type[Exception], shown: str) -> None:
    channel = transport.open_channel(say(words))
    with pytest.raises(kind, match=shown):
        for _ in range(3):
            channel.read(5.0)
    channel.close()


def test_a_port_that_takes_no_data_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "WRITE_TIMEOUT_S", 0.03)
    master, slave = os.openpty()
    try:
        channel = transport.open_channel(os.ttyname(slave))
        with pytest.raises(NoAnswer, match="takes no data"):
            for _ in range(100):
                channel.write(bytes(4096))
        channel.close()
    finally:
        os.close(master)
        os.close(slave)


RUN = "import sys; from heartwire.cli.main import main; sys.exit(main())"


def surroundings_of(pty: PtyBoard) -> dict[str, str]:
    """Return the environment of a program that finds heartwire and the board."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("host", "firmware"))
    return {**os.environ, "PYTHONPATH": path, "HEARTWIRE_PORT": pty.path}


def shell(pty: PtyBoard, line: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which `hw` is the command."""
    return subprocess.run(
        ["bash", "-c", f"hw() {{ {sys.executable} -c '{RUN}' \"$@\"; }}; {line}"],
        env=surroundings_of(pty), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.fixture
def served() -> PtyBoard:
    board = FakeBoard()
    for _ in range(300):
        board.log(events.LATE, node=0, a=3000)
    return PtyBoard(board)


def test_a_reader_that_ends_early_is_no_fault(served: PtyBoard) -> None:
    with served as pty:
        done = shell(pty, "hw log --since 0 | head -n 1; echo ${PIPESTATUS[0]}")
    assert done.stdout.splitlines()[-1] in ("0", "141")
    assert done.stderr == ""


def test_output_onto_a_full_disk_and_closed_output(served: PtyBoard) -> None:
    with served as pty:
        full = shell(pty, "hw log --csv > /dev/full; echo $?")
        closed = shell(pty, "hw log --csv >&-; echo $? >&2")
    assert full.stdout == "12\n"
    assert "No space left on device" in full.stderr
    assert "Exception ignored" not in full.stderr
    assert closed.stderr.splitlines()[-1] == "12"


def test_sigterm_ends_a_watch_in_good_order(served: PtyBoard) -> None:
    with served as pty:
        command = [sys.executable, "-c", RUN, "status", "--watch"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=surroundings_of(pty), stdout=pipe, stderr=pipe) as watch:
            assert watch.stdout is not None
            assert watch.stderr is not None
            watch.stdout.readline()
            watch.terminate()
            assert watch.wait(10) == 143
            assert watch.stderr.read() == b""


def test_no_colour_in_a_pipe_even_if_asked_by_the_terminal(served: PtyBoard) -> None:
    with served as pty:
        done = shell(pty, "export TERM=xterm-256color; hw status; hw log --limit 3")
    assert "\x1b" not in done.stdout + done.stderr
