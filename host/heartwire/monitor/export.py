"""Out of the store: CSV and JSON lines, the picture of a failover, and a check of everything that is kept.

Streams page by page, so a million events need no memory; a file appears whole or not at all. Called by the CLI.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

from heartwire import capture
from heartwire import timeline as pictures
from heartwire.chain import ALTERED, DAMAGED, RESTARTED, ChainChecker
from heartwire.errors import BadConfig, StorageProblem, UsageProblem
from heartwire.monitor.query import BoardRow, Filter, Found, Reader, number_of
from heartwire.times import parse_since

# How far back a picture looks for the roles before its story.
HISTORY = 3000
# And how far ahead, where it is not the last one.
AFTER = 500
# What a stored journal must not show; gaps may be, see `verify`.
TAMPERED = (ALTERED, DAMAGED, RESTARTED)


def filter_of(
    reader: Reader,
    *,
    now: datetime,
    board: str | None = None,
    node: str | None = None,
    severity: str | None = None,
    event: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Filter:
    """Return the filter of the options as people type them. Raises UsageProblem, BadConfig."""
    row = reader.board(board) if board else None
    if event is not None:
        number_of(event)
    end = parse_since(until, now) if until else None
    if isinstance(end, int):
        raise UsageProblem("--until takes a time or a span", "write 2030-01-31T12:00 or 2h")
    start = parse_since(since, now) if since else None
    return Filter(row.board_id if row else "", node, severity, event, start, end)


def write(reader: Reader, wanted: Filter, form: str, stream: TextIO) -> int:
    """Write all events of a filter to `stream` as csv or json; return how many. Raises StorageProblem."""
    labels = {row.board_id: row.labels for row in reader.boards()}
    if form == "csv":
        stream.write("board," + capture.csv_header())
    count = 0
    for found in reader.all(wanted):
        names = labels.get(found.board_id, {})
        stream.write(_csv(found, names) if form == "csv" else _json(found, names))
        count += 1
    return count


def write_file(reader: Reader, wanted: Filter, form: str, path: Path) -> int:
    """Write as `write` does into a new file that replaces `path` when it is whole. Raises StorageProblem."""
    with _replacing(path) as stream:
        return write(reader, wanted, form, stream)


def write_text(path: Path, text: str) -> None:
    """Write `text` into a new file that replaces `path`. Raises StorageProblem."""
    with _replacing(path) as stream:
        stream.write(text)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    scratch = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        scratch = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
        mask = os.umask(0)
        os.umask(mask)
        scratch.chmod(0o666 & ~mask)
        scratch.replace(path)
    except OSError as error:
        raise StorageProblem(f"{path}: {error.strerror}") from None
    finally:
        if scratch is not None:
            with contextlib.suppress(OSError):
                scratch.unlink()


def _json(found: Found, names: dict[str, str]) -> str:
    body = {"board": found.board, "board_id": found.board_id, "journal": found.journal, **found.entry.as_json(names)}
    return json.dumps(body, ensure_ascii=False) + "\n"


def _csv(found: Found, names: dict[str, str]) -> str:
    # Board names are letters, digits, dot, dash and underscore: nothing to quote.
    return f"{found.board},{capture.csv_line(found.entry, names)}"


@dataclass(frozen=True)
class Story:
    """One activation of a board: its records, those before it, and what it is called."""

    board: BoardRow
    title: str
    moments: list[pictures.Moment]
    history: list[pictures.Moment]

    def picture(self) -> str:
        """Return it as SVG."""
        return pictures.render(self.moments, self.board.labels, self.title, history=self.history)


def story(reader: Reader, board: str | None, before: int | None) -> Story:
    """Return the last activation of a board, or the one up to the record `before`.

    Raises BadConfig if there is none, or several boards.
    """
    row = one_board(reader, board)
    ours = Filter(row.board_id)
    found = _around(reader, row, before) if before is not None else []
    found = found or reader.newest(ours, HISTORY)
    history = pictures.moments([(one.at_ms, one.entry) for one in found if one.journal == row.journal])
    moments = pictures.last_story(history, before)
    if not moments:
        raise BadConfig(f"{row.name}: nobody was made active in what is kept", "look with `heartwire log --store`")
    return Story(row, f"{row.name}: {pictures.title_of(moments, row.labels)}", moments, history)


def _around(reader: Reader, row: BoardRow, sequence: int) -> list[Found]:
    """Return what was stored before and soon after a record of a board's journal; [] if it is not kept."""
    first = next(iter(reader.all(Filter(row.board_id, since=sequence), 1)), None)
    if first is None or first.entry.sequence != sequence or first.journal != row.journal:
        return []
    ours = Filter(row.board_id)
    after = list(itertools.islice(reader.all(ours, AFTER, after=first.id), AFTER))
    return [*reader.newest(ours, HISTORY, first.id), first, *after]


def timeline(reader: Reader, board: str | None, before: int | None) -> str:
    """Return the SVG of the last activation of a board. Raises BadConfig if there is none, or several boards."""
    return story(reader, board, before).picture()


def one_board(reader: Reader, board: str | None) -> BoardRow:
    """Return the board named, or the only one. Raises BadConfig, UsageProblem."""
    row = reader.board(board)
    if row is None:
        names = ", ".join(found.name for found in reader.boards()) or "none yet"
        raise UsageProblem("this store has several boards, or none", f"choose with --board: {names}")
    return row


def verify(reader: Reader, board_id: str) -> Iterator[Found | str]:
    """Yield each stored event of a board, and words before one that is damaged or does not continue its chain.

    Gaps are no finding here: what was missing was observed when it was collected, and retention removes.
    """
    checker = ChainChecker()
    number = 0
    for found in reader.all(Filter(board_id)):
        if found.journal != number:
            number = found.journal
            checker = ChainChecker(found.entry.sequence - 1)
        _, findings = checker.take(found.entry.raw)
        for finding in findings:
            if finding.kind in TAMPERED:
                yield finding.words
        yield found
