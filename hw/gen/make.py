"""Makes everything under hw/ anew: board.py, schematic, netlist, drawings, simulations, tables, manifest.

    python3 hw/gen/make.py        called by `make hw`

Needs KiCad 9, ngspice, WireViz 0.4.1, graphviz and poppler's pdftoppm; says how to install what is missing and then
changes nothing. Stops at the first rule that fails, before outputs are written. Two runs give the same bytes.
"""

import json
import sys
import tempfile
from pathlib import Path

import board_py
import circuit
import kicad
import netlist
import outputs
import pins as pin_list
import rules
import spice
import tables
import wiring_svg

INSTALL = """\
How to install on Debian 12 (KiCad 9 is in the suite bookworm-backports: copy the entry of your Debian source and
replace its suite by bookworm-backports, then apt-get update):
    apt-get install -t bookworm-backports --no-install-recommends kicad
    apt-get install --no-install-recommends ngspice graphviz poppler-utils fonts-dejavu-core
    pip install wireviz==0.4.1
Without these, python3 hw/gen/verify.py still checks that the committed outputs belong to their inputs."""


def main() -> int:
    """Make everything; return the exit code."""
    missing = kicad.missing() + spice.missing() + wiring_svg.missing()
    if missing:
        print(f"missing: {', '.join(missing)}\n\n{INSTALL}", file=sys.stderr)
        return 1
    outputs.OUT.mkdir(exist_ok=True)
    wanted: set[Path] = set()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted |= _schematic(folder)
        wanted |= _wiring(folder)
    _simulation()
    for path, text in outputs.own_drawings().items():
        path.write_text(text, encoding="utf-8")
        wanted.add(path)
    for path in sorted(outputs.OUT.iterdir()):
        if path not in wanted:
            path.unlink()
    board_py.main([])
    for path, text in tables.pages().items():
        path.write_text(text, encoding="utf-8")
    text = json.dumps(outputs.manifest(), indent=1, sort_keys=True) + "\n"
    outputs.MANIFEST.write_text(text, encoding="utf-8")
    print(f"hw: {len(wanted)} drawings and reports written")
    return 0


def _schematic(folder: Path) -> set[Path]:
    """Check the circuit and write netlist, rule report, PDF and pictures; return the files in hw/out."""
    pins = pin_list.load()
    project = circuit.build(pins)
    report = kicad.check_rules(project, folder)
    text = kicad.netlist_json(project, folder)
    nets = netlist.from_json(text)
    wrong = rules.circuit(pins, nets, pin_list.MODULE_PIN)
    if wrong:
        raise SystemExit("\n".join(wrong))
    circuit.save()
    netlist.NETLIST.write_text(text, encoding="utf-8")
    files = kicad.drawings(project, folder) | {"erc.txt": report.encode()}
    for name, data in files.items():
        (outputs.OUT / name).write_bytes(data)
    return {outputs.OUT / name for name in files}


def _wiring(folder: Path) -> set[Path]:
    """Draw the wiring; return the files."""
    for name, drawing in outputs.wiring_drawings().items():
        (outputs.OUT / name).write_bytes(wiring_svg.svg(drawing, folder))
    return {outputs.OUT / name for name in outputs.wiring_drawings()}


def _simulation() -> None:
    """Run the simulations and write the results; stop when a limit does not hold."""
    results = {case.name: spice.run(case) for case in spice.cases()}
    wrong = [sentence for case in spice.cases() for sentence in case.problems(results[case.name])]
    if wrong:
        raise SystemExit("\n".join(wrong))
    spice.RESULTS.write_text(spice.as_json(results), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
