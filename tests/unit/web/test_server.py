"""The socket of the page: whatever a client sends, or does not send, others are answered, and the monitor goes on."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heartwire.errors import BadConfig, PortBusy, UsageProblem
from heartwire.monitor import query, run, settings
from heartwire.monitor.log import Log
from heartwire.web import app, live, pages, server
from tests.fakes.clients import exchange
from tests.unit.web.room import Room

PATIENCE_S = 60


class Port:
    """A server of the page, and its log."""

    def __init__(self, app: server.App) -> None:
        self.log = io.StringIO()
        self.server = server.Server("127.0.0.1:0", app, Log(self.log))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), PATIENCE_S)

    def get(self, path: str = "/notes") -> bytes:
        return exchange(self.server.port, f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode(), PATIENCE_S)

    def works(self) -> bool:
        return b" 200 " in self.get()[:16]


@pytest.fixture
def port(room: Room) -> Iterator[Port]:
    made = Port(room.app())
    made.server.start()
    yield made
    made.server.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"GET",
        b"GET / HTTP/\xb2\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /%ff%fe HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET /why/%00 HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET /rack/%0a%0d HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET /journal?rack=%00&since=%ff HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.0\r\nX: " + b"y" * 100_000,
        b"GET / HTTP/1.0\r\n" + b"X: 1\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n" + b"z" * 100_000,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ],
    ids=range(17),
)
def test_noise_ends_nothing(port: Port, data: bytes) -> None:
    answer = exchange(port.server.port, data, PATIENCE_S)
    assert b" 500 " not in answer[:16]
    assert port.works()
    assert port.log.getvalue() == ""


def test_who_says_nothing_or_only_a_part_is_ended(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    monkeypatch.setattr(server, "LOOK_S", 0.05)
    parts = (b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(port.connect()) for _ in parts]
        for client, part in zip(clients, parts, strict=True):
            client.sendall(part)
        for client in clients:
            with contextlib.suppress(ConnectionError):
                while client.recv(65536):
                    pass
    assert port.works()


def test_who_reads_nothing_is_ended(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "EXCHANGE_S", 0.2)
    monkeypatch.setattr(server, "LOOK_S", 0.05)
    with port.connect() as client:
        client.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while client.recv(65536):
                pass
    assert port.works()


def test_too_many_connections_leave_room_for_one_more(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 4)
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(port.connect())
        assert port.works()


def test_what_fails_in_an_answer_is_noted_and_ends_nothing(room: Room) -> None:
    inner = room.app()

    async def failing(scope: server.Scope, receive: server.Receive, send: server.Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/bad":
            raise RuntimeError("secret words")
        await inner(scope, receive, send)

    port = Port(failing)
    port.server.start()
    try:
        answers = [port.get("/bad"), port.get("/bad")]
        assert all(b" 500 " in answer[:16] and b"secret" not in answer for answer in answers)
        assert port.works()
    finally:
        port.server.close()
    assert port.log.getvalue().count("client_failed") == 1
    assert "secret" not in port.log.getvalue()


def test_the_live_update_sends_what_changed(port: Port, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TICK_S", 0.01)
    with port.connect() as client:
        client.sendall(b"GET /live?rack=rack-1 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        stream = client.makefile("rb")

        def first(words: str) -> dict[str, str]:
            for line in stream:
                if line.startswith(b"data: "):
                    made: dict[str, str] = json.loads(line[6:])
                    if any(words in html for html in made.values()):
                        return made
            raise AssertionError("the stream has ended")

        assert set(first("mode <strong>auto</strong>")) == {"rack", "chart"}
        room.change(mode="observe")
        assert "rack" in first("mode <strong>observe</strong>")


def test_a_live_update_ends_by_itself_and_too_many_are_refused(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TICK_S", 0.01)
    monkeypatch.setattr(live, "STREAM_S", 0.05)
    assert b"card-rack-3" in port.get("/live")
    monkeypatch.setattr(live, "STREAMS_MAX", 0)
    assert b" 503 " in port.get("/live")[:16]
    assert b" 404 " in port.get("/live?rack=none")[:16]


def test_an_address_that_is_taken_is_said(room: Room) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortBusy, match=r"web: 127\.0\.0\.1"):
        server.Server(f"127.0.0.1:{taken.getsockname()[1]}", room.app())


def test_closing_does_not_wait_for_who_watches(room: Room) -> None:
    port = Port(room.app())
    port.server.start()
    with port.connect() as client:
        client.sendall(b"GET /live HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert client.recv(100)
        port.server.close()
    assert not port.server._thread.is_alive()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Return a certificate for localhost and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl")
    pair = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", pair[1], "-out", pair[0]],
        check=True, capture_output=True,
    )  # fmt: skip
    return pair


def test_it_speaks_tls_and_ends_who_does_not(
    room: Room, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    found = server.Server("127.0.0.1:0", room.app(), certificate=certificate)
    found.start()
    try:
        with socket.create_connection(("127.0.0.1", found.port), PATIENCE_S) as silent:
            assert silent.recv(100) == b""
    finally:
        found.close()
    monkeypatch.setattr(server, "HEAD_S", PATIENCE_S)
    found = server.Server("127.0.0.1:0", room.app(), certificate=certificate)
    found.start()
    try:
        context = ssl.create_default_context(cafile=str(certificate[0]))
        plain = socket.create_connection(("127.0.0.1", found.port), PATIENCE_S)
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in client.recv(16)
    finally:
        found.close()


def test_a_certificate_that_is_none_is_said(room: Room, tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    with pytest.raises(BadConfig, match=r"web\.certificate_file: No such file"):
        server.Server("127.0.0.1:0", room.app(), certificate=(path, path))
    path.write_text("none")
    with pytest.raises(BadConfig, match=r"web\.certificate_file: no certificate"):
        server.Server("127.0.0.1:0", room.app(), certificate=(path, path))


def test_connections_have_a_number_whatever_becomes_of_them(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(server, "BACKLOG", 2)
    monkeypatch.setattr(server.Bounded, "_make_room", lambda self: None)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(port.connect()) for _ in range(20)]
        for client in clients[8:]:
            with contextlib.suppress(ConnectionError):
                assert client.recv(1) == b""
    until_s = time.monotonic() + PATIENCE_S
    works = False
    while not works and time.monotonic() < until_s:
        with contextlib.suppress(OSError):
            works = port.works()
    assert works


def settings_of(folder: Path) -> settings.MonitorSettings:
    values = {"store": str(folder / "run.db"), "metrics": "", "web": {"listen": "127.0.0.1:0"}, "poll_ms": 50}
    return settings.settings_from({**values, "board": [{"name": "rack-1", "port": "fake"}]})


def test_the_monitor_serves_it_and_ends_with_it(tmp_path: Path, room: Room) -> None:
    found = run.Monitor(settings_of(tmp_path), stream=io.StringIO(), make_source=lambda board: room.sources[0])
    thread = threading.Thread(target=found.run)
    thread.start()
    try:
        assert found.page is not None
        port, page, until_s = found.page.port, b"", time.monotonic() + PATIENCE_S
        while b"active <strong>b (beta)" not in page and time.monotonic() < until_s:
            page = exchange(port, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", PATIENCE_S)
        assert b"active <strong>b (beta)" in page
    finally:
        found.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        exchange(port, b"", PATIENCE_S)


def test_without_the_extra_the_next_step_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageProblem, match=r"the page .* needs starlette") as caught:
        run.Monitor(settings_of(tmp_path), stream=io.StringIO())
    assert "[web]" in caught.value.next_step


def test_pages_that_hang_hold_up_no_collector(tmp_path: Path, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    hanging = threading.Semaphore(0)
    real = pages.notes

    def slow(source: pages.Source) -> dict[str, object]:
        with source.reader._store.read() as connection:  # a transaction that stands
            connection.exec_driver_sql("SELECT count(*) FROM event")
            hanging.release()
            hold.wait(PATIENCE_S)
        return real(source)

    monkeypatch.setattr(pages, "notes", slow)
    found = run.Monitor(settings_of(tmp_path), stream=io.StringIO(), make_source=lambda board: room.sources[0])
    thread = threading.Thread(target=found.run)
    thread.start()
    clients: list[socket.socket] = []
    try:
        assert found.page is not None
        for _ in range(20):
            clients.append(socket.create_connection(("127.0.0.1", found.page.port), PATIENCE_S))
            clients[-1].sendall(b"GET /notes HTTP/1.0\r\nHost: localhost\r\n\r\n")
        for _ in range(app.WORKERS):
            assert hanging.acquire(timeout=PATIENCE_S)
        before = found.collectors[0].view.records
        room.boards[0].log(1)
        until_s = time.monotonic() + PATIENCE_S
        while found.collectors[0].view.records == before and time.monotonic() < until_s:
            time.sleep(0.01)
        assert found.collectors[0].view.records > before
        assert query.Reader(found.store).count() >= found.collectors[0].view.records
    finally:
        hold.set()
        for client in clients:
            client.close()
        found.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
