"""`heartwire why`: one decision of the journal in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heartwire.cli.context import Session, connection_options, json_option, labels_of
from heartwire.cli.output import emit, emit_json, note

if TYPE_CHECKING:
    from heartwire.journal import Entry

AFTER = 100
# More records than this take the board seconds.
LONG = 400


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

    EVENT is the number of a record in `heartwire log`; without it the newest fence, grant or hold is explained.

    \b
    Example:
      heartwire why
      heartwire why 1042
      heartwire why --file journal.jsonl 1042
    """
    from heartwire import capture
    from heartwire.dating import dated
    from heartwire.journal import Entry
    from heartwire.why import explain, needed

    if saved is not None:
        names: dict[str, str] = {}
        rows = [one for one in capture.read_file(saved) if isinstance(one, Entry)]
    else:
        with session.board() as board:
            names = labels_of(board)
            newest = board.status().newest
            # Of what came after a record of long ago, its next minute is enough.
            rows = needed(_told(board.events_back(newest if event is None else min(newest, event + AFTER))), event)
    found = explain(dated(rows), event)
    if as_json:
        emit_json(found.as_json(names))
        return
    for line in found.lines(names):
        emit(line)


def _told(pieces: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
    """Pass pieces of the journal on, and say so where it has to be read far back."""
    count = 0
    for piece in pieces:
        count += len(piece)
        if count > LONG >= count - len(piece):
            note("-- reading further back in the journal")
        yield piece
