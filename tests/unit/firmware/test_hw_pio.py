"""The third line's receiver: what its DMA put into the ring is read in order, and a look at it takes nothing from the
heap.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from heartwire_firmware import idle, intake, relays, sequencer

# A function that needs more words than this for names and stack takes them from the heap, at each call (MicroPython
# 1.24, py/objfun.c, VM_MAX_STATE_ON_STACK). CPython's compiler counts them nearly alike.
STATE_MAX = 11


@pytest.fixture
def hw_pio(chip_modules: None) -> Any:
    from heartwire_firmware import hw_pio

    return hw_pio


# Of the RP2350, which has a mode above it (datasheet 12.6, TRANS_COUNT).
COUNTER = (1 << 28) - 1


class Receiver:
    """What the DMA channel does: bytes go round the ring, its count falls."""

    def __init__(self, line: Any, module: Any) -> None:
        self._line, self._ring, self._start = line, module.RING, module._COUNT
        self.count = module._COUNT & COUNTER

    def arrive(self, data: bytes) -> None:
        for byte in data:
            self._line._ring[(self._start - self.count) % self._ring] = byte
            self.count -= 1


@pytest.fixture
def line(hw_pio: Any) -> Any:
    made = hw_pio.PioLine.__new__(hw_pio.PioLine)
    made._ring = bytearray(hw_pio.RING)
    made._left = hw_pio._COUNT
    made._queue_from = made._queue_until = made._overruns = 0
    made.idle = SimpleNamespace(take=lambda at, whole: None)
    made._sender = SimpleNamespace(tx_fifo=lambda: 0)
    made._dma = Receiver(made, hw_pio)
    return made


def read(line: Any, limit: int) -> bytes:
    buffer = bytearray(limit)
    return bytes(buffer[: line.read_into(buffer, limit)])


def test_bytes_are_read_in_order_across_the_end_of_the_ring(line: Any, hw_pio: Any) -> None:
    assert read(line, 48) == b""
    sent = bytes(number % 251 for number in range(3 * hw_pio.RING))
    got = b""
    for at in range(0, len(sent), 40):
        line._dma.arrive(sent[at : at + 40])
        assert line.waiting() == len(sent[at : at + 40])
        got += read(line, 30) + read(line, 30)
    assert got == sent
    assert line.take_overruns() == 0


def test_more_than_the_ring_holds_is_dropped_and_counted(line: Any, hw_pio: Any) -> None:
    line._dma.arrive(bytes(hw_pio.RING + 1))
    assert read(line, 48) == b""
    assert line.take_overruns() == 1
    line._dma.arrive(b"after")
    assert read(line, 48) == b"after"
    assert line.take_overruns() == 0


def test_a_channel_whose_count_runs_out_is_armed_anew_between_two_frames(
    line: Any, hw_pio: Any, mocker: MockerFixture
) -> None:
    armed = mocker.patch.object(line, "_arm")
    line._dma.count = line._left = hw_pio._COUNT_LOW - 1
    line._dma.count -= 3
    read(line, 48)
    assert not armed.called
    read(line, 48)
    assert armed.called


LOOKED_AT: dict[str, Callable[[Any], Any]] = {
    "read_into of the third line": lambda hw_pio: hw_pio.PioLine.read_into,
    "_send": lambda hw_pio: hw_pio.PioLine._send,
    "take": lambda hw_pio: idle.IdleStamp.take,
    "gather": lambda hw_pio: intake.Intake.gather,
    "shoot": lambda hw_pio: sequencer.Sequencer.shoot,
    "put_scratch": lambda hw_pio: importlib.import_module("heartwire_firmware.hw_rp2").Rp2Chip.put_scratch,
    "cut": lambda hw_pio: relays.Relays.cut,
    "_toggle": lambda hw_pio: relays.Relays._toggle,
    "put": lambda hw_pio: importlib.import_module("heartwire_firmware.hw_rp2").BoardPins.put,
}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_what_a_look_at_a_deadline_and_its_relay_call_takes_nothing_from_the_heap(hw_pio: Any, name: str) -> None:
    # It did: on a board that had run for a while each look took 1 ms, and a relay moved so much later.
    code = LOOKED_AT[name](hw_pio).__code__
    assert code.co_nlocals + code.co_stacksize <= STATE_MAX
