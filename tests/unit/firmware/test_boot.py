"""boot.py decides once, before USB is up, whether this start guards: what it finds in the scratch registers, and what
main.py, the watchdog and the next start find after it.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from heartwire.flash import boards, install
from heartwire_firmware import board, sequencer, starts
from heartwire_protocol import chips

FIRMWARE = Path(__file__).parents[3] / "firmware"
BOOT = FIRMWARE / "boot.py"
# RP2040 datasheet 4.7.6, RP2350 12.9.8: written down once more, so that no table proves itself.
BAD_BOOTS, NOTE, WATCHDOG_CLEAR = 0x40058010, 0x40058014, 0x4005B000
TO_RP2350 = 0x400D8000 - 0x40058000
RESTART, REPL, PROMPT = 0x2A57E001, 0x2A57E002, 0x2A57E003
GIVE_UP = 8


REAL = sys.implementation
PICO = "Raspberry Pi Pico with RP2040"
PICO2 = "Raspberry Pi Pico2 with RP2350"


def implementation(machine: str | None = PICO, version: tuple[object, ...] = (1, 24, 0, "")) -> Any:
    """Return sys.implementation as MicroPython gives it: a tuple with names."""

    class Implementation(tuple[object, ...]):
        _machine: str

        def __getattr__(self, name: str) -> object:
            return getattr(REAL, name)  # what this Python asks of its own

    found = Implementation(("micropython", version))
    if machine is not None:
        found._machine = machine
    return found


class OneChip(dict[int, int]):
    """Registers of one chip: what is nobody's there may not be touched."""

    def __init__(self, offset: int = 0) -> None:
        self.mine = {address + offset for address in (0x4005800C, BAD_BOOTS, NOTE, WATCHDOG_CLEAR)}
        super().__init__(dict.fromkeys(self.mine - {WATCHDOG_CLEAR + offset}, 0))

    def __setitem__(self, address: int, value: int) -> None:
        assert address in self.mine, f"write to {address:#x}"
        super().__setitem__(address, value)


def boot(mocker: MockerFixture, registers: dict[int, int], name: str = PICO) -> bool:
    """Run boot.py on these registers, which it changes; return whether it started the watchdog. main.py does nothing,
    as if a Ctrl-C had stopped it at its first line.
    """
    watchdog = mocker.Mock()
    if not isinstance(registers, OneChip):
        for address in (0x4005800C, BAD_BOOTS, NOTE):
            registers.setdefault(address, 0)
    machine = SimpleNamespace(mem32=registers, Pin=mocker.Mock(), WDT=watchdog)
    mocker.patch.dict(sys.modules, machine=machine, micropython=mocker.Mock())
    mocker.patch.object(sys, "implementation", implementation(name))
    clear = WATCHDOG_CLEAR + (TO_RP2350 if name == PICO2 else 0)
    registers.pop(clear, None)
    runpy.run_path(str(BOOT))
    assert watchdog.called != (clear in registers), "a start guards or gives the prompt"
    return bool(watchdog.called)


@pytest.mark.parametrize("note", [0, RESTART], ids=["power", "restart"])
def test_a_start_guards_under_the_watchdog(mocker: MockerFixture, note: int) -> None:
    registers = {NOTE: note, BAD_BOOTS: 2}
    assert boot(mocker, registers)
    assert (registers[NOTE], registers[BAD_BOOTS]) == (note, 3), "the firmware reads why it restarted"


def test_a_prompt_is_for_one_start_whatever_becomes_of_main(mocker: MockerFixture) -> None:
    registers = {NOTE: REPL, BAD_BOOTS: 2}
    assert not boot(mocker, registers)
    assert (registers[NOTE], registers[BAD_BOOTS]) == (PROMPT, 0)
    assert boot(mocker, registers)
    assert (registers[NOTE], registers[BAD_BOOTS]) == (0, 1)


def test_no_bad_start_gives_the_prompt_before_main_py_has_looked(mocker: MockerFixture) -> None:
    registers: dict[int, int] = {BAD_BOOTS: 5 << 8 | 1 << 16}
    counts = []
    for _ in range(600):
        assert boot(mocker, registers)
        counts.append(registers[BAD_BOOTS] & 0xFF)
        assert registers[BAD_BOOTS] >> 8 == 5 | 1 << 8, "what main.py keeps there"
    assert counts[:255] == list(range(1, 256))
    assert min(counts[255:]) >= GIVE_UP, "the count does not begin anew"
    turns = [count % main_constants()["TURN"] for count in counts]
    assert turns == [number % 3 for number in range(1, 601)], "a turn is left out"


def test_the_other_chip_has_the_same_registers_elsewhere(mocker: MockerFixture) -> None:
    registers = OneChip(TO_RP2350)
    assert boot(mocker, registers, PICO2)
    assert (registers[NOTE + TO_RP2350], registers[BAD_BOOTS + TO_RP2350]) == (0, 1)
    registers[NOTE + TO_RP2350] = REPL
    boot(mocker, registers, PICO2)
    assert (registers[NOTE + TO_RP2350], registers[BAD_BOOTS + TO_RP2350]) == (PROMPT, 0)
    assert registers[WATCHDOG_CLEAR + TO_RP2350] == 1 << 30


class Untouched(dict[int, int]):
    """Registers that nobody may read or write."""

    def __getitem__(self, address: int) -> int:
        raise AssertionError(f"read of {address:#x}")

    def __setitem__(self, address: int, value: int) -> None:
        raise AssertionError(f"write to {address:#x}")


