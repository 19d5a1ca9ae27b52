"""Fences under way: approval, the intent, the shot, the proof, the grant after it, and power given back.

Builds on policy_seek. Everything here was allowed by guards.py before it began, and is asked again where time passed in
between.
"""

from heartwire_firmware import fitness, guards, sequencer
from heartwire_firmware.policy_core import ARMED, PREPARE_MS
from heartwire_firmware.policy_seek import Seek
from heartwire_firmware.policy_state import (
    APPROVAL,
    CLEAR_LATER,
    DOUBT,
    DRAINING,
    FAILED,
    FENCING,
    PREPARING,
    PROMOTING,
    PROVE,
    PULSE,
    RELEASE,
    RELEASED,
    STARTING,
    VOUCH,
)
from heartwire_firmware.sequencer import FIRED, IDLE, PROVEN, SURELY_OFF
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import NO_NODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Number of the operation "fence", for the record of a refusal.
REQUEST_FENCE = 12
# Phases that leave the field when the active node dies meanwhile.
GIVES_WAY = (APPROVAL, PREPARING, FENCING)
# Causes of a fence whose target was off before: a heartbeat since then says that it was not.
BY_WORD = (reasons.DECLARED, reasons.POWER_LOST)
MOVES = (reasons.SWITCHOVER, reasons.FAILBACK, reasons.SCHEDULE, reasons.DRAIN_TIMEOUT, reasons.SERVICE)
NEED_OFF = (FENCING, PROMOTING, STARTING)


