"""What stands around the policy in the walk: server bodies, senses, pins, the scratch register, a lost supply."""

from __future__ import annotations

from typing import Any

from heartwire_firmware import sequencer
from heartwire_protocol import codes

BEATS, MUTE, ALTERED, HALF = range(4)


class PowerCut(BaseException):
    """The board lost its power at a durable write."""


class Body:
    """What a server really is and does, whatever the board believes."""

    __slots__ = ("boot", "broken", "busy_s", "chatters", "claims", "drained", "epoch", "follows", "incarnation",
                 "lease", "line", "obeys", "powered", "running", "soft_off", "state", "stopped", "stuck", "unfed",
                 "up")  # fmt: skip

    def __init__(self) -> None:
        self.powered = 1
        self.up = 1
        self.boot = 0
        self.line = BEATS
        self.running = 0
        self.stopped = 1
        self.drained = 0
        self.epoch = 0
        self.lease = 0
        self.unfed = 0  # seconds its kernel watchdog has gone without food
        self.incarnation = 1
        self.state = codes.STATE_HEALTHY
        self.busy_s = 0
        self.obeys = 1  # 0: it stops its services for nobody
        self.soft_off = 0  # switched off by its button or by itself; its button starts it
        self.broken = 0  # its services fail under its agent: 1 it says so, 2 it says that they are stopped
        self.chatters = 0  # its sense comes and goes
        self.claims = 0  # it says that it knows an epoch near the top
        self.follows = 0  # which key and baud rate its agent has
        self.stuck = -1  # what its sense shows whatever is true; -1: the truth


OFF_CAP_MS = 4000


class FakeSenses:
    """Senses without debouncing."""

    def __init__(self) -> None:
        self.power = [codes.POWER_UNKNOWN] * 3
        self.full = [False] * 3
        self.off_ms = [0] * 3
        self.part_ms = self.off_ms  # one feed each

    def configure(self, _nodes: Any) -> None:
        """Take settings."""

    def show(self, node: int, power: int, elapsed_ms: int) -> None:
        """Show `power`, after so much time."""
        was_off = self.power[node] == power == codes.POWER_OFF
        self.off_ms[node] = min(self.off_ms[node] + elapsed_ms, OFF_CAP_MS) if was_off else 0
        self.power[node] = power
        self.full[node] = power == codes.POWER_ON


class FakePins:
    """Pins nobody looks at."""

    def put(self, _signal: str, _asserted: int) -> None:
        pass

    def get(self, _signal: str) -> int:
        return 0


class FakeChip:
    """The scratch registers: the mark of a fence, and a count of bad starts that stays 0."""

    reset_cause = 0

    def __init__(self) -> None:
        self.mark = sequencer.MARK_MAGIC

    def scratch(self, index: int) -> int:
        return self.mark if index == sequencer.MARK_REGISTER else 0

    def put_scratch(self, index: int, value: int) -> None:
        if index == sequencer.MARK_REGISTER:
            self.mark = value

    def collect(self) -> None:
        pass


class TransferPins:
    """The coils and contacts of the transfer relay; `moved(node)` is told of each coil that gets current."""

    def __init__(self, moved: Any) -> None:
        self.at = 0
        self.jammed = 0
        self._moved = moved

    def put(self, signal: str, asserted: int) -> None:
        if asserted:
            node = 0 if signal == "TRANSFER_SET_A" else 1
            self._moved(node)
            if not self.jammed:
                self.at = node

    def get(self, signal: str) -> int:
        return int(self.at == (0 if signal == "TRANSFER_AT_A" else 1))
