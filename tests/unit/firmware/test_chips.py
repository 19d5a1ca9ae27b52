"""The hardware module takes the registers of the chip that it runs on, and touches no other chip's."""

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


@pytest.mark.parametrize("name", [PICO, PICO2])
def test_registers_are_those_of_the_chip(
    chip_modules: None, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hw_rp2: Any = importlib.import_module("heartwire_firmware.hw_rp2")
    scratch, uarts = SCRATCHES[name], UARTS[name]
    touched: set[int] = set()

    class Registers(dict[int, int]):
        def __getitem__(self, address: int) -> int:
            touched.add(address)
            return self.get(address, OVERRUN if address & 0xFFF == RIS else 0)

        def __setitem__(self, address: int, value: int) -> None:
            touched.add(address)
            super().__setitem__(address, value)

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
    mocker.patch.object(sys, "implementation", implementation(name, (1, 29, 0, "")))
    hardware = hw_rp2.Hardware()
    for index in range(4):
        hardware.chip.put_scratch(index, 1)
        assert hardware.chip.scratch(index) == 1
    for line in hardware.lines[:2]:
        assert line.take_overruns() == 1
    mine = {scratch + 4 * index for index in range(4)} | {base + at for base in uarts for at in (RIS, ICR)}
    assert touched == mine
    assert {board.chip.scratch for board in boards.SUPPORTED if board.machine == name} == {scratch}
