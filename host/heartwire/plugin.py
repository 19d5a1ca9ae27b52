"""One line for Nagios, Icinga and what else runs their plugins: pure, what was found in, the line out.

As the Monitoring Plugins Development Guidelines want it (https://www.monitoring-plugins.org/doc/guidelines.html): a
state, words, and behind a bar performance data, 'label'=value[unit];[warning];[critical];[least];[most]. Called by
`heartwire check`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from heartwire.answers import NodeStatus, Status

SERVICE = "HEARTWIRE"
OK, WARNING, CRITICAL, UNKNOWN = range(4)
STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
# Nagios cuts a line at 8 KiB; most that show it have less room.
WORDS_MAX = 1000


@dataclass(frozen=True)
class Datum:
    """One value with its unit ("s", "B", "c" for a counter, "" for a number) and limits, None for none."""

    label: str
    value: float
    unit: str = ""
    warning: float | None = None
    critical: float | None = None

    def __str__(self) -> str:
        limits = [_number(self.warning), _number(self.critical), "0"]
        return ";".join([f"'{self.label}'={_number(self.value)}{self.unit}", *limits])


def line(state: int, words: str, data: Sequence[Datum] = ()) -> str:
    """Return the line: no bar and no line end but where they belong, whatever the words are."""
    plain = re.sub(r"\s+", " ", words.replace("|", "/")).strip()
    plain = plain if len(plain) <= WORDS_MAX else plain[: WORDS_MAX - 3] + "..."
    values = " ".join(str(datum) for datum in data if math.isfinite(datum.value))
    return f"{SERVICE} {STATES[state]} - {plain}" + (f" | {values}" if values else "")


def worst(found: Sequence[tuple[str, bool]]) -> int:
    """Return the state of (words, whether a person is needed now) pairs."""
    return CRITICAL if any(now for _, now in found) else WARNING if found else OK


def old(nodes: Sequence[NodeStatus], warning_s: float | None, critical_s: float | None) -> list[tuple[str, bool]]:
    """Return the nodes whose last heartbeat is older than a limit, as `worst` takes them."""
    found = []
    for node in nodes:
        age_s = (node.age_ms or 0) / 1000
        for limit_s, now in ((critical_s, True), (warning_s, False)):
            if limit_s is not None and node.was_heard and age_s > limit_s:
                found.append((f"{node.label} was last heard {age_s:g} s ago", now))
                break
    return found


def board_data(
    status: Status, nodes: Sequence[NodeStatus], warning_s: float | None = None, critical_s: float | None = None
) -> list[Datum]:
    """Return what of a board is worth a curve."""
    data = [
        Datum("uptime", status.uptime_s, "s"),
        Datum("epoch", status.epoch),
        Datum("boots", status.boot),
        Datum("journal", status.newest, "c"),
        Datum("journal_lost", status.lost, "c"),
        Datum("free", status.free, "B"),
        Datum("loop", status.loop_ms / 1000, "s"),
    ]
    for node in nodes:
        if node.was_heard and node.age_ms is not None:
            data.append(Datum(f"age_{node.node}", node.age_ms / 1000, "s", warning_s, critical_s))
        data += [
            Datum(f"lease_{node.node}", node.lease_ms / 1000, "s"),
            Datum(f"beats_{node.node}", node.beats, "c"),
            Datum(f"drops_{node.node}", sum(node.drops.values()), "c"),
            Datum(f"active_{node.node}", int(node.role == "active")),
        ]
    return data


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
