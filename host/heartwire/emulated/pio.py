"""PIO 0 in its own time: each state machine executes each instruction at its own cycle, whether the CPU sleeps or not.

The emulator steps PIO along with the CPU's instructions, so a sleeping CPU, or one that waits for flash, makes it late
and the third line garbled. Here the emulator's own PIO and state machines stay as they are; only who calls them when is
replaced: an alarm at the cycle the next instruction is due. Nothing runs while all machines wait. Made by chip.py.
"""

from __future__ import annotations

from typing import Any

from heartwire.flash.boards import RP2040

BASE = 0x50200  # key of PIO 0 in the emulator's table of peripherals
CYCLE_NS = 1e9 / RP2040.clock_hz
_NEVER = 1 << 62
_SHIFTCTRL = tuple(0x0D0 + 0x18 * machine for machine in range(4))
_JOIN_TX, _JOIN_RX = 1 << 30, 1 << 31
_DEPTH = 4
_WAIT_FOR_PIN = 1


class Blocks(tuple[Any, ...]):
    """The emulator's PIO blocks, by index; its main loop, which iterates after each instruction, finds none to step.

    An empty tuple underneath, because an `__iter__` in Python would cost as much as the instruction.
    """

    blocks: list[Any]

    def __getitem__(self, index: Any) -> Any:
        return self.blocks[index]


class PacedPio:
    """PIO 0 of `mcu`, as a peripheral on its bus."""

    def __init__(self, mcu: Any) -> None:
        self._clock = mcu.clock
        self._real = mcu.pio[0]
        self._fifo = type(self._real.machines[0].tx_fifo)
        self._cycle = self._now()
        self._alarm = self._clock.create_alarm(self._due)
        mcu.peripherals[BASE] = self
        blocks = Blocks()
        blocks.blocks = list(mcu.pio)
        mcu.pio = blocks

    @property
    def machines(self) -> Any:
        """The emulator's state machines."""
        return self._real.machines

    def _now(self) -> int:
        return int(self._clock.nanos / CYCLE_NS)

    def _catch_up(self) -> None:
        now = self._now()
        passed = now - self._cycle
        self._cycle = now
        real = self._real
        if real.stopped:
            return
        real.advance(max(0, passed))
        while real.next_due_fp <= real.cycle_fp:
            real.advance(0)

    def _plan(self) -> None:
        due = self._real.next_due_fp
        if self._real.stopped or due >= _NEVER:
            self._alarm.cancel()
        else:
            # Due times are in 1/256 of a cycle.
            cycles = max(1, -(-(due - self._real.cycle_fp) // 256))
            self._alarm.schedule(max(1.0, (self._cycle + cycles) * CYCLE_NS - self._clock.nanos + 0.5))

    def _due(self) -> None:
        self._catch_up()
        self._plan()

    def set_input(self, pin: Any, level: int) -> None:
        """Change the level of an input at this very cycle, and wake the machine that waits for it."""
        self._catch_up()
        pin.set_input_value(bool(level))
        for machine in self._real.machines:
            if machine.enabled and machine.waiting and machine.wait_type == _WAIT_FOR_PIN:
                machine.check_wait()
        self._plan()

    # The bus.

    def read_uint32(self, offset: int) -> int:
        """Read a register."""
        self._catch_up()
        value = int(self._real.read_uint32(offset))
        self._plan()
        return value

    def write_uint32_atomic(self, offset: int, value: int, kind: int) -> None:
        """Write a register, plain or through an atomic alias."""
        self._catch_up()
        self._real.write_uint32_atomic(offset, value, kind)
        if offset in _SHIFTCTRL:
            self._join(_SHIFTCTRL.index(offset))
        self._plan()

    def _join(self, index: int) -> None:
        # The emulator does not know joined FIFOs: 8 entries for one direction.
        machine = self._real.machines[index]
        for bit, name in ((_JOIN_TX, "tx_fifo"), (_JOIN_RX, "rx_fifo")):
            depth = 2 * _DEPTH if machine.shift_ctrl & bit else _DEPTH
            if getattr(machine, name).size != depth:
                setattr(machine, name, self._fifo(depth))

    def reset(self) -> None:
        """Go back to the state after a reset."""
        self._alarm.cancel()
        self._real.reset()
        for machine in self._real.machines:
            machine.tx_fifo, machine.rx_fifo = self._fifo(_DEPTH), self._fifo(_DEPTH)
