"""A rack in virtual time around the emulated board: nodes that beat and obey, power supplies behind its relays.

Everything outside the chip is as simple as it can be and happens at exact virtual times; tests and tools/bench_board.py
build it, run it and look at edges, grants and the journal. Nothing here sleeps or reads a real clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from heartwire.emulated import files
from heartwire.emulated.chip import MS, Edge, EmulatedChip, Reset, filesystem_of
from heartwire.emulated.flashchip import TYPICAL, Times
from heartwire.flash.boards import BOARDS, PICO, Board
from heartwire.link import MAX_PAYLOAD
from heartwire.simulate.bench import answers_in, unsigned_request
from heartwire.simulate.hardware import FakeFiles
from heartwire.simulate.rack import KEYS, POWER
from heartwire_firmware import config, durable, policy_state, slots
from heartwire_firmware.relays import SENSE_SIGNALS as SENSES
from heartwire_protocol import codes, framing, messages, records, settings
from tests.bodies.bench import DEAD_MS, EARLY_MS, INTERVAL_MS, SENSE_DELAY_MS, quick_settings
from tests.fakes.node import FakeNode

EPOCH = 5


def stored(
    wanted: settings.Settings, mode: int = codes.MODE_AUTO, holder: int = 0, epoch: int = EPOCH, **state: object
) -> dict[str, bytes]:
    """Return the data files of a board with these settings whose durable holder is `holder`."""
    store = FakeFiles()
    slots.TwoSlots(store, "settings").save(wanted.text().encode(), config.CONFIRMED)
    fields = policy_state.State()
    fields.mode, fields.holder, fields.epoch = mode, holder, epoch
    fields.sense_seen = [1, 1, 1]
    for name, value in state.items():
        setattr(fields, name, value)
    durable.Durable(store).save(fields)
    return {f"data/{name}": data for name, data in store.contents.items()}


def board_named_by(image: Path) -> Board | None:
    """Return the board of the table whose id and a date the name of an image begins with; None where there is none."""
    return next((board for board in BOARDS if image.name.startswith(board.id + "-2")), None)


class Rig:
    """Board, nodes and their power; `active` runs from the start. `flash` continues an earlier life (a power cycle).
    `make` makes the chip (tests/second makes another emulator's). Where no `board` is said,
    it is the one that the image's name begins with.
    """

    def __init__(
        self,
        image: Path,
        *,
        nodes: int = 2,
        active: int = 0,
        data: dict[str, bytes] | None = None,
        flash: bytes | None = None,
        times: Times = TYPICAL,
        seed: int = 1,
        interval_ms: int = INTERVAL_MS,
        make: Callable[..., Any] = EmulatedChip,
        board: Board | None = None,
    ) -> None:
        self.board = board or board_named_by(image) or PICO
        self.dice = random.Random(seed)
        system = None
        if flash is None:
            system = files.build(
                stored(quick_settings(nodes), holder=active) if data is None else data, board=self.board
            )
        self.chip: EmulatedChip = make(image, flash=flash, filesystem=system, times=times, seed=seed, board=self.board)
        self.nodes = [FakeNode(node, KEYS[node]) for node in range(nodes)]
        self.interval_ms = interval_ms
        self.times = interval_ms // INTERVAL_MS  # those of a bench, so many times as long
        self.dead_ms = self.times * DEAD_MS
        self.powered = [True] * nodes
        self.cut: set[int] = set()
        self.welded: set[int] = set()
        self.beats: list[list[float]] = [[] for _ in range(nodes)]  # when the last bit of each heartbeat arrived
        self.grants: list[list[tuple[float, dict[str, int]]]] = [[] for _ in range(nodes)]
        self.fenced: list[tuple[float, int]] = []
        self.two_active = False
        self._next: dict[int, Any] = {}  # the alarms of the next heartbeats
        self._heard: list[bytearray] = [bytearray() for _ in range(nodes)]
        self.usb = bytearray()
        self.chip.on_usb_data = self.usb.extend
        self.chip.on_line_byte = self._line_byte
        self.chip.on_edge = self._edge
        self.chip.on_reset = self._reset
        for node in range(nodes):
            self._sense(node, True)
            self._next[node] = self.chip.at(self.chip.ns + (5 + 11 * node) * MS, partial(self._beat, node))
        self.active = active
        if nodes:
            first = self.nodes[active]
            first.running, first.stopped, first.epoch = True, False, EPOCH

    def _sense(self, node: int, on: bool) -> None:
        for signal in SENSES[node]:
            self.chip.set_input(signal, on)

    def _beat(self, node: int) -> None:
        fake = self.nodes[node]
        jitter = self.dice.uniform(-0.02, 0.02) * self.interval_ms
        self._next[node] = self.chip.at(self.chip.ns + (self.interval_ms + jitter) * MS, lambda: self._beat(node))
        if fake.alive and self.powered[node] and node not in self.cut:
            self.beat_now(node)

    def shift(self, node: int, later_ms: float) -> None:
        """Let the next heartbeat of `node`, and all after it, come in `later_ms`, or as soon as it is not early."""
        since_ms = (self.chip.ns - self.beats[node][-1]) / MS if self.beats[node] else 0.0
        self._next[node].cancel()
        wait_ms = max(later_ms, EARLY_MS + 5 - since_ms)
        self._next[node] = self.chip.at(self.chip.ns + wait_ms * MS, lambda: self._beat(node))

    def beat_now(self, node: int) -> None:
        """Send a heartbeat now."""
        frame = self.nodes[node].heartbeat()
        line = self.chip.lines[node]
        line.send(frame)
        self.beats[node].append(self.chip.ns + len(frame) * line.char_ns)

    def _line_byte(self, node: int, byte: int, at_ns: float) -> None:
        if node >= len(self.nodes):
            return
        heard = self._heard[node]
        heard.append(byte)
        if byte or len(heard) < 2:
            return
        fake = self.nodes[node]
        before = fake.grants[-1:]
        if fake.alive and node not in self.cut:
            fake.hear(bytes(heard))
        heard.clear()
        # A node keeps only its newest grants; a frame holds one at most.
        if fake.grants and not (before and before[0] is fake.grants[-1]):
            self.grants[node].append((at_ns, fake.grants[-1]))
        running = [node for node, fake in enumerate(self.nodes) if fake.running and fake.alive and self.powered[node]]
        self.two_active = self.two_active or len(running) > 1

    def _edge(self, edge: Edge) -> None:
        if edge.signal not in POWER:
            return
        node = POWER.index(edge.signal)
        if node >= len(self.nodes):
            return
        if edge.level == 1 and self.powered[node]:
            self.fenced.append((edge.ns, node))
            if node not in self.welded:
                self.powered[node] = False
                self.nodes[node].crash()
                self.chip.at(edge.ns + SENSE_DELAY_MS * MS, lambda: self._sense(node, self.powered[node]))
        elif edge.level != 1 and not self.powered[node]:
            self.powered[node] = True
            self.chip.at(edge.ns + SENSE_DELAY_MS * MS, lambda: self._sense(node, self.powered[node]))

    def _reset(self, _event: Reset) -> None:
        for heard in self._heard:
            heard.clear()

    # What tests ask.

    def settle(self, limit_ms: int = 6000) -> None:
        """Run until the active node is adopted, all nodes have answered challenges and nothing waits to be written."""

        def unsettled() -> bool:
            leased = any(grant["lease_ms"] for _, grant in self.grants[self.active][-2:])
            return not leased or any(len(fake.grants) < 4 for fake in self.nodes)

        self.chip.run_while(unsettled, limit_ms * MS)
        count = -1
        while count != self.chip.flash.count:
            count = self.chip.flash.count
            self.chip.run_for(1600 * MS)  # a routine record waits for so long (pace.WRITE_PATIENCE_MS)

    def ask(self, op: str, limit_ms: int = 1000, **arguments: object) -> dict[str, Any]:
        """Ask the board over USB, unsigned, and return its answer; the board's time goes on meanwhile."""
        self.chip.usb.send(framing.encode(messages.HELLO, bytes([messages.PROTOCOL_VERSION])))
        self.chip.usb.send(unsigned_request(1, {"op": op, **arguments}))
        found: list[tuple[int, dict[str, Any]]] = []
        decoder = framing.Decoder(MAX_PAYLOAD)

        def waits() -> bool:
            found.extend(answers_in(decoder, bytes(self.usb)))
            self.usb.clear()
            return not found

        self.chip.run_while(waits, limit_ms * MS)
        return found[0][1]

    def files(self) -> dict[str, bytes]:
        """Return the board's files as they stand in flash."""
        return files.read(filesystem_of(self.chip.contents(), self.board))

    def journal(self) -> list[dict[str, int]]:
        """Return all durable records, oldest first."""
        return journal_of(self.files())

    def epoch(self) -> int:
        """Return the durable epoch."""
        return epoch_of(self.files())


def journal_of(found: dict[str, bytes]) -> list[dict[str, int]]:
    """Return the whole records of the journal files, oldest first."""
    rows = []
    for name, data in found.items():
        if name.startswith("data/") and name[5] in "dr" and len(name) == 14:
            for at in range(0, len(data) - records.LENGTH + 1, records.LENGTH):
                if records.is_whole(data[at : at + records.LENGTH]):
                    rows.append(records.decode(data[at : at + records.LENGTH]))
    return sorted(rows, key=lambda row: row["sequence"])


def epoch_of(found: dict[str, bytes]) -> int:
    """Return the durable epoch in the board's files."""
    store = FakeFiles()
    store.contents = {name[5:]: data for name, data in found.items() if name.startswith("data/")}
    state = policy_state.State()
    durable.Durable(store).load(state)
    return int(state.epoch)


def fence_edges(rig: Rig, node: int) -> list[float]:
    """Return when the relay of `node` was energised."""
    return [edge.ns for edge in rig.chip.edges if edge.signal == POWER[node] and edge.level == 1]
