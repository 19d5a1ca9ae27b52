"""The monitor's HTTP ports: whatever a client sends, or does not send, others are answered."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from heartwire import urls
from heartwire.monitor import metrics, serving
from heartwire.monitor.log import Log
from tests.fakes.clients import exchange
from tests.unit.monitor.test_metrics import source


class Port:
    """A metrics server, and its log."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.server = metrics.server("127.0.0.1:0", source(), Log(self.log))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), 10)

    def send(self, data: bytes) -> bytes:
        """Send all and return all that comes."""
        return exchange(self.server.port, data, 10)

    def works(self) -> bool:
        return b"heartwire_board_up" in self.send(b"GET /metrics HTTP/1.0\r\n\r\n")


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
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
        b"GET / HTTP/1.0\r\n\xff\xfe: \xff\r\n \r\n: x\r\n\r\n",
        b"GET / HTTP/1.0\r\nX\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
        b"G" * 100_000,
        b"GET / HTTP/1.0\r\nX: " + b"y" * 100_000,
        b"POST /metrics HTTP/1.0\r\nContent-Length: \xb2\r\n\r\n",
        b"\xff / HTTP/1.0\r\n\r\n",
    ],
)
def test_a_malformed_request_is_no_traceback(port: Port, capfd: pytest.CaptureFixture[str], data: bytes) -> None:
    answer = port.send(data)
    assert b" 500 " not in answer[:16]
    assert port.works()
    assert port.log.getvalue() == "" == capfd.readouterr().err


def test_a_client_that_goes_away_is_no_traceback(port: Port, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        with port.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset instead of an end
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert port.works()
    assert port.log.getvalue() == "" == capfd.readouterr().err


def test_clients_that_say_nothing_keep_nobody_out(port: Port) -> None:
    silent = [port.connect() for _ in range(6 * serving.CONNECTIONS_MAX)]
    deadline = time.monotonic() + 10
    while not port.works():
        assert time.monotonic() < deadline, "nobody else is answered"
    threads = [thread for thread in threading.enumerate() if "process_request" in thread.name]
    assert len(threads) <= 2 * serving.CONNECTIONS_MAX + 1
    for client in silent:
        client.close()


def test_a_client_that_sends_a_byte_now_and_then_is_ended(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as short, port.connect() as client:
        short.setattr(serving, "CONNECTION_S", 0.3)
        ended = False
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            try:
                client.send(b"G")
                client.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    ended = client.recv(100) == b""
            except ConnectionError:
                ended = True
    assert ended
    assert port.works()


def test_what_fails_in_an_answer_is_told_once_by_its_kind(monkeypatch: pytest.MonkeyPatch, port: Port) -> None:
    def fail(_: object) -> bytes:
        raise ZeroDivisionError("a secret")

    with monkeypatch.context() as broken:
        broken.setattr(metrics, "exposition", fail)
        port.send(b"GET / HTTP/1.0\r\n\r\n")
        port.send(b"GET / HTTP/1.0\r\n\r\n")
        deadline = time.monotonic() + 5
        while not port.log.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert port.log.getvalue().count("client_failed") == 1
    assert "ZeroDivisionError" in port.log.getvalue() and "secret" not in port.log.getvalue()
    assert port.works()


def test_the_body_of_a_redirect_is_not_read() -> None:
    """Python 3.11's urllib reads it whole, into memory, however long it says that it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        def serve() -> None:
            for answer in (
                f"HTTP/1.0 302 x\r\nLocation: {here}\r\nContent-Length: 99999999999\r\n\r\n".encode(),
                b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            ):
                with listener.accept()[0] as connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with urls.open_url(here, 5, redirects=True) as found:
            assert found.read() == b"ok"
        thread.join(5)
