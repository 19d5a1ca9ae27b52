"""Fake hardware for the firmware's stages: lines, USB, pins, files, chip and ticks in memory, in virtual time.

Fulfils heartwire_firmware.ports. Time moves only when the test moves it. Flash can lose power at write n, fill up or
turn read-only. Used by the simulator and by tests; never by a board.
"""

from __future__ import annotations

import random
from collections import deque

from heartwire.flash.boards import PICO
from heartwire_firmware import board, ports
from heartwire_firmware.idle import IdleStamp
from heartwire_protocol import reasons


class PowerCut(BaseException):
    """The power went away in the middle of a flash operation."""


class FakeLine(ports.Line):
    """A line in memory: `arrive` is what the node sends, `sent` what the board sends."""

    def __init__(self) -> None:
        self.incoming: deque[int] = deque()
        self.sent = bytearray()
        self.baud = 0
        self.errors = 0
        self.overruns = 0
        self.idle = IdleStamp()
        self.writes = 0

    def arrive(self, data: bytes) -> None:
        self.incoming.extend(data)

    def take_sent(self) -> bytes:
        data = bytes(self.sent)
        self.sent.clear()
        return data

    def read_into(self, buffer: bytearray, limit: int) -> int:
        count = min(limit, len(self.incoming))
        for index in range(count):
            buffer[index] = self.incoming.popleft()
        return count

    def write(self, buffer: memoryview | bytes) -> int:
        self.sent += bytes(buffer)
        self.writes += 1
        return len(buffer)

    def set_baud(self, baud: int) -> None:
        self.baud = baud

    def take_errors(self) -> int:
        errors, self.errors = self.errors, 0
        return errors

    def take_overruns(self) -> int:
        overruns, self.overruns = self.overruns, 0
        return overruns


class FakeUsb(ports.Usb):
    """The host link in memory; with `stalled` the host holds the port open and reads nothing."""

    def __init__(self) -> None:
        self.incoming: deque[int] = deque()
        self.sent = bytearray()
        self.stalled = False

    def read_into(self, buffer: bytearray, limit: int) -> int:
        count = min(limit, len(self.incoming))
        for index in range(count):
            buffer[index] = self.incoming.popleft()
        return count

    def write(self, buffer: memoryview, start: int, end: int) -> int:
        if self.stalled:
            return 0
        self.sent += bytes(buffer[start:end])
        return end - start


class FakePins(ports.Pins):
    """Pins by signal; `edges` is the log of output changes as (ms, signal, asserted)."""

    def __init__(self, ticks: FakeTicks) -> None:
        self._ticks = ticks
        self.levels = {row[0]: 0 for row in board.PINS}
        self.edges: list[tuple[int, str, int]] = []

    def put(self, signal: str, asserted: int) -> None:
        if self.levels[signal] != asserted:
            self.levels[signal] = asserted
            self.edges.append((self._ticks.now, signal, asserted))

    def get(self, signal: str) -> int:
        return self.levels[signal]


