"""A simulated server's power and body: mains, the contact of its relay, its front panel, its sense input, its boot.

It obeys physics and its faults, knows nothing of roles, and never helps the board: what the sense input does not show,
the board does not know. Stepped by bench.Bench once per pass, before the board.
"""

from __future__ import annotations

from heartwire.simulate.node import FakeNode

# Holding a PC's power button this long switches it off.
HARD_OFF_MS = 4000


class Supply:
    """The power of `node`; `front` is what the front-panel opto-coupler is wired to: none, reset or power."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.front = "none"
        self.mains = True
        self.hidden_feed = False
        self.welded = False
        self.soft_off = False
        self.sense_stuck: bool | None = None
        self.powered = True
        self.off_delay_ms = 200
        self.boot_ms = 3000
        self.boots = True  # False: it has power, but never gets as far as its agent
        self.boot_left: int | None = None
        self.off_ms = 0
        self._pressed_ms = 0
        self._was_pressed = False

    @property
    def sensed(self) -> bool:
        """Tell what the sense input shows; capacitors keep it on for off_delay_ms."""
        if self.sense_stuck is not None:
            return self.sense_stuck
        return self.powered or self.off_ms < self.off_delay_ms

    def off_before_start(self) -> None:
        """Be switched off for long when the timeline begins, as a cold standby is."""
        self.soft_off = True
        self.powered = False
        self.off_ms = self.off_delay_ms
        self.node.crash()

    def reboot(self) -> None:
        """Reset: everything that ran is gone, and it boots if it has power."""
        self.node.crash()
        self.boot_left = self.boot_ms if self.powered else None

    def shut_down(self) -> None:
        """Switch off by software; only the button or a power cycle starts it again."""
        self.soft_off = True

    def step(self, elapsed: int, cut: bool, pressed: bool) -> bool:
        """Let time pass with the relay cut and the front panel pressed, or not; return True when it has booted."""
        self._step_front(elapsed, pressed)
        fed = self.hidden_feed or (self.mains and (not cut or self.welded))
        if not fed:
            self.soft_off = False  # a PC starts when its mains come back
        on = fed and not self.soft_off
        if self.powered and not on:
            self.powered = False
            self.off_ms = 0
            self.boot_left = None
            self.node.crash()
        elif on and not self.powered:
            self.powered = True
            self.boot_left = self.boot_ms
        if not self.powered:
            self.off_ms += elapsed
        if self.boot_left is None or not self.boots:
            return False
        self.boot_left -= elapsed
        if self.boot_left > 0:
            return False
        self.boot_left = None
        self.node.boot()
        return True

    def _step_front(self, elapsed: int, pressed: bool) -> None:
        began = pressed and not self._was_pressed
        ended = self._was_pressed and not pressed
        self._was_pressed = pressed
        if self.front == "reset":
            if began and self.powered:
                self.reboot()
        elif self.front == "power":
            self._pressed_ms = 0 if began else self._pressed_ms + elapsed
            if pressed and self._pressed_ms >= HARD_OFF_MS:
                self.soft_off = True
            elif ended and self._pressed_ms < HARD_OFF_MS:
                # A short press starts a server that is off, and shuts one down that runs.
                self.soft_off = not self.soft_off
