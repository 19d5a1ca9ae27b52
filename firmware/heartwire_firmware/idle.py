"""Idle stamp: when a line fell idle last, so that a heartbeat counts from its end however late it is read.

The line's interrupt notes the time, or a look at the line; what is read afterwards had ended then, if nothing has come
since and nothing of it stays. Without either no time is known. It never reads a line. Made by the lines of hw_rp2 and
hw_pio.

MicroPython never again calls a hard handler that has raised once (1.24 to 1.29, shared/runtime/mpirq.c), and a deep
stack is enough for that. So whoever counts the line's errors has it armed anew.
"""

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# So often an interrupt is armed anew in one life: each loss is printed, which takes half a second where the host has
# the port open and reads nothing.
REARMS_MAX = 8


class IdleStamp:
    """The stamp of one line. A `mark` is any number of the line's own that changes with each byte, 0 or more."""

    def __init__(self):
        self._noted = [0, -1]
        self.us = -1  # when the bytes read last ended, in ticks_us; -1 where that is not known
        self._source: "Any" = None
        self._armed: "Any" = None  # its interrupt; None where there is none
        self._losses = 0

    def listen(self, source, handler, trigger: int) -> None:
        """Have `handler`, which calls `note`, called at once when `source` (machine.UART, rp2.PIO) raises `trigger`: a
        soft one waits until the C code that the loop is in returns, which has taken two milliseconds.
        """
        self._source = (source, handler, trigger)
        self._armed = source.irq(handler, trigger, True)

    def rearm(self) -> int:
        """Arm the interrupt anew if it was lost, REARMS_MAX times at most; return how often it was, or 0."""
        if self._armed is None or self._armed.trigger() or self._losses >= REARMS_MAX:
            return 0
        self._losses += 1
        self.listen(*self._source)
        return self._losses

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
