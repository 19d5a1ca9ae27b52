"""The project's own schematic symbols, so that the schematic opens and checks without any installed library.

A symbol is lines, boxes, circles and pins on a grid of 1.27 mm, x to the right and y DOWN; library() turns them into
a KiCad 9 symbol library. Pin numbers of two-pin parts: 1 is the cathode or the upper end. Never place or wire here:
that is sheet.py and the circuit files.
"""

from dataclasses import dataclass
from typing import Any

from sexpr import Atom, node

UNIT_MM = 1.27
TEXT_MM = 1.27
LIBRARY = "heartwire"
OUTWARD = {"left": 0, "right": 180, "up": 270, "down": 90}  # KiCad's angle points from the pin's end to the body


@dataclass(frozen=True)
class SymbolPin:
    """A pin: its connecting end at (x, y), pointing outward to `side`."""

    number: str
    name: str
    x: int
    y: int
    side: str
    kind: str = "passive"
    length: float = 2


@dataclass(frozen=True)
class Symbol:
    """A symbol before it becomes KiCad text. `body` is (left, top, right, bottom) without the pins."""

    name: str
    prefix: str
    pins: tuple[SymbolPin, ...]
    body: tuple[float, float, float, float]
    graphics: tuple[list[Any], ...] = ()
    show_names: bool = False
    show_numbers: bool = False
    power: bool = False

    def pin(self, key: str | int) -> SymbolPin:
        """Return the pin by number, or by name when only one has it."""
        by_number = [pin for pin in self.pins if pin.number == str(key)]
        found = by_number or [pin for pin in self.pins if pin.name == key]
        if len(found) != 1:
            raise KeyError(f"{self.name}: {len(found)} pins {key!r}")
        return found[0]


def _mm(value: float) -> float:
    return round(value * UNIT_MM, 4)


def _stroke(width: float = 0.2) -> list[Any]:
    return node("stroke", node("width", width), node("type", Atom("default")))


def line(*points: tuple[float, float], fill: str = "none", width: float = 0.2) -> list[Any]:
    """Return a line through the points; fill "outline" makes it solid."""
    xy = [node("xy", _mm(x), -_mm(y)) for x, y in points]
    return node("polyline", node("pts", *xy), _stroke(width), node("fill", node("type", Atom(fill))))


def box(left: float, top: float, right: float, bottom: float, fill: str = "background") -> list[Any]:
    """Return a rectangle."""
    corners = node("start", _mm(left), -_mm(top)), node("end", _mm(right), -_mm(bottom))
    return node("rectangle", *corners, _stroke(), node("fill", node("type", Atom(fill))))


def circle(x: float, y: float, radius: float, fill: str = "none") -> list[Any]:
    """Return a circle."""
    centre = node("center", _mm(x), -_mm(y)), node("radius", _mm(radius))
    return node("circle", *centre, _stroke(), node("fill", node("type", Atom(fill))))


def arrow(x: float, y: float, to_x: float, to_y: float) -> tuple[list[Any], list[Any]]:
    """Return a short arrow as two pieces."""
    dx, dy = to_x - x, to_y - y
    length = (dx * dx + dy * dy) ** 0.5
    ux, uy = dx / length * 0.6, dy / length * 0.6
    head = line(
        (to_x, to_y), (to_x - ux - uy * 0.6, to_y - uy + ux * 0.6), (to_x - ux + uy * 0.6, to_y - uy - ux * 0.6),
        (to_x, to_y), fill="outline", width=0.1,
    )  # fmt: skip
    return line((x, y), (to_x, to_y), width=0.1), head


def integrated(
    name: str, prefix: str, left: list[tuple[str, str, str]], right: list[tuple[str, str, str]], width: int,
    step: int = 2,
) -> Symbol:  # fmt: skip
    """Return a box with named pins down both sides; entries are (number, name, kind), the width is even."""
    pins = []
    for entries, x, side in ((left, -width // 2 - 3, "left"), (right, width // 2 + 3, "right")):
        for row, (number, label, kind) in enumerate(entries):
            pins.append(SymbolPin(number, label, x, row * step, side, kind, length=3))
    bottom = step * (max(len(left), len(right)) - 1) + 2
    body = (-width / 2, -2, width / 2, bottom)
    return Symbol(name, prefix, tuple(pins), body, (box(*body),), show_names=True, show_numbers=True)


def _effects(hidden: bool = False) -> list[Any]:
    hide = node("hide", Atom("yes")) if hidden else None
    return node("effects", node("font", node("size", TEXT_MM, TEXT_MM)), hide)


def definition(symbol: Symbol, qualified: bool) -> list[Any]:
    """Return the symbol as KiCad text; `qualified` puts the library's name in front, as schematics want it."""
    name = f"{LIBRARY}:{symbol.name}" if qualified else symbol.name

    def switch(shown: bool) -> list[Any] | None:
        return None if shown else node("hide", Atom("yes"))

    result = node("symbol", name)
    if symbol.power:
        result.append(node("power"))
    result += [
        node("pin_numbers", switch(symbol.show_numbers)) if not symbol.show_numbers else None,
        node("pin_names", node("offset", 0.6), switch(symbol.show_names)),
        node("exclude_from_sim", Atom("no")),
        node("in_bom", Atom("no" if symbol.power else "yes")),
        node("on_board", Atom("yes")),
    ]
    result = [item for item in result if item is not None]
    for key, value in (("Reference", symbol.prefix), ("Value", symbol.name), ("Footprint", ""), ("Datasheet", "")):
        result.append(node("property", key, value, node("at", 0, 0, 0), _effects(hidden=key != "Value")))
    result.append(node("symbol", f"{symbol.name}_0_1", *symbol.graphics))
    pins = [
        node(
            "pin", Atom(pin.kind), Atom("line"), node("at", _mm(pin.x), -_mm(pin.y), OUTWARD[pin.side]),
            node("length", _mm(pin.length)), node("name", pin.name, _effects()), node("number", pin.number, _effects()),
        )
        for pin in symbol.pins
    ]  # fmt: skip
    result.append(node("symbol", f"{symbol.name}_1_1", *pins))
    result.append(node("embedded_fonts", Atom("no")))
    return result


def library(symbols: list[Symbol]) -> list[Any]:
    """Return the whole symbol library."""
    head = node("version", Atom("20241209")), node("generator", "heartwire"), node("generator_version", "9.0")
    return node("kicad_symbol_lib", *head, *(definition(symbol, qualified=False) for symbol in symbols))
