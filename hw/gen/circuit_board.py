"""Sheets of the board itself: the two supplies with the Pico, and the three RS-232 lines."""

from blocks import capacitor, resistor, terminal
from pins import GROUND_PINS, Pin
from sheet import Part, Point, Sheet


def supply(sheet: Sheet) -> None:
    """Draw two 5 V inputs, each with fuse and Schottky diode, joined on the rail: either one alone is enough."""
    sheet.frame((12, 12), (88, 62), "Two 5 V inputs: either is enough")
    for number, y in ((1, 26), (2, 46)):
        source = terminal(sheet, 2, f"J{number}", f"SUPPLY_{number}", (20, y), pins_right=True)
        fuse = sheet.part("FUSE_H", f"F{number}", "1.1 A resettable", (42, y), Package="1812")
        diode = sheet.part("SCHOTTKY_H", f"D{number}", "SS34", (68, y), Package="SMA")
        dropper = resistor(sheet, f"R{number}", "2k2", (53, y + 3))
        lamp = sheet.part("LED_V", f"D{number}1", "GREEN", (53, y + 9), (3.4, -0.9, "left"), (3.4, 0.9, "left"),
                          Package="3 mm LED")  # fmt: skip
        sheet.label(f"SUPPLY_{number}_P", (25, y))
        sheet.wire(source.pin(1), fuse.pin(1))
        sheet.wire(fuse.pin(2), (53, y), diode.pin("A"))
        sheet.wire((53, y), dropper.pin(1))
        sheet.wire(dropper.pin(2), lamp.pin("A"))
        sheet.power("GND", lamp.pin("K"), "right")
        sheet.label(f"FED_{number}", (55, y))
        sheet.wire(source.pin(2), (26, y + 2), (26, y + 4))
        sheet.power("GND", (26, y + 4))
        sheet.wire(diode.pin("K"), (76, y), (76, 26))
    sheet.wire((76, 26), (76, 22))
    sheet.power("+5V", (76, 22))
    sheet.wire((76, 26), (82, 26))
    sheet.flag((82, 26))
    sheet.frame((12, 66), (88, 96), "Rail: storage, surge clamp, feed of the Pico")
    store = sheet.part("CP_V", "C1", "220u", (22, 82), Package="radial, 16 V")
    fast = capacitor(sheet, "C2", "100n", (36, 82))
    clamp = sheet.part("TVS_V", "D3", "SMAJ5.0A", (48, 82), Package="SMA, unidirectional")
    feed = sheet.part("SCHOTTKY_H", "D4", "SS14", (66, 77), Package="SMA")
    for part in (store, fast, clamp):
        sheet.wire(part.pin(1), (part.at[0], 77))
        sheet.power("GND", part.pin(2))
    sheet.wire((22, 77), (36, 77), (48, 77), feed.pin("A"))
    sheet.power("+5V", (22, 77))
    sheet.wire(feed.pin("K"), (74, 77), (82, 77))
    sheet.label("VSYS", (70, 77))
    sheet.flag((82, 77))
    ground = (78, 88)
    sheet.power("GND", ground)
    sheet.wire(ground, (78, 86))
    sheet.flag((78, 86))
    sheet.note(
        "Never feed the board from one watched server alone.\n"
        "J1: a supply of its own. J2: a second one, or standby 5 V\n"
        "that stays when any one server is cut. D1 and D2 keep one\n"
        "input from feeding the other. Over USB alone the Pico runs,\n"
        "but D4 blocks: no relay has current, nothing can be cut.",
        (13, 100),
    )


def pico(sheet: Sheet, pins: list[Pin], at: Point) -> Part:
    """Draw the Pico with one port for each signal; every pin without a signal is marked as left open."""
    module = sheet.part("PICO", "A1", "Raspberry Pi Pico", at, (0, -5.2, "center"), (0, -3.4, "center"))
    wired = {pin.module_pin: pin for pin in pins if pin.module_pin}
    for number in range(1, 41):
        end = module.pin(number)
        left = number <= 20
        sign = -1 if left else 1
        if number in GROUND_PINS:
            outside = sheet.wire(end, (end[0] + 2 * sign, end[1]))
            sheet.power("GND", outside, "left" if left else "right")
        elif number in wired:
            outside = sheet.wire(end, (end[0] + 3 * sign, end[1]))
            shape = "output" if wired[number].is_output else "input"
            sheet.port(wired[number].signal, outside, shape, to_left=left)
        elif number == 39:
            sheet.wire(end, (end[0] + 9, end[1]))
            sheet.label("VSYS", (end[0] + 9, end[1]), to_left=True)
        elif number == 36:
            corner = (end[0] + 12, end[1])
            sheet.wire(end, corner, (corner[0], corner[1] - 2))
            sheet.power("+3V3", (corner[0], corner[1] - 2))
            hold = capacitor(sheet, "C3", "10u", (end[0] + 22, end[1] + 3))
            sheet.wire(corner, hold.pin(1))
            sheet.power("GND", hold.pin(2))
        else:
            sheet.unconnected(end)
    x, y = at
    sheet.note(
        "In reset, in the boot loader and without power every GPIO is\n"
        "an input with a weak pull-down; each actuator has a 10k\n"
        "pull-down of its own, so nothing is cut or pressed.\n"
        "LED_BOARD (GPIO25) is the LED on the module.\n"
        "GPIO15 is never a relay: on early silicon USB moves it.",
        (x - 32, y + 46),
    )
    return module


