"""Every single fault that the simulation plants: parts open and short, pins stuck, neighbours bridged, the rack's own.

Made from the netlist alone, so a part that is added is tried without anybody listing it. A fault that leaves a
transistor's gate open comes twice, with the gate drawn low and drawn high: where it floats in truth is luck.
"""

import itertools
import re

import pins as pin_list
import rack
from deck import Fault
from netlist import Netlist

PAIRS = (  # nets that ARM keeps apart, wherever they lie on a board
    ("+5V", "+5V_ARMED"), ("+3V3", "ARM_PUMP"), ("+5V", "ARM_PUMP"), ("GND", "Net-(Q302-G)"), ("VSYS", "+5V"),
    ("+3V3", "GND"), ("+5V", "GND"), ("+5V_ARMED", "GND"), ("+5V", "+3V3"),
)  # fmt: skip
# Blocks that templates.py proves equal to another one: number of the block -> the one that stands for it.
TWINS = {
    "22": "21",
    "23": "21",
    "32": "31",
    "33": "31",
    "42": "41",
    "43": "41",
    "52": "51",
    "53": "51",
    "54": "51",
    "55": "51",
}
FLOATS = (("low", "GND"), ("high", "+5V"))
TRANSISTOR_SHORTS = (("drain to source", "3", "2"), ("gate to source", "1", "2"), ("gate to drain", "1", "3"))


def every(netlist: Netlist, twins: bool = False) -> list[Fault]:
    """Return all faults, what touches power first; without `twins`, one of each set of equal blocks."""
    gates = {net for (ref, pin), net in netlist.pins.items() if ref.startswith("Q") and pin == "1"}
    found: list[Fault] = []
    for ref in sorted(netlist.values, key=_order):
        if twins or not is_twin(ref):
            found += _of_part(netlist, ref, gates)
    found += _bridges(netlist, twins) + _rack(twins)
    names = [fault.name for fault in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"faults with one name: {sorted(twice)}")
    return found


def is_twin(ref: str) -> bool:
    """Return True for a part that has an equal one in the block that stands for its own."""
    letters, digits = re.sub(r"\d", "", ref), re.sub(r"\D", "", ref)
    if len(digits) == 1 or (len(digits) == 2 and letters in ("R", "C", "D", "F")):
        return digits[0] == "2" and ref != "C2"  # the second supply
    return digits[:2] in TWINS


def _order(ref: str) -> tuple[int, str, int]:
    """Return a key that puts what cuts and proves first: power and ARM, sense, supplies, alarm, then the rest."""
    number = re.sub(r"\D", "", ref)
    block = number[0] if len(number) > 2 or (len(number) == 2 and ref[0] not in "RCDF") else "0"
    return "3507461289".find(block), re.sub(r"\d", "", ref), int(number or 0)


def _of_part(netlist: Netlist, ref: str, gates: set[str]) -> list[Fault]:
    kind = ref[0]
    pins = netlist.pins_of(ref)
    if kind in "RCDF" and len(pins) == 2:
        return [*_open(netlist, ref, "1", "open", gates), *_short(netlist, ref, "short", *pins)]
    if kind == "Q":
        found = [*_open(netlist, ref, "1", "gate joint open", gates), *_open(netlist, ref, "3", "open", set())]
        return [*found, *(fault for words, one, other in TRANSISTOR_SHORTS
                          for fault in _short(netlist, ref, f"short {words}", one, other))]  # fmt: skip
    if kind == "K":
        return _relay(netlist, ref)
    if netlist.values[ref] == "LTV-817":
        return [
            *_open(netlist, ref, "1", "LED open", set()), *_short(netlist, ref, "LED short", "1", "2"),
            *_open(netlist, ref, "4", "transistor open", set()), *_short(netlist, ref, "transistor short", "3", "4"),
        ]  # fmt: skip
    if kind == "A":
        return _pico(netlist)
    if ref.startswith("TP"):
        return []
    wired = [pin for pin in pins if not netlist.pins[ref, pin].startswith("unconnected-")]
    return [fault for pin in wired for fault in _open(netlist, ref, pin, f"pin {pin} open", set())]


