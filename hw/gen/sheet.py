"""Places parts, wires and words on schematic sheets and writes them as KiCad 9 files, the same bytes on each run.

Positions are whole steps of 1.27 mm, y downwards. A wire that passes a pin or another wire's end is split there, and
a junction is set where three ends meet: KiCad drops pieces otherwise. What a sheet covers is remembered as boxes, so
that layout.py can tell when words overlap. Knows nothing about Heartwire's circuit; circuit_*.py call it.
"""

import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from parts import SYMBOLS
from sexpr import Atom, dump, node
from symbols import LIBRARY, TEXT_MM, UNIT_MM, Symbol, definition, library

Point = tuple[int, int]
Box = tuple[float, float, float, float]
NAMESPACE = uuid.UUID("6c1f3a52-0c0e-4e0b-9a8c-5a7d4f6e2b10")
CHAR_WIDTH = 0.92  # of the text height: a little more than KiCad's stroke font needs on average


def identity(*words: object) -> str:
    """Return a UUID that depends on the words only, so that a second run writes the same file."""
    return str(uuid.uuid5(NAMESPACE, "/".join(str(word) for word in words)))


def mm(value: float) -> float:
    """Return grid steps in millimetres."""
    return round(value * UNIT_MM, 4)


@dataclass
class Words:
    """A piece of text with the box it covers, in grid steps."""

    text: str
    box: Box
    owner: str


@dataclass
class Part:
    """A symbol placed on a sheet."""

    symbol: Symbol
    ref: str
    value: str
    at: Point
    ref_at: tuple[float, float, str]
    value_at: tuple[float, float, str]
    fields: dict[str, str]
    show_value: bool

    def pin(self, key: str | int) -> Point:
        """Return where the pin ends on the sheet."""
        pin = self.symbol.pin(key)
        return self.at[0] + pin.x, self.at[1] + pin.y


def text_box(text: str, x: float, y: float, justify: str, size: float = TEXT_MM, top: bool = False) -> Box:
    """Return the box that text covers; y is its middle, or its top edge when `top`."""
    lines = text.split("\n")
    width = max(len(row) for row in lines) * CHAR_WIDTH * size / UNIT_MM
    height = (len(lines) - 1) * 1.62 * size / UNIT_MM + size / UNIT_MM
    left = {"left": x, "right": x - width, "center": x - width / 2}[justify]
    upper = y if top else y - height / 2
    return left, upper, left + width, upper + height


def _style(size: float = TEXT_MM, justify: str = "center", vertical: str = "", bold: bool = False,
           hidden: bool = False) -> list[Any]:  # fmt: skip
    words = [Atom(word) for word in (justify, vertical) if word and word != "center"]
    font = node("font", node("size", size, size), node("bold", Atom("yes")) if bold else None)
    return node("effects", font, node("justify", *words) if words else None,
                node("hide", Atom("yes")) if hidden else None)  # fmt: skip


