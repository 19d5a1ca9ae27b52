"""Run commands of the CLI in this process, against a fake board in memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from heartwire import board_id, ports, transport
from heartwire.cli.main import main
from heartwire.keys import ENVIRONMENT as KEY_FILE
from tests.fakes.board import FakeBoard, MemoryChannel
from tests.unit.host.scenes import Keyboard


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[None]:
    """A user without config, in UTC, at a fixed width."""
    for name in (ports.ENVIRONMENT, KEY_FILE, board_id.ENVIRONMENT, "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{tmp_path}/no-config")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def board() -> FakeBoard:
    """The board that every command of the test finds."""
    return FakeBoard()


@pytest.fixture
def channel(board: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> MemoryChannel:
    """The channel to it; waiting costs no time."""
    memory = MemoryChannel(board)
    monkeypatch.setattr(transport, "open_channel", lambda address, **_: memory)

    def sleep(seconds: float) -> None:
        memory.time += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    return memory


@pytest.fixture
def run(channel: MemoryChannel, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line; return its exit code and output."""

    def run_command(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run_command


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without any extra."""
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: there(name) if name.startswith("heartwire") else None)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Type an answer to the next question."""
    return lambda text: monkeypatch.setattr(sys, "stdin", Keyboard(text))
