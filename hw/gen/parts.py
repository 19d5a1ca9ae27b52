"""Every symbol the schematic uses, drawn with symbols.py.

Variants take the place of rotation: `_H` lies, `_V` stands, so a part is placed by its middle and nothing else. Pin
numbers follow the usual numbering of the part; where makers differ (relays, transistors) the README says to check.
"""

from typing import Any

from symbols import Symbol, SymbolPin, arrow, box, circle, integrated, line

P = SymbolPin


def _two(name: str, prefix: str, lying: bool, graphics: list[Any], names: tuple[str, str] = ("", ""), half: int = 3,
         size: tuple[float, float] = (2, 0.8), lead: float = 1) -> Symbol:  # fmt: skip
    """Return a part with pin 1 left or up and pin 2 right or down; size is (half length, half thickness)."""
    along, across = size
    if lying:
        pins = (P("1", names[0], -half, 0, "left", length=lead), P("2", names[1], half, 0, "right", length=lead))
        return Symbol(name, prefix, pins, (-along, -across, along, across), tuple(graphics))
    pins = (P("1", names[0], 0, -half, "up", length=lead), P("2", names[1], 0, half, "down", length=lead))
    return Symbol(name, prefix, pins, (-across, -along, across, along), tuple(graphics))


def _turn(points: list[tuple[float, float]], lying: bool) -> list[tuple[float, float]]:
    """Return points given for a lying part (x along the part) as they are for a lying or a standing one."""
    return points if lying else [(-y, x) for x, y in points]


def _diode(name: str, lying: bool, cathode_first: bool = True, kind: str = "plain") -> Symbol:
    """Return a diode; pin 1 is the cathode wherever it points."""
    sign = 1 if cathode_first else -1

    def draw(*points: tuple[float, float], fill: str = "none") -> list[Any]:
        return line(*_turn([(x * sign, y) for x, y in points], lying), fill=fill)

    shapes = [
        draw((1, -1), (1, 1), (-1, 0), (1, -1), fill="none" if kind == "tvs" else "outline"),
        draw((-1, -1), (-1, 1)),
        draw((-2, 0), (-1, 0)), draw((1, 0), (2, 0)),
    ]  # fmt: skip
    if kind == "schottky":
        shapes += [draw((-1, -1), (-1.5, -1), (-1.5, -0.6)), draw((-1, 1), (-0.5, 1), (-0.5, 0.6))]
    if kind == "tvs":
        shapes += [draw((-1, -1), (-1.5, -1)), draw((-1, 1), (-0.5, 1))]
    if kind == "led":
        for shift in (0.0, 1.2):
            (x1, y1), (x2, y2) = _turn([(0.6 - shift, -1.4), (0.0 - shift, -2.7)], lying)
            shapes += arrow(x1, y1, x2, y2)
    pins = []
    for number, label, end in (("1", "K", -3 * sign), ("2", "A", 3 * sign)):
        x, y = (end, 0) if lying else (0, end)
        side = ("left" if end < 0 else "right") if lying else ("up" if end < 0 else "down")
        pins.append(P(number, label, x, y, side, length=1))
    half = 2.8 if kind == "led" else 1
    body = (-2, -half, 2, 1) if lying else (-1, -2, half, 2)
    return Symbol(name, "D", tuple(pins), body, tuple(shapes))


def _resistor(name: str, lying: bool) -> Symbol:
    return _two(name, "R", lying, [box(-2, -0.8, 2, 0.8) if lying else box(-0.8, -2, 0.8, 2)])


def _capacitor(name: str, lying: bool, polar: bool = False) -> Symbol:
    marks = [
        line(*_turn([(-0.5, -1.5), (-0.5, 1.5)], lying), width=0.4),
        line(*_turn([(0.5, -1.5), (0.5, 1.5)], lying), width=0.4),
        line(*_turn([(-2, 0), (-0.5, 0)], lying)),
        line(*_turn([(0.5, 0), (2, 0)], lying)),
    ]
    if polar:
        marks += [line((-1.4, -1.6), (-1.4, -0.8)), line((-1.8, -1.2), (-1.0, -1.2))]
    return _two(name, "C", lying, marks, size=(0.5, 1.5))


def _fuse(name: str) -> Symbol:
    return _two(name, "F", True, [box(-2, -0.8, 2, 0.8), line((-2, 0), (2, 0)), line((-1, 1.4), (1, -1.4))],
                size=(2, 1.4))  # fmt: skip