@pytest.mark.parametrize(
    "machine",
    ["Raspberry Pi Pico2 with RP2350-RISCV", "Pico with RP2360", "Generic ESP32 with ESP32", "", None],
)
def test_on_another_chip_no_register_and_no_pin_is_touched_and_the_prompt_says_why(
    mocker: MockerFixture, capsys: pytest.CaptureFixture[str], machine: str | None
) -> None:
    micropython = mocker.Mock()
    hardware = SimpleNamespace(mem32=Untouched(), Pin=mocker.Mock(), WDT=mocker.Mock(), reset=mocker.Mock())
    mocker.patch.dict(sys.modules, machine=hardware, micropython=micropython)
    mocker.patch.object(sys, "implementation", implementation(machine))
    runpy.run_path(str(BOOT))
    runpy.run_path(str(FIRMWARE / "main.py"))
    assert not (hardware.Pin.called or hardware.WDT.called or hardware.reset.called)
    assert micropython.kbd_intr.call_args == mocker.call(3), "Ctrl-C works"
    said = capsys.readouterr().out
    assert "runs on the RP2040 and the RP2350, and this is" in said and (machine or "") in said


@pytest.mark.parametrize(
    ("name", "version", "told", "oldest"),
    [
        (PICO, (1, 22, 1, ""), "1.22.1", "1.24"),
        (PICO, (1, 23, 0, "preview"), "1.23.0", "1.24"),
        (PICO, (1, 19, 1), "1.19.1", "1.24"),
        (PICO2, (1, 25, 0, ""), "1.25.0", "1.26"),
    ],
)
def test_a_micropython_that_is_too_old_says_so_at_the_prompt(
    mocker: MockerFixture,
    capsys: pytest.CaptureFixture[str],
    name: str,
    version: tuple[object, ...],
    told: str,
    oldest: str,
) -> None:
    micropython = mocker.Mock()
    offset = TO_RP2350 if name == PICO2 else 0
    registers = OneChip(offset)
    hardware = SimpleNamespace(mem32=registers, reset=mocker.Mock())
    mocker.patch.dict(sys.modules, machine=hardware, micropython=micropython)
    mocker.patch.object(sys, "implementation", implementation(name, version))
    runpy.run_path(str(FIRMWARE / "main.py"))
    assert registers[WATCHDOG_CLEAR + offset] == 1 << 30 and not hardware.reset.called
    assert micropython.kbd_intr.call_args == mocker.call(3)
    said = capsys.readouterr().out
    assert f"needs MicroPython {oldest} or later, and this is {told}" in said and "heartwire flash" in said


def constants(name: str) -> dict[str, Any]:
    """Return the numbers that a file of the firmware's top level gives names to, without running it."""
    found: dict[str, Any] = {}
    for line in ast.parse((FIRMWARE / name).read_text()).body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and line.targets[0].id.isupper():
            text = compile(ast.Expression(line.value), name, "eval")
            found[line.targets[0].id] = eval(text, dict(found))
    return found


def main_constants() -> dict[str, Any]:
    """Return the numbers of main.py."""
    return constants("main.py")


def test_what_boot_must_write_down_itself_is_what_the_firmware_and_main_mean(chip_modules: None) -> None:
    from heartwire_firmware import hw_rp2

    boots, mains = constants("boot.py"), constants("main.py")
    register = [chips.SCRATCH + 4 * index for index in range(3)]
    assert boots["SCRATCH"] == register[sequencer.MARK_REGISTER]
    assert boots["BAD_BOOTS"] == register[starts.BOOT_REGISTER] == register[install.BOOT_REGISTER]
    assert boots["NOTE"] == mains["NOTE"] == register[hw_rp2.NOTE_REGISTER]
    assert boots["WATCHDOGS"] == tuple(row[:2] for row in chips.CHIPS)
    assert mains["CHIPS"] == tuple((row[0], row[1], row[4]) for row in chips.CHIPS)
    assert (boots["WATCHDOG_CLEAR"], boots["WATCHDOG_ENABLE"]) == (chips.WATCHDOG_CLEAR, chips.WATCHDOG_ENABLE)
    first = chips.CHIPS[0][1]
    assert (first + boots["BAD_BOOTS"], first + boots["NOTE"]) == (BAD_BOOTS, NOTE)
    assert first + boots["WATCHDOG_CLEAR"] == WATCHDOG_CLEAR
    assert (boots["MARK_MAGIC"], boots["MARK_MAGIC_MASK"]) == (sequencer.MARK_MAGIC, sequencer.MARK_MAGIC_MASK)
    assert (hw_rp2.NOTE_RESTART, boots["NOTE_REPL"], boots["NOTE_PROMPT"]) == (RESTART, hw_rp2.NOTE_REPL, PROMPT)
    assert (hw_rp2.NOTE_REPL, mains["NOTE_PROMPT"]) == (REPL, PROMPT)
    assert mains["GIVE_UP"] == GIVE_UP > starts.BAD_BOOTS_MAX + 1, "safe mode comes before the prompt"
    for name in ("BAD_BOOTS", "NOTE", "NOTE_PROMPT", "WATCHDOG_CLEAR", "WATCHDOG_ENABLE"):
        assert mains[name] == boots[name], name
    assert (mains["BASE"], mains["RAN"], mains["FELL_BACK"]) == (starts._BASE, starts._RAN, starts._FELL_BACK)
    assert (mains["TURN"], mains["FOLDERS"]) == (starts.BAD_BOOTS_MAX, install.SLOTS)
    assert boots["WRAP"] % (2 * mains["TURN"]) == 0, "a turn of each folder, whole"
    assert boots["LOAD_MS"] > mains["SLOWLY_MS"]
    assert {row[0]: row[1] for row in board.PINS}["KEY"] == mains["KEY"]
    assert {board.chip.name for board in boards.SUPPORTED} == {row[0] for row in chips.CHIPS}
