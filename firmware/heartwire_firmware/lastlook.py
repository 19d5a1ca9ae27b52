"""The last look: what was decided ahead of a deadline waits for that deadline, and a heartbeat until then undoes it.

A decision takes some 20 ms on the board, so the supervisor asks the policy that much ahead. This waits for the rest of
the time and looks at the lines of the nodes that would be dead; when it is over, the relay moves before anything else
is done. It never waits for longer than the clock may run ahead. Called by supervisor, in a pass that has run ahead.
"""

from heartwire_firmware import policy_state
from heartwire_firmware.clock import AHEAD_MS
from heartwire_protocol import codes
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

AHEAD_US = AHEAD_MS * 1000
# So many frames may put off a death that is being decided: a line that babbles is judged all the same.
TAKEN_BACK_MAX = 4


class LastLook:
    """The last look at the lines of `intakes`, before `sequencer` moves a relay."""

    def __init__(self, config, intakes, livenesses, sequencer, selftest, ticks_us, ticks_diff):
        self._config = config
        self._intakes = intakes
        self._livenesses = livenesses
        self._sequencer = sequencer
        self._selftest = selftest
        self._ticks_us = ticks_us
        self._ticks_diff = ticks_diff
        self.taken_back = 0  # decisions ahead of this deadline that a frame has undone

    def confirms(self, out, verdicts) -> bool:
        """Wait for the deadline that the policy was asked ahead of and move the relay that it decided on; return False
        if the node that it would fence, or that it holds to be dead, brings a frame in that time: that one is judged
        first. `verdicts` are those before this pass judged.
        """
        if not out.actions and not out.records:
            return True
        aimed = self._aim(out)
        for node in range(NODE_COUNT):
            dead = self._livenesses[node].verdict == codes.VERDICT_DEAD
            if dead and verdicts[node] == codes.VERDICT_LATE and not self._stays_silent(node):
                return False
        if aimed != NO_NODE:
            self._sequencer.shoot(aimed)
        return True

    def _stays_silent(self, node: int) -> bool:
        """Look at the line of `node` until its deadline; return False if it brings a frame, or if its last heartbeat is
        younger than the policy was told: then the time of that is right, and the deadline has not come.
        """
        intake = self._intakes[node]
        now_us = self._ticks_us
        dead_us = self._config.current.board.dead_ms * 1000
        left_us = 1
        while left_us > 0:
            # Counted from the last good heartbeat: what a dying server leaves on its line is none.
            left_us = dead_us - self._ticks_diff(now_us(), intake.good_us)
            if left_us > AHEAD_US:
                self._livenesses[node].age_ms = (dead_us - left_us) // 1000
                return False
            if self.taken_back < TAKEN_BACK_MAX and intake.gather():
                self.taken_back += 1
                return False
        return True

    def _aim(self, out) -> int:
        """Return the node whose power relay moves as soon as the look is over; NO_NODE: none can go ahead."""
        if not self._selftest.phase:
            for kind, node in out.actions:
                if kind == policy_state.FENCE and self._sequencer.may_shoot(node):
                    return node
        return NO_NODE
