"""A store is copied whole or not at all, goes on where it was cut, and is then as good as the one it came from."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import sqlalchemy

from heartwire.errors import PortBusy, StorageProblem
from heartwire.monitor import copying, schema
from heartwire.monitor.presence import Presence
from heartwire.monitor.store import COPYING, Store
from heartwire_protocol import events
from tests.fakes.board import FakeBoard
from tests.unit.monitor import stores
from tests.unit.monitor.helpers import World, channel, goes_on
from tests.unit.monitor.test_migrations import rows_of
from tests.unit.monitor.test_reading import heartwire


@pytest.fixture
def old(tmp_path: Path) -> str:
    """Return where the store of an existing user is."""
    path = tmp_path / "old.db"
    stores.make_sqlite(path)
    Store.open(path).close()
    return str(path)


class Cut(Exception):
    """The copy was cut."""


def copy(old: str, new: str, cut_at: int = 10**9) -> copying.Copied:
    """Copy, until the progress was told `cut_at` times."""
    told = 0

    def progress(table: str, done: int, total: int) -> None:
        nonlocal told
        told += 1
        if told == cut_at:
            raise Cut

    with Store.open(old, create=False) as source, Store.open(new, unfinished=True) as target:
        return copying.copy(source, target, progress)


def test_everything_is_there_and_the_numbers_go_on(old: str, place: str, board: FakeBoard) -> None:
    done = copy(old, place)
    assert rows_of(place) == rows_of(old)
    assert done.rows["event"] == 34 and done.fresh == sum(done.rows.values())
    with Store.open(place) as store:
        assert store.noted("mqtt_told") == "3"
        assert store.noted(COPYING) is None
        goes_on(store, board)


@pytest.mark.parametrize("portion", [7, 2000])
def test_cut_anywhere_it_goes_on_and_until_then_it_is_no_store(
    old: str, place: str, portion: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PORTION", portion)
    fresh = 0
    for cut_at in range(1, 30):
        with contextlib.suppress(Cut):
            fresh = copy(old, place, cut_at).fresh
            break
        with pytest.raises(StorageProblem, match="has not come to its end"):
            Store.open(place)
        with pytest.raises(StorageProblem, match="has not come to its end"):
            Store.open(place, create=False)
    else:
        pytest.fail("never done")
    assert rows_of(place) == rows_of(old)
    assert fresh < sum(len(rows) for rows in rows_of(old).values()), "what was there was not copied again"


def test_a_half_copy_of_what_changed_since_is_begun_anew(old: str, place: str, board: FakeBoard) -> None:
    with pytest.raises(Cut):
        copy(old, place, 12)
    with Store.open(old) as store:
        world = World(store, board, [channel()])
        Presence(world.archive, "1" * 32, "room-1", [], lambda: None).step()
        world.outbox.finish(world.outbox.unsent("mail")[0].id, 2, sent=True)
    done = copy(old, place)
    assert done.fresh == sum(done.rows.values())
    assert rows_of(place) == rows_of(old)


def test_a_store_in_use_is_not_written_over(old: str, place: str) -> None:
    with Store.open(place) as store:
        store.note("x", "y")
        world = World(store, FakeBoard(), [])
        world.board.log(events.BOOT)
        world.collect()
    with pytest.raises(StorageProblem, match="is in use already: it has rows in board"):
        copy(old, place)


def test_nothing_is_copied_while_a_monitor_works(old: str, database: str, tmp_path: Path) -> None:
    with Store.open(old) as working:
        working.claim()
        result = heartwire("monitor", "copy-store", old, str(tmp_path / "new.db"))
        assert isinstance(result.exception, PortBusy) or result.exit_code == PortBusy.exit_code
    with Store.open(database) as shared:
        Presence(World(shared, FakeBoard(), []).archive, "1" * 32, "room-1", [], lambda: None).step()
    with pytest.raises(PortBusy, match="a monitor works on it: room-1"):
        copy(database, str(tmp_path / "other.db"))


def test_rows_that_somebody_else_wrote_are_noticed(old: str, place: str) -> None:
    with pytest.raises(Cut):
        copy(old, place, 3)
    with Store.open(place, unfinished=True) as store, store.write() as connection:
        row = {"board_id": "X", "node": 0, "day": 1, "kind": "age", "bound_ms": 1, "count": 1}
        connection.execute(sqlalchemy.insert(schema.look), [{**row, "day": day} for day in range(5)])
    with pytest.raises(StorageProblem, match="somebody else wrote it"):
        copy(old, place)


def test_there_and_back(old: str, database: str, tmp_path: Path) -> None:
    back = str(tmp_path / "back.db")
    first = heartwire("monitor", "copy-store", old, database, "--json")
    assert json.loads(first.stdout)["rows"]["event"] == 34
    second = heartwire("monitor", "copy-store", database, back)
    assert "34 of event" in second.output
    assert rows_of(back) == rows_of(old)


def test_a_password_in_a_url_on_the_command_line_is_refused() -> None:
    url = "postgresql://me:hunter2@db/x"
    for words in (
        ("monitor", "copy-store", "x.db", url), ("monitor", "status", "--store", url), ("log", "--store", url),
        ("monitor", "migrate", "--store", url), ("advise", "--store", url), ("monitor", "verify", "--store", url),
    ):  # fmt: skip
        result = heartwire(*words)
        assert result.exit_code != 0
        text = f"{result.output} {result.exception}"
        assert "a password on the command line is shown to everybody" in text, words
        assert "hunter2" not in text
