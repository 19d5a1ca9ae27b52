"""Repeats: what happens again and again is one record with a count, so that it cannot push the decisions out of flash.

A record of COUNTED that is the same as one before (event, node, reason, and what was asked) is written BURST times,
then counted; what was counted is written as one record every WINDOW_MS. Nothing that moves a contact, grants a lease or
was asked by a person is ever counted away. Called by supervisor.
"""

from heartwire_protocol import events, reasons

WINDOW_MS = 600000
PLACES = 8
# How often the same is written before it is counted. A refusal changes nothing, so once is enough.
COUNTED = {
    events.REFUSED: 1,
    events.HELD: 3,
    events.TWO_RUNNING: 3,
    events.ALL_SILENT: 3,
    events.DISAGREE: 3,
    events.AGREE: 3,
    events.FEED_LOST: 3,
    events.FEED_BACK: 3,
    events.EPOCH_REFUSED: 3,
}


class Repeats:
    """What was written lately into `journal`, and how often it was not."""

    def __init__(self, journal):
        self._journal = journal
        self._keys = [0] * PLACES
        self._left_ms = [0] * PLACES
        self._written = [0] * PLACES
        self._more = [0] * PLACES
        self._busy = False
        self._skips = False  # the evidence of what is not written is not written either

    def first(self, event: int, node: int, reason: int, a: int) -> bool:
        """Tell whether a record is to be written; else it is counted."""
        if event == events.EVIDENCE:
            return not self._skips
        self._skips = False
        burst = COUNTED.get(event, 1 if event == events.REQUESTED and reason == reasons.PEER else 0)
        if not burst:
            return True
        key = event | node << 8 | reason << 10 | (a & 255 if event in (events.REFUSED, events.REQUESTED) else 0) << 18
        place = self._place(key)
        if self._written[place] < burst:
            self._written[place] += 1
            return True
        self._more[place] += 1
        self._skips = True
        return False

    def _place(self, key: int) -> int:
        """Return the place of `key`; a new one takes an empty place, or that which is over first."""
        oldest = 0
        for place in range(PLACES):
            if self._keys[place] == key and self._left_ms[place]:
                return place
            if self._left_ms[place] < self._left_ms[oldest]:
                oldest = place
        if self._left_ms[oldest]:
            self._tell(oldest)
        self._keys[oldest] = key
        self._left_ms[oldest] = WINDOW_MS
        self._written[oldest] = 0
        self._busy = True
        return oldest

    def step(self, elapsed_ms: int) -> None:
        """Let time pass."""
        if not self._busy:
            return
        self._busy = False
        for place in range(PLACES):
            left_ms = self._left_ms[place]
            if not left_ms:
                continue
            left_ms = max(0, left_ms - elapsed_ms)
            self._left_ms[place] = left_ms
            if not left_ms and self._more[place]:
                self._tell(place)
                self._left_ms[place] = WINDOW_MS  # it goes on: once more a window
            self._busy = self._busy or self._left_ms[place] > 0

    def _tell(self, place: int) -> None:
        more = self._more[place]
        self._more[place] = 0
        if more:
            key = self._keys[place]
            self._journal.append(events.REPEATED, key >> 8 & 3, key >> 10 & 255, key & 255, more)
