"""A board that is flashed while other programs watch it: they lose the port until the restart, and get it again."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from heartwire import transport
from heartwire.broker import client
from heartwire.errors import PortLent, Unplugged
from heartwire.flash.prompt import Prompt
from tests.fakes.board import FakeBoard, PtyBoard
from tests.unit.broker.conftest import Running
from tests.unit.broker.test_server import open_board, wait_for

# Stands for mpremote: it takes the port for itself, as mpremote does, and prints a value.
STEP = "import serial, sys; serial.Serial(sys.argv[1], exclusive=True).close(); print(1)"


@pytest.fixture
def mpremote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each step of a prompt open the port, and no more."""
    start = subprocess.Popen

    def run(command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-c", STEP, command[command.index("connect") + 1]], **more)

    monkeypatch.setattr("heartwire.flash.prompt.require", lambda: None)
    monkeypatch.setattr("heartwire.flash.prompt.subprocess.Popen", run)


def test_the_port_is_the_prompts_until_the_restart(broker: Running, mpremote: None) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as watcher:
        watcher.status()
        prompt = Prompt(pty.path)
        assert prompt.run("x") == 1
        with pytest.raises(Unplugged, match="is lent to"):
            watcher.status()
        with pytest.raises(PortLent):
            transport.open_channel(pty.path)
        assert prompt.run("x") == 1
        assert sum("lent to" in line for line in broker.log) == 1, "nobody gets it between two steps"
        prompt.reset()
        wait_for(lambda: any("given back" in line for line in broker.log))
        watcher.reopen()
        assert watcher.status().mode == "auto"


def test_a_prompt_that_is_given_up_is_given_back(broker: Running, mpremote: None) -> None:
    with PtyBoard(FakeBoard()) as pty:
        prompt = Prompt(pty.path)
        prompt.borrow()
        prompt.give_back()
        wait_for(lambda: any("given back" in line for line in broker.log))
        client.borrow(pty.path).close()


def test_a_broker_that_ends_in_the_middle_leaves_the_port_to_the_prompt(broker: Running, mpremote: None) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as watcher:
        prompt = Prompt(pty.path)
        assert prompt.run("x") == 1
        broker.end()
        broker.start()
        with pytest.raises(Unplugged):
            watcher.status()
        watcher.reopen()
        watcher.status()
        assert prompt.run("x") == 1
        with pytest.raises(Unplugged, match="is lent to"):
            watcher.status()
        assert sum("lent to" in line for line in broker.log) == 2
        prompt.reset()
        wait_for(lambda: any("given back" in line for line in broker.log))