class FakeFiles(ports.Files):
    """A flat file system whose contents outlive a power cut; a write is whole or has not happened.

    `cut_at`: the n-th write from now raises PowerCut; `cut_after` decides whether it still happens. `full` and `torn`
    make writes fail, torn ones after half of an append has landed (a file system without whole writes).
    """

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self.contents = {} if contents is None else contents
        self.operations = 0
        self.cut_at: int | None = None
        self.cut_after = False
        self.full = False
        self.torn = False
        self._open = ""
        self._added = b""

    def _operate(self, apply: dict[str, bytes | None]) -> bool:
        if self.full:
            return False
        cut = self.cut_at is not None and self.operations == self.cut_at
        self.operations += 1
        if cut and not self.cut_after:
            raise PowerCut
        for name, data in apply.items():
            if data is None:
                self.contents.pop(name, None)
            else:
                self.contents[name] = data
        if cut:
            raise PowerCut
        return True

    def read(self, name: str) -> bytes | None:
        return self.contents.get(name)

    def read_part(self, name: str, offset: int, buffer: bytearray) -> int:
        part = self.contents.get(name, b"")[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def write(self, name: str, data: bytes) -> bool:
        return self._operate({name: bytes(data)})

    def begin(self, name: str) -> bool:
        self._open, self._added = name, b""
        return name in self.contents or self._operate({name: b""})

    def put(self, data: bytes | memoryview) -> bool:
        self._added += bytes(data)
        return True

    def end(self) -> bool:
        whole = self.contents[self._open] + self._added
        if self.torn:
            self.contents[self._open] = whole[: len(whole) - len(self._added) // 2 - 1]
            return False
        return self._operate({self._open: whole})

    def remove(self, name: str) -> bool:
        return self._operate({name: None})

    def names(self) -> list[str]:
        return list(self.contents)


class FakeChip(ports.Chip):
    """Scratch registers that outlive resets, seeded random numbers, and a watchdog that only counts."""

    def __init__(self, scratch: dict[int, int] | None = None, seed: int = 1) -> None:
        self.scratches = {} if scratch is None else scratch
        self.reset_cause = reasons.WATCHDOG if scratch else reasons.POWER_ON
        self._random = random.Random(seed)  # noqa: S311 - challenges of a test, not secrets
        self.fed = 0
        self.collected = 0

    def start_watchdog(self, timeout_ms: int) -> None:
        pass

    def feed(self) -> None:
        self.fed += 1

    def platform(self) -> tuple[str, str, str]:
        return "1.24.0", PICO.machine, ""

    def crash(self) -> str:
        return ""

    def scratch(self, index: int) -> int:
        return self.scratches.get(index, 0)

    def put_scratch(self, index: int, value: int) -> None:
        if not 0 <= value < 1 << 30:
            raise AssertionError("a bigger value allocates on the board")
        self.scratches[index] = value

    def random_into(self, buffer: bytearray) -> None:
        buffer[:] = self._random.randbytes(len(buffer))

    def unique_id(self) -> bytes:
        return b"FAKE0001"

    def restart(self) -> None:
        pass

    def collect(self) -> None:
        self.collected += 1
        self.free = 100000


class FakeTicks:
    """A wrapping millisecond counter like MicroPython's (2^30), moved by the test."""

    PERIOD = 1 << 30

    def __init__(self, start: int = 0) -> None:
        self.now = 0
        self._start = start

    def ticks_ms(self) -> int:
        return (self._start + self.now) % self.PERIOD

    def ticks_us(self) -> int:
        return (self._start + self.now) * 1000 % self.PERIOD

    def ticks_add(self, ticks: int, ms: int) -> int:
        return (ticks + ms) % self.PERIOD

    def ticks_diff(self, later: int, earlier: int) -> int:
        half = self.PERIOD // 2
        return (later - earlier + half) % self.PERIOD - half


class FakeHardware:
    """Everything main.py would make on a board; `files` and `scratch` may come from an earlier life."""

    def __init__(
        self, files: FakeFiles | None = None, scratch: dict[int, int] | None = None, start: int = 0, seed: int = 1
    ) -> None:
        self.ticks = FakeTicks(start)
        self.ticks_ms = self.ticks.ticks_ms
        self.ticks_us = self.ticks.ticks_us
        self.ticks_diff = self.ticks.ticks_diff
        self.ticks_add = self.ticks.ticks_add
        self.lead_ms = 0
        self.chip = FakeChip(scratch, seed)
        self.pins = FakePins(self.ticks)
        self.files = FakeFiles() if files is None else files
        self.usb = FakeUsb()
        self.lines = (FakeLine(), FakeLine(), FakeLine())
        self._inputs = [row[0] for row in board.PINS if row[2] == "IN"]
        self._seen: list[int] = []

    def activity(self) -> int:
        bits = 0
        for node, line in enumerate(self.lines):
            if line.incoming:
                bits |= 1 << node
        if self.usb.incoming:
            bits |= ports.Activity.USB
        seen = [self.pins.levels[name] for name in self._inputs]
        if seen != self._seen:
            self._seen = seen
            bits |= ports.Activity.INPUTS
        return bits
