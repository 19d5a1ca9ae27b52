"""Hands: carries out what was decided, contacts first, then what is to be remembered.

Besides the decisions of a step it moves a relay only for a test, for as long as guards.PROOF allows it. It decides
nothing. Used by supervisor, and by the walk as it is.
"""

from heartwire_firmware import guards, policy_state
from heartwire_firmware.selftest import CUT, SETTLING, WAITING
from heartwire_protocol import codes, reasons


class Hands:
    """Carries out `out` (policy_state.Decisions) on the sequencer, the test of a relay, the journal and the durable
    state.
    """

    def __init__(self, out, state, facts, config, sequencer, selftest, journal, repeats, intents, durable):
        self._out = out
        self._state = state
        self._facts = facts
        self._config = config
        self._sequencer = sequencer
        self._selftest = selftest
        self._journal = journal
        self._repeats = repeats
        self._intents = intents
        self._durable = durable

    def carry_out(self) -> None:
        """Carry out what the policy decided, and forget it."""
        out = self._out
        if out.actions:
            self._move_contacts()
        for event, node, reason, a, b in out.records:
            if self._repeats.first(event, node, reason, a):
                self._intents.note(event, node, a, self._journal.append(event, node, reason, a, b))
        if out.persist:
            self._durable.waiting = True
        out.clear()

    def _move_contacts(self) -> None:
        # A function of its own with few names: MicroPython takes room for a larger one from the heap, at each call.
        for kind, node in self._out.actions:
            if kind == policy_state.FENCE:
                self._selftest.end(reasons.FENCE_FIRED)
                self._sequencer.fire(node, bool(self._state.sense_seen[node]))
            elif kind == policy_state.VOUCH:
                self._selftest.end(reasons.FENCE_FIRED)
                self._sequencer.vouch(node)
            elif kind == policy_state.DOUBT:
                self._sequencer.doubt(node)
            elif kind == policy_state.PROVE:
                self._sequencer.prove(node)
            elif kind == policy_state.PULSE:
                self._sequencer.pulse(node)
            else:
                self._sequencer.release(node)

    def step_test(self, elapsed_ms: int) -> None:
        """Go on with a test of a relay for as long as the guards allow it."""
        test = self._selftest
        if test.phase == WAITING or test.phase == CUT:
            reason = guards.first_reason(guards.PROOF, self._config.current, self._state, self._facts, test.node)
            if reason != reasons.NONE:
                test.end(reason)
        test.step(elapsed_ms)
        if test.result == codes.PROOF_PASSED and test.phase == SETTLING and self._state.suspect[test.node]:
            self._state.suspect[test.node] = 0  # its contact does cut
            self._durable.waiting = True
