"""Policy: the pure function that decides who may be active and who is fenced.

`Policy.step(elapsed_ms)` takes Facts and the State before, changes State and fills Decisions: no I/O, no clock, no
hardware. The same file runs on the board, in the simulator and in the exhaustive walk. Every refusal and every action
says its reason. What may forbid a fence stands in guards.py; what a person asks for arrives through policy_requests.py.
A new behaviour is a row in PHASE_STEPS and a function of the part that it belongs to.
"""

from heartwire_firmware import fitness
from heartwire_firmware.policy_core import HEARD
from heartwire_firmware.policy_recover import Recover
from heartwire_firmware.policy_state import FENCING, WATCHING
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, events, messages, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT


class Policy(Recover):
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
        if state.long_node >= NODE_COUNT:
            state.long_ms = 0
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
        self.decide(elapsed_ms)

    def begin(self, elapsed_ms: int) -> None:
        """Begin a step: forget the decisions before and let time pass. Requests come between this and `decide`."""
        self.out.clear()
        self.advance(elapsed_ms)

    def decide(self, elapsed_ms: int = 0) -> None:
        """Look at the facts and move the operation under way, or begin one."""
        for node in range(NODE_COUNT):
            if self.facts.enabled[node]:
                self._observe(node)
        self._watch_common()
        self.drop_stale_incarnation()
        if self.state.phase:
            self.make_way()
        PHASE_STEPS[self.state.phase](self)
        if self.state.phase == FENCING and not self.state.phase_ms:
            return  # the contact moves when this returns: all else can wait for the next step
        self.count_stable(elapsed_ms)
        self.watch_plans()
        for node in range(NODE_COUNT):
            if self.facts.enabled[node]:
                self.watch_recovery(node, elapsed_ms)
            self._give_back(node)

    def _watch(self) -> None:
        """Watch the active node; while nobody is active, look for who was and who may be."""
        state = self.state
        node = state.active
        if node == NO_NODE:
            self._seek()
            return
        facts = self.facts
        verdict = facts.verdict[node]
        if state.awaiting_running and facts.flags[node] & messages.FLAG_RUNNING and verdict in HEARD:
            if facts.node_epoch[node] == state.epoch:
                state.awaiting_running = 0
                self.out.say(events.RUNNING, node, 0, state.epoch, state.grant_ms)
        # One that was adopted at its first heartbeat may fall silent before it ever counted as good.
        unheard = verdict == codes.VERDICT_UNHEARD and facts.age_ms[node] >= self.settings.board.dead_ms
        if verdict == codes.VERDICT_DEAD or unheard:
            if not fitness.has_left(facts, node):  # else it went on purpose: watch_plans hands over
                self.fail_over(node, reasons.DEAD)
        elif state.held and verdict == codes.VERDICT_GOOD and self._is_over(state.held_node):
            state.held = reasons.NONE

    def _is_over(self, node: int) -> bool:
        """Tell whether what was held on `node` is over: it is good again, and no contact of it is open."""
        if node == NO_NODE:
            return not self.state.two_running
        return self.facts.verdict[node] == codes.VERDICT_GOOD and self.facts.fence[node] == IDLE


# Indexed by phase.
PHASE_STEPS = (
    Policy._watch,
    Policy._await_approval,
    Policy._drain_step,
    Policy._fence_step,
    Policy._promote_step,
    Policy._failed_step,
    Policy._prepare_step,
    Policy._start_step,
)
