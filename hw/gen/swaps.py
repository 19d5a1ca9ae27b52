"""Every two wires of the harness exchanged, and what `heartwire selftest` says of it.

    python3 hw/gen/swaps.py            prints the table, and each swap that nothing names

A rack of two nodes with two feeds each and a spare is wired by hw/wiring/harness.toml; then two board terminals have
each other's wires, or two cables each other's sockets. Steps and verdicts are those of heartwire.selftest; wired.py
says which inputs move. A swap that changes nothing is harmless; one that changes something and passes is not told.
"""

import itertools
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("host", "firmware")]

from tables_text import table  # noqa: E402  the path is set above
from wired import FEEDS, NODES, Wired, rack_wires  # noqa: E402

from heartwire import selftest  # noqa: E402

HARMLESS, NOT_TOLD = "harmless", "not told"
SETTINGS = {"board.transfer": "1"}
SETTINGS |= {f"node.{node}.{name}": value for node in "ab" for name, value in (("senses", "2"), ("front", "reset"))}
SETTINGS |= {"node.spare.front": "reset"}


@dataclass(frozen=True)
class Swap:
    """Board terminals that have each other's wires."""

    words: str
    pairs: tuple[tuple[str, str], ...]


def every() -> list[Swap]:
    """Return every pair of wires, then every pair of cables whose plugs fit each other's sockets."""
    wires = sorted(rack_wires())
    found = [Swap(f"{one} and {other}", ((one, other),)) for one, other in itertools.combinations(wires, 2)]
    pins: dict[str, list[str]] = {}
    for terminal in wires:
        ref, _, pin = terminal.partition(".")
        pins.setdefault(ref, []).append(pin)
    for one, other in itertools.combinations(pins, 2):
        if pins[one] == pins[other] and len(pins[one]) > 1:
            found.append(Swap(f"cables {one} and {other}", tuple((f"{one}.{p}", f"{other}.{p}") for p in pins[one])))
    return found


def exchanged(swap: Swap) -> dict[str, list[str]]:
    """Return the wires of every terminal after the swap."""
    wires = dict(rack_wires())
    for one, other in swap.pairs:
        wires[one], wires[other] = wires[other], wires[one]
    return wires


class Tester:
    """Somebody at the rack who does what each step says, and answers what is to be seen."""

    def __init__(self, wired: Wired) -> None:
        self.wired = wired

    def snapshot(self) -> selftest.Snapshot:
        """Return what the board shows."""
        nodes = {node: selftest.HEARD if self.wired.heard(node) else selftest.SILENT for node in NODES}
        return selftest.Snapshot({**self.wired.senses(), **self.wired.panel()}, nodes)

    def first_failed(self) -> str:
        """Return the group of the first step that does not pass, or an empty text."""
        for step in _plan():
            if not (self._watch(step) if step.phases else self._act(step)):
                return step.group
        return ""

    def _watch(self, step: selftest.Step) -> bool:
        for phase in step.phases:
            before = self.snapshot()
            self._do(phase)
            now = self.snapshot()
            if phase.verdict(before, now) != "":
                return False
        return True

    def _do(self, phase: selftest.Phase) -> None:
        name, on = phase.name, phase.wanted in (1, selftest.HEARD)
        if name in NODES:
            self.wired.unplugged = set() if on else {name}
        elif name.startswith("SENSE_"):
            self.wired.off = set() if on else {name.removeprefix("SENSE_")}
        else:
            self.wired.pushed = {name} if on else set()

    def _act(self, step: selftest.Step) -> bool:
        if step.group == "front":
            return self.wired.pressed(str(step.node)) == {step.node}
        if step.group == "alarm":
            return self.wired.alarm()
        if step.group == "lamps":
            return self.wired.lamp() or step.lit != selftest.LAMPS[1][1]
        if step.group in ("relays", "path"):
            return self._relay(str(step.node), person=step.group == "relays")
        return True  # the transfer relay's own contacts: no wire of the harness is in them

    def _relay(self, node: str, person: bool) -> bool:
        before = self.snapshot()
        self.wired.cut = {node}
        now, cut = self.snapshot(), self.wired.coils()
        self.wired.cut = set()
        own = set(selftest.SENSES[node])
        strangers = selftest.moved(before, now, set(selftest.ALL_SENSES) - own)
        result = "passed" if own <= selftest.moved(before, now, own) else "relay_idle"
        outcome, _ = selftest.judge_relay(result, strangers)
        return outcome == selftest.PASSED and (not person or cut == {node})


def behaviour(wired: Wired) -> list[object]:
    """Return what the rack does in every situation a person or the board can bring about, one at a time."""
    found: list[object] = [wired.untested(), wired.alarm(), wired.lamp()]
    tester = Tester(wired)
    for cut in (set[str](), *({node} for node in NODES)):
        wired.cut = cut
        for off in (set[str](), *({feed} for feed in FEEDS)):
            wired.off = off
            found += [tester.snapshot(), wired.coils()]
    wired.cut, wired.off = set(), set()
    found += [wired.pressed(node) for node in NODES]
    for name in ("BUTTON", "KEY"):
        wired.pushed = {name}
        found.append(wired.panel())
    wired.pushed = set()
    for node in NODES:
        wired.unplugged = {node}
        found.append(tester.snapshot())
    wired.unplugged = set()
    return found


@cache
def _right(leaky: bool) -> list[object]:
    return behaviour(Wired(rack_wires(), leaky))


@cache
def _plan() -> list[selftest.Step]:
    return selftest.plan(selftest.Rack(NODES, {}, SETTINGS))


def outcome(swap: Swap) -> str:
    """Return the check that names a swap, HARMLESS or NOT_TOLD; with either kind of adapter it must be named."""
    found = set()
    for leaky in (False, True):
        wired = Wired(exchanged(swap), leaky)
        failed = Tester(wired).first_failed()
        found.add(failed or (HARMLESS if behaviour(wired) == _right(leaky) else NOT_TOLD))
    return NOT_TOLD if NOT_TOLD in found else min(found)


@cache
def outcomes() -> dict[str, str]:
    """Return the outcome of every swap by its words."""
    return {swap.words: outcome(swap) for swap in every()}


def counts() -> str:
    """Return the table of outcomes."""
    found = Counter(outcomes().values())
    rows = [[f"named by `--only {group}`", str(found[group])] for group in selftest.GROUPS if found[group]]
    rows += [[f"{HARMLESS}: the rack does the same", str(found[HARMLESS])], [NOT_TOLD, str(found[NOT_TOLD])]]
    return table(f"{len(outcomes())} swaps|number", rows)


def untold() -> str:
    """Return the swaps that nothing names, as one line."""
    return "; ".join(words for words, name in outcomes().items() if name == NOT_TOLD)


if __name__ == "__main__":
    print(counts(), untold(), sep="\n\n")
