"""Sheets of what the board moves and hears: power relays with ARM, front panel, sense, transfer, panel."""

from blocks import (
    DIODE,
    NMOS,
    PMOS,
    capacitor,
    front_output,
    input_filter,
    lamp,
    low_side,
    relay,
    resistor,
    sense_input,
    terminal,
)
from sheet import Point, Sheet


def power(sheet: Sheet) -> None:
    """Draw the charge pump and the three power relays that get their coil current from it."""
    sheet.frame((12, 11), (222, 49), "ARM: a pin that stands still in either level lets every power relay drop")
    _arm(sheet, (24, 33))
    for at, number, name in (((27, 82), 31, "POWER_A"), ((134, 82), 32, "POWER_B"), ((27, 126), 33, "POWER_SPARE")):
        x, y = at
        sheet.frame((x - 15, y - 30), (x + 88, y + 13), f"{name}: rest = normally closed = the server runs")
        relay(sheet, at, number, name, "+5V_ARMED", name, "RED")
    sheet.note(
        "Contacts carry at most 30 V DC, 5 A: a 24 V coil circuit of an\n"
        "external contactor, or a DC feed. Never mains on this board.\n"
        "NC-COM opens and NO-COM closes while a node is cut.",
        (120, 98),
    )


def _arm(sheet: Sheet, at: Point) -> None:
    """Draw the charge pump, the transistor that reads it and the switch that feeds the relays' coils."""
    x, y = at
    sheet.port("ARM", at, "input")
    limit = resistor(sheet, "R301", "330R", (x + 5, y), lying=True)
    doubled = capacitor(sheet, "C305", "2u2", (x + 13, y), lying=True)
    sheet.wire(at, limit.pin(1))
    sheet.wire(limit.pin(2), doubled.pin(1))
    x += 8
    first = capacitor(sheet, "C301", "2u2", (x + 13, y), lying=True)
    second = capacitor(sheet, "C302", "1u", (x + 31, y - 9), lying=True)
    sheet.wire(doubled.pin(2), first.pin(1))
    sheet.wire(first.pin(2), (x + 19, y), (x + 22, y))
    sheet.wire((x + 19, y), (x + 19, y - 9), second.pin(1))
    clamp = sheet.part("D_V", "D303", DIODE, (x + 19, y + 5), Package="SOD-123")
    sheet.wire((x + 19, y), clamp.pin("K"))
    sheet.power("GND", clamp.pin("A"))
    pumps = [sheet.part("D_H", ref, DIODE, (x + dx, y), Package="SOD-123")
             for ref, dx in (("D304", 25), ("D305", 37), ("D306", 50))]  # fmt: skip
    sheet.wire(pumps[0].pin("K"), (x + 31, y), pumps[1].pin("A"))
    sheet.wire(pumps[1].pin("K"), (x + 43, y), pumps[2].pin("A"))
    sheet.wire(second.pin(2), (x + 43, y - 9), (x + 43, y))
    middle = capacitor(sheet, "C303", "1u", (x + 31, y + 6))
    store = capacitor(sheet, "C304", "10u", (x + 58, y + 6))
    bleed = resistor(sheet, "R302", "100k", (x + 69, y + 6))
    fet = sheet.part("NMOS", "Q301", NMOS, (x + 84, y), (4.6, -0.9, "left"), (4.6, 0.9, "left"), Package="SOT-23")
    sheet.wire(pumps[2].pin("K"), (x + 58, y), (x + 69, y), fet.pin("G"))
    for part in (middle, store, bleed):
        sheet.wire((part.at[0], y), part.pin(1))
        sheet.power("GND", part.pin(2))
    sheet.label("ARM_PUMP", (x + 59, y))
    sheet.wire(fet.pin("S"), (x + 86, y + 9))
    sheet.power("GND", (x + 86, y + 9))
    gate = resistor(sheet, "R304", "10k", (x + 93, y - 9), lying=True)
    hold_off = resistor(sheet, "R305", "100k", (x + 101, y - 12))
    switch = sheet.part("PMOS", "Q302", PMOS, (x + 113, y - 9), (4.6, -0.9, "left"), (4.6, 0.9, "left"),
                        Package="SOT-23")  # fmt: skip
    sheet.wire(fet.pin("D"), (x + 86, y - 9), gate.pin(1))
    sheet.wire(gate.pin(2), (x + 101, y - 9), switch.pin("G"))
    for point in (hold_off.pin(1), sheet.wire(switch.pin("S"), (x + 115, y - 15))):
        sheet.power("+5V", point)
    sheet.wire(switch.pin("D"), (x + 115, y - 2), (x + 126, y - 2), (x + 134, y - 2), (x + 140, y - 2))
    sheet.power("+5V_ARMED", (x + 126, y - 2))
    sheet.flag((x + 134, y - 2))
    lamp(sheet, 30, "YELLOW", (x + 140, y - 2), (x + 140, y + 10))
    sheet.power("GND", (x + 140, y + 10))
    sheet.note(
        "The loop toggles ARM each 1 ms.\n"
        "Armed in about 0.1 s; a stall of\n"
        "0.5 s is bridged; dropped within\n"
        "3 s of the last edge. Never by PWM,\n"
        "PIO or an interrupt: they would go\n"
        "on when the loop has stopped.",
        (x + 147, y - 16),
    )


