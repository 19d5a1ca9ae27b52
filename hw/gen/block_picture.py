"""Pictures of blocks and links from hw/wiring/pictures.toml: the whole rack, one node's power path. A4 across, SVG.

Standard library only, so that verify.py compares them byte for byte. problems() finds words that leave their block,
meet other words or lie on a link, and connectors that the schematic does not have.
"""

import re
import tomllib
from dataclasses import dataclass
from itertools import combinations, pairwise
from xml.sax.saxutils import escape

from netlist import Netlist
from wiring import WIRING

SOURCE = WIRING / "pictures.toml"
WIDTH_MM, HEIGHT_MM = 297, 210
TEXT_MM, TITLE_MM, HEAD_MM = 2.5, 2.9, 5.0
STEP_MM = 4.0
LETTER = 0.6  # width of a letter of DejaVu Sans over its height, a little on the wide side
FONT = "font-family='DejaVu Sans, Arial, sans-serif'"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Words:
    """Text with its left end and base line, and the block it must stay in."""

    text: str
    x: float
    y: float
    size: float = TEXT_MM
    bold: bool = False
    inside: Box | None = None
    colour: str = "#000000"

    @property
    def box(self) -> Box:
        """Return what it covers: left, top, right, bottom."""
        wide = len(self.text) * self.size * LETTER * (1.08 if self.bold else 1)
        return (self.x, self.y - self.size * 0.8, self.x + wide, self.y + self.size * 0.2)


@dataclass(frozen=True)
class Block:
    """A named box with its words."""

    name: str
    box: list[float]
    kind: str
    title: str
    text: tuple[str, ...] = ()

    @property
    def edges(self) -> Box:
        """Return left, top, right, bottom."""
        left, top, wide, high = self.box
        return (left, top, left + wide, top + high)

    def words(self) -> list[Words]:
        """Return title and lines."""
        left, top, _, _ = self.edges
        lines = [Words(self.title, left + 2, top + 5, TITLE_MM, True, self.edges)]
        return lines + [Words(row, left + 2, top + 10 + STEP_MM * number, inside=self.edges)
                        for number, row in enumerate(self.text) if row]  # fmt: skip


@dataclass(frozen=True)
class Link:
    """A line with an arrow at its end."""

    kind: str
    points: list[list[float]]
    words: str = ""
    at: tuple[float, float] = (0, 0)


@dataclass(frozen=True)
class Picture:
    """One page."""

    name: str
    title: str
    blocks: list[Block]
    links: list[Link]
    notes: list[Words]
    kinds: dict[str, tuple[str, str]]

    def words(self) -> list[Words]:
        """Return every piece of text on the page."""
        found = [Words(self.title, 8, 9, HEAD_MM, True)]
        found += [words for block in self.blocks for words in block.words()]
        found += [Words(link.words, *link.at) for link in self.links if link.words]
        return found + self.notes + self._legend()

    def _legend(self) -> list[Words]:
        used = sorted({link.kind for link in self.links}, key=list(self.kinds).index)
        bottom = HEIGHT_MM - 3
        rows = [(kind, self.kinds[kind][1]) for kind in used]
        found, x = [], 8.0
        for kind, text in rows:
            found.append(Words(text, x, bottom, 2.4, True, colour=self.kinds[kind][0]))
            x = found[-1].box[2] + 5
        return found


def load() -> list[Picture]:
    """Return the pictures; an unknown key raises TypeError."""
    document = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    kinds = {name: (colour, text) for name, (colour, text) in document["kinds"].items()}
    return [
        Picture(
            entry["name"], entry["title"],
            [Block(**{**block, "text": tuple(block.get("text", ()))}) for block in entry["block"]],
            [Link(**{**link, "at": tuple(link.get("at", (0, 0)))}) for link in entry["link"]],
            [Words(row, note["at"][0], note["at"][1] + STEP_MM * number) for note in entry.get("note", ())
             for number, row in enumerate(note["text"])],
            kinds,
        ) for entry in document["picture"]
    ]  # fmt: skip


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def problems(picture: Picture, netlist: Netlist) -> list[str]:
    """Return one sentence for each thing that is wrong with the picture."""
    found = []
    words = picture.words()
    for text in words:
        around = text.inside or (0, 0, WIDTH_MM, HEIGHT_MM)
        left, top, right, bottom = text.box
        if left < around[0] or top < around[1] or right > around[2] or bottom > around[3]:
            found.append(f"{picture.name}: {text.text!r} leaves its place")
        if text.inside is None:
            found += [f"{picture.name}: {text.text!r} lies on {block.name}" for block in picture.blocks
                      if _meet(text.box, block.edges)]  # fmt: skip
        for link in picture.links:
            for (x1, y1), (x2, y2) in pairwise(link.points):
                piece = (min(x1, x2) - 0.3, min(y1, y2) - 0.3, max(x1, x2) + 0.3, max(y1, y2) + 0.3)
                if _meet(text.box, piece):
                    found.append(f"{picture.name}: {text.text!r} lies on a link")
        found += [f"{picture.name}: {text.text!r} names {ref}, which is no part" for ref in
                  re.findall(r"\b[JK]\d+\b", text.text) if ref not in netlist.values]  # fmt: skip
    for one, other in combinations(words, 2):
        if _meet(one.box, other.box):
            found.append(f"{picture.name}: {one.text!r} meets {other.text!r}")
    for block, other_block in combinations(picture.blocks, 2):
        if _meet(block.edges, other_block.edges):
            found.append(f"{picture.name}: {block.name} meets {other_block.name}")
    return found


def svg(picture: Picture) -> str:
    """Return the page."""
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH_MM}mm' height='{HEIGHT_MM}mm' "
        f"viewBox='0 0 {WIDTH_MM} {HEIGHT_MM}'>",
        f"<rect width='{WIDTH_MM}' height='{HEIGHT_MM}' fill='#ffffff'/>",
    ]
    for block in picture.blocks:
        left, top, wide, high = block.box
        lines.append(f"<rect x='{left}' y='{top}' width='{wide}' height='{high}' rx='1.5' "
                     f"fill='{picture.kinds[block.kind][0]}' stroke='#303030' stroke-width='0.4'/>")  # fmt: skip
    for link in picture.links:
        colour = picture.kinds[link.kind][0]
        path = " ".join(f"{x},{y}" for x, y in link.points)
        lines.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='0.6'/>")
        lines.append(f"<polygon points='{_arrow(*link.points[-2], *link.points[-1])}' fill='{colour}'/>")
    for words in picture.words():
        weight = " font-weight='bold'" if words.bold else ""
        lines.append(f"<text x='{words.x:g}' y='{words.y:g}' {FONT} font-size='{words.size}'{weight} "
                     f"fill='{words.colour}'>{escape(words.text)}</text>")  # fmt: skip
    return "\n".join([*lines, "</svg>"]) + "\n"


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    back = (x2 - 2.4 * ux, y2 - 2.4 * uy)
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in
                    ((x2, y2), (back[0] - uy, back[1] + ux), (back[0] + uy, back[1] - ux)))  # fmt: skip
