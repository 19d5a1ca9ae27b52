"""`heartwire flash` and `heartwire shell`, on the same board."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from heartwire.cli.main import main
from heartwire.flash import boards, images, prompt
from tests.unit.flash.conftest import NEW, OLD, FakePrompt, World


def test_flash_says_both_versions(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.guard()
    assert main(("flash", "--yes")) == 0
    out, err = capsys.readouterr()
    assert out == f"MicroPython {images.PREFERRED.version}, Heartwire {OLD} -> {NEW}\n"
    assert "the board restarts" in err


def test_image_list_says_which_boards_and_images_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = images.PREFERRED.path
    assert path == tmp_path / "heartwire" / "images" / images.PREFERRED.name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not whole")
    assert main(("image", "--list")) == 0
    text = capsys.readouterr().out
    for board in boards.BOARDS:
        assert board.id in text and board.name in text and board.refused in text and board.unproven in text
    assert main(("image", "--list", "--json")) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["micropython"] for row in rows if row["use"] == "preferred"] == [images.PREFERRED.version]
    assert main(("image", "--list", "--board", "raspberry pi pico 2", "--json")) == 0
    assert [row["board"] for row in json.loads(capsys.readouterr().out)] == ["RPI_PICO2"]
    assert not [row for row in rows if row["in_cache"]], "what is not whole is not there"
    assert [path.name for path in path.parent.iterdir()] == [images.PREFERRED.name], "nothing is got"


def test_flash_of_a_new_board_says_that_there_was_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.boot_loader()
    assert main(("flash", "--yes")) == 0
    assert capsys.readouterr().out == f"MicroPython {images.PREFERRED.version}, Heartwire none -> {NEW}\n"


@pytest.mark.parametrize("command", ["flash", "shell"])
def test_a_key_file_and_no_key_are_not_asked_for_at_once(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    world.guard()
    assert main((command, "--yes", "--unsigned", "--key-file", str(tmp_path / "keys"))) == 2
    assert "say the opposite" in capsys.readouterr().err
    assert world.steps == []


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