def _mosfet(name: str, p_channel: bool) -> Symbol:
    up, down = ("S", "D") if p_channel else ("D", "S")
    numbers = {"G": "1", "S": "2", "D": "3"}
    shapes = [
        circle(1, 0, 2.9), line((-0.5, -1.5), (-0.5, 1.5), width=0.3), line((-2, 0), (-0.5, 0)),
        line((0.2, -1.9), (0.2, -0.9), width=0.3), line((0.2, -0.5), (0.2, 0.5), width=0.3),
        line((0.2, 0.9), (0.2, 1.9), width=0.3),
        line((0.2, -1.4), (2, -1.4), (2, -2)), line((0.2, 1.4), (2, 1.4), (2, 2)),
        line((0.2, 0), (2, 0), (2, -1.4 if p_channel else 1.4)),
    ]  # fmt: skip
    tip = (1.2, 0.2) if p_channel else (0.3, 1.1)
    direction = tip[1] - tip[0]
    shapes.append(line((tip[0], -0.4), (tip[0], 0.4), (tip[0] + direction, 0), (tip[0], -0.4), fill="outline"))
    pins = (
        P(numbers["G"], "G", -4, 0, "left"), P(numbers[up], up, 2, -4, "up"), P(numbers[down], down, 2, 4, "down"),
    )  # fmt: skip
    return Symbol(name, "Q", pins, (-2, -3, 4, 3), tuple(shapes))


def _opto() -> Symbol:
    shapes = [
        box(-4, -3, 4, 3),
        line((-4, -2), (-2, -2), (-2, -0.7)), line((-2, 0.7), (-2, 2), (-4, 2)),
        line((-2.9, -0.7), (-1.1, -0.7), (-2, 0.7), (-2.9, -0.7), fill="outline"), line((-2.9, 0.7), (-1.1, 0.7)),
        *arrow(-0.7, -0.4, 0.7, -0.4), *arrow(-0.7, 0.5, 0.7, 0.5),
        line((1.4, -1.2), (1.4, 1.2), width=0.4), line((1.4, -0.5), (2.6, -2), (4, -2)),
        line((1.4, 0.5), (2.6, 2), (4, 2)), line((2.6, 2), (1.8, 1.7), (2.3, 1.1), (2.6, 2), fill="outline"),
    ]  # fmt: skip
    pins = (P("1", "A", -6, -2, "left"), P("2", "K", -6, 2, "left"), P("4", "C", 6, -2, "right"),
            P("3", "E", 6, 2, "right"))  # fmt: skip
    return Symbol("OPTO", "U", pins, (-4, -3, 4, 3), tuple(shapes))


def _coil(x: float) -> list[Any]:
    return [box(x - 2, -2, x + 2, 2), line((x - 2, 1), (x + 2, -1)), line((x, -4), (x, -2)), line((x, 2), (x, 4))]


def _changeover(x: float) -> list[Any]:
    """Return one changeover contact resting on its left throw: common below at x, throws above at x - 2 and x + 2."""
    return [
        line((x, 4), (x, 2.2)), line((x, 2.2), (x - 1.4, -2.2), width=0.35), circle(x, 2.2, 0.25, "outline"),
        line((x - 2, -4), (x - 2, -2), (x - 1.2, -2)), line((x + 2, -4), (x + 2, -2), (x + 1.2, -2)),
    ]  # fmt: skip


def _relay() -> Symbol:
    shapes = [box(-7, -4, 9, 4), *_coil(-4), *_changeover(5), line((-2, 0), (4, 0), width=0.1)]
    pins = (
        P("A1", "A1", -4, -6, "up"), P("A2", "A2", -4, 6, "down"), P("12", "NC", 3, -6, "up"),
        P("14", "NO", 7, -6, "up"), P("11", "COM", 5, 6, "down"),
    )  # fmt: skip
    return Symbol("RELAY", "K", pins, (-7, -4, 9, 4), tuple(shapes), show_numbers=True)


def _latching_relay() -> Symbol:
    shapes = [
        box(-14, -4, 20, 4), *_coil(-10), *_coil(-3),
        *_changeover(6), *_changeover(15), line((-1, 0), (14, 0), width=0.1),
    ]  # fmt: skip
    pins = (
        P("A+", "SET_A+", -10, -6, "up"), P("A-", "SET_A-", -10, 6, "down"),
        P("B+", "SET_B+", -3, -6, "up"), P("B-", "SET_B-", -3, 6, "down"),
        P("12", "1A", 4, -6, "up"), P("14", "1B", 8, -6, "up"), P("11", "1COM", 6, 6, "down"),
        P("22", "2A", 13, -6, "up"), P("24", "2B", 17, -6, "up"), P("21", "2COM", 15, 6, "down"),
    )  # fmt: skip
    return Symbol("RELAY_LATCHING", "K", pins, (-14, -4, 20, 4), tuple(shapes), show_numbers=True)


def _terminal(count: int) -> Symbol:
    """Return a screw terminal whose pins come out on the left; pin 1 is on top."""
    body = (-2, -1.5, 2, 2 * count - 0.5)
    shapes = [box(*body), *(circle(0, 2 * row, 0.6) for row in range(count))]
    pins = tuple(P(str(row + 1), str(row + 1), -4, 2 * row, "left") for row in range(count))
    return Symbol(f"TERMINAL_{count}", "J", pins, body, tuple(shapes), show_numbers=True)


def _terminal_right(count: int) -> Symbol:
    """Return a screw terminal whose pins come out on the right; pin 1 is on top."""
    body = (-2, -1.5, 2, 2 * count - 0.5)
    shapes = [box(*body), *(circle(0, 2 * row, 0.6) for row in range(count))]
    pins = tuple(P(str(row + 1), str(row + 1), 4, 2 * row, "right") for row in range(count))
    return Symbol(f"TERMINAL_{count}_R", "J", pins, body, tuple(shapes), show_numbers=True)


