"""The board of the hand-over model: the walk's board, with the shipped lines, grants and judgement of heartbeats."""

from __future__ import annotations

import itertools
from typing import Any

from heartwire_firmware.idle import IdleStamp
from heartwire_firmware.intake import Intake
from heartwire_protocol import bits, codes
from tests.handover.network import Heartbeat
from tests.walk.board import Board

# Canonical challenges of a thawed line: current, previous, and any older one. None: no challenge.
CURRENT, PREVIOUS, OLD = 0x101, 0x102, 0x201
_CANONICAL = (CURRENT, PREVIOUS, OLD, 0)
NO_CHALLENGE = 3
_DRAWN = itertools.count(0x1000, 2)


class _NoLine:
    """A line whose bytes nobody looks at."""

    def read_into(self, _buffer: Any, _count: int) -> int:
        """Bring nothing."""
        return 0

    def take_errors(self) -> int:
        """Have no errors."""
        return 0

    take_overruns = take_errors
    idle = IdleStamp()


class FrameIntake(Intake):
    """A node's line to which heartbeats come whole: each is judged by the shipped code."""

    def __init__(self, node: int) -> None:
        self.arrived: Heartbeat | None = None
        self.said: list[bytes] = []
        super().__init__(node, _NoLine(), self._draw, lambda: 0)

    def _draw(self, buffer: bytearray) -> None:
        buffer[:] = next(_DRAWN).to_bytes(4, "little")

    def pump(self, _may_check: bool) -> int:
        """Judge what has arrived."""
        assert self.arrived is not None
        state, flags, incarnation, sequence, epoch, challenge = self.arrived
        self._fields[:] = [self.node | state << bits.STATE_AT, flags, incarnation, sequence, epoch, 0, 0]
        self._mac[:] = challenge.to_bytes(4, "little") + bytes(4)
        return int(self._judge())

    def send(self, _frame: Any) -> None:
        """Keep what the board says: its grant, as it stands in the place where it was built."""
        self.said.append(bytes(self.grants._payload))

    grants: Any = None

    def code_of(self, challenge: int) -> int:
        """Return which of the canonical challenges `challenge` is."""
        if not challenge:
            return NO_CHALLENGE
        current = int.from_bytes(self.challenge.current, "little")
        if challenge == current:
            return 0
        if self.challenge.has_previous and challenge == int.from_bytes(self.challenge.previous, "little"):
            return 1
        return 2

    @staticmethod
    def challenge_of(code: int) -> int:
        """Return the canonical challenge."""
        return _CANONICAL[code]


class HandoverBoard(Board):
    """The supervisor of a hand-over world."""

    intake_kind: Any = FrameIntake

    def boot(self, first: bool) -> None:
        """Start with what flash and the scratch register hold."""
        self.clock.before = lambda _ms: 0
        for intake in self.intakes:
            intake.grants = self.grants
        super().boot(first)
        self.grants._told[:] = [0] * codes.NODE_COUNT
        self.grants._told_epoch = 0

    def take(self, node: int, heartbeat: Heartbeat) -> None:
        """Let a heartbeat arrive."""
        self.intakes[node].arrived = heartbeat
        self.lines._take(node)

    def reply(self) -> None:
        """Answer whoever waits for it, or is to be told something new."""
        while self.lines.reply():
            pass
