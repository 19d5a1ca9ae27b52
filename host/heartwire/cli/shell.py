"""`heartwire shell`: the MicroPython prompt of a board, through the board's own way out of the guard."""

from __future__ import annotations

import subprocess
import sys

import click

from heartwire.cli.context import Session, ask, connection_options, yes_option
from heartwire.cli.output import note


@click.command()
@yes_option
@connection_options
@click.pass_obj
def shell(session: Session, yes: bool) -> None:
    """Stop the guard and open the MicroPython prompt.

    The board watches nobody until it is restarted: its green light goes out and its alarm contact opens. Needs the
    configure key or the key switch. Leave with Ctrl-X; the board then restarts. Outside observe mode it guards again
    after ten minutes of maintenance, or at once with `heartwire update off`.

    \b
    Example:
      heartwire shell
    """
    from heartwire.flash import update
    from heartwire.flash.prompt import Prompt

    ask("Stop the guard? Nobody is watched until the board is restarted.", yes)
    port = update.to_prompt(
        update.Way(session.port, session.keys(), session.timeout, session.board_id),
        confirm=lambda words: ask(words, yes),
        tell=note,
    )
    prompt = Prompt(port)
    prompt.borrow()
    note("Ctrl-X leaves the prompt; the board then restarts, and `heartwire update off` ends its maintenance")
    try:
        subprocess.run([sys.executable, "-m", "mpremote", "connect", port, "resume", "repl"], check=False)
    finally:
        prompt.reset()
