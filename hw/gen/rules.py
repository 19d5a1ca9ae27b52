"""What must hold between the pin list, the schematic's netlist, the wiring and the simulations.

Each function returns sentences, one for each thing that is wrong, and an empty list when all is well. They need the
standard library only. The table of the Pico's pins is handed in by the caller: the tests bring an independent one.
make.py refuses to write outputs when a rule fails; tests/hw calls the same functions, and with planted faults.
"""

import re

import templates
import templates_b
from amounts import amount
from netlist import Netlist
from pins import GROUND_PINS, Pin
from wiring import Drawing, Wire

# Weaker, a pin of an RP2350 that software has made an input could lift it (erratum E9); stronger, it loads the pin.
PULL_DOWN_OHM = {"A": (1_000.0, 10_000.0), "B": (1_000.0, 5_600.0)}
ACTUATORS = ("POWER_", "FRONT_", "TRANSFER_SET_", "GUARDING")
POWER_RELAYS = {"POWER_A": "K31", "POWER_B": "K32", "POWER_SPARE": "K33"}
COILS = {
    "K31": ("A1", "A2"), "K32": ("A1", "A2"), "K33": ("A1", "A2"), "K74": ("A1", "A2"),
    "K61": ("A+", "A-", "B+", "B-"), "K62": ("A+", "A-", "B+", "B-"),
}  # fmt: skip
# What may touch the nets that ARM keeps apart, beside the pump itself: in revision B the front panel is behind ARM too.
ON_ARMED = {"A": r"Q302|K3\d|D3\d1|R3\d3|R303", "B": r"Q302|K3\d|D3\d1|R3\d3|R303|R4\d3|R781|TP3"}
ON_PUMP = {"A": r"D306|C304|R302|Q301", "B": r"D306|C304|R302|Q301|TP4"}


def pins_match_netlist(pins: list[Pin], netlist: Netlist, module_pin: dict[int, int]) -> list[str]:
    """Every signal reaches the module pin of its GPIO, and no other GPIO is wired."""
    found = []
    for pin in pins:
        number = module_pin.get(pin.gpio)
        if number is None:
            continue
        net = netlist.pins.get(("A1", str(number)))
        if net != pin.signal:
            found.append(f"{pin.signal}: GPIO{pin.gpio} is module pin {number}, which the schematic wires to {net}")
    used = {pin.gpio for pin in pins}
    for gpio, number in module_pin.items():
        net = netlist.pins.get(("A1", str(number)), "unconnected-")
        if gpio not in used and not net.startswith("unconnected-"):
            found.append(f"GPIO{gpio} has no signal, but module pin {number} is wired to {net}")
    for number, net in {**dict.fromkeys(GROUND_PINS, "GND"), 36: "+3V3", 39: "VSYS"}.items():
        if netlist.pins.get(("A1", str(number))) != net:
            found.append(f"module pin {number} must be on {net}, not on {netlist.pins.get(('A1', str(number)))}")
    return found


def pins_are_safe(pins: list[Pin]) -> list[str]:
    """GPIO15 moves no contact, every actuator is active high and starts low, LINE_*_TX starts idle."""
    found = []
    for pin in pins:
        actuator = pin.signal.startswith(ACTUATORS) or pin.signal == "ARM"
        if actuator and (not pin.active_high or pin.boot_level != 0):
            found.append(f"{pin.signal}: must be active high and low at boot")
        if actuator and pin.gpio == 15:
            found.append(f"{pin.signal}: GPIO15 floats at USB enumeration on early silicon")
        if pin.signal.endswith("_TX") and pin.boot_level != 1:
            found.append(f"{pin.signal}: must idle high at boot")
        if pin.function == "IN" and pin.pull != "up":
            found.append(f"{pin.signal}: an open input must read inactive, so it needs its pull-up")
    return found


def actuators_fail_safe(pins: list[Pin], netlist: Netlist) -> list[str]:
    """Each actuator goes through a series resistor to a gate with a pull-down of its own and a transistor."""
    found = []
    for pin in pins:
        if not pin.is_output or not pin.signal.startswith(ACTUATORS):
            continue
        series = [ref for ref, _ in netlist.on(pin.signal, "R")]
        if len(series) != 1:
            found.append(f"{pin.signal}: {len(series)} resistors instead of one")
            continue
        gate = netlist.other_end(series[0], pin.signal)
        least, most = PULL_DOWN_OHM[netlist.revision]
        downs = [ref for ref in netlist.between("R", gate, "GND") if least <= amount(netlist.values[ref]) <= most]
        if not downs:
            found.append(f"{pin.signal}: no pull-down of {most / 1000:g}k or less at the gate")
        if not netlist.on(gate, "Q"):
            found.append(f"{pin.signal}: no transistor at the gate")
    return found


