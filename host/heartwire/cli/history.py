"""`heartwire history`: who was active when, and why it changed; the newest last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from heartwire.cli.context import Session, connection_options, json_option, keep_time, labels_of
from heartwire.cli.output import Sheet, emit_json, note, show
from heartwire.times import span_words

if TYPE_CHECKING:
    from heartwire.journal import Entry

DEFAULT_LIMIT = 20
# What changes who is active, or should have.
CHANGES = ("granted", "adopted", "revoked", "off_failed", "switchover_failed", "start_failed")
JSON_DOC = (
    ("sequence", "number of the record"),
    ("time", "wall time in UTC; null if it is not known"),
    ("event", "granted, adopted, revoked, off_failed, switchover_failed or start_failed"),
    ("node", "a, b or spare"),
    ("epoch", "its epoch; null where none was given or taken"),
    ("reason", "name from the table of reasons"),
    ("without_ms", "ms since the last holder was last heard; null where nobody was active before"),
    ("sentence", "the record in words"),
)


@click.command()
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), default=DEFAULT_LIMIT, show_default=True, help="The newest N."
)
@json_option
@connection_options
@click.pass_obj
def history(session: Session, limit: int, as_json: bool) -> None:
    """Show who was active when, and why it changed.

    Each activation with its epoch and cause, and each one that failed. `heartwire why NUMBER` explains a row.

    \b
    Example:
      heartwire history
      heartwire history --json --limit 100
    """
    from heartwire.cli.log_view import time_words
    from heartwire.dating import dated
    from heartwire.journal import reason_words

    rows: list[Entry] = []
    with session.board() as board:
        found = board.status()
        keep_time(board, found)
        names = labels_of(board)
        for piece in board.events_back(found.newest):
            rows = [*[entry for entry in dated(piece) if entry.event in CHANGES], *rows]
            if len(rows) >= limit:
                break
    rows = rows[-limit:]
    if as_json:
        emit_json([_as_json(entry, names) for entry in rows])
        return
    if not rows:
        now = f"{names.get(found.active, found.active)} is active" if found.active else "nobody is active"
        further = "; a monitor's store reaches further back" if found.epoch else ""
        note(f"-- {now}, and the board's journal has no change of that{further}")
        return
    sheet = Sheet(("record", "when", "what", "node", "epoch", "without", "because"), right=frozenset({0, 4, 5}))
    for entry in rows:
        epoch, gap = _epoch(entry), _gap(entry)
        sheet.rows.append([
            (str(entry.sequence), "dim"), (time_words(entry, date=True), "dim"),
            (entry.event.replace("_", " "), "bold red" if entry.severity == "alarm" else "bold"),
            (names.get(entry.node, entry.node) or "-", ""), ("-" if epoch is None else str(epoch), ""),
            ("-" if gap is None else span_words(gap / 1000), ""), (reason_words(entry.reason), ""),
        ])  # fmt: skip
    show([sheet])


def _epoch(entry: Entry) -> int | None:
    return entry.a if entry.event in ("granted", "adopted", "revoked") else None


def _gap(entry: Entry) -> int | None:
    return entry.b if entry.event == "granted" and entry.b else None


def _as_json(entry: Entry, names: dict[str, str]) -> dict[str, Any]:
    body = entry.as_json(names)
    values = {**body, "epoch": _epoch(entry), "without_ms": _gap(entry)}
    return {name: values[name] for name, _ in JSON_DOC}
