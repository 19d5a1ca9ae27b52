"""How often the board's file system erases a block for what the firmware writes: counted on littlefs itself, with the
geometry of the board's. An erase stops the board, at worst for 400 ms, so a pass of the loop shall not hold two.
"""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import IO, Any

import pytest

from heartwire.virtual.image import BLOCK_BYTES, BLOCKS, DISK_VERSION, PROGRAM_BYTES
from heartwire_firmware import durable, journal, policy_state, ports
from heartwire_protocol import events, settings_rules

littlefs = pytest.importorskip("littlefs")
# MicroPython 1.24, extmod/vfs_lfsx.c: the cache is four times what is programmed at once; the look-ahead is 32 bytes.
CACHE_BYTES = 4 * PROGRAM_BYTES
READ_BYTES = LOOK_AHEAD_BYTES = 32
BLOCK_CYCLES = 100
WRITES = 1500


class LittleFsFiles(ports.Files):
    """The board's files on a littlefs in memory that counts its erases."""

    def __init__(self) -> None:
        self.erases = 0
        context = littlefs.UserContext(BLOCK_BYTES * BLOCKS)
        erase = context.erase

        def counted(config: Any, block: int) -> int:
            self.erases += 1
            return int(erase(config, block))

        context.erase = counted
        self._system = littlefs.LittleFS(
            context=context, block_size=BLOCK_BYTES, block_count=BLOCKS, prog_size=PROGRAM_BYTES, read_size=READ_BYTES,
            cache_size=CACHE_BYTES, lookahead_size=LOOK_AHEAD_BYTES, block_cycles=BLOCK_CYCLES,
            disk_version=DISK_VERSION,
        )  # fmt: skip
        self._open: IO[bytes]

    def read(self, name: str) -> bytes | None:
        if name not in self.names():
            return None
        with self._system.open(name, "rb") as file:
            return bytes(file.read())

    def write(self, name: str, data: bytes) -> bool:
        with self._system.open(name, "wb") as file:
            file.write(data)
        return True

    def begin(self, name: str) -> bool:
        self._open = self._system.open(name, "ab" if name in self.names() else "wb", buffering=0)
        return True

    def put(self, data: bytes | memoryview) -> bool:
        return self._open.write(bytes(data)) == len(data)

    def end(self) -> bool:
        self._open.close()
        return True

    def remove(self, name: str) -> bool:
        self._system.remove(name)
        return True

    def names(self) -> list[str]:
        return list(self._system.listdir("/"))


def test_hardly_any_part_of_a_write_erases_twice() -> None:
    dice = random.Random(1)
    files = LittleFsFiles()
    found = journal.Journal(files, SimpleNamespace(day=0, ms=0, wall_day=0, wall_ms=0))
    found.load()
    state, kept = policy_state.State(), durable.Durable(files)

    def write(parts: list[int], whole: list[int]) -> None:
        ring = events.LATE if dice.random() < 0.4 else events.EVIDENCE
        for _ in range(dice.randint(1, 5)):
            found.append(ring, 0)
        before = files.erases
        while found.waiting:
            since = files.erases
            assert found.step()
            parts.append(files.erases - since)
        whole.append(files.erases - before)
        if dice.random() < 0.1:
            state.epoch += 1
            since = files.erases
            kept.save(state)
            parts.append(files.erases - since)

    # A folder that grows is split into more blocks, which takes two erases now and then: three times in a board's life.
    young: list[int] = []
    while min(len(ring.firsts) - full for ring, full in zip(found.rings, journal.SEGMENTS, strict=True)) < 0:
        write(young, [])
    assert sum(count > 1 for count in young) <= 3
    parts: list[int] = []
    whole: list[int] = []
    for _ in range(WRITES):
        write(parts, whole)
    # Two are left to the moments when the file system moves a directory: 2 of 43,000 parts in a longer run.
    assert sum(count > 1 for count in parts) <= 1
    # What the rule between late_ms and dead_ms counts on, for what is under way and then for the intent.
    assert 2 * max(whole) == settings_rules.INTENT_ERASES
