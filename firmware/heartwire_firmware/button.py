"""The button in the board's front: held for HOLD_MS it gives the approval that the board waits for.

A short touch does nothing, so that nobody switches servers by leaning against the rack, and a press that began before
the board asked answers nothing: whoever pressed has not seen the question. It knows no policy; the supervisor asks it
once a pass and hands the request on.
"""

HOLD_MS = 1000


class Button:
    """Turns a debounced input (relays.Input) into one answer a press."""

    def __init__(self, button):
        self._input = button
        self._held_ms = 0
        self._asked = 0  # what was asked when the press began

    def step(self, elapsed_ms: int) -> None:
        """Read the pin; called while inputs move or bounce."""
        self._input.step(elapsed_ms)

    def advance(self, elapsed_ms: int, asked: int) -> bool:
        """Let time pass; return True once when it has been held for HOLD_MS on request `asked` (0: none)."""
        if not self._input.asserted:
            self._held_ms = 0
            self._asked = asked
            return False
        if asked != self._asked or not asked:
            self._asked = 0
            return False
        before = self._held_ms
        if before < HOLD_MS:
            self._held_ms = before + elapsed_ms
        return before < HOLD_MS <= self._held_ms
