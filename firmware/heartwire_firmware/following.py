"""Following: the transfer relay goes where the active node is, or where a test in observe mode sends it. Used by
supervisor, where a transfer relay is wired.
"""

from heartwire_firmware.relays import FAULT, MOVED
from heartwire_protocol import codes, events, reasons
from heartwire_protocol.codes import NO_NODE


class Following:
    """Moves `transfer` (relays.Transfer)."""

    def __init__(self, transfer, selftest, state, journal):
        self._transfer = transfer
        self._selftest = selftest
        self._state = state
        self._journal = journal

    def step(self, elapsed_ms: int) -> None:
        """Move the transfer relay on, and journal where it arrived or that it did not."""
        state = self._state
        armed = state.mode >= codes.MODE_APPROVE
        wanted = state.active if armed and state.active < codes.NODE_SPARE else NO_NODE
        if state.mode == codes.MODE_OBSERVE:
            wanted = self._selftest.transfer
        found = self._transfer.step(elapsed_ms, wanted)
        if found or state.mode != codes.MODE_OBSERVE:
            self._selftest.transfer = NO_NODE
        if found == MOVED:
            self._journal.append(events.TRANSFERRED, NO_NODE, 0, wanted)
        elif found == FAULT:
            self._journal.append(events.TRANSFER_FAULT, NO_NODE, reasons.POSITION, wanted)
