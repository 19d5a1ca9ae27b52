"""The rack around a virtual board: servers, their power behind the relays, cables, the transfer relay, and a timeline.

Everything that happens is one event with a time, from relay edges to the exit of a program. The rack obeys physics and
its faults, and never helps either side: what the board does not hear or sense, it does not know. Made by the demo,
`heartwire virtual` and tests; close it before its board.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from heartwire.virtual.board import VirtualBoard
from heartwire.virtual.cable import Cable
from heartwire.virtual.power import ARM_HOLD_MS, ChargePump, PowerSupply, TransferRelay
from heartwire.virtual.server import Server


class RackEvent(NamedTuple):
    """Something that happened; `at_ns` is time.monotonic_ns(), `source` for example "server a" or "board"."""

    at_ns: int
    source: str
    text: str


class Rack:
    """A board with servers around it; the mains are off until start()."""

    def __init__(
        self,
        board: VirtualBoard,
        servers: Sequence[Server],
        *,
        directory: Path | str | None = None,
        discharge_ms: float = 200,
        on_ms: float = 20,
        arm_hold_ms: float = ARM_HOLD_MS,
        baud: int = 115200,
    ) -> None:
        """Wire `servers` to `board`; their files live under `directory` (beside the board's if None).

        `discharge_ms` and `on_ms` are the sense inputs' delays, `arm_hold_ms` the charge pump's, `baud` 0 is unpaced.
        """
        self.board = board
        self.events: list[RackEvent] = []
        self._event_callbacks: list[Callable[[RackEvent], None]] = []
        self._closed = False
        base = board.directory if directory is None else Path(directory).absolute()
        self.servers = {server.node: server for server in servers}
        self.cables: dict[str, Cable] = {}
        self.supplies: dict[str, PowerSupply] = {}
        board.on_event(lambda at_ns, text: self._add(RackEvent(at_ns, "board", text)))
        board.on_output(self._on_output)
        self.pump = ChargePump(board, self._pump_changed, arm_hold_ms)
        self.transfer = TransferRelay(board, self.report)
        for node, server in self.servers.items():
            home = base / f"server-{node}"
            cable = Cable(board, node, home / "ttyS0", self.report, baud=baud)
            cable.live = False
            supply = PowerSupply(
                board, self.pump, node, self.report, feeds=server.feeds, discharge_ms=discharge_ms, on_ms=on_ms
            )
            server.attach(board, cable, home, self.report)
            supply.server_power = server.set_power
            self.cables[node], self.supplies[node] = cable, supply

    def __enter__(self) -> "Rack":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, board: bool = True, nodes: Sequence[str] | None = None) -> None:
        """Switch the mains of all (or the named) servers on, and the board's power unless `board` is False."""
        for node in self.servers if nodes is None else nodes:
            for feed in range(len(self.supplies[node].feeds)):
                self.supplies[node].set_mains(True, feed + 1)
        if board:
            self.board.power_on()

    def close(self) -> None:
        """Kill every server and remove the cables; the board stays as it is."""
        if self._closed:
            return
        self._closed = True
        for server in self.servers.values():
            server.kill()
        for cable in self.cables.values():
            cable.close()

    def on_event(self, callback: Callable[[RackEvent], None]) -> None:
        """Have `callback(event)` called, in the reactor's thread, for everything that happens from now on."""
        self._event_callbacks.append(callback)

    def timeline(self, since_ns: int = 0) -> list[RackEvent]:
        """Return the events from `since_ns` on in order of time."""
        return sorted(event for event in list(self.events) if event.at_ns >= since_ns)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 5.0, what: str = "the awaited state") -> None:
        """Wait until `condition()` holds, looking at each event; raises BoardTimeout."""
        self.board.wait_for(condition, timeout_s, what)

    def wait_event(self, source: str, text: str, timeout_s: float = 5.0, *, since_ns: int = 0) -> RackEvent:
        """Wait for the first event from `source` whose text contains `text`; raises BoardTimeout."""
        found: list[RackEvent] = []

        def look() -> bool:
            found[:] = [
                event
                for event in list(self.events)
                if event.at_ns >= since_ns and event.source == source and text in event.text
            ][:1]
            return bool(found)

        self.board.wait_for(look, timeout_s, f"{source}: {text}")
        return found[0]

    def report(self, source: str, text: str) -> None:
        """Add an event of now to the timeline."""
        self._add(RackEvent(time.monotonic_ns(), source, text))

    def _add(self, event: RackEvent) -> None:
        self.events.append(event)
        for callback in self._event_callbacks:
            callback(event)
        self.board.notify()

    def _on_output(self, signal: str, asserted: bool, at_ns: int) -> None:
        if not signal.startswith("LED_") and signal != "ARM":
            self._add(RackEvent(at_ns, "board", f"{signal} {'on' if asserted else 'off'}"))

    def _pump_changed(self) -> None:
        self.report("arm", "charged" if self.pump.charged else "empty")
        for supply in self.supplies.values():
            supply.update()
