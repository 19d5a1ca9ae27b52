"""Brain: judges the nodes, has the policy decide, and owns everything that a decision changes.

What it is asked ahead of a deadline may have to be undone, as a heartbeat may come until then: `keep` before the step
copies all that the step may change, `give_back` puts all of it back, and there is no other place that does. That is the
policy's state and its decisions, the verdicts, the time since the policy was asked, and what is left of leases. Used by
supervisor, and by the walk as it is.
"""

from heartwire_firmware import policy_requests
from heartwire_firmware.policy_state import copy_into
from heartwire_protocol import events, operations, reasons
from heartwire_protocol.codes import NODE_COUNT, VERDICT_DEAD

# What `judge` has found.
CHANGED = 1
DIES = 2


class Brain:
    """Decides by `policy` (policy.Policy) on what `filler` (facts.FactFiller) tells it."""

    def __init__(self, policy, filler, grants, livenesses, intakes, senses, sequencer, wall, hands):
        self.policy = policy
        self._state = policy.state
        self._facts = policy.facts
        self._out = policy.out
        self._filler = filler
        self._grants = grants
        self._livenesses = livenesses
        self._intakes = intakes
        self._senses = senses
        self._sequencer = sequencer
        self._wall = wall
        self._hands = hands
        self.since_ms = 0  # since the policy was asked
        self.verdicts = [0] * NODE_COUNT  # before this pass judged
        self._left_ms = [0] * NODE_COUNT
        self._kept_ms = 0

    def judge(self, elapsed_ms: int) -> int:
        """Let time pass and judge the nodes. Return DIES if one is dead now, CHANGED if a verdict, a sense or a fence
        is not what the policy was told, else 0.
        """
        self.since_ms += elapsed_ms
        facts = self._facts
        found = 0
        for node in range(NODE_COUNT):
            if not facts.enabled[node]:
                continue
            liveness = self._livenesses[node]
            self.verdicts[node] = liveness.verdict
            liveness.judge()
            if liveness.verdict != facts.verdict[node]:
                found = DIES if liveness.verdict == VERDICT_DEAD else found or CHANGED
            elif self._senses.power[node] != facts.power[node] or self._sequencer.status[node] != facts.fence[node]:
                found = found or CHANGED
            if self._intakes[node].half_line != facts.half_line[node]:
                self._filler.note(node)
        return found

    def keep(self) -> None:
        """Copy what a decision changes into memory that is there already."""
        self._state.keep()
        self._kept_ms = self.since_ms
        copy_into(self._left_ms, self._grants.left_ms)

    def step(self) -> None:
        """Have the policy decide on what is so now."""
        elapsed_ms = self.since_ms
        self.since_ms = 0
        self._facts.changed = False
        self._filler.fill()
        self.policy.step(elapsed_ms)
        self._grants.step(elapsed_ms)

    def give_back(self) -> None:
        """Make what was decided since `keep` undone; the policy is to be asked anew."""
        facts = self._facts
        self._state.take_back()
        self._out.clear()
        self.since_ms = self._kept_ms
        copy_into(self._grants.left_ms, self._left_ms)
        for node in range(NODE_COUNT):
            if facts.enabled[node]:
                self._livenesses[node].verdict = facts.verdict[node] = self.verdicts[node]
        facts.changed = True

    def request(self, operation: int, node: int, argument: int, why: int = reasons.OPERATOR) -> int:
        """Hand a request to the policy and have carried out what it decides; return the reason of a refusal, or
        NONE.
        """
        self._out.clear()
        self._filler.fill()
        reason = policy_requests.request(self.policy, operation, node, argument, why)
        if operation == operations.SCHEDULE and reason == reasons.NONE:
            self._wall.note_schedule(argument)
        self._hands.carry_out()
        self._facts.changed = True
        return reason

    def refuse(self, operation: int, node: int, reason: int, argument: int) -> None:
        """Journal a request that the policy was not asked about."""
        self._out.clear()
        self._out.say(events.REFUSED, node, reason, operation, argument)
        self._hands.carry_out()
