"""The reading pages: racks, one rack, the journal, why, notifications, notes. Each a function of a request.

Everything shown comes from the monitor's views and its store, by the readers that the command line uses; a store that
is away costs a page its part, never the view of the racks. They run in threads of the server's own and write nothing.
Called by app.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from heartwire import why
from heartwire.errors import BadConfig, StorageProblem, UsageProblem
from heartwire.monitor import export, standing
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.query import BoardRow, Filter, Found, Reader
from heartwire.monitor.views import View
from heartwire.web import racks
from heartwire_protocol import codes, events

# Rows of one page.
PAGE_ROWS = 50
RECENT_ROWS = 12
MESSAGES = 100
NOTES = 100
ACTIVATIONS = 20
# Of one failover: a drain of some minutes, with what both nodes say meanwhile.
STORY_ROWS = 300
# Records before and after one, among which its reasons are looked for: why.BEFORE_MS holds a few dozen of a busy rack.
WHY_BEFORE = 400
WHY_AFTER = 100
# As long as any filter that means something.
FIELD_MAX = 64
NUMBER_MAX = 2**63 - 1
EVENTS = tuple(row[1] for row in events.EVENTS)
_DIGITS = re.compile("[0-9]{1,18}")


class NotFound(UsageProblem):
    """The page that was asked for is about something that there is not."""


@dataclass(frozen=True)
class Source:
    """What pages are made of; run fills it, tests hand in their own."""

    views: Sequence[View]
    reader: Reader
    outbox: Outbox
    clock: Callable[[], float]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def view(self, name: str) -> View:
        """Return the view of the rack `name`. Raises NotFound."""
        for view in self.views:
            if view.name == name:
                return view
        raise NotFound("there is no such rack in this monitor's settings", "choose one on the page of all racks")

    def racks(self) -> list[racks.Rack]:
        """Return all racks, as they are now."""
        now_s = self.clock()
        return [racks.rack_of(view, now_s) for view in self.views]


@dataclass(frozen=True)
class Row:
    """One stored event, ready to be shown."""

    id: int
    at: str
    board: str
    sequence: int
    severity: str
    look: str
    event: str
    sentence: str


@dataclass(frozen=True)
class Problem:
    """One open problem, ready to be shown."""

    board: str
    words: str
    since: str


SEVERITY_LOOKS = {"alarm": "bad", "warning": "warn", "notice": "", "info": "dim", "cleared": "good"}


def when(at_ms: int | None) -> str:
    """Return a time of the store for people: UTC, to the second."""
    if not at_ms:
        return ""
    try:
        return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"


def overview(source: Source) -> dict[str, Any]:
    """Return what the page of all racks shows."""
    found = source.racks()
    problems, store_trouble = _problems(source)
    return {"racks": found, "counts": racks.counts_of(found), "problems": problems, "store_trouble": store_trouble}


def rack(source: Source, name: str) -> dict[str, Any]:
    """Return what the page of one rack shows. Raises NotFound."""
    view = source.view(name)
    found = racks.rack_of(view, source.clock())
    problems, trouble = _problems(source)
    rows: list[Row] = []
    try:
        board = _board_of(source, view)
        if board is not None:
            rows = _rows(source, source.reader.newest(Filter(board.board_id), RECENT_ROWS))
    except StorageProblem as problem:
        trouble = problem.words
    return {
        "rack": found,
        "chart": racks.chart_of(view, source.clock()),
        "problems": [one for one in problems if one.board == name],
        "rows": rows[::-1],
        "store_trouble": trouble,
    }


def failover(source: Source, name: str, before: int | None) -> dict[str, Any]:
    """Return what the page of a rack's failovers shows: the last, or the one up to the record `before`.

    Raises NotFound, StorageProblem.
    """
    view = source.view(name)
    page: dict[str, Any] = {"name": name, "title": "", "rows": [], "others": [], "chosen": 0, "query": ""}
    board = _board_of(source, view)
    if board is None:
        return page
    page["others"] = _rows(source, source.reader.newest(Filter(board.board_id, event="granted"), ACTIVATIONS))[::-1]
    try:
        found = export.story(source.reader, board.board_id, before)
    except BadConfig:
        return page
    first, last = found.moments[0].entry.sequence, found.moments[-1].entry.sequence
    records = source.reader.all(Filter(board.board_id, since=first), PAGE_ROWS)
    ours = itertools.takewhile(lambda one: one.entry.sequence <= last, itertools.islice(records, STORY_ROWS))
    page["rows"] = _rows(source, [one for one in ours if one.journal == board.journal])
    granted = [one.entry.sequence for one in found.moments if one.entry.event == "granted"]
    page["title"], page["chosen"] = found.title, granted[-1] if granted else 0
    page["query"] = f"?before={before}" if before is not None else ""
    return page


def picture(source: Source, name: str, before: int | None) -> str:
    """Return the picture of the same failover. Raises NotFound, StorageProblem."""
    board = _board_of(source, source.view(name))
    try:
        if board is not None:
            return export.timeline(source.reader, board.board_id, before)
    except BadConfig:
        pass
    raise NotFound("nobody was made active in what is kept", "look at the journal")


def journal(source: Source, asked: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of the journal shows by its filters, a page of it, the newest first.

    A filter that makes no sense gives its problem instead of rows. Raises StorageProblem.
    """
    filters = {name: asked.get(name, "")[:FIELD_MAX].strip() for name in FILTERS}
    boards = source.reader.boards()
    page: dict[str, Any] = {
        "filters": filters,
        "boards": [board.name for board in boards],
        "nodes": codes.NODES,
        "severities": codes.SEVERITIES,
        "events": EVENTS,
        "rows": [],
        "older": "",
        "newest": "",
        "problem": None,
    }
    try:
        wanted = _filter(source, filters)
        before = number(asked.get("before", ""))
        found = source.reader.newest(wanted, PAGE_ROWS + 1, before)
    except (UsageProblem, BadConfig) as problem:
        return {**page, "problem": problem}
    # Of the oldest first: the one too many is the first.
    shown = found[-PAGE_ROWS:]
    page["rows"] = _rows(source, shown)[::-1]
    kept = {name: value for name, value in filters.items() if value}
    if len(found) > PAGE_ROWS:
        page["older"] = urlencode({**kept, "before": shown[0].id})
    if before is not None:
        page["newest"] = urlencode(kept) or "-"
    return page


