"""Policy: the pure function that decides who may be active and who is fenced.

`Policy.step(elapsed_ms)` takes Facts and the State before, changes State and fills Decisions: no I/O, no clock, no
hardware. The same file runs on the board, in the simulator and in the exhaustive walk. Every refusal and every action
says its reason. What may forbid a fence stands in guards.py; what a person asks for arrives through policy_requests.py.
A new behaviour is a row in PHASE_STEPS and a function here.
"""

from heartwire_firmware import guards
from heartwire_firmware.policy_core import ARMED, HEARD, STOPPED
from heartwire_firmware.policy_seek import Seek
from heartwire_firmware.policy_state import FAILED, FENCING, PROMOTING, RELEASE, WATCHING
from heartwire_firmware.sequencer import ASSUMED, FIRED, IDLE, PROVEN
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

# A journal write takes 450 ms at worst; several may stand before it.
PREPARE_MS = 5000
# Number of the operation "fence", for the record of a refusal.
REQUEST_FENCE = 12


class Policy(Seek):
    """The policy over `settings` (settings.Settings), `state` (State), `facts` (Facts) and `out` (Decisions)."""

    def boot(self, resumed: int, store_empty: bool) -> None:
        """Set the state after a start of the board: durable fields are loaded, `resumed` are the nodes whose fence goes
        on.
        """
        state = self.state
        state.store_empty = 1 if store_empty else 0
        state.active = NO_NODE
        state.phase = WATCHING
        if store_empty:
            self.out.say(events.STORE_EMPTY)
        for node in range(NODE_COUNT):
            if state.quarantined[node]:
                state.role[node] = codes.ROLE_QUARANTINED
            if not resumed >> node & 1:
                continue
            self.out.say(events.FENCE_RESUMED, node)
            self.quarantine(node)
            if node == state.holder:
                self.enter(FENCING, node, NO_NODE, reasons.DEAD)

    def step(self, elapsed_ms: int) -> None:
        """Decide once. `out` holds what was decided until the next step."""
        self.begin(elapsed_ms)
        self.decide()

    def begin(self, elapsed_ms: int) -> None:
        """Begin a step: forget the decisions before and let time pass. Requests come between this and `decide`."""
        self.out.clear()
        self.advance(elapsed_ms)

    def decide(self) -> None:
        """Look at the facts and move the operation under way, or begin one."""
        for node in range(NODE_COUNT):
            if self.facts.enabled[node]:
                self._observe(node)
        self._watch_common()
        PHASE_STEPS[self.state.phase](self)
        for node in range(NODE_COUNT):
            self._give_back(node)

    def _watch(self) -> None:
        state = self.state
        if state.active == NO_NODE:
            self._seek()
            return
        node = state.active
        facts = self.facts
        if facts.incarnation[node] != state.active_incarnation and self._restarted(node):
            return
        if state.awaiting_running and facts.flags[node] & messages.FLAG_RUNNING and facts.verdict[node] in HEARD:
            if facts.node_epoch[node] == state.epoch:
                state.awaiting_running = 0
                self.out.say(events.RUNNING, node, 0, state.epoch, state.grant_ms)
        if facts.verdict[node] == codes.VERDICT_DEAD:
            self.fail_over(node, reasons.DEAD)
        elif state.held and state.held_node == node and facts.verdict[node] == codes.VERDICT_GOOD:
            state.held = reasons.NONE
        elif (
            facts.verdict[node] == codes.VERDICT_GOOD
            and facts.node_state[node] == codes.STATE_PLANNED_OFF
            and facts.flags[node] & STOPPED == messages.FLAG_VERIFIED_STOPPED
            and state.mode in ARMED
        ):
            # It says that it is going down and that its services are stopped: nothing is left to fence.
            successor = guards.successor_of(self.settings, state, facts, node)
            if successor != NO_NODE:
                self.retire(node, reasons.PLANNED_OFF)
                self.promote(successor, reasons.PLANNED_OFF)

    def _restarted(self, node: int) -> bool:
        """Take note of a new agent on the active node; return True if its services stopped, so that it needs a new
        epoch.
        """
        state = self.state
        state.active_incarnation = self.facts.incarnation[node]
        if state.mode in ARMED and self.facts.flags[node] & messages.FLAG_RUNNING:
            return False
        state.active = NO_NODE
        self.set_role(node, codes.ROLE_STANDBY, reasons.NODE_STOPPED)
        return True

    def _await_approval(self) -> None:
        state = self.state
        node = state.target
        if self.facts.verdict[node] not in (codes.VERDICT_DEAD, codes.VERDICT_UNHEARD):
            self.out.say(events.FENCE_CANCELLED, node, reasons.GOOD_AGAIN)
            self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
        elif not state.approval_ms:
            proceed = self.settings.board.approval_default == "proceed"
            proven = self.settings.nodes[node].off_proof == "sense" and state.sense_seen[node]
            self.out.say(events.APPROVAL_EXPIRED, node, reasons.EXPIRED, state.request_number)
            if proceed and proven:
                self.approved()
            else:
                state.denied[node] = 1
                self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)

    def approved(self) -> None:
        """Carry out the request under approval, if the guards still allow it now."""
        state = self.state
        node = state.target
        for reason, guard in guards.AUTOMATIC:
            if reason != reasons.NEEDS_APPROVAL and guard(self.settings, state, self.facts, node):
                self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
                self.hold(node, reason)
                return
        self.begin_fence(node, state.cause, True)

    def _fence_step(self) -> None:
        state = self.state
        node = state.target
        status = self.facts.fence[node]
        if status == FIRED or (status == IDLE and state.phase_ms < 5):
            return
        if status == PROVEN or status == ASSUMED:
            event = events.OFF_PROVEN if status == PROVEN else events.OFF_ASSUMED
            self.out.say(event, node, reasons.NONE, self.facts.proof_ms[node])
            self._after_proof(node)
        else:
            self.out.say(events.OFF_FAILED, node, self.facts.fence_reason[node], self.facts.proof_ms[node])
            self.enter(FAILED, node, NO_NODE, state.cause)

    def _after_proof(self, node: int) -> None:
        state = self.state
        state.prepared[node] = 0
        if (state.active != NO_NODE and state.active != node) or state.mode not in ARMED:
            # A standby was fenced on request, or another cluster decides: nobody is granted.
            self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
            return
        successor = guards.successor_of(self.settings, state, self.facts, node)
        if successor == NO_NODE:
            self.retire(node, reasons.FENCE_PROVEN)
            self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
            self.hold(node, reasons.NO_SUCCESSOR)
        else:
            self.promote(successor, state.cause)

    def _promote_step(self) -> None:
        state = self.state
        facts = self.facts
        node = state.successor
        if facts.durable_epoch != state.epoch or facts.durable_holder != node:
            self.out.persist = True  # until the write succeeds, nobody is granted
            return
        state.active = node
        state.active_incarnation = facts.incarnation[node]
        state.grant_ms = 0
        state.awaiting_running = 1
        state.prepared[node] = 0
        gap_ms = state.last_age_ms
        if state.target != NO_NODE:
            gap_ms = facts.age_ms[state.target]
        self.out.say(events.GRANTED, node, state.cause, state.epoch, gap_ms)
        if state.quarantined[node]:
            state.quarantined[node] = 0
            self.out.persist = True
        self.set_role(node, codes.ROLE_ACTIVE, state.cause)
        if state.cause == reasons.SWITCHOVER:
            self.out.say(events.SWITCHOVER_DONE, node, 0, state.phase_ms)
        self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)

    def _drain_step(self) -> None:
        state = self.state
        facts = self.facts
        node = state.target
        if not guards.is_fit(self.settings, state, facts, state.successor):
            self.out.say(events.SWITCHOVER_FAILED, state.successor, reasons.NO_SUCCESSOR)
            self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
            return
        stopped = facts.flags[node] & STOPPED == messages.FLAG_VERIFIED_STOPPED
        if facts.verdict[node] == codes.VERDICT_GOOD and stopped and facts.node_state[node] == codes.STATE_DRAINING:
            self.out.say(events.DRAINED, node, 0, state.phase_ms)
            state.last_age_ms = facts.age_ms[node]
            successor = state.successor
            self.retire(node, reasons.DRAINED)
            self.promote(successor, reasons.SWITCHOVER)
        elif facts.verdict[node] == codes.VERDICT_DEAD:
            self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
            self.out.say(events.SWITCHOVER_FAILED, node, reasons.DIED_DRAINING)
        elif state.phase_ms >= self.settings.board.drain_ms:
            reason = guards.first_reason(guards.AFTER_DRAIN, self.settings, state, facts, node)
            if reason == reasons.NONE:
                self.out.say(events.DRAIN_TIMEOUT, node, 0, state.phase_ms)
                self.begin_fence(node, reasons.DRAIN_TIMEOUT, False)
            elif reason != reasons.NOT_DURABLE:
                self.out.say(events.SWITCHOVER_FAILED, node, reason)
                self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)

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
            self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
            return
        self.begin_fence(node, state.cause, False)

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
            self.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
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
        if facts.fence[node] not in (PROVEN, ASSUMED) or facts.fence_ms[node] < self.settings.board.off_ms:
            return
        if state.target == node and state.phase in (FENCING, PROMOTING):
            return
        self.give_back(node, reasons.OFF_TIME_OVER)

    def give_back(self, node: int, reason: int) -> None:
        """Let the sequencer release the relay of `node`, and give it its boot grace."""
        if self.state.given_back[node] != 2:
            self.state.given_back[node] = 2
            self.out.act(RELEASE, node)
            self.out.say(events.RELAY_RELEASED, node, reason, self.facts.fence_ms[node])
            self.state.grace_ms[node] = self.settings.nodes[node].boot_grace_ms


# Indexed by phase.
PHASE_STEPS = (
    Policy._watch,
    Policy._await_approval,
    Policy._drain_step,
    Policy._fence_step,
    Policy._promote_step,
    Policy._failed_step,
    Policy._prepare_step,
)
