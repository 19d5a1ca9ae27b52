"""What must hold after a power cut, looked at twice: in the files it leaves, and in a board that starts from them.

`files_hold` runs the firmware's own loaders on the files, which takes milliseconds, so every cut is looked at;
`boot_holds` starts the image from the flash of one cut beside the nodes as they stood. Both return complaints in words,
none if all is well. Used by test_power_cut.py and `tools/bench_board.py --sweep`.
"""

from __future__ import annotations

import random
from pathlib import Path

from heartwire.chain import ALTERED, DAMAGED, ChainChecker
from heartwire.emulated import files
from heartwire.emulated.chip import MS, filesystem_of
from heartwire.simulate.bench import durable_records
from heartwire.simulate.hardware import FakeFiles, FakeHardware
from heartwire_firmware import config, durable, journal, policy_state
from heartwire_firmware.clock import Clock
from heartwire_protocol import codes, events, framing, records
from heartwire_protocol.settings import Settings
from tests.emulated import sweep
from tests.emulated.rig import Rig, journal_of
from tests.emulated.sweep import EITHER, NEW, Cut, Sweep

FIRMWARE = ("boot.py", "main.py", "heartwire_board.mpy")
GUARDING_MS = 1000
# After it guards: long enough that nodes are answered, a holder is adopted and records are written.
LIFE_MS = 2200
RETURN_MS = 400  # a server whose power came back beats again; a real one takes longer


def _data_of(found: dict[str, bytes]) -> FakeFiles:
    store = FakeFiles()
    store.contents = {name[5:]: data for name, data in found.items() if name.startswith("data/")}
    return store


def _records_of(store: FakeFiles) -> list[bytes]:
    """Return all whole records of the journal files, oldest first."""
    found = []
    for name, data in store.contents.items():
        if name[0] in journal.PREFIXES and len(name) == 9:
            pieces = [data[at : at + records.LENGTH] for at in range(0, len(data), records.LENGTH)]
            found += [piece for piece in pieces if len(piece) == records.LENGTH and records.is_whole(piece)]
    return sorted(found, key=_sequence)


