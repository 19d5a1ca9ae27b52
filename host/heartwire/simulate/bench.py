"""A bench in virtual time: the firmware's supervisor on fake hardware, with a scenario's rack around it.

The policy tier of `heartwire simulate` and the unit, power-cut and walk tests stand on it. One pass is a few
milliseconds of virtual time; nothing sleeps. What the rack does is rack.py's; this is how its bytes and pins reach the
board, and how time passes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from heartwire.errors import Unplugged
from heartwire.link import MAX_PAYLOAD
from heartwire.simulate.hardware import FakeFiles, FakeHardware
from heartwire.simulate.rack import GARBLED, KEYS, KINDS, POWER, Rack, settings_of
from heartwire_firmware import config, slots
from heartwire_firmware.journal import Journal
from heartwire_firmware.journal_reader import WAITS, Reader
from heartwire_firmware.supervisor import Supervisor
from heartwire_protocol import codes, events, framing, messages, operations, records, settings

__all__ = ["KEYS", "POWER", "Bench", "BenchChannel", "Record", "answers_in", "store_settings", "unsigned_request"]

Record = tuple[int, int, int, int, int, int]  # ms, event, node, reason, a, b


class Bench(Rack):
    """A rack with its board. `settings_text` is stored as confirmed before the first start."""

    def __init__(
        self, settings_text: str = "", nodes: int = 2, keyed: bool = True, start: int = 0, on: bool = True,
        kind: str = KINDS[0],
    ) -> None:  # fmt: skip
        super().__init__(settings_of(settings_text, nodes, keyed), nodes, keyed, kind)
        self.files = FakeFiles()
        store_settings(self.files, self.settings)
        self.each_ms: list[Callable[[], None]] = []
        self.happened: list[Record] = []
        self.board_on = False
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

    @property
    def outputs(self) -> dict[str, int]:
        """The levels of the board's outputs by signal; none while it is off."""
        return self.hardware.pins.levels if self.board_on else {}

    def power_cut(self) -> None:
        """Lose the board's power; every relay drops and the scratch registers are lost."""
        self.scratch = {}
        self.board_on = False

    def reset(self) -> None:
        """Reset by the watchdog: scratch stays."""
        self.power_on()

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
        self.hardware.ticks.now += elapsed
        for node, data in self.pass_time(elapsed, self.outputs):
            if self.board_on and self._speaks_alike(node):
                self.hardware.lines[node].arrive(data)
            elif self.board_on:
                self.hardware.lines[node].errors += 1
                self.hardware.lines[node].arrive(GARBLED)
        self._show()
        for call in self.each_ms:
            call()
        if self.board_on:
            self.board.step()
            for node in range(len(self.nodes)):
                sent = self.hardware.lines[node].take_sent()
                if sent and self._speaks_alike(node):
                    self.hear(node, sent)
            if self.board.stopping and self.board.hostlink.idle:
                self.board._write_all()
                self.power_on()

    def _speaks_alike(self, node: int) -> bool:
        return self.nodes[node].baud in (0, self.hardware.lines[node].baud)

    def _show(self) -> None:
        """Set the board's inputs."""
        self.hardware.pins.levels.update(self.inputs())

    def raw_journal(self) -> list[bytes]:
        """Return all durable records as they are in flash."""
        return durable_records(self.board.journal)

    def journal(self) -> list[dict[str, int]]:
        """Return all durable records."""
        return [records.decode(raw) for raw in self.raw_journal()]

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
        reason = self.board.request(operations.MODE, codes.NO_NODE, mode)
        if reason:
            raise AssertionError(f"refused with reason {reason}")

    def settle(self) -> None:
        """Arm and run until a node is active and runs."""
        self.arm()
        self.run_until(lambda: self.board.state.active != codes.NO_NODE and not self.board.state.awaiting_running)

    def ask(self, right: int = 0, **request: object) -> dict[str, Any]:
        """Send one unsigned request over the host link and return its answer."""
        usb = self.hardware.usb
        number = self.board.hostlink._number + 1
        usb.incoming.extend(unsigned_request(number, request, right))
        decoder = framing.Decoder(MAX_PAYLOAD)
        for _ in range(5000):
            self.step()
            data = bytes(usb.sent)
            usb.sent.clear()
            for answered, answer in answers_in(decoder, data):
                if answered == number:
                    return answer
        raise AssertionError("no answer")


class BenchChannel:
    """The host link to the board that is on now, as heartwire.link wants it; virtual time passes while it waits."""

    name = "bench"
    exposed = False

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._hardware = bench.hardware

    def _check(self) -> None:
        if self._bench.hardware is not self._hardware or not self._bench.board_on:
            raise Unplugged("the board is gone")

    def read(self, timeout_s: float) -> bytes:
        """Return what has come, waiting in virtual time."""
        end_ms = self._bench.ms + max(1, round(timeout_s * 1000))
        sent = self._hardware.usb.sent
        while not sent and self._bench.ms < end_ms:
            self._bench.step()
            self._check()
        data = bytes(sent)
        sent.clear()
        return data

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._check()
        self._hardware.usb.incoming.extend(data)

    def close(self) -> None:
        """End nothing: the port stays."""

    def now(self) -> float:
        """Return virtual seconds."""
        return self._bench.ms / 1000


def unsigned_request(number: int, body: dict[str, Any], right: int = 0) -> bytes:
    """Return the frame of a request with no signature, as `view` allows it where no view key is set."""
    text = json.dumps(body, separators=(",", ":")).encode()
    layout = messages.layout_of(messages.REQUEST)
    return bytes(framing.encode(messages.REQUEST, layout.pack(right=right, number=number, mac=bytes(8), body=text)))


def answers_in(decoder: framing.Decoder, data: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Feed what came from a board's host link; return number and body of each answer that is whole with it."""
    found, at = [], 0
    while at < len(data):
        at = decoder.feed(data, at, len(data))
        if decoder.ready and decoder.message_type == messages.RESPONSE:
            answer = messages.layout_of(messages.RESPONSE).unpack(bytes(decoder.payload[: decoder.length]))
            found.append((int(answer["number"]), dict(json.loads(answer["body"]))))
    return found


def store_settings(files: FakeFiles, found: settings.Settings) -> None:
    """Put settings into flash as confirmed."""
    slots.TwoSlots(files, "settings").save(found.text().encode(), config.CONFIRMED)


def durable_records(journal: Journal) -> list[bytes]:
    """Return all durable records of `journal` as they are in flash, in order."""
    found: list[bytes] = []
    record = bytearray(records.LENGTH)
    reader = Reader(journal)
    after = 0
    while sequence := reader.step(after, record):
        if sequence != WAITS:
            found.append(bytes(record))
            after = sequence
    return found
