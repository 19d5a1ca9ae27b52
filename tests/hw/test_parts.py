"""Pins of the parts against tables typed by hand from their usual pinouts, and the signal paths through them."""

import re

import amounts
import parts
import pico_pinout
import pytest
from netlist import Netlist

# MAX3232: logic side pin -> line side pin of each channel.
DRIVERS = {"11": "14", "10": "7"}
RECEIVERS = {"12": "13", "9": "8"}
MOSFET = {"1": "G", "2": "S", "3": "D"}  # SOT-23
OPTO = {"1": "A", "2": "K", "3": "E", "4": "C"}  # DIP-4
NODES = ("A", "B", "SPARE")
SENSES = ("A1", "A2", "B1", "B2", "SPARE")


def test_symbols_have_the_usual_pins() -> None:
    for name, table in (("NMOS", MOSFET), ("PMOS", MOSFET), ("OPTO", OPTO)):
        assert {pin.number: pin.name for pin in parts.SYMBOLS[name].pins} == table
    pico = {int(pin.number): pin.name for pin in parts.SYMBOLS["PICO"].pins}
    assert pico == pico_pinout.NAMES
    for name in ("D_H", "D_V", "SCHOTTKY_H", "TVS_V", "LED_V"):
        assert {pin.number: pin.name for pin in parts.SYMBOLS[name].pins} == {"1": "K", "2": "A"}


def test_source_and_drain_are_drawn_for_their_channel() -> None:
    n_channel, p_channel = parts.SYMBOLS["NMOS"], parts.SYMBOLS["PMOS"]
    assert n_channel.pin("D").y < 0 < n_channel.pin("S").y
    assert p_channel.pin("S").y < 0 < p_channel.pin("D").y


@pytest.mark.parametrize("node", NODES)
def test_a_line_goes_out_on_pin_2_and_in_on_pin_3(nets: Netlist, node: str) -> None:
    (driver,) = nets.on(f"LINE_{node}_TX", "U")
    assert nets.pins[driver[0], DRIVERS[driver[1]]] == f"RS232_{node}_OUT"
    assert nets.between("R", f"LINE_{node}_TX", "+3V3"), "no pull-up: the line would break while in reset"
    (series,) = [ref for ref, _ in nets.on(f"LINE_{node}_RX", "R")]
    (receiver,) = nets.on(nets.other_end(series, f"LINE_{node}_RX"), "U")
    assert nets.pins[receiver[0], RECEIVERS[receiver[1]]] == f"RS232_{node}_IN"
    (socket,) = {ref for ref, _ in nets.on(f"RS232_{node}_OUT", "J")}
    assert [nets.pins[socket, pin] for pin in ("2", "3", "5")] == [f"RS232_{node}_OUT", f"RS232_{node}_IN", "GND"]
    assert nets.pins[socket, "7"] == nets.pins[socket, "8"]


@pytest.mark.parametrize("feed", SENSES)
def test_a_sense_pulls_low_through_its_optocoupler(nets: Netlist, feed: str) -> None:
    (dropper,) = [ref for ref, _ in nets.on(f"SENSE_{feed}_P", "R")]
    assert amounts.amount(nets.values[dropper]) == 1000
    (opto,) = nets.on(nets.other_end(dropper, f"SENSE_{feed}_P"), "U")
    assert opto[1] == "1"
    assert nets.pins[opto[0], "2"] == f"SENSE_{feed}_N"
    assert nets.pins[opto[0], "3"] == "GND"
    collector = nets.pins[opto[0], "4"]
    assert nets.between("R", collector, "+3V3")
    assert nets.between("R", collector, f"SENSE_{feed}")
    assert nets.between("C", f"SENSE_{feed}", "GND")


@pytest.mark.parametrize("node", NODES)
def test_a_front_output_closes_collector_to_emitter(nets: Netlist, node: str) -> None:
    (opto,) = {ref for ref, _ in nets.on(f"FRONT_{node}_P", "U")}
    assert nets.pins[opto, "4"] == f"FRONT_{node}_P"
    assert nets.pins[opto, "3"] == f"FRONT_{node}_N"
    (switch,) = nets.on(nets.pins[opto, "2"], "Q")
    assert switch[1] == "3"
    assert nets.pins[switch[0], "2"] == "GND"


def test_every_transistor_of_the_low_side_has_its_source_on_ground(nets: Netlist) -> None:
    for ref in (ref for ref, value in nets.values.items() if value == "AO3400A"):
        assert nets.pins[ref, "2"] == "GND"
    assert nets.pins["Q302", "2"] == "+5V"


def test_transfer_relays_move_together_and_report_apart(nets: Netlist) -> None:
    for coil in ("A-", "B-"):
        assert nets.pins["K61", coil] == nets.pins["K62", coil]
    assert nets.pins["K61", "22"] == "READ_BACK_A"
    assert nets.pins["K62", "24"] == "READ_BACK_B"
    assert nets.pins["K61", "24"].startswith("unconnected-")
    assert nets.pins["K62", "22"].startswith("unconnected-")
    for relay, wire in (("K61", "RXD"), ("K62", "TXD")):
        assert [nets.pins[relay, pin] for pin in ("11", "12", "14")] == [
            f"DEVICE_{wire}", f"TO_A_{wire}", f"TO_B_{wire}",
        ]  # fmt: skip


def test_supplies_are_joined_by_diodes_only(nets: Netlist) -> None:
    for number in ("1", "2"):
        assert {ref for ref, _ in nets.on(f"FED_{number}") if re.match(r"[DFR]", ref)} == {
            f"F{number}", f"D{number}", f"R{number}",
        }  # fmt: skip
        assert nets.pins[f"D{number}", "1"] == "+5V"
    assert nets.pins["D4", "1"] == "VSYS"
    assert nets.pins["D4", "2"] == "+5V"


def test_alarm_rests_open_on_no(nets: Netlist) -> None:
    assert nets.pins["K74", "A1"] == "+5V"
    assert nets.pins["K74", "14"] == "ALARM_NO"
