"""The hardware module takes the registers of the chip that it runs on, touches no other chip's, and makes an address
once.
"""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from pytest_mock import MockerFixture

from heartwire.flash import boards
from tests.unit.firmware.test_boot import PICO, PICO2, implementation

# RP2040 datasheet 4.7.6 and 4.2.8, RP2350 12.9.8 and 12.1.8: scratch registers; RIS and ICR of both UARTs.
SCRATCHES = {PICO: 0x4005800C, PICO2: 0x400D800C}
UARTS = {PICO: (0x40034000, 0x40038000), PICO2: (0x40070000, 0x40078000)}
RIS, ICR, OVERRUN = 0x3C, 0x44, 0x400


class Registers(dict[int, int]):
    """Registers that know what was touched: each address as it was handed in."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: list[int] = []

    def __getitem__(self, address: int) -> int:
        self.touched.append(address)
        return self.get(address, OVERRUN if address & 0xFFF == RIS else 0)

    def __setitem__(self, address: int, value: int) -> None:
        self.touched.append(address)
        super().__setitem__(address, value)


@pytest.fixture(params=[PICO, PICO2])
def chip(
    request: pytest.FixtureRequest, chip_modules: None, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Any, Registers]:
    """The chip's name, the hardware made on it, and its registers."""
    hw_rp2: Any = importlib.import_module("heartwire_firmware.hw_rp2")
    machine = MagicMock()
    machine.mem32 = Registers()
    machine.UART.return_value.any.return_value = 0
    monkeypatch.setattr(hw_rp2, "machine", machine)
    monkeypatch.setattr(hw_rp2, "FlashFiles", type("Files", (hw_rp2.FlashFiles,), {"names": lambda self: []}))
    monkeypatch.setattr(hw_rp2.os, "mkdir", lambda path: None)
    clock = SimpleNamespace(ticks_ms=lambda: 0, ticks_us=None, ticks_diff=None, ticks_add=None)
    monkeypatch.setattr(hw_rp2, "time", clock)
    monkeypatch.setattr(hw_rp2.select, "poll", MagicMock())
    monkeypatch.setattr(hw_rp2.hw_pio, "PioLine", MagicMock())
    mocker.patch.object(hw_rp2.sys, "stdin", MagicMock())
    mocker.patch.object(sys, "implementation", implementation(request.param, (1, 29, 0, "")))
    return request.param, hw_rp2.Hardware(), machine.mem32


def test_registers_are_those_of_the_chip(chip: tuple[str, Any, Registers]) -> None:
    name, hardware, registers = chip
    scratch, uarts = SCRATCHES[name], UARTS[name]
    for index in range(4):
        hardware.chip.put_scratch(index, 1)
        assert hardware.chip.scratch(index) == 1
    for line in hardware.lines[:2]:
        assert line.take_overruns() == 1
    mine = {scratch + 4 * index for index in range(4)} | {base + at for base in uarts for at in (RIS, ICR)}
    assert set(registers.touched) == mine
    assert {board.chip.scratch for board in boards.SUPPORTED if board.machine == name} == {scratch}


def test_an_address_is_made_once_as_each_sum_of_such_size_takes_from_the_heap(
    chip: tuple[str, Any, Registers],
) -> None:
    # It was made for each mark: the search for room moved a relay half a millisecond later.
    _, hardware, registers = chip
    registers.touched.clear()
    for _ in range(2):
        hardware.chip.put_scratch(0, hardware.chip.scratch(0))
        for line in hardware.lines[:2]:
            line.take_errors()
            line.take_overruns()
    assert len({id(address) for address in registers.touched}) == len(set(registers.touched))
