"""A deck for ngspice while it is written: nodes from the netlist's nets, a fault's open joints, contacts and sources.

deck_text.py writes the board's parts with it, rack.py what stands around the board.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from netlist import Netlist


@dataclass(frozen=True)
class Fault:
    """What is planted: joints that open, nets that are joined, and flags for rack.py and for relays' contacts.

    `bias` ties every opened joint through FLOAT_OHM to this net, because a gate that floats is luck otherwise.
    """

    name: str
    kind: str
    part: str
    opens: tuple[tuple[str, str], ...] = ()
    joins: tuple[tuple[str, str], ...] = ()
    flags: tuple[tuple[str, str], ...] = ()
    bias: str = ""


@dataclass
class Deck:
    """A netlist with a fault, on its way to text."""

    netlist: Netlist
    fault: Fault
    lines: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)

    def node(self, net: str) -> str:
        """Return the name of a net in the deck: GND is 0, other names keep letters, digits and _."""
        if net == "GND":
            return "0"
        plain = re.sub(r"\W", "_", net.replace("+", "p").replace("-)", "m)")).lower()
        if self.nodes.setdefault(plain, net) != net:
            raise ValueError(f"{net} and {self.nodes[plain]} have one name in the deck")
        return plain

    def at(self, ref: str, pin: str) -> str:
        """Return the node of a part's pin; an open joint has a node of its own."""
        if (ref, pin) in self.fault.opens:
            return f"open_{ref}_{pin}".lower().replace("+", "p").replace("-", "m")
        return self.node(self.netlist.pins[ref, pin])

    def add(self, *lines: str) -> None:
        """Append lines."""
        self.lines += lines

    def flag(self, name: str) -> str:
        """Return a flag of the fault, or an empty text."""
        return dict(self.fault.flags).get(name, "")

    def parts(self, letter: str) -> list[str]:
        """Return the references of one letter, sorted."""
        return sorted(ref for ref in self.netlist.values if re.fullmatch(rf"{letter}\d+", ref))


def contact(deck: Deck, name: str, ends: tuple[str, str], control: str, rest_closed: bool) -> None:
    """Write one contact driven by a node that is 1 at the coil's pull-in current."""
    gate = f"v({control})"
    if rest_closed:
        deck.add(f"Binv_{name} inv_{name} 0 V=1.14-{gate}")
        control = f"inv_{name}"
    start = "on" if rest_closed else "off"
    deck.add(f"S{name} {ends[0]} {ends[1]} {control} 0 CONTACT {start}")


def moved(deck: Deck, ref: str, current: str) -> str:
    """Write the armature: 3 ms behind the coil's current; return its node. A flag of the fault sticks it."""
    stuck = {"rest": "0", "work": "2"}.get(deck.flag(ref))
    deck.add(f"Barm_{ref} pull_{ref} 0 V={stuck or current}", f"Rarm_{ref} pull_{ref} moved_{ref} 1k",
             f"Carm_{ref} moved_{ref} 0 3u")  # fmt: skip
    return f"moved_{ref}"


def series(points: Iterable[tuple[float, float]], slope_s: float = 1e-5) -> str:
    """Return a PWL source's points: each (second, level) is a step that takes `slope_s`."""
    result, last = [], None
    for at_s, level in points:
        if last is not None and at_s > 0:
            result.append(f"{at_s:g} {last:g}")
            result.append(f"{at_s + slope_s:g} {level:g}")
        else:
            result.append(f"{at_s:g} {level:g}")
        last = level
    return " ".join(result)
