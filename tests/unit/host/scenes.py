"""What the tests of `heartwire status` and `heartwire log` show: boards with something on them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from heartwire_protocol import events, reasons
from tests.fakes.board import FakeBoard

Run = Callable[..., Any]


def failover(board: FakeBoard) -> None:
    """Fill the journal with a whole failover."""
    board.log(events.BOOT, reason=reasons.POWER_ON, wall_day=0, wall_ms=0)
    board.log(events.FIRST_HEARD, node=0, a=1200)
    board.log(events.ADOPTED, node=0, a=7)
    board.log(events.LATE, node=0, a=3000)
    board.log(events.FENCE_PREPARED, node=0, reason=reasons.DEAD)
    board.log(events.EVIDENCE, node=0, a=10002, b=1 | 33 << 3 | 2 << 10 | 3 << 14)
    board.log(events.DEAD, node=0, a=10001)
    board.log(events.FENCE_FIRED, node=0, reason=reasons.DEAD, a=1, b=10012)
    board.log(events.OFF_PROVEN, node=0, reason=reasons.FENCE_PROVEN, a=1405)
    board.log(events.GRANTED, node=1, reason=reasons.FENCE_PROVEN, a=8, b=11420)
    board.log(events.ROLE_CHANGED, node=0, reason=reasons.FENCE_FIRED, a=3, b=2)


def trouble(board: FakeBoard) -> None:
    """Make everything on the status screen light up."""
    board.status.update(
        mode="approve", phase="approval", target="a", successor="b", held="needs_approval", bench=1, active=None,
        approval={"request": 4, "left_s": 500}, alarm=1, lost=3, key=1, maintenance_s=1800, wall=None, trial_s=30,
    )  # fmt: skip
    board.script["time"] = {"error": "not_allowed"}
    board.node_bodies["a"].update(
        verdict="dead", age_ms=83211, lease_ms=0, half_line=1, altered=1, drops={"crc": 12, "wrong_answer": 2}
    )
    board.node_bodies["b"].update(
        name="a-server-with-a-long-name", state="degraded", flags=43, role="quarantined", actions=2, power="unknown",
        relay=1, fence="firing", grace_s=200,
    )  # fmt: skip
    board.node_bodies["spare"].update(enabled=1, verdict="unheard", age_ms=None, state="", locked=1, actions=3)


def follow(run: Run, steps: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch, *options: str) -> Any:
    """Run `log --follow`; at each pause take the next step, then press Ctrl-C."""
    import time

    left = iter(steps)

    def sleep(_: float) -> None:
        step = next(left, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(time, "sleep", sleep)
    return run("log", "--follow", *options)


def many(board: FakeBoard, count: int) -> None:
    for number in range(count):
        board.log(events.LATE, node=number % 2, a=number)


def sequences(text: str) -> list[int]:
    return [json.loads(line)["sequence"] for line in text.splitlines()]


class Keyboard(io.StringIO):
    """A terminal with somebody at it."""

    def isatty(self) -> bool:
        return True
