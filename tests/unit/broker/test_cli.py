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
