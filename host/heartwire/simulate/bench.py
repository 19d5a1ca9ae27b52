"""A bench in virtual time: the firmware's supervisor on fake hardware, fake nodes on its lines, power behind relays.

The policy tier of `heartwire simulate` and the unit, power-cut and walk tests stand on it. One pass is a few
milliseconds of virtual time; nothing sleeps. It checks two laws of physics after every pass and notes each breach in
`violations`: two nodes serve at once, and every server is off.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from heartwire.simulate.hardware import FakeFiles, FakeHardware
from heartwire.simulate.node import FakeNode
from heartwire.simulate.supply import Supply
from heartwire_firmware import config, slots
from heartwire_firmware.supervisor import Supervisor
from heartwire_protocol import codes, events, framing, messages, records, settings

SENSES = ("SENSE_A1", "SENSE_B1", "SENSE_SPARE")
POWER = ("POWER_A", "POWER_B", "POWER_SPARE")
FRONT = ("FRONT_A", "FRONT_B", "FRONT_SPARE")
KEYS = tuple(bytes([0x41 + node]) * 32 for node in range(3))

Record = tuple[int, int, int, int, int, int]  # ms, event, node, reason, a, b


class Bench:
    """Board, nodes and their power. `settings_text` is stored as confirmed before the first start."""

    def __init__(
        self, settings_text: str = "", nodes: int = 2, keyed: bool = True, start: int = 0, on: bool = True
    ) -> None:
        if keyed:
            lines = [f"node.{codes.NODES[node]}.key={KEYS[node].hex()}\n" for node in range(nodes)]
            settings_text += "".join(lines)
        if nodes > 2:
            settings_text += "node.spare.enabled=1\n"
        if nodes < 2:
            settings_text += "node.b.enabled=0\n"
        self.files = FakeFiles()
        self.settings, problems = settings.parse(settings_text)
        if problems:
            raise ValueError(str(problems))
        store_settings(self.files, self.settings)
        self.nodes = [FakeNode(node, KEYS[node] if keyed else None) for node in range(nodes)]
        self.supplies = [Supply(node) for node in self.nodes]
        for node, supply in enumerate(self.supplies):
            supply.front = self.settings.nodes[node].front
            self.nodes[node].on_board_loss = self.settings.nodes[node].on_board_loss
            self.nodes[node].self_fence_ms = self.settings.nodes[node].self_fence_ms
        self.cut: set[int] = set()  # lines that carry nothing
        self.deaf: set[int] = set()  # lines that carry nothing to the node
        self.noisy: set[int] = set()  # lines with framing errors only
        self.ms = 0
        self.each_ms: list[Callable[[], None]] = []
        self.happened: list[Record] = []
        self.violations: list[tuple[int, str]] = []
        self._told_violations: set[str] = set()
        self.allow_two = False
        self.board_on = False
        self.button_ms = 0
        self.transfer_at = 0
        self.transfer_stuck = False
        self.board: Supervisor
        self.hardware: FakeHardware
        self._start = start
        self.scratch: dict[int, int] = {}
        self.hardware = FakeHardware(self.files, self.scratch, start)
        if on:
            self.power_on()

    def power_on(self) -> None:
        """Start the board with what flash and scratch hold."""
        self.hardware = FakeHardware(self.files, self.scratch, self._start + self.ms)
        self._show()
        self.board = Supervisor(self.hardware)
        append = self.board.journal.append

        def remember(event: int, node: int = codes.NO_NODE, reason: int = 0, a: int = 0, b: int = 0) -> int:
            self.happened.append((self.ms, event, node, reason, a, b))
            return int(append(event, node, reason, a, b))

        self.board.journal.append = remember  # type: ignore[method-assign]
        self.board_on = True
        self.board.start()

    def power_cut(self) -> None:
        """Lose the board's power; every relay drops and the scratch registers are lost."""
        self.scratch = {}
        self.board_on = False

    def reset(self) -> None:
        """Reset by the watchdog: scratch stays."""
        self.power_on()

    @property
    def powered(self) -> list[bool]:
        """Tell which nodes have power."""
        return [supply.powered for supply in self.supplies]

    def run(self, ms: int) -> None:
        """Let `ms` milliseconds pass, one at a time."""
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
        levels = self.hardware.pins.levels
        for node, fake in enumerate(self.nodes):
            cut = self.board_on and bool(levels[POWER[node]])
            if self.supplies[node].step(elapsed, cut, self.board_on and bool(levels[FRONT[node]])):
                fake.next_beat_ms = self.ms
            fake.advance(elapsed)
            if fake.bitten:
                fake.bitten = False
                self.supplies[node].reboot()
            self._step_line(node, fake)
        self._step_transfer(levels)
        self._show()
        for call in self.each_ms:
            call()
        if self.board_on:
            self.board.step()
            for node, fake in enumerate(self.nodes):
                sent = self.hardware.lines[node].take_sent()
                if sent and fake.alive and node not in self.cut and node not in self.deaf:
                    fake.hear(sent)
            if self.board.stopping:
                self.board._write_all()
                self.power_on()
        self._check()

    def _show(self) -> None:
        """Set the board's inputs."""
        levels = self.hardware.pins.levels
        for node, supply in enumerate(self.supplies):
            levels[SENSES[node]] = int(supply.sensed)
        levels["TRANSFER_AT_A"] = int(self.transfer_at == 0)
        levels["TRANSFER_AT_B"] = int(self.transfer_at == 1)
        levels["BUTTON"] = int(self.button_ms > self.ms)

    def _step_transfer(self, levels: dict[str, int]) -> None:
        if not self.transfer_stuck:
            if levels["TRANSFER_SET_A"]:
                self.transfer_at = 0
            elif levels["TRANSFER_SET_B"]:
                self.transfer_at = 1

    def _step_line(self, node: int, fake: FakeNode) -> None:
        line = self.hardware.lines[node]
        if node in self.noisy and self.ms % 500 < 10:
            line.errors += 1
        if not fake.alive or self.ms < fake.next_beat_ms:
            return
        fake.next_beat_ms += fake.interval_ms
        if fake.next_beat_ms <= self.ms:
            fake.next_beat_ms = self.ms + fake.interval_ms
        if fake.mute:
            return
        beat = fake.heartbeat()
        if node not in self.cut and node not in self.noisy and self.board_on:
            line.arrive(beat)

    def _check(self) -> None:
        serving = [codes.NODES[node] for node, fake in enumerate(self.nodes) if fake.serving]
        if len(serving) > 1 and not self.allow_two:
            self._violate(f"{' and '.join(serving)} serve at once")
        if self.board_on:
            off = [self.board.relays.commanded[node] for node in range(len(self.nodes))]
            if len(off) > 1 and all(off):
                self._violate("the relays of all nodes are cut at once")

    def _violate(self, words: str) -> None:
        if words not in self._told_violations:
            self._told_violations.add(words)
            self.violations.append((self.ms, words))

    def journal(self) -> list[dict[str, int]]:
        """Return all durable records."""
        found: list[dict[str, int]] = []
        record = bytearray(records.LENGTH)
        after = 0
        while True:
            sequence = self.board.journal.read(after, record)
            if not sequence:
                return found
            found.append(records.decode(bytes(record)))
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
        reason = self.board.request(10, 3, mode)
        if reason:
            raise AssertionError(f"refused with reason {reason}")

    def settle(self) -> None:
        """Arm and run until a node is active and runs."""
        self.arm()
        self.run_until(lambda: self.board.state.active != codes.NO_NODE and not self.board.state.awaiting_running)

    def ask(self, right: int = 0, **request: object) -> dict[str, Any]:
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
                    return dict(json.loads(answer["body"]))
        raise AssertionError("no answer")


def store_settings(files: FakeFiles, found: settings.Settings) -> None:
    """Put settings into flash as confirmed."""
    slots.TwoSlots(files, "settings").save(found.text().encode(), config.CONFIRMED)
