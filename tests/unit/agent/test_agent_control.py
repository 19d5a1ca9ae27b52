"""The agent's local sockets: answers that come later, connections that stay, and who gets in."""

import contextlib
import io
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heartwire.agent.control import CLIENTS_MAX, Control, Reply
from heartwire.agent.errors import SettingsError
from heartwire.agent.log import Log
from heartwire.agent.settings import settings_from

MINIMAL = {"node": "a", "port": "/dev/x", "state_directory": "/tmp/x"}


class Late:
    """A handler that keeps every request and answers when told."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], Reply]] = []

    def __call__(self, request: dict[str, Any], reply: Reply) -> dict[str, Any] | None:
        self.asked.append((request, reply))
        return None


class Socket:
    """A Control and the loop around it."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.late = Late()
        self.control = Control(path, self.late, Log(io.StringIO(), "a"), **options)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(self.path))
        client.settimeout(5)
        self.serve()
        return client

    def serve(self) -> None:
        import select

        for _ in range(300):
            for descriptor in select.select(self.control.descriptors(), [], [], 0)[0]:
                self.control.serve(descriptor)

    def send(self, client: socket.socket, data: bytes) -> None:
        client.sendall(data)
        self.serve()


@pytest.fixture
def once(tmp_path: Path) -> Iterator[Socket]:
    made = Socket(tmp_path / "once")
    yield made
    made.control.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Socket]:
    made = Socket(tmp_path / "kept", group="", keep=True)
    yield made
    made.control.close()


def test_an_answer_may_come_later(once: Socket) -> None:
    client = once.connect()
    once.send(client, b'{"do": "fence"}\n')
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(100)
    once.late.asked[0][1]({"ok": True})
    assert client.recv(100) == b'{"ok": true}\n'
    assert client.recv(100) == b"", "one request a connection"


def test_an_answer_to_somebody_who_has_gone_reaches_nobody_else(once: Socket) -> None:
    client = once.connect()
    once.send(client, b'{"do": "fence"}\n')
    client.close()
    once.serve()
    other = once.connect()
    once.send(other, b'{"do": "other"}\n')
    once.late.asked[0][1]({"secret": 1})
    once.late.asked[1][1]({"yours": 1})
    once.late.asked[1][1]({"again": 1})
    assert other.recv(100) == b'{"yours": 1}\n'


def test_a_kept_connection_takes_one_request_after_the_other(kept: Socket) -> None:
    client = kept.connect()
    kept.send(client, b'{"n": 1}\n{"n": 2}\n')
    assert [request for request, _ in kept.late.asked] == [{"n": 1}]
    kept.late.asked[0][1]({"n": 1})
    assert [request for request, _ in kept.late.asked] == [{"n": 1}, {"n": 2}]
    kept.late.asked[1][1]({"n": 2})
    kept.send(client, b"nonsense\n")
    assert client.recv(1000) == b'{"n": 1}\n{"n": 2}\n{"error": "not JSON"}\n'
    kept.send(client, b'{"n": 3}\n')
    kept.late.asked[2][1]({"n": 3})
    assert client.recv(1000) == b'{"n": 3}\n'


def test_a_client_that_sends_without_end_is_dropped(kept: Socket) -> None:
    client = kept.connect()
    kept.send(client, b'{"n": 1}\n')
    with pytest.raises(OSError):
        for _ in range(100):
            kept.send(client, b"x" * 1000)
    kept.late.asked[0][1]({"n": 1})


def test_the_oldest_of_too_many_clients_goes(kept: Socket) -> None:
    clients = [kept.connect() for _ in range(CLIENTS_MAX + 1)]
    assert clients[0].recv(10) == b""
    assert len(kept.control.descriptors()) == CLIENTS_MAX + 1


@pytest.mark.parametrize(("options", "mode"), [({}, 0o600), ({"group": "", "keep": True}, 0o660)])
def test_who_gets_in_is_said_by_the_mode(tmp_path: Path, options: dict[str, Any], mode: int) -> None:
    made = Socket(tmp_path / "s", **options)
    assert stat.S_IMODE(made.path.stat().st_mode) == mode
    made.control.close()
    assert not made.path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a socket to another group")
def test_the_socket_belongs_to_the_group_that_was_wanted(tmp_path: Path) -> None:
    made = Socket(tmp_path / "s", group="daemon", keep=True)
    assert made.path.group() == "daemon"
    made.control.close()
    with pytest.raises(OSError, match="no-such-group"):
        Socket(tmp_path / "t", group="no-such-group", keep=True)


@pytest.mark.parametrize(
    "wrong", [{"events_socket": "relative"}, {"board_id": "xyz"}, {"board_id": "E66118604B5C4A2"}, {"events_socket": 3}]
)
def test_wrong_settings_of_the_events_socket_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        settings_from({**MINIMAL, **wrong})
    assert settings_from({**MINIMAL, "board_id": "e66118604b5c4a2a"}).board_id == "E66118604B5C4A2A"


