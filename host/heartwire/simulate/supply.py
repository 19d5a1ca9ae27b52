"""A simulated server's power and body: mains, the contact of its relay, its front panel, its sense input, its boot.

It obeys physics and its faults, knows nothing of roles, and never helps the board: what the sense input does not show,
the board does not know. Stepped by bench.Bench once per pass, before the board.
"""

from __future__ import annotations

from heartwire.simulate.body import Node

# Holding a PC's power button this long switches it off.
HARD_OFF_MS = 4000
# A chattering contact keeps each level for so long, if nothing else is said: the board's debouncing sees each.
CHATTER_MS = 60


class Feed:
    """One feed of a server behind its own contact of the relay, with its sense input, which is behind the contact."""

    def __init__(self) -> None:
        self.mains = True
        self.welded = False
        self.fault = ""  # of its sense: stuck-on, stuck-off, inverted, chatters
        self.chatter_ms = CHATTER_MS
        self.live = True
        self.off_ms = 0

    def show(self, off_delay_ms: int, ms: int) -> bool:
        """Return what its sense input shows at `ms`; capacitors keep it on for `off_delay_ms`."""
        truth = self.live or self.off_ms < off_delay_ms
        faults = {"stuck-on": True, "stuck-off": False, "inverted": not truth,
                  "chatters": ms // self.chatter_ms % 2 == 0}  # fmt: skip
        return faults.get(self.fault, truth)


class Supply:
    """The power of `node`; `front` is what the front-panel opto-coupler is wired to: none, reset or power.

    Its second feed is not there until somebody says so.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.front = "none"
        self.front_broken = False
        self.feeds = [Feed()]
        self.hidden_feed = False
        self.soft_off = False
        self.powered = True
        self.off_delay_ms = 200
        self.boot_ms = 3000
        self.boots = True  # False: it has power, but never gets as far as its agent
        self.boot_left: int | None = None
        self._ms = 0
        self._pressed_ms = 0
        self._was_pressed = False

    @property
    def mains(self) -> bool:
        """Tell whether the first feed has mains; set, it is meant for all."""
        return self.feeds[0].mains

    @mains.setter
    def mains(self, on: bool) -> None:
        for feed in self.feeds:
            feed.mains = on

    @property
    def welded(self) -> bool:
        """Tell whether the contact of the first feed is welded."""
        return self.feeds[0].welded

    @welded.setter
    def welded(self, on: bool) -> None:
        self.feeds[0].welded = on

    @property
    def sense_stuck(self) -> bool | None:
        """Tell what the first sense is stuck at; None where it is not."""
        return {"stuck-on": True, "stuck-off": False}.get(self.feeds[0].fault)

    @sense_stuck.setter
    def sense_stuck(self, on: bool | None) -> None:
        self.feeds[0].fault = "" if on is None else "stuck-on" if on else "stuck-off"

    @property
    def sensed(self) -> list[bool]:
        """Tell what the sense inputs show, one for each feed."""
        return [feed.show(self.off_delay_ms, self._ms) for feed in self.feeds]

    def off_before_start(self) -> None:
        """Be switched off for long when the timeline begins, as a cold standby is."""
        self.soft_off = True
        self.powered = False
        for feed in self.feeds:
            feed.live = False
            feed.off_ms = self.off_delay_ms
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
        self._ms += elapsed
        self._step_front(elapsed, pressed and not self.front_broken)
        fed = [self.hidden_feed or (feed.mains and (not cut or feed.welded)) for feed in self.feeds]
        if not any(fed):
            self.soft_off = False  # a PC starts when its mains come back
        on = any(fed) and not self.soft_off
        if self.powered and not on:
            self.powered = False
            self.boot_left = None
            self.node.crash()
        elif on and not self.powered:
            self.powered = True
            self.boot_left = self.boot_ms
        for feed, is_fed in zip(self.feeds, fed, strict=True):
            live = is_fed and not self.soft_off
            if live or feed.live:
                feed.off_ms = 0
            feed.live = live
            if not live:
                feed.off_ms += elapsed
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
