"""Idle stamp: when a line fell idle last, so that a heartbeat counts from its end however late it is read.

The line's interrupt notes the time, or a look at the line; what is read afterwards had ended then, if nothing has come
since and nothing of it stays. Without either no time is known. It never reads a line. Made by the lines of hw_rp2 and
hw_pio.
"""

import time


class IdleStamp:
    """The stamp of one line. A `mark` is any number of the line's own that changes with each byte, 0 or more."""

    def __init__(self):
        self._noted = [0, -1]
        self.us = -1  # when the bytes read last ended, in ticks_us; -1 where that is not known

    def note(self, mark: int) -> None:
        """Note that the line is idle now; called in a hard interrupt, so nothing here may take room from the heap."""
        noted = self._noted
        noted[0] = time.ticks_us()  # type: ignore[call-overload] # ticks are integers
        noted[1] = mark

    def see(self, mark: int) -> None:
        """Note that what has come until now was seen: no interrupt may follow for it."""
        if self._noted[1] != mark:
            self.note(mark)

    def take(self, mark: int, whole: bool) -> None:
        """Set `us` for bytes about to be read: known if the mark is still as noted and they are read `whole`."""
        noted = self._noted
        self.us = noted[0] if noted[1] == mark and whole else -1
        noted[1] = -1
