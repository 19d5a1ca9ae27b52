"""When a line fell idle: the stamp from which a node's deadline is counted, on a UART that behaves like the chip's, and
an interrupt that behaves like MicroPython's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from heartwire_firmware import idle

IDLE_US = 278  # 32 bits at 115200 baud


class Uart:
    """The chip's receiver (RP2040 datasheet 4.2.6): an interrupt for an idle line, unless its FIFO is empty by then."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock = clock
        self.on_idle: Any = None
        self._fifo = b""
        self._buffer = b""

    def arrive(self, data: bytes) -> None:
        self._fifo += data

    def idle(self) -> None:
        """Let the line be idle for long enough."""
        self.clock.us += IDLE_US
        if self._fifo:
            self.on_idle(self)

    def any(self) -> int:
        self._buffer, self._fifo = self._buffer + self._fifo, b""
        return len(self._buffer)

    def readinto(self, buffer: bytearray, limit: int) -> int:
        count = min(limit, self.any())
        buffer[:count], self._buffer = self._buffer[:count], self._buffer[count:]
        return count


@pytest.fixture
def clock(mocker: MockerFixture) -> SimpleNamespace:
    now = SimpleNamespace(us=1_000_000)
    mocker.patch.object(idle, "time", SimpleNamespace(ticks_us=lambda: now.us))
    return now


@pytest.fixture
def line(clock: SimpleNamespace, chip_modules: None) -> Any:
    from heartwire_firmware import hw_rp2

    made = hw_rp2.UartLine(0, 0x40034000, None, None, 115200)
    made.uart = Uart(clock)
    made.uart.on_idle = made._fell_idle
    return made


def read(line: Any, limit: int = 48) -> int:
    count: int = line.read_into(bytearray(48), limit)
    return count


def test_bytes_count_from_when_the_line_fell_idle(line: Any, clock: SimpleNamespace) -> None:
    line.uart.arrive(b"heartbeat")
    line.uart.idle()
    idle_us = clock.us
    clock.us += 2500
    assert read(line) == 9
    assert line.idle.us == idle_us


def test_bytes_that_were_seen_before_the_line_fell_idle_count_from_then(line: Any, clock: SimpleNamespace) -> None:
    line.uart.arrive(b"heartbeat")
    assert line.waiting() == 9
    seen_us = clock.us
    line.uart.idle()
    clock.us += 2500
    assert read(line) == 9
    assert line.idle.us == seen_us


def test_seeing_bytes_again_moves_nothing(line: Any, clock: SimpleNamespace) -> None:
    line.uart.arrive(b"heartbeat")
    line.uart.idle()
    idle_us = clock.us
    clock.us += 1000
    line.waiting()
    read(line)
    assert line.idle.us == idle_us


@pytest.mark.parametrize("seen", [False, True])
def test_bytes_whose_end_came_later_have_no_known_time(line: Any, clock: SimpleNamespace, seen: bool) -> None:
    line.uart.arrive(b"heart")
    if seen:
        line.waiting()
    line.uart.idle()
    line.uart.arrive(b"beat")
    assert read(line) == 9
    assert line.idle.us == -1


def test_bytes_of_which_some_stay_have_no_known_time(line: Any, clock: SimpleNamespace) -> None:
    line.uart.arrive(b"heartbeat")
    line.uart.idle()
    assert read(line, 5) == 5
    assert line.idle.us == -1
    # As many again are others: what was noted was of those that are read.
    line.uart.arrive(b"beats")
    assert read(line) == 9
    assert line.idle.us == -1


def test_nothing_waits_on_a_line_that_is_silent(line: Any) -> None:
    assert line.waiting() == read(line) == 0


class Interrupt:
    """A hard interrupt as MicroPython has it (shared/runtime/mpirq.c): a handler that raises is never called again."""

    def __init__(self) -> None:
        self._handler: Any = None
        self._trigger = 0

    def irq(self, handler: Any, trigger: int, hard: bool) -> Interrupt:
        assert hard
        self._handler, self._trigger = handler, trigger
        return self

    def trigger(self) -> int:
        return self._trigger

    def fall_idle(self) -> None:
        try:
            if self._handler is not None:
                self._handler(self)
        except ArithmeticError:
            self._handler, self._trigger = None, 0

    def any(self) -> int:
        return 9


@pytest.fixture(params=["uart", "pio"])
def armed(request: pytest.FixtureRequest, chip_modules: None, mocker: MockerFixture) -> tuple[Any, Interrupt]:
    """A line on the chip, and its interrupt."""
    from heartwire_firmware import hw_pio, hw_rp2

    source = Interrupt()
    module: Any = hw_pio if request.param == "pio" else hw_rp2
    mocker.patch.object(module.sys, "platform", "rp2")
    if request.param == "pio":
        mocker.patch.object(module, "rp2").PIO = mocker.Mock(return_value=source, IRQ_SM1=0x200)
        mocker.patch.object(module.uctypes, "addressof", return_value=0x20000000)
        return module.PioLine(mocker.Mock(), mocker.Mock(), 115200), source
    mocker.patch.object(module, "machine").UART = mocker.Mock(return_value=source, IRQ_RXIDLE=0x40)
    return module.UartLine(0, 0x40034000, None, None, 115200), source


def test_an_interrupt_that_was_lost_is_armed_anew(
    armed: tuple[Any, Interrupt], clock: SimpleNamespace, mocker: MockerFixture
) -> None:
    line, source = armed
    stamped = mocker.spy(line.idle, "note")
    source.fall_idle()
    assert stamped.call_count == 1 and line.idle.rearm() == 0
    for losses in range(1, idle.REARMS_MAX + 1):
        mocker.patch.object(line.idle, "note", side_effect=ZeroDivisionError)
        source.fall_idle()
        assert line.idle.rearm() == losses
        assert line.idle.rearm() == 0
        stamped = mocker.patch.object(line.idle, "note")
        source.fall_idle()
        assert stamped.call_count == 1, "it is called again"


def test_an_interrupt_that_is_lost_again_and_again_stays_so(
    armed: tuple[Any, Interrupt], mocker: MockerFixture
) -> None:
    # Each loss is printed: with a host that reads nothing the loop would stand for half a second at each heartbeat.
    line, source = armed
    raises = mocker.patch.object(line.idle, "note", side_effect=ZeroDivisionError)
    for _ in range(3 * idle.REARMS_MAX):
        source.fall_idle()
        line.idle.rearm()
    assert raises.call_count == idle.REARMS_MAX + 1


def test_a_line_without_an_interrupt_has_lost_none() -> None:
    assert idle.IdleStamp().rearm() == 0
