"""Revision B of the carrier: the netlist of revision A changed as hw/revision_b.toml says, its parts and terminals.

No drawing: the circuit is data, held by the rules, the templates and the fault simulation as revision A is. Standard
library only.
"""

import re
import tomllib
from dataclasses import replace
from functools import cache
from typing import Any

import netlist as circuit_netlist
import pins as pin_list
from netlist import Netlist
from tables_text import table

SOURCE = pin_list.ROOT / "hw" / "revision_b.toml"
REVISIONS = ("A", "B")


class RevisionError(ValueError):
    """The list of changes names something that is not there, or adds what is there already; the text says what."""


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(SOURCE.read_text(encoding="utf-8"))


def load(revision: str) -> Netlist:
    """Return the netlist of revision A or B; RevisionError when a change does not fit."""
    nets = circuit_netlist.load()
    return changed(nets, _document()) if revision == "B" else nets


def changed(nets: Netlist, document: dict[str, Any]) -> Netlist:
    """Return the netlist with the changes of a document, as revision B."""
    values, pins = dict(nets.values), dict(nets.pins)
    for ref in document["remove"]:
        _known(values, ref)
        del values[ref]
        pins = {key: net for key, net in pins.items() if key[0] != ref}
    for ref, value in document["value"].items():
        _known(values, ref)
        values[ref] = value
    for end, net in document["move"].items():
        ref, _, pin = end.partition(".")
        if (ref, pin) not in pins:
            raise RevisionError(f"{end} is not there to be moved")
        pins[ref, pin] = net
    for ref, more in document["more_pins"].items():
        _known(values, ref)
        for pin, net in more.items():
            if (ref, pin) in pins:
                raise RevisionError(f"{ref}.{pin} is there already")
            pins[ref, pin] = net
    for group in document["add"]:
        for names in group.get("each", [{}]):
            for ref, value, ends in group["parts"]:
                ref = ref.format(**names)
                if ref in values:
                    raise RevisionError(f"{ref} is there already")
                values[ref] = value
                for pin, net in _ends(ends).items():
                    pins[ref, pin] = net.format(**names) or f"unconnected-({ref}-Pad{pin})"
    return replace(nets, values=values, pins=pins, revision="B")


def _ends(ends: list[str] | dict[str, str]) -> dict[str, str]:
    return ends if isinstance(ends, dict) else {str(number): net for number, net in enumerate(ends, 1)}


def _known(values: dict[str, str], ref: str) -> None:
    if ref not in values:
        raise RevisionError(f"{ref} is not in revision A")


def terminals_problems(nets: Netlist) -> list[str]:
    """Return what is wrong with the terminals: functions that share pitch and poles, poles that are no pins."""
    found, seen = [], dict[tuple[float, int], str]()
    for entry in _document()["terminal"]:
        words = ", ".join(entry["refs"])
        other = seen.setdefault((entry["pitch_mm"], entry["poles"]), words)
        if other != words:
            found.append(f"{words}: its plug fits {other}")
        for ref in entry["refs"]:
            if len(nets.pins_of(ref)) != entry["poles"]:
                found.append(f"{ref}: {len(nets.pins_of(ref))} pins, {entry['poles']} poles")
    listed = {ref for entry in _document()["terminal"] for ref in entry["refs"]}
    plain = {ref for ref in nets.values if re.fullmatch(r"J\d+", ref)} - {"J21", "J22", "J23", "J80"}
    return found + [f"{ref}: no terminal is named for it" for ref in sorted(plain - listed)]


def parts() -> str:
    """Return the parts of revision B with package and makers' numbers."""
    groups: dict[tuple[str, str], list[str]] = {}
    for ref, value in load("B").values.items():
        if not ref.startswith(("J", "TP")):
            groups.setdefault((ref[0], value), []).append(ref)
    rows = []
    for (letter, value), refs in sorted(groups.items()):
        refs.sort(key=lambda ref: int(re.sub(r"\D", "", ref)))
        package, *makers = _document()["part"].get(value, [_common(letter), "any"])
        rows.append([str(len(refs)), value, package, "; ".join(makers), ", ".join(refs)])
    return table("number|value|package|makers' part numbers|references", rows)


def _common(letter: str) -> str:
    """Return the package of what any maker's part will do for."""
    return {"R": "0805, 1 %", "C": "0805 or 1206, X7R, 25 V", "D": "3 mm LED"}.get(letter, "")


def terminals() -> str:
    """Return which terminal is where."""
    rows = [[", ".join(entry["refs"]), f"{entry['pitch_mm']} mm", str(entry["poles"]), entry["class"]]
            for entry in _document()["terminal"]]  # fmt: skip
    return table("terminals|pitch|poles|class", rows)


def differences() -> str:
    """Return how many parts revision B has, and how many of them it takes from A as they are."""
    before, after = circuit_netlist.load(), load("B")
    same = [ref for ref, value in after.values.items() if before.values.get(ref) == value and
            all(before.pins.get(key) == net for key, net in after.pins.items() if key[0] == ref)]  # fmt: skip
    return (
        f"Revision B has {len(after.values)} parts; {len(same)} are those of revision A, {len(before.values)} parts, "
        "as they are."
    )
