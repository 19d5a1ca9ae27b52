"""From what was stored to who is told: opens and closes problems, and makes one mention per subject and channel.

Runs inside the transaction that stores the events, so an event is never kept without its mentions, nor the other way
round. It decides by the tables of advice and the channels' settings only; it sends nothing. Called by archive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from heartwire.journal import Entry
from heartwire.monitor import advice, schema
from heartwire.monitor.settings import ChannelSettings
from heartwire_protocol import codes

BOARD = codes.NO_NODE
# Roles that end a fence for the person who was told of it.
_BACK = (codes.ROLE_STANDBY, codes.ROLE_ACTIVE)


@dataclass(frozen=True)
class Subject:
    """One thing people may be told: an event or an observation, as it stands in the store."""

    key: str
    board_id: str
    board_name: str
    severity: str
    at_ms: int
    event_id: int | None = None
    observation_id: int | None = None


def key_of(board_id: str, raw: bytes) -> str:
    """Return the key of a record: the same for every monitor that ever reads it, whatever the way."""
    return "e" + hashlib.sha256(board_id.encode() + raw).hexdigest()[:22]


class Router:
    """Knows the channels."""

    def __init__(self, channels: Sequence[ChannelSettings]) -> None:
        self._channels = tuple(channels)

    @property
    def channels(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(channel.name for channel in self._channels)

    def event(self, connection: Connection, subject: Subject, entry: Entry, *, quiet: bool = False) -> int:
        """Open and close what `entry` opens and closes, and unless `quiet` mention it.

        Returns how many channels are to be told.
        """
        row = advice.row_of(entry.event)
        node = codes.NODES.index(entry.node) if entry.node in codes.NODES else BOARD
        told = set()
        if row.closes and _really_closes(entry):
            told = self._close(connection, subject, row.closes, None if row.anywhere else node)
        if row.opens and _really_opens(entry):
            self._open(connection, subject, row.opens, node)
        return 0 if quiet else self._mention(connection, subject, told)

    def observation(self, connection: Connection, subject: Subject, kind: str) -> int:
        """Do the same for an observation of the monitor."""
        _, _, opens, closes = advice.OBSERVATIONS[kind]
        told = self._close(connection, subject, (closes,), None) if closes else set()
        if opens:
            self._open(connection, subject, opens, BOARD)
        return self._mention(connection, subject, told)

    def _open(self, connection: Connection, subject: Subject, kind: str, node: int) -> None:
        problem = schema.problem.c
        already = select(problem.id).where(
            problem.board_id == subject.board_id,
            problem.kind == kind,
            problem.node == node,
            problem.closed_ms.is_(None),
        )
        if connection.scalar(already) is None:
            row = {
                "board_id": subject.board_id,
                "kind": kind,
                "node": node,
                "opened_by": subject.key,
                "opened_ms": subject.at_ms,
            }
            connection.execute(insert(schema.problem), row)

    def _close(self, connection: Connection, subject: Subject, kinds: tuple[str, ...], node: int | None) -> set[str]:
        """Close open problems; return the channels that were told of one of them."""
        problem = schema.problem.c
        wanted = select(problem.id, problem.opened_by).where(
            problem.board_id == subject.board_id, problem.kind.in_(kinds), problem.closed_ms.is_(None)
        )
        if node is not None:
            wanted = wanted.where(problem.node.in_((node, BOARD)))
        found = connection.execute(wanted).all()
        if not found:
            return set()
        connection.execute(
            update(schema.problem)
            .where(problem.id.in_([row.id for row in found]))
            .values(closed_by=subject.key, closed_ms=subject.at_ms)
        )
        mention = schema.mention.c
        told = select(mention.channel).where(mention.subject.in_([row.opened_by for row in found])).distinct()
        return set(connection.scalars(told))

    def _mention(self, connection: Connection, subject: Subject, told: set[str]) -> int:
        level = codes.SEVERITIES.index(subject.severity)
        rows = []
        for channel in self._channels:
            if channel.boards and subject.board_name not in channel.boards:
                continue
            clears = channel.cleared and channel.name in told
            if level < codes.SEVERITIES.index(channel.severity) and not clears:
                continue
            rows.append(
                {
                    "subject": subject.key,
                    "channel": channel.name,
                    "board_id": subject.board_id,
                    "event_id": subject.event_id,
                    "observation_id": subject.observation_id,
                    "clears": clears,
                    "state": "waiting",
                    "at_ms": subject.at_ms,
                }
            )
        if not rows:
            return 0
        # The other monitor may have claimed this subject before we knew it: its row stands, and learns what it is.
        mention = schema.mention.c
        same = mention.subject == subject.key
        known = set(connection.scalars(select(mention.channel).where(same)))
        if known:
            connection.execute(
                update(schema.mention)
                .where(same, mention.event_id.is_(None), mention.observation_id.is_(None))
                .values(event_id=subject.event_id, board_id=subject.board_id, at_ms=subject.at_ms)
            )
        rows = [row for row in rows if row["channel"] not in known]
        if rows:
            connection.execute(insert(schema.mention), rows)
        return len(rows)


def _really_closes(entry: Entry) -> bool:
    """Tell whether this entry ends a problem: some events do so only with certain arguments."""
    if entry.event == "role_changed":
        return entry.a in _BACK
    if entry.event == "boot":
        return entry.a == 0
    return entry.event != "state_reported" or entry.a != codes.STATE_DEGRADED


def _really_opens(entry: Entry) -> bool:
    return entry.event != "state_reported" or entry.a == codes.STATE_DEGRADED
