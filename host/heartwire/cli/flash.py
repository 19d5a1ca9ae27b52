"""`heartwire flash`: put MicroPython and Heartwire onto a board, or bring them up to date."""

from __future__ import annotations

import sys

import click

from heartwire.cli.context import Session, ask, connection_options, yes_option
from heartwire.cli.output import emit, note

WIDTH = 30


@click.command()
@yes_option
@click.option("--micropython", help="This version of MicroPython, as `heartwire image --list` names it.")
@click.option("--board", help="What a board in its boot loader is, as `heartwire image --list` names it.")
@connection_options
@click.pass_obj
def flash(session: Session, yes: bool, micropython: str | None, board: str | None) -> None:
    """Put Heartwire onto a board.

    Finds the board, also a new one in its boot loader (hold BOOTSEL while plugging it in), installs MicroPython if it
    is missing or a version that is not known for this board, copies the firmware, checks every file, and waits until
    the board answers. Settings and journal stay. While it runs the board guards nobody, and a server that would stop
    its services without it gets a lease first; one that is interrupted, or cannot load the new firmware, keeps its old
    one. It asks before it stops a guard, sends to a port that is no board's, interrupts a program that it does not
    know, or replaces one.

    \b
    Example:
      heartwire flash
      heartwire --port /dev/ttyACM0 flash --yes
      heartwire flash --micropython 1.29.0
    """
    from heartwire.flash import update

    report = update.flash(
        update.Way(session.port, session.keys(), session.timeout, session.board_id),
        confirm=lambda words: ask(words, yes),
        tell=note,
        progress=_bar,
        micropython=micropython,
        board=board,
    )
    emit(f"MicroPython {report.micropython}, Heartwire {report.before or 'none'} -> {report.after}")


def _bar(done: int, total: int, name: str) -> None:
    if sys.stderr is None or not sys.stderr.isatty():
        return
    filled = WIDTH * done // total
    click.echo(f"\r[{'#' * filled}{' ' * (WIDTH - filled)}] {done}/{total} {name[-40:]:40}", nl=done == total, err=True)
