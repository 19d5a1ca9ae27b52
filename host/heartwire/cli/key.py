"""`heartwire key roll|list`: replace a key on a running rack, without a missed heartbeat or a refused order.

Thin over heartwire.keyroll. A key is never printed; files are written for their owner alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heartwire.cli.acting import acts
from heartwire.cli.config import told_once
from heartwire.cli.context import Session, ask, connection_options, json_option, yes_option
from heartwire.cli.output import Sheet, emit, emit_json, note, show
from heartwire.errors import NotAsAsked, UsageProblem
from heartwire_protocol import codes

if TYPE_CHECKING:
    from heartwire.board import Board
    from heartwire.keyroll import Roll

WHAT = (*codes.NODES, "view", "operate", "configure", "host")
LOOK_S = 0.5
USED = ("none", "key", "key_next")


@click.group()
def key() -> None:
    """Replace keys on a running rack, and show which are in use.

    \b
    Example:
      heartwire key list
      heartwire key roll a keys/a-2.key
    """


@key.command("list")
@json_option
@connection_options
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """Show the keys that the board takes, as fingerprints, and which of them each node uses.

    \b
    Example:
      heartwire key list
    """
    from heartwire.settings_transfer import is_key

    with session.board() as board:
        running = board.settings().values
        used = {f"node.{node.node}": USED[node.key] for node in board.nodes() if node.beats}
    rows = []
    for path in sorted(path for path in running if is_key(path)):
        name = path.rpartition(".")[2]
        in_use = used.get(path.rpartition(".")[0])
        rows.append({"path": path, "key": running[path], "used": None if in_use is None else in_use == name})
    if as_json:
        emit_json(rows)
        return
    if not rows:
        emit("the board has no keys: anybody at its cable may do anything but arm it")
        return
    sheet = Sheet(("setting", "key", ""))
    for row in rows:
        words = "its node used it last" if row["used"] else ""
        sheet.rows.append([(str(row["path"]), "bold"), (str(row["key"]), ""), (words, "")])
    show([sheet])


@key.command()
@click.argument("what", type=click.Choice(WHAT))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--finish", is_flag=True, help="End the roll: only the new key is taken from now on.")
@click.option("--cancel", is_flag=True, help="End the roll the other way: only the old key is taken.")
@click.option("--wait", metavar="SPAN", default="10m", show_default=True, help="How long to wait for a node; 0s: not.")
@yes_option
@connection_options
@acts
@click.pass_obj
def roll(session: Session, what: str, file: Path, finish: bool, cancel: bool, wait: str, yes: bool) -> None:
    """Replace the key of WHAT by the one in FILE, which is made if it is missing.

    WHAT is a node, a right of the host link, or host for all rights that the board has keys for. First the board takes
    both keys. Put FILE where the old key is: on the node, as its agent's key_file, then reload the agent (SIGHUP) or
    restart it; for a right, on every host that holds it. A node's roll ends when it has signed with the new key; that
    of a right with --finish, signed with the new key itself. Nothing is cut or refused meanwhile, and a roll that was
    broken off goes on with the same command.

    \b
    Example:
      heartwire key roll a keys/a-2.key
      heartwire key roll operate keys/host-2.keys
      heartwire key roll operate keys/host-2.keys --finish
    """
    from heartwire import keyroll
    from heartwire import keys as key_files
    from heartwire.times import parse_span

    if finish and cancel:
        raise UsageProblem("--finish and --cancel exclude each other")
    wait_s = parse_span(wait).total_seconds()
    with session.board() as board:
        running = board.settings().values
        if file.exists():
            found = key_files.read_file(file)
        elif finish or cancel:
            raise UsageProblem(f"{file}: no such key file", "give the file that the roll began with")
        else:
            ask(f"Make a new key in {file} and let the board take it beside the old one of {what}?", yes)
            yes = True
            found = key_files.write_new(file, keyroll.names_for(what, running))
            note(f"{file}: a new key, for you alone")
        change = keyroll.roll_of(what, found, running)
        if cancel:
            change.cancel(board, running, told_once())
            emit(f"{what}: only the old key is taken")
            return
        stage = change.stage(running)
        if stage == keyroll.FRESH:
            if finish:
                raise UsageProblem("that roll has not begun", "the same command without --finish begins it")
            ask(f"Let the board take the key of {file} beside the old one of {what}?", yes)
            change.begin(board, running, told_once())
            emit(f"{what}: both keys are taken")
            running = board.settings().values
        if stage != keyroll.DONE and _is_used(board, what, file, finish, wait_s):
            change.finish(board, running, told_once())
            stage = keyroll.DONE
    if stage == keyroll.DONE:
        emit(f"{what}: only the new key is taken")
        _tell_config(change, file)


def _is_used(board: Board, what: str, file: Path, finish: bool, wait_s: float) -> bool:
    """Tell whether the roll may end: a node has used its new key, or somebody says that all hosts have theirs.

    Raises NotAsAsked if a node has not within `wait_s`.
    """
    from heartwire.keyroll import USES_NEXT

    again = f"heartwire key roll {what} {file}"
    if what not in codes.NODES:
        if not finish:
            note(f"next: give {file} to every host that holds the key, then `{again} --finish`")
        return finish
    if board.node(what).key == USES_NEXT or finish:
        return True
    note(f"next: put {file} on {what} in place of its key_file, and `systemctl reload heartwire-agent` there; waiting")
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        time.sleep(LOOK_S)
        if board.node(what).key == USES_NEXT:
            return True
    if not wait_s:
        return False
    raise NotAsAsked(f"{what} has not used its new key yet; both are taken", f"later: `{again}`")


def _tell_config(change: Roll, file: Path) -> None:
    names = " and ".join(f"{path}_file" for path in sorted(change.keys))
    note(f'next: write {names} = "{file}" into the config file of this board')
