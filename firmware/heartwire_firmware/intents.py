"""Intents: of each node the record that says it is to be fenced, and whether that record is durable.

A contact may move only once its intent is durable. One begins with FENCE_PREPARED and ends with the fence, or the
reset, that it was for. Used by supervisor.
"""

from heartwire_protocol import codes, events
from heartwire_protocol.codes import NODE_COUNT

# A fence that is over needs a new intent before the next.
FENCE_OVER = (events.FENCE_CANCELLED, events.OFF_PROVEN, events.OFF_ASSUMED, events.OFF_FAILED)


class Intents:
    """The intents in `journal`; `sequence[node]` is the record's number, 0 where there is none."""

    def __init__(self, journal):
        self._journal = journal
        self.sequence = [0] * NODE_COUNT

    def note(self, event: int, node: int, a: int, sequence: int) -> None:
        """Take what record `sequence` says of `node`."""
        if event == events.FENCE_PREPARED:
            self.sequence[node] = sequence
        elif event in FENCE_OVER or (event == events.RECOVERY_STEP and a == codes.RUNG_RESET):
            self.sequence[node] = 0

    def is_durable(self, node: int) -> bool:
        """Tell whether there is a durable intent to fence `node`."""
        sequence = self.sequence[node]
        return sequence != 0 and self._journal.decided >= sequence

    def waits(self, node: int) -> bool:
        """Tell whether the intent to fence `node` is journaled and not durable yet."""
        return self.sequence[node] > self._journal.decided
