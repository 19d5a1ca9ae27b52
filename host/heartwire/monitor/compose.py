"""From mentions to words: what happened, why, what the board did, and what a person should do now.

One message speaks of all mentions that belong together: those of one board, or in a storm of many. It reads the store
and the tables of advice, and decides nothing about who is told or when. Called by dispatch.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, select

from heartwire import journal, manual
from heartwire.journal import Entry
from heartwire.monitor import advice, planned, schema
from heartwire.monitor.outbox import Mention
from heartwire.monitor.shorten import ALSO, DO, ENDED, GAP, HAPPENED, STORY, WHY
from heartwire.monitor.store import Store
from heartwire_protocol import codes, events

# What stood in the decision ring so long before the newest event belongs to the story.
STORY_MS = 60_000
STORY_LINES = 14
LIST_LINES = 12
ADVICE_LINES = 4
STEP_LINES = 3
OPEN_MOST = 6
FACTS_MOST = 50
# Events whose first value is an epoch.
EPOCHS = ("granted", "adopted", "revoked", "running")
# Events of this rank and above (see advice) say why something was done.
CAUSE_RANK = 60


@dataclass(frozen=True)
class Words:
    """A message ready to go out."""

    severity: str
    title: str
    body: str


@dataclass(frozen=True)
class Item:
    """One mention with its content, as a line."""

    board_id: str
    board: str
    severity: str
    rank: int
    clears: bool
    at_ms: int
    sentence: str
    why: str
    do: str
    sequence: int
    journal: int
    event: str
    node: str = ""
    reason: str = ""
    epoch: int | None = None
    opens: str = ""

    @property
    def weight(self) -> tuple[int, int, int]:
        """What leads: the worse, then the weightier, then the newer."""
        return codes.SEVERITIES.index(self.severity), self.rank, self.at_ms

    def as_json(self) -> dict[str, Any]:
        """Return it as programs get it."""
        return {
            "board": self.board, "board_id": self.board_id, "node": self.node or None, "event": self.event,
            "reason": self.reason or None, "epoch": self.epoch, "sequence": self.sequence or None,
            "time": _moment(self.at_ms).replace(" ", "T"), "severity": self.severity, "sentence": self.sentence,
        }  # fmt: skip


class Composer:
    """Writes messages about what is in the store."""

    def __init__(
        self,
        store: Store,
        host: str | None = None,
        *,
        steps: Callable[[str], Sequence[str] | None] = lambda board: None,
    ) -> None:
        """`steps` says what the board of that name takes right now, as lines; None where that is not known."""
        self._store = store
        self._host = host or socket.gethostname()
        self._steps = steps

    def compose(self, mentions: Sequence[Mention]) -> Words:
        """Return the message about `mentions` (at least one)."""
        items = self._items(mentions)
        if not items:
            return Words("notice", "events that are no longer kept", f"{len(mentions)} events were removed since.")
        lead = max(items, key=lambda item: item.weight)
        boards = sorted({item.board for item in items})
        cleared = all(item.clears for item in items)
        severity = "cleared" if cleared else lead.severity
        where = boards[0] if len(boards) == 1 else f"{len(boards)} boards"
        title = f"{severity.upper()} {where}: {lead.sentence}"
        if cleared:
            title = f"CLEARED {where}: {lead.sentence}"
        others = len(items) - 1
        open_ = self._open(items) if others else None
        if others:
            title += f" (and {others} more)"
        if open_ == [] and not cleared:
            title += "; over now"
        parts = [f"{HAPPENED} {_moment(lead.at_ms)} {lead.board}: {lead.sentence}"]
        causes = [item.why for item in items if item.why and item.rank >= CAUSE_RANK and item is not lead]
        why = "; then: ".join(dict.fromkeys([*causes, lead.why] if lead.why else causes))
        parts.append(f"{WHY} {why or 'the record gives no reason'}")
        parts.append(self._story(lead, items))
        if len(boards) > 1:
            parts.append(_list(items, lead))
        if open_ is not None:
            parts.append(_ended(open_))
        serious = severity in ("alarm", "warning")
        parts.append(_advice(items, lead, self._steps(lead.board), serious=serious))
        parts.append(_source(items, boards, self._host))
        return Words(severity, title, GAP.join(part for part in parts if part))

    def facts(self, mentions: Sequence[Mention]) -> dict[str, Any]:
        """Return what the message about `mentions` is about, for programs: what leads, and all of it, newest last.

        `epoch` of the message is the one that is in force after these events; null where no record gives one.
        """
        items = self._items(mentions)
        if not items:
            return {}
        lead = max(items, key=lambda item: item.weight)
        head = {
            name: lead.as_json()[name] for name in ("board", "board_id", "node", "event", "reason", "sequence", "time")
        }
        return {**head, "epoch": self._epoch(lead, items), "events": [item.as_json() for item in items[-FACTS_MOST:]]}

    def _epoch(self, lead: Item, items: Sequence[Item]) -> int | None:
        event = schema.event.c
        last = max(item.sequence for item in items if (item.board_id, item.journal) == (lead.board_id, lead.journal))
        wanted = (
            select(event.raw)
            .where(event.board_id == lead.board_id, event.journal == lead.journal)
            .where(event.event.in_((events.GRANTED, events.ADOPTED)), event.sequence <= last)
            .order_by(event.sequence.desc())
            .limit(1)
        )
        with self._store.read() as connection:
            raw = connection.scalar(wanted)
        return journal.decode(raw).a if raw is not None else None

    def _items(self, mentions: Sequence[Mention]) -> list[Item]:
        found: list[Item] = []
        boards = self._boards()
        records = [mention.event_id for mention in mentions if mention.event_id is not None]
        observations = [mention.observation_id for mention in mentions if mention.observation_id is not None]
        clears = {mention.subject for mention in mentions if mention.clears}
        cleared_events = {mention.event_id for mention in mentions if mention.subject in clears}
        cleared_observations = {mention.observation_id for mention in mentions if mention.subject in clears}
        with self._store.read() as connection:
            for at in range(0, len(records), 500):
                rows = select(schema.event).where(schema.event.c.id.in_(records[at : at + 500]))
                for row in connection.execute(rows):
                    entry = journal.decode(row.raw)
                    name, labels = boards.get(row.board_id, (row.board_id, {}))
                    found.append(_of_entry(entry, row, name, labels, row.id in cleared_events))
            for at in range(0, len(observations), 500):
                rows = select(schema.observation).where(schema.observation.c.id.in_(observations[at : at + 500]))
                for row in connection.execute(rows):
                    name, _ = boards.get(row.board_id, (row.board_id.lstrip("?"), {}))
                    severity = codes.SEVERITIES[row.severity]
                    do = advice.OBSERVATIONS.get(row.kind, ("", advice.LOOK, "", ""))[1]
                    found.append(
                        Item(
                            row.board_id,
                            name,
                            severity,
                            50,
                            row.id in cleared_observations,
                            row.at_ms,
                            row.words,
                            advice.NOTICED,
                            do,
                            row.first,
                            row.journal,
                            row.kind,
                        )
                    )
        return sorted(found, key=lambda item: (item.at_ms, item.board, item.sequence))

    def _open(self, items: Sequence[Item]) -> list[str] | None:
        """Return what stands open on the boards of `items`; None where nothing ever did, so that nothing is over."""
        ids = sorted({item.board_id for item in items})
        problem = schema.problem.c
        wanted = select(problem.board_id, problem.kind, problem.node, problem.closed_ms)
        since = or_(problem.closed_ms.is_(None), problem.closed_ms >= min(item.at_ms for item in items))
        boards = self._boards()
        with self._store.read() as connection:
            rows = connection.execute(wanted.where(problem.board_id.in_(ids), since).order_by(problem.id)).all()
        if not rows:
            return None
        found = []
        for row in rows:
            if row.closed_ms is None:
                name, labels = boards.get(row.board_id, (row.board_id.lstrip("?"), {}))
                node = codes.NODES[row.node] if row.node < len(codes.NODES) else ""
                where = " ".join(word for word in (name if len(ids) > 1 else "", labels.get(node, node)) if word)
                found.append(f"{where or name}: {row.kind.replace('_', ' ')}")
        return list(dict.fromkeys(found))

    def _boards(self) -> dict[str, tuple[str, dict[str, str]]]:
        with self._store.read() as connection:
            return {
                row.board_id: (row.name, json.loads(row.labels)) for row in connection.execute(select(schema.board))
            }

    def _story(self, lead: Item, items: Sequence[Item]) -> str:
        """Return what the board did: its decisions around the leading event, told or not."""
        event = schema.event.c
        last_ms = max(item.at_ms for item in items if item.board_id == lead.board_id)
        wanted = (
            select(schema.event)
            .where(
                event.board_id == lead.board_id,
                event.journal == lead.journal,
                event.at_ms.between(last_ms - STORY_MS, last_ms),
            )
            .order_by(event.sequence.desc())
            .limit(10 * STORY_LINES)
        )
        _, labels = self._boards().get(lead.board_id, ("", {}))
        lines: list[str] = []
        with self._store.read() as connection:
            for row in connection.execute(wanted):
                entry = journal.decode(row.raw)
                told = entry.ring == "decision" and entry.severity != "info"
                if told or entry.event in ("late", "good_again"):
                    lines.append(f"  {_clock(row.at_ms)}  {entry.sentence(labels)}")
                if len(lines) == STORY_LINES:
                    break
        return "\n".join([STORY, *reversed(lines)]) if lines else ""


def _of_entry(entry: Entry, row: object, name: str, labels: dict[str, str], clears: bool) -> Item:
    known = advice.row_of(entry.event)
    severity = codes.SEVERITIES[getattr(row, "severity", 0)]
    # What was meant to go away is not to be looked for, nor what a server says while it is well.
    meant = entry.event in planned.AWAY and severity != entry.severity
    well = entry.event == "state_reported" and severity == "info"
    do = "" if meant or well else known.do
    why = journal.reason_words(entry.reason) if entry.reason != "none" else known.why
    return Item(
        getattr(row, "board_id", ""),
        name,
        severity,
        known.rank,
        clears,
        getattr(row, "at_ms", 0),
        entry.sentence(labels),
        why,
        do,
        entry.sequence,
        getattr(row, "journal", 1),
        entry.event,
        entry.node,
        entry.reason if entry.reason != "none" else "",
        entry.a if entry.event in EPOCHS else None,
        known.opens,
    )


def _ended(open_: Sequence[str]) -> str:
    """Return what stands open now."""
    if not open_:
        return f"{ENDED} nothing of it stands open."
    more = f"; and {len(open_) - OPEN_MOST} more" if len(open_) > OPEN_MOST else ""
    return f"{ENDED} open: {'; '.join(open_[:OPEN_MOST])}{more}."


def _list(items: Sequence[Item], lead: Item) -> str:
    """Return what else happened, the worst first, cut where it gets too long."""
    others = sorted((item for item in items if item is not lead), key=lambda item: item.weight, reverse=True)
    lines = [f"  {_clock(item.at_ms)}  {item.board}: {item.sentence}" for item in others[:LIST_LINES]]
    if len(others) > LIST_LINES:
        lines.append(f"  and {len(others) - LIST_LINES} more")
    return "\n".join([ALSO, *lines])


def _advice(items: Sequence[Item], lead: Item, steps: Sequence[str] | None, *, serious: bool) -> str:
    """Return what to do now: for the leading event first, then what the board takes, then what the others add.

    No command that does something is named where it is known that the board does not take it.
    """
    ordered = [lead, *sorted((item for item in items if item is not lead), key=lambda item: item.weight, reverse=True)]
    taken = None if steps is None else {verb for step in steps for verb in advice.acts_in(step)}
    if taken is None and any(item.opens == "unproven" for item in items):
        taken = set()  # after a fence that failed the board takes next to nothing
    texts = [item.do if taken is None else advice.as_far_as_taken(item.do, taken) for item in ordered]
    useful = list(dict.fromkeys(text for text in texts if text not in ("", "Nothing.")))[:ADVICE_LINES]
    first = useful[:1] if texts[0] in useful else []
    lines = [*first, *((steps or ())[:STEP_LINES] if serious else ()), *useful[len(first) :]]
    named = (manual.runbook_of(advice.problem_of(item.event)) for item in ordered if serious and not item.clears)
    runbook = next(filter(None, named), "")
    if runbook:
        lines.append(f"All steps: `{runbook}`.")
    return "\n".join([DO, *[f"  - {do}" for do in lines]]) if lines else f"{DO} nothing."


def _source(items: Sequence[Item], boards: Sequence[str], host: str) -> str:
    numbers = [item.sequence for item in items if item.sequence]
    where = f"Board {boards[0]}" if len(boards) == 1 else f"Boards {', '.join(boards[:8])}"
    span = ""
    if numbers and len(boards) == 1:
        first, last = min(numbers), max(numbers)
        span = f", record{'' if first == last else 's'} {first}" + ("" if first == last else f" to {last}")
    return f"{where}{span}. Told by the monitor on {host}."


def _moment(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03}Z"


def _clock(at_ms: int) -> str:
    return _moment(at_ms)[11:]
