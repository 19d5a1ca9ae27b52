"""Looks at the age and the jitter of heartbeats, summed up: what no record tells, because nobody was late.

Only nodes that are expected to beat count: heard, not in maintenance, not off on purpose. The sums go into the store by
day (schema.look), for `heartwire advise`. Called by collect; no I/O, no clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from heartwire import next_steps
from heartwire.answers import NodeStatus, Status
from heartwire.monitor.views import FRESH_S, JITTER_BOUNDS_S, Jitter
from heartwire_protocol import codes

# From well below the shortest interval up to where every board has called a node dead.
AGE_BOUNDS_MS = (
    50, 100, 150, 200, 300, 400, 500, 700, 1000, 1100, 1200, 1350, 1500, 1700, 2000, 2500, 3000, 4000, 5000, 7000,
    10_000, 15_000, 20_000, 30_000,
)  # fmt: skip
AGE, JITTER, WATCHED = "age", "jitter", "watched"
# Seconds between two writes: a transaction a board, and what is lost with a monitor that is killed.
WRITE_S = 300.0
PLANNED_OFF = codes.STATES[codes.STATE_PLANNED_OFF]


class Sum(NamedTuple):
    """One sum: a node, what was counted, the least bound that it was not above (0 for above all), and how often."""

    node: str
    kind: str
    bound_ms: int
    times: int


@dataclass
class _Seen:
    at_s: float
    strays: list[int]


class Looks:
    """The sums of one board since the last write."""

    def __init__(self) -> None:
        self._sums: Counter[tuple[str, str, int]] = Counter()
        self._seen: dict[str, _Seen] = {}

    def take(self, status: Status, nodes: list[NodeStatus], jitter: dict[str, Jitter], now_s: float) -> None:
        """Take one look at `now_s` of a clock that only rises."""
        for node in nodes:
            last = self._seen.pop(node.node, None)
            if node.age_ms is None or not _is_expected(node, status):
                continue
            strays = list(jitter[node.node].counts) if node.node in jitter else []
            self._seen[node.node] = _Seen(now_s, strays)
            self._sums[node.node, AGE, _bound(node.age_ms)] += 1
            if last is None or len(last.strays) != len(strays):
                continue
            if 0 < now_s - last.at_s <= FRESH_S:
                self._sums[node.node, WATCHED, 0] += round((now_s - last.at_s) * 1000)
            bounds_ms = [*(round(bound * 1000) for bound in JITTER_BOUNDS_S), 0]
            for bound_ms, before, after in zip(bounds_ms, last.strays, strays, strict=False):
                self._sums[node.node, JITTER, bound_ms] += after - before

    def sums(self) -> list[Sum]:
        """Return what was counted since `clear`."""
        return [Sum(*key, count) for key, count in sorted(self._sums.items()) if count > 0]

    def clear(self) -> None:
        """Begin anew, once the sums are stored."""
        self._sums.clear()


def _is_expected(node: NodeStatus, status: Status) -> bool:
    maintained = node.maintenance_s or status.maintenance_s
    return next_steps.is_heard(node) and node.state != PLANNED_OFF and not maintained


def _bound(age_ms: int) -> int:
    return next((bound for bound in AGE_BOUNDS_MS if age_ms <= bound), 0)
