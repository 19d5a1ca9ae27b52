"""The drawn schematic through KiCad: rule check clean, netlist as committed, planted faults caught. Needs KiCad 9."""

from dataclasses import replace
from pathlib import Path

import blocks
import circuit
import kicad
import netlist
import pico_pinout
import pins as pin_list
import pytest
import rules
from sheet import Part, Point, Project, Sheet

pytestmark = pytest.mark.usefixtures("needs_kicad")


def _nets(project: Project, folder: Path) -> netlist.Netlist:
    kicad.check_rules(project, folder)
    return netlist.from_json(kicad.netlist_json(project, folder))


def test_rule_check_is_clean_and_netlist_is_the_committed_one(pins: list[pin_list.Pin], tmp_path: Path) -> None:
    project = circuit.build(pins)
    report = kicad.check_rules(project, tmp_path)
    assert "Errors 0  Warnings 0" in report
    assert kicad.netlist_json(project, tmp_path) == netlist.NETLIST.read_text(encoding="utf-8")


def test_a_moved_gpio_moves_in_the_netlist(pins: list[pin_list.Pin], tmp_path: Path) -> None:
    swap = {6: 7, 7: 6}
    moved = [replace(pin, gpio=swap.get(pin.gpio, pin.gpio)) for pin in pins]
    nets = _nets(circuit.build(moved), tmp_path)
    assert rules.pins_match_netlist(moved, nets, pico_pinout.GPIO_PIN) == []
    assert len(rules.pins_match_netlist(pins, nets, pico_pinout.GPIO_PIN)) == 2


def test_a_pull_down_drawn_elsewhere_is_caught(
    pins: list[pin_list.Pin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = blocks.resistor

    def misplaced(sheet: Sheet, ref: str, value: str, at: Point, lying: bool = False) -> Part:
        return original(sheet, ref, "1M" if ref == "R312" else value, at, lying)

    monkeypatch.setattr(blocks, "resistor", misplaced)
    found = rules.actuators_fail_safe(pins, _nets(circuit.build(pins), tmp_path))
    assert found == ["POWER_A: no pull-down of 10k or less at the gate"]


def test_an_open_wire_fails_the_rule_check(pins: list[pin_list.Pin], tmp_path: Path) -> None:
    project = circuit.build(pins)
    power = next(sheet for sheet in project.sheets if sheet.name == "power")
    gate = next(part for part in power.parts if part.ref == "Q31").pin("G")
    power.wires = [wire for wire in power.wires if gate not in wire]
    with pytest.raises(kicad.KicadError, match=r"pin_not_connected|unconnected"):
        kicad.check_rules(project, tmp_path)
