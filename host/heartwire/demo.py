"""The demo: a failover on a virtual rack, told step by step, and judged at the end.

Nothing is staged: the real firmware, the real agents and the real host link do what they do, and the story waits for
it. Every expectation that fails makes the verdict "wrong". Called by `heartwire demo`, which chooses how it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from heartwire.answers import NodeStatus, Status
from heartwire.board import Board
from heartwire.chain import Finding
from heartwire.journal import Entry
from heartwire.virtual.product import ProductRack

POLL_S = 0.12
LIMIT_S = 20.0
STEADY_S = 1.5

# What a right failover says, in this order, after the crash: (event, node, words for the timeline).
MILESTONES = (
    ("late", "a", "a is late: the intent to fence it is made durable"),
    ("dead", "a", "a is dead"),
    ("fence_fired", "a", "its power relay opens"),
    ("off_proven", "a", "its power is measured off"),
    ("granted", "b", "epoch 2 is durable, b is granted"),
    ("running", "b", "b's service runs"),
    ("relay_released", "a", "a gets its power back"),
    ("new_incarnation", "a", "a's agent is back"),
    ("good_again", "a", "a gives good heartbeats, in quarantine"),
)


class Screen(Protocol):
    """What the demo needs to be seen: told, updated, and given each new record."""

    def tell(self, words: str) -> None:
        """Say what happens next."""

    def update(self, status: Status, nodes: list[NodeStatus]) -> None:
        """Show the board's state."""

    def record(self, entry: Entry) -> None:
        """Show a new journal record."""


@dataclass
class Outcome:
    """How the demo ended: expectations that failed, the timeline as (ms after the crash, words), the whole journal."""

    wrong: list[str] = field(default_factory=list)
    timeline: list[tuple[int, str]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    writers: list[tuple[str, int]] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Tell whether the failover was right."""
        return not self.wrong


class Demo:
    """One run on `rack`, shown on `screen`."""

    def __init__(self, rack: ProductRack, screen: Screen) -> None:
        self._rack = rack
        self._screen = screen
        self._after = 0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Tell the story; return how it ended. Raises HeartwireError if the rack itself cannot run."""
        self._screen.tell("two servers boot, and a board that only observes; settings and keys go to the board")
        self._rack.start()
        with self._rack.open() as board:
            self._wait(board, "both servers heard", lambda status, nodes: all(node.verdict == "good" for node in nodes))
            self._screen.tell("the configure key arms the board: auto mode")
            board.set_mode("auto")
            self._wait(
                board, "a active and running", lambda status, _: status.active == "a" and self._rack.is_running("a")
            )
            self._steady(board, STEADY_S)
            self._screen.tell("server a crashes: kernel panic, power still on, nobody there to say goodbye")
            crash = datetime.now(UTC)
            self._rack.servers["a"].crash()
            self._wait(
                board, "b active and running", lambda status, _: status.active == "b" and self._rack.is_running("b")
            )
            self._screen.tell("b is active; a gets its power back and boots into quarantine")
            self._wait(board, "a back in quarantine", self._is_back)
            # A record is shown only once it is durable, and a routine one may wait for a quiet moment to be written.
            self._wait(board, "the last record durable", lambda _status, _nodes: self._has_said("good_again", "a"))
            self._judge(board.status(), board.nodes(), crash)
        return self.outcome

    @staticmethod
    def _is_back(_: Status, nodes: list[NodeStatus]) -> bool:
        return any(node.node == "a" and node.role == "quarantined" and node.verdict == "good" for node in nodes)

    def _has_said(self, event: str, node: str) -> bool:
        return any((row.event, row.node) == (event, node) for row in self.outcome.entries)

    def _look(self, board: Board) -> tuple[Status, list[NodeStatus]]:
        status, nodes = board.status(), board.nodes()
        for entry in board.events(self._after):
            if isinstance(entry, Finding):
                self.outcome.wrong.append(str(entry))
                continue
            self._after = entry.sequence
            self.outcome.entries.append(entry)
            self._screen.record(entry)
        self._screen.update(status, nodes)
        return status, nodes

    def _wait(self, board: Board, what: str, condition: Callable[[Status, list[NodeStatus]], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition(*self._look(board)):
            if time.monotonic() > deadline:
                self.outcome.wrong.append(f"{what}: not within {LIMIT_S:g} s")
                return
            time.sleep(POLL_S)

    def _steady(self, board: Board, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look(board)
            time.sleep(POLL_S)

    def _judge(self, status: Status, nodes: list[NodeStatus], crash: datetime) -> None:
        outcome = self.outcome
        entries = [entry for entry in outcome.entries if entry.wall and entry.wall >= crash]
        outcome.timeline.append((0, "a crashes"))
        at = 0
        for event, node, words in MILESTONES:
            found = next((row for row in entries[at:] if (row.event, row.node) == (event, node)), None)
            if found is None or found.wall is None:
                outcome.wrong.append(f"the journal does not say in its place: {words}")
                continue
            at = entries.index(found)
            outcome.timeline.append((round((found.wall - crash).total_seconds() * 1000), words))
        if (status.active, status.epoch, status.holder) != ("b", 2, "b"):
            outcome.wrong.append(
                f"active {status.active}, epoch {status.epoch}, holder {status.holder} instead of b, 2, b"
            )
        outcome.writers = self._rack.writers()
        if outcome.writers != [("a", 1), ("b", 2)]:
            outcome.wrong.append(
                f"the services wrote as {outcome.writers} instead of a under epoch 1, then b under epoch 2"
            )
        if self._rack.is_running("a"):
            outcome.wrong.append("a runs its service in quarantine")
