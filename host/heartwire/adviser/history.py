"""From records of a journal to what happened to heartbeats: pure, entries in, a History out.

A board writes every silence of `late_ms` and more (`late`, then `good_again` with its length), every start, every proof
that power is off. What tells nothing of a healthy server is left out: a node in maintenance, one that said it goes
down, whose power was cut, whose relay was tested, or whose server started anew meanwhile. Silences that ended in a
fence are counted apart: nobody can tell from outside whether that server was healthy. A gap in the journal, a restart
of the board and a change of settings begin the watching anew. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from heartwire.adviser.odds import Silences
from heartwire.journal import Entry
from heartwire_protocol import codes

# No server starts in less: the least boot_grace_ms. A new incarnation after a shorter silence is an agent's restart,
# which must not look like death either.
START_MS = 30_000
# `new_incarnation` may be written just behind the `good_again` that it explains.
BEHIND_MS = 1000
# Longer than any dead_ms should be, and than what others wait for by default (peers): no pause of a healthy server, but
# a line that was out, or a machine that stood still.
OUTAGE_MS = 60_000
# Silences that begin within this are one common cause, as far as lines tell: more than common_cause_ms ever needs.
TOGETHER_MS = 30_000
# Silences before one that may have begun with it: there are three lines.
NEAR = 7


@dataclass
class Starts:
    """What was measured of one node's power: all in ms."""

    boots_ms: list[int] = field(default_factory=list)
    offs_ms: list[int] = field(default_factory=list)  # from a fence's command until off was proven
    proofs_ms: list[int] = field(default_factory=list)  # from a relay test's command until the sense went off
    slowest_ms: int = 0  # the slowest start that the board remembers


@dataclass
class Looks:
    """What a monitor saw between two records: looks by heartbeat age and by jitter, from its store."""

    watched_s: float = 0.0
    ages: dict[int, int] = field(default_factory=dict)  # upper bound in ms to looks; 0 for above all bounds
    strays: dict[int, int] = field(default_factory=dict)

    def count(self, kind: str, bound_ms: int, count: int) -> None:
        """Add one sum of a monitor's store (monitor.looks): of ages, of jitter, or ms watched."""
        if kind == "watched":
            self.watched_s += count / 1000
        elif kind in ("age", "jitter"):
            sums = self.ages if kind == "age" else self.strays
            sums[bound_ms] = sums.get(bound_ms, 0) + count


@dataclass
class History:
    """What is known of one rack."""

    watched_s: dict[str, float] = field(default_factory=dict)
    silences_ms: list[int] = field(default_factory=list)
    late_ms: int = 0  # the highest age at which one was called late
    fenced: int = 0
    restarted: int = 0
    spreads_ms: list[int] = field(default_factory=list)
    stalls_ms: list[int] = field(default_factory=list)
    starts: dict[str, Starts] = field(default_factory=dict)
    looks: Looks = field(default_factory=Looks)
    records: int = 0

    @property
    def node_s(self) -> float:
        """Seconds of watched nodes, added up: by the journal, or by the monitor's looks if that is more."""
        return max(sum(self.watched_s.values()), self.looks.watched_s)

    @property
    def outages(self) -> int:
        """Silences that no dead_ms should outlast; they count as silences all the same."""
        return sum(one > OUTAGE_MS for one in self.silences_ms)

    def of(self, node: str) -> Starts:
        """Return what was measured of a node's power, nothing yet for a new one."""
        return self.starts.setdefault(node, Starts())

    def silences(self, late_ms: int) -> Silences:
        """Return the silences that are known completely, given the late_ms of the settings."""
        least_ms = max(late_ms, self.late_ms)
        return Silences(sorted(one for one in self.silences_ms if one >= least_ms), least_ms, self.node_s)


@dataclass
class _Node:
    heard: bool | None = None  # None: not known since a gap
    since_ms: int = 0
    late_at: int | None = None
    anew_at: int | None = None
    away: bool = False


