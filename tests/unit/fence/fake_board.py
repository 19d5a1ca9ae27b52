"""A board for the agent's unit tests: nodes that change as time passes, and a log of the commands it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

from heartwire.answers import NodeStatus, Status
from heartwire.errors import HeartwireError, Refused
from heartwire.fence.reach import Clock
from heartwire.journal import Entry


class FakeClock(Clock):
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.later: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        """Return the time."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass, and what was due happen."""
        self.seconds += seconds
        due = [entry for entry in self.later if entry[0] <= self.seconds]
        self.later = [entry for entry in self.later if entry[0] > self.seconds]
        for _, action in due:
            action()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Have `action` happen in `seconds`."""
        self.later.append((self.seconds + seconds, action))


def entry(event: str, node: str, reason: str) -> Entry:
    """Return a journal record."""
    return Entry(1, 1, 0, 0, event, "alarm", "decision", node, 0, reason, 0, 0, None, b"")


class FakeBoard:
    """Nodes a (alpha) and b (beta); a fence is proven `proof_s` after it was asked, unless `fails`."""

    own = ""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.table = {
            "a": NodeStatus(node="a", name="alpha", power="on", verdict="good", role="standby"),
            "b": NodeStatus(node="b", name="beta", power="on", verdict="good", role="standby"),
        }
        self.board = Status(name="fake", mode="fencer", phase="watching", newest=5)
        self.commands: list[str] = []
        self.asked_by: list[int] = []
        self.errors: list[HeartwireError] = []
        self.proof_s = 1.0
        self.fails = ""
        self.never = False
        self.reopened = 0
        self.open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.commands.append("closed")

    def change(self, node: str, **values: Any) -> None:
        """Change what a node shows."""
        self.table[node] = replace(self.table[node], **values)

    def _answer(self) -> None:
        assert self.open, "asked on a port that was given back"
        if self.errors:
            raise self.errors.pop(0)

    def status(self) -> Status:
        """Return the status."""
        self._answer()
        return self.board

    def node(self, node: str) -> NodeStatus:
        """Return one node."""
        self._answer()
        return self.table[node]

    def nodes(self) -> list[NodeStatus]:
        """Return all nodes."""
        self._answer()
        return list(self.table.values())

    def close(self) -> None:
        """Give the port back."""
        self.open = False

    def reopen(self) -> bool:
        """Count a reopening."""
        self.reopened += 1
        self.open = True
        return False

    def events(self, after: int = 0) -> Iterator[object]:
        """Return a journal that tells only why a fence failed."""
        if self.board.phase == "failed":
            yield entry("off_failed", str(self.board.target), self.fails)

    def fence(self, node: str, *, last: bool = False, by: int = 3) -> dict[str, Any]:
        """Begin a fence."""
        self.commands.append(f"fence {node}{' last' if last else ''}")
        self.asked_by.append(by)
        if self.board.held:
            raise Refused("fence: the board's rules forbid it", reason=self.board.held)
        self._answer()
        self.begin(node)
        return {"ok": 1}

    def begin(self, node: str) -> None:
        """Begin a fence of the board's own."""
        self.change(node, fence="firing", relay=True)
        self.board = replace(self.board, phase="fencing", target=node)
        if not self.never:
            self.clock.after(self.proof_s, lambda: self._prove(node))

    def _prove(self, node: str) -> None:
        if self.fails:
            self.change(node, fence="failed")
            self.board = replace(self.board, phase="failed")
        else:
            self.change(node, fence="proven", power="off", role="quarantined")
            self.board = replace(self.board, phase="watching", target=None)

    def release(self, node: str) -> dict[str, Any]:
        """Give power back; the sense follows half a second later."""
        self.commands.append(f"release {node}")
        self._answer()
        self.change(node, fence="idle", relay=False)
        self.clock.after(0.5, lambda: self.change(node, power="on"))
        return {"ok": 1}

    def clear(self, node: str) -> dict[str, Any]:
        """End a quarantine."""
        self.commands.append(f"clear {node}")
        self.change(node, role="standby")
        return {"ok": 1}
