"""Switchovers: the drain, planned shutdown of the active node, schedules, and failback to the preferred node.

Builds on policy_fence. A drain that a person began may end in a fence; an automatic failback never does.
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.clock import add_capped
from heartwire_firmware.policy_core import ARMED, PREPARE_MS
from heartwire_firmware.policy_fence import Fence
from heartwire_firmware.policy_state import DRAINING, WATCHING
from heartwire_protocol import codes, events, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT

# A schedule that fell due while the board was off is kept only this much later.
MISSED_S = 60
GOING = (codes.STATE_DRAINING, codes.STATE_PLANNED_OFF)


class Switch(Fence):
    """The part of the policy that moves the active role in good order."""

    def begin_drain(self, successor: int, cause: int) -> None:
        """Ask the active node to stop its services, so that `successor` may follow."""
        state = self.state
        active = state.active
        self.out.say(events.SWITCHOVER_BEGAN, active, cause, active, successor)
        self.enter(DRAINING, active, successor, cause)
        state.asked_beats = self.facts.beats[active]
        if cause != reasons.FAILBACK:
            self.prepare(active, reasons.SWITCHOVER)
        if cause != reasons.OPERATOR:
            self.out.say(events.DRAIN_ASKED, active, cause)

    def end_drain(self, reason: int) -> None:
        """Give a switchover up. The node may have stopped already: being active again is a new activation."""
        state = self.state
        node = state.target
        asked = state.cause != reasons.OPERATOR
        self.out.say(events.SWITCHOVER_FAILED, state.successor, reason)
        self.rest()
        state.stable_ms[state.successor if state.successor < NODE_COUNT else node] = 0
        for other in range(NODE_COUNT):
            state.stable_ms[other] = 0  # an automatic failback is tried again only after another stable time
        if asked and state.active == node and fitness.is_good(self.facts, node):
            state.active = NO_NODE
            self.promote(node, reasons.CANCELLED)

    def _drain_step(self) -> None:
        """Wait until the active node says that its services are stopped; fence it if it does not in time."""
        state = self.state
        facts = self.facts
        node = state.target
        if facts.verdict[node] == codes.VERDICT_DEAD:
            self.out.say(events.SWITCHOVER_FAILED, node, reasons.DIED_DRAINING)
            self.rest()
            return
        if not fitness.is_fit(self.settings, state, facts, state.successor):
            self.end_drain(reasons.NO_SUCCESSOR)
            return
        answered = facts.beats[node] != state.asked_beats and facts.node_state[node] in GOING
        if facts.verdict[node] == codes.VERDICT_GOOD and answered and fitness.has_stopped(facts, node):
            self.out.say(events.DRAINED, node, 0, state.phase_ms)
            state.last_age_ms = facts.age_ms[node]
            successor = state.successor
            cause = state.cause
            self.retire(node, reasons.DRAINED)
            self.promote(successor, reasons.SWITCHOVER if cause == reasons.OPERATOR else cause)
        elif state.phase_ms >= self.settings.board.drain_ms:
            self._drain_timeout(node)

    def _drain_timeout(self, node: int) -> None:
        state = self.state
        if state.cause == reasons.FAILBACK:
            self.end_drain(reasons.DRAIN_TIMEOUT)  # nobody is fenced for a preference
            return
        reason = guards.first_reason(guards.AFTER_DRAIN, self.settings, state, self.facts, node)
        if reason == reasons.NONE:
            self.out.say(events.DRAIN_TIMEOUT, node, 0, state.phase_ms)
            self.begin_fence(node, reasons.DRAIN_TIMEOUT, False)
        elif reason != reasons.NOT_DURABLE or state.phase_ms >= self.settings.board.drain_ms + PREPARE_MS:
            self.end_drain(reason)

    def watch_plans(self) -> None:
        """Planned shutdown of the active node, schedules, and failback, while nothing else is under way."""
        state = self.state
        facts = self.facts
        node = state.active
        if state.phase != WATCHING or node == NO_NODE or state.mode not in ARMED:
            return
        if facts.verdict[node] == codes.VERDICT_GOOD and facts.node_state[node] == codes.STATE_PLANNED_OFF:
            self._planned_off(node)
        elif state.schedule_node == NO_NODE or not self._scheduled():
            self._failback(node)

    def _planned_off(self, node: int) -> None:
        """It says that it is going down and that its services are stopped: nothing is left to fence."""
        state = self.state
        if not fitness.has_stopped(self.facts, node):
            return
        if fitness.successor_of(self.settings, state, self.facts, node) == NO_NODE:
            return
        if state.safe_mode or guards.in_maintenance(self.settings, state, self.facts, node):
            return
        if guards.long_lease(self.settings, state, self.facts, node):
            return
        if state.mode == codes.MODE_APPROVE:
            if not state.denied[node]:
                self.ask(node, reasons.PLANNED_OFF)
            return
        self.hand_over(node, reasons.PLANNED_OFF)

    def _scheduled(self) -> bool:
        """Begin a scheduled switchover that is due; return True if it began."""
        state = self.state
        facts = self.facts
        successor = state.schedule_node
        if facts.schedule_s == COUNT_MAX:
            if state.start_ms >= self.settings.board.cold_start_ms:
                self.end_schedule(reasons.NO_WALL_TIME)
            return False
        if facts.schedule_s > 0:
            return False
        if facts.schedule_s < -MISSED_S:
            self.end_schedule(reasons.MISSED)
        elif successor == state.active:
            self.end_schedule(reasons.ALREADY_ACTIVE)
        elif not fitness.is_fit(self.settings, state, facts, successor):
            self.end_schedule(reasons.NOT_FIT)
        elif state.safe_mode or state.long_ms:
            self.end_schedule(reasons.SAFE_MODE if state.safe_mode else reasons.LONG_LEASE)
        else:
            state.schedule_node = NO_NODE
            self.out.persist = True
            self.begin_drain(successor, reasons.SCHEDULE)
            return True
        return False

    def end_schedule(self, reason: int) -> None:
        """Forget a scheduled switchover, and say why it will not happen."""
        self.out.say(events.SCHEDULE_ENDED, self.state.schedule_node, reason)
        self.state.schedule_node = NO_NODE
        self.out.persist = True

    def count_stable(self, elapsed_ms: int) -> None:
        """Count how long each node has been fit without a break."""
        state = self.state
        for node in range(NODE_COUNT):
            if fitness.is_fit(self.settings, state, self.facts, node):
                state.stable_ms[node] = add_capped(state.stable_ms[node], elapsed_ms, COUNT_MAX)
            else:
                state.stable_ms[node] = 0

    def _failback(self, node: int) -> None:
        state = self.state
        board = self.settings.board
        if board.failback != "auto" or state.mode != codes.MODE_AUTO or state.safe_mode or state.long_ms:
            return
        preferred = codes.NODES.index(board.preferred)
        if preferred == node or state.stable_ms[preferred] < board.stable_s * 1000 or state.awaiting_running:
            return
        if guards.in_maintenance(self.settings, state, self.facts, node) or not fitness.is_good(self.facts, node):
            return
        self.begin_drain(preferred, reasons.FAILBACK)
