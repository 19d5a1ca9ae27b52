"""Stores of before are taken along, all of them or not at all; a store never goes back."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from heartwire.errors import StorageProblem
from heartwire.monitor import migrate, schema
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.store import Store
from tests.fakes.board import FakeBoard
from tests.postgres import Cluster
from tests.unit.monitor import stores
from tests.unit.monitor.helpers import goes_on
from tests.unit.monitor.test_reading import heartwire

TABLES = [table for table in schema.metadata.sorted_tables if table.name not in ("about", "monitor")]


@pytest.fixture
def before(place: str, request: pytest.FixtureRequest) -> str:
    """Return where a store from before there were steps is."""
    if "://" in place:
        cluster: Cluster = request.getfixturevalue("shared_cluster")
        stores.make_postgresql(cluster, str(sqlalchemy.make_url(place).database))
    else:
        stores.make_sqlite(Path(place))
    return place


def engine_of(where: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        where.replace("postgresql:", "postgresql+psycopg:") if "://" in where else f"sqlite:///{where}"
    )


def rows_of(where: str) -> dict[str, list[Any]]:
    """Return what the tables of before hold, in the columns of before."""
    engine = engine_of(where)
    with engine.connect() as connection:
        found = {}
        for table in TABLES:
            names = [column for column in table.columns if column.name != "claimed_by"]
            found[table.name] = [tuple(row) for row in connection.execute(sqlalchemy.select(*names).order_by(*names))]
    engine.dispose()
    return found


def test_the_steps_are_those_that_the_schema_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    steps = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(steps)) == schema.REVISIONS


def test_a_store_of_before_keeps_every_row_and_works_on(before: str, board: FakeBoard) -> None:
    kept = rows_of(before)
    assert len(kept["event"]) == 34 and len(kept["message"]) == 4
    with pytest.raises(StorageProblem, match="an older heartwire made this store") as refused:
        Store.open(before, create=False)
    assert "monitor migrate" in refused.value.next_step
    with Store.open(before) as store:
        assert rows_of(before) == kept
        found = [one.entry.sequence for one in Reader(store).all(Filter())]
        assert found == list(range(1, len(found) + 1))
        assert Outbox(store).counts()["mail"] == {"sent": 1, "sending": 1, "waiting": 1}
        goes_on(store, board)
    with Store.open(before, create=False) as store:
        assert Reader(store).count() == 36


def test_steps_end_at_the_schema(before: str) -> None:
    Store.open(before).close()
    engine = engine_of(before)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_a_store_of_before_gets_the_tables_and_indexes_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    stores.make_sqlite(path)
    engine = engine_of(str(path))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP INDEX event_last"))
        connection.execute(sqlalchemy.text("DROP TABLE look"))
    with Store.open(path) as store, store.read() as connection:
        tables = sqlalchemy.inspect(connection)
        assert tables.has_table("look")
        assert "event_last" in {index["name"] for index in tables.get_indexes("event")}


def test_a_newer_store_is_refused(place: str) -> None:
    with Store.open(place) as store, store.write() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    for create in (True, False):
        with pytest.raises(StorageProblem, match="a newer heartwire made this store: step 9999") as refused:
            Store.open(place, create=create)
        assert "a store never goes back" in refused.value.next_step


def test_a_heartwire_of_before_refuses_what_was_taken_along(before: str) -> None:
    """It reads `version`, and knows 1."""
    with Store.open(before) as store:
        assert store.noted("version") == "2"


def test_a_store_of_no_known_version_is_refused(before: str) -> None:
    engine = engine_of(before)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE about SET value = '7' WHERE name = 'version'"))
    with pytest.raises(StorageProblem, match="version 7, which is unknown"):
        Store.open(before)


def test_cut_in_its_last_step_it_is_as_it_was(before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = rows_of(before)
    taken = migrate._take_steps

    def cut(connection: sqlalchemy.Connection) -> None:
        taken(connection)
        assert sqlalchemy.inspect(connection).has_table("monitor")
        raise KeyboardInterrupt

    monkeypatch.setattr(migrate, "_take_steps", cut)
    with pytest.raises(KeyboardInterrupt):
        Store.open(before)
    monkeypatch.undo()
    engine = engine_of(before)
    with engine.connect() as connection:
        assert not sqlalchemy.inspect(connection).has_table("monitor")
        assert not sqlalchemy.inspect(connection).has_table("alembic_version")
    assert rows_of(before) == kept
    Store.open(before).close()
    assert rows_of(before) == kept


def test_monitors_that_start_at_once_on_a_store_of_before_take_the_steps_once(before: str) -> None:
    start_at_once(before)


def test_monitors_that_start_at_once_on_a_new_store_take_the_steps_once(place: str) -> None:
    start_at_once(place)


def start_at_once(where: str) -> None:
    gate = threading.Barrier(4)
    failed: list[BaseException] = []

    def start() -> None:
        gate.wait()
        try:
            Store.open(where).close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with Store.open(where, create=False) as store:
        assert store.revision() == migrate.HEAD


def test_the_command_says_from_where_to_where(before: str) -> None:
    result = heartwire("monitor", "migrate", "--store", before, "--json")
    assert json.loads(result.output) == {"before": "0000", "after": migrate.HEAD}
    assert "is up to date" in heartwire("monitor", "migrate", "--store", before).output
    assert heartwire("monitor", "status", "--store", before).exit_code == 0


def test_the_command_makes_no_store(tmp_path: Path) -> None:
    result = heartwire("monitor", "migrate", "--store", str(tmp_path / "none.db"))
    assert isinstance(result.exception, StorageProblem) or result.exit_code == StorageProblem.exit_code
    assert not (tmp_path / "none.db").exists()
