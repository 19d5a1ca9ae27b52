"""What nobody need be paged for: what happens to a node that is away on purpose, told by the records before.

A node in maintenance may fall silent, and so may one that said it goes down, whose power a person cut, or whose relay
is being tested. Its records are kept and told as notices; the end of a maintenance that leaves a node silent is a
warning. What must never happen (two run, a fence fails, a relay does not cut) stays what it is. Reads the store inside
the transaction of the archive, and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from heartwire import journal
from heartwire.journal import Entry
from heartwire.monitor import schema
from heartwire_protocol import bits, codes, events

# What a node that is away shows by itself; `disagree` only where its power is off although nothing cuts it.
AWAY = frozenset(
    ("late", "dead", "altered", "half_line", "line_fault", "disagree", "boot_slow", "feed_lost", "service_failed")
)
# What all lines together show while the whole board is in maintenance.
BOARD_AWAY = frozenset(("all_silent",))
# A server that was cut or tested is back, or is looked after, by then; the default boot grace is 300 s.
RETURN_MS = 600_000
# What is left of maintenance does not run while the board is off, so it may end later than it said.
OVERDUE_MS = 3_600_000
BOARD = codes.NO_NODE


@dataclass(frozen=True)
class Journal:
    """One board's journal as the store holds it, as far as it had come when a record was written."""

    connection: Connection
    board_id: str
    number: int

    def last(self, kind: int, node: int | None, before: Entry) -> tuple[Entry, int] | None:
        """Return the newest record of an event before another one, with its time in ms; `node` None for any."""
        return self._newest(kind, node, before.sequence)

    def _newest(self, kind: int, node: int | None, before: int | None) -> tuple[Entry, int] | None:
        event = schema.event.c
        wanted = select(event.raw, event.at_ms).where(
            event.event == kind, event.board_id == self.board_id, event.journal == self.number
        )
        if before is not None:
            wanted = wanted.where(event.sequence < before)
        if node is not None:
            wanted = wanted.where(event.node == node)
        row = self.connection.execute(wanted.order_by(event.sequence.desc()).limit(1)).one_or_none()
        return (journal.decode(row.raw), row.at_ms) if row is not None else None

    def newest(self, kind: int, node: int) -> tuple[Entry, int] | None:
        """Return the newest record of an event of all that are stored, with its time in ms."""
        return self._newest(kind, node, None)

    def silent(self) -> set[int]:
        """Return the nodes that stand open as silent."""
        problem = schema.problem.c
        wanted = select(problem.node).where(
            problem.board_id == self.board_id, problem.kind == "silent", problem.closed_ms.is_(None)
        )
        return set(self.connection.scalars(wanted))


def severity_of(found: Journal, entry: Entry, at_ms: int) -> str:
    """Return how much a record matters to people, written at `at_ms`: as it says itself, unless it was meant."""
    node = codes.NODES.index(entry.node) if entry.node in codes.NODES else BOARD
    if entry.event == "maintenance_ended":
        silent = found.silent() if node == BOARD else found.silent() & {node}
        return "warning" if any(not _said_so(found, one, entry) for one in silent) else entry.severity
    if codes.SEVERITIES.index(entry.severity) <= codes.SEVERITIES.index("notice"):
        return entry.severity
    if entry.event == "fence_fired" and entry.reason == "operator":
        return "notice" if _by_a_person(found, entry) else entry.severity
    if entry.event in BOARD_AWAY:
        return "notice" if _in_maintenance(found, BOARD, entry, at_ms) else entry.severity
    if entry.event not in AWAY or (entry.event == "disagree" and entry.a != codes.POWER_ON):
        return entry.severity
    away = (
        _in_maintenance(found, node, entry, at_ms)
        or _in_maintenance(found, BOARD, entry, at_ms)
        or _said_so(found, node, entry)
        or _under_hand(found, node, entry, at_ms)
    )
    return "notice" if away else entry.severity


def board_is_maintained(found: Journal, at_ms: int) -> bool:
    """Tell whether the whole board was in maintenance when it was last heard, and may still be at `at_ms`."""
    began = found.newest(events.MAINTENANCE_BEGAN, BOARD)
    if began is None or at_ms > began[1] + began[0].a * 1000:
        return False
    ended = found.newest(events.MAINTENANCE_ENDED, BOARD)
    return ended is None or ended[0].sequence < began[0].sequence


def _in_maintenance(found: Journal, node: int, entry: Entry, at_ms: int) -> bool:
    began = found.last(events.MAINTENANCE_BEGAN, node, entry)
    if began is None or at_ms - began[1] > began[0].a * 1000 + OVERDUE_MS:
        return False
    ended = found.last(events.MAINTENANCE_ENDED, node, entry)
    return ended is None or ended[0].sequence < began[0].sequence


def _said_so(found: Journal, node: int, entry: Entry) -> bool:
    """Tell whether the node said last that it goes down on purpose."""
    said = found.last(events.STATE_REPORTED, node, entry)
    if said is None or said[0].a != codes.STATE_PLANNED_OFF:
        return False
    # What it said when it came back may be among what was missed; that it became active is not so soon rotated out.
    since = [found.last(kind, node, entry) for kind in (events.GRANTED, events.ADOPTED)]
    return not any(later is not None and later[0].sequence > said[0].sequence for later in since)


def _under_hand(found: Journal, node: int, entry: Entry, at_ms: int) -> bool:
    """Tell whether a person has just cut its power or pressed its button, for a test or for good."""
    for kind in (events.PROOF_BEGAN, events.FRONT_PRESSED, events.FENCE_FIRED):
        last = found.last(kind, node, entry)
        if last is None or at_ms - last[1] > RETURN_MS:
            continue
        if kind != events.FENCE_FIRED or (last[0].reason == "operator" and _by_a_person(found, last[0])):
            return True
    return False


def _by_a_person(found: Journal, entry: Entry) -> bool:
    """Tell whether somebody typed the command that led to `entry`, rather than a cluster's fence agent."""
    asked = found.last(events.REQUESTED, None, entry)
    if asked is None or journal.operation_of(asked[0]) != "fence":
        return False
    return bits.unpack(bits.ASKED, asked[0].b)["tool"] == codes.TOOL_COMMAND
