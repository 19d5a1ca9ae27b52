"""Revision B a second time, as blocks with ranges: those of templates.py, and its own where it differs from A."""

from collections.abc import Iterator

from templates import (
    Row,
    arm,
    coil,
    diode,
    fet,
    front,
    line_socket,
    numbered,
    pair,
    panel,
    rail,
    sense,
    supply_input,
    transfer,
)

DOWN = (3900, 5600)  # holds a gate down even beside the 120 uA of an RP2350's erratum E9
LINES = (("21", "A"), ("22", "B"), ("23", "SPARE"))


def protected_input(n: str) -> Iterator[Row]:
    """Over-voltage and reverse-blocking switch: off below 3.8 to 4.2 V and above 5.3 to 5.7 V, at most 1.5 A."""
    yield from supply_input(n)
    yield numbered(f"U{n}", "TPS25947", f"UV_{n}", f"OV_{n}", f"-{n}PG", "GND", f"FED_{n}", "+5V", f"RAMP_{n}", "GND",
                   f"LIMIT_{n}", f"-{n}T")  # fmt: skip
    yield diode(f"D{n}2", "SMAJ15A", "GND", f"FED_{n}")
    yield pair(f"R{n}1", (323_000, 337_000), f"FED_{n}", f"UV_{n}")
    yield pair(f"R{n}2", (38_000, 40_000), f"UV_{n}", f"OV_{n}")
    yield pair(f"R{n}3", (100_000, 104_000), f"OV_{n}", "GND")
    yield pair(f"R{n}4", (2000, 2700), f"LIMIT_{n}", "GND")
    yield pair(f"C{n}1", (1e-9, 10e-9), f"RAMP_{n}", "GND")


def isolated_line(n: str, name: str) -> Iterator[Row]:
    """Isolator, converter with its least load, driver with its capacitors for 5 V, 22 ohm behind the clamps."""
    ground, supply = f"GND_{name}", f"+5V_{name}"
    yield from line_socket(n, name, "PESD15VL1BA", ground, f"RXO_{name}", ("CHASSIS",))
    yield numbered(f"U{n}1", "ISO7721", "+3V3", f"RXO_{name}", f"LINE_{name}_TX", "GND", ground, f"TXI_{name}",
                   f"RXI_{name}", supply)  # fmt: skip
    yield numbered(f"U{n}2", "5 V to 5 V isolated", "GND", "+5V", ground, supply)
    yield pair(f"R{n}3", (180, 270), supply, ground)
    yield pair(f"C{n}6", (1e-6, 10e-6), "+5V", "GND")
    yield pair(f"C{n}7", (4.7e-6, 22e-6), supply, ground)
    yield pair(f"C{n}8", (47e-9, 220e-9), "+3V3", "GND")
    pins = {"1": f"C1P_{name}", "2": f"VP_{name}", "3": f"C1N_{name}", "4": f"C2P_{name}", "5": f"C2N_{name}",
            "6": f"VN_{name}", "7": f"-{n}7", "8": f"-{n}8", "9": f"-{n}9", "10": ground, "11": f"TXI_{name}",
            "12": f"RXI_{name}", "13": f"IN_{name}", "14": f"OUT_{name}", "15": ground, "16": supply}  # fmt: skip
    yield Row(f"U{n}", "MAX3232", pins)
    yield pair(f"C{n}1", (47e-9, 220e-9), f"C1P_{name}", f"C1N_{name}")
    yield pair(f"C{n}2", (220e-9, 1e-6), f"C2P_{name}", f"C2N_{name}")
    yield pair(f"C{n}3", (47e-9, 470e-9), supply, ground)
    yield pair(f"C{n}4", (220e-9, 1e-6), f"VP_{name}", ground)
    yield pair(f"C{n}5", (220e-9, 1e-6), f"VN_{name}", ground)
    yield pair(f"R{n}4", (10, 47), f"OUT_{name}", f"RS232_{name}_OUT")
    yield pair(f"R{n}5", (10, 47), f"IN_{name}", f"RS232_{name}_IN")


