"""Journal records as people read them: one record in, one entry with its names and its sentence out.

Every name comes from the contract's tables; an event, reason or value that this version does not know is shown by its
number, so a newer board's journal stays readable. It keeps no state and does no I/O. Called by board, capture and the
CLI; chain checks whether records are missing or altered.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from heartwire.answers import iso, wall_time
from heartwire_protocol import bits, codes, events, messages, operations, reasons, records

BOARD_LABEL = "the board"
NOBODY = "nobody"
Names = Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """One whole journal record with its names. `node` is "" where the record is about the board."""

    sequence: int
    boot: int
    uptime_ms: int
    event_number: int
    event: str
    severity: str
    ring: str
    node: str
    reason_number: int
    reason: str
    a: int
    b: int
    wall: datetime | None
    raw: bytes

    def sentence(self, names: Names | None = None) -> str:
        """Return the entry in words; `names` gives nodes another label, by a, b and spare."""
        row = events.event_row(self.event_number)
        template = row[4] if row else "event {event} of {node}, {a} and {b}: {reason}"
        return _Sentence(self, names or {}).format(template)

    def as_json(self, names: Names | None = None) -> dict[str, Any]:
        """Return the documented keys (JSON_DOC), ready for JSON."""
        return {
            "sequence": self.sequence,
            "time": iso(self.wall),
            "boot": self.boot,
            "uptime_ms": self.uptime_ms,
            "severity": self.severity,
            "event": self.event,
            "node": self.node or None,
            "reason": self.reason,
            "a": self.a,
            "b": self.b,
            "sentence": self.sentence(names),
            "raw": self.raw.hex(),
        }


JSON_DOC = (
    ("sequence", "number of the record; rises by one"),
    ("time", "wall time in UTC, ISO 8601, computed where a host set it later in the same boot; null if none did"),
    ("boot", "boots of the board so far"),
    ("uptime_ms", "ms since that boot"),
    ("severity", "info, notice, warning or alarm"),
    ("event", "name from the table of events"),
    ("node", "a, b, spare, or null for the board"),
    ("reason", "name from the table of reasons"),
    ("a", "first argument of the event"),
    ("b", "second argument of the event"),
    ("sentence", "the record in words"),
    ("raw", "the record itself in hexadecimal; `heartwire log --file` reads it again"),
)


# What somebody asked for, or the settings plan, is no alarm when it happens: event -> its reasons.
PLANNED: Mapping[str, tuple[str, ...]] = {
    "granted": (
        "operator",
        "declared",
        "switchover",
        "failback",
        "schedule",
        "planned_off",
        "first_start",
        "cancelled",
    ),
    "revoked": ("operator", "drained", "planned_off"),
    "held": ("maintenance",),
    "schedule_ended": ("cancelled",),
    "switchover_failed": ("cancelled",),
    "long_lease": ("operator",),
    "proof_began": ("operator",),
    "proof_ended": ("operator",),
    "front_pressed": ("operator",),
}


def severity_of(event: str, severity: str, reason: str, a: int) -> str:
    """Return how severe a record is: what its event says, but for what was planned and what a node says of itself."""
    if reason in PLANNED.get(event, ()):
        return "notice"
    if event == "state_reported" and a == codes.STATE_DEGRADED:
        return "warning"
    return severity


def decode(record: bytes) -> Entry:
    """Return the entry of a record as the board sent it. Raises ValueError if it is damaged."""
    fields = records.decode(record)
    row = events.event_row(fields["event"])
    node = fields["node"]
    reason = reason_row(fields["reason"])
    reason_name = reason[1] if reason else f"#{fields['reason']}"
    return Entry(
        sequence=fields["sequence"],
        boot=fields["boot"],
        uptime_ms=fields["uptime_day"] * 86_400_000 + fields["uptime_ms"],
        event_number=fields["event"],
        event=row[1] if row else f"#{fields['event']}",
        severity=severity_of(row[1], codes.SEVERITIES[row[2]], reason_name, fields["a"]) if row else "notice",
        ring=codes.RINGS[row[3]] if row else "",
        node=codes.name_of(codes.NODES, node) if node != codes.NO_NODE else "",
        reason_number=fields["reason"],
        reason=reason_name,
        a=fields["a"],
        b=fields["b"],
        wall=wall_time(fields["wall_day"], fields["wall_ms"]),
        raw=bytes(record),
    )


def reason_row(reason: int | str) -> tuple[int, str, str] | None:
    """Return the row of a reason by number or name, or None where this version does not know it."""
    for row in reasons.REASONS:
        if reason in row[:2]:
            return row
    return None


def reason_words(name: str) -> str:
    """Return the sentence of a reason by name; the name itself where this version does not know it."""
    row = reason_row(name)
    return row[2] if row else name.replace("_", " ")


def flag_names(flags: int) -> list[str]:
    """Return the names of the flags of a heartbeat that say something to people."""
    hidden = messages.FLAG_ANSWERED | messages.FLAG_CHALLENGE_ODD
    return [name for bit, name, _ in messages.FLAGS if flags & bit & ~hidden]


def _flags(value: int) -> str:
    return " ".join(flag_names(value)) or "none"


def _evidence(value: int) -> str:
    """Words of the bit field EVIDENCE."""
    shown = bits.unpack(bits.EVIDENCE, value)
    flags, verdict = shown["flags"], shown["verdict"]
    said = [
        f"state {codes.name_of(codes.STATES, shown['state'])}",
        f"flags {_flags(flags)}",
        "answered" if flags & messages.FLAG_ANSWERED else "not answered",
    ]
    parts = [f"power {codes.name_of(codes.POWERS, shown['power'])}"]
    if shown["altered"]:
        parts.append("altered")
    name = codes.name_of(codes.VERDICTS, verdict)
    if verdict in (codes.VERDICT_DEAD, codes.VERDICT_UNHEARD):
        # A silent node says nothing now, and its line tells nothing of what it hears.
        return f"{', '.join([name, *parts])}; it said last: {', '.join(said)}"
    if shown["half_line"] and verdict == codes.VERDICT_GOOD:  # a late node is silent, and so answers nothing
        parts.append("half line")
    return ", ".join([name, *said, *parts])


def operation_of(entry: Entry) -> str:
    """Return the operation that a record of a request is about."""
    return _operation(entry.a)


def _operation(value: int) -> str:
    for row in operations.OPERATIONS:
        if row[0] == value:
            return str(row[1])
    return f"#{value}"


def _event(value: int) -> str:
    row = events.event_row(value)
    return row[1].replace("_", " ") if row else f"#{value}"


def _gap(value: int) -> str:
    """Nobody was active before: then there is no gap to tell."""
    return f", {value} ms after the last holder was last heard" if value else ""


def _table(table: tuple[Any, ...]) -> Callable[[int], str]:
    return lambda value: str(codes.name_of(table, value)).replace("_", " ")


def _sentence_of(table: tuple[Any, ...]) -> Callable[[int], str]:
    return lambda value: str(table[value][2]) if 0 <= value < len(table) else f"#{value}"


def _requester(entry: Entry, names: Names) -> str:
    """Return who asked for a fence, as " by fence_heartwire on b"; "" for other requests, or where nobody said it."""
    if _operation(entry.a) != "fence":
        return ""
    asked = bits.unpack(bits.ASKED, entry.b)
    node, tool = asked["node"], asked["tool"]
    peer = entry.reason == "peer"
    if not tool and not peer:
        return ""
    words = f" by {codes.name_of(codes.TOOLS, tool) if tool else 'somebody'}"
    if node != codes.NO_NODE:
        name = codes.name_of(codes.NODES, node)
        words += f" on {names.get(name, name)}"
    return words + (", over its own line" if peer else "")


# How an argument is rendered, by the word after the colon in a sentence of the events table.
FORMATS: Mapping[str, Callable[[int], str]] = {
    "mode": _table(codes.MODES),
    "role": _table(codes.ROLES),
    "state": _table(codes.STATES),
    "power": _table(codes.POWERS),
    "verdict": _table(codes.VERDICTS),
    "drop": _table(codes.DROPS),
    "rung": _table(codes.RUNGS),
    "method": _table(codes.METHODS),
    "proof": _sentence_of(codes.PROOFS),
    "check": _table(codes.CHECKS),
    "outcome": _table(codes.OUTCOMES),
    "flags": _flags,
    "evidence": _evidence,
    "operation": _operation,
    "gap": _gap,
    "event": _event,
}


class _Sentence(string.Formatter):
    """Fill a sentence of the events table with the values of one entry."""

    def __init__(self, entry: Entry, names: Names) -> None:
        self._entry = entry
        self._names = names

    def get_value(self, key: int | str, args: Any, kwargs: Any) -> Any:
        entry = self._entry
        if key == "node":
            return self._names.get(entry.node, entry.node) or BOARD_LABEL
        if key == "reason":
            row = reason_row(entry.reason_number)
            return row[2] if row else f"reason {entry.reason}"
        if key == "by":
            return _requester(entry, self._names)
        return getattr(entry, str(key), "?")

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "node":
            if value == codes.NO_NODE:
                return NOBODY
            name = codes.name_of(codes.NODES, value)
            return str(self._names.get(name, name))
        if format_spec in FORMATS:
            return FORMATS[format_spec](value)
        return str(value)