def coils_are_safe(netlist: Netlist) -> list[str]:
    """Each coil has a flyback diode, power relays hang on the armed rail only, and rest contacts are the NC ones."""
    found = []
    for relay, ends in COILS.items():
        for plus, minus in zip(ends[::2], ends[1::2], strict=True):
            high, low = netlist.pins.get((relay, plus)), netlist.pins.get((relay, minus))
            if high is None or low is None:
                found.append(f"{relay}: coil {plus} is not wired")
                continue
            diodes = [ref for ref in netlist.between("D", low, high)
                      if netlist.pins[ref, "1"] == high and netlist.values[ref].startswith("1N4148")]  # fmt: skip
            if not diodes:
                found.append(f"{relay}: no flyback diode across {plus}")
    for signal, relay in POWER_RELAYS.items():
        if netlist.pins.get((relay, "A1")) != "+5V_ARMED":
            found.append(f"{relay}: its coil must hang on +5V_ARMED")
        if netlist.pins.get((relay, "12")) != f"{signal}_NC":
            found.append(f"{relay}: its rest contact must be {signal}_NC")
    return found + arm_is_not_bypassed(netlist)


def arm_is_not_bypassed(netlist: Netlist) -> list[str]:
    """Only Q302 gives the armed rail current, and only the pump drives its transistors: no other part touches them."""
    allowed = {
        "+5V_ARMED": ON_ARMED[netlist.revision],
        "ARM_PUMP": ON_PUMP[netlist.revision],
        netlist.pins["Q302", "1"]: r"Q302|R304|R305",
        netlist.pins["Q301", "3"]: r"Q301|R304",
    }
    found = [
        f"{ref} touches {net}: nothing but {refs} may"
        for net, refs in allowed.items()
        for ref, _ in netlist.on(net)
        if not re.fullmatch(refs, ref)
    ]
    feeders = {ref for ref, _ in netlist.on("+5V_ARMED", "Q")}
    if feeders != {"Q302"} or netlist.pins["Q302", "2"] != "+5V" or netlist.pins["Q302", "3"] != "+5V_ARMED":
        found.append(f"+5V_ARMED must be fed from +5V by Q302 alone, not by {sorted(feeders)}")
    return found


def rows_of(netlist: Netlist) -> list[templates.Row]:
    """Return what the templates say of a netlist's revision."""
    return list(templates_b.board() if netlist.revision == "B" else templates.board_a())


def circuit(pins: list[Pin], netlist: Netlist, module_pin: dict[int, int]) -> list[str]:
    """Return what every rule on pins and netlist finds."""
    found = pins_are_safe(pins) + pins_match_netlist(pins, netlist, module_pin) + actuators_fail_safe(pins, netlist)
    found += coils_are_safe(netlist) + arm_is_blocked_twice(netlist) + isolation_holds(netlist)
    return found + templates.problems(netlist, rows_of(netlist))


def arm_is_blocked_twice(netlist: Netlist) -> list[str]:
    """Two capacitors in series stand between ARM and the first diode, so that one shorted does not arm."""
    found = []
    first = [ref for ref, _ in netlist.on("ARM") if not ref.startswith("A")]
    if len(first) != 1 or not first[0].startswith("R"):
        return [f"ARM must go to one resistor only, not to {first}"]
    net = netlist.other_end(first[0], "ARM")
    for step in (1, 2):
        parts = [ref for ref, _ in netlist.on(net) if ref not in first]
        if len(parts) != 1 or not parts[0].startswith("C"):
            found.append(f"ARM: capacitor {step} of 2 in series is missing, or something bridges it: {parts}")
            break
        first = parts
        net = netlist.other_end(parts[0], net)
    return found


def isolation_holds(netlist: Netlist) -> list[str]:
    """Wires of headers and feeds touch nothing but their optocoupler's side; in revision B lines are islands too."""
    found = islands_hold(netlist) if netlist.revision == "B" else []
    for (ref, pin), net in netlist.pins.items():
        isolated = re.fullmatch(r"(FRONT|SENSE)_\w+_[PN]", net)
        allowed = ("J4", "J5", "U4", "U5", "R5", "D5")
        if isolated and not ref.startswith(allowed):
            found.append(f"{ref}.{pin} touches {net}, which must stay isolated")
    return found


