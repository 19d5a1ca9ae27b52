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
    """What the stores say of flash; `facts.storage_bad` is the result."""

    def __init__(self, durable, journal, config, facts):
        self._durable = durable
        self._journal = journal
        self._config = config
        self._facts = facts
        self._since_probe_ms = 0
        self._good_ms = COUNT_MAX

    def step(self, elapsed_ms: int) -> None:
        """Let time pass and set `facts.storage_bad`; have the state written now and then, to see whether flash takes
        it.
        """
        self._good_ms = add_capped(self._good_ms, elapsed_ms, COUNT_MAX)
        self._since_probe_ms += elapsed_ms
        if self._durable.failed or self._journal.failed:
            self._good_ms = 0
        if bool(self._good_ms < GOOD_MS) != self._facts.storage_bad:
            self._tell()
        if self._since_probe_ms >= PROBE_MS or self._config.failed:
            self._config.failed = False
            self._since_probe_ms = 0
            self._durable.waiting = True

    def _tell(self) -> None:
        facts = self._facts
        facts.storage_bad = not facts.storage_bad
        facts.changed = True
        if facts.storage_bad:
            self._journal.append(events.STORAGE_BAD, NO_NODE)
        else:
            self._journal.append(events.STORAGE_GOOD, NO_NODE, 0, self._journal.lost)
