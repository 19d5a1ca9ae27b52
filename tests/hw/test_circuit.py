"""The schematic's netlist against the pin list and the rules of safety; each rule is shown to catch a planted fault."""

from collections.abc import Callable
from dataclasses import replace

import amounts
import pico_pinout
import pins as pin_list
import pytest
import rules
from netlist import Netlist


def test_pins_reach_their_nets(pins: list[pin_list.Pin], nets: Netlist) -> None:
    assert rules.pins_match_netlist(pins, nets, pico_pinout.GPIO_PIN) == []


def test_every_ground_pin_is_ground(nets: Netlist) -> None:
    assert {int(pin) for (ref, pin), net in nets.pins.items() if ref == "A1" and net == "GND"} == pico_pinout.GROUND


def test_power_pins(nets: Netlist) -> None:
    assert nets.pins["A1", "39"] == "VSYS"
    assert nets.pins["A1", "36"] == "+3V3"
    assert nets.pins["A1", "40"].startswith("unconnected-")


def test_actuators_fail_safe(pins: list[pin_list.Pin], nets: Netlist) -> None:
    assert rules.actuators_fail_safe(pins, nets) == []


def test_coils_and_isolation(nets: Netlist) -> None:
    assert rules.coils_are_safe(nets) == []
    assert rules.isolation_holds(nets) == []


@pytest.mark.parametrize("gpio", sorted(pico_pinout.GPIO_PIN))
def test_one_moved_gpio_is_caught(pins: list[pin_list.Pin], nets: Netlist, gpio: int) -> None:
    other = next(pin for pin in pins if pin.gpio != gpio and pin.module_pin)
    swap = {gpio: other.gpio, other.gpio: gpio}
    moved = [replace(pin, gpio=swap.get(pin.gpio, pin.gpio)) for pin in pins]
    assert len(rules.pins_match_netlist(moved, nets, pico_pinout.GPIO_PIN)) == 2


def test_a_wired_pin_without_signal_is_caught(pins: list[pin_list.Pin], nets: Netlist) -> None:
    assert rules.pins_match_netlist(pins[:-1], nets, pico_pinout.GPIO_PIN)


@pytest.mark.parametrize("ref", ["R312", "R322", "R332", "R412", "R422", "R432", "R612", "R622", "R742"])
def test_one_missing_pull_down_is_caught(pins: list[pin_list.Pin], nets: Netlist, ref: str) -> None:
    nets.pins = {key: net for key, net in nets.pins.items() if key[0] != ref}
    found = rules.actuators_fail_safe(pins, nets)
    assert len(found) == 1
    assert "pull-down" in found[0]


def test_a_weak_pull_down_is_caught(pins: list[pin_list.Pin], nets: Netlist) -> None:
    nets.values["R312"] = "1M"
    assert rules.actuators_fail_safe(pins, nets)


def _drop(ref: str) -> Callable[[Netlist], None]:
    def change(nets: Netlist) -> None:
        nets.pins = {key: net for key, net in nets.pins.items() if key[0] != ref}

    return change


def _move(ref: str, pin: str, net: str) -> Callable[[Netlist], None]:
    def change(nets: Netlist) -> None:
        nets.pins[ref, pin] = net

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_drop("D311"), "K31: no flyback"),
        (_drop("D611"), "K61: no flyback"),
        (_move("K32", "A1", "+5V"), "K32: its coil must hang on"),
        (_move("K33", "12", "POWER_SPARE_NO"), "K33: its rest contact"),
        (_move("Q99", "3", "+5V_ARMED"), "Q302 alone"),
    ],
)
def test_an_unsafe_coil_is_caught(nets: Netlist, change: Callable[[Netlist], None], words: str) -> None:
    change(nets)
    assert any(words in sentence for sentence in rules.coils_are_safe(nets))


def test_arm_is_blocked_twice(nets: Netlist) -> None:
    assert rules.arm_is_blocked_twice(nets) == []


@pytest.mark.parametrize("ref", ["C301", "C305"])
def test_a_missing_blocking_capacitor_is_caught(nets: Netlist, ref: str) -> None:
    one, other = sorted({net for (part, _), net in nets.pins.items() if part == ref})
    nets.pins = {key: one if net == other else net for key, net in nets.pins.items() if key[0] != ref}
    assert rules.arm_is_blocked_twice(nets)


def test_a_bridged_blocking_capacitor_is_caught(nets: Netlist) -> None:
    nets.pins["R999", "1"], nets.pins["R999", "2"] = nets.pins["C301", "1"], nets.pins["C301", "2"]
    assert rules.arm_is_blocked_twice(nets)


def test_a_broken_isolation_is_caught(nets: Netlist) -> None:
    nets.pins["R999", "1"] = "FRONT_A_N"
    assert rules.isolation_holds(nets)


@pytest.mark.parametrize(
    ("text", "value"),
    [("10k", 1e4), ("2k2", 2200), ("100R", 100), ("1u", 1e-6), ("220u", 220e-6), ("100meg", 1e8), ("4.7k", 4700)],
)
def test_amounts(text: str, value: float) -> None:
    assert amounts.amount(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "k10", "10kk", "1.1 A resettable", "1.5k5"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="no value"):
        amounts.amount(text)
