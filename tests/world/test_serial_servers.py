"""The real ser2net, as people set it up: raw, with Telnet, with RFC 2217, and with somebody else on the line."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from heartwire import serial_servers
from heartwire.errors import BoardNotFound, NotAsAsked, PortBusy, UsageProblem
from tests.fakes.board import FakeBoard, PtyBoard
from tests.world.place import (
    HEARTWIRE,
    LineBoard,
    agent,
    agent_settings,
    events_of,
    free_port,
    needs,
    serial_server,
    status_of,
    wait_for_grant,
    wait_until,
)

BUSY = "Port already in use"


@pytest.fixture(autouse=True)
def _ser2net() -> None:
    needs("ser2net")


def call(*words: str) -> subprocess.CompletedProcess[str]:
    """Call the product's command line."""
    return subprocess.run([HEARTWIRE, *words], capture_output=True, text=True, check=False, timeout=60)


def test_an_agent_is_answered_through_raw_tcp(tmp_path: Path) -> None:
    port = free_port()
    settings = agent_settings(tmp_path / "a", f"socket://127.0.0.1:{port}")
    with LineBoard() as line, serial_server(tmp_path, line.path, f"tcp,{port}"), agent(settings):
        wait_for_grant(settings)
    assert not status_of(settings)["grants_refused"]


@pytest.mark.parametrize("kind", ["telnet", "telnet(rfc2217)"])
def test_an_agent_says_that_the_server_speaks_telnet(tmp_path: Path, kind: str) -> None:
    port = free_port()
    settings = agent_settings(tmp_path / "a", f"socket://127.0.0.1:{port}")
    with LineBoard() as line, serial_server(tmp_path, line.path, f"{kind},{port}"):
        with agent(settings):
            wait_until(lambda: serial_servers.TELNET in status_of(settings).get("port_problem", ""), 30, "Telnet named")
            time.sleep(3)
            assert events_of(settings).count("line_lost") == 1
        doctor = call("agent", "doctor", "--config", str(settings))
    assert f"{serial_servers.TELNET}" in doctor.stdout
    assert "accepter: tcp,PORT" in doctor.stdout


def test_an_agent_shows_that_the_line_is_somebody_elses(tmp_path: Path) -> None:
    port = free_port()
    first = agent_settings(tmp_path / "a", f"socket://127.0.0.1:{port}")
    second = agent_settings(tmp_path / "b", f"socket://127.0.0.1:{port}")
    with LineBoard() as line, serial_server(tmp_path, line.path, f"tcp,{port}"), agent(first):
        wait_for_grant(first)
        with agent(second):
            wait_until(lambda: BUSY in status_of(second).get("port_problem", ""), 30, "ser2net's words")
            time.sleep(5)
            assert events_of(second).count("line_lost") == 1
        doctor = call("agent", "doctor", "--config", str(second))
        assert BUSY in doctor.stdout
        assert status_of(first)["port_opened"] == 1


@pytest.fixture
def served() -> PtyBoard:
    return PtyBoard(FakeBoard())


@pytest.mark.parametrize(("accepter", "scheme"), [("tcp", "socket"), ("telnet(rfc2217)", "rfc2217")])
def test_the_host_link_works(tmp_path: Path, served: PtyBoard, accepter: str, scheme: str) -> None:
    port = free_port()
    with served as board, serial_server(tmp_path, board.path, f"{accepter},{port}"):
        done = call("-p", f"{scheme}://127.0.0.1:{port}", "status", "--json")
        assert done.returncode in (0, NotAsAsked.exit_code), done.stderr
        assert json.loads(done.stdout)
        again = call("-p", f"{scheme}://localhost:{port}", "log", "--json")
        assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("accepter", "scheme", "error", "words"),
    [
        ("telnet", "socket", UsageProblem, serial_servers.TELNET),
        ("telnet(rfc2217)", "socket", UsageProblem, "rfc2217://HOST:PORT"),
        ("tcp", "rfc2217", BoardNotFound, "does not speak RFC 2217"),
    ],
)
def test_the_host_link_names_the_wrong_kind_of_server(
    tmp_path: Path, served: PtyBoard, accepter: str, scheme: str, error: type[UsageProblem], words: str
) -> None:
    port = free_port()
    with served as board, serial_server(tmp_path, board.path, f"{accepter},{port}"):
        done = call("-p", f"{scheme}://127.0.0.1:{port}", "status")
    assert words in done.stderr
    assert done.returncode == error.exit_code


@pytest.mark.parametrize(("accepter", "scheme"), [("tcp", "socket"), ("telnet(rfc2217)", "rfc2217")])
def test_the_host_link_quotes_a_busy_server(tmp_path: Path, served: PtyBoard, accepter: str, scheme: str) -> None:
    port = free_port()
    with (
        served as board,
        serial_server(tmp_path, board.path, f"{accepter},{port}"),
        socket.create_connection(("127.0.0.1", port)) as somebody,
    ):
        time.sleep(0.5)
        done = call("-p", f"{scheme}://127.0.0.1:{port}", "status")
        assert somebody
    assert BUSY in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == PortBusy.exit_code
