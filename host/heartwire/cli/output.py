"""Printing: the same lines and tables with colour on a terminal and as plain text in a pipe.

A view is a list of parts (Line, Sheet); nothing is cut off in a pipe, and rich is imported only for a terminal. It
never touches the board. Called by all commands that print more than a sentence.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import click

from heartwire.errors import StorageProblem

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# A piece of text and its rich style.
Cell = tuple[str, str]
# On a narrow terminal a name may shrink to this many characters.
NARROWEST = 4


@dataclass
class Line:
    """One line of text in pieces; wraps on a terminal under its first column."""

    cells: list[Cell]

    def plain(self) -> str:
        """Return the text without styles."""
        return "".join(text for text, _ in self.cells)

    def rich(self, width: int) -> RenderableType:
        """Return it for a rich console, which wraps it."""
        from rich.text import Text

        return Text.assemble(*[(text, style) for text, style in self.cells])


@dataclass
class Sheet:
    """A table: headers and rows of cells, columns as wide as they need to be."""

    headers: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)
    right: frozenset[int] = frozenset()  # columns aligned to the right

    def plain(self) -> str:
        """Return the table as aligned text."""
        texts = [list(self.headers), *([text for text, _ in row] for row in self.rows)]
        widths = [max(len(row[column]) for row in texts) for column in range(len(self.headers))]
        lines = []
        for row in texts:
            cells = [
                text.rjust(width) if column in self.right else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def rich(self, width: int) -> RenderableType:
        """Return it for a rich console of `width` columns: the first column gives way before any measured value
        does.
        """
        from rich.table import Table
        from rich.text import Text

        count = len(self.headers)
        widths = [max(len(self.headers[at]), *(len(row[at][0]) for row in self.rows), 0) for at in range(count)]
        gap = 2 if sum(widths) + 2 * (count - 1) <= width else 1
        spare = width - sum(widths) - gap * (count - 1)
        widths[0] = max(NARROWEST, widths[0] + min(0, spare))
        table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
        for at, header in enumerate(self.headers):
            justify: Literal["left", "right"] = "right" if at in self.right else "left"
            table.add_column(header, justify=justify, no_wrap=True, overflow="ellipsis", width=widths[at])
        for row in self.rows:
            table.add_row(*[Text(text, style) for text, style in row])
        return table


Part = Line | Sheet


def line(text: str = "", style: str = "") -> Line:
    """Return a line of one piece."""
    return Line([(text, style)])


def is_terminal() -> bool:
    """Tell whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def emit(text: str = "") -> None:
    """Print one line to stdout. Raises StorageProblem if stdout is closed."""
    if sys.stdout is None:
        raise StorageProblem("standard output is closed", "send the output somewhere")
    click.echo(text)


def emit_json(value: Any) -> None:
    """Print one JSON value to stdout."""
    emit(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Print a remark that is no result to stderr."""
    click.echo(text, err=True)


def terminal() -> Console:
    """Return the rich console for stdout."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def show(parts: Sequence[Part]) -> None:
    """Print a view."""
    if is_terminal():
        console = terminal()
        for part in parts:
            console.print(part.rich(console.width))
        return
    for part in parts:
        emit(part.plain())


def show_markdown(text: str) -> None:
    """Print a page: set for a terminal, as it is in a pipe."""
    if not is_terminal():
        emit(text)
        return
    from rich.markdown import Markdown

    console = terminal()
    console.print(Markdown(text), width=min(console.width, 110))