def front(sheet: Sheet) -> None:
    """Draw three isolated switches for the servers' front-panel headers."""
    for at, number, name in (((27, 36), 41, "FRONT_A"), ((134, 36), 42, "FRONT_B"), ((27, 80), 43, "FRONT_SPARE")):
        x, y = at
        sheet.frame((x - 15, y - 20), (x + 87, y + 13), f"{name}: closes a RESET or POWER header")
        front_output(sheet, at, number, name)
    sheet.note(
        "An optocoupler stands across the two pins of the header, beside the button: + to the pin\n"
        "that measures 3.3 V or 5 V against the chassis, - to the other. It cannot feed the server.\n"
        "One header per node, RESET or POWER, as the settings say.",
        (120, 64),
    )


def sense(sheet: Sheet) -> None:
    """Draw five isolated inputs, each low while its feed is there."""
    places = [((18, 30), 51, "SENSE_A1"), ((125, 30), 52, "SENSE_A2"), ((18, 66), 53, "SENSE_B1"),
              ((125, 66), 54, "SENSE_B2"), ((18, 102), 55, "SENSE_SPARE")]  # fmt: skip
    for at, number, name in places:
        x, y = at
        sheet.frame((x - 6, y - 15), (x + 94, y + 16), f"{name}: low while the feed is there")
        sense_input(sheet, at, number, name)
    sheet.note(
        "1k suits 5 V: standby 5 V of a server, or a small certified 5 V adapter on the\n"
        "switched outlet. 12 V: 3k3. 24 V: 6k8, 0.5 W. A cut wire reads as OFF: that is\n"
        "why OFF counts only when ON was seen before the command.",
        (122, 90),
    )


def transfer(sheet: Sheet) -> None:
    """Draw two latching relays that hand one serial device to node a or node b, with one read-back contact each."""
    sheet.frame((12, 12), (98, 98), "Two latching relays: one for each wire of the device")
    _latching(sheet, (52, 38), 61, "RXD", "A")
    _latching(sheet, (52, 80), 62, "TXD", "B")
    sheet.frame((104, 12), (146, 98), "Shared device, node a, node b")
    for number, name, y in ((63, "DEVICE", 30), (64, "TO_A", 56), (65, "TO_B", 82)):
        out = terminal(sheet, 3, f"J{number}", name, (136, y))
        for pin, wire in ((1, "RXD"), (2, "TXD")):
            end = out.pin(pin)
            sheet.wire(end, (112, end[1]))
            sheet.label(f"{name}_{wire}", (112, end[1]))
        end = out.pin(3)
        sheet.wire(end, (end[0] - 2, end[1]), (end[0] - 2, end[1] + 3))
        sheet.power("GND", (end[0] - 2, end[1] + 3))
    sheet.frame((152, 12), (222, 74), "Read-back: both or neither low is a fault")
    for number, side, y in ((66, "A", 32), (67, "B", 60)):
        sheet.wire((161, y), (174, y))
        sheet.label(f"READ_BACK_{side}", (161, y))
        input_filter(sheet, (174, y), number, f"TRANSFER_AT_{side}")
    for at, number, side in (((28, 122), 61, "A"), ((86, 122), 62, "B")):
        x, y = at
        sheet.frame((x - 16, y - 20), (x + 38, y + 13), f"Pulse: to node {side.lower()}")
        drain = low_side(sheet, at, number, f"TRANSFER_SET_{side}")
        diode = sheet.part("D_V", f"D{number}1", DIODE, (x + 20, y - 9), (-1.6, -0.9, "right"), (-1.6, 0.9, "right"),
                           Package="SOD-123")  # fmt: skip
        sheet.wire(drain, diode.pin("A"))
        sheet.power("+5V", diode.pin("K"))
        sheet.wire(diode.pin("A"), (x + 31, y - 6))
        sheet.label(f"COILS_{side}", (x + 31, y - 6), to_left=True)
    sheet.note(
        "RXD and TXD are the server's pins. Latching: a dead board\n"
        "leaves the device where it is. K61 reports position a,\n"
        "K62 position b: one relay that did not move shows.",
        (152, 78),
    )


