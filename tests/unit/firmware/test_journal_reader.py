"""Reading the journal: in order, from anywhere, while it grows and rotates, past damage, one file access a call."""

from __future__ import annotations

import random

import pytest

from heartwire_firmware import journal
from heartwire_firmware.clock import Clock
from heartwire_firmware.journal_reader import CHUNK, WAITS, Reader
from heartwire_protocol import events, records
from tests.fakes.hardware import FakeFiles, FakeTicks

DECISION, ROUTINE = events.DEAD, events.STALLED
# A search, the rest of a chunk that was not it, and the ends of both rings.
ACCESSES_MAX = 20


class CountingFiles(FakeFiles):
    """Counts how often a part of a file is read."""

    reads = 0

    def read_part(self, name: str, offset: int, buffer: bytearray) -> int:
        self.reads += 1
        return super().read_part(name, offset, buffer)


def make_journal(files: FakeFiles) -> journal.Journal:
    ticks = FakeTicks()
    made = journal.Journal(files, Clock(ticks.ticks_ms, ticks.ticks_diff))
    made.load()
    return made


def fill(found: journal.Journal, count: int, dice: random.Random) -> None:
    for _ in range(count):
        found.append(DECISION if dice.random() < 0.3 else ROUTINE, 0)
        if dice.random() < 0.4 or found.waiting > 15:
            assert found.flush()
    assert found.flush()


def kept(files: FakeFiles) -> list[int]:
    """Return the sequences of the whole records in flash, in order."""
    found = []
    for name, data in files.contents.items():
        if name[0] in "dr":
            for at in range(0, len(data) - records.LENGTH + 1, records.LENGTH):
                found.append(int.from_bytes(data[at : at + 4], "little"))
    return sorted(found)


def next_of(reader: Reader, files: CountingFiles, after: int) -> tuple[int, bytes]:
    """Step until there is an answer; no call may open more than one file."""
    record = bytearray(records.LENGTH)
    for _ in range(ACCESSES_MAX):
        before = files.reads
        sequence = reader.step(after, record)
        assert files.reads - before <= 1
        if sequence != WAITS:
            return sequence, bytes(record)
    pytest.fail(f"no answer for the record after {after}")


def read_from(reader: Reader, files: CountingFiles, after: int) -> list[int]:
    found: list[int] = []
    while True:
        after, record = next_of(reader, files, after)
        if not after:
            return found
        assert int.from_bytes(record[:4], "little") == after
        found.append(after)


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 95, 96, 97, 600])
def test_reads_every_record_once_and_in_order(count: int) -> None:
    files = CountingFiles()
    found = make_journal(files)
    fill(found, count, random.Random(count))
    assert read_from(Reader(found), files, 0) == list(range(1, count + 1))


def test_a_record_costs_a_fraction_of_an_access() -> None:
    files = CountingFiles()
    found = make_journal(files)
    fill(found, 900, random.Random(1))
    files.reads = 0
    read_from(Reader(found), files, 0)
    assert files.reads < 900 / 4


@pytest.mark.parametrize("seed", range(6))
def test_reads_from_anywhere(seed: int) -> None:
    dice = random.Random(seed)
    files = CountingFiles()
    found = make_journal(files)
    fill(found, 700, dice)
    reader = Reader(found)
    there = kept(files)
    for _ in range(150):
        after = dice.randrange(0, 720)
        expected = [sequence for sequence in there if sequence > after]
        for wanted in [*expected[: dice.randrange(1, 30)], 0][: len(expected) + 1]:
            sequence, _ = next_of(reader, files, after)
            if wanted or not expected:
                assert sequence == wanted
                after = sequence


@pytest.mark.parametrize("seed", range(4))
def test_follows_a_journal_that_grows_and_rotates(seed: int) -> None:
    dice = random.Random(seed)
    files = CountingFiles()
    found = make_journal(files)
    reader = Reader(found)
    after, seen = 0, []
    for _ in range(300):
        fill(found, dice.randrange(0, 25), dice)
        there = kept(files)
        for _ in range(dice.randrange(0, 25)):
            sequence, _ = next_of(reader, files, after)
            assert sequence == next((one for one in there if one > after), 0)
            if not sequence:
                break
            after = sequence
            seen.append(sequence)
    assert seen == sorted(set(seen))
    assert len(there) < found.newest, "it has rotated"


def test_what_is_not_durable_in_both_rings_is_not_shown_yet() -> None:
    files = CountingFiles()
    found = make_journal(files)
    fill(found, 3, random.Random(1))
    reader = Reader(found)
    assert read_from(reader, files, 0) == [1, 2, 3]
    found.append(ROUTINE, 0)
    found.append(DECISION, 0)
    kept_write, found.rings[1].write = found.rings[1].write, lambda *_: journal.FAILED  # type: ignore[method-assign]
    assert not found.flush()
    assert read_from(reader, files, 3) == []
    found.rings[1].write = kept_write  # type: ignore[method-assign]
    assert found.flush()
    assert read_from(reader, files, 3) == [4, 5]


def test_the_end_of_a_segment_that_is_not_durable_yet_is_not_left_behind() -> None:
    files = CountingFiles()
    found = make_journal(files)
    for _ in range(journal.SEGMENT_RECORDS - 1):
        found.append(DECISION, 0)
        assert found.flush()
    reader = Reader(found)
    after = read_from(reader, files, 0)[-1]
    kept_write, found.rings[1].write = found.rings[1].write, lambda *_: journal.FAILED  # type: ignore[method-assign]
    found.append(ROUTINE, 0)
    for _ in range(2):  # the last of one segment, the first of the next
        found.append(DECISION, 0)
        assert not found.flush()
        assert read_from(reader, files, after) == []
    found.rings[1].write = kept_write  # type: ignore[method-assign]
    assert found.flush()
    assert read_from(reader, files, after) == [after + 1, after + 2, after + 3]


@pytest.mark.parametrize("damage", [b"", b"\xff" * 30, b"\x00" * records.LENGTH, b"\xff\xff\xff\x3f" + b"x" * 38])
def test_damage_ends_a_segment_and_hides_nothing_behind_it(damage: bytes) -> None:
    files = CountingFiles()
    found = make_journal(files)
    for _ in range(10):
        found.append(DECISION, 0)
    found.append(ROUTINE, 0)
    assert found.flush()
    name = found.rings[0].name(1)
    files.contents[name] = files.contents[name][: 4 * records.LENGTH] + damage
    again = make_journal(files)
    for _ in range(5):
        again.append(DECISION, 0)
    assert again.flush()
    again.rings[1].firsts.clear()  # rotated away
    there = read_from(Reader(again), files, 0)
    assert there[:4] == [1, 2, 3, 4]
    assert there[-5:] == list(range(again.newest - 4, again.newest + 1))


def test_an_idle_reader_opens_nothing() -> None:
    files = CountingFiles()
    found = make_journal(files)
    fill(found, 50, random.Random(3))
    reader = Reader(found)
    read_from(reader, files, 0)
    files.reads = 0
    for _ in range(20):
        assert next_of(reader, files, 50) == (0, bytes(records.LENGTH))
    assert files.reads == 0
