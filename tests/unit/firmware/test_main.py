"""main.py: which folder's firmware starts, what becomes of one that does not load, and who gets a prompt.

It runs here as it is, but for its absolute paths, which lead into a folder of the test.
"""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from pytest_mock import MockerFixture

from heartwire_firmware import starts
from heartwire_protocol import events
from tests.unit.firmware.test_boot import BAD_BOOTS, FIRMWARE, GIVE_UP, NOTE, PROMPT, WATCHDOG_CLEAR, implementation

GOOD = "def guard(): print('guards from', __file__)\n"
BAD = {
    "raises": "raise ValueError('cannot be loaded')\n",
    "no module": None,
    "no memory": "raise MemoryError('memory allocation failed')\n",
    "no syntax": "def guard(:\n",
    "needs what is not there": "import nothing_of_that_name\n",
    "exits": "raise SystemExit\n",
    "interrupted": "raise KeyboardInterrupt\n",
    "no guard": "x = 1\n",
    "guard fails": "def guard(): raise OSError(28)\n",
}


class Board:
    """Starts again and again, with the registers and files that are kept."""

    def __init__(self, mocker: MockerFixture, folder: Path) -> None:
        self.mocker = mocker
        self.folder = folder
        self.registers = {NOTE: 0, BAD_BOOTS: 0}
        self.micropython = mocker.Mock()
        self.slept: list[int] = []
        self.key: Iterator[int] = itertools.repeat(1)  # the levels of its line, which the switch pulls down

    def put(self, name: str, content: str | bytes | None) -> None:
        """Put a file onto the board."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def start(self) -> bool:
        """Start once, as boot.py counts it; return whether it restarted at the end (False: the prompt)."""
        self.registers[BAD_BOOTS] += 1
        self.registers.pop(WATCHDOG_CLEAR, None)
        reset = self.reset = self.mocker.Mock()
        pin = self.mocker.Mock()
        pin.return_value.value.side_effect = lambda: next(self.key)
        hardware = SimpleNamespace(mem32=self.registers, reset=reset, Pin=pin)
        sleeper = SimpleNamespace(sleep_ms=self.slept.append)
        modules = {"machine": hardware, "micropython": self.micropython, "time": sleeper}
        values = {
            "path": list(sys.path), "dont_write_bytecode": True, "implementation": implementation(),
            "print_exception": lambda error, file: print(repr(error), file=file),
        }  # fmt: skip
        text = (FIRMWARE / "main.py").read_text().replace('"/', f'"{self.folder}/')
        with mock.patch.dict(sys.modules, modules), mock.patch.multiple(sys, create=True, **values):
            sys.path_importer_cache.clear()
            exec(compile(text, "main.py", "exec"), {"__name__": "__main__"})
            sys.modules.pop("heartwire_board", None)
        assert reset.called != (WATCHDOG_CLEAR in self.registers)
        return bool(reset.called)

    def slot(self) -> str:
        return (self.folder / "slot").read_text()


@pytest.fixture
def board(mocker: MockerFixture, tmp_path: Path) -> Board:
    """A board with firmware in both folders and a secret in its settings."""
    made = Board(mocker, tmp_path)
    made.put("slot", "fw_a")
    made.put("fw_a/heartwire_board.py", GOOD)
    made.put("fw_b/heartwire_board.py", GOOD)
    made.put("data/settings.1", b"H\x01\x00board.name=rack\nboard.configure_key=" + b"5a" * 32 + b"\n\x12\x34")
    return made


def test_the_folder_of_the_last_update_starts(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    assert board.start()
    assert "fw_a/heartwire_board.py" in capsys.readouterr().out
    (board.folder / "slot").write_text("fw_b")
    assert board.start()
    assert "fw_b/heartwire_board.py" in capsys.readouterr().out


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize(("slot", "other"), [("fw_a", "fw_b"), ("fw_b", "fw_a")])
def test_firmware_that_does_not_start_leaves_its_place_to_the_other_after_three_times(
    board: Board, capsys: pytest.CaptureFixture[str], kind: str, slot: str, other: str
) -> None:
    board.put("slot", slot)
    (board.folder / slot / "heartwire_board.py").unlink()
    board.put(f"{slot}/heartwire_board.py", BAD[kind])
    for number in range(1, 4):
        assert board.start(), "a restart, never a prompt"
        assert "guards" not in capsys.readouterr().out
        assert (board.slot(), board.registers[BAD_BOOTS]) == (slot, number)
    assert board.start()
    assert f"{other}/heartwire_board.py" in capsys.readouterr().out
    assert board.slot() == other, "for good: the next start does not try the bad one again"
    # What came to run has done nothing wrong yet, so it is not in safe mode.
    told: list[tuple[int, ...]] = []
    journal = SimpleNamespace(append=lambda *row: told.append(row))
    chip = SimpleNamespace(
        scratch=lambda _: board.registers[BAD_BOOTS],
        put_scratch=lambda _, word: board.registers.update({BAD_BOOTS: word}),
    )
    assert starts.bad_boots(chip, journal) == 0
    assert [row[0] for row in told] == [events.FELL_BACK]
    assert starts.bad_boots(chip, journal) == 0 and len(told) == 1, "told once"
    board.start()
    assert f"{other}/heartwire_board.py" in capsys.readouterr().out


def test_firmware_that_ran_and_then_failed_leaves_its_place_as_well_but_safe_mode_comes(board: Board) -> None:
    board.put("fw_a/heartwire_board.py", "def guard(): raise ValueError\n")
    for _ in range(3):
        board.start()
        board.registers[BAD_BOOTS] |= 1 << 16  # starts.note_running
    board.start()
    assert board.slot() == "fw_b"
    chip = SimpleNamespace(scratch=lambda _: board.registers[BAD_BOOTS], put_scratch=lambda *_: None)
    assert starts.bad_boots(chip, SimpleNamespace(append=lambda *_: None)) == starts.BAD_BOOTS_MAX


def test_where_neither_starts_both_are_tried_in_turn_and_no_prompt_shows_the_keys(board: Board) -> None:
    board.put("fw_a/heartwire_board.py", BAD["raises"])
    board.put("fw_b/heartwire_board.py", BAD["raises"])
    turns = []
    for _ in range(30):
        assert board.start()
        turns.append(board.slot())
    assert turns == (["fw_a"] * 3 + ["fw_b"] * 3) * 5
    assert board.slept == [5000] * (30 - GIVE_UP + 1), "slowly, once it is clear"


@pytest.mark.parametrize("slot", [None, b"", b"fw_c", b"\xff\xfe\x80", b"fw_a\n"], ids=str)
def test_a_folders_name_that_is_lost_or_nonsense_is_found_again(
    board: Board, capsys: pytest.CaptureFixture[str], slot: bytes | None
) -> None:
    (board.folder / "slot").unlink()
    board.put("slot", slot)
    for _ in range(3):
        assert board.start(), "a restart, never a prompt"
    assert "guards" not in capsys.readouterr().out
    board.start()
    assert "heartwire_board.py" in capsys.readouterr().out
    assert board.slot() in ("fw_a", "fw_b")


@pytest.mark.parametrize("number", [1, GIVE_UP])
def test_what_goes_wrong_while_it_is_noted_ends_in_a_restart_too(
    board: Board, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails() -> None:
        raise MemoryError

    board.put("fw_a/heartwire_board.py", BAD["raises"])
    board.put("fw_b/heartwire_board.py", BAD["raises"])
    board.registers[BAD_BOOTS] = number - 1
    monkeypatch.setattr(io, "StringIO", fails)
    with pytest.raises(MemoryError):
        board.start()
    assert board.reset.called and WATCHDOG_CLEAR not in board.registers


@pytest.mark.parametrize("there", [False, True], ids=["none", "empty"])
def test_without_firmware_in_the_other_folder_it_stays(board: Board, there: bool) -> None:
    (board.folder / "fw_b" / "heartwire_board.py").unlink()
    if not there:
        (board.folder / "fw_b").rmdir()
    board.put("fw_a/heartwire_board.py", BAD["raises"])
    for _ in range(8):
        assert board.start()
    assert board.slot() == "fw_a"


def test_a_flash_that_takes_nothing_does_not_keep_the_other_from_starting(
    board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board.put("fw_a/heartwire_board.py", BAD["raises"])
    (board.folder / "slot.new").mkdir()  # cannot be opened
    (board.folder / "crash.txt").mkdir()
    for _ in range(4):
        board.start()
    assert "fw_b/heartwire_board.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "prompt"),
    [
        (None, True),
        (b"H\x01\x00board.name=rack\nboard.configure_key=\nnode.a.key=\n\x12\x34", True),
        (b"H\x01\x00board.name=rack\nnode.a.key=" + b"5a" * 32 + b"\n\x12\x34", False),
        (b"H\x01\x00board.view_key=" + b"5a" * 32, False),
    ],
)
def test_a_board_without_keys_gives_the_prompt_after_eight_bad_starts(
    board: Board, settings: bytes | None, prompt: bool
) -> None:
    (board.folder / "data" / "settings.1").unlink()
    board.put("data/settings.0", settings)
    board.put("fw_a/heartwire_board.py", BAD["raises"])
    board.put("fw_b/heartwire_board.py", BAD["raises"])
    assert [board.start() for _ in range(GIVE_UP - 1)] == [True] * (GIVE_UP - 1)
    assert board.start() is not prompt


def test_the_key_switch_gives_the_prompt_after_eight_bad_starts_if_it_is_steady(board: Board) -> None:
    board.put("fw_a/heartwire_board.py", BAD["raises"])
    board.put("fw_b/heartwire_board.py", BAD["raises"])
    board.key = itertools.repeat(0)
    assert [board.start() for _ in range(GIVE_UP - 1)] == [True] * (GIVE_UP - 1)
    assert not board.start()
    assert board.micropython.kbd_intr.call_args.args == (3,)
    board.key = itertools.chain([0] * 400, itertools.repeat(1))
    assert board.start(), "a line that settles is no key"


def test_the_prompt_that_boot_py_decided_on_is_given(board: Board) -> None:
    board.registers[NOTE] = PROMPT
    assert not board.start()
    assert board.micropython.kbd_intr.call_args.args == (3,)


def test_the_same_failure_is_written_once(board: Board) -> None:
    board.put("fw_a/heartwire_board.py", BAD["raises"])
    board.start()
    crash = board.folder / "crash.txt"
    assert crash.read_text() == "ValueError('cannot be loaded')\n"
    crash.chmod(0o444)
    before = crash.stat().st_mtime_ns
    board.start()
    assert crash.stat().st_mtime_ns == before
    crash.chmod(0o644)
    board.put("fw_a/heartwire_board.py", BAD["no memory"])
    board.start()
    assert "memory" in crash.read_text()