def test_a_socket_that_cannot_be_made_ends_the_agent_with_words(tmp_path: Path) -> None:
    from heartwire.agent.run import open_sockets
    from tests.unit.agent.agent_fakes import World

    world = World(tmp_path, events_socket=str(tmp_path / "none" / "events"))
    with pytest.raises(SettingsError, match="events_socket"):
        open_sockets(world.settings, world.agent, Log(io.StringIO(), "a"))
    assert not (tmp_path / "control").exists()


SHAPES = [
    b"\n", b"{}\n", b"[]\n", b"null\n", b"nonsense\n", b"{\n", b'"x"\n', b"\xff\xfe\n", b"\0\n", b"-1e400\n",
    b"[" * 3000 + b"\n", b'{"a":' * 500 + b"1" + b"}" * 500 + b"\n", b"9" * 4000 + b"\n",
    *(
        b'{"do": %b, "seconds": %b, "target": %b, "tool": %b, "after": %b, "count": %b}\n' % (do, *[value] * 5)
        for do in (b'"fence"', b'"busy"', b'"planned_off"', b'"status"', b'"ready"', b"[]", b"{}", b"null", b"1.5")
        for value in (b"[]", b"{}", b"null", b"true", b"1.0", b"-1", b'"a"', b"NaN", b"Infinity", b"1e308", b'"\\ud8"')
    ),
]  # fmt: skip


@pytest.mark.parametrize("keep", [False, True])
def test_nothing_that_a_client_sends_escapes_its_handler(tmp_path: Path, keep: bool) -> None:
    from tests.unit.agent.agent_fakes import World

    world = World(tmp_path)
    handler = world.agent.read_events if keep else world.agent.handle
    control = Control(tmp_path / "s", handler, Log(io.StringIO(), "a"), keep=keep)
    for shape in SHAPES:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(tmp_path / "s"))
        client.sendall(shape)
        for _ in range(12):
            for descriptor in control.descriptors():
                control.serve(descriptor)
        world.step()
        client.close()
    world.go(200_000, step_ms=1000)  # late answers, to clients that have gone
    control.close()


def test_a_handler_that_fails_is_answered_and_told_once(tmp_path: Path) -> None:
    text = io.StringIO()

    def fail(request: dict[str, Any], reply: Reply) -> None:
        raise ZeroDivisionError

    control = Control(tmp_path / "s", fail, Log(text, "a"), keep=True)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(tmp_path / "s"))
    client.sendall(b"{}\n{}\n")
    for _ in range(3):
        for descriptor in control.descriptors():
            control.serve(descriptor)
    assert client.recv(1000).count(b"could not handle") == 2
    assert text.getvalue().count("ZeroDivisionError") == 1
    control.close()


def test_who_asks_a_thousand_times_and_reads_nothing_is_dropped(kept: Socket) -> None:
    client = kept.connect()
    kept.send(client, b"1\n" * 2000)
    answers = b""
    with contextlib.suppress(ConnectionResetError):  # it is closed with requests unread
        while data := client.recv(65536):
            answers += data
    assert answers.count(b'{"error": "not an object"}\n') > 100
    assert len(kept.control.descriptors()) == 1


def test_who_waits_for_an_answer_keeps_his_place_in_a_flood(once: Socket) -> None:
    waiting = once.connect()
    once.send(waiting, b'{"do": "fence"}\n')
    flood = [once.connect() for _ in range(3 * CLIENTS_MAX)]
    assert len(once.control.descriptors()) == CLIENTS_MAX + 1
    once.late.asked[0][1]({"ok": True})
    assert waiting.recv(100) == b'{"ok": true}\n'
    for client in flood:
        client.close()


def test_no_place_is_left_where_all_wait(kept: Socket) -> None:
    clients = [kept.connect() for _ in range(CLIENTS_MAX)]
    for client in clients:
        kept.send(client, b"{}\n")
    assert kept.connect().recv(10) == b""
    assert len(kept.control.descriptors()) == CLIENTS_MAX + 1


def test_who_half_closes_gets_his_answer(once: Socket, tmp_path: Path) -> None:
    control = Control(tmp_path / "half", lambda request, reply: {"ok": True}, Log(io.StringIO(), "a"))
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(tmp_path / "half"))
    client.sendall(b"{}\n")
    client.shutdown(socket.SHUT_WR)
    for _ in range(3):
        for descriptor in control.descriptors():
            control.serve(descriptor)
    assert client.recv(100) == b'{"ok": true}\n'
    assert client.recv(100) == b""
    assert len(control.descriptors()) == 1
    control.close()
