"""Liveness: how long ago each node gave a good heartbeat, and what that makes it: good, late or dead.

`dead` latches until `good_count` good heartbeats came in a row. It knows one node and its own limits; whether silence
is the node's fault or the cable's, and what to do, is the policy's business.
"""

from heartwire_protocol.codes import COUNT_MAX, VERDICT_DEAD, VERDICT_GOOD, VERDICT_LATE, VERDICT_UNHEARD


class Liveness:
    """The verdict on one node."""

    def __init__(self):
        self.verdict = VERDICT_UNHEARD
        # Since the last good heartbeat, or since the start while unheard; below 0 to the end of the pass it came in.
        self.age_ms = 0
        self.sign_ms = COUNT_MAX  # since anything at all that only this node can have sent
        self.streak = 0
        self._late_ms = 0
        self._dead_ms = 0
        self._good_count = 1

    def configure(self, board) -> None:
        """Take the board's settings."""
        self._late_ms = board.late_ms
        self._dead_ms = board.dead_ms
        self._good_count = board.good_count

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass; call before the pass's heartbeats are taken."""
        age_ms = self.age_ms + elapsed_ms
        self.age_ms = age_ms if age_ms < COUNT_MAX else COUNT_MAX
        sign_ms = self.sign_ms + elapsed_ms
        if sign_ms < COUNT_MAX or self.sign_ms < COUNT_MAX:
            self.sign_ms = sign_ms if sign_ms < COUNT_MAX else COUNT_MAX

    def good(self) -> None:
        """Take a good heartbeat."""
        self.age_ms = 0
        self.sign_ms = 0
        if self.streak < self._good_count:
            self.streak += 1
        if self.verdict == VERDICT_LATE or self.streak >= self._good_count:
            self.verdict = VERDICT_GOOD

    def sign(self) -> None:
        """Take a sign of life that is not a good heartbeat."""
        self.sign_ms = 0

    def bad(self) -> None:
        """Take an altered heartbeat: it ends a row of good ones."""
        self.streak = 0

    def forget(self) -> None:
        """Start anew: this node was taken out of the settings, or is new in them."""
        self.verdict = VERDICT_UNHEARD
        self.age_ms = 0
        self.sign_ms = COUNT_MAX
        self.streak = 0

    def judge(self) -> None:
        """Set the verdict from the age; call after the pass's heartbeats were taken."""
        if self.age_ms >= self._late_ms:
            self.streak = 0
        if self.verdict == VERDICT_GOOD and self.age_ms >= self._late_ms:
            self.verdict = VERDICT_LATE
        if self.verdict == VERDICT_LATE and self.age_ms >= self._dead_ms:
            self.verdict = VERDICT_DEAD
