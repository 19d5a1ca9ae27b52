"""The circuit a second time, as blocks with ranges of values: what the netlist must be, apart from the drawing.

The drawing (circuit*.py) says where a part stands and what it is; this says which parts a block must have, between
which nets, and how far a value may be off before it no longer does its work. problems() compares the two as partitions:
each net must join exactly the pins it is meant to, no part may be missing, extra or turned. A mistake has to be made
twice to stay. Equal blocks come from one template, which is what lets the fault simulation try one of them for all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from amounts import amount
from netlist import Netlist

Ends = dict[str, str]
Range = tuple[float, float] | str


@dataclass(frozen=True)
class Row:
    """One part: its reference, its value as a range or as the beginning of the text, and the net of each pin."""

    ref: str
    value: Range
    pins: Ends


def pair(ref: str, value: Range, one: str, other: str) -> Row:
    return Row(ref, value, {"1": one, "2": other})


def numbered(ref: str, value: Range, *nets: str) -> Row:
    return Row(ref, value, {str(number): net for number, net in enumerate(nets, 1)})


def diode(ref: str, value: str, anode: str, cathode: str) -> Row:
    return Row(ref, value, {"1": cathode, "2": anode})


def fet(ref: str, value: str, gate: str, source: str, drain: str) -> Row:
    return Row(ref, value, {"1": gate, "2": source, "3": drain})


PULL_DOWN = (3900, 10_000)


def low_side(n: str, signal: str, drain: str, source: str = "GND", down: Range = PULL_DOWN) -> Iterator[Row]:
    """Gate driver: enough series resistance for the pin, a pull-down that beats leakage of the pin."""
    yield pair(f"R{n}1", (47, 220), signal, f".{n}G")
    yield pair(f"R{n}2", down, f".{n}G", "GND")
    yield fet(f"Q{n}", "AO3400A", f".{n}G", source, drain)


def coil(n: str, signal: str, rail: str, colour: str, source: str = "GND", down: Range = PULL_DOWN) -> Iterator[Row]:
    """Driver, flyback diode and lamp of a relay."""
    yield from low_side(n, signal, f".{n}D", source, down)
    yield diode(f"D{n}1", "1N4148W", f".{n}D", rail)
    yield pair(f"R{n}3", (470, 2200), rail, f".{n}L")
    yield diode(f"D{n}2", colour, f".{n}L", f".{n}D")


def relay(n: str, signal: str, rail: str, name: str, colour: str) -> Iterator[Row]:
    """Relay with driver, flyback diode, lamp and terminal."""
    yield from coil(n, signal, rail, colour)
    yield Row(
        f"K{n}", "5 V relay", {"A1": rail, "A2": f".{n}D", "11": f"{name}_COM", "12": f"{name}_NC", "14": f"{name}_NO"}
    )
    yield numbered(f"J{n}", name, f"{name}_NC", f"{name}_NO", f"{name}_COM")


def front(
    n: str, signal: str, rail: str, ohm: Range, shield: tuple[str, ...] = (), down: Range = PULL_DOWN
) -> Iterator[Row]:
    """Optocoupler across a header; its LED gets 5 to 15 mA."""
    yield from low_side(n, signal, f".{n}K", down=down)
    yield pair(f"R{n}3", ohm, rail, f".{n}A")
    yield Row(f"U{n}", "LTV-817", {"1": f".{n}A", "2": f".{n}K", "3": f"{signal}_N", "4": f"{signal}_P"})
    yield numbered(f"J{n}", signal, f"{signal}_P", f"{signal}_N", *shield)


def input_filter(n: str, signal: str, contact: str) -> Iterator[Row]:
    """Pull-up, series resistor and capacitor: a time constant of 10 us to 1 ms."""
    yield pair(f"R{n}2", (4700, 22_000), "+3V3", contact)
    yield pair(f"R{n}3", (470, 2200), contact, signal)
    yield pair(f"C{n}1", (47e-9, 220e-9), signal, "GND")


def sense(n: str, feed: str) -> Iterator[Row]:
    """Isolated input: 1k for 5 V, a diode against the wrong polarity."""
    signal = f"SENSE_{feed}"
    yield numbered(f"J{n}", signal, f"{signal}_P", f"{signal}_N")
    yield pair(f"R{n}1", (680, 1500), f"{signal}_P", f".{n}A")
    yield diode(f"D{n}1", "1N4148W", f"{signal}_N", f".{n}A")
    yield Row(f"U{n}", "LTV-817", {"1": f".{n}A", "2": f"{signal}_N", "3": "GND", "4": f".{n}C"})
    yield from input_filter(n, signal, f".{n}C")


def line_socket(n: str, name: str, clamp: str, ground: str, heard: str, shell: tuple[str, ...] = ()) -> Iterator[Row]:
    """DE-9 wired as a modem with its handshake joined, a clamp at each wire, idle while in reset."""
    out, back = f"RS232_{name}_OUT", f"RS232_{name}_IN"
    shake, ready = f".{n}78", f".{n}146"
    yield numbered(f"J{n}", f"LINE_{name}", ready, out, back, ready, ground, ready, shake, shake,
                    f"-{n}RI", *shell)  # fmt: skip
    yield pair(f"D{n}1", clamp, out, ground)
    yield pair(f"D{n}2", clamp, back, ground)
    yield pair(f"R{n}1", (4700, 22_000), "+3V3", f"LINE_{name}_TX")
    yield pair(f"R{n}2", (470, 2200), f"LINE_{name}_RX", heard)


def driver(
    n: str, logic: tuple[str, str], heard: tuple[str, str], sent: tuple[str, str], said: tuple[str, str]
) -> Iterator[Row]:
    """MAX3232 with its capacitors; a pair is channel 1 and 2 of T in, R out, T out and R in."""
    pins = {"1": f".{n}C1+", "2": f".{n}V+", "3": f".{n}C1-", "4": f".{n}C2+", "5": f".{n}C2-", "6": f".{n}V-",
            "11": logic[0], "10": logic[1], "12": heard[0], "9": heard[1], "14": sent[0], "7": sent[1],
            "13": said[0], "8": said[1], "16": "+3V3", "15": "GND"}  # fmt: skip
    yield Row(f"U{n}", "MAX3232", pins)
    for index, (one, other) in enumerate((("C1+", "C1-"), ("C2+", "C2-")), 1):
        yield pair(f"C{n}{index}", (47e-9, 470e-9), f".{n}{one}", f".{n}{other}")
    for index, net in ((3, "+3V3"), (4, f".{n}V+"), (5, f".{n}V-")):
        yield pair(f"C{n}{index}", (47e-9, 470e-9), net, "GND")


def supply() -> Iterator[Row]:
    """Two inputs joined by diodes, the rail, and the Pico's feed."""
    for n in ("1", "2"):
        yield from supply_input(n)
        yield diode(f"D{n}", "SS34", f"FED_{n}", "+5V")
    yield diode("D3", "SMAJ5.0A", "GND", "+5V")
    yield from rail()


