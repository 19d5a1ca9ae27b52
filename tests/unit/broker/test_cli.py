"""`heartwire broker`: what it shows, and what it writes."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.broker import places, wire
from heartwire.cli.main import main
from heartwire.errors import NoAnswer
from tests.fakes.board import FakeBoard, PtyBoard
from tests.unit.broker.conftest import Running
from tests.unit.broker.test_server import open_board

STATE: dict[str, object] = {"version": 1, "pid": 1, "uid": 0, "ports": []}


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Path]]:
    """A socket that stands for a broker, and answers each connection with the message that it was given last."""
    with tempfile.TemporaryDirectory(prefix="hw-") as folder:
        place = Path(folder) / "broker.sock"
        monkeypatch.setenv(places.ENVIRONMENT, str(place))
        listener = places.listen(place)
        messages: list[bytes] = []

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if not connection.recv(wire.MESSAGE_MAX):
                        return
                    connection.send(messages[-1])

        def answer(message: bytes) -> Path:
            messages.append(message)
            return place

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield answer
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
            last.connect(str(place))
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


def test_who_shares_a_board(broker: Running, capsys: pytest.CaptureFixture[str]) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as board:
        board.status()
        assert main(["broker", "status"]) == 0
        text = capsys.readouterr().out
        assert f"broker at {broker.place}" in text
        assert f"{pty.path}: open" in text
        assert main(["broker", "status", "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert found["ports"][0]["sessions"][0]["requests"] >= 1


def test_no_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path / "none"))
    assert main(["broker", "status"]) == 0
    assert "no broker runs" in capsys.readouterr().err
    assert main(["broker", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_second_broker_at_the_same_place(broker: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broker", "run", "--socket", str(broker.place)]) == 4
    assert "a broker listens at" in capsys.readouterr().err


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"ports": 5},
        STATE | {"pid": "7"},
        STATE | {"uid": True},
        STATE | {"ports": {}},
        STATE | {"ports": [{"port": "p", "state": "open", "sessions": [{"program": "x"}]}]},
        STATE | {"ports": [{"port": 1, "state": "open", "sessions": []}]},
    ],
)
def test_what_is_no_state_ends_nothing(
    stranger: Callable[[bytes], Path], capsys: pytest.CaptureFixture[str], told: dict[str, object]
) -> None:
    place = stranger(wire.pack(wire.TOLD, told))
    assert main(["broker", "status"]) == 0
    assert "no state of a broker" in capsys.readouterr().err
    assert main(["broker", "status", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["socket"], row["ports"]) == (str(place), [])
    assert "no state of a broker" in row["error"]


def test_a_broker_of_somebody_else_writes_nothing_but_its_own_words(
    stranger: Callable[[bytes], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ports = [{"port": "/dev/\x1b[2J", "state": "o\nbroker at /lie", "sessions": []}]
    place = stranger(wire.pack(wire.TOLD, STATE | {"ports": ports, "socket": "/lie", "error": "lie"}))
    assert main(["broker", "status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"broker at {place}: pid 1, ")
    assert lines[1] == "/dev/?[2J: o?broker at /lie"
    stranger(wire.pack_error(NoAnswer("\x1b[2J", "\x1b[3J")))
    assert main(["broker", "status"]) == 0
    assert "\x1b" not in capsys.readouterr().err


def test_what_is_no_socket_is_not_replaced_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(mine)
    for place in (mine, link):
        assert main(["broker", "run", "--socket", str(place)]) != 0
        assert "no socket" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert link.is_symlink()


@pytest.mark.parametrize("value", ["0", "no", "broker.sock", "./broker.sock", "~/broker.sock", " off"])
def test_a_name_that_is_no_place_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(places.ENVIRONMENT, value)
    with PtyBoard(FakeBoard()) as pty:
        for command in (["broker", "status"], ["broker", "run"], ["--port", pty.path, "status"]):
            assert main(command) == 2
            assert f"{places.ENVIRONMENT}={value}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["off", "OFF", "Off"])
def test_switched_off_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(places.ENVIRONMENT, value)
    assert not places.enabled()
    with PtyBoard(FakeBoard()) as pty:
        assert main(["--port", pty.path, "status"]) == 0
    assert "auto" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_install_writes_both_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["broker", "install", "--root", str(tmp_path), "--program", "/opt/heartwire/bin/heartwire"]
    assert main(command) == 0
    folder = tmp_path / "etc/systemd/system"
    assert f"ListenSequentialPacket={places.SYSTEM}" in (folder / "heartwire-broker.socket").read_text()
    assert "ExecStart=/opt/heartwire/bin/heartwire broker run" in (folder / "heartwire-broker.service").read_text()
    assert "next: systemctl enable --now heartwire-broker.socket" in capsys.readouterr().out
    (folder / "heartwire-broker.service").write_text("# mine\n")
    assert main(command) == 0
    assert (folder / "heartwire-broker.service").read_text() == "# mine\n"
