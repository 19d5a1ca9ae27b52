"""Checks that everything generated under hw/ belongs to its inputs. Standard library only: no KiCad, no ngspice.

    python3 hw/gen/verify.py      exit 1 and one line for each thing that is wrong

Called by `make check`. It renders what our own code renders (board.py, the schematic's files, the tables) and compares;
for what a tool made it compares hashes with hw/manifest.json; and it runs every rule of rules.py. It writes nothing.
"""

import json
import sys

import block_picture
import board_py
import circuit
import fault_run
import layout
import netlist
import outputs
import pins as pin_list
import revision
import rules
import spice
import strip_board
import tables
import wiring
import worst_case


def broken_rules() -> list[str]:
    """Return what is wrong between pins, schematic, wiring and simulations."""
    pins = pin_list.load()
    nets = netlist.load()
    points = wiring.build_a_points()
    found = rules.circuit(pins, nets, pin_list.MODULE_PIN)
    found += rules.build_a_matches(wiring.build_a(pins), points, nets, pins)
    found += rules.cables_match(wiring.cables(), nets, points)
    found += rules.cables_match(wiring.cables("bench.toml"), nets, points, every_connector=False)
    found += strip_board.problems(strip_board.load(), nets)
    found += [sentence for picture in block_picture.load() for sentence in block_picture.problems(picture, nets)]
    found += simulation_values(nets)
    found += worst_case.problems()
    found += fault_run.problems(nets, fault_run.load())
    second = revision.load("B")
    found += rules.circuit(pins, second, pin_list.MODULE_PIN) + revision.terminals_problems(second)
    found += fault_run.problems(second, fault_run.load(fault_run.RECORDS["B"]))
    results = json.loads(spice.RESULTS.read_text(encoding="utf-8"))
    for case in spice.cases():
        found += case.problems(results.get(case.name, {}))
    for sheet in circuit.build(pins).sheets:
        found += layout.problems(sheet)
    return found


def simulation_values(nets: netlist.Netlist) -> list[str]:
    """Return where a simulation has another value than the schematic, or than build A's ARM board."""
    circuits = spice.circuits()
    build_a = {"arm_build_a.cir": circuits.pop("arm_build_a.cir")}
    found = rules.simulation_values(nets.values, circuits)
    parts = {part.ref: part.value for part in strip_board.load().parts}
    return found + rules.simulation_values(parts, build_a)


def stale_files() -> list[str]:
    """Return the files that our own code would render differently now."""
    wanted = board_py.rendered() | outputs.schematic_files() | outputs.own_drawings() | tables.pages()
    return [
        f"{path.relative_to(outputs.ROOT)} is not what its inputs give: run make hw"
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Print what is wrong; return the exit code."""
    committed = json.loads(outputs.MANIFEST.read_text(encoding="utf-8"))
    found = stale_files() + outputs.problems(committed) + broken_rules()
    for sentence in found:
        print(sentence)
    count = sum(len(group["outputs"]) for group in committed.values())
    if not found:
        print(f"hw: {count} outputs belong to their inputs; drawings and simulations were not made anew here")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
