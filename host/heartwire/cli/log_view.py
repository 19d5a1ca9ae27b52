"""How log entries are printed: as text in a pipe, coloured and wrapped on a terminal, as CSV, as JSON lines.

Writers print entries as they come and keep no list. Findings about the journal stand in the text where they belong; in
CSV and JSON, which programs read, they go to stderr.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from heartwire import capture
from heartwire.chain import Finding
from heartwire.cli.output import note
from heartwire.journal import Entry
from heartwire.times import uptime_words

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"alarm": "!!", "warning": "! ", "notice": "  ", "info": "  "}
STYLES = {"alarm": "bold red", "warning": "yellow", "notice": "", "info": "dim"}


def writer_of(form: str, on_terminal: bool) -> Writer:
    """Return the writer for "text", "csv" or "json"."""
    if form == "csv":
        return CsvWriter(sys.stdout)
    if form == "json":
        return JsonWriter(sys.stdout)
    if on_terminal:
        from heartwire.cli.output import terminal

        return TerminalWriter(terminal())
    return Writer(sys.stdout)


def time_words(entry: Entry, *, date: bool) -> str:
    """Return when it was: local wall time, or boot and uptime where no host had set the time."""
    if entry.wall is None:
        return f"{f'boot {entry.boot} ' if date else ''}{uptime_words(entry.uptime_ms)}"
    local = entry.wall.astimezone()
    clock = f"{local:%H:%M:%S}.{local.microsecond // 1000:03}"
    return f"{local:%Y-%m-%d} {clock}" if date else clock


class Writer:
    """Plain text: one line an entry, everything on it, nothing cut."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.names: dict[str, str] = {}
        self.count = 0
        self.rotated = 0

    def entry(self, entry: Entry) -> None:
        """Print one entry."""
        self.count += 1
        when = time_words(entry, date=True)
        self.write(f"{entry.sequence:>6}  {when:<23}  {entry.severity:<7}  {entry.sentence(self.names)}\n")

    def finding(self, finding: Finding) -> None:
        """Print what is wrong with the journal, where it is wrong."""
        self.write(f"{'-':>6}  {'JOURNAL DAMAGED':<23}  {'alarm':<7}  {finding.words}\n")

    def write(self, text: str) -> None:
        """Write text to the stream as it is."""
        if self._stream is not None:
            self._stream.write(text)

    def flush(self) -> None:
        """Bring what was printed to its reader."""
        if self._stream is not None:
            self._stream.flush()


class CsvWriter(Writer):
    """CSV; the header comes before the first entry, or alone if there is none."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self.write(capture.csv_header())

    def entry(self, entry: Entry) -> None:
        self.count += 1
        self.write(capture.csv_line(entry, self.names))

    def finding(self, finding: Finding) -> None:
        note(f"-- journal damaged: {finding.words}")


class JsonWriter(Writer):
    """One JSON object a line."""

    def entry(self, entry: Entry) -> None:
        self.count += 1
        self.write(capture.json_line(entry, self.names))

    def finding(self, finding: Finding) -> None:
        note(f"-- journal damaged: {finding.words}")


class TerminalWriter(Writer):
    """Colours, a heading for each day and boot, and sentences wrapped under themselves."""

    def __init__(self, console: Console) -> None:
        super().__init__(None)
        self._console = console
        self._heading = ""

    def entry(self, entry: Entry) -> None:
        self.count += 1
        day = f"{entry.wall.astimezone():%A, %Y-%m-%d}" if entry.wall else "no wall time"
        heading = f"{day}, boot {entry.boot}"
        if heading != self._heading:
            self._heading = heading
            self._console.print(f"-- {heading}", style="dim")
        style = STYLES.get(entry.severity, "")
        mark = MARKS.get(entry.severity, "  ")
        self._row(str(entry.sequence), time_words(entry, date=False), mark, entry.sentence(self.names), style)

    def finding(self, finding: Finding) -> None:
        self._row("-", "JOURNAL", "!!", f"damaged: {finding.words}", "bold white on red")

    def _row(self, sequence: str, when: str, mark: str, sentence: str, style: str) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(justify="right", min_width=5, no_wrap=True)
        table.add_column(min_width=12, no_wrap=True)
        table.add_column(width=2)
        table.add_column(overflow="fold")
        table.add_row(Text(sequence, "dim"), Text(when, "dim"), Text(mark, style), Text(sentence, style))
        self._console.print(table)
