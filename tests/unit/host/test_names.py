"""Names that are looked up for a bounded time."""

import http.server
import socket
import threading
import urllib.error
from collections.abc import Iterator

import pytest

from heartwire import names, urls
from heartwire.names import FRESH_S, NameProblem, Resolver


class Server:
    """A name server: silent until told to answer."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = 0
        self.addresses = ["192.0.2.1"]

    def look(self, _: str) -> list[str]:
        self.asked += 1
        assert self.answers.wait(30)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(self.addresses)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.answers.set()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "localhost"])
def test_what_needs_no_name_server_asks_none(server: Server, host: str) -> None:
    assert Resolver(server.look).addresses(host)
    assert server.asked == 0


def test_a_silent_server_is_waited_for_once(server: Server) -> None:
    clock = Clock()
    resolver = Resolver(server.look, limit_s=0.0, clock=clock)
    for _ in range(5):
        with pytest.raises(NameProblem, match="rack: no answer from the name server within"):
            resolver.addresses("rack")
        clock.now_s += 10
    assert server.asked == 1
    assert threading.active_count() < 20


def test_an_old_answer_is_better_than_none(server: Server) -> None:
    clock = Clock()
    server.answers.set()
    resolver = Resolver(server.look, limit_s=30, clock=clock)
    assert resolver.addresses("rack") == ["192.0.2.1"]
    assert resolver.addresses("rack") == ["192.0.2.1"]
    assert server.asked == 1
    server.answers.clear()
    clock.now_s += 100 * FRESH_S
    for _ in range(5):
        assert resolver.addresses("rack") == ["192.0.2.1"]
    server.addresses = ["192.0.2.2"]
    server.answers.set()
    for thread in threading.enumerate():
        if thread.name == "name rack":
            thread.join(30)
    assert resolver.addresses("rack") == ["192.0.2.2"]
    assert server.asked == 2


def test_a_name_without_an_address_is_named_and_asked_for_again(server: Server) -> None:
    server.answers.set()
    server.addresses = []
    resolver = Resolver(server.look, limit_s=30)
    with pytest.raises(NameProblem, match="rack: Name or service not known; a numeric address needs none"):
        resolver.addresses("rack")
    server.addresses = ["192.0.2.1"]
    assert resolver.addresses("rack") == ["192.0.2.1"]


def test_a_connection_tries_every_address(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    server.answers.set()
    with socket.create_server(("127.0.0.2", 0)) as listener:
        server.addresses = ["127.0.0.3", "127.0.0.2"]
        monkeypatch.setattr(names, "RESOLVER", Resolver(server.look, limit_s=30))
        with names.create_connection(("rack", listener.getsockname()[1]), 5.0) as connection:
            assert connection.getpeername()[0] == "127.0.0.2"
    server.addresses = ["127.0.0.3"]
    monkeypatch.setattr(names, "RESOLVER", Resolver(server.look, limit_s=30))
    with pytest.raises(ConnectionRefusedError):
        names.create_connection(("rack", 1), 5.0)


def test_a_url_is_opened_by_the_same_way(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers["Host"].encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    web = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.handle_request)
    thread.start()
    server.addresses = ["127.0.0.1"]
    server.answers.set()
    monkeypatch.setattr(names, "RESOLVER", Resolver(server.look, limit_s=30))
    with urls.open_url(f"http://rack:{web.server_port}/", 5.0) as answer:
        assert answer.read() == f"rack:{web.server_port}".encode()
    thread.join()
    web.server_close()
    server.answers.clear()
    monkeypatch.setattr(names, "RESOLVER", Resolver(server.look, limit_s=0.0))
    for scheme in ("http", "https"):
        with pytest.raises(urllib.error.URLError, match="no answer from the name server"):
            urls.open_url(f"{scheme}://rack/", 5.0)


def test_an_address_is_a_host_and_a_port() -> None:
    assert names.split_address("rack.example:4000") == ("rack.example", 4000)
    assert names.split_address("[2001:db8::1]:0") == ("2001:db8::1", 0)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":7", "[]:7", "host:-1", "host:²", "host:65536", "host:" + "9" * 5000]
)
def test_what_is_no_address_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        names.split_address(text)
