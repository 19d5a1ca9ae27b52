"""Challenge and answer of one line: proves that a heartbeat was made now, by this node, and not replayed.

A challenge stands until it is answered; then the next one is drawn. The current and the previous one are accepted from
the incarnation in force, with strictly rising sequence; a new incarnation must answer the current one. So no recorded
heartbeat is ever good again. Called by intake only; it never touches a line.
"""

from heartwire_firmware.clock import add_capped
from heartwire_protocol.codes import COUNT_MAX

LENGTH = 4


class Challenge:
    """Current and previous challenge; `random_into(buffer)` fills a new one."""

    def __init__(self, random_into):
        self._random_into = random_into
        self.current = bytearray(LENGTH)
        self.previous = bytearray(LENGTH)
        self.has_previous = False
        self.answered = False
        self.age_ms = 0  # since the current challenge was last answered, or since the start
        random_into(self.current)

    def step(self, elapsed_ms: int) -> None:
        """Let time pass."""
        self.age_ms = add_capped(self.age_ms, elapsed_ms, COUNT_MAX)

    def pick(self, odd: int) -> bytearray:
        """Return the challenge whose first byte has the lowest bit `odd`: one MAC to compute, not two."""
        if self.has_previous and (self.current[0] & 1) != odd:
            return self.previous
        return self.current

    def accept(self, challenge: bytearray) -> bool:
        """Note a right answer to `challenge`; draw the next one if it was the current, and tell so."""
        if challenge is not self.current:
            return False
        self.age_ms = 0
        odd = self.current[0] & 1
        spare = self.previous
        self.previous = self.current
        self.current = spare
        self._random_into(spare)
        # The bit alternates, so that the two accepted challenges always differ in it.
        spare[0] = (spare[0] & 0xFE) | (1 - odd)
        self.has_previous = True
        return True
