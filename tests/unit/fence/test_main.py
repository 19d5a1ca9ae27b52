"""The exit codes, which a cluster takes as truth: 2 means off and nothing else may end with it."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire.errors import PortBusy, kinds
from heartwire.fence import main as program
from heartwire.fence.main import main
from heartwire.fence.options import Options
from tests.unit.fence.fake_board import FakeBoard, FakeClock

Open = Callable[..., FakeBoard]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep this user's keys and boards out."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("HEARTWIRE_KEY_FILE", raising=False)
    monkeypatch.delenv("HEARTWIRE_PORT", raising=False)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    """Return the board that main will open."""
    fake = FakeBoard(FakeClock())
    monkeypatch.setattr(program, "open_board", lambda *_: fake)
    return fake


def test_both_ways_in(board: FakeBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-o", "status", "-n", "a"], clock=board.clock) == 0
    assert main([], stdin=io.StringIO("action=status\nplug=a\n"), clock=board.clock) == 0
    assert capsys.readouterr().out == "Status: ON\n" * 2


def test_status_off_is_two(board: FakeBoard) -> None:
    board.change("b", fence="proven", power="off")
    assert main(["-o", "status", "-n", "b"], clock=board.clock) == 2


def test_the_board_is_given_back(board: FakeBoard) -> None:
    main(["-o", "list"], clock=board.clock)
    assert board.commands == ["closed"]


def test_delay_comes_before_off_only(board: FakeBoard) -> None:
    main(["-o", "status", "-n", "a", "-f", "50"], clock=board.clock)
    assert board.clock.seconds < 110
    main(["-o", "off", "-n", "a", "-f", "50"], clock=board.clock)
    assert board.clock.seconds >= 150


@pytest.mark.parametrize(
    "arguments",
    [["--plug"], ["-o", "explode"], ["-o", "off"], ["-o", "status", "-n", "c"], ["-f", "x"], ["-k", "/nowhere/keys"]],
)
def test_wrong_arguments_are_one(board: FakeBoard, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, clock=board.clock) == 1
    assert capsys.readouterr().err.startswith("fence_heartwire: ")


@pytest.mark.parametrize("kind", [*kinds(), KeyboardInterrupt, ValueError, OSError])
def test_every_error_is_one(monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]) -> None:
    def fail(*_: object) -> None:
        raise kind("no")

    monkeypatch.setattr(program, "open_board", fail)
    assert main(["-o", "status", "-n", "a"]) == 1


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Options, "longest_s", 0.2)
    monkeypatch.setattr(program, "open_board", lambda *_: time.sleep(60))
    began = time.monotonic()
    assert main(["-o", "list"]) == 1
    assert time.monotonic() - began < 5
    assert "timed out" in capsys.readouterr().err


def test_a_busy_port_is_tried_until_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def busy(*_: object, **__: object) -> None:
        tries.append(1)
        raise PortBusy("in use")

    monkeypatch.setattr("heartwire.fence.reach.Board.open", busy)
    clock = FakeClock()
    assert main(["-o", "list", "--login-timeout", "3"], clock=clock) == 1
    assert 103 <= clock.seconds < 104
    assert len(tries) > 10


def test_validate_all_looks_at_the_key_file_and_contacts_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(program, "open_board", lambda *_: pytest.fail("contacted"))
    path = tmp_path / "keys"
    path.write_text(f"operate={'ab' * 32}\n")
    path.chmod(0o644)
    words = ["-o", "validate-all", "-k", str(path)]
    assert main(words) == 1
    path.chmod(0o600)
    assert main(words) == 0


def test_metadata_and_version_need_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(program, "open_board", lambda *_: pytest.fail("contacted"))
    assert main(["-o", "metadata"]) == 0
    assert main([], stdin=io.StringIO("action=metadata\n")) == 0
    assert main(["--version"]) == 0
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.count("<resource-agent ") == 2


def test_no_key_is_ever_printed(board: FakeBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys"
    path.write_text(f"operate={'ab' * 32}\nnonsense={'cd' * 30}\n")
    path.chmod(0o600)
    assert main(["-o", "list", "-k", str(path), "-v"]) == 1
    shown = capsys.readouterr()
    assert "abab" not in shown.out + shown.err and "cdcd" not in shown.out + shown.err
