"""A board on a bench in real time: two USB serial adapters are its servers, their relays and their senses.

Each adapter carries a heartbeat line, sees the relay output on CTS and makes the senses with RTS (bench_wiring.toml).
It switches no power and refuses a board whose settings are not those of a bench. Fulfils bodies.bench.Bench; used by
tests/hil on a real board, and by tests/virtual, where only the adapters' two control pins are stand-ins.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import serial

from heartwire.answers import Status
from heartwire.board import Board
from heartwire.chain import Finding
from heartwire.errors import HeartwireError
from heartwire.keys import Keys
from heartwire.simulate.rack import KEYS
from heartwire_protocol import codes
from tests.bodies.bench import DEAD_MS, INTERVAL_MS, SENSE_DELAY_MS, quick_settings
from tests.bodies.guarding import HELLO
from tests.fakes.node import FakeNode

BAUD = 115200
CHARACTER_MS = 10 / BAUD * 1000
TURN_S = 0.0005
OPEN_MS = 15_000
SETTLE_MS = 30_000
T = TypeVar("T")


class NotForBenches(Exception):
    """The board guards servers, or the wiring is not that of a bench: nothing was changed."""


def refuse_rack(status: Status) -> None:
    """Raise NotForBenches if the board has settings and they are not those of a bench."""
    if status.generation and not status.bench:
        raise NotForBenches("the board has the settings of a rack (board.bench is 0): take one that guards nothing")


class Adapter(Protocol):
    """One server of the bench."""

    def read(self) -> bytes:
        """Return what the board has sent, b"" if nothing."""

    def write(self, data: bytes) -> None:
        """Send to the board."""

    def relay(self) -> bool:
        """Tell whether the board cuts this server's power."""

    def sense(self, on: bool) -> None:
        """Show the board this server's power."""


class SerialAdapter:
    """A USB serial adapter with 3.3 V levels at `port`; its control pins are low when asserted."""

    def __init__(self, port: str) -> None:
        self._serial = serial.Serial(port, BAUD, timeout=0)

    def read(self) -> bytes:
        return bytes(self._serial.read(4096))

    def write(self, data: bytes) -> None:
        self._serial.write(data)

    def relay(self) -> bool:
        return not self._serial.cts

    def sense(self, on: bool) -> None:
        self._serial.rts = on

    def close(self) -> None:
        """Give the port back."""
        self._serial.close()


