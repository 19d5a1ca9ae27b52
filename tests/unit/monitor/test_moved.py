"""The store from before the monitor had a directory of its own is taken along once, whole."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from heartwire.errors import PortBusy, StorageProblem
from heartwire.monitor import moved, run, settings
from heartwire.monitor.store import Store
from heartwire_protocol import events
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World
from tests.unit.monitor.test_collect import sequences


@pytest.fixture
def places(tmp_path: Path, board: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A store where it was before, with a receipt; and where it belongs now."""
    before, now = tmp_path / "heartwire" / "monitor" / "monitor.db", tmp_path / "heartwire-monitor" / "monitor.db"
    with Store.open(before) as store:
        board.log(events.BOOT)
        World(store, board, []).collect()
    (before.parent / "spool").mkdir()
    (before.parent / "spool" / "uid.1").write_text("{}\n")
    monkeypatch.setattr(run, "STORE_BEFORE", str(before))
    monkeypatch.setattr(run, "STORE", str(now))
    return before, now


def test_it_is_taken_along_once_with_its_receipts(places: tuple[Path, Path]) -> None:
    before, now = places
    for _ in range(2):
        with run.open_store(settings.MonitorSettings(store=str(now))) as store:
            assert sequences(store) == [1]
    assert (now.parent / "spool" / "uid.1").read_text() == "{}\n"
    assert not before.exists() and before.with_name("monitor.db.moved").exists()


def test_a_store_that_the_settings_name_stays(places: tuple[Path, Path]) -> None:
    before, now = places
    with run.open_store(settings.MonitorSettings(store=str(before))) as store:
        assert sequences(store) == [1]
    assert not now.exists()


def test_nothing_is_moved_from_under_a_monitor_or_over_a_new_store(places: tuple[Path, Path]) -> None:
    before, now = places
    with Store.open(before) as store:
        store.claim()
        with pytest.raises(PortBusy):
            moved.take_along(before, now)
    with Store.open(now):
        pass
    assert not moved.take_along(before, now)
    assert before.exists()


def test_a_move_that_breaks_off_leaves_the_old_one_whole(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = places

    def full(_before: Path, beside: Path) -> None:
        beside.write_bytes(b"a part of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(moved, "_copy", full)
        with pytest.raises(StorageProblem, match="No space left"):
            moved.take_along(before, now)
    assert not now.exists()
    assert moved.take_along(before, now)
    with Store.open(now) as store:
        assert sequences(store) == [1]


def test_it_is_whole_also_where_somebody_reads_the_old_one_meanwhile(
    places: tuple[Path, Path], board: FakeBoard
) -> None:
    before, now = places
    with contextlib.closing(sqlite3.connect(before, isolation_level=None)) as reader:
        with Store.open(before) as store:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM event").fetchone()
            board.log(events.BOOT)
            World(store, board, []).collect()
        assert moved.take_along(before, now)
        with Store.open(now) as store:
            assert sequences(store) == [1, 2]
    with contextlib.closing(sqlite3.connect(now)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not [file.name for file in before.parent.iterdir() if file.name in ("monitor.db", "monitor.db-wal")]
