"""Reach the board, and keep asking it through short troubles: another program on its port, a cable being plugged in.

A cluster's nodes share one board and meet at its port, so that a busy one is waited for. It repeats questions, never
commands. Called by fence.actions and fence.main.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from heartwire.answers import NodeStatus, Status
from heartwire.board import Board
from heartwire.errors import BoardNotFound, HeartwireError, NoAnswer, PortBusy, Unplugged
from heartwire.fence.agent_line import SCHEME, AgentLine
from heartwire.keys import Keys
from heartwire_protocol import codes

Answer = TypeVar("Answer")
PASSING = (BoardNotFound, PortBusy, NoAnswer, Unplugged)
PAUSE_S = 0.1
# How long the port is left to others while this program only waits for what somebody else does.
ASIDE_S = 0.5
# How long one answer may take; the board's longest flash write is half a second.
ANSWER_S = 2.0


class FenceBoard(Protocol):
    """What a fence needs of a board: heartwire.board.Board, or a node's line to it (agent_line)."""

    @property
    def own(self) -> str:
        """A node that cannot be fenced this way, or ""."""

    def __enter__(self) -> Self:
        """Open it."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    def status(self) -> Status:
        """Return the board's status."""

    def node(self, node: str) -> NodeStatus:
        """Return one node."""

    def nodes(self) -> list[NodeStatus]:
        """Return all nodes."""

    def events(self, after: int = 0) -> Iterator[Any]:
        """Yield the journal after a sequence."""

    def fence(self, node: str, *, last: bool = False, by: int = codes.NO_NODE) -> dict[str, Any]:
        """Ask for a fence."""

    def release(self, node: str) -> dict[str, Any]:
        """Give power back."""

    def clear(self, node: str) -> dict[str, Any]:
        """End a quarantine."""

    def reopen(self) -> bool:
        """Connect anew."""

    def close(self) -> None:
        """Give the port back."""


class Clock:
    """Time as this program sees it; tests replace it."""

    def now(self) -> float:
        """Return seconds on a clock that only moves forward."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def open_board(address: str | None, keys: Keys, timeout_s: float, clock: Clock, board_id: str = "") -> FenceBoard:
    """Open the board, trying for `timeout_s`; `board_id` is the only one wanted, "" any.

    Raises the last error of heartwire.errors that waiting did not mend.
    """
    deadline = clock.now() + timeout_s
    while True:
        try:
            if address and address.startswith(SCHEME):
                return AgentLine.open(address, codes.TOOL_FENCE_AGENT, board_id=board_id)
            wait_s = min(ANSWER_S, max(timeout_s, 0.1))
            return Board.open(address, keys=keys, timeout_s=wait_s, urgent=True, board_id=board_id)
        except PASSING:
            if clock.now() >= deadline:
                raise
        # Two nodes that try in step would meet again and again.
        clock.sleep(PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311


class Watcher:
    """Questions to an open board, repeated over a lost connection until a deadline."""

    def __init__(self, board: FenceBoard, clock: Clock, deadline: float, say: Callable[[str], None]) -> None:
        self.board = board
        self.clock = clock
        self.deadline = deadline
        self.say = say
        self._aside = False

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.deadline - self.clock.now()

    def nodes(self) -> list[NodeStatus]:
        """Return all nodes of the board."""
        return self._ask(self.board.nodes)

    def node(self, letter: str) -> NodeStatus:
        """Return one node."""
        return self._ask(lambda: self.board.node(letter))

    def status(self) -> Status:
        """Return the board's status."""
        return self._ask(self.board.status)

    def pause(self) -> None:
        """Wait a moment before the next question."""
        self.clock.sleep(PAUSE_S)

    def step_aside(self) -> None:
        """Give the port back for a while: a person who wants to act must not be kept out by a program that waits."""
        self.board.close()
        self._aside = True
        self.clock.sleep(ASIDE_S * random.uniform(0.5, 1.5))  # noqa: S311

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        lost: HeartwireError | None = None
        while True:
            try:
                if lost is not None or self._aside:
                    self.board.reopen()
                    self._aside = False
                return question()
            except PASSING as error:
                if self.left_s <= 0:
                    raise
                if lost is None:
                    self.say(f"{error.words}; trying again")
                lost = error
            self.pause()
