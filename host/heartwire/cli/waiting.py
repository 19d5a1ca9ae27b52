"""--wait: print the journal while the board carries out a command, until it is done.

Only watches; ending it with Ctrl-C changes nothing about what the board does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from heartwire.cli.log_view import writer_of
from heartwire.cli.output import is_terminal
from heartwire.errors import Refused
from heartwire.journal import Entry, reason_words

if TYPE_CHECKING:
    from heartwire.board import Board

Command = TypeVar("Command", bound=Callable[..., Any])
RESTING_PHASES = ("watching", "approval", "failed")
INTERVAL_S = 0.3
# A command shows in the phase at once; if it does not within this, it was over before we looked.
BEGIN_S = 2.0


def wait_option(command: Command) -> Command:
    """Give a command --wait."""
    return click.option("--wait", "-w", is_flag=True, help="Show what happens until it is done.")(command)


def wait_until_done(board: Board, after: int, wanted: bool, names: dict[str, str]) -> None:
    """Print what happens after sequence `after` until the board rests again. Raises Refused if it failed."""
    if not wanted:
        return
    writer = writer_of("text", is_terminal())
    writer.names = names
    deadline = board.link.channel.now() + BEGIN_S
    while True:
        status = board.status()
        for item in board.events(after):
            if isinstance(item, Entry):
                writer.entry(item)
                after = item.sequence
        writer.flush()
        if status.phase not in RESTING_PHASES:
            deadline = board.link.channel.now()
        elif board.link.channel.now() >= deadline:
            break
        time.sleep(INTERVAL_S)
    if status.phase == "failed" or status.held:
        why = reason_words(status.held) if status.held else "see above"
        raise Refused(f"it did not succeed: {why}", reason=status.held or "")
