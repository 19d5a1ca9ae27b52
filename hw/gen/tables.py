"""Renders the tables in hw/*.md that come from data: wires of build A, cables, parts, simulations.

A page holds `<!-- table NAME -->` and `<!-- end NAME -->`; what stands between is replaced, the rest of the page is
written by hand. Needs the standard library only: the netlist and the simulations' results are read as committed.
Called by make.py to write, and by verify.py to compare.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import board_py
import commissioning
import fault_tables
import netlist as circuit_netlist
import pins as pin_list
import revision
import spice
import swaps
import wiring
import worst_case
from tables_text import table
from wiring import Drawing, Wire

ROOT = pin_list.ROOT
PAGES = ("README.md", "CIRCUIT.md", "HARNESS.md", "BENCH.md", "SAFETY.md", "REVISION_B.md")
MARKED = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)
KINDS = {"A": "module", "C": "capacitor", "D": "diode or LED", "F": "fuse", "J": "connector", "K": "relay",
         "Q": "transistor", "R": "resistor", "U": "integrated circuit or optocoupler"}  # fmt: skip


def step_table(step: Drawing) -> str:
    """Return the wires of one step of build A, numbered, to be ticked off."""
    rows = []
    for number, wire in enumerate(step.wires, 1):
        ends = [_terminal(step, end) for end in (wire.start, wire.end)]
        rows.append([str(number), *ends, wire.colour, f"`{wire.signal}`"])
    return table("wire|from|to|colour|signal", rows)


def _terminal(step: Drawing, end: tuple[str, str]) -> str:
    module, terminal = end
    return f"Pico pin {terminal}" if module == "PICO" else f"{module} `{terminal}`"


def cable_list(cables: list[Drawing]) -> str:
    """Return every cable with its two ends and what it is made of."""
    rows = []
    number = 0
    for first in cables:
        for cable in (first, *first.others):
            number += 1
            boards = sorted({name for wire in cable.wires for name, _ in (wire.start, wire.end)
                             if re.fullmatch(r"J\d+", name)}, key=lambda ref: int(ref[1:]))  # fmt: skip
            far = [title for name, title in cable.titles.items() if name not in boards]
            rows.append([f"C{number}", ", ".join(boards), "; ".join(far), cable.cable])
    return table("cable|board|far end|made of", rows)


def cable_wires(first: Drawing) -> str:
    """Return the wires of one kind of cable; for nodes beside the first only what differs."""
    rows = []
    for cable in (first, *first.others):
        rows += [[_end(wire.start, wire), _end(wire.end, wire), wire.colour] for wire in cable.wires]
    return table("from|to|colour", rows)


def _end(end: tuple[str, str], wire: Wire) -> str:
    name, pin = end
    return f"{name}.{pin} `{wire.signal}`" if re.fullmatch(r"J\d+", name) else f"{name} {pin}"


def terminals() -> str:
    """Return where each pin of build B's connectors comes out in build A."""
    nets = circuit_netlist.load()
    places: dict[str, list[str]] = {}
    for (module, terminal), point in wiring.build_a_points().items():
        ref, _, pin = point.partition(".")
        if module not in ("FEED1", "FEED2", "BUTTON", "KEY"):
            name = f"Pico pin {terminal}" if module == "PICO" else f"{module} `{terminal}`"
            places.setdefault(nets.pins[ref, pin], []).append(name)
    panel = {"BUTTON_SWITCH": "BUTTON", "KEY_SWITCH": "KEY", "LED_STATUS_P": "LED_STATUS"}
    rows = []
    connectors = sorted(
        (key for key in nets.pins if re.fullmatch(r"J\d+", key[0])), key=lambda key: (int(key[0][1:]), key[1])
    )
    for ref, pin in connectors:
        net = nets.pins[ref, pin]
        if net == "GND" or net.startswith(("unconnected", "Net-")):
            continue
        found = places.get(panel.get(net, net), [])
        if net.startswith("RS232_"):
            found = [f"MAX_{net.split('_')[1]} socket pin {pin}"]
        if net == "LED_STATUS_P":
            found = [f"{found[0]} through 330R"]
        rows.append([f"{ref}.{pin}", f"`{net}`", ", ".join(found)])
    return table("connector|signal|build A", rows)


def parts_list() -> str:
    """Return the parts of build B with their number, from the netlist."""
    groups: dict[tuple[str, str], list[str]] = {}
    for ref, value in circuit_netlist.load().values.items():
        letter = re.sub(r"\d.*", "", ref)
        shown = "screw terminal, or DE-9 socket for J21 to J23" if letter == "J" else value
        groups.setdefault((letter, shown), []).append(ref)
    rows = []
    for (letter, value), refs in sorted(groups.items()):
        refs.sort(key=lambda ref: int(re.sub(r"\D", "", ref)))
        rows.append([str(len(refs)), KINDS[letter], value, ", ".join(refs)])
    return table("number|part|value|references", rows)


def simulations() -> str:
    """Return what was simulated and what came out, from the committed results."""
    results = json.loads(spice.RESULTS.read_text(encoding="utf-8"))
    rows = []
    for case in spice.cases():
        values = [f"{name} = {results[case.name][name]:g}" for name in case.limits if name in results[case.name]]
        values += [f"{name}: never" for name in case.absent if name not in results[case.name]]
        kind = "part left out" if case.negative else ""
        rows.append([f"`{case.name}`", case.says, kind, "<br>".join(values)])
    return table("run|what must hold||measured", rows)


def renderers() -> dict[str, Callable[[], str]]:
    """Return a function for each table name."""
    pins = pin_list.load()
    result: dict[str, Callable[[], str]] = {
        "pinout": partial(board_py.render_table, pins),
        "cables": partial(cable_list, wiring.cables()),
        "parts": parts_list,
        "terminals": terminals,
        "simulations": simulations,
        "fault-coverage": fault_tables.coverage,
        "fault-classes": fault_tables.classes,
        "faults": partial(fault_tables.listing, "A"),
        "faults-b": partial(fault_tables.listing, "B"),
        "revision-b": revision.differences,
        "revision-b-parts": revision.parts,
        "revision-b-terminals": revision.terminals,
        "first-power-up": commissioning.first_power_up,
        "worst-case": worst_case.margins,
        "worst-case-spread": worst_case.spread_words,
        "swaps": swaps.counts,
        "swaps-untold": swaps.untold,
        "worst-case-sources": worst_case.sources,
    }
    for step in wiring.build_a(pins):
        result[f"step-{step.name}"] = partial(step_table, step)
    for cable in wiring.cables():
        result[f"cable-{cable.name}"] = partial(cable_wires, cable)
    for cable in wiring.cables("bench.toml"):
        result[f"bench-{cable.name}"] = partial(cable_wires, cable)
    return result


def filled(text: str) -> str:
    """Return a page with its tables made anew; KeyError when it asks for a table that does not exist."""
    tables = renderers()
    return MARKED.sub(lambda found: f"{found[1]}{tables[found['name']]()}\n{found[3]}", text)


def pages() -> dict[Path, str]:
    """Return each page with the text it should have."""
    paths = [ROOT / "hw" / name for name in PAGES]
    return {path: filled(path.read_text(encoding="utf-8")) for path in paths if path.exists()}
