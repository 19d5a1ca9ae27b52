"""A real mosquitto, and somebody who listens to it."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heartwire.answers import NodeStatus, Status
from heartwire.monitor.log import Log
from heartwire.monitor.settings import MqttSettings
from heartwire.monitor.store import Store
from heartwire.monitor.views import View
from tests.fakes.board import BOARD_ID, node_body, status_body
from tests.unit.monitor.conftest import board, store

__all__ = ["board", "store"]
PATIENCE_S = 60.0


def until(true: Callable[[], Any], what: str = "") -> Any:
    """Wait until something is true, and return it."""
    end_s = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < end_s, f"never came: {what}"
        time.sleep(0.01)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A mosquitto that keeps nothing on disk; may be killed and started again at the same port."""

    def __init__(self, folder: Path, program: str, *lines: str) -> None:
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        self._conf = folder / "mosquitto.conf"
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        access = () if any("password_file" in line for line in lines) else ("allow_anonymous true",)
        self._conf.write_text(
            "\n".join(
                [
                    f"listener {self.port} 127.0.0.1",
                    "user root",
                    "persistence false",
                    "log_type all",
                    *access,
                    *lines,
                    "",
                ]
            )
        )
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._conf)], stdout=log, stderr=log)
        until(self._listens, self.log.read_text())

    def _listens(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Listener:
    """Somebody who subscribes to everything: the newest of each topic, and all that came."""

    def __init__(self, server: Server, **access: Any) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.newest: dict[str, str] = {}
        self.all: list[tuple[str, str]] = []
        self.there = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        if access:
            self.client.username_pw_set(**access)
        self.client.on_message = self._message
        self.client.on_subscribe = lambda *_: self.there.set()
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.connect("127.0.0.1", server.port)
        self.client.loop_start()
        assert self.there.wait(PATIENCE_S)

    def _message(self, _client: Any, _data: Any, message: Any) -> None:
        words = message.payload.decode()
        self.all.append((message.topic, words))
        self.newest[message.topic] = words

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no limit of the publisher be met because this machine is busy."""
    from heartwire.mqtt import publisher

    monkeypatch.setattr(publisher, "CONNECT_S", PATIENCE_S)
    monkeypatch.setattr(publisher, "ACKNOWLEDGE_S", PATIENCE_S)


@pytest.fixture
def mosquitto() -> str:
    """The program, or a skip that names what is missing."""
    return find_mosquitto()


def find_mosquitto() -> str:
    """Return the program, or skip."""
    pytest.importorskip("paho.mqtt", reason="not installed: heartwire[mqtt]")
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if found is None:
        pytest.skip("not installed: mosquitto")
    return found


@pytest.fixture
def server(mosquitto: str, tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path, mosquitto)
    yield running
    running.kill()


class World:
    """One rack and the publisher that tells of it, by hand."""

    def __init__(self, store: Store, server: str, **settings: Any) -> None:
        from heartwire.mqtt.publisher import Publisher

        self.now_s = 1000.0
        self.stream = io.StringIO()
        self.view = View("rack-1")
        self.unmet = View("rack-2")
        self.publisher = Publisher(
            MqttSettings(server=server, **settings),
            "here",
            [self.view, self.unmet],
            store,
            Log(self.stream),
            clock=lambda: self.now_s,
        )

    def see(self, a: dict[str, Any] | None = None, b: dict[str, Any] | None = None, **status: Any) -> None:
        """Let the monitor have a look at the rack."""
        nodes = [NodeStatus.of(node_body("a", **(a or {}))), NodeStatus.of(node_body("b", **(b or {})))]
        self.view.board_id = BOARD_ID.hex().upper()
        self.view.up = True
        self.view.take(Status.of(status_body(**status)), nodes, self.now_s)

    def tell(self) -> None:
        """Step until there is nothing more to say and the server has all of it."""
        until(lambda: self.publisher.step() == 0.5, "the publisher's rest")


@pytest.fixture
def world(store: Store, server: Server) -> Iterator[World]:
    made = World(store, server.address)
    yield made
    made.publisher.close()
