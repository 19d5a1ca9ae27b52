"""A bench in virtual time: the firmware's supervisor on fake hardware, fake nodes on its lines, power supplies on its
relays.

Used by unit, scenario and power-cut tests. One step is one millisecond; nothing sleeps.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from heartwire_firmware.supervisor import Supervisor
from heartwire_protocol import codes, events, framing, messages, records, settings
from tests.fakes.hardware import FakeFiles, FakeHardware
from tests.fakes.node import FakeNode

SENSES = (("SENSE_A1",), ("SENSE_B1",), ("SENSE_SPARE",))
POWER = ("POWER_A", "POWER_B", "POWER_SPARE")
KEYS = tuple(bytes([0x41 + node]) * 32 for node in range(3))


class Bench:
    """Board, nodes and their power. `settings_text` is stored as confirmed before the first start."""

    def __init__(self, settings_text: str = "", nodes: int = 2, keyed: bool = True, start: int = 0) -> None:
        if keyed:
            lines = [f"node.{codes.NODES[node]}.key={KEYS[node].hex()}\n" for node in range(nodes)]
            settings_text += "".join(lines)
        if nodes > 2:
            settings_text += "node.spare.enabled=1\n"
        self.files = FakeFiles()
        found, problems = settings.parse(settings_text)
        assert not problems, problems
        store_settings(self.files, found)
        self.nodes = [FakeNode(node, KEYS[node] if keyed else None) for node in range(nodes)]
        self.powered = [True] * nodes
        self.off_delay_ms = 200
        self._off_ms = [0] * nodes
        self.boot_ms = 3000
        self._boot_left: list[int | None] = [None] * nodes
        self.welded: set[int] = set()
        self.cut: set[int] = set()
        self.deaf: set[int] = set()
        self.ms = 0
        self.each_ms: list[Callable[[], None]] = []
        self.board: Supervisor
        self.hardware: FakeHardware
        self._start = start
        self.scratch: dict[int, int] = {}
        self.records: list[dict[str, int]] = []
        self.power_on()

    def power_on(self) -> None:
        """Start the board with what flash and scratch hold."""
        self.hardware = FakeHardware(self.files, self.scratch, self._start + self.ms)
        for node in range(len(self.nodes)):
            self.hardware.pins.levels[SENSES[node][0]] = int(self._sensed(node))
        self.board = Supervisor(self.hardware)
        self.board.start()

    def power_cut(self) -> None:
        """Lose the board's power; every relay drops."""
        self.scratch = {}

    def reset(self) -> None:
        """Reset by the watchdog: scratch stays."""
        self.power_on()

    def _sensed(self, node: int) -> bool:
        return self.powered[node] or self._off_ms[node] < self.off_delay_ms

    def run(self, ms: int) -> None:
        """Let `ms` milliseconds pass."""
        for _ in range(ms):
            self.step()

    def run_until(self, condition: Callable[[], bool], limit_ms: int = 60000) -> int:
        """Let time pass until `condition`; return the milliseconds. AssertionError after `limit_ms`."""
        for passed in range(limit_ms):
            if condition():
                return passed
            self.step()
        raise AssertionError(f"not within {limit_ms} ms:\n" + self.story())

    def step(self, elapsed: int = 1) -> None:
        """Let one loop pass happen after `elapsed` milliseconds."""
        self.ms += elapsed
        self.hardware.ticks.now += elapsed
        for node in range(len(self.nodes)):
            self._step_power(node, elapsed)
            self._step_node(node)
        for call in self.each_ms:
            call()
        self.board.step()
        for node, fake in enumerate(self.nodes):
            sent = self.hardware.lines[node].take_sent()
            if sent and fake.alive and node not in self.cut and node not in self.deaf:
                fake.hear(sent)

    def _step_power(self, node: int, elapsed: int) -> None:
        commanded = self.hardware.pins.levels[POWER[node]] and node not in self.welded
        if commanded and self.powered[node]:
            self.powered[node] = False
            self._off_ms[node] = 0
            self.nodes[node].crash()
        elif not commanded and not self.powered[node]:
            self.powered[node] = True
            self._boot_left[node] = self.boot_ms
        if not self.powered[node]:
            self._off_ms[node] += elapsed
        left = self._boot_left[node]
        if left is not None:
            self._boot_left[node] = left - elapsed
            if left <= elapsed:
                self._boot_left[node] = None
                self.nodes[node].boot()
                self.nodes[node].next_beat_ms = self.ms
        self.hardware.pins.levels[SENSES[node][0]] = int(self._sensed(node))

    def _step_node(self, node: int) -> None:
        fake = self.nodes[node]
        if fake.alive and self.ms >= fake.next_beat_ms:
            fake.next_beat_ms += fake.interval_ms
            if fake.next_beat_ms <= self.ms:
                fake.next_beat_ms = self.ms + fake.interval_ms
            beat = fake.heartbeat()
            if node not in self.cut:
                self.hardware.lines[node].arrive(beat)

    def journal(self) -> list[dict[str, int]]:
        """Return all durable records."""
        found = []
        record = bytearray(records.LENGTH)
        after = 0
        while True:
            sequence = self.board.journal.read(after, record)
            if not sequence:
                return found
            found.append(records.decode(record))
            after = sequence

    def has(self, event: int, node: int | None = None, reason: int | None = None) -> bool:
        """Tell whether a record of `event` is durable."""
        for row in self.journal():
            if row["event"] == event and node in (None, row["node"]) and reason in (None, row["reason"]):
                return True
        return False

    def story(self) -> str:
        """Return the journal as lines, for messages."""
        lines = []
        for row in self.journal():
            event = events.event_row(row["event"])
            name = event[1] if event else "?"
            lines.append(
                f"{row['uptime_ms']:>8} {name:18} {row['node']} reason={row['reason']} a={row['a']} b={row['b']}"
            )
        return "\n".join(lines)

    def arm(self, mode: int = codes.MODE_AUTO) -> None:
        """Set the mode as an operator."""
        assert self.board.request(10, 3, mode) == 0

    def settle(self) -> None:
        """Arm and run until a node is active and runs."""
        self.arm()
        self.run_until(lambda: self.board.state.active != codes.NO_NODE and not self.board.state.awaiting_running)

    def ask(self, right: int = 0, **request: object) -> dict[str, object]:
        """Send one unsigned request over the host link and return its answer."""
        usb = self.hardware.usb
        layout = messages.layout_of(messages.REQUEST)
        number = self.board.hostlink._number + 1
        body = json.dumps(request).encode()
        usb.incoming.extend(
            framing.encode(messages.REQUEST, layout.pack(right=right, number=number, mac=bytes(8), body=body))
        )
        decoder = framing.Decoder(600)
        for _ in range(5000):
            self.step()
            data, at = bytes(usb.sent), 0
            usb.sent.clear()
            while at < len(data):
                at = decoder.feed(data, at, len(data))
                if decoder.ready and decoder.message_type == messages.RESPONSE:
                    answer = messages.layout_of(messages.RESPONSE).unpack(bytes(decoder.payload[: decoder.length]))
                    if answer["number"] != number:
                        continue
                    return json.loads(answer["body"])  # type: ignore[no-any-return]
        raise AssertionError("no answer")


def store_settings(files: FakeFiles, found: settings.Settings) -> None:
    """Put settings into flash as confirmed."""
    from heartwire_firmware import config, slots

    slots.TwoSlots(files, "settings").save(found.text().encode(), config.CONFIRMED)
