"""boot.py decides once, before USB is up, whether this start guards: what it finds in the scratch registers, and what
main.py, the watchdog and the next start find after it.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytest_mock import MockerFixture

BOOT = Path(__file__).parents[3] / "firmware" / "boot.py"
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
