"""The button in the board's front: held for HOLD_MS it gives the approval that the board waits for.

A short touch does nothing, so that nobody switches servers by leaning against the rack. It knows no policy; the
supervisor asks it once a pass and hands the request on.
"""

HOLD_MS = 1000


class Button:
    """Turns a debounced input (relays.Input) into one answer a press."""

    def __init__(self, button):
        self._input = button
        self._held_ms = 0

    def step(self, elapsed_ms: int) -> None:
        """Read the pin; called while inputs move or bounce."""
        self._input.step(elapsed_ms)

    def advance(self, elapsed_ms: int) -> bool:
        """Let time pass; return True once when it has been held for HOLD_MS."""
        if not self._input.asserted:
            self._held_ms = 0
            return False
        before = self._held_ms
        if before < HOLD_MS:
            self._held_ms = before + elapsed_ms
        return before < HOLD_MS <= self._held_ms
