"""`heartwire status` says what the firmware runs on, also where it does not run at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from heartwire import ports
from heartwire.errors import Unplugged
from heartwire.flash import boards, install
from tests.fakes.board import FakeBoard

Run = Callable[..., Any]
PICO = "Raspberry Pi Pico with RP2040"


def test_status_says_micropython_and_the_last_crash(board: FakeBoard, run: Run) -> None:
    board.script["platform"] = {"micropython": "1.24.0", "machine": PICO, "folder": "fw_a", "crash": "OSError: 28"}
    text = run("status").out
    assert "MicroPython 1.24.0" in text
    assert "last crash: OSError: 28" in text
    found = json.loads(run("status", "--json").out)
    assert (found["micropython"], found["machine"], found["crash"]) == ("1.24.0", PICO, "OSError: 28")


def test_a_board_that_cannot_say_it_yet_is_no_failure(board: FakeBoard, run: Run) -> None:
    board.script["platform"] = {"error": "unknown_operation"}
    result = run("status")
    assert result.code == 0 and "MicroPython" not in result.out and "crash" not in result.out


class Prompt:
    """Stands for the prompt that answers there."""

    answer: dict[str, str] | None = None

    def __init__(self, port: str, timeout_s: float) -> None:
        self.port = port

    def run(self, script: str) -> dict[str, str]:
        if self.answer is None:
            raise Unplugged("gone")
        return self.answer

    def give_back(self) -> None:
        """Nobody else wants it."""


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, []),
        ({"version": "1.24.0", "machine": PICO, "crash": ""}, [f"it is MicroPython 1.24.0 on {PICO}"]),
        (
            {"version": "1.22.1", "machine": PICO, "crash": "AttributeError: no irq"},
            ["MicroPython 1.22.1", "1.24 or later", "last failed with: AttributeError: no irq"],
        ),
        (
            {"version": "1.29.0", "machine": "Raspberry Pi Pico W with RP2040", "crash": ""},
            ["MicroPython 1.29.0", f"this is a Raspberry Pi Pico W: {boards.by_id('RPI_PICO_W').refused}"],
        ),
        (
            {"version": "1.25.0", "machine": "Raspberry Pi Pico2 with RP2350", "crash": ""},
            ["MicroPython 1.25.0", "1.26 or later"],
        ),
        ({"version": "1.18.0", "machine": "", "crash": ""}, ["an unknown board"]),
    ],
)
def test_status_of_a_board_at_its_prompt_says_what_it_is(
    board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch, answer: dict[str, str] | None, told: list[str]
) -> None:
    board.receive = lambda data: b"\r\n>>> "  # type: ignore[method-assign]
    monkeypatch.setattr(Prompt, "answer", answer)
    monkeypatch.setattr(install, "Prompt", Prompt)
    monkeypatch.setattr(ports, "stranger", lambda path: "")
    result = run("status")
    assert result.code == 6
    assert "MicroPython answers, but Heartwire does not run on it" in result.err
    assert "heartwire flash" in result.err
    for words in told:
        assert words in " ".join(result.err.split())


def test_the_prompt_behind_another_device_gets_no_ctrl_c(
    board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.receive = lambda data: b"\r\n>>> "  # type: ignore[method-assign]
    monkeypatch.setattr(install, "Prompt", None)  # whoever makes one fails
    monkeypatch.setattr(ports, "stranger", lambda path: "Debug Probe (2e8a:000c)")
    result = run("status")
    assert result.code == 6
    assert "Heartwire does not run on it" in result.err


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        (b"\r\nraw REPL; CTRL-B to exit\r\n>", True),
        (b"Traceback (most recent call last):\r\nOSError: 5\r\n>>> ", True),
        (b"MicroPython v1.24.0 on a Pico\r\ntemperature 21\r\n", False),
        (b">>> the answer is\r\n42\r\n", False),
    ],
)
def test_a_program_that_prints_such_words_is_no_prompt(board: FakeBoard, run: Run, said: bytes, prompt: bool) -> None:
    board.receive = lambda data: said  # type: ignore[method-assign]
    result = run("status")
    assert result.code == 6
    assert ("Heartwire does not run on it" in result.err) is prompt
