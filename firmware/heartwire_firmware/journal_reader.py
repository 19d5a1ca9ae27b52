"""Reading the journal in order, with at most one access to a file a call: no pass of the loop stands still for it.

On the board an access takes some 5 ms, and where to begin must be searched for; so a search goes on from call to call,
and several records come with one access. It hands out only what is durable, writes nothing, and lets damage end a
segment as `journal.load` does. Made by who sends records on, hostlink and lines, each for itself.
"""

from heartwire_firmware.journal import SEGMENT_RECORDS
from heartwire_protocol import records

WAITS = -1
CHUNK = 8  # records that come with one access


class _Place:
    """Where one ring is being read: a chunk of a segment, and the record in it that is next."""

    def __init__(self, ring):
        self._ring = ring
        self._chunk = bytearray(CHUNK * records.LENGTH)
        self._first = 0  # the segment, by its first sequence
        self._position = 0  # of the chunk in the segment
        self._count = 0  # records in the chunk
        self._at = 0
        self._low = self._high = 0  # positions that a search has left; equal: no search
        self._after = 0

    def step(self, after: int, durable: int) -> int:
        """Return the first sequence above `after`, 0 if there is none up to `durable`, WAITS if a file was read."""
        ring = self._ring
        if ring.newest <= after or not ring.firsts:
            return 0
        if self._is_elsewhere(after):
            self._seek(after)
        self._after = after
        if self._low < self._high:
            self._probe(after)
            return WAITS
        self._skip(after)
        if self._at < self._count:
            sequence = self._sequence()
            if after < sequence <= durable:
                return sequence
            return 0 if self._belongs(sequence) else self._next_segment()
        if self._fill(self._position + self._count):
            return WAITS
        return self._next_segment()

    def copy_into(self, record: bytearray) -> None:
        """Copy the record that `step` found."""
        at = self._at * records.LENGTH
        record[:] = self._chunk[at : at + records.LENGTH]

    def _is_elsewhere(self, after: int) -> bool:
        """Tell whether what follows `after` is not to be found by reading on from here."""
        firsts = self._ring.firsts
        if after < self._after or self._first not in firsts:
            return True
        following = firsts.index(self._first) + 1
        return following < len(firsts) and firsts[following] <= after + 1

    def _seek(self, after: int) -> None:
        self._first = self._ring.firsts[0]
        for first in self._ring.firsts:
            if first <= after + 1:
                self._first = first
        self._position = self._count = self._at = 0
        self._low = 0
        self._high = SEGMENT_RECORDS

    def _probe(self, after: int) -> None:
        middle = (self._low + self._high) // 2
        self._fill(middle)
        self._skip(after)
        if not self._at:
            self._high = middle
        elif self._at < self._count:
            self._low = self._high
        else:
            self._low = middle + self._at

    def _skip(self, after: int) -> None:
        while self._at < self._count and 0 < self._sequence() <= after:
            self._at += 1

    def _belongs(self, sequence: int) -> bool:
        """Tell whether a record that cannot be handed out is only not durable yet; damage ends its segment."""
        firsts = self._ring.firsts
        following = firsts.index(self._first) + 1
        return sequence > 0 and (following == len(firsts) or sequence < firsts[following])

    def _next_segment(self) -> int:
        """Go to the next segment; 0 where this is the last one."""
        firsts = self._ring.firsts
        following = firsts.index(self._first) + 1
        if following == len(firsts):
            return 0
        self._first = firsts[following]
        self._position = self._count = self._at = 0
        return WAITS

    def _fill(self, position: int) -> int:
        self._position = position
        self._at = 0
        self._count = self._ring.read(self._first, position, self._chunk)
        return self._count

    def _sequence(self) -> int:
        """Return the sequence of the record that is next; 0 if it is none."""
        at = self._at * records.LENGTH
        chunk = self._chunk
        if chunk[at + 3] >= 0x40:
            return 0
        return chunk[at] | chunk[at + 1] << 8 | chunk[at + 2] << 16 | chunk[at + 3] << 24


class Reader:
    """Reads `journal` (journal.Journal) for one reader."""

    def __init__(self, journal):
        self._journal = journal
        self._places = (_Place(journal.rings[0]), _Place(journal.rings[1]))

    def step(self, after: int, record: bytearray) -> int:
        """Put the first durable record above sequence `after` into `record` and return its sequence; 0 if there is
        none, WAITS if it is still being looked for: call again.
        """
        durable = self._journal.durable
        found = 0
        place = None
        for one in self._places:
            sequence = one.step(after, durable)
            if sequence == WAITS:
                return WAITS
            if sequence and (not found or sequence < found):
                found = sequence
                place = one
        if place:
            place.copy_into(record)
        return found