def _open(netlist: Netlist, ref: str, pin: str, words: str, gates: set[str]) -> list[Fault]:
    """Return one fault, or two where the joint leaves a gate to itself."""
    touched = (
        {netlist.pins[ref, other] for other in netlist.pins_of(ref)} if ref[0] != "Q" else {netlist.pins[ref, pin]}
    )
    opened = ((ref, pin),)
    if touched & gates:
        return [Fault(f"{ref} {words}, gate drawn {way}", words, ref, opened, bias=net) for way, net in FLOATS]
    return [Fault(f"{ref} {words}", words, ref, opened)]


def _short(netlist: Netlist, ref: str, words: str, one: str, other: str) -> list[Fault]:
    nets = netlist.pins[ref, one], netlist.pins[ref, other]
    return [] if nets[0] == nets[1] else [Fault(f"{ref} {words}", words, ref, joins=(nets,))]


def _relay(netlist: Netlist, ref: str) -> list[Fault]:
    found = [
        Fault(f"{ref} contact stuck at {way}", f"stuck at {way}", ref, flags=((ref, way),)) for way in ("rest", "work")
    ]
    coils = [("A1", "A2", "coil")] if (ref, "A1") in netlist.pins else [("A+", "A-", "coil a"), ("B+", "B-", "coil b")]
    for plus, minus, words in coils:
        found += _open(netlist, ref, plus, f"{words} open", set()) + _short(netlist, ref, f"{words} short", plus, minus)
    for pin in netlist.pins_of(ref):
        if pin[0].isdigit() and not netlist.pins[ref, pin].startswith("unconnected-"):
            found += _open(netlist, ref, pin, f"contact {pin} open", set())
    return found


def _pico(netlist: Netlist) -> list[Fault]:
    """Return the module dead, and each GPIO stuck at either level."""
    found = [Fault("A1 dead", "dead", "A1", flags=(("A1", "dead"),))]
    for pin in pin_list.load():
        if pin.module_pin is not None:
            net = netlist.pins["A1", str(pin.module_pin)]
            for way, rail in (("high", "+3V3"), ("low", "GND")):
                found.append(Fault(f"A1 {pin.signal} stuck {way}", f"stuck {way}", "A1", joins=((net, rail),)))
    return found


def _bridges(netlist: Netlist, twins: bool) -> list[Fault]:
    """Return a bridge between each two neighbouring pins of one module, chip or connector, and PAIRS."""
    pairs = {frozenset(pair): pair for pair in PAIRS if all(netlist.on(net) for net in pair)}
    for ref in sorted(netlist.values, key=_order):
        numbers = sorted(int(pin) for pin in netlist.pins_of(ref) if pin.isdigit())
        if ref[0] not in "AUJ" or len(numbers) < 2 or (is_twin(ref) and not twins):
            continue
        for one, other in itertools.pairwise(numbers):
            nets = netlist.pins[ref, str(one)], netlist.pins[ref, str(other)]
            optocoupler_sides = netlist.values[ref] == "LTV-817"  # its two shorts stand with the part
            if nets[0] != nets[1] and not optocoupler_sides and not any(net.startswith("unconnected-") for net in nets):
                pairs.setdefault(frozenset(nets), nets)
    return [
        Fault(f"{one} bridged to {other}", "bridge", "bridge", joins=((one, other),)) for one, other in pairs.values()
    ]


def _rack(twins: bool) -> list[Fault]:
    """Return what fails outside the board."""
    nodes = rack.NODES if twins else rack.NODES[:1]
    feeds = [feed for feed, node in rack.FEEDS.items() if node in nodes]
    flags = [("J1", "lost", "supply 1 lost"), ("J2", "lost", "supply 2 lost"), ("V24", "lost", "24 V lost")]
    flags += [(f"J2{n}", "unplugged", f"line of {name} unplugged") for n, name in enumerate(nodes, 1)]
    for name in nodes:
        flags += [(f"CTR_{name}", "rest", f"contactor of {name} stuck closed"),
                  (f"CTR_{name}", "work", f"contactor of {name} stuck open")]  # fmt: skip
    for feed in feeds:
        flags += [(f"POLE_{feed}", "welded", f"pole of feed {feed} welded"),
                  (f"ADAPTER_{feed}", "dead", f"adapter of feed {feed} dead")]  # fmt: skip
    found = [Fault(words, way, "rack", flags=((name, way),)) for name, way, words in flags]
    both = Fault("both supplies lost", "lost", "rack", flags=(("J1", "lost"), ("J2", "lost")))
    return [*found, both]
