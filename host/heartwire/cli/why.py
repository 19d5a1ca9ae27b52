"""`heartwire why`: one decision of the journal in plain sentences."""

from __future__ import annotations

from pathlib import Path

import click

from heartwire.cli.context import Session, connection_options, json_option, labels_of
from heartwire.cli.output import emit, emit_json


@click.command()
@click.argument("event", metavar="[EVENT]", type=click.IntRange(1), required=False)
@click.option(
    "--file", "saved", metavar="FILE", type=click.Path(path_type=Path), help="Read what `log --json` saved instead."
)
@json_option
@connection_options
@click.pass_obj
def why(session: Session, event: int | None, saved: Path | None, as_json: bool) -> None:
    """Explain a decision: which rule, which evidence, what else was considered.

    EVENT is the number of a record in `heartwire log`; without it the newest decision is explained.

    \b
    Example:
      heartwire why
      heartwire why 1042
      heartwire why --file journal.jsonl 1042
    """
    from heartwire import capture
    from heartwire.journal import Entry
    from heartwire.why import explain

    if saved is not None:
        names: dict[str, str] = {}
        found = explain([one for one in capture.read_file(saved) if isinstance(one, Entry)], event)
    else:
        with session.board() as board:
            names = labels_of(board)
            found = explain([one for one in board.events(0) if isinstance(one, Entry)], event)
    if as_json:
        emit_json(found.as_json(names))
        return
    for line in found.lines(names):
        emit(line)