def _sequence(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little")


def _state_of(store: FakeFiles) -> tuple[durable.Durable, policy_state.State]:
    kept, state = durable.Durable(store), policy_state.State()
    kept.load(state)
    return kept, state


def allowed_texts(swept: Sweep, cut: Cut) -> set[str]:
    """Return the settings that a board may run after this cut, as canonical text."""
    old = swept.old if swept.old is not None else Settings().text()
    if swept.new is None or cut.settings == sweep.OLD:
        return {old}
    return {swept.new} if cut.settings == NEW else {old, swept.new} if cut.settings == EITHER else {old}


def files_hold(swept: Sweep, cut: Cut) -> list[str]:
    """Return what is wrong with the files that the cut leaves."""
    before = files.read(filesystem_of(swept.base))
    try:
        found = files.read(filesystem_of(swept.flash(cut)))
    except Exception as error:
        return [f"the board finds no file system: {error!r}"]
    wrong = [f"{name} is damaged" for name in FIRMWARE if found.get(name) != before[name]]
    store = _data_of(found)
    wrong += _state_holds(_data_of(before), store, cut)
    wrong += _settings_hold(swept, store, cut)
    wrong += _journal_holds(_data_of(before), store, cut)
    return wrong


def _state_holds(before: FakeFiles, store: FakeFiles, cut: Cut) -> list[str]:
    wrong = []
    kept, state = _state_of(store)
    old, old_state = _state_of(before)
    if old.empty < kept.empty:
        wrong.append("the durable state is gone")
    if kept._slots.damaged:
        wrong.append("a copy of the state is damaged")
    if state.epoch < max(old_state.epoch, cut.granted):
        wrong.append(f"epoch {state.epoch} is durable, {old_state.epoch} was, {cut.granted} was granted")
    running = [node for node, life in enumerate(cut.nodes) if life.alive and life.running]
    if len(running) > 1:
        wrong.append("two nodes ran")
    for node in running:
        if state.holder != node or cut.nodes[node].epoch > state.epoch:
            wrong.append(f"node {node} runs in epoch {cut.nodes[node].epoch}, durable: {state.holder} in {state.epoch}")
    return wrong


def _settings_hold(swept: Sweep, store: FakeFiles, cut: Cut) -> list[str]:
    running = config.Config(store)
    running.load()
    wrong = []
    if running._slots.damaged:
        wrong.append("a copy of the settings is damaged")
    if running.current.text() not in allowed_texts(swept, cut):
        wrong.append(f"other settings than the {cut.settings} ones")
    return wrong


def lost_records(wanted: list[bytes], store: FakeFiles) -> list[int]:
    """Return the sequences of `wanted` records that are gone, but for those that rotation has pushed out."""
    kept = set(_records_of(store))
    firsts: dict[int, list[int]] = {ring: [] for ring in (events.DECISION, events.ROUTINE)}
    for name in store.contents:
        if name[0] in journal.PREFIXES and len(name) == 9:
            firsts[journal.PREFIXES.index(name[0])].append(int(name[1:], 16))
    lost = []
    for raw in wanted:
        if raw not in kept:
            ring = events.ring_of(records.decode(raw)["event"])
            rotated = len(firsts[ring]) >= journal.SEGMENTS[ring] and _sequence(raw) < min(firsts[ring])
            if not rotated:
                lost.append(_sequence(raw))
    return lost


def _journal_holds(before: FakeFiles, store: FakeFiles, cut: Cut) -> list[str]:
    wrong = []
    whole = _records_of(store)
    lost = lost_records([*_records_of(before), *cut.given], store)
    if lost:
        wrong.append(f"records are lost: {lost}")
    newest = _sequence(whole[-1]) if whole else 0
    if cut.told > newest:
        wrong.append(f"record {cut.told} was called durable, the newest is {newest}")
    hardware = FakeHardware()
    book = journal.Journal(store, Clock(hardware.ticks_ms, hardware.ticks_diff))
    book.load()
    seen = durable_records(book)
    if seen != whole:
        wrong.append(f"the journal shows {len(seen)} of {len(whole)} records")
    # The next life goes on behind it: no number twice, no break in the chain.
    book.boot = 2
    fresh = book.append(events.BOOT, codes.NO_NODE)
    if fresh <= newest or not book.flush() or len(durable_records(book)) not in (len(whole) + 1, _rotated_count(whole)):
        wrong.append("the next record does not follow")
    checker = ChainChecker(_sequence(whole[0]) - 1 if whole else 0)
    for raw in durable_records(book):
        wrong += [found.words for found in checker.take(raw)[1] if found.kind in (ALTERED, DAMAGED)]
    return wrong


def _rotated_count(whole: list[bytes]) -> int:
    """Return how many records stand if the next decision begins a segment and pushes out the oldest one."""
    return len(whole) + 1 - journal.SEGMENT_RECORDS


def next_life(image: Path, swept: Sweep, cut: Cut, dice: random.Random) -> Rig:
    """Return the rack when the power comes back: relays released, nodes as they stood, the dead ones boot or do not."""
    flash = swept.flash(cut)
    rig = sweep.empty_rig(image, flash) if swept.old is None else Rig(image, flash=flash)
    for fake, life in zip(rig.nodes, cut.nodes, strict=True):
        fake.alive, fake.running, fake.stopped = life.alive, life.running, life.stopped
        fake.epoch, fake.incarnation, fake.sequence = life.epoch, life.incarnation, life.sequence
        fake.challenge = life.challenge
        if not life.alive and dice.random() < 0.5:
            rig.chip.at(rig.chip.ns + RETURN_MS * MS, fake.boot)
    return rig


def boot_holds(image: Path, swept: Sweep, cut: Cut, seed: int) -> list[str]:
    """Start the image from what the cut leaves and return what is wrong with that life; call it in a child process."""
    rig = next_life(image, swept, cut, random.Random(seed))
    chip = rig.chip
    chip.run_for(GUARDING_MS * MS)
    if not chip.passes:
        return [f"no pass of the loop within {GUARDING_MS} ms"]
    chip.run_for(LIFE_MS * MS)
    wrong = []
    if chip.resets:
        wrong.append(f"{len(chip.resets)} resets")
    if rig.fenced:
        wrong.append(f"fenced {rig.fenced}")
    if rig.two_active:
        wrong.append("two nodes run")
    for node, fake in enumerate(rig.nodes):
        if fake.alive and not rig.grants[node]:
            wrong.append(f"node {node} gets no answer")
    before = _data_of(files.read(filesystem_of(swept.flash(cut))))
    epoch = max(_state_of(before)[1].epoch, *(life.epoch for life in cut.nodes), cut.granted)
    lower = [grant["epoch"] for grants in rig.grants for _, grant in grants if grant["epoch"] < epoch]
    if lower:
        wrong.append(f"granted epoch {min(lower)} after {epoch}")
    status = rig.ask("status")
    if status["epoch"] < epoch or not status["newest"]:
        wrong.append(f"status says epoch {status['epoch']}, newest record {status['newest']}")
    crcs = {framing.crc16(text.encode(), len(text.encode())) for text in allowed_texts(swept, cut)}
    if status["crc"] not in crcs:
        wrong.append("runs other settings")
    after = rig.files()
    lost = lost_records([*_records_of(before), *cut.given], _data_of(after))
    if lost:
        wrong.append(f"records are lost: {lost}")
    if not any(row["event"] == events.BOOT and row["boot"] == status["boot"] for row in journal_of(after)):
        wrong.append("its start is not in the journal")
    return wrong


def sample(swept: Sweep, count: int, dice: random.Random) -> list[Cut]:
    """Choose `count` cuts to boot from: at least one in each kind of operation, half-done ones first."""
    chosen: list[Cut] = []
    for kind in sorted({cut.kind for cut in swept.cuts}):
        half = [cut for cut in swept.cuts if cut.kind == kind and cut.half_done]
        chosen.append(dice.choice(half))
    rest = [cut for cut in swept.cuts if cut not in chosen]
    more = dice.sample(rest, max(0, min(len(rest), count - len(chosen))))
    return [*chosen, *more][: max(count, 0)]