def _latching(sheet: Sheet, at: Point, number: int, wire: str, reports: str) -> None:
    """Draw one latching relay that switches `wire`; its second contact closes to ground in position `reports`."""
    x, y = at
    relay_part = sheet.part("RELAY_LATCHING", f"K{number}", "5 V latching, 2 coils, 2 changeover", (x, y),
                            (21, 0, "left"), (-14, 14, "left"),
                            Package="signal relay, 2 x 5 V coil, 125 ohm or more")  # fmt: skip
    for side, drop in (("A", 2), ("B", 4)):
        plus, minus = relay_part.pin(f"{side}+"), relay_part.pin(f"{side}-")
        sheet.wire(plus, (plus[0], plus[1] - 3))
        sheet.power("+5V", (plus[0], plus[1] - 3))
        sheet.wire(minus, (minus[0], minus[1] + drop), (x - 26, minus[1] + drop))
        sheet.label(f"COILS_{side}", (x - 26, minus[1] + drop))
    for pin, name, rise in (("12", f"TO_A_{wire}", 10), ("14", f"TO_B_{wire}", 8)):
        end = relay_part.pin(pin)
        sheet.wire(end, (end[0], end[1] - rise), (x + 34, end[1] - rise))
        sheet.label(name, (x + 34, end[1] - rise), to_left=True)
    common = relay_part.pin("11")
    sheet.wire(common, (common[0], common[1] + 6), (x + 34, common[1] + 6))
    sheet.label(f"DEVICE_{wire}", (x + 34, common[1] + 6), to_left=True)
    ground = relay_part.pin("21")
    sheet.power("GND", ground)
    used, unused = ("22", "24") if reports == "A" else ("24", "22")
    end = relay_part.pin(used)
    sheet.wire(end, (end[0], end[1] - 4), (x + 34, end[1] - 4))
    sheet.label(f"READ_BACK_{reports}", (x + 34, end[1] - 4), to_left=True)
    sheet.unconnected(relay_part.pin(unused))


def panel(sheet: Sheet) -> None:
    """Draw button, key switch, status LED and the alarm contact."""
    for number, name, y, title in ((71, "BUTTON", 30, "Approve button"), (72, "KEY", 68, "Key switch")):
        sheet.frame((12, y - 18), (88, y + 16), title)
        source = terminal(sheet, 2, f"J{number}", name, (20, y), pins_right=True)
        sheet.wire(source.pin(1), (42, y))
        sheet.label(f"{name}_SWITCH", (26, y))
        sheet.wire(source.pin(2), (27, y + 2), (27, y + 4))
        sheet.power("GND", (27, y + 4))
        input_filter(sheet, (42, y), number, name)
    sheet.frame((98, 12), (176, 46), "LED in the button")
    sheet.port("LED_STATUS", (116, 30), "input")
    dropper = resistor(sheet, "R731", "330R", (123, 30), lying=True)
    out = terminal(sheet, 2, "J73", "LED_STATUS", (160, 30))
    sheet.wire((116, 30), dropper.pin(1))
    sheet.wire(dropper.pin(2), out.pin(1))
    sheet.label("LED_STATUS_P", (132, 30))
    sheet.wire(out.pin(2), (150, 32), (150, 34))
    sheet.power("GND", (150, 34))
    sheet.frame((98, 50), (204, 93), "Alarm contact: energised only while all is well")
    relay(sheet, (113, 80), 74, "GUARDING", "+5V", "ALARM", "GREEN")
    sheet.note(
        "COM-NC closed is alarm: a dead board, a blown fuse and a cut supply\n"
        "alarm too. Wire the monitor to COM-NO to notice a cut alarm cable.",
        (98, 97),
    )
