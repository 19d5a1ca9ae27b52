"""The exhaustive walk: every sequence of at most `budget` disturbances at any moments, to closure.

From each state either a second passes, or something happens and a second passes. States are met once. A breach is
turned into a scenario file with the way that led to it. What takes longer than a second (rules of liveness.py) is asked
when all states are known: each state has one that follows if nothing happens.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from heartwire_protocol import operations as asks
from tests.walk import liveness
from tests.walk.cases import Case
from tests.walk.liveness import DUE, SERVES, TOLD
from tests.walk.rules import Broken, Rules
from tests.walk.steps import QUIET, Step, apply, steps
from tests.walk.story import scenario_of

SETTLE_TICKS = 12
ENDLESS = 1 << 20


def way_to(frozen: Any, step: Step, came: dict[Any, tuple[Any, Step]], times: int) -> list[Step]:
    """Return the steps from the start to the state `frozen` by how states were met, and `step` so many times."""
    way = [step] * times
    while frozen in came:
        frozen, one = came[frozen]
        way.append(one)
    way.reverse()
    return way


class Walk:
    """One walk of `case`, with another number of disturbances if `budget` is given."""

    def __init__(self, case: Case, budget: int | None = None) -> None:
        self.world = case.world()
        self.world.observers = [Rules(always_observe=bool(case.disarms))]
        self.kinds = case.kinds
        self.budget = case.budget if budget is None else budget
        self.states = 0
        self.transitions = 0
        self.served_s = self.told_s = 0  # the longest that nobody served although somebody should, and nobody was told
        self.asked_in: Counter[tuple[int, int]] = Counter()  # (phase, mode) of requests for a mode
        self._seen: dict[Any, int] = {}
        self._next: dict[Any, Any] = {}
        self.before: list[Step] = []
        for _ in range(SETTLE_TICKS):
            self._first(QUIET)
        for step in case.settle:
            self._first(step)

    def _first(self, step: Step) -> None:
        self.before.append(step)
        self.apply(step)

    def choices(self) -> list[Step]:
        """Return what can happen in each state."""
        return steps(self.world, self.kinds)

    def free_choices(self) -> list[Step]:
        """Return what can happen in each state as often as it likes."""
        return []

    def apply(self, step: Step) -> bool:
        """Let `step` happen and a second pass; return False if it changes nothing."""
        return apply(self.world, step)

    def run(self, limit_s: float = 600.0) -> bool:
        """Walk to closure; return False if time ran out before. Raises Broken with the way as a scenario."""
        end = time.monotonic() + limit_s
        world = self.world
        start = world.freeze()
        paid = self.choices()
        free_or_quiet = {QUIET, *self.free_choices()}
        free = self.free_choices()
        # state -> (budget left, the state before, the step); a state met with less budget is walked again with more.
        best: dict[Any, int] = {start: self.budget}
        came: dict[Any, tuple[Any, Step]] = {}
        seen, follows = self._seen, self._next
        layer = [start]
        left = self.budget
        while layer:
            following: list[Any] = []
            at = 0
            while at < len(layer):
                frozen = layer[at]
                at += 1
                if not at & 255 and time.monotonic() > end:
                    self.states = len(best)
                    return False
                options = [QUIET, *free, *paid] if left else [QUIET, *free]
                for step in options:
                    world.thaw(frozen)
                    self.transitions += 1
                    if step is QUIET:
                        seen[frozen] = liveness.seen(world)
                    elif step[0] == "ask" and step[1][0] == asks.MODE:
                        self.asked_in[world.state.phase, step[1][2]] += 1
                    try:
                        if not self.apply(step):
                            continue
                        after = world.freeze()
                    except Broken as broken:
                        raise Broken(f"{broken}\n{self._scenario(frozen, step, came)}") from broken
                    if step is QUIET:
                        follows[frozen] = after
                    is_free = step in free_or_quiet
                    remaining = left if is_free else left - 1
                    if best.get(after, -1) >= remaining:
                        continue
                    best[after] = remaining
                    came[after] = (frozen, step)
                    if is_free:
                        layer.append(after)
                    else:
                        following.append(after)
            layer = following
            left -= 1
            if left < 0:
                break
        self.states = len(best)
        self._ask_of_all(came)
        return True

    def _ask_of_all(self, came: dict[Any, tuple[Any, Step]]) -> None:
        """Ask the rules of liveness of every state."""
        served = self._waits(lambda bits: not bits & SERVES and bool(bits & DUE))
        told = self._waits(lambda bits: not bits & (SERVES | TOLD))
        for found, bound_s, words in (
            (served, liveness.SERVED_S, liveness.UNSERVED),
            (told, liveness.TOLD_S, liveness.UNTOLD),
        ):
            longest = max(found, key=lambda frozen: found[frozen])
            if found[longest] > bound_s:
                raise Broken(f"liveness: {words}\n{self._scenario(longest, QUIET, came, bound_s)}")
        self.served_s, self.told_s = max(served.values()), max(told.values())
        for frozen, bits in self._seen.items():
            if bits & SERVES or self._next.get(frozen) != frozen:
                continue
            self.world.thaw(frozen)
            if liveness.can_be_helped(self.world) and not liveness.accepted(self.world):
                why = liveness.why_person(self.world)
                raise Broken(f"liveness: nothing printed is accepted ({why})\n{self._scenario(frozen, QUIET, came)}")

    def _waits(self, is_waiting: Callable[[int], bool]) -> dict[Any, int]:
        """Return for each state how many seconds it and those that follow it wait, if nothing happens."""
        found: dict[Any, int] = {}
        for first in self._seen:
            way: list[Any] = []
            on_way: set[Any] = set()
            one = first
            while one not in found and one not in on_way and is_waiting(self._seen[one]):
                way.append(one)
                on_way.add(one)
                one = self._next[one]
            count = ENDLESS if one in on_way else found.get(one, 0)
            if not way:
                found[first] = count
            for one in reversed(way):
                count = min(count + 1, ENDLESS)
                found[one] = count
        return found

    def _scenario(self, frozen: Any, step: Step, came: dict[Any, tuple[Any, Step]], times: int = 1) -> str:
        """Return the way to a breach as the text of a scenario file; it ends with `step`, so many times."""
        return scenario_of(self.world, self.before[SETTLE_TICKS:] + way_to(frozen, step, came, times))
