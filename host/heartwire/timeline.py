"""A failover as a picture: journal entries in, one SVG out; lanes for nodes and board, seconds from left to right.

It shows what the journal says and nothing else: roles as bars, power as the line below them, events as marks, and the
spans that people ask for (how long until it was dead, proven off, granted, running). Pure: no I/O, no clock; the
picture loads no font and runs no script. Called by `heartwire monitor timeline`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from heartwire.journal import BOARD_LABEL, Entry, reason_words
from heartwire.times import span_words
from heartwire_protocol import codes

WIDTH = 1200
LEFT = 150
RIGHT = 40
TOP = 86
LABEL_ROW = 17
BAR = 26
POWER = 6
LANE_GAP = 26
# Average width of a letter at 12 px, to place labels without a font at hand.
LETTER = 6.6
ROLE_COLOURS = {"active": "#2e8b57", "standby": "#7d9bc1", "quarantined": "#e0a030", "offline": "#c9ccd1"}
ROLE_TEXT = {"active": "#ffffff", "standby": "#ffffff", "quarantined": "#3a2a00", "offline": "#555a60"}
POWER_COLOURS = {"on": "#4b5563", "off": "#c0392b", "unknown": "#d5d8dc"}
MARKS = {"alarm": "#c0392b", "warning": "#c77700", "notice": "#33506f", "info": "#8a9099"}
# Events that begin a story, and short names for marks; events that are not here are told by bars or left out.
BEGINNINGS = (
    "late",
    "dead",
    "all_silent",
    "switchover_began",
    "approval_asked",
    "drain_asked",
    "held",
    "fence_prepared",
    "start_asked",
)
SHORT = {
    "late": "late",
    "dead": "dead",
    "good_again": "good again",
    "all_silent": "all lines silent",
    "fence_prepared": "fence prepared",
    "fence_cancelled": "fence cancelled",
    "fence_fired": "fence fired",
    "off_proven": "proven off",
    "off_assumed": "assumed off",
    "off_failed": "NOT proven off",
    "relay_released": "power given back",
    "fence_resumed": "fence resumed",
    "granted": "granted",
    "adopted": "adopted",
    "revoked": "revoked",
    "drain_asked": "asked to stop",
    "drained": "services stopped",
    "drain_timeout": "did not stop in time",
    "running": "services run",
    "held": "held",
    "locked_out": "locked out",
    "cleared": "cleared",
    "approval_asked": "approval asked",
    "approved": "approved",
    "denied": "denied",
    "approval_expired": "approval expired",
    "switchover_began": "switchover began",
    "switchover_done": "switchover done",
    "switchover_failed": "switchover failed",
    "two_running": "two nodes run",
    "boot": "board started",
    "safe_mode": "safe mode",
    "mode_changed": "mode changed",
    "first_heard": "first heard",
    "start_asked": "started by button",
    "start_failed": "did not come up",
    "transferred": "transfer relay moved",
    "transfer_fault": "transfer relay fault",
    "disagree": "power disagrees",
    "recovery_step": "recovery step",
}
STORY_MS = 10 * 60_000
AFTER_GRANT_MS = 60_000
MARGIN_MS = 400


@dataclass(frozen=True)
class Moment:
    """One entry and its time in ms on a scale of its own (uptime where all is of one boot)."""

    at_ms: int
    entry: Entry


def moments(entries: Sequence[tuple[int, Entry]]) -> list[Moment]:
    """Return entries (with their wall time in ms) on one scale: uptime if one boot holds all, else wall time."""
    one_boot = len({entry.boot for _, entry in entries}) == 1
    return [Moment(entry.uptime_ms if one_boot else at_ms, entry) for at_ms, entry in entries]


def last_story(found: Sequence[Moment], before: int | None = None) -> list[Moment]:
    """Return the moments of the last activation (or the one granted up to sequence `before`), from its first sign on.

    Empty if nothing was granted.
    """
    grants = [
        at
        for at, moment in enumerate(found)
        if moment.entry.event in ("granted", "switchover_failed", "off_failed")
        and (before is None or moment.entry.sequence <= before)
    ]
    if not grants:
        return []
    grant = grants[-1]
    first = grant
    for at in range(grant - 1, -1, -1):
        moment = found[at]
        if found[grant].at_ms - moment.at_ms > STORY_MS or moment.entry.event in ("granted", "running", "adopted"):
            break
        if moment.entry.event in BEGINNINGS:
            first = at
    last = grant
    for at in range(grant + 1, len(found)):
        moment = found[at]
        if moment.at_ms - found[grant].at_ms > AFTER_GRANT_MS or moment.entry.event in BEGINNINGS:
            break
        if moment.entry.event in SHORT:
            last = at
    return list(found[first : last + 1])


def render(story: Sequence[Moment], names: Mapping[str, str], title: str, *, history: Sequence[Moment] = ()) -> str:
    """Return the SVG of `story` (at least one moment); `history` before it tells the roles that it began with."""
    return _Picture(story, names, title, history).svg()


class _Picture:
    def __init__(
        self, story: Sequence[Moment], names: Mapping[str, str], title: str, history: Sequence[Moment]
    ) -> None:
        self._story = story
        self._names = names
        self._title = title
        self._history = [moment for moment in history if moment.entry.sequence < story[0].entry.sequence]
        self._start = min(moment.at_ms - _silence(moment.entry) for moment in story)
        self._end = max(story[-1].at_ms, self._start + 1)
        margin = max(MARGIN_MS, (self._end - self._start) // 25)
        self._left_ms, self._right_ms = self._start - margin, self._end + 3 * margin
        self._parts: list[str] = []

    def svg(self) -> str:
        nodes = [node for node in codes.NODES if any(m.entry.node == node for m in [*self._story, *self._history])]
        y = TOP
        for node in nodes:
            y = self._lane(node, y)
        if any(not moment.entry.node and moment.entry.event in SHORT for moment in self._story):
            y = self._lane("", y)
        axis = y
        y = self._axis(axis)
        y = self._spans(y)
        y = self._legend(y)
        first = self._story[0].entry
        when = f"{first.wall.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if first.wall else f"boot {first.boot}"
        numbers = f"records {first.sequence} to {self._story[-1].entry.sequence}"
        head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
            'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">',
            f"<title>{escape(self._title)}</title>",
            f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>',
            _text(24, 34, self._title, size=20, weight="bold", colour="#1c2733"),
            _text(24, 56, f"{when}, {numbers}; {self._headline()}; 0 s is {self._zero()}", colour="#555a60"),
        ]
        return "\n".join([*head, *self._grid(axis), *self._parts, "</svg>"]) + "\n"

    def _headline(self) -> str:
        fired = self._first("fence_fired") or self._first("granted")
        return f"because {reason_words(fired.entry.reason)}" if fired else self._story[-1].entry.event

    def _zero(self) -> str:
        lost = any(_silence(moment.entry) for moment in self._story)
        return "the last good heartbeat" if lost else "the first record"

    def _x(self, at_ms: float) -> float:
        return LEFT + (at_ms - self._left_ms) / (self._right_ms - self._left_ms) * (WIDTH - LEFT - RIGHT)

    def _lane(self, node: str, top: int) -> int:
        """Draw one lane from `top`; return where the next one begins."""
        events = [m for m in self._story if m.entry.node == node and m.entry.event in SHORT]
        rows = _rows([(self._x(m.at_ms), _width(self._mark_text(m))) for m in events])
        height = (max(rows, default=-1) + 1) * LABEL_ROW
        bar = top + height + 4
        label = self._names.get(node, node) if node else BOARD_LABEL
        self._parts.append(_text(24, bar + 18, label, weight="bold", colour="#1c2733"))
        if node:
            self._bars(node, bar)
        else:
            y = bar + BAR / 2
            self._parts.append(
                f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#b8bec6" stroke-width="2"/>'
            )
        # All lines first: a label may stand over the line of a later mark, never under it.
        marks = [
            self._mark(moment, top + (max(rows) - row) * LABEL_ROW + 11, bar)
            for moment, row in zip(events, rows, strict=True)
        ]
        self._parts += [line for line, _ in marks] + [label for _, label in marks]
        return bar + BAR + POWER + 2 + LANE_GAP

    def _bars(self, node: str, bar: int) -> None:
        for start, end, role in self._spans_of(self._roles(node)):
            x, width = self._x(start), self._x(end) - self._x(start)
            tip = f"{role} for {(end - start) / 1000:.1f} s"
            self._parts.append(
                f'<rect x="{x:.1f}" y="{bar}" width="{width:.1f}" height="{BAR}" rx="3" '
                f'fill="{ROLE_COLOURS.get(role, "#dddddd")}"><title>{tip}</title></rect>'
            )
            if width > _width(role) + 8:
                self._parts.append(_text(x + 6, bar + 17, role, colour=ROLE_TEXT.get(role, "#000000")))
        for start, end, power in self._spans_of(self._powers(node)):
            x, width = self._x(start), self._x(end) - self._x(start)
            self._parts.append(
                f'<rect x="{x:.1f}" y="{bar + BAR + 2}" width="{width:.1f}" height="{POWER}" '
                f'fill="{POWER_COLOURS.get(power, "#d5d8dc")}"><title>power {power}</title></rect>'
            )

    def _spans_of(self, changes: Sequence[tuple[float, str]]) -> list[tuple[float, float, str]]:
        ends = [at for at, _ in changes[1:]] + [self._right_ms]
        return [(at, end, value) for (at, value), end in zip(changes, ends, strict=True) if end > at]

    def _roles(self, node: str) -> list[tuple[float, str]]:
        """Return (time, role) changes of a node, the first at the left edge."""
        changes: list[tuple[float, str]] = []
        first = ""
        for moment in [*self._history, *self._story]:
            entry = moment.entry
            if entry.node != node:
                continue
            role = {"granted": "active", "adopted": "active"}.get(entry.event, "")
            if entry.event == "role_changed":
                role = codes.name_of(codes.ROLES, entry.a)
                first = first or codes.name_of(codes.ROLES, entry.b)
            if entry.event == "revoked":
                first = first or "active"
            if role:
                changes.append((moment.at_ms, role))
        return self._clipped(changes, first or "standby")

    def _powers(self, node: str) -> list[tuple[float, str]]:
        changes: list[tuple[float, str]] = []
        for moment in [*self._history, *self._story]:
            entry = moment.entry
            if entry.node != node:
                continue
            if entry.event == "sense_changed":
                changes.append((moment.at_ms, codes.name_of(codes.POWERS, entry.a)))
            elif entry.event in ("off_proven", "off_assumed"):
                changes.append((moment.at_ms, "off"))
        known = any(power == "on" for _, power in changes)
        return self._clipped(changes, "on" if known or changes else "unknown")

    def _clipped(self, changes: Sequence[tuple[float, str]], first: str) -> list[tuple[float, str]]:
        before = [value for at, value in changes if at <= self._left_ms]
        kept: list[tuple[float, str]] = [(self._left_ms, before[-1] if before else first)]
        for at, value in changes:
            if at > self._left_ms and value != kept[-1][1]:
                kept.append((at, value))
        return kept

    def _mark_text(self, moment: Moment) -> str:
        entry = moment.entry
        text = SHORT[entry.event]
        if entry.event in ("granted", "adopted"):
            text += f" (epoch {entry.a})"
        return f"{text} {(moment.at_ms - self._start) / 1000:.2f} s"

    def _mark(self, moment: Moment, y: int, bar: int) -> tuple[str, str]:
        """Return the line and the label of one event."""
        x = self._x(moment.at_ms)
        colour = MARKS.get(moment.entry.severity, "#33506f")
        words = self._mark_text(moment)
        sentence = escape(moment.entry.sentence(self._names))
        right = x + _width(words) + 6 > WIDTH - RIGHT
        tip = f"<title>{moment.entry.sequence}: {sentence}</title>"
        line = (
            f'<line x1="{x:.1f}" y1="{y - 9}" x2="{x:.1f}" y2="{bar}" stroke="{colour}" stroke-width="1.5"/>'
            f'<circle cx="{x:.1f}" cy="{bar}" r="3.5" fill="{colour}">{tip}</circle>'
        )
        place, anchor = (x - 4, "end") if right else (x + 4, "start")
        halo = 'stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
        return line, f"<g {halo}>{tip}{_text(place, y, words, colour=colour, anchor=anchor)}</g>"

    def _grid(self, bottom: int) -> list[str]:
        step = _step((self._right_ms - self._left_ms) / 1000)
        lines = []
        for second in _ticks(step, (self._right_ms - self._start) / 1000):
            x = self._x(self._start + second * 1000)
            lines.append(f'<line x1="{x:.1f}" y1="{TOP - 14}" x2="{x:.1f}" y2="{bottom}" stroke="#eceff2"/>')
        return lines

    def _axis(self, y: int) -> int:
        self._parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#555a60"/>')
        step = _step((self._right_ms - self._left_ms) / 1000)
        for second in _ticks(step, (self._right_ms - self._start) / 1000):
            x = self._x(self._start + second * 1000)
            self._parts.append(f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 5}" stroke="#555a60"/>')
            self._parts.append(_text(x, y + 19, f"{second:g} s", colour="#555a60", anchor="middle"))
        return y + 40

    def _spans(self, y: int) -> int:
        """Draw how long each part took."""
        lost = min((m for m in self._story if _silence(m.entry)), key=lambda m: m.at_ms, default=None)
        dead, fired = self._first("dead"), self._first("fence_fired")
        off = self._first("off_proven") or self._first("off_assumed") or self._first("drained")
        granted, runs = self._last("granted"), self._last("running")
        begin = self._start if lost else self._story[0].at_ms
        asked = fired or self._first("drain_asked")
        rows: list[tuple[str, float, float]] = []
        if dead:
            rows.append(("silent until dead", begin, dead.at_ms))
        waited, answered = self._first("approval_asked"), self._first("approved") or self._first("approval_expired")
        if waited and answered:
            rows.append(("waiting for approval", waited.at_ms, answered.at_ms))
        if asked and off:
            rows.append(("fence to proof" if fired else "asked until stopped", asked.at_ms, off.at_ms))
        if off and granted:
            rows.append(("proof to grant", off.at_ms, granted.at_ms))
        if granted and runs and runs.at_ms >= granted.at_ms:
            rows.append(("grant to services", granted.at_ms, runs.at_ms))
        end = runs or granted
        if end and end.at_ms > begin:
            rows.append(("without service" if dead else "in all", begin, end.at_ms))
        for words, start, stop in rows:
            x1, x2 = self._x(start), self._x(stop)
            self._parts.append(_text(24, y + 4, words, colour="#1c2733"))
            self._parts.append(
                f'<line x1="{x1:.1f}" y1="{y}" x2="{max(x2, x1 + 1):.1f}" y2="{y}" stroke="#1c2733" stroke-width="3"/>'
            )
            span = _span_words(stop - start)
            self._parts.append(_text(x2 + 8, y + 4, span, weight="bold", colour="#1c2733"))
            y += 22
        return y + 10

    def _legend(self, y: int) -> int:
        x = 24.0
        for name, colour in [*ROLE_COLOURS.items(), *[(f"power {n}", c) for n, c in POWER_COLOURS.items()]]:
            height = POWER if name.startswith("power") else 12
            self._parts.append(
                f'<rect x="{x}" y="{y + (12 - height) / 2}" width="18" height="{height}" rx="2" fill="{colour}"/>'
            )
            self._parts.append(_text(x + 24, y + 10, name, colour="#555a60"))
            x += 24 + _width(name) + 22
        return y + 32

    def _first(self, event: str) -> Moment | None:
        return next((moment for moment in self._story if moment.entry.event == event), None)

    def _last(self, event: str) -> Moment | None:
        return next((moment for moment in reversed(self._story) if moment.entry.event == event), None)


def _silence(entry: Entry) -> int:
    """Return for how many ms a node had been silent when the entry was written."""
    return entry.a if entry.event in ("late", "dead") else 0


def _span_words(span_ms: float) -> str:
    if span_ms < 1000:
        return f"{span_ms:.0f} ms"
    return f"{span_ms / 1000:.1f} s" if span_ms < 100_000 else span_words(span_ms / 1000)


def _width(text: str) -> float:
    return len(text) * LETTER


def _rows(labels: Sequence[tuple[float, float]]) -> list[int]:
    """Return a row for each (x, width) so that no two labels of a row meet; 0 is the lowest, nearest to the bar."""
    ends: list[float] = []
    rows = []
    for x, width in labels:
        if x + width + 6 > WIDTH - RIGHT:
            x -= width + 8
        row = next((at for at, end in enumerate(ends) if end < x), len(ends))
        if row == len(ends):
            ends.append(0.0)
        ends[row] = x + width + 12
        rows.append(row)
    return rows


def _step(seconds: float) -> float:
    """Return a round distance between marks, for about ten of them."""
    for step in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300):
        if seconds / step <= 12:
            return step
    return 600


def _ticks(step: float, last: float) -> list[float]:
    return [round(number * step, 3) for number in range(int(last / step) + 1)]


def _text(
    x: float, y: float, text: str, *, size: int = 12, weight: str = "normal", colour: str, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def title_of(story: Sequence[Moment], names: Mapping[str, str]) -> str:
    """Return a title: who took over from whom, and when."""
    granted = next((moment.entry for moment in reversed(story) if moment.entry.event == "granted"), None)
    fenced = next((moment.entry for moment in story if moment.entry.event in ("fence_fired", "drain_asked")), None)
    if granted is None:
        return f"{names.get(story[0].entry.node, story[0].entry.node) or BOARD_LABEL}: no takeover"
    to = names.get(granted.node, granted.node)
    if fenced is None or fenced.node == granted.node:
        return f"{to} becomes active"
    kind = "Failover" if fenced.event == "fence_fired" else "Switchover"
    return f"{kind} from {names.get(fenced.node, fenced.node)} to {to}"


def day_of(at_ms: int) -> str:
    """Return the UTC day of a wall time in ms, for file names."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y%m%d-%H%M%S}"