FILTERS = ("rack", "node", "severity", "event", "since", "until")


def _filter(source: Source, filters: Mapping[str, str]) -> Filter:
    """Return the filter that a form says. Raises UsageProblem, BadConfig."""
    for name, known in (("node", codes.NODES), ("severity", codes.SEVERITIES)):
        if filters[name] and filters[name] not in known:
            raise UsageProblem(f"there is no {name} {filters[name]!r}", f"choose one of {', '.join(known)}")
    try:
        wanted = export.filter_of(
            source.reader,
            now=source.now(),
            board=filters["rack"] or None,
            node=filters["node"] or None,
            severity=filters["severity"] or None,
            event=filters["event"] or None,
            since=filters["since"] or None,
            until=filters["until"] or None,
        )
    except (OverflowError, ValueError):
        raise UsageProblem("there is no such time", "write 2h, 30d, or 2030-01-31T12:00") from None
    if isinstance(wanted.since, int) and wanted.since > NUMBER_MAX:
        raise UsageProblem("there is no record of such a number", "write 1234, 2h, or 2030-01-31T12:00")
    return wanted


def number(text: str) -> int | None:
    """Return the number of a record in an address, None where it is empty. Raises NotFound."""
    if not text:
        return None
    if not _DIGITS.fullmatch(text):
        raise NotFound("that is no number of a record", "follow the links of the journal")
    return int(text)


