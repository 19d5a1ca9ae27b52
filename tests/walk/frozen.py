"""Freezing of the walk's world into a tuple, and thawing, so that a walk can go back.

Ages and counters are cut where no rule looks further, epochs and incarnations are renumbered, so that equal situations
are equal tuples. Called by world.World.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heartwire_firmware import durable, policy_state
from heartwire_protocol import codes

if TYPE_CHECKING:
    from tests.walk.world import World

NO_NODE = codes.NO_NODE
NOON_S = 43200
# What a node says that claims to know an epoch near the top: the highest that fits.
TOP_EPOCH = codes.COUNT_MAX - 1
CAP_MS = 13000
# Fields of State that only fill records or wrap around.
IGNORED = ("grant_ms", "last_age_ms", "boots", "slowest_s", "request_number")
STATE_NAMES = [name for name in sorted(policy_state.State().__dict__) if name not in IGNORED]
CAPS = {
    "phase_ms": CAP_MS,
    "start_ms": 5000,
    "seek_ms": 7000,
    "good_ms": 11000,
    "stable_ms": 4000,
    "boot_ms": CAP_MS + 1000,
    "ill_ms": 6000,
    "cancel_s": 10,
}
EPOCH_BASE = 8
_FRESH = policy_state.State().__dict__
NUMBERS = tuple([name for name in STATE_NAMES if not isinstance(_FRESH[name], list)])
NUMBER_CAPS = tuple([(name, cap) for name, cap in CAPS.items() if name in NUMBERS])
LIST_CAPS = tuple([(name, cap) for name, cap in CAPS.items() if name not in NUMBERS])
LISTS = tuple([
    name for name in STATE_NAMES
    if name not in NUMBERS and name not in CAPS and name not in ("fired_incarnation", "off_beats")
])  # fmt: skip
ALL_LISTS = (*LISTS, *[name for name, _ in LIST_CAPS], "fired_incarnation", "off_beats")


_STORED: dict[bytes, Any] = {}
_FLASH: dict[Any, bytes] = {}
# Durable fields that the walk keeps; what belongs to the schedule stands last.
_LAST = ("schedule_node", "schedule_of_day_s")
KEPT = (
    *[row[0] for row in durable.FIELDS if row[0] not in (*IGNORED, *_LAST, "epoch", "schedule_day")],
    *_LAST,
)


def stored_in(flash: bytes) -> Any:
    """Return what a durable record says: (facts, epoch, the rest)."""
    found = _STORED.get(flash)
    if found is None:
        stored = policy_state.State()
        if flash:
            durable.unpack(flash, stored)
        rest = [getattr(stored, name) for name in KEPT]
        found = _STORED[flash] = (
            (stored.epoch, stored.holder, stored.long_ms > 0),
            stored.epoch,
            tuple([tuple(one) if isinstance(one, list) else one for one in rest]),
        )
    return found


def flash_of(kept: Any) -> bytes:
    """Return the durable record that says (epoch, the rest)."""
    flash = _FLASH.get(kept)
    if flash is None:
        stored = policy_state.State()
        stored.epoch = kept[0]
        for name, value in zip(KEPT, kept[1:], strict=True):
            setattr(stored, name, list(value) if isinstance(value, tuple) else value)
        flash = _FLASH[kept] = durable.pack(stored)
    return flash


def freeze(world: World) -> tuple[Any, ...]:
    """Return everything that the future depends on, in its canonical form."""
    state = world.state
    base = state.epoch - EPOCH_BASE
    intakes = world.board.intakes
    known = state.__dict__
    values = {name: known[name] for name in NUMBERS}
    for name, cap in NUMBER_CAPS:
        if values[name] > cap:
            values[name] = cap
    values["epoch"] = EPOCH_BASE
    active, target = state.active, state.target
    same = active != NO_NODE and state.active_incarnation == intakes[active].incarnation
    values["active_incarnation"] = int(same)
    values["asked_beats"] = int(target != NO_NODE and state.asked_beats == intakes[target].beats)
    lists = [tuple(known[name]) for name in LISTS]
    lists += [tuple([v if v < cap else cap for v in known[name]]) for name, cap in LIST_CAPS]
    heard = [intake.incarnation for intake in intakes]
    lists.append(tuple([int(bool(heard[n]) and state.fired_incarnation[n] == heard[n]) for n in range(3)]))
    lists.append(tuple([int(n < world.count and state.off_beats[n] == intakes[n].beats) for n in range(3)]))
    nodes = []
    intents = world.intent
    senses = world.senses
    for node in range(world.count):
        body = world.bodies[node]
        live = world.livenesses[node]
        intake = intakes[node]
        nodes.append((
            body.powered, body.up, body.boot, body.line, body.running, body.stopped, body.drained,
            max(0, body.epoch - base), body.lease,
            int(body.incarnation == intake.incarnation), body.stuck, body.unfed,
            live.verdict, min(live.age_ms, CAP_MS), min(live.sign_ms, CAP_MS), live.streak,
            intake.state, intake.flags, intake.epoch if intake.epoch == TOP_EPOCH else max(0, intake.epoch - base),
            intake.busy_s,
            (body.state, body.busy_s, body.obeys, body.soft_off, body.broken, body.chatters, body.claims, body.follows),
            min(intake.beats, 2), int(bool(intake.incarnation)), intents[node],
            intake.half_line, intake.altered, senses.off_ms[node],
            world.facts.unproven[node],
        ))  # fmt: skip
    seq = world.sequencer
    sequence = tuple([
        (seq.status[n], min(seq.since_ms[n], CAP_MS), min(seq.proof_ms[n], CAP_MS), seq.reason[n],
         min(seq._off_ms[n], 5000), seq._trusted[n], seq.method[n])
        for n in range(world.count)
    ])  # fmt: skip
    epoch, kept = stored_in(world.flash)[1:]
    kept = (max(0, epoch - base), *kept)
    fitted = None
    if world.fittings is not None:
        fitted = world.fittings.freeze()
        values["schedule_day"] = values["schedule_of_day_s"] = 0
        kept = (*kept[:-1], world.fittings.relative_s(kept[-1], kept[-2]))
    return (
        (tuple(values.values()), *lists), tuple(nodes), sequence, kept,
        world.chip.mark, world.board.durable.waiting, world.full, world.tainted, world.forced_s,
        (world.peer_s, world.peer_target if world.peer_s else NO_NODE),
        max(0, world.last_started - base), max(0, world.leased_epoch - base), world.leased_node, world.variant, fitted,
    )  # fmt: skip


def thaw(world: World, frozen: tuple[Any, ...]) -> None:
    """Take everything from a frozen world."""
    (values, nodes, sequence, kept, mark, world.board.durable.waiting, world.full, world.tainted, world.forced_s,
     (world.peer_s, world.peer_target), started, leased, leased_node, variant) = frozen[:-1]  # fmt: skip
    state = world.state
    known = state.__dict__
    known.update(zip(NUMBERS, values[0], strict=True))
    for name, value in zip(ALL_LISTS, values[1:], strict=True):
        known[name][:] = value
    state.grant_ms = state.last_age_ms = 0
    state.request_number = 1
    state.boots = 1
    board = world.board
    facts = world.facts
    if variant != world.variant:
        world.set_variant(variant)
    intents = [0, 0, 0]
    for node, row in enumerate(nodes):
        body = world.bodies[node]
        live = world.livenesses[node]
        intake = board.intakes[node]
        row, facts.unproven[node] = row[:-1], row[-1]
        (
            body.powered, body.up, body.boot, body.line, body.running, body.stopped, body.drained, body.epoch,
            body.lease, same, body.stuck, body.unfed, live.verdict, live.age_ms, live.sign_ms, live.streak,
            intake.state, intake.flags, intake.epoch, intake.busy_s, more,
            intake.beats, heard, intents[node], intake.half_line, intake.altered, world.senses.off_ms[node],
        ) = row  # fmt: skip
        (body.state, body.busy_s, body.obeys, body.soft_off, body.broken, body.chatters, body.claims,
         body.follows) = more  # fmt: skip
        intake.incarnation = 5 if heard else 0
        intake.has_incarnation = bool(heard)
        body.incarnation = 5 if same else 6
        state.slowest_s[node] = 0
        state.fired_incarnation[node] = 5 if state.fired_incarnation[node] else 4
        state.off_beats[node] = intake.beats if state.off_beats[node] else -1
    if state.active != NO_NODE:
        state.active_incarnation = board.intakes[state.active].incarnation if state.active_incarnation else 4
    if state.target != NO_NODE:
        state.asked_beats = board.intakes[state.target].beats if state.asked_beats else -1
    seq = world.sequencer
    for node, row in enumerate(sequence):
        (seq.status[node], seq.since_ms[node], seq.proof_ms[node], seq.reason[node], seq._off_ms[node],
         seq._trusted[node], seq.method[node]) = row  # fmt: skip
        # The facts keep what they were told while a fence was on.
        facts.fence_ms[node], facts.proof_ms[node] = seq.since_ms[node], seq.proof_ms[node]
        facts.fence_reason[node] = seq.reason[node]
    world.chip.mark = mark
    seq._mark = mark
    world.relays.cut_count = 0
    for node in range(3):
        on = bool(mark >> node & 1) and seq.method[node] == codes.METHOD_POWER
        world.relays.commanded[node] = on
        world.relays.cut_count += on
    test_waits = False
    if world.fittings is not None:
        test_waits = world.fittings.thaw(frozen[-1])
        if kept[-2] != NO_NODE:
            kept = (*kept[:-1], kept[-1] + NOON_S)
    world.flash = flash_of(kept)
    world.last_started, world.leased_epoch, world.leased_node = started, leased, leased_node
    world.cut_at = -1
    board.set_intents(intents, test_waits)
    board.durable.note()
    board.filler.note_all()
    off_ms = list(world.senses.off_ms)
    world.sense()
    world.senses.off_ms[:] = off_ms  # what another state had shown last says nothing about how long it was so
    board.filler.fill()
