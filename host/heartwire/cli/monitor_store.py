"""`heartwire monitor migrate`, `copy-store` and `mend`: what is done to a store while no monitor works on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heartwire.cli.context import json_option
from heartwire.cli.monitor_options import config_option, load, store_options
from heartwire.cli.output import emit, emit_json, is_terminal, note
from heartwire.errors import StorageProblem, UsageProblem

if TYPE_CHECKING:
    from heartwire.monitor.copying import Progress
    from heartwire.monitor.store import Store

MIGRATE_DOC = (
    ("before", "the step that the store was at; empty for a new one, 0000 for one from before there were steps"),
    ("after", "the step that it is at"),
)
COPY_DOC = (
    ("rows", "table to rows, as both stores have them now"),
    ("copied", "rows that this call copied; fewer where an earlier one was cut"),
)


@click.command()
@store_options
@json_option
def migrate(store: str | None, config: Path | None, as_json: bool) -> None:
    """Bring a store of an older heartwire up to date, as a monitor does by itself when it starts.

    All records are kept. There is no way back: an older heartwire refuses the store from then on.

    \b
    Example:
      heartwire monitor migrate --store /var/lib/heartwire-monitor/monitor.db
    """
    from heartwire.monitor import migrate as migration
    from heartwire.monitor import needs
    from heartwire.monitor.store import Store, refuse_password

    where, password, name = (store, "", store) if store else needs.place(load(config))
    refuse_password(store or "")
    if "://" not in where and not Path(where).exists():
        raise StorageProblem(f"{name}: there is no store", "name another file; a monitor makes one when it starts")
    with Store.open(where, name=name, password=password, check=False) as found:
        found.claim()
        before = found.revision()
        found.prepare()
    if as_json:
        emit_json({"before": before, "after": migration.HEAD})
    elif before == migration.HEAD:
        emit(f"{name}: is up to date (step {before})")
    else:
        emit(f"{name}: was taken from step {before or 'none'} to {migration.HEAD}")


@click.command("copy-store")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Password of the URL, mode 0600; else ~/.pgpass of PostgreSQL counts.",
)
@json_option
def copy_store(source: str, target: str, password_file: Path | None, as_json: bool) -> None:
    """Copy the store FROM into TO, an empty one: a file, or the URL of a database.

    Stop the monitor first, let its settings name TO afterwards. FROM is only read, and stays. A copy that was cut goes
    on where it was when the command is repeated; until it is whole no monitor takes it.

    \b
    Example:
      systemctl stop heartwire-monitor
      heartwire monitor copy-store /var/lib/heartwire-monitor/monitor.db postgresql://heartwire@db/heartwire
    """
    from heartwire.monitor import copying
    from heartwire.monitor.store import refuse_password

    for where in (source, target):
        refuse_password(where)
    if source == target:
        raise UsageProblem("FROM and TO are the same store", "name another one as TO")
    with (
        _opened(source, password_file, create=False) as old,
        _opened(target, password_file, create=True) as new,
        _progress() as progress,
    ):
        done = copying.copy(old, new, progress)
    if as_json:
        emit_json({"rows": done.rows, "copied": done.fresh})
        return
    emit(f"copied: {', '.join(f'{count} of {name}' for name, count in done.rows.items() if count) or 'nothing'}")
    note("-- let the settings name the new store, then start the monitor; the old one stays as it is")


@contextlib.contextmanager
def _opened(where: str, password_file: Path | None, *, create: bool) -> Iterator[Store]:
    """Open a store that no monitor may use meanwhile."""
    from heartwire.monitor.settings import read_secret
    from heartwire.monitor.store import Store

    password = read_secret(password_file).rstrip("\r\n") if password_file is not None and "://" in where else ""
    with Store.open(where, create=create, password=password, unfinished=create) as found:
        found.claim()
        yield found


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Give a bar on a terminal, a line for each table in a pipe."""
    if is_terminal():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), transient=True) as bar:
            task = bar.add_task("")
            yield lambda table, done, total: bar.update(task, description=table, completed=done, total=total)
        return
    said: set[str] = set()

    def say(table: str, done: int, total: int) -> None:
        if done == total and table not in said:
            said.add(table)
            note(f"-- {table}: {total}")

    yield say


@click.command()
@config_option
@click.option("--force", is_flag=True, help="Also where SQLite finds nothing wrong.")
@json_option
def mend(config: Path | None, force: bool, as_json: bool) -> None:
    """Set a damaged SQLite store aside and begin a new one with what can be read of it.

    Stop the monitor first. Started again, it reads every board's journal from its beginning, so that nothing is lost
    that a board still has, and tells nothing twice. The damaged file stays.

    \b
    Example:
      systemctl stop heartwire-monitor
      heartwire monitor mend
      systemctl start heartwire-monitor
    """
    from heartwire.monitor import mend as mending

    settings = load(config)
    if settings.store_url_file is not None or "://" in settings.store:
        raise UsageProblem("the store is in a database of its own", "restore it as its own documentation says")
    path = Path(settings.store)
    wrong = mending.damage(path)
    if not wrong and not force:
        raise UsageProblem(f"{path}: SQLite finds nothing wrong with it", "--force begins anew even so")
    done = mending.mend(path)
    if as_json:
        emit_json({"damage": wrong, "aside": str(done.aside), "kept": done.kept, "cut_short": list(done.cut_short)})
        return
    note(f"SQLite says: {wrong}" if wrong else "SQLite finds nothing wrong")
    rows = ", ".join(f"{count} of {name}" for name, count in done.kept.items() if count)
    emit(f"kept: {rows or 'nothing'}" + (f"; not all of {', '.join(done.cut_short)}" if done.cut_short else ""))
    emit(f"the damaged store is {done.aside}; start the monitor: the boards fill the new one")


COMMANDS = (migrate, copy_store, mend)
