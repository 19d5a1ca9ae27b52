"""Draws wiring with WireViz 0.4 and graphviz: one SVG for each drawing of wiring.py.

Only this module knows WireViz's input. The SVG is made free of dates and paths, so that a second run gives the same
bytes. Called by make.py, and by the tests when WireViz is installed.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from wiring import Drawing

COLOUR_CODES = {
    "black": "BK", "brown": "BN", "blue": "BU", "green": "GN", "grey": "GY", "orange": "OG",  # codespell:ignore bu
    "pink": "PK", "red": "RD", "violet": "VT", "white": "WH", "yellow": "YE",
}  # fmt: skip
FONT = "DejaVu Sans"  # wide: other fonts then fit into the boxes as well
RANK_GAP_INCH = "0.7"  # WireViz leaves 2 inches between columns: too wide to read at A4


class WireVizError(RuntimeError):
    """WireViz or graphviz failed; the text is its own."""


def command() -> str | None:
    """Return the wireviz command of this Python's environment or of the path, or None."""
    beside = Path(sys.executable).with_name("wireviz")
    return str(beside) if beside.exists() else shutil.which("wireviz")


def missing() -> list[str]:
    """Return the tools that are not installed."""
    return [name for name, found in (("wireviz", command()), ("graphviz", shutil.which("dot"))) if not found]


def document(drawing: Drawing) -> dict[str, Any]:
    """Return WireViz's input for a drawing: a connector for each module, a bundle for each pair of modules."""
    terminals: dict[str, list[str]] = {}
    bundles: dict[tuple[str, str], list[int]] = {}
    for index, wire in enumerate(drawing.wires):
        for module, terminal in (wire.start, wire.end):
            listed = terminals.setdefault(module, [])
            if terminal not in listed:
                listed.append(terminal)
        bundles.setdefault((wire.start[0], wire.end[0]), []).append(index)
    connectors = {}
    for module, listed in terminals.items():
        entry: dict[str, Any] = {"type": f"\u00a0{drawing.titles[module]}\u00a0", "show_pincount": False,
                                 "pins": [_pin(terminal) for terminal in listed]}  # fmt: skip
        labels = [drawing.labels.get((module, terminal), "") for terminal in listed]
        if any(labels):
            entry["pinlabels"] = labels
        connectors[module] = entry
    cables = {}
    connections = []
    for number, ((left, right), indexes) in enumerate(bundles.items(), 1):
        name = f"W{number}"
        wires = [drawing.wires[index] for index in indexes]
        cables[name] = {"category": "bundle", "colors": [COLOUR_CODES[wire.colour] for wire in wires],
                        "wirelabels": [wire.signal for wire in wires], "show_name": False,
                        "show_wirecount": False}  # fmt: skip
        for row, wire in enumerate(wires, 1):
            connections.append([{left: [_pin(wire.start[1])]}, {name: [row]}, {right: [_pin(wire.end[1])]}])
    options = {"bgcolor": "WH", "fontname": FONT, "color_mode": "full"}
    return {"options": options, "connectors": connectors, "cables": cables, "connections": connections}


def _pin(terminal: str) -> int | str:
    """Return the terminal as WireViz wants it: it reads "1" in a connection as a number."""
    return int(terminal) if terminal.isdigit() else terminal


def svg(drawing: Drawing, folder: Path) -> bytes:
    """Return the drawing as SVG; the folder is for WireViz's files."""
    program = command()
    if not program:
        raise WireVizError("wireviz is not installed")
    source = folder / f"{drawing.name}.yml"
    source.write_text(json.dumps(document(drawing), indent=1), encoding="utf-8")
    _run(program, "-f", "g", "-o", str(folder), str(source))
    graph = folder / f"{drawing.name}.gv"
    text, count = re.subn(r'ranksep="?[0-9.]+"?', f'ranksep="{RANK_GAP_INCH}"', graph.read_text(encoding="utf-8"))
    if count != 1:
        raise WireVizError("the gap between columns is not where WireViz 0.4.1 writes it")
    graph.write_text(text, encoding="utf-8")
    picture = re.sub(r"<!--.*?-->\s*", "", _run("dot", "-Tsvg", str(graph)), flags=re.DOTALL)
    return picture.encode()


def _run(*line: str) -> str:
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WireVizError(f"{line[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
