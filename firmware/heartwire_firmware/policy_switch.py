"""Switchovers: the drain, planned shutdown of the active node, schedules, and failback to the preferred node.

Builds on policy_fence. A drain that a person began may end in a fence; an automatic failback never does.
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.clock import add_capped
from heartwire_firmware.policy_core import ARMED, PREPARE_MS
from heartwire_firmware.policy_fence import Fence
from heartwire_firmware.policy_state import DRAINING, WATCHING
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT

# A schedule that fell due while the board was off is kept only this much later.
MISSED_S = 60
GOING = (codes.STATE_DRAINING, codes.STATE_PLANNED_OFF)
# Drains that nobody asked for end in no fence.
NEVER_FENCES = (reasons.FAILBACK, reasons.SERVICE)
# State.ill_told: the alarm is on; and it is journaled.
SHOWN = 1
TOLD = 2
BUSY = (codes.STATE_BUSY, codes.STATE_CRASH_DUMP)


class Switch(Fence):
    """The part of the policy that moves the active role in good order."""

    def begin_drain(self, successor: int, cause: int) -> None:
        """Ask the active node to stop its services, so that `successor` may follow."""
        state = self.state
        active = state.active
        self.out.say(events.SWITCHOVER_BEGAN, active, cause, active, successor)
        self.enter(DRAINING, active, successor, cause)
        state.asked_beats = self.facts.beats[active]
        if cause not in NEVER_FENCES:
            self.prepare(active, reasons.SWITCHOVER)
        if cause != reasons.OPERATOR:
            self.out.say(events.DRAIN_ASKED, active, cause)

    def end_drain(self, reason: int) -> None:
        """Give a switchover up. The node may have stopped already: being active again is a new activation."""
        state = self.state
        node = state.target
        asked = state.cause != reasons.OPERATOR
        self.out.say(events.SWITCHOVER_FAILED, state.successor, reason)
        if fitness.is_good(self.facts, node):
            self.void(node, reason)
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
        if answered and self._says_stopped(node):
            self._drained(node)
        elif state.phase_ms >= self.settings.board.drain_ms:
            self._drain_timeout(node)

    def _says_stopped(self, node: int) -> bool:
        return self.facts.verdict[node] == codes.VERDICT_GOOD and fitness.has_stopped(self.facts, node)

    def _drained(self, node: int) -> None:
        state = self.state
        self.out.say(events.DRAINED, node, 0, state.phase_ms)
        state.last_age_ms = self.facts.age_ms[node]
        successor = state.successor
        cause = state.cause
        self.void(node, reasons.DRAINED)
        self.retire(node, reasons.DRAINED)
        self.promote(successor, reasons.SWITCHOVER if cause == reasons.OPERATOR else cause)

    def _drain_timeout(self, node: int) -> None:
        state = self.state
        if state.cause == reasons.SERVICE and self._says_stopped(node) and self.facts.beats[node] != state.asked_beats:
            self._drained(node)  # its agent answers no drain, but has said all the time that nothing runs
            return
        if state.cause in NEVER_FENCES:
            self.end_drain(reasons.DRAIN_TIMEOUT)  # nobody is fenced for a preference, or for services that failed
            return
        forced = state.cause == reasons.OPERATOR
        table = guards.EMERGENCY if forced else guards.AFTER_DRAIN
        reason = guards.first_reason(table, self.settings, state, self.facts, node)
        if reason == reasons.NONE:
            if not forced:  # else nobody asked it to stop
                self.out.say(events.DRAIN_TIMEOUT, node, 0, state.phase_ms)
            self.begin_fence(node, reasons.OPERATOR if forced else reasons.DRAIN_TIMEOUT, False)
        elif reason != reasons.NOT_DURABLE or state.phase_ms >= self.settings.board.drain_ms + PREPARE_MS:
            self.end_drain(reason)

    def watch_plans(self) -> None:
        """Planned shutdown of the active node, schedules, and failback, while nothing else is under way."""
        state = self.state
        facts = self.facts
        node = state.active
        free = state.phase == WATCHING and node != NO_NODE and state.mode in ARMED
        if state.schedule_node != NO_NODE and self._scheduled(free):
            return
        if not free:
            return
        if facts.node_state[node] == codes.STATE_PLANNED_OFF:
            self._planned_off(node)
        elif not (state.ill_ms or state.ill_told) or not self._watch_service(node):
            self._failback(node)

    def _planned_off(self, node: int) -> None:
        """It says that it is going down and that its services are stopped: nothing is left to fence."""
        state = self.state
        if not fitness.has_stopped(self.facts, node) or self.left_to(node) == NO_NODE:
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

    def _scheduled(self, free: bool) -> bool:
        """Begin a scheduled switchover that is due; return True if it began. `free`: nothing else is under way; it is
        waited for as long as a schedule may be late.
        """
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
            self.end_schedule(reasons.OTHER_OPERATION if state.due_seen else reasons.MISSED)
            return False
        state.due_seen = 1
        if not free:
            return False
        if guards.in_maintenance(self.settings, state, facts, state.active):
            self.end_schedule(reasons.MAINTENANCE)
        elif successor == state.active:
            self.end_schedule(reasons.ALREADY_ACTIVE)
        elif not fitness.is_fit(self.settings, state, facts, successor):
            self.end_schedule(reasons.NOT_FIT)
        elif state.safe_mode or state.long_ms:
            self.end_schedule(reasons.SAFE_MODE if state.safe_mode else reasons.LONG_LEASE)
        else:
            state.schedule_node = NO_NODE
            state.due_seen = 0
            self.out.persist = True
            self.begin_drain(successor, reasons.SCHEDULE)
            return True
        return False

    def end_schedule(self, reason: int) -> None:
        """Forget a scheduled switchover, and say why it will not happen."""
        self.out.say(events.SCHEDULE_ENDED, self.state.schedule_node, reason)
        self.state.schedule_node = NO_NODE
        self.state.due_seen = 0
        self.out.persist = True

    def count_stable(self, elapsed_ms: int) -> None:
        """Count how long each node has been fit without a break, and how long the active node's services have not."""
        # Few names each: see DESIGN, "A look takes nothing from the heap".
        state = self.state
        for node in range(NODE_COUNT):
            if fitness.is_fit(self.settings, state, self.facts, node):
                state.stable_ms[node] = add_capped(state.stable_ms[node], elapsed_ms, COUNT_MAX)
            else:
                state.stable_ms[node] = 0
        if state.exposed or state.quarantined[0] or state.quarantined[1] or state.quarantined[2]:
            state.exposed = 1 if self._is_exposed() else 0
        self._count_ill(state.active, elapsed_ms)

    def _count_ill(self, node: int, elapsed_ms: int) -> None:
        state = self.state
        facts = self.facts
        well = node == NO_NODE or facts.node_state[node] == codes.STATE_HEALTHY
        if well and (node == NO_NODE or facts.flags[node] & messages.FLAG_RUNNING):
            state.ill_ms = 0
        else:
            state.ill_ms = add_capped(state.ill_ms, elapsed_ms, COUNT_MAX) if self._is_ill() else 0

    def _is_exposed(self) -> bool:
        """Tell whether nobody could take over, because of a quarantine."""
        state = self.state
        barred = False
        for node in range(NODE_COUNT):
            if node != state.active:
                if state.stable_ms[node] or fitness.is_fit(self.settings, state, self.facts, node):
                    return False
                barred = barred or bool(state.quarantined[node])
        return barred and not self._cold_waits()

    def _cold_waits(self) -> bool:
        return fitness.cold_successor_of(self.settings, self.state, self.facts, self.state.active) != NO_NODE

    def _failback(self, node: int) -> None:
        state = self.state
        board = self.settings.board
        if board.failback != "auto" or state.mode != codes.MODE_AUTO or state.safe_mode or state.long_ms:
            return
        if self.facts.on_trial:
            return  # what is on trial moves nothing by itself
        preferred = codes.NODES.index(board.preferred)
        if preferred == node or state.stable_ms[preferred] < board.stable_s * 1000 or state.awaiting_running:
            return
        if self.facts.node_state[preferred] != codes.STATE_HEALTHY:
            return
        if guards.in_maintenance(self.settings, state, self.facts, node) or not fitness.is_good(self.facts, node):
            return
        self.begin_drain(preferred, reasons.FAILBACK)

    def _is_ill(self) -> bool:
        """Tell whether the active node is heard and its services do not run, or are degraded beside a healthy node."""
        state = self.state
        facts = self.facts
        node = state.active
        if node == NO_NODE or state.mode not in ARMED or state.phase != WATCHING or not fitness.is_good(facts, node):
            return False
        said = facts.node_state[node]
        if said == codes.STATE_PLANNED_OFF or said in BUSY:
            return False
        if not fitness.is_running(state, facts, node):
            return True
        return said == codes.STATE_DEGRADED and self._healthy_beside(node) != NO_NODE

    def _healthy_beside(self, node: int) -> int:
        found = fitness.successor_of(self.settings, self.state, self.facts, node)
        if found != NO_NODE and self.facts.node_state[found] != codes.STATE_HEALTHY:
            return NO_NODE
        return found

    def _watch_service(self, node: int) -> bool:
        """Tell when the services of the active node have failed, and move them where the settings say so; return True
        if that began.
        """
        state = self.state
        facts = self.facts
        board = self.settings.board
        if not state.ill_ms:
            if state.ill_told and fitness.is_running(state, facts, node):
                if state.ill_told == TOLD:
                    self.out.say(events.SERVICE_BACK, node)
                state.ill_told = 0
            return False
        runs = fitness.is_running(state, facts, node)
        if not runs and not state.ill_told and state.ill_ms >= board.dead_ms:
            state.ill_told = SHOWN
        limit_ms = board.service_s * 1000
        if not runs and facts.node_state[node] == codes.STATE_STARTING:
            limit_ms = max(limit_ms, self.settings.nodes[node].boot_grace_ms)
        if state.ill_ms < limit_ms:
            return False
        if state.ill_told != TOLD:
            state.ill_told = TOLD
            reason = reasons.DEGRADED if runs else reasons.NOT_RUNNING
            self.out.say(events.SERVICE_FAILED, node, reason, state.ill_ms)
            if not runs:
                self.count_action(node, reason)
        successor = self._healthy_beside(node)
        if successor == NO_NODE or state.mode != codes.MODE_AUTO or state.safe_mode or state.long_ms:
            return False
        if board.service_switch == "never" or (runs and board.service_switch != "degraded"):
            return False
        if guards.in_maintenance(self.settings, state, facts, node) or state.actions[node] > board.max_actions:
            return False
        self.begin_drain(successor, reasons.SERVICE)
        return True