class Fence(Seek):
    """The part of the policy that carries out a fence and what follows from it."""

    def make_way(self) -> None:
        """What is done to a node that holds nothing does not keep the active node's failure waiting."""
        state = self.state
        node = state.active
        if node == NO_NODE or state.target == node or state.phase not in GIVES_WAY or state.mode not in ARMED:
            return
        if self.facts.verdict[node] != codes.VERDICT_DEAD and not fitness.has_left(self.facts, node):
            return
        if state.phase == PREPARING:
            self.out.say(events.REFUSED, state.target, reasons.DISPLACED, REQUEST_FENCE)
        elif state.phase == APPROVAL:
            self.out.say(events.FENCE_CANCELLED, state.target, reasons.DISPLACED)
            state.prepared[state.target] = 0
        self.rest()  # a fence that has fired goes on; what it proves is journaled when it does

    def _await_approval(self) -> None:
        """Wait for a person's word on the request, as long as what it was asked for still stands."""
        state = self.state
        node = state.target
        if not self.still_asked(node):
            self.drop_approval(reasons.GOOD_AGAIN)
        elif not state.approval_ms:
            self._expire(node)

    def _expire(self, node: int) -> None:
        """Nobody answered in time."""
        state = self.state
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
            self.refuse_approval()

    def drop_approval(self, reason: int) -> None:
        """What was asked for is void."""
        state = self.state
        node = state.target
        self.out.say(events.FENCE_CANCELLED, node, reason)
        state.prepared[node] = 0
        if self.facts.fence[node] == sequencer.FAILED:
            self.enter(FAILED, node, NO_NODE, state.cause)
        else:
            self.rest()

    def refuse_approval(self) -> None:
        """Do not do what was asked for; not asked again before the node was good once more."""
        state = self.state
        node = state.target
        state.denied[node] = 1
        if self.facts.fence[node] == sequencer.FAILED:
            self.enter(FAILED, node, NO_NODE, state.cause)  # its contact stays open
        else:
            self.rest()

    def still_asked(self, node: int) -> bool:
        """Tell whether what was asked still stands: any heartbeat of the target since then makes it void."""
        state = self.state
        facts = self.facts
        if state.cause == reasons.PLANNED_OFF:
            return fitness.has_left(facts, node)
        if facts.beats[node] != state.asked_beats or facts.sign_ms[node] < state.phase_ms:
            return False
        if state.cause == reasons.POWER_LOST and facts.power[node] == codes.POWER_ON:
            return False
        return facts.verdict[node] in fitness.SILENT

    def approved(self) -> None:
        """Carry out the request under approval, if the guards still allow it now, and with the successor it named."""
        state = self.state
        node = state.target
        cause = state.cause
        fired = self.facts.fence[node] == sequencer.FAILED
        if cause != reasons.PLANNED_OFF or fired:
            for reason, guard in guards.VOUCHED if fired else guards.AUTOMATIC:
                if reason != reasons.NEEDS_APPROVAL and guard(self.settings, state, self.facts, node):
                    self.refuse_approval()
                    state.denied[node] = 0
                    self.hold(node, reason)
                    return
        if not self._is_named(node):
            self.ask(node, cause)  # another node would follow than the one that the person was told
        elif cause == reasons.PLANNED_OFF:
            self.rest()
            self.hand_over(node, reasons.PLANNED_OFF)
        elif fired:
            state.asked_beats = self.facts.beats[node]
            self.out.act(VOUCH, node)
            self.enter(FENCING, node, state.successor, cause)
        else:
            self.begin_fence(node, cause, True, cause == reasons.POWER_LOST)

    def _is_named(self, node: int) -> bool:
        """Tell whether the successor that the approval named can follow now; a cold standby must still be startable."""
        state = self.state
        named = state.successor
        if named == NO_NODE:
            return self.successor(node) == NO_NODE
        if fitness.is_fit(self.settings, state, self.facts, named):
            return True
        return self.successor(node) == named

    def hand_over(self, node: int, cause: int) -> None:
        """Let a successor take over from `node`, which says that it has stopped: nothing is left to fence."""
        successor = self.left_to(node)
        if successor != NO_NODE and fitness.has_stopped(self.facts, node):
            self.state.last_age_ms = self.facts.age_ms[node]
            self.retire(node, cause)
            self.promote(successor, cause)

    def left_to(self, node: int) -> int:
        """Return who takes over from `node`, which goes on purpose: a healthy node; once it is gone, any fit one."""
        successor = fitness.successor_of(self.settings, self.state, self.facts, node)
        if successor != NO_NODE and self.facts.node_state[successor] != codes.STATE_HEALTHY:
            if self.facts.verdict[node] not in fitness.SILENT:
                return NO_NODE
        return successor

    def _prepare_step(self) -> None:
        """Wait until the intent of a requested fence is durable, then ask the guards once more and fire."""
        state = self.state
        node = state.target
        if not self.facts.intent_durable[node]:
            if state.phase_ms < PREPARE_MS:
                return
            reason = reasons.NOT_DURABLE
        else:
            reason = guards.first_reason(self._at_fire(), self.settings, state, self.facts, node)
        if reason != reasons.NONE:
            self.out.say(events.REFUSED, node, reason, REQUEST_FENCE)
            self.rest()
            return
        self.begin_fence(node, state.cause, False, state.cause == reasons.DECLARED)

    def _at_fire(self) -> "Any":
        cause = self.state.cause
        if cause == reasons.DECLARED:
            return guards.REPLACED
        if cause == reasons.PEER and self.state.mode != codes.MODE_FENCER:
            return guards.PEER_AT_FIRE
        return guards.AT_FIRE

    def _fence_step(self) -> None:
        """Wait for the proof that the target is off; without one, nobody is granted."""
        state = self.state
        facts = self.facts
        node = state.target
        status = facts.fence[node]
        if status == FIRED:
            if self._came_back_stopped(node):
                self.out.act(PROVE, node)
            elif state.cause in BY_WORD and self._is_heard_since(node):
                self.out.act(DOUBT, node)
            return
        if status == IDLE and state.phase_ms < 5:
            return
        if status in SURELY_OFF:
            self._after_proof(node)
        elif status == IDLE or state.phase_ms >= 5 or state.cause not in BY_WORD:
            self._proved_nothing(node)

    def _is_heard_since(self, node: int) -> bool:
        """Tell whether `node`, which was to be off already, was heard since its contact opened."""
        facts = self.facts
        return facts.beats[node] != self.state.asked_beats or facts.sign_ms[node] < self.state.phase_ms

    def _came_back_stopped(self, node: int) -> bool:
        """Rule 5.7: a reset pulse counts only when a new incarnation reports verified_stopped."""
        if self.settings.nodes[node].fence != "reset":
            return False
        facts = self.facts
        new = facts.incarnation[node] != self.state.fired_incarnation[node]
        return new and facts.verdict[node] == codes.VERDICT_GOOD and fitness.has_stopped(facts, node)

    def _proved_nothing(self, node: int) -> None:
        """Nobody is granted. Where its power was gone with its last heartbeat, a person is asked."""
        state = self.state
        reason = self.facts.fence_reason[node]
        if node != state.holder and state.active != NO_NODE:
            # It held nothing: the active node goes on being watched, while hold_max_s runs.
            self.rest()
            self.hold(node, reason)
        elif reason == reasons.ALREADY_OFF and fitness.is_off(self.settings, state, self.facts, node):
            self.ask(node, reasons.POWER_LOST)
        else:
            self.enter(FAILED, node, NO_NODE, state.cause)

    def _after_proof(self, node: int) -> None:
        state = self.state
        if (state.active != NO_NODE and state.active != node) or state.mode not in ARMED or state.store_empty:
            # A standby was fenced, another cluster decides, or nobody knows who else may hold the role.
            self.rest()
            return
        successor = state.successor  # whom a person or a request named
        state.named = successor if state.mode == codes.MODE_APPROVE else NO_NODE
        if successor == NO_NODE or not fitness.is_fit(self.settings, state, self.facts, successor):
            successor = fitness.successor_of(self.settings, state, self.facts, node)
            if state.named != NO_NODE and successor != NO_NODE:
                # Only the named one was approved: the seat stays empty until that one is fit, or a person says who.
                self.retire(node, reasons.FENCE_PROVEN)
                self.rest()
                self.hold(successor, reasons.NEEDS_APPROVAL)
                return
        if successor != NO_NODE:
            self.promote(successor, reasons.OPERATOR if state.cause == reasons.DECLARED else state.cause)
            return
        if self._start_cold(node):
            return
        if state.cold_ms and fitness.may_start_cold(self.settings, state, self.facts, node):
            return  # its sense may only have bounced, and the other one was cut for it
        self.retire(node, reasons.FENCE_PROVEN)
        self.rest()
        self.hold(node, reasons.NO_SUCCESSOR)

    def _start_cold(self, node: int) -> bool:
        """Start a cold standby in the place of `node`, if one has been off for long enough to be surely off."""
        state = self.state
        cold = fitness.cold_successor_of(self.settings, state, self.facts, node)
        if cold == NO_NODE or self.facts.off_ms[cold] < self.settings.board.off_stable_ms:
            return False
        self.out.say(events.START_ASKED, cold, reasons.COLD_START)
        self.out.act(PULSE, cold)
        state.boot_ms[cold] = 1
        self.enter(STARTING, node, cold, state.cause)
        return True

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
        rogue = fitness.other_runs(state, facts, node)
        if rogue != NO_NODE:
            self.rest()
            self.hold(rogue, reasons.TWO_RUNNING)
            return
        if facts.durable_epoch != state.epoch or facts.durable_holder != node:
            self.out.persist = True  # until the write succeeds, nobody is granted
            return
        self.take_seat(node)
        state.grant_ms = 0
        state.awaiting_running = 1
        self.void(node, reasons.GOOD_AGAIN)
        state.held = reasons.NONE
        gap_ms = state.last_age_ms
        if target != NO_NODE and target != node:
            gap_ms = facts.age_ms[target]
        self.out.say(events.GRANTED, node, state.cause, state.epoch, gap_ms)
        if state.quarantined[node]:
            state.quarantined[node] = 0
            self.out.persist = True
        self.set_role(node, codes.ROLE_ACTIVE, state.cause)
        if state.cause in MOVES:
            self.out.say(events.SWITCHOVER_DONE, node, state.cause, gap_ms)
        self.rest()

    def _failed_step(self) -> None:
        """The fence proved nothing: no grant, and the contact stays until hold_max_s is over or an operator releases
        it. A sense that goes off late, or somebody's word, still proves it.
        """
        state = self.state
        node = state.target
        if self.facts.fence[node] == PROVEN:
            self.enter(FENCING, node, NO_NODE, state.cause)
            self._after_proof(node)
        elif self.facts.fence[node] == IDLE:
            self.rest()
            self.hold(node, self.facts.fence_reason[node])

    def _give_back(self, node: int) -> None:
        """After a proven fence, power comes back when the off time is over and the operation that needed it is done."""
        state = self.state
        facts = self.facts
        if facts.fence[node] == IDLE:
            if state.given_back[node] == 1:
                # The sequencer let go by itself: its maximum on-time is over.
                self.out.say(events.RELAY_RELEASED, node, reasons.HOLD_OVER, self.settings.board.hold_max_s * 1000)
                state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms
            if state.given_back[node]:
                state.given_back[node] = 0
                if state.quarantined[node] == CLEAR_LATER:
                    self.end_quarantine(node, reasons.OPERATOR)
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
        if state.given_back[node] != RELEASED:
            state.given_back[node] = RELEASED
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
