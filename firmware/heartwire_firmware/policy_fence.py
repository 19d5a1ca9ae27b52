"""Fences under way: approval, the intent, the shot, the proof, the grant after it, and power given back.

Builds on policy_seek. Everything here was allowed by guards.py before it began, and is asked again where time passed in
between.
"""

from heartwire_firmware import fitness, guards, sequencer
from heartwire_firmware.policy_core import ARMED, PREPARE_MS
from heartwire_firmware.policy_seek import Seek
from heartwire_firmware.policy_state import (
    APPROVAL,
    DRAINING,
    FAILED,
    FENCING,
    PROMOTING,
    PROVE,
    PULSE,
    RELEASE,
    STARTING,
    WATCHING,
)
from heartwire_firmware.sequencer import ASSUMED, FIRED, IDLE, PROVEN
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import NO_NODE

# Number of the operation "fence", for the record of a refusal.
REQUEST_FENCE = 12
SURELY_OFF = (PROVEN, ASSUMED)
NEED_OFF = (FENCING, PROMOTING, STARTING)


class Fence(Seek):
    """The part of the policy that carries out a fence and what follows from it."""

    def rest(self) -> None:
        """End the operation under way."""
        self.state.forced = 0
        self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)

    def _await_approval(self) -> None:
        """Wait for a person's word on the request, as long as what it was asked for still stands."""
        state = self.state
        node = state.target
        if not self._still_asked(node):
            self.out.say(events.FENCE_CANCELLED, node, reasons.GOOD_AGAIN)
            state.prepared[node] = 0
            self.rest()
        elif not state.approval_ms:
            proceed = self.settings.board.approval_default == "proceed"
            proven = (
                self.settings.nodes[node].off_proof == "sense"
                and state.sense_seen[node]
                and self.facts.power[node] == codes.POWER_ON
            )
            self.out.say(events.APPROVAL_EXPIRED, node, reasons.EXPIRED, state.request_number)
            if proceed and (proven or state.cause == reasons.PLANNED_OFF):
                self.approved()
            else:
                state.denied[node] = 1
                self.rest()

    def _still_asked(self, node: int) -> bool:
        """Tell whether what was asked still stands: any heartbeat of the target since then makes it void."""
        state = self.state
        facts = self.facts
        if state.cause == reasons.PLANNED_OFF:
            return fitness.has_stopped(facts, node) and facts.node_state[node] == codes.STATE_PLANNED_OFF
        if facts.beats[node] != state.asked_beats or facts.sign_ms[node] < state.phase_ms:
            return False
        return facts.verdict[node] in fitness.SILENT

    def approved(self) -> None:
        """Carry out the request under approval, if the guards still allow it now."""
        state = self.state
        node = state.target
        if state.cause == reasons.PLANNED_OFF:
            self.rest()
            self.hand_over(node, reasons.PLANNED_OFF)
            return
        for reason, guard in guards.AUTOMATIC:
            if reason != reasons.NEEDS_APPROVAL and guard(self.settings, state, self.facts, node):
                self.rest()
                self.hold(node, reason)
                return
        self.begin_fence(node, state.cause, True)

    def hand_over(self, node: int, cause: int) -> None:
        """Let a successor take over from `node`, which says that it has stopped: nothing is left to fence."""
        successor = fitness.successor_of(self.settings, self.state, self.facts, node)
        if successor != NO_NODE and fitness.has_stopped(self.facts, node):
            self.state.last_age_ms = self.facts.age_ms[node]
            self.retire(node, cause)
            self.promote(successor, cause)

    def _prepare_step(self) -> None:
        """Wait until the intent of a requested fence is durable, then ask the guards once more and fire."""
        state = self.state
        node = state.target
        if not self.facts.intent_durable[node]:
            if state.phase_ms < PREPARE_MS:
                return
            reason = reasons.NOT_DURABLE
        else:
            reason = guards.first_reason(guards.AT_FIRE, self.settings, state, self.facts, node)
        if reason != reasons.NONE:
            self.out.say(events.REFUSED, node, reason, REQUEST_FENCE)
            self.rest()
            return
        self.begin_fence(node, state.cause, False)

    def _fence_step(self) -> None:
        """Wait for the proof that the target is off; without one, nobody is granted."""
        state = self.state
        facts = self.facts
        node = state.target
        status = facts.fence[node]
        if status == FIRED:
            if self._came_back_stopped(node):
                self.out.act(PROVE, node)
            return
        if status == IDLE and state.phase_ms < 5:
            return
        if status == PROVEN or status == ASSUMED:
            event = events.OFF_PROVEN if status == PROVEN else events.OFF_ASSUMED
            self.out.say(event, node, reasons.NONE, facts.proof_ms[node])
            self._after_proof(node)
        else:
            self._proved_nothing(node)

    def _came_back_stopped(self, node: int) -> bool:
        """Rule 5.7: a reset pulse counts only when a new incarnation reports verified_stopped."""
        if self.settings.nodes[node].fence != "reset":
            return False
        facts = self.facts
        new = facts.incarnation[node] != self.state.fired_incarnation[node]
        return new and facts.verdict[node] == codes.VERDICT_GOOD and fitness.has_stopped(facts, node)

    def _proved_nothing(self, node: int) -> None:
        state = self.state
        reason = self.facts.fence_reason[node]
        self.out.say(events.OFF_FAILED, node, reason, self.facts.proof_ms[node])
        state.prepared[node] = 0
        state.failed[node] = 1
        if node == state.holder or state.active == NO_NODE:
            self.enter(FAILED, node, NO_NODE, state.cause)
        else:
            # It held nothing: the active node goes on being watched, while hold_max_s runs.
            self.rest()
            self.hold(node, reason)

    def _after_proof(self, node: int) -> None:
        state = self.state
        state.prepared[node] = 0
        if (state.active != NO_NODE and state.active != node) or state.mode not in ARMED:
            # A standby was fenced, or another cluster decides: nobody is granted.
            self.rest()
            return
        successor = fitness.successor_of(self.settings, state, self.facts, node)
        if successor != NO_NODE:
            self.promote(successor, state.cause)
            return
        cold = fitness.cold_successor_of(self.settings, state, self.facts, node)
        if cold != NO_NODE:
            self.out.say(events.START_ASKED, cold, reasons.COLD_START)
            self.out.act(PULSE, cold)
            state.boot_ms[cold] = 1
            self.enter(STARTING, node, cold, state.cause)
            return
        self.retire(node, reasons.FENCE_PROVEN)
        self.rest()
        self.hold(node, reasons.NO_SUCCESSOR)

    def _start_step(self) -> None:
        """Wait for the cold standby to boot; whoever is fit first takes over."""
        state = self.state
        node = state.target
        if self.facts.fence[node] == sequencer.FAILED:
            self._proved_nothing(node)  # its power came back behind the open contact
            return
        successor = fitness.successor_of(self.settings, state, self.facts, node)
        if successor != NO_NODE:
            self.promote(successor, state.cause)
        elif state.phase_ms >= self.settings.nodes[state.successor].boot_grace_ms:
            self.out.say(events.START_FAILED, state.successor, reasons.NOT_BOOTED, state.phase_ms)
            self.retire(node, reasons.FENCE_PROVEN)
            self.rest()
            self.hold(node, reasons.NO_SUCCESSOR)

    def _promote_step(self) -> None:
        """Wait until epoch and holder are durable, then grant."""
        state = self.state
        facts = self.facts
        node = state.successor
        target = state.target
        if target != NO_NODE and target != node and facts.fence[target] == sequencer.FAILED:
            # Disagreement after the proof: nobody is granted. The epoch is spent, the holder is who it was.
            state.holder = target
            self.out.persist = True
            self._proved_nothing(target)
            return
        if facts.durable_epoch != state.epoch or facts.durable_holder != node:
            self.out.persist = True  # until the write succeeds, nobody is granted
            return
        state.active = node
        state.active_incarnation = facts.incarnation[node]
        state.grant_ms = 0
        state.awaiting_running = 1
        state.prepared[node] = 0
        state.held = reasons.NONE
        gap_ms = state.last_age_ms
        if target != NO_NODE and target != node:
            gap_ms = facts.age_ms[target]
        self.out.say(events.GRANTED, node, state.cause, state.epoch, gap_ms)
        if state.quarantined[node]:
            state.quarantined[node] = 0
            self.out.persist = True
        self.set_role(node, codes.ROLE_ACTIVE, state.cause)
        if state.cause in (reasons.SWITCHOVER, reasons.FAILBACK, reasons.SCHEDULE, reasons.DRAIN_TIMEOUT):
            self.out.say(events.SWITCHOVER_DONE, node, state.cause, gap_ms)
        self.rest()

    def _failed_step(self) -> None:
        """The fence proved nothing: no grant, and the contact stays until hold_max_s is over or an operator releases
        it.
        """
        state = self.state
        node = state.target
        if self.facts.fence[node] == IDLE:
            if state.given_back[node] == 1:
                self.out.say(events.RELAY_RELEASED, node, reasons.HOLD_OVER, state.phase_ms)
                state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms
            self.rest()
            self.hold(node, self.facts.fence_reason[node])

    def _give_back(self, node: int) -> None:
        """After a proven fence, power comes back when the off time is over and the operation that needed it is done."""
        state = self.state
        facts = self.facts
        if facts.fence[node] == IDLE:
            if state.given_back[node] == 1 and state.phase != FAILED:
                # The sequencer let go by itself: its maximum on-time is over.
                self.out.say(events.RELAY_RELEASED, node, reasons.HOLD_OVER, self.settings.board.hold_max_s * 1000)
                state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms
            state.given_back[node] = 0
            return
        if not state.given_back[node]:
            state.given_back[node] = 1
        if state.mode == codes.MODE_FENCER and not state.safe_mode:
            return  # who asked for off asks for on as well; hold_max_s ends it at last
        if facts.fence[node] not in SURELY_OFF or facts.fence_ms[node] < self.settings.board.off_ms:
            return
        if state.target == node and state.phase in NEED_OFF:
            return
        self.give_back(node, reasons.OFF_TIME_OVER)

    def give_back(self, node: int, reason: int) -> None:
        """Let the sequencer release the relay of `node`, and give it its boot grace."""
        state = self.state
        if state.given_back[node] != 2:
            state.given_back[node] = 2
            self.out.act(RELEASE, node)
            self.out.say(events.RELAY_RELEASED, node, reason, self.facts.fence_ms[node])
            state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms
            state.boot_ms[node] = 1

    def drop_stale_incarnation(self) -> None:
        """Take note of a new agent on the active node, and of services that stopped: that needs a new epoch."""
        state = self.state
        node = state.active
        if node == NO_NODE:
            return
        if self.facts.incarnation[node] != state.active_incarnation:
            state.active_incarnation = self.facts.incarnation[node]
            if state.mode in ARMED and self.facts.flags[node] & messages.FLAG_RUNNING:
                return
        elif state.awaiting_running or state.phase == DRAINING or not self._stopped_by_itself(node):
            return
        state.active = NO_NODE
        self.set_role(node, codes.ROLE_STANDBY, reasons.NODE_STOPPED)
        if state.target == node and state.phase != APPROVAL:  # which ends by itself, and says so
            self.rest()

    def _stopped_by_itself(self, node: int) -> bool:
        # Its lease ran out, or its services failed: starting them again is a new activation.
        if self.state.mode not in ARMED or not fitness.is_good(self.facts, node):
            return False
        going = self.facts.node_state[node] == codes.STATE_PLANNED_OFF  # that is watch_plans' affair
        return not going and fitness.has_stopped(self.facts, node)