class Reader:
    """Takes entries in order; `finish` gives the history."""

    def __init__(self) -> None:
        self.history = History()
        self._nodes: dict[str, _Node] = {}
        self._board_away = False
        self._boot = -1
        self._sequence = 0
        self._now_ms = 0
        self._begin_ms = 0
        # Node, length, good again at, late at: of silences that are over, and of those that are judged.
        self._waiting: list[tuple[str, int, int, int]] = []
        self._judged: list[tuple[str, int, int, int]] = []

    def take(self, entry: Entry, *, gap: bool = False) -> None:
        """Take the next entry; `gap` tells that some are missing before it."""
        gap = gap or (self._sequence > 0 and entry.sequence != self._sequence + 1)
        if entry.boot != self._boot or gap:
            self._settle(None)
            self._break(entry.uptime_ms if gap or self._boot < 0 else 0, entry.boot)
        self._sequence = entry.sequence
        self._now_ms = max(self._now_ms, entry.uptime_ms)
        self._settle(self._now_ms)
        self.history.records += 1
        node = self._node(entry.node) if entry.node else None
        handler = _HANDLERS.get(entry.event)
        if handler is not None:
            handler(self, entry, node)

    def finish(self, *, uptime_ms: int | None = None, good: Iterable[str] = ()) -> History:
        """Return the history; `uptime_ms` is how long the board has been up, `good` who is good now."""
        self._settle(None)
        if uptime_ms is not None:
            self._now_ms = max(self._now_ms, uptime_ms)
            for name in good:
                # Nothing was written of it since the journal begins, so it was good all the time.
                if self._node(name).heard is None and not self._node(name).away and not self._board_away:
                    self._node(name).heard, self._node(name).since_ms = True, self._begin_ms
        for name in self._nodes:
            self._stop(name)
        return self.history

    def _node(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node())

    def _break(self, from_ms: int, boot: int) -> None:
        for name, node in self._nodes.items():
            self._stop(name)
            node.heard, node.late_at, node.anew_at = None, None, None
        self._boot, self._now_ms, self._begin_ms = boot, from_ms, from_ms

    def _watched(self, node: _Node) -> bool:
        return bool(node.heard) and not node.away and not self._board_away

    def _stop(self, name: str) -> None:
        """Add up what was watched until now."""
        node = self._nodes[name]
        if self._watched(node):
            lasted_s = max(0, self._now_ms - node.since_ms) / 1000
            self.history.watched_s[name] = self.history.watched_s.get(name, 0.0) + lasted_s
        node.since_ms = self._now_ms

    def _settle(self, now_ms: int | None) -> None:
        """Judge silences that are over, once nothing can be written behind them any more; None: now."""
        kept = []
        for item in self._waiting:
            name, length_ms, over_ms, late_at = item
            if now_ms is not None and now_ms <= over_ms + BEHIND_MS:
                kept.append(item)
                continue
            anew_at = self._node(name).anew_at
            anew = anew_at is not None and late_at <= anew_at <= over_ms + BEHIND_MS
            if anew and length_ms >= START_MS:
                self.history.restarted += 1
                continue
            for other, other_ms, _, other_late in self._judged:
                if other != name and abs(other_late - late_at) <= min(TOGETHER_MS, length_ms, other_ms):
                    self.history.spreads_ms.append(abs(other_late - late_at))
            self._judged = [*self._judged[-NEAR:], item]
            self.history.silences_ms.append(length_ms)
        self._waiting = kept
        if now_ms is None:
            self._judged = []

    def _late(self, entry: Entry, node: _Node | None) -> None:
        if node is not None:
            node.late_at = self._now_ms
            if self._watched(node):
                self.history.late_ms = max(self.history.late_ms, entry.a)

    def _good(self, entry: Entry, node: _Node | None) -> None:
        if node is None:
            return
        # After a gap it is not known what came before, so such a silence counts for nothing.
        if self._watched(node) and node.late_at is not None:
            self._waiting.append((entry.node, entry.a, self._now_ms, node.late_at))
        self._stop(entry.node)
        node.heard, node.late_at = True, None

    def _lost(self, entry: Entry, node: _Node | None) -> None:
        """A node is cut, tested, or goes down by itself: what it does from here on is no healthy server's silence."""
        if node is not None:
            self._stop(entry.node)
            if entry.event == "fence_fired" and node.late_at is not None and self._watched(node):
                self.history.fenced += 1
            node.heard, node.late_at = False, None

    def _reported(self, entry: Entry, node: _Node | None) -> None:
        if entry.a == codes.STATE_PLANNED_OFF:
            self._lost(entry, node)
        elif node is not None and not node.heard:
            self._stop(entry.node)
            node.heard, node.late_at = True, None

    def _maintenance(self, entry: Entry, node: _Node | None) -> None:
        began = entry.event == "maintenance_began"
        for name in self._nodes:
            self._stop(name)
        if node is None:
            self._board_away = began
        else:
            node.away = began
        for one in [node] if node is not None else self._nodes.values():
            one.late_at = None

    def _anew(self, entry: Entry, node: _Node | None) -> None:
        if node is not None:
            node.anew_at = self._now_ms

    def _boot_time(self, entry: Entry, node: _Node | None) -> None:
        if node is not None:
            starts = self.history.of(entry.node)
            starts.boots_ms.append(entry.a)
            starts.slowest_ms = max(starts.slowest_ms, entry.a, entry.b * 1000)

    def _off(self, entry: Entry, node: _Node | None) -> None:
        if node is not None:
            starts = self.history.of(entry.node)
            (starts.offs_ms if entry.event == "off_proven" else starts.proofs_ms).append(entry.a)

    def _stalled(self, entry: Entry, _: _Node | None) -> None:
        self.history.stalls_ms.append(entry.a)

    def _settings(self, entry: Entry, _: _Node | None) -> None:
        """Other limits: what was silent for how long, and what was not, is not known of the time before."""
        self._settle(None)
        self._break(self._now_ms, self._boot)
        old = self.history
        self.history = History(starts=old.starts, stalls_ms=old.stalls_ms, records=old.records)


_HANDLERS = {
    "late": Reader._late, "good_again": Reader._good, "first_heard": Reader._good,
    "fence_fired": Reader._lost, "proof_began": Reader._lost, "front_pressed": Reader._lost,
    "state_reported": Reader._reported, "maintenance_began": Reader._maintenance,
    "maintenance_ended": Reader._maintenance, "new_incarnation": Reader._anew, "boot_time": Reader._boot_time,
    "off_proven": Reader._off, "proof_passed": Reader._off, "stalled": Reader._stalled,
    "settings_confirmed": Reader._settings,
}  # fmt: skip
