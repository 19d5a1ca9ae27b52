"""Whether flash comes back from a write: what a scratch register remembers of it over the watchdog's bites."""

from __future__ import annotations

import builtins
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

WRITING = 0x40058018


@pytest.fixture
def registers(chip_modules: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """The chip's registers; the board's files lie in a folder of the test."""
    from heartwire_firmware import hw_rp2

    found: dict[int, int] = defaultdict(int)
    monkeypatch.setattr(hw_rp2, "machine", SimpleNamespace(mem32=found))
    clock = SimpleNamespace(ticks_ms=lambda: found[0], ticks_diff=lambda later, before: later - before)
    monkeypatch.setattr(hw_rp2, "time", clock)
    monkeypatch.setattr(hw_rp2, "_FOLDER", str(tmp_path / "data"))
    return found


def files() -> Any:
    from heartwire_firmware import hw_rp2

    return hw_rp2.FlashFiles(WRITING)


def test_only_a_write_under_way_is_noted(registers: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    store = files()
    seen = []
    inner = builtins.open

    def opened(name: Any, mode: str = "r") -> Any:
        seen.append((mode, registers[WRITING]))
        return inner(name, mode)

    monkeypatch.setattr(builtins, "open", opened)
    assert store.write("a", b"1") and registers[WRITING] == 0
    assert store.begin("b") and store.put(b"2") and store.end() and registers[WRITING] == 0
    assert store.read("b") == b"2" and store.remove("a") and registers[WRITING] == 0
    assert seen == [("wb", 1), ("ab", 1), ("rb", 0)]


def test_after_two_bites_in_a_row_nothing_is_written_and_all_is_read(registers: dict[int, int]) -> None:
    assert files().write("a", b"1")
    for bites in (1, 2):
        registers[WRITING] |= 1  # as the watchdog leaves it
        store = files()
        assert registers[WRITING] == bites << 1
    assert not (store.write("a", b"2") or store.begin("b") or store.put(b"3") or store.end() or store.remove("a"))
    assert registers[WRITING] == 2 << 1 and store.read("a") == b"1"
    # A requested restart is no bite, and makes flash no better.
    assert not files().write("a", b"2")


def test_a_write_that_holds_ends_the_row_and_a_part_of_one_does_not(registers: dict[int, int]) -> None:
    registers[WRITING] = 1
    store = files()
    assert store.begin("b") and store.put(b"3")
    assert registers[WRITING] == 1 << 1
    assert store.end() and registers[WRITING] == 0


def test_an_error_of_any_kind_is_no_bite(registers: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    store = files()

    def fails(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(builtins, "open", fails)
    with pytest.raises(MemoryError):
        store.write("a", b"1")
    assert registers[WRITING] == 0


@pytest.mark.parametrize(("took_ms", "stuck"), [(100, False), (1200, True)])
def test_failures_that_take_long_count_as_bites(
    registers: dict[int, int], monkeypatch: pytest.MonkeyPatch, took_ms: int, stuck: bool
) -> None:
    store = files()
    inner = builtins.open

    def fails(*_: Any) -> Any:
        registers[0] += took_ms
        raise OSError(28)

    monkeypatch.setattr(builtins, "open", fails)
    assert not store.write("a", b"1") and not store.begin("b")
    monkeypatch.setattr(builtins, "open", inner)
    assert store.write("a", b"1") is not stuck
