"""The rules of heartwire_protocol/rules.py as functions that look at each step of the policy from outside.

They use what the policy decided and what the servers really do, and none of the policy's own judgement, so that a
mistake in a guard is no mistake here. A breach raises Broken with the rule's number.
"""

from __future__ import annotations

from heartwire_firmware import policy_state, sequencer
from heartwire_firmware.selftest import CUT, SelfTest
from heartwire_protocol import codes, events, messages, operations, reasons
from tests.walk.bodies import BEATS
from tests.walk.world import NO_NODE, World

ARMED = (codes.MODE_APPROVE, codes.MODE_AUTO)
BY_WORD = (reasons.OPERATOR, reasons.DRAIN_TIMEOUT, reasons.DECLARED)
EXCUSED_MS = 3000 + 2000


class Broken(AssertionError):
    """A rule was broken."""


def demand(rule: str, holds: object, words: str) -> None:
    """Raise Broken unless `holds`."""
    if not holds:
        raise Broken(f"rule {rule}: {words}")


class Rules:
    """Watches one world; `always_observe`: observe mode must be accepted at any time."""

    def __init__(self, always_observe: bool = False) -> None:
        self._always_observe = always_observe
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
            elif event == events.DRAIN_ASKED and reason == reasons.SCHEDULE:
                self._scheduled(world)
        for kind, node in world.out.actions:
            if kind == policy_state.FENCE or (kind == policy_state.VOUCH and cause[node] >= 0):
                demand("5.9", cause[node] >= 0, "a fence without a record")
                self._fired(world, node, cause[node], approved)
            elif kind == policy_state.PULSE and world.settings.nodes[node].front == "reset":
                demand("5.5", self._mode in ARMED and not state.safe_mode, "a pulse without being armed")
                demand("5.3", node != self._active or self._alone(world, node), "the active node was reset")
        for node in range(world.count):
            if self._quarantined[node] and not state.quarantined[node] and world.sequencer.status[node]:
                raise Broken("rule 5.10: a quarantine ended while the relay was cut")

    def _alone(self, world: World, node: int) -> bool:
        """No other line can be heard: there is none, or it is that of a cold standby which is off."""
        others = [other for other in range(world.count) if other != node]
        return all(world.bodies[n].soft_off and world.settings.nodes[n].standby == "cold" for n in others)

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
                # What is done to a node that holds nothing keeps no failover waiting.
                demand("5.3", not busy or node == self._active, "a second relay while another one is off")
        by_peer = cause == reasons.PEER and self._mode in ARMED
        if cause == reasons.PEER and not by_peer:
            return
        if cause in BY_WORD and not by_peer:
            if not world.forced_s and self._mode in ARMED:
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
        demand("5.5", world.bodies[node].follows == world.follows[node], "a fence before it was good with a new key")
        live = world.livenesses[node]
        demand("5.6", live.age_ms >= 3000, "a fence of a node heard within dead_ms")
        excused = live.age_ms < EXCUSED_MS
        demand("5.6", live.sign_ms >= 1000 or not excused, "a fence of a node that is heard by half")
        if world.count > 1 and not self._alone(world, node):
            later = [n for n in range(world.count) if n != node and live.age_ms - world.livenesses[n].age_ms > 2000]
            demand("5.4", [n for n in later if facts.beats[n]], "a fence although all lines fell silent together")
        demand("5.13", not (state.long_ms and state.long_node == node), "a fence of the holder of a long lease")
        self._said(world, node)
        if world.fittings is not None:
            demand("5.5", not world.fittings.silenced[node], "a fence of a node that a relay test has silenced")
        self._remains(world, node)

    def _said(self, world: World, node: int) -> None:
        """What the node said last of itself is waited for: busy or dumping up to the cap, starting its boot grace."""
        facts = world.facts
        age_ms = world.livenesses[node].age_ms
        said = facts.node_state[node]
        if said in (codes.STATE_BUSY, codes.STATE_CRASH_DUMP):
            wait_s = min(facts.busy_s[node], world.settings.nodes[node].busy_max_s)
            demand("5.6", age_ms >= 3000 + 1000 * wait_s, "a fence of a node that said it is busy")
        if said == codes.STATE_STARTING and facts.beats[node]:
            demand("5.6", age_ms >= world.settings.nodes[node].boot_grace_ms, "a fence of a node that is starting")

    def _scheduled(self, world: World) -> None:
        fittings = world.fittings
        assert fittings is not None
        demand("5.15", world.board.clock.wall_known, "a schedule begins without the wall time")
        demand("5.15", fittings.due_node == world.state.successor, "a schedule that nobody asked for, or took back")
        demand("5.15", fittings.due_s <= 0, "a schedule begins before it is due")

    def transferred(self, world: World, node: int) -> None:
        """A coil of the transfer relay gets current."""
        state = world.state
        demand("5.5", state.mode != codes.MODE_FENCER, "the transfer relay moves in fencer mode")
        if state.mode in ARMED:
            demand("5.16", state.active == node, "the transfer relay moves to a node that is not active")
            others = [other for other in range(world.count) if other != node and world.bodies[other].running]
            demand("5.1", not others, "the transfer relay is taken from a node that serves")

    def pressed(self, world: World, node: int) -> None:
        """The power button of a node is pressed shortly."""
        demand("5.3", not world.bodies[node].powered, "a short press shuts down a server that is on")
        for other in range(world.count):
            demand("5.1", not world.bodies[other].running, "a cold standby is started while another node serves")

    def _remains(self, world: World, node: int) -> None:
        if world.count == 1:
            return
        for other in range(world.count):
            body = world.bodies[other]
            good = world.livenesses[other].verdict == codes.VERDICT_GOOD  # more nobody can know
            if other != node and body.powered and good and not world.relays.commanded[other]:
                return
            cold = world.settings.nodes[other].standby == "cold" and body.soft_off
            if other != node and cold and not world.relays.commanded[other]:
                return  # it is started
        raise Broken("rule 5.3: no powered node remains")

    def _granted(self, world: World, node: int) -> None:
        state = world.state
        facts = world.facts
        demand("5.2", facts.durable_epoch == state.epoch, "a grant before its epoch is durable")
        demand("5.2", facts.durable_holder == node, "a grant before its holder is durable")
        demand("5.5", self._mode in ARMED, "a grant without being armed")
        demand("5.13", not (state.long_ms and state.long_node != node), "a grant while another one has a long lease")
        demand("5.1", state.active == node, "a grant for a node that is not active")

    def asked(self, world: World, operation: int, argument: int, reason: int) -> None:
        """An operator has asked."""
        tested = world.facts.proof != NO_NODE
        if self._always_observe and operation == operations.MODE and argument == codes.MODE_OBSERVE and not tested:
            demand("5.5", reason == reasons.NONE, "observe mode is refused")

    def answered_peer(self, world: World, target: int) -> None:
        """A node has asked for a fence of another one."""
        told = [row[0] for row in world.journal if row[1] == target]
        answered = events.REQUESTED in told or events.REFUSED in told
        demand("5.15", answered, "a peer's request leaves no record")

    def _tested(self, world: World, test: SelfTest) -> None:
        """A relay test: one relay, of a node that holds nothing, bounded, unmarked, while the active node is good."""
        state = world.state
        cut = [node for node in range(3) if world.relays.commanded[node]]
        fenced = [node for node in cut if world.sequencer.status[node] != sequencer.IDLE]
        if test.phase != CUT:
            demand("5.8", cut == fenced, "a relay stays cut after its test")
            return
        node = test.node
        demand("5.3", cut == [node] and not fenced, "a test and a fence cut relays at once")
        demand("5.9", not world.chip.mark >> node & 1, "a relay test is marked as a fence")
        demand("5.11", test._since_ms <= test.cut_ms, "a relay test does not end")
        demand("5.12", not state.safe_mode, "a relay test in safe mode")
        demand("5.13", not state.long_ms, "a relay test during a long lease")
        if state.mode == codes.MODE_OBSERVE:
            return
        demand("5.3", node not in (state.active, state.holder), "the active node or the holder is tested")
        demand("5.5", state.maintenance_ms[node] or state.maintenance_ms[3], "a relay test outside maintenance")
        if state.mode in ARMED and world.count > 1:
            # What the policy decides in the last pass of a tick ends the test in the first one of the next.
            good = self._active != NO_NODE and world.facts.verdict[self._active] == codes.VERDICT_GOOD
            demand("5.3", good, "a relay test while the active node is not good")

    def leased(self, world: World, node: int) -> None:
        """A lease leaves the board."""
        state = world.state
        if state.mode not in ARMED:
            return
        stored = (world.facts.durable_epoch, world.facts.durable_holder)
        demand("5.2", stored == (state.epoch, node), "a lease without a durable record of epoch and holder")
        demand("5.1", not state.quarantined[node], "a lease for a quarantined node")
        if world.fittings is not None:
            demand("5.3", world.board.selftest.node != node, "a lease for a node under test")
        same = state.epoch == world.leased_epoch and node == world.leased_node
        demand("5.2", same or state.epoch > world.leased_epoch, "an epoch repeats on another node")
        for other in range(world.count):
            if other != node and world.bodies[other].running:
                raise Broken(f"rule 5.1: {codes.NODES[node]} gets a lease while {codes.NODES[other]} serves")

    def started(self, world: World, node: int) -> None:
        """Services start."""
        state = world.state
        # A start that is tried again before the board saw it come to its end is the same activation.
        again = state.awaiting_running and state.active == node and state.epoch == world.last_started
        demand("5.2", again or state.epoch > world.last_started, "an activation without a new epoch")

    def after_tick(self, world: World) -> None:
        """Check the world itself."""
        state = world.state
        serving = [node for node in range(world.count) if world.bodies[node].running]
        demand("5.1", len(serving) <= 1, "two nodes serve at once")
        if world.count > 1:
            demand("5.3", world.relays.cut_count < world.count or world.tainted == 2, "every relay is cut")
        if world.fittings is not None:
            self._tested(world, world.board.selftest)
        for node in (state.active, state.holder):
            demand("5.14", node == NO_NODE or world.facts.enabled[node], "who is active or holder is disabled")
        node = state.active
        if node != NO_NODE and state.mode in ARMED:
            demand("5.1", state.role[node] == codes.ROLE_ACTIVE, "who is active is told another role")
        quiet = state.phase in (policy_state.WATCHING, policy_state.APPROVAL, policy_state.PREPARING)
        if node != NO_NODE and quiet and state.mode in ARMED:
            beats = world.bodies[node].up and world.bodies[node].line == BEATS
            renewed = (
                not beats or world.livenesses[node].verdict != codes.VERDICT_GOOD or world.grants.is_entitled(node)
            )
            demand("5.16", renewed, "the holder's lease is not renewed")
        if state.mode not in ARMED:
            for node in range(world.count):
                demand(
                    "5.16", world.grants._orders(node) & messages.ORDER_ADVISORY, "a binding grant without being armed"
                )
