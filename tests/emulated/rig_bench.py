"""The emulated rig as a bench of tests/bodies: all times are virtual and exact.

It adds nothing to the rig. Used by tests/emulated/test_board.py, in a child process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heartwire.emulated.chip import MS
from heartwire_protocol import codes, events
from tests.bodies.bench import DEAD_MS, INTERVAL_MS
from tests.bodies.guarding import HELLO
from tests.emulated.rig import Rig, fence_edges

NAMES_OF_EVENTS = {row[0]: row[1] for row in events.EVENTS}


class RigBench:
    """A settled `rig` whose node a is active; fulfils bodies.bench.Bench."""

    interval_ms, dead_ms = INTERVAL_MS, DEAD_MS
    active, standby = 0, 1
    early_by_ms, late_by_ms = 0.0, 3.0
    saves_ms: tuple[float, ...] = (15.0, 9.0, 4.0, 1.0)
    host_fill = 12

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def now_ms(self) -> float:
        return self.rig.chip.ns / MS

    def run_for(self, ms: float) -> None:
        self.rig.chip.run_for(ms * MS)

    def run_until(self, condition: Callable[[], bool], limit_ms: float) -> None:
        self.rig.chip.run_while(lambda: not condition(), limit_ms * MS)

    def silence(self, node: int) -> None:
        self.rig.cut.add(node)

    def speak(self, node: int) -> None:
        self.rig.cut.discard(node)

    def beat_at(self, node: int, ms: float) -> None:
        rig = self.rig
        # All heartbeats are equally long.
        begins_ns = ms * MS - 32 * rig.chip.lines[node].char_ns
        rig.chip.at(begins_ns, lambda: rig.beat_now(node))

    def send_at(self, node: int, ms: float, data: bytes) -> None:
        self.rig.chip.at(ms * MS, lambda: self.rig.chip.lines[node].send(data))

    def restart_agent(self, node: int) -> None:
        self.rig.nodes[node].restart_agent()

    def last_beat_ms(self, node: int) -> float:
        return self.rig.beats[node][-1] / MS

    def sent(self, node: int) -> int:
        return len(self.rig.beats[node])

    def answered(self, node: int) -> int:
        return len(self.rig.grants[node])

    def cuts_ms(self, node: int) -> list[float]:
        return [ns / MS for ns in fence_edges(self.rig, node)]

    def runs(self, node: int) -> bool:
        return self.rig.nodes[node].running

    @property
    def two_ran(self) -> bool:
        return self.rig.two_active

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        self.rig.chip.run_while(lambda: not self.rig.chip.usb.connected, 2000 * MS)
        return self.rig.ask(op, **arguments)

    def host_send(self, data: bytes) -> None:
        self.rig.chip.usb.send(data)

    def host_asks(self, count: int, every_ms: float, reads: bool) -> None:
        chip = self.rig.chip
        chip.usb.stalled = not reads
        for _ in range(count):
            chip.usb.send(HELLO)
            chip.run_for(every_ms * MS)

    def newest(self) -> int:
        return max((row["sequence"] for row in self.rig.journal()), default=0)

    def rows(self, after: int) -> list[tuple[str, str]]:
        return [
            (NAMES_OF_EVENTS[row["event"]], (*codes.NODES, "")[row["node"]])
            for row in self.rig.journal()
            if row["sequence"] > after
        ]