def _ground(name: str, dx: int, dy: int) -> Symbol:
    def at(along: float, across: float) -> tuple[float, float]:
        return along * dx + across * dy, along * dy + across * dx

    shapes = (line(at(0, 0), at(1, 0)), line(at(1, -1.2), at(1, 1.2)), line(at(1.5, -0.8), at(1.5, 0.8)),
              line(at(2, -0.3), at(2, 0.3)))  # fmt: skip
    side = {(0, 1): "up", (-1, 0): "right", (1, 0): "left"}[dx, dy]
    left, right = sorted((2.0 * dx, 1.2 * abs(dy)))
    body = (-1.2, 0, 1.2, 2) if dy else (left, -1.2, right, 1.2)
    return Symbol(name, "#PWR", (P("1", "GND", 0, 0, side, "power_in", 0),), body, shapes, power=True)


def _rail(name: str) -> Symbol:
    shapes = (line((0, 0), (0, -1.2)), line((-1.1, -1.2), (1.1, -1.2), width=0.3))
    return Symbol(name, "#PWR", (P("1", name, 0, 0, "down", "power_in", 0),), (-1.1, -1.2, 1.1, 0), shapes, power=True)


def _flag() -> Symbol:
    shapes = (line((0, 0), (0, -0.8), (-0.8, -1.5), (0, -2.2), (0.8, -1.5), (0, -0.8)),)
    return Symbol("PWR_FLAG", "#FLG", (P("1", "pwr", 0, 0, "down", "power_out", 0),), (-0.8, -2.2, 0.8, 0), shapes,
                  power=True)  # fmt: skip


def _pico() -> Symbol:
    """Return the Pico in the order of its pins, seen from above with the USB socket on top."""
    special = {
        30: ("RUN", "input"), 33: ("AGND", "power_in"), 35: ("ADC_VREF", "passive"), 36: ("3V3(OUT)", "power_out"),
        37: ("3V3_EN", "input"), 39: ("VSYS", "power_in"), 40: ("VBUS", "passive"),
    }  # fmt: skip
    ground = (3, 8, 13, 18, 23, 28, 38)
    gpio = [number for number in range(1, 41) if number not in special and number not in ground]
    names = dict(zip(gpio, [f"GP{n}" for n in (*range(23), 26, 27, 28)], strict=True))

    def entry(number: int) -> tuple[str, str, str]:
        if number in special:
            return str(number), *special[number]
        return (str(number), "GND", "power_in") if number in ground else (str(number), names[number], "bidirectional")

    return integrated("PICO", "A", [entry(n) for n in range(1, 21)], [entry(n) for n in range(40, 20, -1)], 28)


def _max3232() -> Symbol:
    left = [
        ("11", "T1IN", "input"), ("12", "R1OUT", "output"), ("10", "T2IN", "input"), ("9", "R2OUT", "output"),
        ("1", "C1+", "passive"), ("3", "C1-", "passive"), ("4", "C2+", "passive"), ("5", "C2-", "passive"),
    ]  # fmt: skip
    right = [
        ("14", "T1OUT", "output"), ("13", "R1IN", "input"), ("7", "T2OUT", "output"), ("8", "R2IN", "input"),
        ("16", "VCC", "power_in"), ("2", "V+", "passive"), ("6", "V-", "passive"), ("15", "GND", "power_in"),
    ]  # fmt: skip
    return integrated("MAX3232", "U", left, right, 20, step=4)


def _de9() -> Symbol:
    """Return a DE-9 socket wired as a modem (DCE), in order of use; names are those of the server's pins."""
    order = [(2, "RXD"), (3, "TXD"), (5, "GND"), (7, "RTS"), (8, "CTS"), (4, "DTR"), (6, "DSR"), (1, "DCD"), (9, "RI")]
    return integrated("DE9_SOCKET", "J", [(str(number), name, "passive") for number, name in order], [], 10)


SYMBOLS = {
    symbol.name: symbol
    for symbol in (
        _resistor("R_H", True), _resistor("R_V", False), _capacitor("C_H", True), _capacitor("C_V", False),
        _capacitor("CP_V", False, polar=True), _diode("D_H", True, cathode_first=False), _diode("D_V", False),
        _diode("SCHOTTKY_H", True, cathode_first=False, kind="schottky"), _diode("TVS_V", False, kind="tvs"),
        _diode("LED_V", False, cathode_first=False, kind="led"), _fuse("FUSE_H"), _mosfet("NMOS", False),
        _mosfet("PMOS", True), _opto(), _relay(), _latching_relay(), *(_terminal(n) for n in (2, 3)),
        *(_terminal_right(n) for n in (2, 3)), _ground("GND", 0, 1), _ground("GND_LEFT", -1, 0),
        _ground("GND_RIGHT", 1, 0), _rail("+5V"), _rail("+3V3"), _rail("+5V_ARMED"), _flag(), _pico(), _max3232(),
        _de9(),
    )
}  # fmt: skip
