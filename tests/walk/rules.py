"""The rules of firmware/DESIGN.md 5 as functions that look at each step of the policy from outside.

They use what the policy decided and what the servers really do, and none of the policy's own judgement, so that a
mistake in a guard is no mistake here. A breach raises Broken with the rule's number.
"""

from __future__ import annotations

from heartwire_firmware import policy_state, sequencer
from heartwire_protocol import codes, events, messages, reasons
from tests.walk.bodies import BEATS
from tests.walk.world import NO_NODE, World

ARMED = (codes.MODE_APPROVE, codes.MODE_AUTO)
BY_WORD = (reasons.OPERATOR, reasons.DRAIN_TIMEOUT)


class Broken(AssertionError):
    """A rule was broken."""


def demand(rule: str, holds: object, words: str) -> None:
    """Raise Broken unless `holds`."""
    if not holds:
        raise Broken(f"rule {rule}: {words}")


class Rules:
    """Watches one world; `requested` is the node an operator asked to fence without leaving anybody, or NO_NODE."""

    def __init__(self) -> None:
        self._epoch = 0
        self._fence: list[int] = []
        self._mode = 0
        self._locked: list[int] = []
        self._active = NO_NODE
        self._holder = NO_NODE
        self._quarantined: list[int] = []
        self._maintenance: list[int] = []
        self._denied: list[int] = []
        self._store_empty = 0
        self.forced = False

    def before(self, world: World) -> None:
        """Remember what was before the policy was asked."""
        state = world.state
        self._epoch = state.epoch
        self._fence = list(world.sequencer.status)
        self._mode = state.mode
        self._locked = list(state.locked)
        self._active = state.active
        self._holder = state.holder
        self._quarantined = list(state.quarantined)
        self._maintenance = list(state.maintenance_ms)
        self._denied = list(state.denied)
        self._store_empty = state.store_empty

    def after(self, world: World) -> None:
        """Check what was decided, before it is carried out."""
        state = world.state
        demand("5.2", state.epoch >= self._epoch, "the epoch fell")
        if state.holder not in (self._holder, NO_NODE):
            demand("5.2", state.epoch > self._epoch or world.out.persist, "another holder without a new epoch")
        cause = dict.fromkeys(range(3), -1)
        approved = any(row[0] in (events.APPROVED, events.APPROVAL_EXPIRED) for row in world.out.records)
        for event, node, reason, _, _ in world.out.records:
            if event == events.FENCE_FIRED:
                cause[node] = reason
            elif event == events.GRANTED:
                self._granted(world, node)
        for kind, node in world.out.actions:
            if kind == policy_state.FENCE:
                demand("5.9", cause[node] >= 0, "a fence without a record")
                self._fired(world, node, cause[node], approved)
            elif kind == policy_state.PULSE:
                demand("5.5", self._mode in ARMED and not state.safe_mode, "a pulse without being armed")
                demand("5.3", node != self._active or self._alone(world, node), "the active node was reset")
        for node in range(world.count):
            if self._quarantined[node] and not state.quarantined[node] and world.sequencer.status[node]:
                raise Broken("rule 5.10: a quarantine ended while the relay was cut")

    def _alone(self, world: World, node: int) -> bool:
        return world.count == 1

    def _fired(self, world: World, node: int, cause: int, approved: bool) -> None:
        state = world.state
        facts = world.facts
        demand("5.5", self._mode != codes.MODE_OBSERVE, "a fence in observe mode")
        demand("5.9", world.intent[node] == 2, "the contact moves before its intent is durable")
        demand("5.10", state.quarantined[node], "a fenced node is not quarantined")
        demand("5.7", state.active != node, "a fired node keeps its lease")
        for other in range(world.count):
            if other != node:
                busy = world.sequencer.status[other] in (sequencer.FIRED, sequencer.FAILED)
                demand("5.3", not busy, "a second relay while another one is off")
        if cause in BY_WORD:
            if not self.forced and self._mode in ARMED:
                self._remains(world, node)
            return
        demand("5.5", self._mode in ARMED, "an automatic fence without being armed")
        demand("5.5", self._mode == codes.MODE_AUTO or approved, "an automatic fence without approval")
        demand("5.12", not state.safe_mode, "an automatic fence in safe mode")
        demand("5.5", not self._locked[node], "an automatic fence of a locked-out node")
        left = self._maintenance[node] or self._maintenance[3]
        demand("5.5", not left or not (state.maintenance_ms[node] or state.maintenance_ms[3]), "a fence in maintenance")
        demand("5.5", facts.beats[node] or node == self._holder, "a fence of a node that was never heard")
        demand("5.5", not self._denied[node], "a fence after its approval was denied")
        live = world.livenesses[node]
        demand("5.6", live.age_ms >= 3000, "a fence of a node heard within dead_ms")
        demand("4", live.sign_ms >= 1000, "a fence of a node that is heard by half")
        if world.count > 1:
            later = [n for n in range(world.count) if n != node and live.age_ms - world.livenesses[n].age_ms > 2000]
            demand("5.4", [n for n in later if facts.beats[n]], "a fence although all lines fell silent together")
        demand("5.12", not (state.long_ms and state.long_node == node), "a fence of the holder of a long lease")
        self._remains(world, node)

    def _remains(self, world: World, node: int) -> None:
        if world.count == 1:
            return
        for other in range(world.count):
            body = world.bodies[other]
            good = world.livenesses[other].verdict == codes.VERDICT_GOOD  # more nobody can know
            if other != node and body.powered and good and not world.relays.commanded[other]:
                return
        raise Broken("rule 5.3: no powered node remains")

    def _granted(self, world: World, node: int) -> None:
        state = world.state
        facts = world.facts
        demand("5.2", facts.durable_epoch == state.epoch, "a grant before its epoch is durable")
        demand("5.2", facts.durable_holder == node, "a grant before its holder is durable")
        demand("5.5", self._mode in ARMED, "a grant without being armed")
        demand("5.12", not (state.long_ms and state.long_node != node), "a grant while another one has a long lease")
        demand("5.1", state.active == node, "a grant for a node that is not active")

    def leased(self, world: World, node: int) -> None:
        """A lease leaves the board."""
        state = world.state
        if state.mode not in ARMED:
            return
        stored = (world.facts.durable_epoch, world.facts.durable_holder)
        demand("5.2", stored == (state.epoch, node), "a lease without a durable record of epoch and holder")
        demand("5.1", not state.quarantined[node], "a lease for a quarantined node")
        same = state.epoch == world.leased_epoch and node == world.leased_node
        demand("5.2", same or state.epoch > world.leased_epoch, "an epoch repeats on another node")
        for other in range(world.count):
            if other != node and world.bodies[other].running:
                raise Broken(f"rule 5.1: {codes.NODES[node]} gets a lease while {codes.NODES[other]} serves")

    def started(self, world: World, node: int) -> None:
        """Services start."""
        demand("5.2", world.state.epoch > world.last_started, "an activation without a new epoch")

    def after_tick(self, world: World) -> None:
        """Check the world itself."""
        state = world.state
        serving = [node for node in range(world.count) if world.bodies[node].running]
        demand("5.1", len(serving) <= 1, "two nodes serve at once")
        if world.count > 1:
            demand("5.3", world.relays.cut_count < world.count or world.tainted == 2, "every relay is cut")
        node = state.active
        quiet = state.phase in (policy_state.WATCHING, policy_state.APPROVAL, policy_state.PREPARING)
        if node != NO_NODE and quiet and state.mode in ARMED:
            beats = world.bodies[node].up and world.bodies[node].line == BEATS
            renewed = (
                not beats or world.livenesses[node].verdict != codes.VERDICT_GOOD or world.grants.is_entitled(node)
            )
            demand("6", renewed, "the holder's lease is not renewed")
        if state.mode not in ARMED:
            for node in range(world.count):
                demand("6", world.grants._orders(node) & messages.ORDER_ADVISORY, "a binding grant without being armed")


def is_due(world: World) -> str:
    """Return why somebody should be active by now, or ""; asked where nothing more happens by itself."""
    state = world.state
    if state.mode != codes.MODE_AUTO or state.safe_mode or world.tainted or world.full or state.store_empty:
        return ""
    if state.active != NO_NODE and world.livenesses[state.active].age_ms < 3000:
        return ""
    if any(state.maintenance_ms) or state.long_ms or (state.holder != NO_NODE and state.locked[state.holder]):
        return ""
    if state.active != NO_NODE and state.locked[state.active]:
        return ""
    if state.active != NO_NODE and world.livenesses[state.active].sign_ms < 1000:
        return ""
    if (
        state.holder != NO_NODE
        and world.livenesses[state.holder].sign_ms < 1000
        and world.bodies[state.holder].line != 0
    ):
        return ""
    for node in range(world.count):
        body = world.bodies[node]
        fit = body.up and body.line == BEATS and not state.locked[node] and not state.quarantined[node]
        if fit and node != state.active:
            return f"{codes.NODES[node]} is fit and nobody who lives is active"
    return ""
