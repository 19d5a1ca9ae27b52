"""`heartwire log --store`: the same command on what a monitor has stored, a page at a time.

The hash chain of a page without a filter is checked on the way; gaps are not reported here, because the monitor
noticed them when it collected (`heartwire monitor status`), and retention makes more. Called by log only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from heartwire.chain import ChainChecker, Finding
from heartwire.errors import JournalDamaged

if TYPE_CHECKING:
    from heartwire.cli.log_view import Writer
    from heartwire.monitor.query import Filter, Found, Reader

FOLLOW_S = 0.5
DEFAULT_LIMIT = 50
FOLLOW_LIMIT = 10


def print_store(
    where: str,
    writer: Writer,
    *,
    board: str | None,
    node: str | None,
    severity: str | None,
    since: int | datetime | None,
    limit: int | None,
    follow: bool,
) -> int:
    """Print stored events; return how many. Raises JournalDamaged after printing if one was altered."""
    from heartwire.monitor.export import one_board
    from heartwire.monitor.query import Filter, Reader
    from heartwire.monitor.store import Store

    with Store.named(where) as store:
        reader = Reader(store)
        row = one_board(reader, board)
        writer.names = row.labels
        wanted = Filter(row.board_id, node=node, severity=severity, since=since)
        most = limit if limit is not None else FOLLOW_LIMIT if follow else DEFAULT_LIMIT if since is None else 0
        found = reader.newest(wanted, most) if most else reader.all(wanted)
        whole = node is None and severity is None
        last, bad = _print(writer, found, whole)
        last = last or reader.last()
        writer.flush()
        while follow:
            time.sleep(FOLLOW_S)
            last, more = _print(writer, _after(reader, wanted, last), False)
            bad += more
            writer.flush()
    if bad:
        raise JournalDamaged(f"the store is not whole: {len(bad)} findings, the first: {bad[0].words}")
    return writer.count


def _print(writer: Writer, found: Iterable[Found], check: bool) -> tuple[int, list[Finding]]:
    """Print events; return the id of the last one, and what is wrong with them."""
    from heartwire.monitor.export import TAMPERED

    checker: ChainChecker | None = None
    number = last = 0
    bad: list[Finding] = []
    for item in found:
        if checker is None or item.journal != number:
            number = item.journal
            checker = ChainChecker(item.entry.sequence - 1)
        if check:
            _, findings = checker.take(item.entry.raw)
            for finding in findings:
                if finding.kind in TAMPERED:
                    bad.append(finding)
                    writer.finding(finding)
        writer.entry(item.entry)
        last = item.id
    return last, bad


def _after(reader: Reader, wanted: Filter, last: int) -> Iterator[Found]:
    """Yield what came after the event `last`."""
    return reader.all(wanted, after=last)