@dataclass
class Sheet:
    """One A4 sheet. `project` counts power symbols over all sheets."""

    project: "Project"
    name: str
    title: str
    page: int
    parts: list[Part] = field(default_factory=list)
    wires: list[tuple[Point, Point]] = field(default_factory=list)
    items: list[list[Any]] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    label_points: list[Point] = field(default_factory=list)
    frames: list[Box] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Return the sheet's place in the hierarchy."""
        root = f"/{self.project.root_id}"
        return root if self.page == 1 else f"{root}/{identity(self.name, 'sheet')}"

    def part(self, symbol: str, ref: str, value: str, at: Point, ref_at: tuple[float, float, str] | None = None,
             value_at: tuple[float, float, str] | None = None, show_value: bool = True,
             **fields: str) -> Part:  # fmt: skip
        """Place a part by its middle; ref_at and value_at are (dx, dy, justify) of its words."""
        shape = SYMBOLS[symbol]
        _, top, right, bottom = shape.body
        standing = symbol.endswith("_V")
        default_ref = (right + 0.8, -0.9, "left") if standing else (0.0, top - 1.1, "center")
        default_value = (right + 0.8, 0.9, "left") if standing else (0.0, bottom + 1.1, "center")
        part = Part(shape, ref, value, at, ref_at or default_ref, value_at or default_value, fields,
                    show_value and not ref.startswith("#FLG"))  # fmt: skip
        self.parts.append(part)
        for text, (dx, dy, justify), shown in (
            (ref, part.ref_at, not ref.startswith("#")), (value, part.value_at, part.show_value),
        ):  # fmt: skip
            if shown:
                self.words.append(Words(text, text_box(text, at[0] + dx, at[1] + dy, justify), ref))
        return part

    def wire(self, *points: Point) -> Point:
        """Draw straight pieces through the points and return the last one."""
        for start, end in pairwise(points):
            if start[0] != end[0] and start[1] != end[1]:
                raise ValueError(f"{self.name}: slanted wire {start} {end}")
            if start != end:
                self.wires.append((start, end))
        return points[-1]

    def power(self, name: str, at: Point, side: str = "") -> Part:
        """Set a supply symbol: GND (side "", "left" or "right"), +5V, +3V3 or +5V_ARMED."""
        symbol = f"{name}_{side.upper()}" if side else name
        words = {"": (0, 3.2, "center"), "left": (-2.6, 0, "right"), "right": (2.6, 0, "left")}[side]
        value_at = words if name == "GND" else (0, -2.3, "center")
        return self.part(symbol, self.project.next_power("#PWR"), name, at, (0, 0, "center"), value_at)

    def flag(self, at: Point) -> None:
        """Tell the rule check that this net is fed from outside."""
        self.part("PWR_FLAG", self.project.next_power("#FLG"), "PWR_FLAG", at, (0, 0, "center"), (0, 0, "center"))

    def label(self, name: str, at: Point, to_left: bool = False) -> None:
        """Name the wire at a point; the words stand above the wire, to the right or to the left of the point."""
        justify = "right" if to_left else "left"
        self.items.append(
            node("label", name, node("at", mm(at[0]), mm(at[1]), 180 if to_left else 0),
                 _style(justify=justify, vertical="bottom"), node("uuid", identity(self.name, "label", name, at)))
        )  # fmt: skip
        self.label_points.append(at)
        self.words.append(Words(name, text_box(name, at[0], at[1] - 0.8, justify), f"label {name}"))

    def port(self, name: str, at: Point, shape: str, to_left: bool = True) -> None:
        """Set a label that joins sheets (input: comes from elsewhere, output: goes elsewhere)."""
        justify = "right" if to_left else "left"
        hidden = node("property", "Intersheetrefs", "${INTERSHEET_REFS}", node("at", mm(at[0]), mm(at[1]), 0),
                      _style(hidden=True))  # fmt: skip
        self.items.append(
            node("global_label", name, node("shape", Atom(shape)), node("at", mm(at[0]), mm(at[1]),
                 180 if to_left else 0), _style(justify=justify), node("uuid", identity(self.name, "port", name, at)),
                 hidden)
        )  # fmt: skip
        self.label_points.append(at)
        shift = -1.6 if to_left else 1.6
        self.words.append(Words(name, text_box(name, at[0] + shift, at[1], justify), f"port {name}"))

    def unconnected(self, at: Point) -> None:
        """Mark a pin as left open on purpose."""
        self.items.append(node("no_connect", node("at", mm(at[0]), mm(at[1])), node("uuid", identity(self.name, at))))

    def note(self, text: str, at: tuple[float, float], size: float = 1.5, bold: bool = False) -> None:
        """Write free text with its upper left corner at a point."""
        where = node("at", mm(at[0]), mm(at[1]), 0)
        self.items.append(
            node("text", text, node("exclude_from_sim", Atom("no")), where, _style(size, "left", "top", bold),
                 node("uuid", identity(self.name, "note", at)))
        )  # fmt: skip
        self.words.append(Words(text, text_box(text, at[0], at[1], "left", size, top=True), f"note {text[:20]!r}"))

    def frame(self, corner: Point, opposite: Point, title: str) -> None:
        """Draw a dashed box around a block, with its title inside the upper left corner."""
        stroke = node("stroke", node("width", 0.15), node("type", Atom("dash")), node("color", 120, 120, 120, 1))
        self.items.append(
            node("rectangle", node("start", mm(corner[0]), mm(corner[1])), node("end", mm(opposite[0]),
                 mm(opposite[1])), stroke, node("fill", node("type", Atom("none"))),
                 node("uuid", identity(self.name, "frame", corner)))
        )  # fmt: skip
        self.frames.append((*corner, *opposite))
        self.note(title, (corner[0] + 1, corner[1] + 1), 1.7, bold=True)

    def child(self, sheet: "Sheet", at: Point, size: Point) -> None:
        """Draw a box that stands for another sheet."""
        x, y = mm(at[0]), mm(at[1])
        title = node("property", "Sheetname", sheet.title, node("at", x, y - 0.7, 0), _style(1.8, "left", "bottom"))
        file = node("property", "Sheetfile", f"{sheet.name}.kicad_sch", node("at", x, mm(at[1] + size[1]) + 0.6, 0),
                    _style(1.27, "left", "top"))  # fmt: skip
        flags = [node(key, Atom(value)) for key, value in
                 (("exclude_from_sim", "no"), ("in_bom", "yes"), ("on_board", "yes"), ("dnp", "no"))]  # fmt: skip
        instances = node("instances", node("project", self.project.name,
                         node("path", self.path, node("page", str(sheet.page)))))  # fmt: skip
        self.items.append(
            node("sheet", node("at", x, y), node("size", mm(size[0]), mm(size[1])), *flags,
                 node("stroke", node("width", 0.15), node("type", Atom("solid"))),
                 node("fill", node("color", 255, 255, 240, 1)), node("uuid", identity(sheet.name, "sheet")), title,
                 file, instances)
        )  # fmt: skip
        self.words.append(Words(sheet.title, text_box(sheet.title, at[0], at[1] - 1.2, "left", 1.8), "sheet"))

    def junctions(self) -> list[Point]:
        """Return the points where a dot belongs."""
        ends: dict[Point, int] = {}
        for wire in self.wires:
            for point in wire:
                ends[point] = ends.get(point, 0) + 1
        for part in self.parts:
            for pin in part.symbol.pins:
                point = part.pin(pin.number)
                ends[point] = ends.get(point, 0) + 1
        for point in self.label_points:
            ends.setdefault(point, 0)
        return sorted(p for p, count in ends.items()
                      if count >= 3 or (count >= 1 and any(_inside(p, wire) for wire in self.wires)))  # fmt: skip

    def pieces(self) -> list[tuple[Point, Point]]:
        """Return the wires, split at every junction."""
        result = []
        dots = self.junctions()
        for start, end in self.wires:
            on = [dot for dot in dots if _inside(dot, (start, end))]
            on.sort(key=lambda dot: abs(dot[0] - start[0]) + abs(dot[1] - start[1]))
            result += list(zip([start, *on], [*on, end], strict=True))
        return result

    def text(self) -> str:
        """Return the sheet as a KiCad file."""
        project = self.project
        used = sorted({part.symbol.name for part in self.parts})
        title = node("title_block", node("title", self.title), node("rev", project.revision),
                     node("company", project.company), node("comment", 1, project.notice))  # fmt: skip
        result = node("kicad_sch", node("version", Atom("20250114")), node("generator", "heartwire"),
                      node("generator_version", "9.0"),
                      node("uuid", project.root_id if self.page == 1 else identity(self.name, "file")),
                      node("paper", "A4"), title,
                      node("lib_symbols", *(definition(SYMBOLS[name], True) for name in used)))  # fmt: skip
        for dot in self.junctions():
            result.append(node("junction", node("at", mm(dot[0]), mm(dot[1])), node("diameter", 0),
                               node("color", 0, 0, 0, 0), node("uuid", identity(self.name, "dot", dot))))  # fmt: skip
        result += self.items
        for start, end in self.pieces():
            result.append(node("wire", node("pts", node("xy", mm(start[0]), mm(start[1])),
                                            node("xy", mm(end[0]), mm(end[1]))),
                               node("stroke", node("width", 0), node("type", Atom("default"))),
                               node("uuid", identity(self.name, "wire", start, end))))  # fmt: skip
        result += [self._instance(part) for part in self.parts]
        if self.page == 1:
            result.append(node("sheet_instances", node("path", "/", node("page", "1"))))
        return dump([*result, node("embedded_fonts", Atom("no"))]) + "\n"

    def _instance(self, part: Part) -> list[Any]:
        power = part.ref.startswith("#")

        def words(key: str, value: str, place: tuple[float, float, str], hidden: bool) -> list[Any]:
            dx, dy, justify = place
            where = node("at", mm(part.at[0] + dx), mm(part.at[1] + dy), 0)
            return node("property", key, value, where, _style(justify=justify, hidden=hidden))

        key = (self.name, part.ref)
        middle = (0.0, 0.0, "center")
        return node(
            "symbol", node("lib_id", f"{LIBRARY}:{part.symbol.name}"), node("at", mm(part.at[0]), mm(part.at[1]), 0),
            node("unit", 1), node("exclude_from_sim", Atom("no")), node("in_bom", Atom("no" if power else "yes")),
            node("on_board", Atom("yes")), node("dnp", Atom("no")), node("uuid", identity(*key)),
            words("Reference", part.ref, part.ref_at, power), words("Value", part.value, part.value_at,
                                                                    not part.show_value),
            words("Footprint", "", middle, True),
            *(words(name, value, middle, True) for name, value in part.fields.items()),
            *(node("pin", pin.number, node("uuid", identity(*key, pin.number))) for pin in part.symbol.pins),
            node("instances", node("project", self.project.name, node("path", self.path,
                 node("reference", part.ref), node("unit", 1)))),
        )  # fmt: skip


