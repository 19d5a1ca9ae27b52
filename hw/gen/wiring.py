"""Reads build_a.toml, harness.toml and bench.toml in hw/wiring into drawings made of wires between terminals.

One Drawing is one picture and one table. Here is no drawing and no file output: see wiring_svg.py and tables.py. The
checks in rules.py compare these wires with the schematic's netlist.
"""

import tomllib
from dataclasses import dataclass, field
from typing import Any

import netlist
import pins as pin_list

ROOT = pin_list.ROOT
WIRING = ROOT / "hw" / "wiring"


class WiringError(ValueError):
    """A wiring file names something that does not exist; the text says where."""


@dataclass(frozen=True)
class Wire:
    """One wire. Ends are (module, terminal); `signal` is empty for a wire that does not touch the board."""

    start: tuple[str, str]
    end: tuple[str, str]
    signal: str
    colour: str


@dataclass
class Drawing:
    """One picture: its wires, the titles of the modules and the labels of their terminals."""

    name: str
    title: str
    wires: list[Wire]
    titles: dict[str, str]
    labels: dict[tuple[str, str], str] = field(default_factory=dict)
    cable: str = ""
    note: str = ""
    others: list["Drawing"] = field(default_factory=list)  # the same cable for the other nodes, not drawn


def _load(name: str) -> dict[str, Any]:
    return tomllib.loads((WIRING / name).read_text(encoding="utf-8"))


def build_a_points() -> dict[tuple[str, str], str]:
    """Return for each terminal of build A's modules the point (reference.pin) of the schematic it stands for.

    The Pico's terminals are its pin numbers, so they stand for A1.
    """
    points = {("PICO", str(number)): f"A1.{number}" for number in range(1, 41)}
    for name, module in _load("build_a.toml")["module"].items():
        for terminal, point in module.get("terminals", {}).items():
            points[name, terminal] = point
    return points


def build_a(pins: list[pin_list.Pin]) -> list[Drawing]:
    """Return the steps of build A, in order; the Pico's terminals are labelled with their signals."""
    document = _load("build_a.toml")
    points = build_a_points()
    titles = {name: module["title"] for name, module in document["module"].items()}
    signals = {str(pin.module_pin): pin.signal for pin in pins if pin.module_pin}
    steps = []
    for step in document["step"]:
        wires = []
        for start, end, signal, colour in step["wires"]:
            ends = tuple(_split(text) for text in (start, end))
            for one in ends:
                if one not in points:
                    raise WiringError(f"build_a.toml, step {step['name']}: no terminal {one[0]}.{one[1]}")
            wires.append(Wire(ends[0], ends[1], signal, colour))
        labels = {}
        for wire in wires:
            for module, terminal in (wire.start, wire.end):
                if module == "PICO":
                    labels[module, terminal] = signals.get(terminal, wire.signal)
        steps.append(Drawing(step["name"], step["title"], wires, titles, labels))
    return steps


def cables(name: str = "harness.toml") -> list[Drawing]:
    """Return the cables of a file; a cable that every node has comes once, with the rest in `others`."""
    document = _load(name)
    far = document["far"]
    drawings = []
    for entry in document["drawing"]:
        nodes: dict[str, str] = entry.get("nodes", {"": ""})
        copies = [_cable(entry, far, node, board) for node, board in nodes.items()]
        copies[0].others = copies[1:]
        drawings.append(copies[0])
    return drawings


def _cable(entry: dict[str, Any], far: dict[str, Any], node: str, board: str) -> Drawing:
    boards = [board] if board else entry["board"]
    titles = {name: f"Board, {name}" for name in boards}
    labels: dict[tuple[str, str], str] = {}
    wires = []
    for start, end, signal, colour in entry["wires"]:
        signal = signal.replace("{N}", node)
        ends = [_split(text) if "." in text else (board, text) for text in (start, end)]
        for name, pin in ends:
            if name in boards:
                labels[name, pin] = signal or netlist.load().pins.get((name, pin), "")
                continue
            kind, _, which = name.partition(" ")
            if kind not in entry["far"] or pin not in far[kind]["pins"]:
                raise WiringError(f"drawing {entry['name']}: no pin {name}.{pin}")
            titles[name] = far[kind]["title"].replace("node {N}", _node(which or node))
            labels[name, pin] = far[kind]["pins"][pin]
        wires.append(Wire(ends[0], ends[1], signal, colour))
    return Drawing(entry["name"], entry["title"], wires, titles, labels, entry["cable"], entry["note"])


def _node(name: str) -> str:
    """Return the words for a node: "node a", "the spare"."""
    return "the spare" if name == "SPARE" else f"node {name.lower()}"


def _split(text: str) -> tuple[str, str]:
    name, _, terminal = text.partition(".")
    return name, terminal
