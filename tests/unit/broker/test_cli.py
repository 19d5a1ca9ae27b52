"""`heartwire broker`: what it shows, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heartwire.broker import places
from heartwire.cli.main import main
from tests.fakes.board import FakeBoard, PtyBoard
from tests.unit.broker.conftest import Running
from tests.unit.broker.test_server import open_board


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
