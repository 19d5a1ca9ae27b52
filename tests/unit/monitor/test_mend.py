"""A damaged store: said, set aside, what can be read kept, and filled again from the boards without a word twice."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Table

from heartwire.cli.main import main
from heartwire.errors import PortBusy, StorageProblem
from heartwire.monitor import mend
from heartwire.monitor.store import Store
from heartwire_protocol import events, reasons
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel
from tests.unit.monitor.test_collect import sequences

MANY = 400


def filled(path: Path, board: FakeBoard) -> None:
    """Make a store of many records, of which a failure was told."""
    with Store.open(path) as store:
        board.log(events.BOOT)
        world = World(store, board, [channel(severity="warning")])
        world.collect()
        for _ in range(MANY):
            board.log(events.STATE_REPORTED, 0)
        board.log(events.DEAD, 0, reasons.DEAD, a=2000)
        world.collect()
        assert len(world.post(60)) == 1


def tear(path: Path, first: float, last: float) -> None:
    """Write rubbish over a part of the file."""
    data = bytearray(path.read_bytes())
    begin, end = int(len(data) * first), int(len(data) * last)
    data[begin:end] = b"\xa5" * (end - begin)
    path.write_bytes(data)


@pytest.mark.parametrize(("first", "last"), [(0.5, 0.7), (0.3, 0.35), (0.05, 0.1), (0.0, 0.02), (0.9, 1.0), (0.0, 1.0)])
def test_a_torn_store_is_mended_and_filled_from_the_board(
    tmp_path: Path, board: FakeBoard, first: float, last: float
) -> None:
    path = tmp_path / "monitor.db"
    filled(path, board)
    tear(path, first, last)
    assert mend.damage(path)
    done = mend.mend(path)
    assert done.aside.is_file()
    assert mend.damage(path) == ""
    with Store.open(path) as store:
        world = World(store, board, [channel(severity="warning")])
        world.collect()
        assert sequences(store) == list(range(1, MANY + 3)), "the board has them all"
        assert world.post(60) == [], "what was told once is told again"
        board.log(events.DEAD, 1, reasons.DEAD, a=2000)
        world.collect()
        assert len(world.post(60)) == 1, "what is new is not told"


def test_what_happened_while_the_store_was_damaged_is_told(tmp_path: Path, board: FakeBoard) -> None:
    path = tmp_path / "monitor.db"
    filled(path, board)
    tear(path, 0.6, 0.65)
    board.log(events.DEAD, 1, reasons.DEAD, a=2000)
    assert mend.mend(path).kept["board"] == 1
    with Store.open(path) as store:
        world = World(store, board, [channel(severity="warning")])
        world.collect()
        assert len(world.post(60)) == 1


def test_nothing_is_done_while_a_monitor_runs(tmp_path: Path, board: FakeBoard) -> None:
    path = tmp_path / "monitor.db"
    filled(path, board)
    with Store.open(path) as store:
        store.claim()
        with pytest.raises(PortBusy):
            mend.mend(path)
    assert mend.damage(path) == ""
    assert [file.name for file in tmp_path.glob("*damaged*")] == []


def test_the_command_says_what_it_kept_and_leaves_a_whole_store_alone(
    tmp_path: Path, board: FakeBoard, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "monitor.db"
    config = tmp_path / "monitor.toml"
    config.write_text(f'store = "{path}"\n[[board]]\nname = "rack-1"\nport = "/dev/x"\n')
    filled(path, board)
    command = ["monitor", "mend", "--config", str(config)]
    assert main(command) == 2
    assert "finds nothing wrong" in capsys.readouterr().err
    tear(path, 0.0, 0.02)
    with pytest.raises(StorageProblem) as found, Store.open(path):
        pass
    assert "heartwire monitor mend" in found.value.next_step
    assert main(command) == 0
    assert "the boards fill the new one" in capsys.readouterr().out
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("end", [StorageProblem("database or disk is full"), KeyboardInterrupt(), OSError(28, "full")])
def test_a_mend_that_breaks_off_leaves_the_damaged_store_where_it_was(
    tmp_path: Path, board: FakeBoard, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    path = tmp_path / "monitor.db"
    filled(path, board)
    tear(path, 0.6, 0.65)
    keep = mend._keep
    calls: list[int] = []

    def full(store: Store, table: Table, rows: list[dict[str, object]]) -> None:
        calls.append(len(rows))
        if len(calls) > 3:
            raise end
        keep(store, table, rows)

    with monkeypatch.context() as broken:
        broken.setattr(mend, "_keep", full)
        with pytest.raises(KeyboardInterrupt if isinstance(end, KeyboardInterrupt) else StorageProblem):
            mend.mend(path)
    assert mend.damage(path), "it counts as mended, and nobody mends it again"
    assert not [file.name for file in tmp_path.iterdir() if "damaged" in file.name or "new" in file.name]
    assert mend.mend(path).kept["board"] == 1


def test_a_store_of_any_name_is_mended(tmp_path: Path, board: FakeBoard) -> None:
    path = tmp_path / "50%20 of #1?.db"
    filled(path, board)
    tear(path, 0.6, 0.65)
    assert mend.damage(path)
    assert mend.mend(path).kept["event"]
    assert mend.damage(path) == ""
