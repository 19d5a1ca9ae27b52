"""`heartwire broker`: who shares a board, and the small program that lets them."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Any

import click

from heartwire.cli.context import json_option
from heartwire.cli.installing import install_files, install_options, own_program
from heartwire.cli.output import Sheet, emit, emit_json, note, show

# One that systemd starts is started again for the next program.
IDLE_S = 60.0


@click.group(name="broker")
def broker() -> None:
    """Let many programs share one board.

    The broker owns a board's serial port and passes frames: it holds no key. Every command uses it by itself, and
    starts one where none runs; HEARTWIRE_BROKER=off goes to the port as if there were none.

    \b
    Example:
      heartwire broker status
      heartwire broker install
    """


@broker.command()
@json_option
def status(as_json: bool) -> None:
    """Show the ports that brokers have, and the programs that use them.

    \b
    Example:
      heartwire broker status
    """
    from heartwire.broker import client
    from heartwire.errors import HeartwireError

    found: list[dict[str, Any]] = []
    for place, state in client.states():
        if isinstance(state, HeartwireError):
            found.append({"socket": str(place), "error": state.words, "pid": None, "uid": None, "ports": []})
        else:
            found.append({"socket": str(place), "error": None, **state})
    if as_json:
        emit_json(found)
        return
    if not found:
        note("no broker runs; the first program that needs one starts it")
    for row in found:
        where = f"broker at {row['socket']}"
        if row["error"]:
            note(f"{where}: {row['error']}")
            continue
        emit(f"{where}: pid {row['pid']}, user {_user(row['uid'])}, {len(row['ports'])} ports that you may use")
        for port in row["ports"]:
            emit(f"{port['port']}: {port['state']}")
            sheet = Sheet(("program", "pid", "user", "does", "requests"), right=frozenset({1, 4}))
            for session in port["sessions"]:
                does = session["does"] + (", urgent" if session["urgent"] else "")
                cells = [session["program"], str(session["pid"]), _user(session["uid"]), does, str(session["requests"])]
                sheet.rows.append([(text, "") for text in cells])
            show([sheet])


@broker.command()
@click.option("--socket", "place", type=click.Path(path_type=Path), help="Listen there (default: this user's place).")
def run(place: Path | None) -> None:
    """Run a broker until nobody uses it; for systemd, or to read what it says.

    On the socket of heartwire-broker.socket if systemd passes one. It ends after a minute without a program.

    \b
    Example:
      heartwire broker run
    """
    from heartwire.broker import places
    from heartwire.broker.run import passed, say, serve
    from heartwire.errors import PortBusy, StorageProblem

    listener = passed()
    if listener is None:
        place = place or places.usual()[-1]
        try:
            listener = places.listen_alone(place)
        except OSError as error:
            raise StorageProblem(f"{place}: {error.strerror or error}", "choose another place: --socket") from None
        if listener is None:
            raise PortBusy(f"a broker listens at {place} already", "`heartwire broker status` shows it")
        say(f"listening at {place}")
    else:
        place = None
    serve(listener, place, idle_s=IDLE_S, log=say)


@broker.command()
@install_options
def install(program: str | None, root: Path, force: bool, dry_run: bool) -> None:
    """Write the systemd units of the broker: a socket, and the service that it starts.

    \b
    Example:
      heartwire broker install
    """
    from heartwire.broker.install import next_steps, plan

    # No unit of it is root's: the service has a user of its own.
    install_files(plan(program or own_program()), next_steps(), root, force=force, dry_run=dry_run)


def _user(uid: int) -> str:
    """Return the name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
