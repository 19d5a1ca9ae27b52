"""Pieces of circuit that occur more than once: the low-side driver, the relay with its diode and lamp, the opto pair.

Each function draws around `at` and returns the points its neighbours connect to. Values stand here once; the
simulations under hw/sim use the same references, and a test compares the values.
"""

from sheet import Part, Point, Sheet

GATE_SERIES = "100R"  # slows the edge a little and limits the pin's current if the transistor fails
GATE_PULL_DOWN = "10k"  # holds the transistor off while the Pico is in reset, unpowered or missing
NMOS = "AO3400A"  # logic-level N-MOSFET, fully on at 2.5 V, 30 V
PMOS = "AO3401A"  # logic-level P-MOSFET
DIODE = "1N4148W"
SMALL = "0805"


def resistor(sheet: Sheet, ref: str, value: str, at: Point, lying: bool = False) -> Part:
    """Place a resistor."""
    return sheet.part("R_H" if lying else "R_V", ref, value, at, Package=SMALL)


def capacitor(sheet: Sheet, ref: str, value: str, at: Point, lying: bool = False) -> Part:
    """Place a ceramic capacitor."""
    return sheet.part("C_H" if lying else "C_V", ref, value, at, Package=SMALL, Kind="X7R, 16 V or more")


def terminal(sheet: Sheet, count: int, ref: str, value: str, at: Point, pins_right: bool = False) -> Part:
    """Place a screw terminal with its name above it."""
    symbol = f"TERMINAL_{count}_R" if pins_right else f"TERMINAL_{count}"
    return sheet.part(symbol, ref, value, at, (-2, -4.6, "left"), (-2, -2.8, "left"),
                      Package=f"screw terminal {count}-way, 5.08 mm")  # fmt: skip


def low_side(sheet: Sheet, at: Point, number: int, signal: str) -> Point:
    """Draw GPIO port, series resistor, pull-down and transistor; return the drain."""
    x, y = at
    sheet.port(signal, at, "input")
    series = resistor(sheet, f"R{number}1", GATE_SERIES, (x + 5, y), lying=True)
    pull = resistor(sheet, f"R{number}2", GATE_PULL_DOWN, (x + 11, y + 5))
    fet = sheet.part("NMOS", f"Q{number}", NMOS, (x + 18, y), (4.6, -0.9, "left"), (4.6, 0.9, "left"),
                     Package="SOT-23")  # fmt: skip
    sheet.wire(at, series.pin(1))
    sheet.wire(series.pin(2), (x + 11, y), fet.pin("G"))
    sheet.wire((x + 11, y), pull.pin(1))
    sheet.power("GND", pull.pin(2))
    sheet.wire(fet.pin("S"), (x + 20, y + 8))
    sheet.power("GND", (x + 20, y + 8))
    return fet.pin("D")


def lamp(sheet: Sheet, number: int, colour: str, top: Point, bottom: Point, value: str = "1k") -> None:
    """Draw a resistor and an LED, one below the other, from `top` down to `bottom` (at least 12 steps)."""
    x, y = top
    dropper = resistor(sheet, f"R{number}3", value, (x, y + 3))
    led = sheet.part("LED_V", f"D{number}2", colour, (x, y + 9), (3.4, -0.9, "left"), (3.4, 0.9, "left"),
                     Package="3 mm LED")  # fmt: skip
    sheet.wire(dropper.pin(2), led.pin("A"))
    sheet.wire(led.pin("K"), bottom)


def relay(sheet: Sheet, at: Point, number: int, signal: str, rail: str, name: str, lamp_colour: str) -> None:
    """Draw driver, coil, flyback diode, lamp, contacts and terminal; `at` is the GPIO port."""
    x, y = at
    drain = low_side(sheet, at, number, signal)
    top, bottom = y - 20, y - 6
    diode = sheet.part("D_V", f"D{number}1", DIODE, (x + 20, y - 13), (-1.6, -0.9, "right"), (-1.6, 0.9, "right"),
                       Package="SOD-123")  # fmt: skip
    coil = sheet.part("RELAY", f"K{number}", "5 V relay, 1 changeover", (x + 44, y - 13), (0.5, 5.3, "center"),
                      show_value=False, Package="5 V coil, 70 ohm or more, contact 10 A")  # fmt: skip
    sheet.wire(drain, (x + 20, bottom), diode.pin("A"))
    sheet.wire(diode.pin("K"), (x + 20, top))
    sheet.power(rail, (x + 20, top))
    sheet.wire((x + 20, top), (x + 27, top), (x + 40, top), coil.pin("A1"))
    lamp(sheet, number, lamp_colour, (x + 27, top), (x + 27, bottom))
    sheet.wire((x + 20, bottom), (x + 27, bottom), (x + 40, bottom), coil.pin("A2"))
    out = terminal(sheet, 3, f"J{number}", name, (x + 77, y - 15))
    sheet.wire(coil.pin("NC"), (x + 47, y - 21), (x + 57, y - 21), (x + 57, y - 15), out.pin(1))
    sheet.wire(coil.pin("NO"), (x + 55, y - 19), (x + 55, y - 13), out.pin(2))
    sheet.wire(coil.pin("COM"), (x + 49, y - 6), (x + 57, y - 6), (x + 57, y - 11), out.pin(3))
    for contact, dy in (("NC", -15), ("NO", -13), ("COM", -11)):
        sheet.label(f"{name}_{contact}", (x + 58, y + dy))


