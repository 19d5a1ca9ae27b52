"""The last minutes of a rack's heartbeats as a line chart: looks in, one SVG out. Pure: no I/O, no clock.

Above the age of the last good heartbeat at each look, below how far heartbeats strayed from their usual interval. Each
node has a dash of its own beside its colour, and its name at its line. No style and no script: a strict policy lets it
stand in the page. Called by racks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from heartwire.monitor.views import Look

WIDTH = 760
LEFT, RIGHT = 56, 110
TOP = 26
PANEL = 110
GAP = 44
# Dark enough to be read on white, told apart by their dashes as well.
LINES = (("#0b4f9e", ""), ("#a14a00", "7 3"), ("#14602f", "2 3"))
TEXT = "#1c2733"
FAINT = "#4b5563"
RULE = "#c3cad3"
LATE = "#7a4a00"
# The chart begins so long ago at least, so that its first looks do not jump.
SPAN_S = 60.0


def render(trend: Mapping[str, Sequence[Look]], labels: Mapping[str, str], now_s: float, *, late_s: float = 0.0) -> str:
    """Return the SVG of `trend` up to `now_s` (monotonic), "" where nothing was looked at; `late_s` 0: not known."""
    if not any(trend.values()):
        return ""
    span_s = max(SPAN_S, *(now_s - looks[0].seen_s for looks in trend.values() if looks))
    ages = {node: [(one.seen_s - now_s, one.age_s) for one in looks] for node, looks in trend.items()}
    strays = {
        node: [(one.seen_s - now_s, None if one.stray_s is None else one.stray_s * 1000) for one in looks]
        for node, looks in trend.items()
    }
    bottom = TOP + PANEL + GAP + PANEL
    parts = [
        *_panel(TOP, "age of the last heartbeat, s", ages, labels, span_s, late=late_s),
        *_panel(TOP + PANEL + GAP, "jitter, ms", strays, labels, span_s),
        *_axis(bottom, span_s),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 34}" width="{WIDTH}" '
        f'height="{bottom + 34}" role="img" aria-label="{escape(words_of(ages, strays, labels))}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{bottom + 34}" fill="#ffffff"/>', *parts, "</svg>"])


Lines = Mapping[str, Sequence[tuple[float, float | None]]]


def words_of(ages: Lines, strays: Lines, labels: Mapping[str, str]) -> str:
    """Return the chart in words, for who does not see it."""
    found = []
    for node, points in ages.items():
        known = [value for _, value in points if value is not None]
        far = [value for _, value in strays.get(node, ()) if value is not None]
        label = labels.get(node, node)
        if not known:
            found.append(f"{label} was never heard")
            continue
        stray = f", jitter at most {max(far):.0f} ms" if far else ""
        found.append(f"{label} was heard {known[-1]:.1f} s before the last look, at most {max(known):.1f} s{stray}")
    return "Heartbeats of the last minutes: " + "; ".join(found)


def _panel(
    top: int, title: str, lines: Lines, labels: Mapping[str, str], span_s: float, *, late: float = 0.0
) -> list[str]:
    highest = max([value for points in lines.values() for _, value in points if value is not None], default=0.0)
    limit = _round(max(highest, late, 0.001) * 1.1)

    def x(ago_s: float) -> float:
        return LEFT + (1 + ago_s / span_s) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return top + PANEL - value / limit * PANEL

    parts = [_text(LEFT, top - 9, title, weight="bold")]
    for part in range(3):
        value = limit * part / 2
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="{RULE}"/>')
        parts.append(_text(LEFT - 6, y(value) + 4, f"{value:g}", anchor="end", colour=FAINT))
    if late:
        parts.append(f'<path d="M{LEFT} {y(late):.1f}H{WIDTH - RIGHT}" stroke="{LATE}" stroke-dasharray="1 3"/>')
        parts.append(_text(WIDTH - RIGHT - 4, y(late) - 4, f"late after {late:g} s", anchor="end", colour=LATE))
    ends: list[float] = []
    for (node, points), (colour, dash) in zip(lines.items(), LINES, strict=False):
        drawn = _path([(x(ago_s), None if value is None else y(value)) for ago_s, value in points])
        if not drawn:
            continue
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path d="{drawn}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        last = next(value for _, value in reversed(points) if value is not None)
        at = y(last) + 4
        while any(abs(at - other) < 14 for other in ends):
            at -= 14
        ends.append(at)
        parts.append(f'<path d="M{WIDTH - RIGHT + 6} {at - 4:.1f}h14" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append(_text(WIDTH - RIGHT + 24, at, labels.get(node, node)[:11], colour=colour))
    return parts


def _path(points: Sequence[tuple[float, float | None]]) -> str:
    """Return the line through points, broken where there is none; one alone is a dot."""
    found: list[str] = []
    pen = "M"
    for x, y in points:
        if y is None:
            pen = "M"
            continue
        found.append(f"{pen}{x:.1f} {y:.1f}" + ("h.1" if pen == "M" else ""))
        pen = "L"
    return "".join(found)


def _axis(bottom: int, span_s: float) -> list[str]:
    step_s = next((step for step in (15, 30, 60, 120, 300, 600, 3600) if span_s / step <= 7), 86_400)
    parts = []
    ago_s = 0
    while ago_s <= span_s:
        x = LEFT + (1 - ago_s / span_s) * (WIDTH - LEFT - RIGHT)
        words = "now" if not ago_s else f"-{ago_s} s" if step_s < 60 else f"-{ago_s // 60} min"
        parts.append(f'<path d="M{x:.1f} {bottom}v5" stroke="{FAINT}"/>')
        parts.append(_text(x, bottom + 20, words, anchor="middle", colour=FAINT))
        ago_s += step_s
    return parts


def _round(value: float) -> float:
    """Return a round number that is not below `value`."""
    scale = 1.0
    while scale > value:
        scale /= 10
    while scale * 10 <= value:
        scale *= 10
    return next(scale * step for step in (1, 2, 3, 4, 5, 6, 8, 10) if scale * step >= value)


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "", colour: str = TEXT) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{bold}>{escape(words)}</text>'
