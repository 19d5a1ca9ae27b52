"""How far the emulated chip is the chip: its processor against another one, MicroPython on it against the VM, its pads.

A part of what `make trust` does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire.emulated.chip import MS
from heartwire.virtual import pins
from tests.emulated import differential, instructions
from tests.emulated.conftest import forked
from tests.emulated.differential import DIFFERENT, ChipPrompt

pytestmark = pytest.mark.emulated
INSTRUCTIONS = 5_000
OPERATIONS = 500
READS = """
from machine import Pin
for gpio in {gpios}:
    found = []
    pin = Pin(gpio, Pin.OUT, value=1)
    for level in (1, 0, 1):
        pin.value(level)
        found.append(pin.value())
    pin = Pin(gpio, Pin.OPEN_DRAIN, value=0)
    found.append(pin.value())
    pin.value(1)
    found.append(pin.value())
    print(gpio, found)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_instructions_at_random_do_what_another_processor_does(seed: int) -> None:
    if not instructions.has_unicorn():
        pytest.skip("not installed: unicorn (HEARTWIRE_LAB_PYTHON names a Python that has it)")
    seen, found = instructions.compare(INSTRUCTIONS, seed)
    assert not found, "\n".join(found)
    assert seen.total() > INSTRUCTIONS / 2
    assert len(seen) >= len(instructions.Maker.KINDS)


@pytest.mark.every_image
def test_operations_at_random_give_what_the_vm_gives(board_image: Path) -> None:
    def body() -> tuple[int, list[str], object]:
        prompt = ChipPrompt(board_image)
        return *differential.compare(prompt, OPERATIONS, seed=1), differential.natures(prompt)

    count, found, natures = forked(body)
    assert count == OPERATIONS
    assert not found, "\n".join(found)
    ours, theirs = [(row[0], row[1]) for row in DIFFERENT], [(row[0], row[2]) for row in DIFFERENT]
    assert natures == (ours, theirs)


def test_a_pad_reads_what_the_chip_drives_else_what_is_outside(board_image: Path) -> None:
    outputs = sorted(pins.SIGNALS[name].gpio for name in pins.OUTPUTS)

    def body() -> tuple[list[str], list[str], list[bool]]:
        prompt = ChipPrompt(board_image)
        code = READS.format(gpios=outputs)
        for name in pins.OUTPUTS:
            prompt.chip.set_input(name, pins.SIGNALS[name].active_high)
        outside_high = prompt.run(code)
        for name in pins.OUTPUTS:
            prompt.chip.set_input(name, not pins.SIGNALS[name].active_high)
        outside_low = prompt.run(code)
        prompt.chip.usb.send(b"import machine; machine.Pin(%d, 1).value(1); machine.reset()\x04" % outputs[0])
        prompt.chip.run_for(5 * MS)
        assert prompt.chip.resets
        return outside_high, outside_low, [prompt.chip.mcu.gpio[gpio].input_value for gpio in outputs]

    high, low, after_reset = forked(body)
    assert high[:-1] == [f"{gpio} [1, 0, 1, 0, 1]" for gpio in outputs]
    assert low[:-1] == [f"{gpio} [1, 0, 1, 0, 0]" for gpio in outputs]
    assert not any(after_reset)
