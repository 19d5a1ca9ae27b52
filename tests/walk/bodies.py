"""What stands around the policy in the walk: server bodies, senses, pins, the scratch register, a lost supply."""

from __future__ import annotations

from heartwire_firmware import sequencer
from heartwire_protocol import codes

BEATS, MUTE, ALTERED, HALF = range(4)


class PowerCut(BaseException):
    """The board lost its power at a durable write."""


class Body:
    """What a server really is and does, whatever the board believes."""

    __slots__ = ("boot", "busy_s", "drained", "epoch", "incarnation", "lease", "line", "obeys", "powered", "running",
                 "soft_off", "state", "stopped", "stuck", "unfed", "up")  # fmt: skip

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
        self.stuck = -1  # what its sense shows whatever is true; -1: the truth


class FakeSenses:
    """Senses without debouncing."""

    def __init__(self) -> None:
        self.power = [codes.POWER_UNKNOWN] * 3


class FakePins:
    """Pins nobody looks at."""

    def put(self, _signal: str, _asserted: int) -> None:
        pass

    def get(self, _signal: str) -> int:
        return 0


class FakeChip:
    """The scratch register with the mark of a fence."""

    def __init__(self) -> None:
        self.mark = sequencer.MARK_MAGIC

    def scratch(self, _index: int) -> int:
        return self.mark

    def put_scratch(self, _index: int, value: int) -> None:
        self.mark = value
