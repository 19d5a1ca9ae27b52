"""How things stand by the store: boards, open problems, what is not told, whether a monitor is at work. Reads only.

Called by `heartwire monitor status`, `heartwire check --store` and the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heartwire.answers import iso
from heartwire.monitor import advice
from heartwire.monitor.colleagues import Colleague, colleagues
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.query import BoardRow, Reader
from heartwire.monitor.store import Store, is_claimed
from heartwire_protocol import codes

# What a channel counts of a message that has not gone out.
UNSENT = ("waiting", "pending", "sending")


@dataclass(frozen=True)
class Problem:
    """One open problem; `node` is "" for one of the whole board, `alarm` whether an alarm opened it."""

    board: str
    kind: str
    node: str
    opened_ms: int
    alarm: bool

    @property
    def since(self) -> str:
        """When it was opened, as ISO 8601 in UTC."""
        return when(self.opened_ms)

    @property
    def words(self) -> str:
        """The problem in a few words: "rack-1 a: silent since 2030-01-31T12:00:00.000Z"."""
        place = f"{self.board} {self.node}".rstrip()
        return f"{place}: {self.kind.replace('_', ' ')} since {self.since}"


@dataclass(frozen=True)
class Standing:
    """What the store says of all its boards, or of one."""

    boards: tuple[BoardRow, ...]
    problems: tuple[Problem, ...]
    channels: Mapping[str, Mapping[str, int]]
    events: int
    running: bool | None  # whether a monitor has the store; None where that cannot be seen
    monitors: tuple[Colleague, ...] = ()  # of a store that many share

    @property
    def unsent(self) -> int:
        """Messages and mentions that have not gone out."""
        return sum(states.get(state, 0) for states in self.channels.values() for state in UNSENT)

    def troubles(self) -> list[tuple[str, bool]]:
        """Return what needs a person's attention, in words, each with whether that is now."""
        found = [(problem.words, problem.alarm) for problem in self.problems]
        if self.running is False:
            found.append(("no monitor is at work on this store: nobody would be told", True))
        else:
            gone = [one for one in self.monitors if not one.at_work and not one.ended]
            found += [(f"the monitor on {one.name} says nothing since {when(one.seen_ms)}", False) for one in gone]
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the documented keys."""
        return {
            "events": self.events,
            "running": self.running,
            "unsent": self.unsent,
            "boards": [
                {
                    "board_id": board.board_id,
                    "name": board.name,
                    "boot": board.boot,
                    "journal": board.journal,
                    "stored": board.cursor,
                    "reached": when(board.reached_ms),
                }
                for board in self.boards
            ],
            "problems": [
                {
                    "board": problem.board,
                    "kind": problem.kind,
                    "node": problem.node or None,
                    "since": problem.since,
                    "alarm": problem.alarm,
                }
                for problem in self.problems
            ],
            "monitors": [
                {"name": one.name, "seen": when(one.seen_ms), "at_work": one.at_work, "ended": one.ended}
                for one in self.monitors
            ],
            "channels": {name: dict(states) for name, states in self.channels.items()},
        }


def when(at_ms: int) -> str:
    """Return a time of the store as ISO 8601 in UTC."""
    return iso(datetime.fromtimestamp(at_ms / 1000, UTC)) or ""


def open_problems(reader: Reader, board_id: str | None = None) -> list[Problem]:
    """Return what is open, of one board or of all. Raises StorageProblem."""
    names = {board.board_id: board.name for board in reader.boards()}
    alarming = advice.alarming()
    return [
        Problem(
            names.get(row["board_id"], row["board_id"].lstrip("?")),
            row["kind"],
            codes.name_of(codes.NODES, row["node"]) if row["node"] != codes.NO_NODE else "",
            row["opened_ms"],
            row["kind"] in alarming,
        )
        for row in reader.problems()
        if board_id is None or row["board_id"] == board_id
    ]


def standing(store: Store, name: str | None = None) -> Standing:
    """Return how things stand; `name` is the only board wanted. Raises BadConfig if there is none, StorageProblem."""
    reader = Reader(store)
    wanted = reader.board(name) if name else None
    boards = [wanted] if wanted is not None else reader.boards()
    problems = open_problems(reader, wanted.board_id if wanted is not None else None)
    monitors: tuple[Colleague, ...] = ()
    if store.is_shared:
        with store.read() as connection:
            monitors = tuple(colleagues(store, connection))
        running: bool | None = any(one.at_work for one in monitors)
    else:
        running = is_claimed(Path(str(store.engine.url.database)))
    return Standing(tuple(boards), tuple(problems), Outbox(store).counts(), reader.count(), running, monitors)
