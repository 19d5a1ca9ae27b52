"""Build A and the cables against the schematic's netlist, and their drawings against what WireViz draws now."""

import html
from dataclasses import replace
from pathlib import Path

import outputs
import pico_pinout
import pins as pin_list
import pytest
import rules
import wiring
import wiring_svg
from netlist import Netlist


def test_build_a_is_the_schematic(pins: list[pin_list.Pin], nets: Netlist) -> None:
    assert rules.build_a_matches(wiring.build_a(pins), wiring.build_a_points(), nets, pins) == []


def test_build_a_uses_the_pins_of_an_independent_table(pins: list[pin_list.Pin]) -> None:
    expected = {pico_pinout.GPIO_PIN[pin.gpio]: pin.signal for pin in pins if pin.gpio in pico_pinout.GPIO_PIN}
    wired = {}
    for step in wiring.build_a(pins):
        for wire in step.wires:
            for module, terminal in (wire.start, wire.end):
                if module == "PICO":
                    wired[int(terminal)] = wire.signal
    assert {number: signal for number, signal in wired.items() if number in expected} == expected
    assert {number for number, signal in wired.items() if signal == "GND"} <= pico_pinout.GROUND


def test_swapped_wires_of_build_a_are_caught(pins: list[pin_list.Pin], nets: Netlist) -> None:
    steps = wiring.build_a(pins)
    power = next(step for step in steps if step.name == "power")
    first, second = power.wires[0], power.wires[1]
    power.wires[0] = replace(first, end=second.end)
    power.wires[1] = replace(second, end=first.end)
    assert len(rules.build_a_matches(steps, wiring.build_a_points(), nets, pins)) == 2


def test_a_forgotten_wire_of_build_a_is_caught(pins: list[pin_list.Pin], nets: Netlist) -> None:
    steps = wiring.build_a(pins)
    for step in steps:
        step.wires = [wire for wire in step.wires if wire.signal != "ARM"]
    assert rules.build_a_matches(steps, wiring.build_a_points(), nets, pins) == ["ARM: no wire in build A"]


def test_cables_fit_the_connectors(nets: Netlist) -> None:
    assert rules.cables_match(wiring.cables(), nets, wiring.build_a_points()) == []


def test_a_wrong_connector_pin_is_caught(nets: Netlist) -> None:
    cables = wiring.cables()
    line = next(cable for cable in cables if cable.name == "line").others[0]
    line.wires[0], line.wires[1] = (
        replace(line.wires[0], start=line.wires[1].start), replace(line.wires[1], start=line.wires[0].start),
    )  # fmt: skip
    assert len(rules.cables_match(cables, nets, wiring.build_a_points())) == 2


def test_bench_fits_the_connectors(nets: Netlist) -> None:
    bench = wiring.cables("bench.toml")
    assert rules.cables_match(bench, nets, wiring.build_a_points(), every_connector=False) == []


def test_lines_are_straight_cables_to_a_server() -> None:
    """A server's port is a DTE: it hears on pin 2 and talks on pin 3, so the board's OUT must be on pin 2."""
    line = next(cable for cable in wiring.cables() if cable.name == "line")
    ways = {wire.signal: (wire.start[1], wire.end[1]) for wire in line.wires}
    assert ways == {"RS232_A_OUT": ("2", "2"), "RS232_A_IN": ("3", "3"), "GND": ("5", "5")}


@pytest.mark.usefixtures("needs_wireviz")
@pytest.mark.parametrize("name", ["build-a-power.svg", "cable-power-dual.svg"])
def test_a_drawing_shows_every_signal(name: str, tmp_path: Path) -> None:
    drawing = outputs.wiring_drawings()[name]
    text = html.unescape(wiring_svg.svg(drawing, tmp_path).decode())
    for wire in drawing.wires:
        assert wire.signal in text
    for module in {wire.start[0] for wire in drawing.wires}:
        assert drawing.titles[module].split(",")[0] in text
