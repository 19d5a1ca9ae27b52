"""`heartwire config new|check|show|diff|apply`: settings as a file, held against the board.

Thin over heartwire.config and Board.apply_settings. Files are written whole or not at all, never over an existing one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heartwire.cli.acting import acts
from heartwire.cli.context import Session, ask, connection_options, ignore_interrupts, json_option, yes_option
from heartwire.cli.output import Cell, Sheet, emit, emit_json, is_terminal, note, show
from heartwire.errors import Cancelled, NotAsAsked, StorageProblem

if TYPE_CHECKING:
    from heartwire.config import Config
    from heartwire.settings_transfer import Progress, Waiting

DEFAULT_FILE = "heartwire.toml"
FILE = click.Path(path_type=Path, dir_okay=False)
Difference = tuple[str, str, str]


@click.group()
def config() -> None:
    """Write, check, compare and apply settings.

    \b
    Example:
      heartwire config new --keys
      heartwire config check
      heartwire config apply
    """


@config.command()
@click.argument("file", type=FILE, default=DEFAULT_FILE)
@click.option("--keys", is_flag=True, help="Also make new keys, in files that only you may read, and use them.")
@click.option("--name", help="Name of the board.")
@click.option("--board-id", metavar="ID", help="Id of the board; else that of the only one plugged in.")
def new(file: Path, keys: bool, name: str | None, board_id: str | None) -> None:
    """Write a commented config with every setting.

    FILE is heartwire.toml if not given; `-` prints it. Nothing is overwritten. The id of the board that is plugged in
    goes into it (none is asked): `config apply` then talks to no other board.

    \b
    Example:
      heartwire config new
      heartwire config new rack-1.toml --keys --name rack-1
    """
    from heartwire import config_template
    from heartwire.config import parse

    values = {"board.name": config_template.quoted(name)} if name else {}
    pinned = _id_to_pin(board_id)
    parse(config_template.template(values, pinned)).require_good()
    if str(file) == "-":
        if keys:
            raise click.UsageError("--keys needs a FILE to stand beside")
        emit(config_template.template(values, pinned).rstrip("\n"))
        return
    if file.exists():
        raise StorageProblem(f"{file}: there is such a file already", "choose another name, or move it away")
    if keys:
        values |= _new_keys(file.parent)
    _write_new(file, config_template.template(values, pinned))
    emit(f"{file} written" + (" with new keys in keys/" if keys else ""))
    if pinned:
        note(f"it is for board {pinned} alone")
    if keys:
        note("keys/a.key and keys/b.key belong on the servers; this host uses --key-file keys/host.keys")
    note(f"next: edit it, then `heartwire config check {file}` and `heartwire config apply {file}`")


@config.command()
@click.argument("file", type=FILE, default=DEFAULT_FILE)
@json_option
def check(file: Path, as_json: bool) -> None:
    """Check a config file without a board.

    Every problem is named with its line, the setting's path, the rule and the limit.

    \b
    Example:
      heartwire config check rack-1.toml
    """
    from heartwire.config import load

    found = load(file)
    if as_json:
        emit_json(
            {
                "file": str(file),
                "good": not found.problems,
                "problems": [{"path": p.path, "line": p.line, "words": p.words} for p in found.problems],
                "missing_keys": found.missing_keys,
            }
        )
    found.require_good()
    if not as_json:
        _tell_missing_keys(found)
        emit(f"{file} is good")


@config.command("show")
@click.option("--all", "every", is_flag=True, help="Also what stands at its default.")
@json_option
@connection_options
@click.pass_obj
def show_(session: Session, every: bool, as_json: bool) -> None:
    """Show the settings that the board runs, as TOML.

    Keys are shown as fingerprints. The output is a config file that changes nothing when applied.

    \b
    Example:
      heartwire config show > running.toml
    """
    from heartwire import config_template

    with session.board() as board:
        running = board.settings()
    if as_json:
        values = {"generation": running.generation, "crc": running.crc, "trial_s": running.trial_s}
        emit_json({**values, "settings": running.values})
        return
    trial = f", on trial: reverts in {running.trial_s} s" if running.trial_s else ""
    note(f"# generation {running.generation}{trial}")
    emit(config_template.running_toml(running.values, every=every).rstrip("\n"))


@config.command()
@click.argument("file", type=FILE, default=DEFAULT_FILE)
@click.option("--exit-code", is_flag=True, help="Exit with 15 if there is a difference.")
@json_option
@connection_options
@click.pass_obj
def diff(session: Session, file: Path, exit_code: bool, as_json: bool) -> None:
    """Show what applying a config file would change.

    \b
    Example:
      heartwire config diff rack-1.toml
    """
    from heartwire.config import differences, load

    wanted = load(file)
    wanted.require_good()
    with session.board(wanted.board_id) as board:
        running = board.settings()
    wanted.keep_missing_keys(running.values)
    wanted.require_good()
    changes = differences(running.values, wanted.settings)
    if as_json:
        emit_json([{"path": path, "running": before, "file": after} for path, before, after in changes])
    elif changes:
        show([_sheet(changes)])
    else:
        emit(f"the board runs {file} (generation {running.generation})")
    if exit_code and changes:
        raise NotAsAsked(f"{len(changes)} settings differ")


@config.command()
@click.argument("file", type=FILE, default=DEFAULT_FILE)
@yes_option
@connection_options
@acts
@click.pass_obj
def apply(session: Session, file: Path, yes: bool) -> None:
    """Put a config file onto the board.

    It shows the changes and asks, uploads, lets the board try the settings, reads them back and confirms them. Whatever
    goes wrong before that, Ctrl-C included, the board goes back to its old settings by itself. So it does where a node
    that was good before is not good again within a minute: nothing automatic happens to it meanwhile. A key is changed
    with `heartwire key roll`.

    \b
    Example:
      heartwire config apply
      heartwire config apply rack-1.toml --yes
    """
    from heartwire.config import differences, load

    wanted = load(file)
    wanted.require_good()
    with session.board(wanted.board_id) as board:
        running = board.settings()
        wanted.keep_missing_keys(running.values)
        wanted.require_good()
        _tell_missing_keys(wanted)
        changes = differences(running.values, wanted.settings)
        if not changes:
            emit(f"the board runs {file} already (generation {running.generation})")
            return
        show([_sheet(changes)])
        _tell_line_changes(changes)
        ask(f"Apply {len(changes)} change{'s' if len(changes) > 1 else ''} to {_name(running.values)}?", yes)
        try:
            with _progress() as progress:
                generation = board.apply_settings(
                    wanted.settings, progress=progress, confirming=ignore_interrupts, waiting=told_once()
                )
        except KeyboardInterrupt:
            raise Cancelled("cancelled: the board keeps its old settings") from None
    emit(f"applied and confirmed: generation {generation}")


@config.command()
@connection_options
@acts
@click.pass_obj
def revert(session: Session) -> None:
    """End a trial of settings now.

    The board does it by itself after a minute; this is for the impatient.

    \b
    Example:
      heartwire config revert
    """
    with session.board() as board:
        if not board.settings().trial_s:
            emit("no settings are on trial")
            return
        board.link.request("settings_revert")
        emit(f"back to generation {board.settings().generation}")


def _tell_line_changes(changes: list[Difference]) -> None:
    """Say beforehand which changes a server must follow: its heartbeats do not count until it has."""
    for path, before, _ in changes:
        section, _, name = path.rpartition(".")
        if name == "key" and before:
            note(
                f"{path}: the server must have its new key within a minute, or the old one stays; without that hurry: "
            )
            note(f"  `heartwire key roll {section.rpartition('.')[2]} FILE`")
        elif name in ("baud", "profile", "interval_ms", "early_ms"):
            note(f"{path}: servers must follow within a minute, or the old settings stay")


def told_once() -> Waiting:
    """Return what tells the user, once a node, that the board waits for it."""
    told: set[str] = set()

    def tell(node: str, left_s: int) -> None:
        if node not in told:
            told.add(node)
            note(f"waiting for {node} to be good under the new settings, up to {left_s} s; Ctrl-C keeps the old ones")

    return tell


def _id_to_pin(named: str | None) -> str:
    """Return the id that a new config is for: as named, else that of the only board plugged in, else ""."""
    from heartwire import board_id, ports

    if named:
        return board_id.board_id_of(named)
    plugged = [port.serial_number for port in ports.list_ports()]
    return plugged[0].upper() if len(plugged) == 1 and board_id.FORM.fullmatch(plugged[0]) else ""


def _new_keys(folder: Path) -> dict[str, str]:
    from heartwire import keys
    from heartwire.config_template import quoted

    files = {"a.key": ("",), "b.key": ("",), "host.keys": keys.HOST_RIGHTS}
    for name in files:
        if (folder / "keys" / name).exists():
            raise StorageProblem(f"{folder / 'keys' / name}: there is a key file already", "move it away first")
    for name, rights in files.items():
        keys.write_new(folder / "keys" / name, rights)
    host = {f"board.{right}_key_file": quoted("keys/host.keys") for right in keys.HOST_RIGHTS}
    return {**host, **{f"node.{node}.key_file": quoted(f"keys/{node}.key") for node in ("a", "b")}}


def _write_new(file: Path, text: str) -> None:
    """Write a new file whole: a full disk leaves nothing behind. Raises StorageProblem."""
    made = False
    try:
        with file.open("x", encoding="utf-8") as stream:
            made = True
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        if made:
            with contextlib.suppress(OSError):
                file.unlink()
        raise StorageProblem(f"{file}: {error.strerror}") from None


def _tell_missing_keys(found: Config) -> None:
    for path, file in found.missing_keys.items():
        note(f"{path}: {file} is not at hand; the board keeps the key it has")


def _name(values: dict[str, str]) -> str:
    return values.get("board.name", "the board")


def _sheet(changes: list[Difference]) -> Sheet:
    sheet = Sheet(("setting", "now", "then"))
    for path, before, after in changes:
        before, after = _shown(path, before), _shown(path, after)
        cells: list[Cell] = [(path, "bold"), (before, "red"), (after, "green")]
        sheet.rows.append(cells)
    return sheet


def _shown(path: str, value: str) -> str:
    from heartwire_protocol import settings

    with contextlib.suppress(KeyError):
        if settings.row_of(path)[0][1] == settings.BOOL and value in ("0", "1"):
            return "true" if value == "1" else "false"
    return value or "(none)"


@contextlib.contextmanager
def _progress() -> Iterator[Progress | None]:
    """Give a progress bar on a terminal, nothing in a pipe."""
    if not is_terminal():
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(TextColumn("uploading"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), transient=True) as bar:
        task = bar.add_task("upload", total=None)
        yield lambda sent, total: bar.update(task, completed=sent, total=total)
