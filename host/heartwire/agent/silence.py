"""Heartbeats that nothing answered, and when the line shall therefore be opened anew. Pure.

Opening it again mends what another program did to a tty (its mode, its speed, stopped output), and a TCP connection
that is dead without a word. It mends nothing where the board is off or the line goes one way, so that the pauses grow;
as it is done just before a heartbeat is sent, none is lost by it. Stepped by the agent.
"""

# The pauses double up to this long, or to the first one where that is longer.
PAUSE_MAX_S = 16


class Silence:
    """Counts for one line."""

    def __init__(self, after: int, interval_ms: int) -> None:
        """Call for a new opening after `after` unanswered heartbeats, never if that is 0."""
        self.unanswered = 0  # heartbeats since the last answer, or since the start
        self.reopened = 0
        self._after = after
        self._most = max(after, PAUSE_MAX_S * 1000 // interval_ms)
        self._pause = after
        self._since = 0

    @property
    def is_due(self) -> bool:
        """Tell whether the line shall be opened anew before the next heartbeat."""
        return bool(self._after) and self._since >= self._pause

    def sent(self) -> None:
        """Note a heartbeat that was due on an open line."""
        self.unanswered += 1
        self._since += 1

    def opened(self) -> None:
        """Note that the line is there anew, for whatever reason."""
        self._since = 0

    def reopen(self) -> None:
        """Note that the line is being opened anew for its silence."""
        self.reopened += 1
        self._since = 0
        self._pause = min(2 * self._pause, self._most)

    def answered(self) -> None:
        """Note that the board was heard."""
        self.unanswered = self._since = 0
        self._pause = self._after
