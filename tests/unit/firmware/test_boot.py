"""boot.py decides once, before USB is up, whether this start guards: what it finds in the scratch registers, and what
main.py, the watchdog and the next start find after it.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytest_mock import MockerFixture

from heartwire.flash import install
from heartwire_firmware import sequencer, supervisor

FIRMWARE = Path(__file__).parents[3] / "firmware"
BOOT = FIRMWARE / "boot.py"
BAD_BOOTS, NOTE, WATCHDOG_CLEAR = 0x40058010, 0x40058014, 0x4005B000
RESTART, REPL, PROMPT = 0x2A57E001, 0x2A57E002, 0x2A57E003
GIVE_UP = 8


def boot(mocker: MockerFixture, registers: dict[int, int]) -> bool:
    """Run boot.py on these registers, which it changes; return whether it started the watchdog. main.py does nothing,
    as if a Ctrl-C had stopped it at its first line.
    """
    watchdog = mocker.Mock()
    for address in (0x4005800C, BAD_BOOTS, NOTE):
        registers.setdefault(address, 0)
    machine = SimpleNamespace(mem32=registers, Pin=mocker.Mock(), WDT=watchdog)
    mocker.patch.dict(sys.modules, machine=machine, micropython=mocker.Mock())
    registers.pop(WATCHDOG_CLEAR, None)
    runpy.run_path(str(BOOT))
    assert watchdog.called != (WATCHDOG_CLEAR in registers), "a start guards or gives the prompt"
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


def test_after_eight_bad_starts_it_gives_up_and_stays_so(mocker: MockerFixture) -> None:
    registers: dict[int, int] = {}
    assert [boot(mocker, registers) for _ in range(GIVE_UP + 2)] == [True] * (GIVE_UP - 1) + [False] * 3
    assert registers[NOTE] == PROMPT


def constants(name: str) -> dict[str, object]:
    """Return the numbers that a file of the firmware's top level gives names to, without running it."""
    found: dict[str, object] = {}
    for line in ast.parse((FIRMWARE / name).read_text()).body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and line.targets[0].id.isupper():
            text = compile(ast.Expression(line.value), name, "eval")
            found[line.targets[0].id] = eval(text, dict(found))
    return found


def test_what_boot_must_write_down_itself_is_what_the_firmware_and_main_mean(chip_modules: None) -> None:
    from heartwire_firmware import hw_rp2

    boots, mains = constants("boot.py"), constants("main.py")
    register = [hw_rp2.SCRATCH + 4 * index for index in range(3)]
    assert boots["SCRATCH"] == register[sequencer.MARK_REGISTER]
    assert boots["BAD_BOOTS"] == register[supervisor.BOOT_REGISTER] == BAD_BOOTS
    assert boots["NOTE"] == mains["NOTE"] == register[hw_rp2.NOTE_REGISTER] == NOTE
    assert (boots["MARK_MAGIC"], boots["MARK_MAGIC_MASK"]) == (sequencer.MARK_MAGIC, sequencer.MARK_MAGIC_MASK)
    assert (hw_rp2.NOTE_RESTART, boots["NOTE_REPL"], boots["NOTE_PROMPT"]) == (RESTART, hw_rp2.NOTE_REPL, PROMPT)
    assert (hw_rp2.NOTE_REPL, mains["NOTE_PROMPT"]) == (REPL, PROMPT)
    assert boots["GIVE_UP"] == GIVE_UP > supervisor.BAD_BOOTS_MAX + 1, "safe mode comes before the prompt"
    assert (boots["WATCHDOG_CLEAR"], boots["WATCHDOG_ENABLE"]) == (WATCHDOG_CLEAR, 1 << 30)
    assert "machine.mem32[0x4005B000] = 1 << 30" in install._STATE, "the update stops the same watchdog"
