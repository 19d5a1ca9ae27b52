"""The list of what is generated, from what, and the hashes that tie them together (hw/manifest.json).

An output that needs a tool (KiCad, ngspice, WireViz) cannot be made anew everywhere. So its hash is kept beside the
hashes of what went into it: verify.py then notices a changed input and a changed output without the tool. Inputs that
are rendered by our own code are hashed as rendered, so that tidying that code makes nothing stale.
"""

import hashlib
import json
from pathlib import Path

import block_picture
import circuit
import commissioning
import pico_picture
import pins as pin_list
import spice
import strip_board
import wiring
import wiring_svg

ROOT = pin_list.ROOT
OUT = ROOT / "hw" / "out"
MANIFEST = ROOT / "hw" / "manifest.json"
Group = dict[str, dict[str, str]]


def digest(data: bytes) -> str:
    """Return the SHA-256 of some bytes as hex."""
    return hashlib.sha256(data).hexdigest()


def schematic_files() -> dict[Path, str]:
    """Return every file of the KiCad project as it should be."""
    return {circuit.KICAD / name: text for name, text in circuit.build(pin_list.load()).files().items()}


def own_drawings() -> dict[Path, str]:
    """Return the pictures that need no tool, as they should be."""
    return {
        OUT / "arm-board.svg": strip_board.svg(strip_board.load()),
        OUT / "pico.svg": pico_picture.svg(pin_list.load()),
        **{OUT / f"{picture.name}.svg": block_picture.svg(picture) for picture in block_picture.load()},
        **{OUT / f"commissioning-{build}.svg": commissioning.sheet(build) for build in commissioning.BUILDS},
    }


def wiring_drawings() -> dict[str, wiring.Drawing]:
    """Return every wiring drawing by the name of its SVG."""
    pins = pin_list.load()
    result = {f"build-a-{step.name}.svg": step for step in wiring.build_a(pins)}
    result |= {f"cable-{cable.name}.svg": cable for cable in wiring.cables()}
    return result | {f"bench-{cable.name}.svg": cable for cable in wiring.cables("bench.toml")}


def inputs() -> dict[str, dict[str, str]]:
    """Return for each group the hashes of what its outputs are made from, as it is now."""
    circuits = [*sorted(spice.SIM.glob("*.cir")), spice.SIM / "cases.toml"]
    drawings = {
        name: digest(json.dumps([wiring_svg.document(drawing), wiring_svg.RANK_GAP_INCH]).encode())
        for name, drawing in wiring_drawings().items()
    }
    return {
        "schematic": {_name(path): digest(text.encode()) for path, text in schematic_files().items()},
        "simulation": {_name(path): digest(path.read_bytes()) for path in circuits},
        "wiring": drawings,
    }


def outputs() -> dict[str, list[Path]]:
    """Return for each group the files that a tool makes."""
    pages = [OUT / f"sheet-{sheet.page}-{sheet.name}.png" for sheet in circuit.build(pin_list.load()).sheets]
    return {
        "schematic": [circuit.KICAD / "netlist.json", OUT / "erc.txt", OUT / "schematic.pdf", *pages],
        "simulation": [spice.RESULTS],
        "wiring": [OUT / name for name in wiring_drawings()],
    }


def manifest() -> dict[str, Group]:
    """Return the manifest for the files as they are now."""
    now = inputs()
    return {
        group: {"inputs": now[group], "outputs": {_name(path): digest(path.read_bytes()) for path in paths}}
        for group, paths in outputs().items()
    }


def problems(committed: dict[str, Group]) -> list[str]:
    """Return one sentence for each input or output whose hash is not the one in the manifest."""
    found = []
    now = inputs()
    for group, paths in outputs().items():
        kept = committed.get(group, {"inputs": {}, "outputs": {}})
        for name in sorted(now[group].keys() | kept["inputs"].keys()):
            if now[group].get(name) != kept["inputs"].get(name):
                found.append(f"{name} has changed since the {group} outputs were made: run make hw")
        names = {_name(path): path for path in paths}
        for name in sorted(names.keys() | kept["outputs"].keys()):
            path = names.get(name)
            actual = digest(path.read_bytes()) if path and path.exists() else None
            if actual is None or actual != kept["outputs"].get(name):
                found.append(f"{name} is missing or not what was generated: run make hw")
    return found


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
