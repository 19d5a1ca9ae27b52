"""`heartwire time|restart`: the board's clock and its firmware."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from heartwire.answers import iso
from heartwire.cli.acting import acts
from heartwire.cli.context import Session, ask, connection_options, json_option, yes_option
from heartwire.cli.output import emit, emit_json
from heartwire.errors import StorageProblem


@click.command()
@click.option("--set", "set_it", is_flag=True, help="Set it to this host's time.")
@json_option
@connection_options
@click.pass_obj
def time(session: Session, set_it: bool, as_json: bool) -> None:
    """Show or set the board's wall time.

    It stands in journal records and nowhere else: no decision depends on it.

    \b
    Example:
      heartwire time --set
    """
    with session.board() as board:
        if set_it and not board.set_time():
            raise StorageProblem("this host does not know the time", "set its clock first")
        wall = board.status().wall_clock
        offset_s = (wall - datetime.now(UTC)).total_seconds() if wall else None
        if as_json:
            emit_json({"wall": iso(wall), "offset_s": None if offset_s is None else round(offset_s, 3)})
        elif wall is None or offset_s is None:
            emit("the board has no wall time; `heartwire time --set` gives it this host's")
        else:
            emit(f"{wall.astimezone():%Y-%m-%d %H:%M:%S}, {offset_s:+.1f} s against this host")


@click.command()
@yes_option
@connection_options
@acts
@click.pass_obj
def restart(session: Session, yes: bool) -> None:
    """Restart the board's firmware.

    Servers go on meanwhile; relays of a fence under way stay as they are.

    \b
    Example:
      heartwire restart
    """
    with session.board() as board:
        found = board.status()
        ask(f"Restart {found.name or 'the board'}? Nobody is fenced or promoted until it is back", yes)
        board.restart()
        emit("the board restarts; `heartwire status` in a few seconds")
