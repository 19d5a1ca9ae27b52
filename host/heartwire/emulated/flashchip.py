"""The board's flash chip as slow and as fragile as a real one: busy times, a list of operations, half-done contents.

The emulator applies an erase or a page program in one go and in no time. Here each keeps the chip busy for its time,
during which the guest has its interrupts off and cannot run from flash; a power cut in that time leaves an erase half
done or a page half written. Made by chip.py; it never changes what the guest asked for.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECTOR = 4096
PAGE = 256
_STATUS, _ERASE, _BLOCK_ERASE, _PROGRAM, _UNIQUE_ID = 0x05, 0x20, 0xD8, 0x02, 0x4B
# While the chip is busy the guest only asks it whether it still is: time passes in steps of this size.
_STEP_NS = 20_000


@dataclass(frozen=True)
class Times:
    """How long operations take. Winbond W25Q16JV datasheet 9.6: sector erase, 64 KiB block erase, page program."""

    sector_ns: int = 45_000_000
    block_ns: int = 150_000_000
    page_ns: int = 400_000


TYPICAL = Times()
MAXIMUM = Times(400_000_000, 2_000_000_000, 3_000_000)
INSTANT = Times(0, 0, 0)


@dataclass(frozen=True)
class Operation:
    """One erase or program: from `start_ns` to `end_ns`, at `address`, and what stood there before."""

    kind: str
    start_ns: float
    end_ns: float
    address: int
    before: bytes
    data: bytes


class FlashChip:
    """The flash of `mcu`, of `size` bytes; `times` may be changed at any moment. `on_operation(operation)` is called as
    one begins.
    """

    def __init__(self, mcu: Any, times: Times, unique_id: bytes, size: int) -> None:
        self._mcu = mcu
        self._size = size
        self._clock = mcu.clock
        self._ssi = mcu.ssi
        self.times = times
        self.unique_id = unique_id
        self.count = 0
        self.last: Operation | None = None
        self.on_operation: Callable[[Operation], None] | None = None
        self._apply, self._shift = self._ssi._apply_command, self._ssi._shift_byte
        self._ssi._apply_command = self._applied
        self._ssi._shift_byte = self._shifted

    def _applied(self) -> None:
        command = bytes(self._ssi._tx_buffer)
        operation = self._begun(command) if self._ssi._write_enabled and len(command) >= 4 else None
        self._apply()
        if operation is not None:
            self.last = operation
            self.count += 1
            if self.on_operation is not None:
                self.on_operation(operation)

    def _begun(self, command: bytes) -> Operation | None:
        address = int.from_bytes(command[1:4], "big")
        now = self._clock.nanos
        if command[0] in (_ERASE, _BLOCK_ERASE):
            block = command[0] == _BLOCK_ERASE
            length = 16 * SECTOR if block else SECTOR
            address &= -length
            took = self.times.block_ns if block else self.times.sector_ns
            return Operation("erase", now, now + took, address, bytes(self._mcu.flash[address : address + length]), b"")
        if command[0] == _PROGRAM and len(command) > 4:
            before = bytes(self._mcu.flash[address : address + PAGE])
            return Operation("program", now, now + self.times.page_ns, address, before, command[4:])
        return None

    def _shifted(self, byte: int) -> int:
        answer = int(self._shift(byte))
        command = self._ssi._tx_buffer
        if command[0] == _STATUS and len(command) > 1 and self.last is not None:
            left = self.last.end_ns - self._clock.nanos
            if left > 0:
                self._clock.tick(min(_STEP_NS, max(1.0, left)))
                answer |= 1
        elif command[0] == _UNIQUE_ID and 5 < len(command) <= 5 + len(self.unique_id):
            answer = self.unique_id[len(command) - 6]
        return answer

    def contents(self, dice: random.Random | None = None) -> bytes:
        """Return the whole flash as a power cut at this instant leaves it."""
        flash = bytearray(self._mcu.flash[: self._size])
        operation = self.last
        if operation is None or self._clock.nanos >= operation.end_ns:
            return bytes(flash)
        dice = dice or random.Random(self.count)  # noqa: S311 - no secret
        at = operation.address
        if operation.kind == "erase":
            # Some bits have reached 1 already.
            noise = dice.randbytes(len(operation.before))
            flash[at : at + len(noise)] = bytes(one | other for one, other in zip(operation.before, noise, strict=True))
        else:
            done = dice.randrange(len(operation.data) + 1)
            for index, old in enumerate(operation.before[: len(operation.data)]):
                flash[at + index] = old & (operation.data[index] if index < done else 0xFF)
        return bytes(flash)
