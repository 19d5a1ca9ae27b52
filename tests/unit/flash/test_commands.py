"""`heartwire flash` and `heartwire shell`, on the same board."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from heartwire.cli.main import main
from heartwire.flash import images, prompt
from tests.unit.flash.conftest import NEW, OLD, FakePrompt, World


def test_flash_says_both_versions(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.guard()
    assert main(("flash", "--yes")) == 0
    out, err = capsys.readouterr()
    assert out == f"MicroPython {images.VERSION}, Heartwire {OLD} -> {NEW}\n"
    assert "the board restarts" in err


def test_flash_of_a_new_board_says_that_there_was_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.boot_loader()
    assert main(("flash", "--yes")) == 0
    assert capsys.readouterr().out == f"MicroPython {images.VERSION}, Heartwire none -> {NEW}\n"


def test_flash_without_an_answer_to_its_question_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    world.guard()
    assert main(("flash",)) != 0
    assert "--yes" in capsys.readouterr().err
    assert world.steps == []
    assert world.where == "guarding"


def test_shell_restarts_the_board_when_it_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.guard()
    commands: list[list[str]] = []

    def run(command: list[str], check: bool) -> None:
        assert world.where == "prompt"
        commands.append(command)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(prompt, "Prompt", lambda port: FakePrompt(world, port))
    assert main(("shell", "--yes")) == 0
    assert commands == [[sys.executable, "-m", "mpremote", "connect", str(world.port), "resume", "repl"]]
    assert world.steps[-1] == "reset"
    assert "heartwire update off" in capsys.readouterr().err