def power(n: str, name: str) -> Iterator[Row]:
    """Power relay with a fuse and a diode for its contactor's coil, and a limiter in the rest contact."""
    signal = f"POWER_{name}"
    yield from coil(n, signal, "+5V_ARMED", "RED", down=DOWN)
    contacts = {"11": f"{signal}_COM", "12": f"{signal}_NC", "14": f"{signal}_NO"}
    yield Row(f"K{n}", "5 V relay", {"A1": "+5V_ARMED", "A2": f".{n}D"} | contacts)
    yield numbered(f"J{n}", signal, f"{signal}_FEED", f"{signal}_NO", f"{signal}_COM", "V24_N", f"V24_{name}")
    yield pair(f"F{n}", "1 A", "V24_P", f"V24_{name}")
    yield diode(f"D{n}4", "1N4007", "V24_N", f"{signal}_NO")
    yield pair(f"R{n}4", (2.5, 10), f"{signal}_NC", f"{signal}_FEED")


def alarm() -> Iterator[Row]:
    """Signal relay whose driver is one of four in series: GUARDING, each supply, 24 V; ARM opens the last."""
    yield from coil("74", "GUARDING", "+5V", "GREEN", "CHAIN_1", DOWN)
    contacts = {"11": "ALARM_COM", "12": "ALARM_NC", "14": "ALARM_NO", "21": "GND", "22": "ALARM_STATE"}
    yield Row("K74", "5 V signal relay", {"A1": "+5V", "A2": ".74D"} | contacts)
    yield numbered("J74", "ALARM", "ALARM_NC", "ALARM_NO", "ALARM_COM")
    for n, supply, drain, source in (("75", "1", "CHAIN_1", "CHAIN_2"), ("76", "2", "CHAIN_2", "CHAIN_3")):
        yield fet(f"Q{n}", "AO3400A", f"WELL_{supply}", source, drain)
        yield pair(f"R{n}1", (9500, 10_500), f"FED_{supply}", f"WELL_{supply}")  # a wrong adapter stays below 12 V
        yield pair(f"R{n}2", (17_000, 19_000), f"WELL_{supply}", "GND")
    yield fet("Q77", "AO3400A", "WELL_24", "GND", "CHAIN_3")
    yield pair("R771", (3300, 6800), "V24_P", "V24_LED")
    yield diode("D771", "1N4148W", "V24_N", "V24_LED")
    yield Row("U77", "LTV-817", {"1": "V24_LED", "2": "V24_N", "3": "WELL_24", "4": "+5V"})
    yield pair("R772", (22_000, 100_000), "WELL_24", "GND")
    yield fet("Q78", "AO3400A", "ARMED_SEEN", "GND", "WELL_24")
    yield pair("R781", (4700, 22_000), "+5V_ARMED", "ARMED_SEEN")
    yield pair("R782", (47_000, 220_000), "ARMED_SEEN", "GND")
    for n, side in (("66", "A"), ("67", "B")):
        yield pair(f"R{n}4", (33_000, 68_000), f"READ_BACK_{side}", "ALARM_STATE")


def board() -> Iterator[Row]:
    """Return every part of revision B but the Pico."""
    for n in ("1", "2"):
        yield from protected_input(n)
    yield from rail()
    for n, name in LINES:
        yield from isolated_line(n, name)
    yield from arm((3.3e-6, 10e-6), (75_000, 91_000), (470, 2200), (4700, 22_000))
    yield numbered("J30", "V24", "V24_P", "V24_N")
    for n, name in (("1", "A"), ("2", "B"), ("3", "SPARE")):
        yield from power(f"3{n}", name)
        yield from front(f"4{n}", f"FRONT_{name}", "+5V_ARMED", (270, 390), ("CHASSIS",), DOWN)
    for number, feed in enumerate(("A1", "A2", "B1", "B2", "SPARE"), 51):
        yield from sense(str(number), feed)
    yield from transfer(DOWN)
    yield from panel()
    yield from alarm()
    yield numbered("J80", "CHASSIS", "CHASSIS")
    yield pair("R80", (470_000, 2_200_000), "CHASSIS", "GND")
    yield pair("C80", (1e-9, 100e-9), "CHASSIS", "GND")
    for number, net in enumerate(("+5V", "+3V3", "+5V_ARMED", "ARM_PUMP", "GND", "WELL_24"), 1):
        yield numbered(f"TP{number}", net, net)
