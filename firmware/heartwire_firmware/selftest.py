"""Self-test: cuts one node's power relay for a bounded time, without a fence, and measures what its senses say.

It decides nothing: guards.PROOF says when a test may be, the supervisor asks it again in each pass and ends the test
as soon as it forbids. The relay is cut without a mark in the scratch register, so a reset in between releases it, and
never longer than PROOF_MAX_S, whether the host lives or not. The contact moves once the record of the test is durable.
Called by supervisor (step, end) and hostlink_operations (begin).
"""

from heartwire_firmware.clock import add_capped
from heartwire_firmware.sequencer import HOLD_UP_MS
from heartwire_protocol import codes, events, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, POWER_OFF, POWER_ON, POWER_UNKNOWN, VERDICT_GOOD
from heartwire_protocol.operations import PROOF_MAX_S

REST = 0
WAITING = 1
CUT = 2
BACK = 3
SETTLING = 4
PHASES = ("rest", "waiting", "cut", "back", "settling")
# The record of the test must be durable within this.
DURABLE_MS = 5000
# A coil without its pump drops within 3 s; a supply and its sense need less than the rest.
BACK_MS = 10000
# The test goes on for so long after its result: the policy looks every 10 ms, and must not take the sense that comes
# back for a start of the server.
SETTLE_MS = 200


class SelfTest:
    """The one test that may be under way, on `relays`, `senses` (relays module), `facts` and `journal`."""

    def __init__(self, relays, senses, facts, journal):
        self._relays = relays
        self._senses = senses
        self._facts = facts
        self._journal = journal
        self._interval_ms = 1000
        self._off_timeout_ms = 0
        self._sequence = 0
        self._since_ms = 0
        self._was_good = False
        self.node = NO_NODE  # of the test under way
        self.phase = REST
        self.cut_ms = 0
        # Of the last test: what the host asks for.
        self.last_node = NO_NODE
        self.number = 0
        self.result = codes.PROOF_NONE
        self.off_ms = 0
        self.on_ms = 0
        # Where the transfer relay is sent by hand; the supervisor takes it back when it has arrived or failed.
        self.transfer = NO_NODE

    def configure(self, board) -> None:
        """Take settings."""
        self._interval_ms = board.interval_ms
        self._off_timeout_ms = board.off_timeout_ms

    @property
    def is_moving(self) -> bool:
        """Tell whether a relay is cut or its sense is measured: what can wait should not stop the loop now."""
        return self.phase == CUT or self.phase == BACK

    @property
    def left_ms(self) -> int:
        """Return how much longer the relay stays cut."""
        return self.cut_ms - self._since_ms if self.phase == CUT else 0

    def begin(self, node: int, seconds: int) -> int:
        """Test the power relay of `node` for 1 to PROOF_MAX_S `seconds`; return the reason if it cannot be, or NONE."""
        if self.phase != REST or self._relays.cut_count:
            return reasons.OTHER_OPERATION
        if self._senses.power[node] == POWER_OFF:
            return reasons.ALREADY_OFF
        if self._senses.power[node] == POWER_ON and not self._senses.full[node]:
            return reasons.SENSE_UNSEEN  # a feed that is off before proves nothing of its contact
        self.node = node
        self.cut_ms = min(max(seconds, 1), PROOF_MAX_S) * 1000
        self._sequence = self._journal.append(events.PROOF_BEGAN, node, reasons.OPERATOR, self.cut_ms)
        self._enter(WAITING)
        self.last_node = node
        self.number = self.number + 1 if self.number < 65535 else 1
        self.result = codes.PROOF_NONE
        self.off_ms = 0
        self.on_ms = 0
        return reasons.NONE

    def end(self, reason: int) -> None:
        """End the test under way at once and give the node its power back."""
        if self.phase == REST:
            return
        if self.phase != SETTLING:
            at_ms = self._since_ms if self.phase == CUT else 0
            self._release()
            self.result = codes.PROOF_ENDED
            self._journal.append(events.PROOF_ENDED, self.node, reason, at_ms)
        self._enter(REST)
        self.node = NO_NODE

    def step(self, elapsed_ms: int) -> None:
        """Let time pass; call in each pass, after the senses."""
        if self.phase == REST:
            return
        self._since_ms = add_capped(self._since_ms, elapsed_ms, COUNT_MAX)
        if self.phase == WAITING:
            self._wait()
        elif self.phase == CUT:
            self._measure_off()
        elif self.phase == BACK:
            self._measure_on()
        elif self._since_ms >= SETTLE_MS:
            self._enter(REST)
            self.node = NO_NODE

    def _wait(self) -> None:
        if self._journal.decided >= self._sequence:
            self._was_good = self._facts.verdict[self.node] == VERDICT_GOOD
            self._enter(CUT)
            self._relays.cut(self.node)
        elif self._since_ms >= DURABLE_MS:
            self.end(reasons.NOT_DURABLE)

    def _measure_off(self) -> None:
        power = self._senses.power[self.node]
        if power == POWER_ON:
            self.off_ms = 0  # off counts only if it stays off
        elif power == POWER_OFF and not self.off_ms:
            self.off_ms = self._since_ms
        if self._since_ms >= self.cut_ms:
            stayed_on = power != POWER_OFF
            result = self._judge_on() if stayed_on else codes.PROOF_NONE
            self._release()
            if stayed_on:
                self._finish(result)
            else:
                self._enter(BACK)

    def _judge_on(self) -> int:
        """Return what a sense that stayed on means: the heartbeats tell whether the server lost its power."""
        if self._senses.power[self.node] == POWER_UNKNOWN:
            return codes.PROOF_NO_SENSE
        age_ms = self._facts.age_ms[self.node]
        if not self._was_good or self.cut_ms < 3 * self._interval_ms:
            return codes.PROOF_UNCLEAR
        if age_ms + self._interval_ms + HOLD_UP_MS >= self.cut_ms:
            return codes.PROOF_SENSE_DEAD
        return codes.PROOF_RELAY_IDLE

    def _measure_on(self) -> None:
        if self._senses.full[self.node]:  # each feed has its power back
            self.on_ms = self._since_ms
            self._finish(codes.PROOF_SLOW if self.off_ms > self._off_timeout_ms else codes.PROOF_PASSED)
        elif self._since_ms >= BACK_MS:
            self._finish(codes.PROOF_NO_RETURN)

    def _finish(self, result: int) -> None:
        self.result = result
        if result == codes.PROOF_PASSED:
            self._journal.append(events.PROOF_PASSED, self.node, 0, self.off_ms, self.on_ms)
        else:
            self._journal.append(events.PROOF_FAILED, self.node, 0, result, self.off_ms)
        self._enter(SETTLING)

    def _release(self) -> None:
        if self.phase == CUT:
            self._relays.restore(self.node)

    def _enter(self, phase: int) -> None:
        self.phase = phase
        self._since_ms = 0
