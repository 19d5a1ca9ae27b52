"""The ARM board of build A on strip board: reads hw/wiring/arm_board.toml, checks it, draws it as SVG.

One strip is one net and nothing is cut, so every part simply stands between its strips. problems() compares with the
schematic's netlist: same parts, same connections (values differ where build A takes through-hole parts). The picture
is drawn with the standard library, so that verify.py can compare it byte for byte. Called by make.py and the tests.
"""

import tomllib
from dataclasses import dataclass
from xml.sax.saxutils import escape

from netlist import Netlist
from wiring import WIRING

SOURCE = WIRING / "arm_board.toml"
# Legs by name -> pin number of the schematic. The PNP transistor takes the place of the P-MOSFET.
LEG_PIN = {"K": "1", "A": "2", "G": "1", "S": "2", "D": "3", "B": "1", "E": "2", "C": "3"}
HOLES = 31
PITCH = 34
LEFT, TOP = 110, 70
FONT = "font-family='DejaVu Sans, Arial, sans-serif'"


@dataclass(frozen=True)
class StripPart:
    """A part in one column of holes; `legs` maps the leg's name to its strip."""

    ref: str
    value: str
    hole: int
    legs: dict[str, str]


@dataclass(frozen=True)
class StripBoard:
    """The strips from top to bottom, those that end in a terminal, and the parts."""

    strips: list[str]
    terminals: list[str]
    parts: list[StripPart]


def load() -> StripBoard:
    """Return the committed board."""
    document = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    return StripBoard(document["strips"], document["terminals"], [StripPart(**part) for part in document["part"]])


def problems(board: StripBoard, netlist: Netlist) -> list[str]:
    """Return one sentence for each difference from the schematic, and for each hole used twice."""
    found = []
    holes: dict[tuple[int, int], str] = {}
    nets: dict[str, str] = {}
    for part in board.parts:
        rows = [board.strips.index(strip) for strip in part.legs.values()]
        for row in range(min(rows), max(rows) + 1):
            other = holes.setdefault((part.hole, row), part.ref)
            if other != part.ref:
                found.append(f"{part.ref} and {other} meet at hole {part.hole}, strip {board.strips[row]}")
        if part.ref not in netlist.values:
            found.append(f"{part.ref} is not in the schematic")
            continue
        for strip, net in _strip_nets(part, netlist, nets):
            if nets.setdefault(strip, net) != net:
                found.append(f"{part.ref}: strip {strip} is {nets[strip]}, the schematic says {net}")
    wrong = {strip: net for strip, net in nets.items() if list(nets.values()).count(net) > 1}
    if wrong:
        found.append(f"several strips for one net: {wrong}")
    return found


def _strip_nets(part: StripPart, netlist: Netlist, known: dict[str, str]) -> list[tuple[str, str]]:
    """Return (strip, net) for each leg; the legs of parts without polarity are told apart by strips known already."""
    named = [(strip, netlist.pins[part.ref, LEG_PIN.get(leg, leg)]) for leg, strip in part.legs.items()]
    plain = set(part.legs) == {"1", "2"}
    if plain and any(known.get(strip, net) != net for strip, net in named):
        (first, net_1), (second, net_2) = named
        return [(first, net_2), (second, net_1)]
    return named


def svg(board: StripBoard) -> str:
    """Return the picture: the side with the parts, strips running underneath from left to right."""
    width = LEFT + HOLES * PITCH + 20
    height = TOP + len(board.strips) * PITCH + 10
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}'>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
        _words(LEFT, 24, "ARM board, seen from the side of the parts; strips run underneath, none is cut", 17, "start"),
    ]
    for hole in range(1, HOLES + 1):
        if hole % 4 == 0:
            lines.append(_words(_x(hole), TOP - 22, str(hole), 14, "middle"))
    for row, strip in enumerate(board.strips):
        y = _y(row)
        lines.append(
            f"<rect x='{LEFT}' y='{y - 12}' width='{HOLES * PITCH}' height='24' fill='#f0d9b8' stroke='#c8a878'/>"
        )
        lines += [f"<circle cx='{_x(hole)}' cy='{y}' r='2.5' fill='#ffffff' stroke='#a08860'/>"
                  for hole in range(1, HOLES + 1)]  # fmt: skip
        lines.append(_words(LEFT - 34, y + 5, strip, 15, "end", bold=strip in board.terminals))
        if strip in board.terminals:
            lines.append(
                f"<rect x='{LEFT - 28}' y='{y - 11}' width='24' height='22' rx='3' fill='#3f7f4f'/>"
                f"<circle cx='{LEFT - 16}' cy='{y}' r='6' fill='#d8d8d8' stroke='#303030'/>"
            )
    for part in board.parts:
        lines += _part(board, part)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _x(hole: int) -> int:
    return LEFT + hole * PITCH - PITCH // 2


def _y(row: int) -> int:
    return TOP + row * PITCH + PITCH // 2


def _words(x: float, y: float, text: str, size: int, anchor: str, bold: bool = False) -> str:
    weight = " font-weight='bold'" if bold else ""
    return f"<text x='{x}' y='{y}' {FONT} font-size='{size}' text-anchor='{anchor}'{weight}>{escape(text)}</text>"


def _part(board: StripBoard, part: StripPart) -> list[str]:
    rows = {leg: board.strips.index(strip) for leg, strip in part.legs.items()}
    x, top, bottom = _x(part.hole), _y(min(rows.values())), _y(max(rows.values()))
    middle = (top + bottom) / 2
    half = min((bottom - top) / 2 - 5, 26)
    fill = {"R": "#dbe8ff", "C": "#d9f2df", "D": "#ffe0e0", "Q": "#e8e0ff", "F": "#fff6cc"}[part.ref[0]]
    lines = [
        f"<line x1='{x}' y1='{top}' x2='{x}' y2='{bottom}' stroke='#404040' stroke-width='3'/>",
        f"<rect x='{x - 9}' y='{middle - half}' width='18' height='{2 * half}' rx='4' fill='{fill}' stroke='#303030'/>",
    ]
    if "K" in rows:
        ring = middle - half + 4 if _y(rows["K"]) == top else middle + half - 4
        lines.append(f"<line x1='{x - 9}' y1='{ring}' x2='{x + 9}' y2='{ring}' stroke='#000000' stroke-width='4'/>")
    if part.ref == "C1":
        lines.append(_words(x - 14, top + 14, "+", 18, "end", bold=True))
    for leg, row in rows.items():
        lines.append(f"<circle cx='{x}' cy='{_y(row)}' r='4.5' fill='#303030'/>")
        if part.ref.startswith("Q"):
            lines.append(_words(x - 13, _y(row) + 5, leg, 14, "end", bold=True))
    for dy, text, size, bold in ((-2, part.ref, 14, True), (13, part.value, 13, False)):
        words = _words(x + 13, middle + dy, text, size, "start", bold)
        lines += [words.replace("<text", "<text stroke='#f7ead6' stroke-width='5'"), words]
    return lines
