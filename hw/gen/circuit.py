"""Draws the whole schematic from hw/pins.toml: the overview and one sheet for each job.

build() returns it without writing; `python3 hw/gen/circuit.py` writes hw/kicad/. Called by make.py and the tests. The
pins decide which GPIO carries which signal; the rest of the circuit stands in circuit_board.py and circuit_io.py.
"""

from pathlib import Path

import circuit_board
import circuit_io
import pins as pin_list
from sheet import Project

KICAD = pin_list.ROOT / "hw" / "kicad"
NOTICE = "Unreviewed: nothing built, nothing measured"


def build(pins: list[pin_list.Pin]) -> Project:
    """Return the schematic for these pins."""
    project = Project("heartwire", "A", "Heartwire carrier", NOTICE)
    root = project.sheet("heartwire", "Heartwire carrier: overview")
    board = project.sheet("board", "Supply and Pico")
    lines = project.sheet("lines", "Heartbeat lines")
    power = project.sheet("power", "ARM and power relays")
    front = project.sheet("front", "Front-panel outputs")
    sense = project.sheet("sense", "Power sense inputs")
    transfer = project.sheet("transfer", "Transfer relay")
    panel = project.sheet("panel", "Panel and alarm")
    circuit_board.supply(board)
    circuit_board.pico(board, pins, (156, 26))
    circuit_board.lines(lines)
    circuit_io.power(power)
    circuit_io.front(front)
    circuit_io.sense(sense)
    circuit_io.transfer(transfer)
    circuit_io.panel(panel)
    contents = (
        (board, "A1 Pico, J1 and J2: 5 V"),
        (lines, "U21, U23 MAX3232\nJ21 node a, J22 node b, J23 spare"),
        (power, "K31 node a, K32 node b, K33 spare\nQ302 feeds their coils while ARM toggles"),
        (front, "U41 node a, U42 node b, U43 spare"),
        (sense, "U51 to U55: five feeds"),
        (transfer, "K61, K62: shared serial device"),
        (panel, "J71 button, J72 key, J73 LED\nK74 alarm contact"),
    )
    for index, (sheet, text) in enumerate(contents):
        at = (16 + 70 * (index % 3), 26 + 34 * (index // 3))
        root.child(sheet, at, (60, 18))
        root.note(text, (at[0] + 2, at[1] + 3), 1.8)
    root.note(
        "Every GPIO signal is a port with the name it has in pins.toml and in the firmware.\n"
        "References go by sheet and block: R31x, Q31, K31 and J31 belong to POWER_A, R32x ... to POWER_B.\n"
        "Board dead or unplugged: servers run, nothing is pressed, the shared device stays, alarm is given.",
        (16, 14 + 34 * 3 + 4),
        1.8,
    )
    return project


def save(folder: Path = KICAD) -> None:
    """Write the schematic drawn from the committed pin list."""
    build(pin_list.load()).save(folder)


if __name__ == "__main__":
    save()
