"""What a person in front of the rack sees change: relays, power, leases, services, alarm contact, LED. For timelines.

Pure: the stage that owns the board tells it the outputs after each step. It judges nothing; rules.py does. Called by
policy_stage.
"""

from __future__ import annotations

from collections.abc import Mapping

from heartwire.simulate.rack import FRONT, POSITIONS, POWER, Rack
from heartwire_protocol import codes

# How a change stands in a timeline, behind its time.
MARK = "="
Row = tuple[bool, bool, bool, bool, bool]
# A server that is on, and nothing else.
REST: Row = (False, False, True, False, False)


class Watch:
    """The outsides of `rack` and of its board, as they were at the last look."""

    def __init__(self, rack: Rack) -> None:
        self._rack = rack
        self._rows: list[Row] = []
        self._panel = ("", "", 0)

    def look(self, outputs: Mapping[str, int], alarm: str, led: str) -> list[tuple[str, str]]:
        """Return what changed since the last look, as (node or "", words); at the first one nothing has."""
        rack = self._rack
        rows = [
            (bool(outputs.get(POWER[node])), bool(outputs.get(FRONT[node])), supply.powered, fake.left_ms > 0,
             fake.serving)
            for node, (supply, fake) in enumerate(zip(rack.supplies, rack.nodes, strict=True))
        ]  # fmt: skip
        panel = (alarm, led, rack.transfer_at)
        if rows == self._rows and panel == self._panel:
            return []
        before, self._rows = self._rows, rows
        panel_before, self._panel = self._panel, panel
        if not before:
            return []
        found = [
            (codes.NODES[node], f"{MARK} {codes.NODES[node]} {words}")
            for node, (old, new) in enumerate(zip(before, rows, strict=True))
            for words in _changes(old, new)
        ]
        found += [
            ("", f"{MARK} {words}")
            for words, old, new in zip(_panel_words(panel), panel_before, panel, strict=True)
            if old != new
        ]
        return found

    def story(self) -> str:
        """Return how everything is now in one line: of a node, what is not so while it only stands there with power."""
        nodes = [
            f"{codes.NODES[node]} {', '.join(_changes(REST, row) or ['rests'])}" for node, row in enumerate(self._rows)
        ]
        return f"{MARK} {'; '.join([*nodes, *_panel_words(self._panel)[:2]])}"


def _changes(old: Row, new: Row) -> list[str]:
    return [words for words, before, now in zip(_row_words(new), old, new, strict=True) if before != now]


def _row_words(row: Row) -> list[str]:
    relay, front, powered, lease, serves = row
    return [
        f"relay {'cut' if relay else 'closed'}",
        f"front {'pressed' if front else 'let go'}",
        f"power {'on' if powered else 'off'}",
        f"lease {'held' if lease else 'none'}",
        "serves" if serves else "serves nothing",
    ]


def _panel_words(panel: tuple[str, str, int]) -> list[str]:
    return [f"alarm {panel[0]}", f"led {panel[1]}", f"transfer {POSITIONS[panel[2]]}"]
