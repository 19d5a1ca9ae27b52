"""An install switches only to firmware that the board could load."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from heartwire.flash import install
from heartwire.flash.install import CannotLoad


class Board:
    """Stands for the prompt of a board with a firmware in fw_a, where what is copied arrives whole."""

    def __init__(self, trouble: str) -> None:
        self.trouble = trouble
        self.there: dict[str, str] = {}
        self.ran: list[str] = []

    def run(self, script: str) -> object:
        if "'program'" in script:
            return {"version": "1.24.0", "slot": "fw_a", "program": [], "machine": "Raspberry Pi Pico with RP2040"}
        if "ilistdir" in script:
            return self.there
        self.ran.append("switch" if "rename" in script else "try" if "guard" in script else "other")
        return self.trouble if "guard" in script else 1

    def copy(self, files: list[tuple[Path, str]], done: object) -> None:
        self.there = {target: hashlib.sha256(source.read_bytes()).hexdigest() for source, target in files}


@pytest.mark.parametrize("trouble", ["", "MemoryError: memory allocation failed, allocating 1148 bytes"])
def test_firmware_that_the_board_cannot_load_is_never_switched_to(
    monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(install, "contents", lambda: {"boot.py": b"a", "main.py": b"b", "heartwire_board.mpy": b"c"})
    board = Board(trouble)
    if trouble:
        with pytest.raises(CannotLoad, match="allocating 1148 bytes") as found:
            install.install(board, lambda *_: None)  # type: ignore[arg-type]
        assert "keeps its firmware from before" in found.value.next_step
        assert board.ran == ["other", "try"]
    else:
        assert install.install(board, lambda *_: None) == "fw_b"  # type: ignore[arg-type]
        assert board.ran == ["other", "try", "switch"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def guard(): raise ValueError\n", ""),
        ("raise ValueError('no')\n", "ValueError: no"),
        ("x = 1\n", "AttributeError: module 'heartwire_board' has no attribute 'guard'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        (None, "ModuleNotFoundError: No module named 'heartwire_board'"),
    ],
)
def test_the_board_says_what_it_cannot_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: str | None, told: str
) -> None:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    if source is not None:
        (tmp_path / "heartwire_board.py").write_text(source)
    exec(install._TRY % str(tmp_path)[1:], {})
    sys.modules.pop("heartwire_board", None)
    assert json.loads(capsys.readouterr().out) == told


def test_firmware_of_another_format_is_refused_before_its_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "contents", lambda: {"boot.py": b"a", "heartwire_board.mpy": b"M\x05\x00\x1f"})
    board = Board("")
    with pytest.raises(CannotLoad, match="version 5 of the format"):
        install.install(board, lambda done, total, name: None)  # type: ignore[arg-type]
    assert (board.there, board.ran) == ({}, [])
