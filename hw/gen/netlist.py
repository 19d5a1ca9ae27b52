"""The circuit as parts and nets, without drawing: written from KiCad's netlist, read by every check.

hw/kicad/netlist.json is sorted and holds no date and no path, so that it changes only when the circuit does. Reading
needs the standard library only; converting is called by kicad.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import sexpr

ROOT = Path(__file__).resolve().parents[2]
NETLIST = ROOT / "hw" / "kicad" / "netlist.json"


@dataclass
class Netlist:
    """`values` maps a reference to its value, `pins` maps (reference, pin number) to the name of its net."""

    values: dict[str, str]
    pins: dict[tuple[str, str], str]
    revision: str = "A"

    def on(self, net: str, prefix: str = "") -> list[tuple[str, str]]:
        """Return the (reference, pin) pairs on a net, of parts whose reference starts with `prefix`."""
        return sorted(key for key, name in self.pins.items() if name == net and key[0].startswith(prefix))

    def other_end(self, ref: str, net: str) -> str:
        """Return the net on the other pin of a two-pin part."""
        nets = [name for (part, _), name in self.pins.items() if part == ref]
        rest = list(nets)
        rest.remove(net)
        if len(rest) != 1:
            raise KeyError(f"{ref} is no two-pin part on {net}")
        return rest[0]

    def between(self, prefix: str, one: str, other: str) -> list[str]:
        """Return the references of two-pin parts that join two nets."""
        return [ref for ref, _ in self.on(one, prefix) if len(self.pins_of(ref)) == 2
                and self.other_end(ref, one) == other]  # fmt: skip

    def pins_of(self, ref: str) -> list[str]:
        """Return the pin numbers of a part."""
        return [pin for part, pin in self.pins if part == ref]


def convert(text: str) -> str:
    """Return KiCad's netlist as the text of netlist.json."""
    tree = sexpr.parse(text)
    values = {}
    for part in sexpr.children(sexpr.child(tree, "components"), "comp"):
        values[sexpr.child(part, "ref")[1]] = sexpr.child(part, "value")[1]
    nets: dict[str, list[str]] = {}
    for net in sexpr.children(sexpr.child(tree, "nets"), "net"):
        name = str(sexpr.child(net, "name")[1]).rsplit("/", 1)[-1]
        ends = [f"{sexpr.child(end, 'ref')[1]}.{sexpr.child(end, 'pin')[1]}" for end in sexpr.children(net, "node")]
        if name in nets:
            raise ValueError(f"two nets end in {name}")
        nets[name] = sorted(ends)
    return json.dumps({"values": values, "nets": nets}, indent=1, sort_keys=True) + "\n"


def load(path: Path = NETLIST) -> Netlist:
    """Return the committed netlist."""
    return from_json(path.read_text(encoding="utf-8"))


def from_json(text: str) -> Netlist:
    """Return the netlist held in the text of netlist.json."""
    document = json.loads(text)
    pins = {}
    for name, ends in document["nets"].items():
        for end in ends:
            ref, _, pin = end.partition(".")
            pins[ref, pin] = name
    return Netlist(document["values"], pins)
