"""The search of the hand-over model: every sequence of at most so many deeds, to closure, by the walk's own search.

`make test-handover` searches all of them; CASES="late_grant all" names some.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

from heartwire_protocol import operations
from tests.handover.network import DEEDS, DOWN, HOLD, INSTEAD, UP
from tests.handover.world import CUT, EXACT, FAST, SLOW, HandoverWorld
from tests.walk.bodies import BEATS, HALF, MUTE
from tests.walk.cases import ASSUMED, Case, both
from tests.walk.steps import QUIET, Step
from tests.walk.walk import Walk, way_to

# 2000 ms of lease and 3000 ms of self-fencing, and what both clocks may differ by in that time, rounded up.
TIGHT = ASSUMED.replace("assumed_off_ms=6000", "assumed_off_ms=5051") + "board.hold_max_s=20\n"
# Nothing cuts a server's power: it is gone when its lease and its self-fencing are over.
LEASE_ONLY = TIGHT + both("fence=lease")
SERVERS = ("crash", "reboot", "pause", "agent")
NETWORK = ("up", "down")
ASKED = {"drain": operations.SWITCHOVER, "fence": operations.FENCE}


@dataclass(frozen=True)
class Handover(Case):
    """One search: `rates_ms` are the servers' clocks."""

    rates_ms: tuple[int, int] = (EXACT, EXACT)
    free: tuple[str, ...] = ()  # kinds of deeds that are done as often as wanted

    def world(self) -> HandoverWorld:
        """Return the world it starts from."""
        return HandoverWorld(self.extra, self.rates_ms)


def _steps(kinds: tuple[str, ...]) -> list[Step]:
    """Return the steps of `kinds`; KIND@NODE is one that happens to that server alone."""
    found: list[Step] = []
    for word in kinds:
        kind, _, only = word.partition("@")
        for node in (int(only),) if only else range(2):
            if kind in ("up", "down"):
                found += [("deed", (node, UP if kind == "up" else DOWN, deed)) for deed in DEEDS]
            elif kind == "lines":
                found += [("line", (node, mode)) for mode in (BEATS, MUTE, HALF, CUT)]
            elif kind == "late":
                found += [("deed", (node, DOWN, deed)) for deed in (HOLD, INSTEAD)]
            elif kind in ("cut", "half"):
                found += [("line", (node, mode)) for mode in (BEATS, CUT if kind == "cut" else HALF)]
            elif kind in ASKED:
                found.append(("ask", (ASKED[kind], node, 0)))
            elif kind not in ("reset", "power"):
                found.append((kind, node))
        if kind in ("reset", "power"):
            found.append((kind, None))
    return found


class Search(Walk):
    """One search of `case`."""

    world: HandoverWorld

    def __init__(self, case: Handover, budget: int | None = None) -> None:
        super().__init__(case, budget)
        self._free = _steps(case.free)

    def choices(self) -> list[Step]:
        """Return what can happen in each state."""
        return _steps(self.kinds)

    def free_choices(self) -> list[Step]:
        """Return what can happen in each state as often as the adversary likes."""
        return self._free

    def apply(self, step: Step) -> bool:
        """Let `step` happen and a second pass; return False if it changes nothing."""
        kind, argument = step
        world = self.world
        if kind == "reset":
            world.boot()
        elif kind == "power":
            world.lose_power()
        elif kind == "ask":
            world.tick(asks=lambda: world.ask(*argument))
            return True
        elif step is not QUIET and not world.do(kind, argument):
            return False
        world.tick()
        return True

    def _scenario(self, frozen: Any, step: Step, came: dict[Any, tuple[Any, Step]], times: int = 1) -> str:
        way = way_to(frozen, step, came, times)
        return "\n".join(f"{second}s {kind} {argument}" for second, (kind, argument) in enumerate(way))


def describe(search: Search, closed: bool, seconds: float) -> str:
    """Return what a search found, in one line."""
    how = "to closure" if closed else "until time ran out"
    counts = f"{search.states} distinct states, {search.transitions} steps"
    waits = f"served within {search.served_s} s, told within {search.told_s} s"
    return f"{counts}; {search.budget} deeds {how}; {waits}; {seconds:.1f} s"


DRIFT = (SLOW, FAST)
# Any two deeds of the network, or to one server each, or of a person; of what can wait for a lease and its self-fencing
# more of them, at the server that is active at first.
CASES = (
    Handover("network", 2, NETWORK),
    Handover("network_stop", 2, NETWORK, extra=TIGHT, rates_ms=DRIFT),
    Handover("servers", 2, SERVERS),
    Handover("crash_stop", 2, ("crash@0", *NETWORK), extra=TIGHT, rates_ms=DRIFT),
    Handover("drain", 2, ("drain", "down"), extra=TIGHT, rates_ms=DRIFT),
    Handover("lines", 1, ("lines", "reset", "power", *NETWORK), extra=TIGHT, rates_ms=(FAST, SLOW)),
    Handover("lease_only", 2, ("pause", "fence"), extra=LEASE_ONLY, rates_ms=DRIFT),
    Handover("self_fence", 2, ("cut@0", "fence@0"), extra=LEASE_ONLY, rates_ms=DRIFT, settle=(("stick", 0),)),
    Handover("late_grant", 3, ("late@0", "fence@0"), extra=LEASE_ONLY, rates_ms=DRIFT, settle=(("line", (0, HALF)),)),
)
EVERYTHING = (*SERVERS, "stick", "lines", "reset", "power", "drain", *NETWORK)
# What takes from minutes to an hour: `make test-handover`.
DEEP = (
    Handover("grants_as_it_likes", 0, (), free=("down",)),
    Handover("heartbeats_as_it_likes", 0, (), free=("up",), extra=TIGHT, rates_ms=DRIFT),
    Handover("network_stop_3", 3, NETWORK, extra=TIGHT, rates_ms=DRIFT),
    Handover("all", 2, EVERYTHING),
    Handover("all_stop", 2, EVERYTHING, extra=TIGHT, rates_ms=DRIFT),
    Handover("all_lease_only", 2, ("fence", *SERVERS, "stick", "reset", *NETWORK), extra=LEASE_ONLY, rates_ms=DRIFT),
)


def main() -> None:
    """Search the named cases, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CASE")
    parser.add_argument("--budget", type=int)
    parser.add_argument("--limit-s", type=float, default=3600)
    given = parser.parse_args()
    for case in CASES + DEEP:
        if given.names and case.name not in given.names:
            continue
        began = time.monotonic()
        search = Search(case, given.budget)
        closed = search.run(given.limit_s)
        print(f"{case.name}: {describe(search, closed, time.monotonic() - began)}", flush=True)


if __name__ == "__main__":
    main()
