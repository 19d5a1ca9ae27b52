"""Bring a store's tables to what this heartwire knows, by the steps of migrations; forwards only.

All steps are one transaction, and one monitor takes them while others that start wait: cut anywhere, the store is as it
was before or as it is after. Called by store, which says when.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection, inspect, select

from heartwire.errors import StorageProblem
from heartwire.monitor import postgresql, schema

FOLDER = Path(__file__).parent / "migrations"
HEAD = schema.REVISIONS[-1]
# What a database without our tables, and one from before there were steps, are called.
NOTHING, BEFORE = "", "0000"
_REVISION = sqlalchemy.table("alembic_version", sqlalchemy.column("version_num"))


def revision(connection: Connection, name: str) -> str:
    """Return how far the store is: one of schema.REVISIONS, NOTHING or BEFORE.

    Raises StorageProblem if it is none that this heartwire knows; `name` is what errors call the store.
    """
    tables = inspect(connection)
    if tables.has_table(_REVISION.name):
        # Two rows would be two heads, which no heartwire makes.
        found = str(connection.scalar(select(_REVISION.c.version_num)) or "")
        if found not in schema.REVISIONS:
            raise StorageProblem(
                f"{name}: a newer heartwire made this store: step {found}, this one knows up to {HEAD}",
                "install that version here too; a store never goes back",
            )
        return found
    if not tables.has_table(schema.about.name):
        return NOTHING
    about = schema.about.c
    version = connection.scalar(select(about.value).where(about.name == "version"))
    if version not in (schema.VERSION_BEFORE, None):
        raise StorageProblem(f"{name}: the store has version {version}, which is unknown", "name another store")
    return BEFORE


def upgrade(connection: Connection, name: str) -> tuple[str, str]:
    """Take the steps that are missing, in the transaction of `connection`; return from where to where.

    Raises StorageProblem as `revision` does.
    """
    postgresql.wait_for_steps(connection)
    before = revision(connection, name)
    if before != HEAD:
        _take_steps(connection)
    return before, HEAD


def _take_steps(connection: Connection) -> None:
    # Half a second of imports that a store which is up to date does not need.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(
        config, script, fn=lambda now, _: script._upgrade_revs("head", now), destination_rev="head"
    ) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()