def _inside(point: Point, wire: tuple[Point, Point]) -> bool:
    """Return True when the point lies on the wire but is no end of it."""
    (x1, y1), (x2, y2) = wire
    x, y = point
    if x1 == x2 == x:
        return min(y1, y2) < y < max(y1, y2)
    return y1 == y2 == y and min(x1, x2) < x < max(x1, x2)


@dataclass
class Project:
    """All sheets of one schematic; the first is the overview."""

    name: str
    revision: str
    company: str
    notice: str
    sheets: list[Sheet] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def root_id(self) -> str:
        """Return the UUID of the first sheet."""
        return identity(self.name, "root")

    def sheet(self, name: str, title: str) -> Sheet:
        """Add a sheet and return it."""
        sheet = Sheet(self, name, title, len(self.sheets) + 1)
        self.sheets.append(sheet)
        return sheet

    def next_power(self, prefix: str) -> str:
        """Return the next reference of a supply symbol or flag."""
        self.counts[prefix] = self.counts.get(prefix, 0) + 1
        return f"{prefix}{self.counts[prefix]:03d}"

    def files(self) -> dict[str, str]:
        """Return every file of the KiCad project by name; raise ValueError when a reference is used twice."""
        refs = [part.ref for sheet in self.sheets for part in sheet.parts]
        twice = sorted({ref for ref in refs if refs.count(ref) > 1})
        if twice:
            raise ValueError(f"references used twice: {', '.join(twice)}")
        table = (
            '(sym_lib_table\n\t(version 7)\n\t(lib (name "heartwire")(type "KiCad")'
            f'(uri "${{KIPRJMOD}}/{LIBRARY}.kicad_sym")(options "")(descr "Symbols of this project"))\n)\n'
        )
        settings = '{\n  "erc": {"rule_severities": {}},\n  "meta": {"filename": "%s.kicad_pro", "version": 3}\n}\n'
        files = {f"{sheet.name}.kicad_sch": sheet.text() for sheet in self.sheets}
        files[f"{LIBRARY}.kicad_sym"] = dump(library(list(SYMBOLS.values()))) + "\n"
        files["sym-lib-table"] = table
        files[f"{self.name}.kicad_pro"] = settings % self.name
        return files

    def save(self, folder: Path) -> None:
        """Write every file into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.files().items():
            (folder / name).write_text(text, encoding="utf-8")