def supply_input(n: str) -> Iterator[Row]:
    """Terminal, fuse and lamp of one input."""
    yield numbered(f"J{n}", f"SUPPLY_{n}", f"SUPPLY_{n}_P", "GND")
    yield pair(f"F{n}", "1.1 A", f"SUPPLY_{n}_P", f"FED_{n}")
    yield pair(f"R{n}", (1000, 4700), f"FED_{n}", f".{n}L")
    yield diode(f"D{n}1", "GREEN", f".{n}L", "GND")


def rail() -> Iterator[Row]:
    """Storage of the rail, the Pico's feed and its 3.3 V."""
    yield Row("C1", (100e-6, 470e-6), {"1": "+5V", "2": "GND"})
    yield pair("C2", (47e-9, 220e-9), "+5V", "GND")
    yield pair("C3", (4.7e-6, 22e-6), "+3V3", "GND")
    yield diode("D4", "SS14", "+5V", "VSYS")


def arm(pump: Range, bleed: Range, pull: Range, hold: Range) -> Iterator[Row]:
    """Charge pump, the transistor that reads it, the switch it works. Ranges: hw/sim holds and drops within them."""
    yield pair("R301", (150, 680), "ARM", ".30a")
    yield pair("C305", pump, ".30a", ".30b")
    yield pair("C301", pump, ".30b", ".30c")
    yield diode("D303", "1N4148W", "GND", ".30c")
    yield diode("D304", "1N4148W", ".30c", ".30d")
    yield pair("C303", (0.47e-6, 2.2e-6), ".30d", "GND")
    yield diode("D305", "1N4148W", ".30d", ".30e")
    yield pair("C302", (0.47e-6, 2.2e-6), ".30c", ".30e")
    yield diode("D306", "1N4148W", ".30e", "ARM_PUMP")
    yield pair("C304", (6.8e-6, 15e-6), "ARM_PUMP", "GND")
    yield pair("R302", bleed, "ARM_PUMP", "GND")
    yield fet("Q301", "AO3400A", "ARM_PUMP", "GND", ".30f")
    yield pair("R304", pull, ".30f", ".30g")
    yield pair("R305", hold, "+5V", ".30g")
    yield fet("Q302", "AO3401A", ".30g", "+5V", "+5V_ARMED")
    yield pair("R303", (470, 2200), "+5V_ARMED", ".30h")
    yield diode("D302", "YELLOW", ".30h", "GND")


