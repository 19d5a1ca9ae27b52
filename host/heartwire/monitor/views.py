"""What the monitor knows of each board right now: the newest status, drops, the heartbeats' jitter, the last minutes.

Collectors write a view, metrics, messages and the page read it; each value is replaced whole, so a reader
never sees half of one. Jitter comes from looks at (sequence, age): the time between two heartbeats is the difference of
their arrival times divided by their count, so with rarer looks than heartbeats it is a mean. No I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from heartwire import next_steps
from heartwire.answers import NodeStatus, Status

JITTER_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# What was seen so long ago says nothing of now: several times the slowest usual status_ms.
FRESH_S = 10.0
# The expected interval follows the measured one slowly, so that it needs no setting.
FOLLOW = 0.05
# Looks that a chart shows: ten minutes of the usual status_ms.
TREND_LOOKS = 300


@dataclass
class Jitter:
    """A histogram of how far heartbeats stray from their usual interval, in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(JITTER_BOUNDS_S) + 1))
    total_s: float = 0.0
    interval_s: float = 0.0
    _last: tuple[int, int, float] | None = None

    def look(self, incarnation: int, sequence: int, arrived_s: float) -> float | None:
        """Take one look: heartbeat `sequence` of `incarnation` arrived at `arrived_s` of a clock that only rises.

        Return by how many seconds it strayed, None where that is not known.
        """
        last, self._last = self._last, (incarnation, sequence, arrived_s)
        if last is None or last[0] != incarnation or sequence <= last[1]:
            return None
        interval_s = (arrived_s - last[2]) / (sequence - last[1])
        if interval_s <= 0:
            return None
        if not self.interval_s:
            self.interval_s = interval_s
            return None
        stray_s = abs(interval_s - self.interval_s)
        self.interval_s += FOLLOW * (interval_s - self.interval_s)
        self.total_s += stray_s
        place = next((at for at, bound in enumerate(JITTER_BOUNDS_S) if stray_s <= bound), len(JITTER_BOUNDS_S))
        self.counts[place] += 1
        return stray_s


@dataclass(frozen=True)
class Look:
    """One look at a node: when (monotonic), the age of its last good heartbeat, and how far that one strayed."""

    seen_s: float
    age_s: float | None
    stray_s: float | None


@dataclass
class View:
    """One board."""

    name: str
    board_id: str = ""
    up: bool = False
    trouble: str = ""
    status: Status | None = None
    nodes: tuple[NodeStatus, ...] = ()
    seen_s: float = 0.0  # monotonic time of status and nodes
    cursor: int = 0
    newest: int = 0
    records: int = 0
    link_drops: dict[str, int] = field(default_factory=dict)
    jitter: dict[str, Jitter] = field(default_factory=dict)
    trend: dict[str, deque[Look]] = field(default_factory=dict)  # by node, the oldest first
    settings: str | None = None  # what the board runs, keys as fingerprints; None where that is not asked

    def take(self, status: Status, nodes: list[NodeStatus], now_s: float) -> None:
        """Take a status and its nodes, seen at `now_s` (monotonic)."""
        for node in nodes:
            stray_s = age_s = None
            if node.age_ms is not None and node.beats:
                age_s = node.age_ms / 1000
                jitter = self.jitter.setdefault(node.node, Jitter())
                stray_s = jitter.look(node.incarnation, node.sequence, now_s - age_s)
            self.trend.setdefault(node.node, deque(maxlen=TREND_LOOKS)).append(Look(now_s, age_s, stray_s))
        self.status = status
        self.nodes = tuple(nodes)
        self.seen_s = now_s

    def steps(self, now_s: float) -> list[str] | None:
        """Return what a person can do right now, with the commands that the board takes; None if that is not known."""
        if not self.up or self.status is None or now_s - self.seen_s > FRESH_S:
            return None
        found = next_steps.steps(self.status, self.nodes)
        return [_line(step) for step in found]

    def labels(self) -> dict[str, str]:
        """Return what people call the nodes: "a (alpha)"."""
        return {node.node: node.label for node in self.nodes}


def _line(step: next_steps.Step) -> str:
    words = f"`heartwire {step.command}`: {step.words}" if step.command else step.words[:1].upper() + step.words[1:]
    return words.rstrip(".") + "."
