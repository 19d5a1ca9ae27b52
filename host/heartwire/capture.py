"""The journal as files: CSV for spreadsheets, JSON lines for programs, and JSON lines read back as a saved journal.

`heartwire log --json > FILE` is the capture format: each line carries the raw record, so a saved journal is checked
exactly like a live one, chain included. Called by the CLI's log command; writing goes to any text stream the caller
opened.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from heartwire.answers import iso
from heartwire.chain import ChainChecker, Finding
from heartwire.errors import BadConfig, NotPermitted
from heartwire.journal import Entry, Names

CSV_COLUMNS = (
    "sequence",
    "time",
    "boot",
    "uptime_ms",
    "severity",
    "event",
    "node",
    "reason",
    "a",
    "b",
    "sentence",
)


def csv_header() -> str:
    """Return the first line of a CSV journal, with its newline."""
    return _csv_line(CSV_COLUMNS)


def csv_line(entry: Entry, names: Names | None = None) -> str:
    """Return one entry as a CSV line (RFC 4180 quoting, plain newline)."""
    return _csv_line(
        (
            entry.sequence,
            iso(entry.wall) or "",
            entry.boot,
            entry.uptime_ms,
            entry.severity,
            entry.event,
            entry.node,
            entry.reason,
            entry.a,
            entry.b,
            entry.sentence(names),
        )
    )


def json_line(entry: Entry, names: Names | None = None) -> str:
    """Return one entry as a line of JSON."""
    return json.dumps(entry.as_json(names), ensure_ascii=False) + "\n"


def read_file(path: Path) -> Iterator[Entry | Finding]:
    """Yield the entries of a saved journal (JSON lines with `raw`) and what is wrong with it, in order.

    Raises BadConfig with the line number if the file is no saved journal, NotPermitted if it may not be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from check(_raw_records(path, file))
    except PermissionError:
        raise NotPermitted(f"{path}: you may not read this file", "") from None
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "no text file"
        raise BadConfig(f"{path}: {words}", "give a file that `heartwire log --json` wrote") from None


def check(raw_records: Iterable[bytes]) -> Iterator[Entry | Finding]:
    """Yield the entries of raw records and the findings about them, each finding before the entry it was found at."""
    checker: ChainChecker | None = None
    for raw in raw_records:
        if checker is None:
            checker = ChainChecker(max(0, int.from_bytes(raw[:4], "little") - 1))
        entry, findings = checker.take(raw)
        yield from findings
        if entry is not None:
            yield entry


def _raw_records(path: Path, lines: Iterable[str]) -> Iterator[bytes]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield bytes.fromhex(json.loads(line)["raw"])
        except (ValueError, KeyError, TypeError):
            raise BadConfig(
                f"{path}: line {number} is no record of a saved journal",
                "give a file that `heartwire log --json` wrote",
            ) from None


def _csv_line(values: Iterable[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(list(values))
    return stream.getvalue()