def transfer(down: Range = PULL_DOWN) -> Iterator[Row]:
    """Two latching relays driven together, each with one read-back; three terminals."""
    for n, wire, ends in (("61", "RXD", ("READ_BACK_A", "-61")), ("62", "TXD", ("-62", "READ_BACK_B"))):
        coils = {"A+": "+5V", "A-": "COILS_A", "B+": "+5V", "B-": "COILS_B"}
        contacts = {"11": f"DEVICE_{wire}", "12": f"TO_A_{wire}", "14": f"TO_B_{wire}"}
        yield Row(f"K{n}", "5 V latching", coils | contacts | {"21": "GND", "22": ends[0], "24": ends[1]})
    for n, side in (("61", "A"), ("62", "B")):
        yield from low_side(n, f"TRANSFER_SET_{side}", f"COILS_{side}", down=down)
        yield diode(f"D{n}1", "1N4148W", f"COILS_{side}", "+5V")
    for n, side in (("66", "A"), ("67", "B")):
        yield from input_filter(n, f"TRANSFER_AT_{side}", f"READ_BACK_{side}")
    for n, name in (("63", "DEVICE"), ("64", "TO_A"), ("65", "TO_B")):
        yield numbered(f"J{n}", name, f"{name}_RXD", f"{name}_TXD", "GND")


def panel() -> Iterator[Row]:
    """Button, key and lamp."""
    for n, name in (("71", "BUTTON"), ("72", "KEY")):
        yield numbered(f"J{n}", name, f"{name}_SWITCH", "GND")
        yield from input_filter(n, name, f"{name}_SWITCH")
    yield pair("R731", (220, 680), "LED_STATUS", "LED_STATUS_P")
    yield numbered("J73", "LED_STATUS", "LED_STATUS_P", "GND")


def board_a() -> Iterator[Row]:
    """Return every part of revision A but the Pico, whose pins pins.toml gives."""
    yield from supply()
    for n, name in (("21", "A"), ("22", "B"), ("23", "SPARE")):
        yield from line_socket(n, name, "SMAJ15CA", "GND", f".{n}R")
    yield from driver(
        "21", ("LINE_A_TX", "LINE_B_TX"), (".21R", ".22R"), ("RS232_A_OUT", "RS232_B_OUT"), ("RS232_A_IN", "RS232_B_IN")
    )
    yield from driver(
        "23", ("LINE_SPARE_TX", "GND"), (".23R", "-23a"), ("RS232_SPARE_OUT", "-23b"), ("RS232_SPARE_IN", "-23c")
    )
    yield from arm((1e-6, 4.7e-6), (68_000, 130_000), (4700, 22_000), (47_000, 220_000))
    for n, name in (("1", "A"), ("2", "B"), ("3", "SPARE")):
        yield from relay(f"3{n}", f"POWER_{name}", "+5V_ARMED", f"POWER_{name}", "RED")
        yield from front(f"4{n}", f"FRONT_{name}", "+3V3", (150, 330))
    yield from relay("74", "GUARDING", "+5V", "ALARM", "GREEN")
    for number, feed in enumerate(("A1", "A2", "B1", "B2", "SPARE"), 51):
        yield from sense(str(number), feed)
    yield from transfer()
    yield from panel()


def problems(netlist: Netlist, rows: list[Row]) -> list[str]:
    """Return one sentence for each part and net that is not what the templates say; the Pico's pins are left out."""
    found = _values(rows, netlist.values)
    wanted: dict[str, set[str]] = {}
    for row in rows:
        for pin, net in row.pins.items():
            if not net.startswith("-"):
                wanted.setdefault(net, set()).add(_end(row.ref, pin, row.value))
    kinds = {row.ref: row.value for row in rows}
    actual: dict[str, set[str]] = {}
    for (ref, pin), net in netlist.pins.items():
        if ref != "A1" and not net.startswith("unconnected-"):
            actual.setdefault(net, set()).add(_end(ref, pin, kinds.get(ref, "")))
    joined = {frozenset(ends): net for net, ends in actual.items()}
    for net, ends in wanted.items():
        name = joined.get(frozenset(ends))
        if name is None or (not net.startswith(".") and name != net):
            nearest = max(actual.values(), key=lambda other: len(other & ends))
            found.append(f"net {net}: differs at {', '.join(sorted(nearest ^ ends)) or name}")
    meant = {frozenset(ends) for ends in wanted.values()}
    found += [
        f"net {net} is not meant: {', '.join(sorted(ends))}"
        for net, ends in actual.items()
        if frozenset(ends) not in meant
    ]
    return found


def _values(rows: list[Row], values: dict[str, str]) -> list[str]:
    found = [f"{ref} is in no template" for ref in sorted(set(values) - {row.ref for row in rows} - {"A1"})]
    for row in rows:
        value = values.get(row.ref)
        if value is None:
            found.append(f"{row.ref} is missing")
        elif isinstance(row.value, str):
            if not value.startswith(row.value):
                found.append(f"{row.ref} is {value}, not {row.value}")
        elif not row.value[0] <= amount(value.split()[0]) <= row.value[1]:
            found.append(f"{row.ref} is {value}, must be within {row.value[0]:g} to {row.value[1]:g}")
    return found


def _end(ref: str, pin: str, value: Range) -> str:
    """Return an end of a part; ends of a part without polarity are alike."""
    plain = ref[0] in "RF" or (ref[0] == "C" and not (isinstance(value, tuple) and value[1] > 30e-6))
    plain = plain or (isinstance(value, str) and bool(value.endswith(("CA", "BA"))))
    return ref if plain else f"{ref}.{pin}"
