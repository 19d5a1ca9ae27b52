"""Plants faults in the netlist and counts, by kind, how many the rules see: a score that must not fall.

    python3 hw/gen/mutants.py                prints caught/planted for each kind, and what got through
    python3 hw/gen/mutants.py --revision B   the same of revision B

The rules under test are all of rules.circuit(). A test holds each kind at LEAST.
"""

import argparse
import copy
import sys
from collections.abc import Iterator
from dataclasses import replace

import faults
import pins as pin_list
import revision
import rules
from amounts import amount
from netlist import Netlist

LEAST = 0.9
Planted = Iterator[tuple[str, str, Netlist]]  # kind, words, netlist


def every(netlist: Netlist) -> Planted:
    """Yield each planted fault with its kind."""
    for ref in sorted(netlist.values):
        if ref == "A1":
            continue
        yield "part left out", ref, _without(netlist, ref)
        pins = netlist.pins_of(ref)
        polar = ref[0] in "DQUK" or len(pins) > 2
        polar = polar and not netlist.values[ref].endswith(
            ("CA", "BA")
        )  # a clamp for both directions works either way round
        if polar and {"1", "2"} <= set(pins):
            yield "part turned or two pins swapped", f"{ref} 1-2", _swapped(netlist, ref, "1", "2")
        if ref[0] == "Q":
            yield "part turned or two pins swapped", f"{ref} 2-3", _swapped(netlist, ref, "2", "3")
        if ref[0] == "K":
            for one, other in (("11", "12"), ("12", "14"), ("11", "14")):
                yield "part turned or two pins swapped", f"{ref} {one}-{other}", _swapped(netlist, ref, one, other)
        yield from _values(netlist, ref)
    for fault in faults.every(netlist, twins=True):
        if fault.kind == "bridge":
            yield "two nets bridged by a part", fault.name, _bridged(netlist, *fault.joins[0])
            yield "two nets made one", fault.name, _merged(netlist, *fault.joins[0])
    rails = ["+5V", "+5V_ARMED", "+3V3", "GND"]
    names = sorted({net for net in netlist.pins.values() if not net.startswith("unconnected-")})
    for ref, pin in sorted(netlist.pins):
        net = netlist.pins[ref, pin]
        if net.startswith("unconnected-"):
            continue
        target = rails[names.index(net) % 4]
        if target != net and not (ref == "A1" and net == "GND"):
            yield "one pin on a wrong net", f"{ref}.{pin} on {target}", _moved(netlist, ref, pin, target)


def _values(netlist: Netlist, ref: str) -> Planted:
    try:
        value = amount(netlist.values[ref].split()[0])
    except ValueError:
        return
    for factor in (0.1, 10):
        changed = copy.deepcopy(netlist)
        changed.values[ref] = f"{value * factor * 1e12:.0f}p" if ref[0] == "C" else f"{value * factor * 1e3:.0f}m"
        yield "value ten times off", f"{ref} x{factor:g}", changed


def _without(netlist: Netlist, ref: str) -> Netlist:
    values = {key: value for key, value in netlist.values.items() if key != ref}
    pins = {key: net for key, net in netlist.pins.items() if key[0] != ref}
    return replace(netlist, values=values, pins=pins)


def _swapped(netlist: Netlist, ref: str, one: str, other: str) -> Netlist:
    pins = dict(netlist.pins)
    if (ref, one) in pins and (ref, other) in pins:
        pins[ref, one], pins[ref, other] = pins[ref, other], pins[ref, one]
    return replace(netlist, pins=pins)


def _moved(netlist: Netlist, ref: str, pin: str, net: str) -> Netlist:
    return replace(netlist, pins=netlist.pins | {(ref, pin): net})


def _bridged(netlist: Netlist, one: str, other: str) -> Netlist:
    pins = netlist.pins | {("R999", "1"): one, ("R999", "2"): other}
    return replace(netlist, values=netlist.values | {"R999": "10R"}, pins=pins)


def _merged(netlist: Netlist, one: str, other: str) -> Netlist:
    return replace(netlist, pins={key: one if net == other else net for key, net in netlist.pins.items()})


def score(netlist: Netlist) -> tuple[dict[str, list[int]], list[str]]:
    """Return [caught, planted] by kind, and the words of what got through."""
    pins = pin_list.load()
    counts: dict[str, list[int]] = {}
    missed = []
    for kind, words, changed in every(netlist):
        if changed == netlist:
            continue
        tally = counts.setdefault(kind, [0, 0])
        tally[1] += 1
        try:
            caught = bool(rules.circuit(pins, changed, pin_list.MODULE_PIN))
        except (KeyError, ValueError):  # a rule that cannot even find its part has seen the fault
            caught = True
        tally[0] += caught
        if not caught:
            missed.append(f"{kind}: {words}")
    return counts, missed


def main(arguments: list[str] | None = None) -> int:
    """Print the score; return 1 when a kind is below LEAST."""
    parser = argparse.ArgumentParser(description="Count the planted netlist faults that the rules catch.")
    parser.add_argument("--revision", choices=revision.REVISIONS, default="A")
    counts, missed = score(revision.load(parser.parse_args(arguments).revision))
    for kind, (caught, planted) in counts.items():
        print(f"{caught:4} of {planted:4} caught  {kind}")
    print(f"{sum(c for c, _ in counts.values()):4} of {sum(p for _, p in counts.values()):4} in all")
    for words in missed:
        print(f"missed  {words}")
    return 1 if any(caught < LEAST * planted for caught, planted in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