def islands_hold(netlist: Netlist) -> list[str]:
    """Each line's wires and ground, and the 24 V side, touch no part of the board but those that cross the gap.

    A part of an island has all pins on it; the isolator, the converter and the optocoupler have pins on both sides.
    """
    found = []
    for name, crossing, nets in (
        *((f"line {node}", f"U{n}1|U{n}2|J{n}|R{n}2",
           rf"(GND|\+5V|TXI|RXI|IN|OUT|C[12][PN]|V[PN])_{node}|RS232_{node}_\w+")
          for n, node in (("21", "A"), ("22", "B"), ("23", "SPARE"))),
        ("24 V", r"U77|J3\d|K3\d|R3\d4", r"V24_\w+|POWER_\w+_(NO|NC|COM|FEED)"),
    ):  # fmt: skip
        on = {ref for (ref, _), net in netlist.pins.items() if re.fullmatch(nets, net)}
        for (ref, pin), net in netlist.pins.items():
            inside = re.fullmatch(nets, net) or net.startswith(("unconnected-", "Net-(J2"))
            if ref in on and not inside and not re.fullmatch(crossing, ref):
                found.append(f"{ref}.{pin} joins {net} to the island of {name}")
    return found


def build_a_matches(steps: list[Drawing], points: dict[tuple[str, str], str], netlist: Netlist,
                    pins: list[Pin]) -> list[str]:  # fmt: skip
    """Both ends of every wire of build A lie on one net of the schematic, named as the wire; no signal is missing."""
    found = []
    wires: list[Wire] = [wire for step in steps for wire in step.wires]
    for wire in wires:
        for end in (wire.start, wire.end):
            ref, _, number = points[end].partition(".")
            net = netlist.pins.get((ref, number))
            if net != wire.signal:
                found.append(f"wire {wire.signal}: {end[0]}.{end[1]} stands for {ref}.{number}, which is on {net}")
    carried = {wire.signal for wire in wires}
    found += [f"{pin.signal}: no wire in build A" for pin in pins if pin.module_pin and pin.signal not in carried]
    return found


def cables_match(cables: list[Drawing], netlist: Netlist, points: dict[tuple[str, str], str],
                 every_connector: bool = True) -> list[str]:  # fmt: skip
    """Each wire at a board connector has that pin's net as its signal; build A has it too; each connector is used.

    A wire from one board connector to another carries no signal's name; only its pins must exist.
    """
    found = []
    used = set()
    reachable = {netlist.pins.get((ref, number)) for ref, _, number in (p.partition(".") for p in points.values())}
    for cable in [one for first in cables for one in (first, *first.others)]:
        for wire in cable.wires:
            for ref, pin in (wire.start, wire.end):
                if not re.fullmatch(r"J\d+", ref):
                    continue
                used.add(ref)
                net = netlist.pins.get((ref, pin))
                between = wire.signal == "" and wire.start[0].startswith("J") and wire.end[0].startswith("J")
                if net is None or (net != wire.signal and not between):
                    found.append(f"{cable.name}: {ref}.{pin} carries {wire.signal}, the schematic says {net}")
                if net not in reachable and not str(net).startswith(("RS232_", "BUTTON_", "KEY_", "LED_STATUS_")):
                    found.append(f"{cable.name}: build A has no terminal for {net}")
    if not every_connector:
        return found
    connectors = {ref for ref in netlist.values if re.fullmatch(r"J\d+", ref)}
    found += [f"{ref}: no cable uses it" for ref in sorted(connectors - used)]
    return found


def simulation_values(values: dict[str, str], circuits: dict[str, str]) -> list[str]:
    """Resistors and capacitors in the simulations have the values of the parts with the same reference."""
    found = []
    for name, text in circuits.items():
        defaults = dict(re.findall(r"\b([A-Z]\w*)=(\S+)", " ".join(re.findall(r"(?m)^\.param (.*)$", text))))
        for ref, value in re.findall(r"(?m)^([RC]\d{3})\s+\w+\s+\w+\s+(\S+)\s*$", text):
            if ref not in values:
                found.append(f"{name}: {ref} is not on the board")
                continue
            value = value.strip("{}").split("*")[0]
            value = defaults.get(value, value)
            if abs(amount(value) / amount(values[ref].split()[0]) - 1) > 1e-9:
                found.append(f"{name}: {ref} is {value}, the board has {values[ref]}")
    return found
