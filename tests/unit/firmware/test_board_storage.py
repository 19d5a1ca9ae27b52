"""A flash that takes nothing is told at once: alarm, status and journal, and not by the failover that it prevents."""

from __future__ import annotations

import pytest

from heartwire_firmware import lights, storage
from heartwire_protocol import events
from tests.fakes.bench import Bench


@pytest.fixture
def bench() -> Bench:
    """A rack in auto mode whose records are all written."""
    bench = Bench()
    bench.run(3000)
    bench.settle()
    bench.run(5000)
    assert not is_alarm(bench)
    return bench


def is_alarm(bench: Bench) -> bool:
    assert bench.hardware.pins.levels["GUARDING"] == 1 - lights.is_alarm(bench.board.state, bench.board.facts)
    return lights.is_alarm(bench.board.state, bench.board.facts)


def told(bench: Bench) -> list[int]:
    """Return the events about flash that happened, whether they are durable or not."""
    return [row[1] for row in bench.happened if row[1] in (events.STORAGE_BAD, events.STORAGE_GOOD)]


def refuse(bench: Bench, *parts: str) -> None:
    """Let these operations of the file system fail from now on."""
    for part in parts:
        setattr(bench.files, part, lambda *_: False)


def heal(bench: Bench, *parts: str) -> None:
    """Let them work again."""
    for part in parts:
        delattr(bench.files, part)


@pytest.mark.parametrize("parts", [("write",), ("begin",), ("put",), ("end",), ("write", "begin", "put", "end")])
def test_the_first_failed_write_is_alarm_status_and_event(bench: Bench, parts: tuple[str, ...]) -> None:
    assert bench.ask(op="status")["storage_bad"] == 0
    refuse(bench, *parts)
    bench.ask(op="maintenance", node="b", seconds=60)  # a record and the state
    bench.run(3000)
    assert is_alarm(bench) and lights.PATTERNS[lights.pattern_of(bench.board.state, bench.board.facts)][0] == "degraded"
    assert bench.ask(op="status")["storage_bad"] == 1 and bench.ask(op="status")["alarm"] == 1
    assert told(bench) == [events.STORAGE_BAD]
    bench.run(30000)
    assert told(bench) == [events.STORAGE_BAD], "told once"
    heal(bench, *parts)
    bench.run(storage.GOOD_MS + 3000)
    assert not is_alarm(bench) and bench.ask(op="status")["storage_bad"] == 0
    bench.run(3000)
    assert bench.has(events.STORAGE_BAD) and bench.has(events.STORAGE_GOOD), "both are durable"


def test_a_quiet_rack_is_told_as_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PROBE_MS", 20000)
    bench.run(30000)
    assert told(bench) == [] and not is_alarm(bench)
    bench.files.full = True
    bench.run(23000)
    assert is_alarm(bench)
    assert told(bench) == [events.STORAGE_BAD]


def test_settings_that_cannot_be_stored_are_told_as_well(bench: Bench) -> None:
    bench.files.full = True
    bench.ask(op="settings_begin", length=0, crc=0xFFFF)
    assert bench.ask(op="settings_apply")["error"] == "storage"
    bench.run(3000)
    assert is_alarm(bench) and told(bench) == [events.STORAGE_BAD]


def test_flash_that_takes_every_other_write_does_not_flood_the_journal(bench: Bench) -> None:
    tries = 0
    write = bench.files.write

    def takes_every_other(name: str, data: bytes) -> bool:
        nonlocal tries
        tries += 1
        return tries % 2 == 0 and write(name, data)

    bench.files.write = takes_every_other  # type: ignore[method-assign]
    for _ in range(30):
        bench.board.durable.waiting = True
        bench.run(2000)
    assert tries >= 20
    assert told(bench) == [events.STORAGE_BAD] and is_alarm(bench)


def test_it_is_told_after_a_start_as_well(bench: Bench) -> None:
    bench.files.full = True
    bench.reset()
    bench.run(4000)
    assert is_alarm(bench)