def lines(sheet: Sheet) -> None:
    """Draw three RS-232 lines with two MAX3232; each DE-9 socket takes a straight cable to a server."""
    _driver(sheet, (70, 26), 21, ["A", "B"])
    _driver(sheet, (70, 92), 23, ["SPARE"])
    sheet.frame((150, 12), (222, 46), "Idle while the Pico is in reset")
    for row, name in enumerate(("A", "B", "SPARE")):
        y = 24 + 8 * row
        pull = resistor(sheet, f"R2{row + 1}1", "10k", (170, y), lying=True)
        sheet.power("+3V3", (164, y))
        sheet.wire((164, y), pull.pin(1))
        port = sheet.wire(pull.pin(2), (178, y))
        sheet.port(f"LINE_{name}_TX", port, "passive", to_left=False)
    sheet.frame((150, 50), (222, 98), "Surge clamps")
    for row, name in enumerate(("A", "B", "SPARE")):
        for column, direction in enumerate(("OUT", "IN")):
            x, y = 152 + 35 * column, 60 + 12 * row
            clamp = sheet.part("TVS_V", f"D2{row + 1}{column + 1}", "SMAJ15CA", (x + 17, y + 3),
                               Package="SMA, bidirectional")  # fmt: skip
            sheet.label(f"RS232_{name}_{direction}", (x + 1, y))
            sheet.wire((x + 1, y), clamp.pin(1))
            sheet.power("GND", clamp.pin(2), "right")
    sheet.note(
        "Idle is mark. The pull-ups hold the transmitters idle in reset; the\n"
        "receiver's own 5k holds its output high when a cable is unplugged.\n"
        "Sockets are wired as a modem (DCE): straight cable, no null modem.\n"
        "OUT is what the board sends. Pins 7-8 and 4-6-1 are joined for\n"
        "software that insists on handshake lines.",
        (150, 102),
    )


def _driver(sheet: Sheet, at: Point, number: int, names: list[str]) -> None:
    """Draw a MAX3232 with its capacitors; channel 1 serves names[0], channel 2 names[1] or nothing."""
    x, y = at
    chip = sheet.part("MAX3232", f"U{number}", "MAX3232", at, (0, -5.2, "center"), (0, -3.4, "center"),
                      Package="SOIC-16")  # fmt: skip
    left, right = x - 13, x + 13
    for row, name in enumerate(names):
        channel, top, block = row + 1, y + 8 * row, number + row
        sheet.port(f"LINE_{name}_TX", (left - 26, top), "input")
        sheet.wire((left - 26, top), chip.pin(f"T{channel}IN"))
        series = resistor(sheet, f"R{block}2", "1k", (left - 12, top + 4), lying=True)
        sheet.wire(chip.pin(f"R{channel}OUT"), series.pin(2))
        sheet.port(f"LINE_{name}_RX", (left - 26, top + 4), "output")
        sheet.wire(series.pin(1), (left - 26, top + 4))
        _socket(sheet, chip, block, name, channel, (x + 70, y + 27 * row))
    if len(names) == 1:
        sheet.wire(chip.pin("T2IN"), (left - 3, y + 8))
        sheet.power("GND", (left - 3, y + 8), "left")
        for pin in ("R2OUT", "T2OUT", "R2IN"):
            sheet.unconnected(chip.pin(pin))
    for count, (plus, offset) in enumerate((("C1", 18), ("C2", 26)), 1):
        pump = sheet.part("C_V", f"C{number}{count}", "100n", (left - 10, y + offset), (-2.4, -0.9, "right"),
                          (-2.4, 0.9, "right"), Package="0805", Kind="X7R, 16 V or more")  # fmt: skip
        high, low = chip.pin(f"{plus}+"), chip.pin(f"{plus}-")
        sheet.wire(high, (left - 4, high[1]), (left - 4, pump.pin(1)[1]), pump.pin(1))
        sheet.wire(low, (left - 4, low[1]), (left - 4, pump.pin(2)[1]), pump.pin(2))
    for ref, pin, distance in ((f"C{number}3", "VCC", 25), (f"C{number}4", "V+", 16), (f"C{number}5", "V-", 6)):
        end = chip.pin(pin)
        hold = capacitor(sheet, ref, "100n", (right + distance, end[1] + 3))
        sheet.wire(end, hold.pin(1))
        sheet.power("GND", hold.pin(2))
        if pin == "VCC":
            sheet.power("+3V3", hold.pin(1))
    low = chip.pin("GND")
    sheet.wire(low, (low[0] + 1, low[1]), (low[0] + 1, low[1] + 2))
    sheet.power("GND", (low[0] + 1, low[1] + 2))


def _socket(sheet: Sheet, chip: Part, block: int, name: str, channel: int, at: Point) -> None:
    """Draw the DE-9 socket of one line and its wires to the driver."""
    x, y = at
    socket = sheet.part("DE9_SOCKET", f"J{block}", f"LINE_{name}", at, (-5, -5.2, "left"), (-5, -3.4, "left"),
                        Package="DE-9 socket")  # fmt: skip
    out, back = chip.pin(f"T{channel}OUT"), chip.pin(f"R{channel}IN")
    shift = 34 if channel == 2 else 12
    sheet.wire(out, (out[0] + shift, out[1]), (out[0] + shift, y), socket.pin(2))
    sheet.wire(back, (back[0] + shift - 2, back[1]), (back[0] + shift - 2, y + 2), socket.pin(3))
    label_x = x - 8 - 14
    sheet.label(f"RS232_{name}_OUT", (label_x, y))
    sheet.label(f"RS232_{name}_IN", (label_x, y + 2))
    ground = sheet.wire(socket.pin(5), (x - 13, y + 4))
    sheet.power("GND", ground, "left")
    for joined in ((7, 8), (4, 6, 1)):
        ends = [socket.pin(number) for number in joined]
        for end in ends:
            sheet.wire(end, (x - 11, end[1]))
        sheet.wire((x - 11, ends[0][1]), (x - 11, ends[-1][1]))
    sheet.unconnected(socket.pin(9))