def front_output(sheet: Sheet, at: Point, number: int, signal: str) -> None:
    """Draw a driver and an optocoupler that closes two wires of a server's front panel; `at` is the GPIO port."""
    x, y = at
    drain = low_side(sheet, at, number, signal)
    dropper = resistor(sheet, f"R{number}3", "220R", (x + 28, y - 10), lying=True)
    opto = sheet.part("OPTO", f"U{number}", "LTV-817", (x + 40, y - 8), Package="DIP-4")
    sheet.power("+3V3", (x + 23, y - 10))
    sheet.wire((x + 23, y - 10), dropper.pin(1))
    sheet.wire(dropper.pin(2), opto.pin("A"))
    sheet.wire(opto.pin("K"), (x + 20, y - 6), drain)
    out = terminal(sheet, 2, f"J{number}", signal, (x + 69, y - 9))
    sheet.wire(opto.pin("C"), (x + 50, y - 10), (x + 50, y - 9), out.pin(1))
    sheet.wire(opto.pin("E"), (x + 50, y - 6), (x + 50, y - 7), out.pin(2))
    sheet.label(f"{signal}_P", (x + 51, y - 9))
    sheet.label(f"{signal}_N", (x + 51, y - 7))


def sense_input(sheet: Sheet, at: Point, number: int, signal: str) -> None:
    """Draw an isolated input that pulls its GPIO low while the sensed supply is present; `at` is the terminal."""
    x, y = at
    source = terminal(sheet, 2, f"J{number}", signal, (x, y), pins_right=True)
    dropper = resistor(sheet, f"R{number}1", "1k", (x + 20, y), lying=True)
    guard = sheet.part("D_V", f"D{number}1", DIODE, (x + 26, y + 4), (1.8, -0.9, "left"), (1.8, 0.9, "left"),
                       Package="SOD-123")  # fmt: skip
    opto = sheet.part("OPTO", f"U{number}", "LTV-817", (x + 43, y + 2), Package="DIP-4")
    sheet.wire(source.pin(1), dropper.pin(1))
    sheet.wire(dropper.pin(2), (x + 26, y), opto.pin("A"))
    sheet.wire((x + 26, y), guard.pin("K"))
    sheet.wire(source.pin(2), (x + 16, y + 2), (x + 16, y + 8), (x + 26, y + 8), (x + 35, y + 8), (x + 35, y + 4),
               opto.pin("K"))  # fmt: skip
    sheet.wire(guard.pin("A"), (x + 26, y + 8))
    sheet.label(f"{signal}_P", (x + 5, y))
    sheet.label(f"{signal}_N", (x + 5, y + 2))
    input_filter(sheet, opto.pin("C"), number, signal)
    sheet.wire(opto.pin("E"), (x + 51, y + 4), (x + 51, y + 6))
    sheet.power("GND", (x + 51, y + 6))


def input_filter(sheet: Sheet, at: Point, number: int, signal: str) -> None:
    """Draw pull-up, series resistor and capacitor from a contact at `at` to the GPIO port, 20 steps to the right."""
    x, y = at
    pull = resistor(sheet, f"R{number}2", "10k", (x + 3, y - 5))
    series = resistor(sheet, f"R{number}3", "1k", (x + 9, y), lying=True)
    hold = capacitor(sheet, f"C{number}1", "100n", (x + 15, y + 4))
    sheet.power("+3V3", (x + 3, y - 8))
    sheet.wire(at, (x + 3, y), series.pin(1))
    sheet.wire(pull.pin(2), (x + 3, y))
    sheet.wire(series.pin(2), (x + 15, y), (x + 20, y))
    sheet.wire((x + 15, y), hold.pin(1))
    sheet.power("GND", hold.pin(2))
    sheet.port(signal, (x + 20, y), "output", to_left=False)
