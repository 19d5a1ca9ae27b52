"""`heartwire log`: the journal in words, as CSV or as JSON lines, live or from a saved file."""

from __future__ import annotations

import collections
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heartwire import extras
from heartwire.cli.context import NODE, Session, connection_options, keep_time, labels_of
from heartwire.cli.output import is_terminal, note
from heartwire.errors import JournalDamaged, StorageProblem, UsageProblem
from heartwire.times import parse_since
from heartwire_protocol import codes

if TYPE_CHECKING:
    from heartwire.answers import Status
    from heartwire.board import Board, Notice
    from heartwire.chain import Finding
    from heartwire.cli.log_view import Writer
    from heartwire.journal import Entry

DEFAULT_LIMIT = 50
FOLLOW_LIMIT = 10
SinceTime = datetime | None


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on as it grows, until Ctrl-C; survives an unplugged board.")
@click.option("--since", metavar="WHEN", help="A sequence number, a span (10m, 2h, 1d) or a time (2030-01-31T12:00).")
@click.option("--node", type=NODE, help="Only records about this node.")
@click.option("--limit", metavar="N", type=click.IntRange(0), help="The newest N only; 0 for all. Default 50, or all.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV with a header line; times in UTC.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object a line: `heartwire help json`.")
@click.option(
    "--file", "saved", metavar="FILE", type=click.Path(path_type=Path), help="Read what --json saved instead."
)
@click.option("--store", metavar="FILE|URL", help="Read what a monitor has stored instead.")
@click.option("--board", "which", metavar="NAME", help="With --store: which board, where there are several.")
@click.option("--severity", type=click.Choice(codes.SEVERITIES), help="With --store: this and worse.")
@connection_options
@click.pass_obj
def log(
    session: Session,
    follow: bool,
    since: str | None,
    node: str | None,
    limit: int | None,
    form: str | None,
    saved: Path | None,
    store: str | None,
    which: str | None,
    severity: str | None,
) -> None:
    """Show what happened, and why.

    Without --since it shows the newest 50 records. The hash chain is checked on the way: missing, damaged or altered
    records are reported where they are, and the exit code is 14.

    \b
    Example:
      heartwire log --since 2h --node a
      heartwire log --follow
      heartwire log --since 0 --json > journal.jsonl
      heartwire log --file journal.jsonl --csv
      heartwire log --store /var/lib/heartwire-monitor/monitor.db --severity alarm
    """
    from heartwire.cli.log_view import writer_of
    from heartwire.dating import Dating, dated

    if sys.stdout is None:
        raise StorageProblem("standard output is closed", "send the output somewhere")
    start = parse_since(since, datetime.now(UTC)) if since else None
    writer = writer_of(form or "text", is_terminal())
    if store is None and (which or severity):
        raise UsageProblem("--board and --severity belong to --store")
    if store is not None:
        extras.require("--store", "monitor", "sqlalchemy")
        from heartwire.cli.log_store import print_store

        if saved is not None:
            raise UsageProblem("--store and --file contradict each other")
        if not print_store(
            store, writer, board=which, node=node, severity=severity, since=start, limit=limit, follow=follow
        ):
            note("-- no such record")
        return
    if saved is not None:
        from heartwire import capture

        if follow:
            raise UsageProblem("--follow and --file contradict each other")
        chosen = _since(dated(capture.read_file(saved)), start)
        _finish(writer, _print(writer, _newest(_about(chosen, node), limit or 0)))
        return
    with session.board() as board:
        found = board.status()
        keep_time(board, found)
        writer.names = labels_of(board)
        wanted = limit if limit is not None else FOLLOW_LIMIT if follow else DEFAULT_LIMIT if start is None else 0
        after = _start(board, start, found.newest, wanted if node is None else 0)
        # A record of this boot tells it better, if there is one with a time that agrees with the board's clock of now.
        dating = Dating(found.boot, _booted(board.status()))
        if not follow:
            entries = _since(dated(board.events(after), dating), start, board)
            _finish(writer, _print(writer, _newest(_about(entries, node), wanted)))
            return
        items = dated(_upto(board, after, found.newest), dating)
        past = list(_newest(_about(_since(items, start, board), node), wanted))
        findings = _print(writer, past)
        writer.flush()
        for item in _about(board.follow(found.newest), node):
            findings += _print(writer, dated([item], dating))
            writer.flush()


