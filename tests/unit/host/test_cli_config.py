"""`heartwire config`: what it prints, sends, tries, reads back, confirms and reverts."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heartwire import keys, ports
from heartwire_protocol import codes
from tests.fakes.board import BOARD_ID, FakeBoard, MemoryChannel

Run = Callable[..., Any]


LOOKS = ("status", "plans", "node", "drops", "log", "settings")
CONFIG = '[board]\nname = "rack-2"\ndead_ms = 20000\n'


def operations(board: FakeBoard) -> list[str]:
    return [body["op"] for body in board.asked if body["op"] not in LOOKS]


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    file = tmp_path / "rack.toml"
    file.write_text(CONFIG)
    return str(file)


def test_config_new_check_and_what_it_says(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("config", "new", "--keys", "--name", "rack-1")
    assert result.code == 0, result.err
    assert run("config", "check").out == "heartwire.toml is good\n"
    assert run("config", "new").code == 12
    for name in ("a.key", "b.key", "host.keys"):
        assert (tmp_path / "keys" / name).stat().st_mode & 0o777 == 0o600
    made = keys.read_file(tmp_path / "keys" / "host.keys")
    shown = result.out + result.err + (tmp_path / "heartwire.toml").read_text()
    assert not any(key in shown for key in made.values())


def test_a_config_is_for_one_board(board: FakeBoard, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours = BOARD_ID.hex().upper()
    plugged = [ports.Port("/dev/ttyACM0", ours, "Board in FS mode", "1-1")]
    monkeypatch.setattr(ports, "list_ports", lambda: plugged)
    assert f"it is for board {ours} alone" in run("config", "new", "here.toml").err
    assert f'\nboard_id = "{ours}"\n' in (tmp_path / "here.toml").read_text()
    assert run("config", "apply", "here.toml", "--yes").code == 0
    for two in ([], plugged * 2):
        monkeypatch.setattr(ports, "list_ports", lambda two=two: two)
        assert "\n#board_id = " in run("config", "new", "-").out
    other = run("config", "new", "there.toml", "--board-id", "e66118604b5c4aff")
    assert other.code == 0 and run("config", "check", "there.toml").code == 0
    board.asked.clear()
    for command in (("diff", "there.toml"), ("apply", "there.toml", "--yes")):
        refused = run("config", *command)
        assert refused.code == 22 and "E66118604B5C4AFF is wanted" in refused.err
    assert board.asked == []
    assert run("config", "diff", "there.toml", "--board-id", ours).code == 0, "said on the command line"
    for wrong in ('"E66118604B5C4A"', "7"):
        (tmp_path / "wrong.toml").write_text(f"board_id = {wrong}\n")
        assert "line 1: board_id: must be 16 hexadecimal digits" in run("config", "check", "wrong.toml").err


def test_config_new_on_stdout(run: Run) -> None:
    assert run("config", "new", "-").out.startswith("# Heartwire: settings")
    assert run("config", "new", "-", "--keys").code == 2


def test_config_new_on_a_full_disk_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("config", "new", str(tmp_path / "x.toml"))
    assert result.code == 12
    assert "No space left on device" in result.err
    assert not (tmp_path / "x.toml").exists()


def test_config_new_in_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    assert run("config", "new", str(tmp_path / "no" / "x.toml")).code == 12


def test_config_check_lists_the_problems(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[board]\ndead_ms = 4000\n")
    result = run("config", "check", str(file))
    assert result.code == 11
    assert "line 2: board.dead_ms: dead_after_late: dead_ms must be at least 5001" in result.err
    body = json.loads(run("config", "check", str(file), "--json").out)
    assert (body["good"], body["problems"][0]["path"], body["problems"][0]["line"]) == (False, "board.dead_ms", 2)


def test_config_show_can_be_applied_again(board: FakeBoard, run: Run, tmp_path: Path) -> None:
    board.settings.put("board.name", "rack-9")
    board.settings.put("node.a.key", "ab" * 32)
    file = tmp_path / "running.toml"
    file.write_text(run("config", "show").out)
    assert "ab" * 8 not in file.read_text()
    result = run("config", "apply", str(file), "--yes")
    assert "runs" in result.out
    assert "settings_begin" not in operations(board)


def test_config_diff(run: Run, config_file: str) -> None:
    result = run("config", "diff", config_file)
    assert result.code == 0
    assert result.out.splitlines()[1].split() == ["board.name", "heartwire", "rack-2"]
    assert run("config", "diff", config_file, "--exit-code").code == 15
    assert json.loads(run("config", "diff", config_file, "--json").out)[1] == {
        "path": "board.dead_ms", "running": "10000", "file": "20000",
    }  # fmt: skip


def test_config_diff_shows_truth_values_as_they_are_written(board: FakeBoard, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rack.toml"
    file.write_text("[board]\nbench = true\n")
    assert run("config", "diff", str(file)).out.splitlines()[1].split() == ["board.bench", "false", "true"]


def test_config_apply_uploads_tries_reads_back_and_confirms(board: FakeBoard, run: Run, config_file: str) -> None:
    result = run("config", "apply", config_file, "--yes")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "applied and confirmed: generation 4"
    assert (board.generation, board.trial) == (4, None)
    assert board.settings.get("board.dead_ms") == 20000
    assert operations(board) == ["settings_begin", "settings_put", "settings_apply", "settings_confirm"]
    assert "runs" in run("config", "diff", config_file).out


def test_config_apply_asks(board: FakeBoard, run: Run, config_file: str, answer: Callable[[str], None]) -> None:
    answer("n\n")
    result = run("config", "apply", config_file)
    assert result.code == 130
    assert "Apply 2 changes to the board?" in result.err
    assert operations(board) == []


def test_a_long_config_goes_in_pieces(board: FakeBoard, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    name = "\\\\" * 24
    sections = [
        f'[node.{node}]\nname = "{name}"\nenabled = true\nbaud = 9600\nboot_grace_ms = 60000\n' for node in codes.NODES
    ]
    lines = "\n".join(f"{key} = 86400" for key in ("hold_max_s", "window_s", "stable_s", "approval_s"))
    file.write_text(f"[board]\n{lines}\ndead_ms = 20000\nlate_ms = 5000\n" + "".join(sections))
    assert run("config", "apply", str(file), "--yes").code == 0
    assert operations(board).count("settings_put") > 1
    assert board.settings.get("node.spare.name") == "\\" * 24


def test_new_keys_confirm_their_own_settings(board: FakeBoard, run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "rack.toml")
    assert run("config", "new", file, "--keys").code == 0
    assert run("config", "apply", file, "--yes").code == 0
    assert board.generation == 4
    assert sorted(board.keys) == [1, 2, 3]
    assert run("status").code == 10
    assert run("status", "--key-file", str(tmp_path / "keys" / "host.keys")).code == 0


def test_a_config_without_its_key_files_keeps_the_boards_keys(board: FakeBoard, run: Run, tmp_path: Path) -> None:
    board.settings.put("node.a.key", "ab" * 32)
    file = tmp_path / "rack.toml"
    file.write_text('[board]\nname = "new"\n[node.a]\nkey_file = "elsewhere/a.key"\n')
    result = run("config", "apply", str(file), "--yes")
    assert result.code == 0, result.err
    assert "not at hand" in result.err
    assert board.settings.get("node.a.key") == "ab" * 32


def test_settings_that_the_board_refuses_change_nothing(board: FakeBoard, run: Run, config_file: str) -> None:
    board.script["settings_apply"] = {"error": "bad_settings", "path": "board.dead_ms", "rule": "too long for me"}
    result = run("config", "apply", config_file, "--yes")
    assert result.code == 11
    assert "board.dead_ms: too long for me" in result.err
    assert board.generation == 3


def test_ctrl_c_before_the_confirmation_reverts(board: FakeBoard, run: Run, config_file: str) -> None:
    def interrupt(op: str) -> None:
        if op == "settings" and board.trial is not None:
            raise KeyboardInterrupt

    board.before_answer = interrupt
    result = run("config", "apply", config_file, "--yes")
    assert result.code == 130
    assert "the board keeps its old settings" in result.err
    assert operations(board)[-1] == "settings_revert"
    assert board.trial is None


def test_ctrl_c_while_the_trial_begins_reverts(board: FakeBoard, run: Run, config_file: str) -> None:
    board.before_answer = lambda op: signal.raise_signal(signal.SIGINT) if op == "settings_apply" else None
    result = run("config", "apply", config_file, "--yes")
    assert result.code == 130
    assert "the board keeps its old settings" in result.err
    assert operations(board)[-1] == "settings_revert"
    assert board.trial is None and board.generation == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_from_the_confirmation_on_changes_nothing_any_more(
    board: FakeBoard, run: Run, config_file: str, number: signal.Signals
) -> None:
    board.before_answer = lambda op: signal.raise_signal(number) if op == "settings_confirm" else None
    result = run("config", "apply", config_file, "--yes")
    assert result.code == 0
    assert "applied and confirmed" in result.out
    assert board.trial is None and board.generation == 4
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # whoever called it in his own program has his Ctrl-C back


def test_a_board_that_runs_something_else_is_reverted(board: FakeBoard, run: Run, config_file: str) -> None:
    def change(op: str) -> None:
        if op == "settings_apply" and board.trial is not None:
            board.trial.put("board.dead_ms", 30000)

    board.before_answer = change
    result = run("config", "apply", config_file, "--yes")
    assert result.code == 8
    assert "board.dead_ms" in result.err
    assert board.trial is None


def test_unplugged_on_trial_says_that_it_reverts_by_itself(
    board: FakeBoard, channel: MemoryChannel, run: Run, config_file: str
) -> None:
    def unplug(op: str) -> None:
        channel.unplugged = op == "settings" and board.trial is not None

    board.before_answer = unplug
    result = run("config", "apply", config_file, "--yes")
    assert result.code == 7
    assert "goes back to its old settings within 60 s" in result.err


def test_no_answer_to_apply_is_outcome_unknown(board: FakeBoard, run: Run, config_file: str) -> None:
    board.silent_for = ["settings_apply"]
    assert run("config", "apply", config_file, "--yes").code == 13


def test_config_revert(board: FakeBoard, run: Run) -> None:
    assert run("config", "revert").out == "no settings are on trial\n"
    board.trial = board.settings
    assert run("config", "revert").out == "back to generation 3\n"