class SerialBench:
    """The board at `address` between `adapters`; times are real, the settings' `times` as long as on other benches."""

    def __init__(
        self,
        address: str,
        adapters: Sequence[Adapter],
        *,
        times: int = 1,
        early_by_ms: float = 1.0,
        late_by_ms: float = 40.0,
        saves_ms: tuple[float, ...] = (40.0,),
        host_fill: int = 400,
    ) -> None:
        self.interval_ms, self.dead_ms = INTERVAL_MS * times, DEAD_MS * times
        self.early_by_ms, self.late_by_ms = early_by_ms, late_by_ms
        self.saves_ms, self.host_fill = saves_ms, host_fill
        self.active, self.standby = 0, 1
        self.two_ran = False
        self._is_prepared = False
        self._address = address
        self._adapters = adapters
        self._settings = quick_settings(times=times)
        self._board: Board | None = None
        self._worker = ThreadPoolExecutor(1)
        self._zero_s = time.monotonic()
        self._alarms: list[tuple[float, int, Callable[[], None]]] = []
        self._alarm_number = itertools.count()
        count = len(adapters)
        self._nodes = [FakeNode(node, KEYS[node]) for node in range(count)]
        self._quiet = set(range(count))
        self._relays = [False] * count
        self._powered = [True] * count
        self._next_ms = [0.0] * count
        self._heard = [bytearray() for _ in range(count)]
        self._cuts: list[list[float]] = [[] for _ in range(count)]
        self._sent = [0] * count
        self._answered = [0] * count
        self._last_ms = [0.0] * count

    # Before and after.

    def prepare(self) -> None:
        """Give the board a bench's settings and switch nothing. Raises NotForBenches."""
        refuse_rack(self._command(Board.status))
        for node, adapter in enumerate(self._adapters):
            adapter.sense(True)
            if adapter.relay():
                raise NotForBenches(f"the relay of {codes.NODES[node]} reads as energised: is POWER wired to CTS?")
        self._is_prepared = True
        self._command(lambda board: board.set_mode("observe"))
        self._command(lambda board: board.apply_settings(self._settings))

    def settle(self) -> None:
        """Bring both nodes up, one active and the other fit, and nothing waiting to be written."""
        self.run_until(lambda: not any(self._relays) and all(self._powered), SETTLE_MS)
        for node, fake in enumerate(self._nodes):
            if not fake.alive:
                fake.boot()
            self.speak(node)
        self._wait(lambda: all(self._node(node)["verdict"] == "good" for node in range(2)))
        for node in range(2):
            if self._node(node)["role"] == "quarantined" or self._node(node)["locked"]:
                self._command(lambda board, node=node: board.clear(codes.NODES[node]))  # type: ignore[misc]
        if self.ask("status")["mode"] != "auto":
            self._command(lambda board: board.set_mode("auto"))
        self._wait(lambda: self.ask("status")["active"] is not None and any(fake.running for fake in self._nodes))
        self.active = codes.NODES.index(self.ask("status")["active"])
        self.standby = 1 - self.active
        self._wait(lambda: self._node(self.standby)["role"] == "standby")
        newest = [-1]

        def rests() -> bool:
            newest.append(self.newest())
            return len(newest) > 5 and len(set(newest[-5:])) == 1

        self._wait(rests)
        for cuts in self._cuts:
            cuts.clear()
        self.two_ran = False

    def close(self) -> None:
        """Let a board that was prepared stop guarding, and give the port back."""
        if self._is_prepared:
            with contextlib.suppress(HeartwireError):
                self._command(lambda board: board.set_mode("observe"))
        self._forget()
        self._worker.shutdown()

    def _wait(self, condition: Callable[[], bool]) -> None:
        end_ms = self.now_ms() + SETTLE_MS
        while not condition():
            assert self.now_ms() < end_ms, self.story()
            self.run_for(self.interval_ms / 2)

    def story(self) -> str:
        """Return what the board says of itself, for messages."""
        return "\n".join(map(str, (self.ask("status"), self._node(0), self._node(1))))

    def _node(self, node: int) -> dict[str, Any]:
        return self.ask("node", node=codes.NODES[node])

    # Time.

    def now_ms(self) -> float:
        return (time.monotonic() - self._zero_s) * 1000

    def run_for(self, ms: float) -> None:
        end_ms = self.now_ms() + ms
        while self.now_ms() < end_ms:
            self._turn()

    def run_until(self, condition: Callable[[], bool], limit_ms: float) -> None:
        end_ms = self.now_ms() + limit_ms
        while not condition():
            assert self.now_ms() < end_ms, f"not within {limit_ms:.0f} ms"
            self._turn()

    def _turn(self) -> None:
        while self._alarms and self._alarms[0][0] <= self.now_ms():
            heapq.heappop(self._alarms)[2]()
        for node in range(len(self._adapters)):
            self._look(node)
        running = [fake for node, fake in enumerate(self._nodes) if fake.running and fake.alive and self._powered[node]]
        self.two_ran = self.two_ran or len(running) > 1
        time.sleep(TURN_S)

    def _look(self, node: int) -> None:
        adapter, fake = self._adapters[node], self._nodes[node]
        relay = adapter.relay()
        if relay != self._relays[node]:
            self._relays[node] = relay
            self._powered[node] = not relay
            if relay:
                self._cuts[node].append(self.now_ms())
                fake.crash()
            self._at(self.now_ms() + SENSE_DELAY_MS, lambda: adapter.sense(self._powered[node]))
        for byte in adapter.read():
            self._heard[node].append(byte)
            if not byte:
                self._hear(node, bytes(self._heard[node]))
                self._heard[node].clear()
        if self.now_ms() >= self._next_ms[node]:
            self._next_ms[node] = self.now_ms() + self.interval_ms
            if fake.alive and self._powered[node] and node not in self._quiet:
                self._beat(node)

    def _hear(self, node: int, frame: bytes) -> None:
        fake = self._nodes[node]
        if not fake.alive or node in self._quiet:
            return
        before = fake.grants[-1:]
        fake.hear(frame)
        self._answered[node] += bool(fake.grants and not (before and before[0] is fake.grants[-1]))

    def _beat(self, node: int) -> None:
        frame = self._nodes[node].heartbeat()
        self._adapters[node].write(frame)
        self._sent[node] += 1
        self._last_ms[node] = self.now_ms() + len(frame) * CHARACTER_MS

    def _at(self, ms: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._alarms, (ms, next(self._alarm_number), action))

    # Nodes.

    def silence(self, node: int) -> None:
        self._quiet.add(node)

    def speak(self, node: int) -> None:
        self._quiet.discard(node)

    def beat_at(self, node: int, ms: float) -> None:
        self._at(ms - 32 * CHARACTER_MS, lambda: self._beat(node))

    def send_at(self, node: int, ms: float, data: bytes) -> None:
        self._at(ms, lambda: self._adapters[node].write(data))

    def restart_agent(self, node: int) -> None:
        self._nodes[node].restart_agent()

    def last_beat_ms(self, node: int) -> float:
        return self._last_ms[node]

    def sent(self, node: int) -> int:
        return self._sent[node]

    def answered(self, node: int) -> int:
        return self._answered[node]

    def cuts_ms(self, node: int) -> list[float]:
        return list(self._cuts[node])

    def runs(self, node: int) -> bool:
        return self._nodes[node].running

    # The host link: asked in a thread of its own, as nodes beat meanwhile.

    def _call(self, action: Callable[[], T]) -> T:
        future = self._worker.submit(action)
        while not future.done():
            self._turn()
        return future.result()

    def _command(self, action: Callable[[Board], T]) -> T:
        return self._call(lambda: action(self._open()))

    def _open(self) -> Board:
        end_ms = self.now_ms() + OPEN_MS
        while self._board is None:
            try:
                self._board = Board.open(self._address, keys=Keys())
            except HeartwireError:
                if self.now_ms() > end_ms:
                    raise
                time.sleep(0.05)
        return self._board

    def _forget(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        body = self._command(lambda board: board.link.request(op, **arguments).body)
        if op == "restart":
            self._forget()
        return body

    def host_send(self, data: bytes) -> None:
        self._command(lambda board: board.link.channel.write(data))
        self._forget()

    def host_asks(self, count: int, every_ms: float, reads: bool) -> None:
        channel = self._command(lambda board: board.link.channel)
        for _ in range(count):
            self._call(lambda: channel.write(HELLO))
            if reads:
                self._call(lambda: channel.read(0))
            self.run_for(every_ms)
        self._forget()

    def newest(self) -> int:
        return int(self.ask("status")["newest"])

    def rows(self, after: int) -> list[tuple[str, str]]:
        rows = self._command(lambda board: list(board.events(after)))
        findings = [row for row in rows if isinstance(row, Finding) and not row.harmless]
        assert not findings, findings
        return [(row.event, row.node) for row in rows if not isinstance(row, Finding)]