def _start(board: Board, start: int | datetime | None, newest: int, wanted: int) -> int:
    """Return the sequence after which to read, so that little is read that will not be shown."""
    if isinstance(start, int):
        return max(0, start - 1)
    if start is None:
        return max(0, newest - wanted) if wanted else 0
    return _before(board, start, newest)


def _before(board: Board, moment: datetime, newest: int) -> int:
    """Return a sequence of which all records up to it were written before `moment`, by bisection."""
    from heartwire import journal

    low, high = 0, newest
    anchor = _Anchor(board)
    while high - low > 16:
        middle = (low + high) // 2
        _, raw_records = board.page(middle, 1)
        try:
            entry = journal.decode(raw_records[0])
        except (IndexError, ValueError):
            high = middle
            continue
        when = anchor.time_of(entry)
        if when is not None and when < moment and entry.sequence > middle:
            low = max(middle, min(entry.sequence, newest))
        else:
            high = middle
    return low


def _booted(status: Status) -> datetime | None:
    """Return when the board started by its clock of now, which may have been corrected since; None without one."""
    wall = status.wall_clock
    return wall - timedelta(seconds=status.uptime_s) if wall else None


class _Anchor:
    """Tells when a record was written: by its wall time, else by its age in this boot, else not at all."""

    def __init__(self, board: Board | None) -> None:
        self._boot = -1
        self._booted = datetime.now(UTC)
        if board is not None:
            found = board.status()
            self._boot = found.boot
            self._booted = _booted(found) or self._booted - timedelta(seconds=found.uptime_s)

    def time_of(self, entry: Entry) -> datetime | None:
        """Return the time of an entry, or None where nothing tells it."""
        if entry.boot == self._boot:
            return self._booted + timedelta(milliseconds=entry.uptime_ms)  # the board's clock may have been set wrong
        return entry.wall


def _since(
    items: Iterable[Entry | Finding], start: int | datetime | None, board: Board | None = None
) -> Iterator[Entry | Finding]:
    """Leave out what was before `start`; a record whose time nobody knows stays in."""
    from heartwire.journal import Entry

    anchor = _Anchor(board if isinstance(start, datetime) else None)
    for item in items:
        if isinstance(item, Entry):
            if isinstance(start, int) and item.sequence < start:
                continue
            if isinstance(start, datetime):
                when = anchor.time_of(item)
                if when is not None and when < start:
                    continue
        yield item


def _about(items: Iterable[Entry | Finding | Notice], node: str | None) -> Iterator[Entry | Finding | Notice]:
    """Leave out entries about other nodes; findings and notices stay."""
    from heartwire.journal import Entry

    for item in items:
        if node is None or not isinstance(item, Entry) or item.node == node:
            yield item


def _newest(items: Iterable[Entry | Finding | Notice], limit: int) -> Iterable[Entry | Finding | Notice]:
    """Keep the newest `limit` entries (0: all) and every finding."""
    from heartwire.journal import Entry

    if not limit:
        return items
    kept: collections.deque[Entry | Finding | Notice] = collections.deque()
    entries = 0
    for item in items:
        kept.append(item)
        entries += isinstance(item, Entry)
        if entries > limit:
            for place, old in enumerate(kept):
                if isinstance(old, Entry):
                    del kept[place]
                    entries -= 1
                    break
    return kept


def _upto(board: Board, after: int, newest: int) -> Iterator[Entry | Finding]:
    from heartwire.journal import Entry

    for item in board.events(after):
        if isinstance(item, Entry) and item.sequence > newest:
            return
        yield item


def _print(writer: Writer, items: Iterable[Entry | Finding | Notice]) -> list[Finding]:
    """Print all items; return the findings that are no ordinary rotation."""
    from heartwire.chain import Finding
    from heartwire.journal import Entry

    bad = []
    for item in items:
        if isinstance(item, Entry):
            writer.entry(item)
        elif isinstance(item, Finding):
            if item.harmless:
                writer.rotated += item.last - item.first + 1
            else:
                bad.append(item)
                writer.finding(item)
        else:
            note(f"-- {item.words}")
    return bad


def _finish(writer: Writer, bad: list[Finding]) -> None:
    writer.flush()
    if writer.rotated:
        note(f"-- {writer.rotated} older records were rotated out: the board keeps decisions longest")
    if not writer.count:
        note("-- no such record")
    if bad:
        raise JournalDamaged(f"the journal is not whole: {len(bad)} findings, the first: {bad[0].words}")
