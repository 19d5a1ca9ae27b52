"""Journal: append-only records in two rings of segment files, decisions apart from routine.

A record waits in memory until the supervisor finds a quiet slot to flush; only flushed records are shown to anybody. A
flood of routine records can push out neither waiting nor stored decisions. A torn or damaged tail is left alone and a
new segment begun. It never reads its own records to decide anything; journal_reader reads them for others.
"""

from heartwire_protocol import events, records
from heartwire_protocol.codes import COUNT_MAX

SEGMENT_RECORDS = 96  # 4032 bytes: one flash block
SEGMENTS = (24, 12)  # per ring: decisions, routine; 2304 and 1152 records at most
PREFIXES = ("d", "r")
QUEUE = 40
ROUTINE_QUEUE = 20  # routine records may fill the queue up to here


class _Ring:
    """One ring's segment files: names in order, the newest one's length and the chain."""

    def __init__(self, files, index: int):
        self._files = files
        self._prefix = PREFIXES[index]
        self._limit = SEGMENTS[index]
        self.firsts: "list[int]" = []
        self.count = 0
        self.sealed = True
        self.chain = records.CHAIN_START
        self.newest = 0

    def name(self, first: int) -> str:
        return "%s%08x" % (self._prefix, first)

    def load(self, names: "list[str]") -> None:
        for name in names:
            if len(name) == 9 and name[0] == self._prefix:
                try:
                    self.firsts.append(int(name[1:], 16))
                except ValueError:
                    continue
        self.firsts.sort()
        if not self.firsts:
            return
        data = self._files.read(self.name(self.firsts[-1])) or b""
        at = 0
        while at < len(data):
            record = data[at : at + records.LENGTH]
            if not records.is_whole(record):
                break
            at += records.LENGTH
        self.count = at // records.LENGTH
        # Nothing is ever appended behind damage.
        self.sealed = at != len(data) or self.count >= SEGMENT_RECORDS
        # A segment whose first record is torn keeps its name to itself: the next one gets another number.
        self.newest = self.firsts[-1]
        if at:
            last = records.decode(data[at - records.LENGTH : at])
            self.newest = last["sequence"]
            self.chain = last["chain"]

    def append(self, first: int, data: memoryview, count: int) -> bool:
        if self.sealed or self.count + count > SEGMENT_RECORDS or not self.firsts:
            if not self._files.append(self.name(first), data):
                return False
            self.firsts.append(first)
            self.count = 0
            if len(self.firsts) > self._limit:
                self._files.remove(self.name(self.firsts.pop(0)))
        elif not self._files.append(self.name(self.firsts[-1]), data):
            # Whatever part of it got there: the next record starts a segment of its own.
            self.sealed = True
            return False
        self.sealed = False
        self.count += count
        at = len(data) - records.LENGTH
        self.newest = data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24
        return True

    def oldest(self) -> int:
        return self.firsts[0] if self.firsts else 0

    def read(self, first: int, position: int, chunk: bytearray) -> int:
        """Read records of the segment `first` from `position` on into `chunk`; return how many whole ones came."""
        return self._files.read_part(self.name(first), position * records.LENGTH, chunk) // records.LENGTH


class Journal:
    """The journal on `files` (ports.Files), stamped by `clock`."""

    def __init__(self, files, clock):
        self._clock = clock
        self.rings = (_Ring(files, 0), _Ring(files, 1))
        # What waits, as field values: a record is encoded only when it is written, in a slot where that takes no time
        # from a deadline.
        self._rows = [[0] * len(records.WIDTHS) for _ in range(QUEUE)]
        self._ring_of = bytearray(QUEUE)
        self._waiting = 0
        self._next = 1
        self.durable = 0
        self.boot = 0
        self.lost = 0
        self._lost_told = 0
        self.failed = False

    def load(self) -> None:
        """Find the segments and where to go on. `boot` must be set before the first append."""
        files = self.rings[0]._files
        names = files.names()
        for ring in self.rings:
            ring.load(names)
        self.durable = max(self.rings[0].newest, self.rings[1].newest)
        self._next = self.durable + 1

    @property
    def waiting(self) -> int:
        """Records not durable yet."""
        return self._waiting

    @property
    def newest(self) -> int:
        """Sequence of the newest record, durable or not."""
        return self._next - 1

    def oldest(self, ring: int) -> int:
        """Return the sequence of the oldest record kept of a ring; 0 if it is empty."""
        return self.rings[ring].oldest()

    def append(self, event: int, node: int, reason: int = 0, a: int = 0, b: int = 0) -> int:
        """Note an event; return its sequence, or 0 if it had to be dropped (counted in `lost`)."""
        ring = events.ring_of(event)
        limit = ROUTINE_QUEUE if ring == events.ROUTINE else QUEUE
        if self._waiting >= limit or self._next >= COUNT_MAX:
            if self.lost < COUNT_MAX:
                self.lost += 1
            return 0
        clock = self._clock
        slot = self._waiting
        values = self._rows[slot]
        values[0] = self._next
        values[1] = self.boot
        values[2] = clock.day
        values[3] = clock.ms
        values[4] = event
        values[5] = reason
        values[6] = node
        values[7] = min(max(a, 0), COUNT_MAX)
        values[8] = min(max(b, 0), COUNT_MAX)
        values[9] = clock.wall_day
        values[10] = clock.wall_ms
        self._ring_of[slot] = ring
        self._waiting += 1
        self._next += 1
        return self._next - 1

    def flush(self) -> bool:
        """Make all waiting records durable; return False if flash could not be written (they keep waiting)."""
        if self._waiting == 0:
            return True
        newest = self._next - 1
        for ring in (0, 1):
            if not self._flush_ring(ring):
                self.failed = True
                return False
        self.failed = False
        self.durable = newest
        if self.lost != self._lost_told:
            self._lost_told = self.lost
            self.append(events.JOURNAL_LOST, 3, 0, self.lost)
        return True

    def _flush_ring(self, ring: int) -> bool:
        # Encode the ring's records in order, write them, then close the gap: what was written never waits twice, and
        # the chain goes on only from what was written.
        picked = bytearray(0)
        record = bytearray(records.LENGTH)
        chain = self.rings[ring].chain
        count = 0
        first = 0
        for slot in range(self._waiting):
            if self._ring_of[slot] == ring:
                values = self._rows[slot]
                if not count:
                    first = values[0]
                chain = records.encode_into(record, values, chain)
                picked.extend(record)
                count += 1
        if not count:
            return True
        if not self.rings[ring].append(first, memoryview(picked), count):
            return False
        self.rings[ring].chain = chain
        kept = 0
        for slot in range(self._waiting):
            if self._ring_of[slot] != ring:
                if kept != slot:
                    rows = self._rows
                    rows[kept], rows[slot] = rows[slot], rows[kept]
                    self._ring_of[kept] = self._ring_of[slot]
                kept += 1
        self._waiting = kept
        return True