def explain(source: Source, record: int) -> dict[str, Any]:
    """Return why the record with the store's number `record` was written. Raises NotFound, StorageProblem."""
    first = next(iter(source.reader.all(Filter(), 1, after=record - 1)), None)
    if first is None or first.id != record:
        raise NotFound("there is no such record in the store (any more)", "follow the links of the journal")
    ours = Filter(first.board_id)
    after = _some(source.reader.all(ours, WHY_AFTER, after=record), WHY_AFTER)
    around = [*source.reader.newest(ours, WHY_BEFORE, record), first, *after]
    entries = [one.entry for one in around if one.journal == first.journal]
    found = why.explain(entries, first.entry.sequence)
    # Its time stands above, in UTC as on all pages; the command's is that of the machine it runs on.
    found = replace(found, decision=replace(found.decision, wall=None))
    labels = _labels(source).get(first.board_id, {})
    return {
        "row": _rows(source, [first])[0],
        "lines": found.lines(labels)[1:],
        "json": first.entry.as_json(labels),
    }


def _some(found: Iterator[Found], count: int) -> list[Found]:
    return [one for one, _ in zip(found, range(count), strict=False)]


def notifications(source: Source) -> dict[str, Any]:
    """Return what was told, and what is to be told. Raises StorageProblem."""
    unsent = source.outbox.latest(MESSAGES, unsent=True)
    sent = [row for row in source.outbox.latest(MESSAGES) if row["state"] == "sent"]
    counts = [
        {"channel": name, **{state: states.get(state, 0) for state in ("waiting", "pending", "sending", "sent")}}
        for name, states in sorted(source.outbox.counts().items())
    ]
    return {"unsent": [_message(row) for row in unsent], "sent": [_message(row) for row in sent], "counts": counts}


def notes(source: Source) -> dict[str, Any]:
    """Return what the monitor itself noticed, the newest first. Raises StorageProblem."""
    names = {board.board_id: board.name for board in source.reader.boards()}
    rows = [
        {
            "at": when(row["at_ms"]),
            "board": names.get(row["board_id"], str(row["board_id"]).lstrip("?")),
            "severity": codes.SEVERITIES[row["severity"]],
            "look": SEVERITY_LOOKS.get(codes.SEVERITIES[row["severity"]], ""),
            "kind": str(row["kind"]).replace("_", " "),
            "words": row["words"],
        }
        for row in source.reader.observations(limit=NOTES)
    ]
    return {"rows": rows[::-1]}


def _message(row: Mapping[str, Any]) -> dict[str, Any]:
    state = "not sure whether a copy went out" if row["unsure"] else ""
    return {
        **{name: row[name] for name in ("channel", "severity", "title", "body", "state", "attempts", "trouble")},
        "look": SEVERITY_LOOKS.get(str(row["severity"]), ""),
        "made": when(row["made_ms"]),
        "sent": when(row["sent_ms"]),
        "unsure": state,
    }


def _board_of(source: Source, view: View) -> BoardRow | None:
    """Return the board of the store that a view is about, None if it was never met."""
    rows = source.reader.boards()
    same = [row for row in rows if row.name == view.name]
    return max(same, key=lambda row: (row.board_id == view.board_id, row.reached_ms), default=None)


def _problems(source: Source) -> tuple[list[Problem], str]:
    """Return the open problems, and why they are not known where the store is away."""
    try:
        found = standing.open_problems(source.reader)
    except StorageProblem as problem:
        return [], problem.words
    return [
        Problem(
            one.board,
            one.kind.replace("_", " ") + (f": node {one.node}" if one.node else ""),
            when(one.opened_ms),
        )
        for one in found
    ], ""


def _labels(source: Source) -> dict[str, dict[str, str]]:
    return {board.board_id: board.labels for board in source.reader.boards()}


def _rows(source: Source, found: Sequence[Found]) -> list[Row]:
    labels = _labels(source)
    return [
        Row(
            one.id,
            when(one.at_ms),
            one.board,
            one.entry.sequence,
            one.entry.severity,
            SEVERITY_LOOKS.get(one.entry.severity, ""),
            one.entry.event,
            one.entry.sentence(labels.get(one.board_id, {})),
        )
        for one in found
    ]
