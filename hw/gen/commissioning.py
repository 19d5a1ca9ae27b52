"""The commissioning sheets: what to measure where, the right value, and what else it means; a table and two A4 pages.

Reads hw/commissioning.toml. The pages are SVG of 210 x 297 mm with room for a value and a tick; standard library only,
so that verify.py compares them byte for byte.
"""

import textwrap
import tomllib
from dataclasses import dataclass
from xml.sax.saxutils import escape

import pins as pin_list
from tables_text import table

SOURCE = pin_list.ROOT / "hw" / "commissioning.toml"
BUILDS = {"a": "Build A (modules)", "carrier": "Build B (carrier)"}
FONT = "font-family='DejaVu Sans, Arial, sans-serif'"
# Column: title, left edge in mm, letters in a line.
COLUMNS = (
    ("", 10, 3),
    ("measure", 16, 25),
    ("where", 58, 23),
    ("right", 97, 20),
    ("measured", 131, 9),
    ("if not", 153, 30),
)
LINE_MM, TOP_MM, TEXT_MM = 3.6, 38, 2.6


@dataclass(frozen=True)
class Measure:
    """One line of the sheet."""

    what: str
    a: str
    carrier: str
    right: str
    wrong: str


def measures() -> list[Measure]:
    """Return the lines in order; an unknown key raises TypeError."""
    document = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    return [Measure(**entry) for entry in document["measure"]]


def first_power_up() -> str:
    """Return the table of README.md."""
    return table(
        "measure|build A|build B|right|if not", [[m.what, m.a, m.carrier, m.right, m.wrong] for m in measures()]
    )


def sheet(build: str) -> str:
    """Return the page of one build, "a" or "carrier", as SVG."""
    lines = [
        "<svg xmlns='http://www.w3.org/2000/svg' width='210mm' height='297mm' viewBox='0 0 210 297'>",
        "<rect width='210' height='297' fill='#ffffff'/>",
        _words(10, 15, f"Heartwire: commissioning sheet, {BUILDS[build]}", 5, True),
        _words(
            10,
            22,
            "Before the firmware: contactors' 24 V off, BOOTSEL held or a blank Pico, every cable plugged in.",
            3,
        ),
        _words(10, 28, "Board: ______________________   Date: ______________   Name: ______________________", 3),
    ]
    lines += [_words(left, TOP_MM - 2, title, TEXT_MM, True) for title, left, _ in COLUMNS]
    y = float(TOP_MM)
    for number, measure in enumerate(measures(), 1):
        cells = (str(number), measure.what, getattr(measure, build), measure.right, "", measure.wrong)
        wrapped = [textwrap.wrap(cell, width) for cell, (_, _, width) in zip(cells, COLUMNS, strict=True)]
        height = max(len(rows) for rows in wrapped) * LINE_MM + 2.4
        lines.append(f"<line x1='10' y1='{y:.1f}' x2='202' y2='{y:.1f}' stroke='#808080' stroke-width='0.2'/>")
        for rows, (_, left, _) in zip(wrapped, COLUMNS, strict=True):
            lines += [_words(left, y + LINE_MM * (row + 1), text, TEXT_MM, False) for row, text in enumerate(rows)]
        lines.append(f"<rect x='131' y='{y + 1.2:.1f}' width='18' height='{height - 2.4:.1f}' fill='none' "
                     "stroke='#808080' stroke-width='0.2'/>")  # fmt: skip
        y += height
    lines.append(f"<line x1='10' y1='{y:.1f}' x2='202' y2='{y:.1f}' stroke='#808080' stroke-width='0.2'/>")
    lines.append(
        _words(10, y + 7, "Then install the firmware and measure again: in observe mode nothing may have changed.", 3)
    )
    lines.append(
        _words(
            10, y + 12, "Go on with: heartwire selftest. Not measured by us: a prototype until somebody built it.", 3
        )
    )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _words(x: float, y: float, text: str, size: float, bold: bool = False) -> str:
    weight = " font-weight='bold'" if bold else ""
    return f"<text x='{x}' y='{y:.1f}' {FONT} font-size='{size}'{weight}>{escape(text)}</text>"
