"""What the page shows of a rack, from the monitor's views: pure, values in, values out.

The words are those of `heartwire status` (cli.status_view, next_steps) and `heartwire plans` (simulate.foresee): this
module adds none about a board, only how it stands with looking at it. Called by pages and live.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from heartwire import next_steps
from heartwire.answers import NodeStatus, Status
from heartwire.cli import status_view
from heartwire.cli.output import Cell
from heartwire.monitor.views import FRESH_S, View
from heartwire.simulate import foresee
from heartwire.times import span_words
from heartwire.web import chart
from heartwire_protocol import alarms

# Two looks of the usual status_ms: nothing is to be said of it.
JUST_NOW_S = 5.0
# How a rack stands, the worst first: (name, mark, words). The mark stands beside the colour, for who does not see it.
STANDINGS = (("away", "?", "not reached"), ("attention", "!", "needs attention"), ("well", "\N{CHECK MARK}", "well"))


@dataclass(frozen=True)
class Standing:
    """How a rack stands."""

    name: str
    mark: str
    words: str


AWAY, ATTENTION, WELL = (Standing(*row) for row in STANDINGS)


@dataclass(frozen=True)
class Text:
    """Words with the name of how they look: bad, warn, good, dim or ""."""

    words: str
    look: str = ""


@dataclass(frozen=True)
class NodeRow:
    """One node: its cells under status_view.HEADERS, and what else is to be known."""

    node: str
    label: str
    cells: tuple[Text, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Rack:
    """One board of the monitor."""

    name: str
    standing: Standing
    seen: str  # how long ago the board was looked at
    fresh: bool
    trouble: str = ""
    mode: str = ""
    active: str = ""
    phase: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Text, ...] = ()
    nodes: tuple[NodeRow, ...] = ()
    plans: tuple[str, ...] = ()  # what would happen if each node fell silent; of the active node first
    steps: tuple[next_steps.Step, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()  # what the board says is wrong, by the table of alarms
    approval: int = 0  # number of the request that waits for an answer
    clearable: tuple[tuple[str, str], ...] = ()  # nodes that may be cleared, with their labels
    maintained: tuple[tuple[str, str], ...] = ()  # what is in maintenance: nodes, and "board"


def look_of(style: str) -> str:
    """Return the name of a rich style's look on the page."""
    for word, look in (("red", "bad"), ("yellow", "warn"), ("green", "good"), ("dim", "dim")):
        if word in style:
            return look
    return ""


def rack_of(view: View, now_s: float) -> Rack:
    """Return what is shown of a board at `now_s` (monotonic)."""
    if view.status is None:
        return Rack(view.name, AWAY, "never", False, view.trouble or "not looked at yet")
    try:
        return _rack(view, view.status, now_s)
    except Exception:
        # Whatever a board says that nobody foresaw: it costs this rack its words, and no other.
        return Rack(view.name, ATTENTION, "just now", False, "it says what this version of heartwire cannot read")


def _rack(view: View, status: Status, now_s: float) -> Rack:
    nodes = view.nodes
    age_s = max(0.0, now_s - view.seen_s)
    fresh = view.up and age_s <= FRESH_S
    warnings = tuple(Text(words, look_of(style)) for words, style in status_view.warnings(status, nodes))
    standing = AWAY if not view.up else ATTENTION if status_view.troubles(status, nodes) else WELL
    labels = view.labels()
    board = (("board", "the whole board"),) if status.maintenance_s else ()
    return Rack(
        view.name,
        standing,
        "just now" if age_s < JUST_NOW_S else f"{age_s:.0f}s ago" if age_s < 60 else f"{span_words(age_s)} ago",
        fresh,
        "" if view.up else view.trouble,
        status.mode,
        labels.get(status.active or "", status.active or ""),
        status_view.phase_words(status, labels),
        _facts(view, status),
        warnings,
        tuple(_row(node) for node in nodes),
        plans_of(view),
        tuple(next_steps.steps(status, nodes)) if fresh else (),
        labels,
        tuple(name.replace("_", " ") for name in alarms.names_of(status.alarms)),
        int((status.approval or {}).get("request", 0)),
        tuple((node.node, node.label) for node in nodes if node.locked or node.suspect or node.role == "quarantined"),
        (*((node.node, node.label) for node in nodes if node.maintenance_s), *board),
    )


def plans_of(view: View) -> tuple[str, ...]:
    """Return what would happen now if a node fell silent, a sentence a node; empty where that is not known."""
    status = view.status
    if status is None or view.settings is None:
        return ()
    try:
        found = foresee.foresee(foresee.read_settings(view.settings), status, view.nodes, status.long_lease_s)
    except (ValueError, KeyError, IndexError, TypeError):
        return ()  # a board of another version has settings, or is in a state, that its guards here do not know
    return tuple(row.words for row in sorted(found, key=lambda row: row.node != status.active))


def chart_of(view: View, now_s: float) -> str:
    """Return the chart of a board's heartbeats as SVG, "" where nothing was looked at."""
    late_s = 0.0
    if view.settings is not None:
        with contextlib.suppress(ValueError, KeyError):
            late_s = foresee.read_settings(view.settings).board.late_ms / 1000
    trend = {node.node: list(view.trend.get(node.node, ())) for node in view.nodes}
    return chart.render(trend, view.labels(), now_s, late_s=late_s)


def counts_of(racks: Sequence[Rack]) -> list[tuple[Standing, int, list[str]]]:
    """Return for each standing how many racks have it, and their names; the worst first."""
    found = []
    for standing in (AWAY, ATTENTION, WELL):
        names = [rack.name for rack in racks if rack.standing == standing]
        found.append((standing, len(names), names))
    return found


def _facts(view: View, status: Status) -> tuple[tuple[str, str], ...]:
    rows = (
        ("epoch", str(status.epoch)),
        ("up for", span_words(status.uptime_s)),
        ("boots", str(status.boot)),
        ("settings", f"generation {status.generation}"),
        ("journal", f"{status.newest} records, {view.cursor} of them stored"),
        ("firmware", status.version),
        ("MicroPython", status.micropython),
        ("board", view.board_id),
        ("signed", "yes: a key signs what it says" if status.signed else "no: as good as its cable"),
    )
    return tuple((name, words) for name, words in rows if words)


def _row(node: NodeStatus) -> NodeRow:
    return NodeRow(
        node.node,
        node.label,
        tuple(_text(cell) for cell in status_view.node_cells(node)),
        tuple(status_view.remarks(node)),
    )


def _text(cell: Cell) -> Text:
    return Text(cell[0], look_of(cell[1]))
