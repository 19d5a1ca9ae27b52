"""Storage: whether flash takes what is written to it, told at once and not by the failover that it prevents.

A write that fails begins it, one that works ends it; both are journaled, once flash takes records again. Where nothing
else is written for a while the state is, as only a write shows that flash still takes one. Called by supervisor in a
quiet slot; it writes nothing itself.
"""

from heartwire_firmware.clock import add_capped
from heartwire_protocol import events
from heartwire_protocol.codes import COUNT_MAX, NO_NODE

# A board in a quiet rack writes nothing for weeks. 144 writes a day, spread over all blocks, wear out no flash.
PROBE_MS = 600000
# Between one failed write and the end of it: flash that takes every other write is not whole.
GOOD_MS = 10000


class Storage:
    """What the stores of `board` (supervisor.Supervisor) say of flash; `facts.storage_bad` is the result."""

    def __init__(self, board):
        self._board = board
        self._since_probe_ms = 0
        self._good_ms = COUNT_MAX

    def step(self, elapsed_ms: int) -> bool:
        """Let time pass and set `facts.storage_bad`; return True if the state is to be written, to see whether flash
        takes it.
        """
        board = self._board
        self._good_ms = add_capped(self._good_ms, elapsed_ms, COUNT_MAX)
        self._since_probe_ms += elapsed_ms
        if board.durable.failed or board.journal.failed:
            self._good_ms = 0
        if bool(self._good_ms < GOOD_MS) != board.facts.storage_bad:
            self._tell()
        if self._since_probe_ms < PROBE_MS and not board.config.failed:
            return False
        board.config.failed = False
        self._since_probe_ms = 0
        return True

    def _tell(self) -> None:
        board = self._board
        board.facts.storage_bad = not board.facts.storage_bad
        board.changed = True
        if board.facts.storage_bad:
            board.journal.append(events.STORAGE_BAD, NO_NODE)
        else:
            board.journal.append(events.STORAGE_GOOD, NO_NODE, 0, board.journal.lost)
