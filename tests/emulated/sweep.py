"""Power cuts at every flash operation of one run: what the flash holds at random instants in and after each of them.

An activity runs once; at each erase or program the flash is copied as a cut at that instant would leave it, half-done
operations included. Up to there the run is the same as one that ends with the cut, so one run gives hundreds of cuts.
Beside each copy stands what the world knew at that instant (`Cut`), which aftermath.py holds it against. Used by
test_power_cut.py and `tools/bench_board.py --sweep`; it never touches what the board does.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from heartwire.emulated.chip import MS
from heartwire.emulated.flashchip import Operation
from heartwire.flash.boards import BLOCK, PICO
from heartwire.link import MAX_PAYLOAD
from heartwire.simulate.hardware import FakeFiles, FakeHardware
from heartwire_firmware import journal
from heartwire_firmware.clock import Clock
from heartwire_protocol import codes, events, framing, messages, records
from tests.bodies.bench import quick_settings
from tests.emulated.hostport import board_of
from tests.emulated.rig import Rig, stored

# A cut "after" an operation falls into what the CPU does until the next one, which mostly follows within this.
AFTER_NS = 1_500_000
OLD, EITHER, NEW = "old", "old or new", "new"


@dataclass(frozen=True)
class NodeLife:
    """How a node stood at the instant of the cut."""

    alive: bool
    running: bool
    stopped: bool
    epoch: int
    incarnation: int
    sequence: int
    challenge: bytes | None


@dataclass(frozen=True)
class Cut:
    """One power cut: the flash it leaves (as blocks that differ from the start's) and what the world knew then."""

    activity: str
    operation: int
    kind: str
    half_done: bool
    ns: float
    blocks: dict[int, bytes]
    nodes: tuple[NodeLife, ...]
    granted: int  # the highest epoch that was granted on a line
    told: int  # the newest record that a grant called durable
    given: tuple[bytes, ...]  # records that went out over USB
    settings: str


@dataclass(frozen=True)
class Sweep:
    """All cuts of one activity, the flash it began with, and the settings texts before and after."""

    activity: str
    base: bytes
    old: str | None  # canonical text of the settings; None: the board had none
    new: str | None
    cuts: tuple[Cut, ...]
    operations: int

    def flash(self, cut: Cut) -> bytes:
        """Return the whole flash that a cut leaves."""
        flash = bytearray(self.base)
        for block, data in cut.blocks.items():
            at = PICO.filesystem_start + block * BLOCK
            flash[at : at + BLOCK] = data
        return bytes(flash)


@dataclass
class Recorder:
    """Watches the flash of `rig` from now on and keeps what a power cut would leave."""

    activity: str
    rig: Rig
    dice: random.Random
    each: int  # cuts within each operation; one more comes after it
    settings: str = OLD
    cuts: list[Cut] = field(default_factory=list)
    operations: int = 0

    def __post_init__(self) -> None:
        chip = self.rig.chip
        self.base = chip.contents()
        self._decoder = framing.Decoder(MAX_PAYLOAD)
        self._given: tuple[bytes, ...] = ()
        self._told = self._granted = 0
        self._heard = [0] * len(self.rig.nodes)
        self._host = chip.on_usb_data
        chip.on_usb_data = self._seen
        chip.flash.on_operation = self._begun

    def _seen(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            at = self._decoder.feed(data, at, len(data))
            if self._decoder.ready and self._decoder.message_type == messages.EVENT:
                record = bytes(self._decoder.payload[: self._decoder.length])
                if record not in self._given:
                    self._given += (record,)
        if self._host is not None:
            self._host(data)

    def _begun(self, operation: Operation) -> None:
        self.operations += 1
        number, chip = self.operations, self.rig.chip
        took = operation.end_ns - operation.start_ns
        for turn in range(self.each + 1):
            after = turn == self.each
            wait = took + self.dice.uniform(0, AFTER_NS) if after else self.dice.uniform(0, took)
            chip.at(operation.start_ns + wait, partial(self._cut, number, operation.kind, not after))

    def _cut(self, number: int, kind: str, half_done: bool) -> None:
        rig = self.rig
        flash = rig.chip.flash.contents(self.dice)
        blocks = {}
        for block in range(PICO.blocks):
            at = PICO.filesystem_start + block * BLOCK
            if flash[at : at + BLOCK] != self.base[at : at + BLOCK]:
                blocks[block] = flash[at : at + BLOCK]
        for node, grants in enumerate(rig.grants):
            for _, grant in grants[self._heard[node] :]:
                self._granted = max(self._granted, grant["epoch"])
                self._told = max(self._told, grant["newest_event"])
            self._heard[node] = len(grants)
        nodes = tuple(
            NodeLife(one.alive, one.running, one.stopped, one.epoch, one.incarnation, one.sequence, one.challenge)
            for one in rig.nodes
        )
        self.cuts.append(
            Cut(
                self.activity, number, kind, half_done, rig.chip.ns, blocks, nodes,
                self._granted, self._told, self._given, self.settings,
            )
        )  # fmt: skip

    def done(self, old: str | None, new: str | None = None) -> Sweep:
        """Return what was kept."""
        self.rig.chip.flash.on_operation = None
        return Sweep(self.activity, self.base, old, new, tuple(self.cuts), self.operations)


# What boards and racks do while their power is cut. Each begins with a settled rack, or makes its own.


def first_boot(recorder: Recorder) -> None:
    """Let an empty board start and write what it has to."""
    recorder.rig.chip.run_for(2600 * MS)


def settled_boot(recorder: Recorder) -> None:
    """Let a board with settings, state and journal start."""
    recorder.rig.settle()


def config_apply(recorder: Recorder) -> None:
    """Upload settings, try them, confirm them, as `heartwire config apply` does."""
    board = board_of(recorder.rig)
    recorder.settings = OLD

    def confirming() -> None:
        recorder.settings = EITHER

    board.apply_settings(quick_settings(**NEW_SETTINGS), confirming=confirming)
    recorder.settings = NEW
    recorder.rig.chip.run_for(1800 * MS)


def journal_append(recorder: Recorder) -> None:
    """Have records written a few at a time, and read them as the monitor does."""
    board = board_of(recorder.rig)
    after = 0
    for turn in range(2):
        for check in range(1 + 3 * turn):
            board.note_test(codes.NODES[0], codes.CHECKS[check], codes.OUTCOMES[0])
        recorder.rig.chip.run_for(1650 * MS)
        while True:
            page, raw = board.page(after)
            if not raw:
                break
            after = records.decode(raw[-1])["sequence"]
        assert page.newest >= after


def rotation(recorder: Recorder) -> None:
    """Start with both rings full, so that the next records begin new segments and push out the oldest."""
    recorder.rig.settle()
    board = board_of(recorder.rig)
    for _ in range(3):
        board.note_test(codes.NODES[0], codes.CHECKS[0], codes.OUTCOMES[0])
    # A new incarnation is a routine record.
    recorder.rig.nodes[1].boot()
    recorder.rig.chip.run_for(1800 * MS)
    newest = board.status().newest
    board.page(newest - 8)
    recorder.rig.chip.run_for(1800 * MS)


def epoch_change(recorder: Recorder) -> None:
    """Move the active role by a drain: nobody loses power, the epoch rises."""
    rig = recorder.rig
    board_of(rig).switchover(codes.NODES[1])
    rig.chip.run_while(lambda: not rig.nodes[1].running, 6000 * MS)
    rig.chip.run_for(1800 * MS)


def failover(recorder: Recorder) -> None:
    """Let the active node fall silent and crash, up to the grant of the other and what is written after it."""
    rig = recorder.rig
    rig.nodes[0].crash()
    rig.cut.add(0)
    rig.chip.run_while(lambda: not rig.nodes[1].running, 4000 * MS)
    rig.chip.run_for(1800 * MS)


# Longer than 512 bytes, an eighth of a block: littlefs keeps what is shorter in its directory, without an erase.
NEW_SETTINGS: dict[str, Any] = {
    "board__late_ms": 260, "board__name": "rack-two", "node__spare__name": "gamma", "node__a__busy_max_s": 601,
    "node__b__busy_max_s": 602, "node__spare__busy_max_s": 603,
}  # fmt: skip
# From a settled rack.
SETTLED: dict[str, Callable[[Recorder], None]] = {
    "config apply": config_apply,
    "journal append": journal_append,
    "epoch change": epoch_change,
    "failover": failover,
}
BOOTS: dict[str, Callable[[Recorder], None]] = {
    "first boot": first_boot,
    "settled boot": settled_boot,
    "journal rotation": rotation,
}
ACTIVITIES = (*BOOTS, *SETTLED)


def empty_rig(image: Path, flash: bytes | None = None) -> Rig:
    """Return a board with the firmware and nothing else, and servers that have no key yet."""
    rig = Rig(image, data={}, flash=flash, interval_ms=1000)
    for fake in rig.nodes:
        fake.signer = None
        fake.epoch, fake.running, fake.stopped = 0, False, True
    return rig


def full_journal() -> dict[str, bytes]:
    """Return journal files with every segment full but for the last record or two of the newest ones."""
    store = FakeFiles()
    hardware = FakeHardware()
    found = journal.Journal(store, Clock(hardware.ticks_ms, hardware.ticks_diff))
    found.boot = 1
    found.load()
    step = 16
    for ring, event in ((events.DECISION, events.TESTED), (events.ROUTINE, events.NEW_INCARNATION)):
        assert events.ring_of(event) == ring
        left = journal.SEGMENTS[ring] * journal.SEGMENT_RECORDS - 1 - ring
        while left:
            for _ in range(min(step, left)):
                assert found.append(event, 0)
            left -= min(step, left)
            assert found.flush()
    return {f"data/{name}": data for name, data in store.contents.items()}


def begin(name: str, image: Path, settled_flash: bytes) -> Rig:
    """Return the rack that an activity of BOOTS begins with: a board that gets power now."""
    if name == "first boot":
        return empty_rig(image)
    if name == "settled boot":
        return Rig(image, flash=settled_flash)
    return Rig(image, data={**stored(quick_settings()), **full_journal()})


def run(name: str, rig: Rig, each: int, seed: int) -> Sweep:
    """Run an activity on the rack it begins with and return its cuts; call it in a child process."""
    recorder = Recorder(name, rig, random.Random(f"{name} {seed}"), each)
    if name in BOOTS:
        BOOTS[name](recorder)
    else:
        SETTLED[name](recorder)
    old = None if name == "first boot" else quick_settings().text()
    return recorder.done(old, quick_settings(**NEW_SETTINGS).text() if name == "config apply" else None)
