"""Journal: append-only records in two rings of segment files, decisions apart from routine.

A record waits in memory until the supervisor finds quiet slots to write it, a part in each; only what is durable is
shown to anybody. A flood of routine records can push out neither waiting nor stored decisions. A torn or damaged tail
is left alone and a new segment begun. It never reads its own records to decide anything; journal_reader reads them for
others.
"""

from heartwire_protocol import events, records
from heartwire_protocol.codes import COUNT_MAX

SEGMENT_RECORDS = 96  # 4032 bytes: one flash block
SEGMENTS = (24, 12)  # per ring: decisions, routine; 2304 and 1152 records at most
PREFIXES = ("d", "r")
QUEUE = 40
ROUTINE_QUEUE = 20  # routine records may fill the queue up to here
UNDER_WAY, WRITTEN, FAILED = range(3)
# The parts of a write. Each erases a block of flash at most (the file's own or, now and then, the file system's): the
# supervisor lets a pass of the loop go by between them, so that none stands still for longer than one erase.
_OPEN, _PUT, _END, _REMOVE = range(4)


class _Ring:
    """One ring's segment files: names in order, the newest one's length and the chain."""

    def __init__(self, files, index: int):
        self.files = files
        self._prefix = PREFIXES[index]
        self._limit = SEGMENTS[index]
        self.firsts: "list[int]" = []
        self.count = 0
        self.sealed = True
        self.chain = records.CHAIN_START
        self.newest = 0
        self._part = _OPEN
        self._fresh = False
        self._whole = False

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
        data = self.files.read(self.name(self.firsts[-1])) or b""
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

    def write(self, first: int, data: bytearray, count: int) -> int:
        """Do the next part of appending `count` records that begin with sequence `first`; return UNDER_WAY (call again
        with the same), WRITTEN or FAILED.
        """
        files = self.files
        if self._part == _OPEN:
            self._fresh = self.sealed or self.count + count > SEGMENT_RECORDS or not self.firsts
            self._part = _PUT
            if not files.begin(self.name(first if self._fresh else self.firsts[-1])):
                return self._fails()
            if self._fresh:
                return UNDER_WAY
        if self._part == _PUT:
            self._part = _END
            self._whole = files.put(data)
            return UNDER_WAY
        if self._part == _END:
            if not files.end() or not self._whole:
                return self._fails()
            self._note(first, data, count)
            if len(self.firsts) > self._limit:
                self._part = _REMOVE
                return UNDER_WAY
        else:
            files.remove(self.name(self.firsts.pop(0)))
        self._part = _OPEN
        return WRITTEN

    def _fails(self) -> int:
        self._part = _OPEN
        # Whatever part of it got there: the next record starts a segment of its own.
        self.sealed = self.sealed or not self._fresh
        return FAILED

    def _note(self, first: int, data: bytearray, count: int) -> None:
        if self._fresh:
            self.firsts.append(first)
            self.count = 0
        self.sealed = False
        self.count += count
        at = len(data) - records.LENGTH
        self.newest = data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24

    def oldest(self) -> int:
        return self.firsts[0] if self.firsts else 0

    def read(self, first: int, position: int, chunk: bytearray) -> int:
        """Read records of the segment `first` from `position` on into `chunk`; return how many whole ones came."""
        return self.files.read_part(self.name(first), position * records.LENGTH, chunk) // records.LENGTH


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
        # What is being written: records of one ring, encoded; none where the count is 0.
        self._ring = self.rings[0]
        self._picked = bytearray(0)
        self._count = 0
        self._first = 0
        self._last = 0
        self._chain = records.CHAIN_START

    def load(self) -> None:
        """Find the segments and where to go on. `boot` must be set before the first append."""
        files = self.rings[0].files
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
    def decided(self) -> int:
        """Sequence up to which decisions are durable, whatever routine records still wait."""
        return self.rings[0].newest

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
        while self._waiting:
            if not self.step():
                return False
        return True

    def step(self) -> bool:
        """Do the next part of making waiting records durable, decisions first; return False if it failed (they keep
        waiting).
        """
        if not self._count:
            self._pick(0)
            if not self._count:
                self._pick(1)
        result = self._ring.write(self._first, self._picked, self._count)
        if result == UNDER_WAY:
            return True
        self._count = 0
        if result == FAILED:
            self.failed = True
            return False
        self._ring.chain = self._chain
        self._forget_written()
        if self._waiting:
            self.durable = self._rows[0][0] - 1
            return True
        self.failed = False
        self.durable = self._next - 1
        if self.lost != self._lost_told:
            self._lost_told = self.lost
            self.append(events.JOURNAL_LOST, 3, 0, self.lost)
        return True

    def _pick(self, ring: int) -> None:
        # Encode the ring's records in order; the chain goes on only from what was written.
        picked = bytearray(0)
        record = bytearray(records.LENGTH)
        chain = self.rings[ring].chain
        for slot in range(self._waiting):
            if self._ring_of[slot] == ring:
                values = self._rows[slot]
                if not self._count:
                    self._first = values[0]
                self._last = values[0]
                chain = records.encode_into(record, values, chain)
                picked.extend(record)
                self._count += 1
        self._ring = self.rings[ring]
        self._picked = picked
        self._chain = chain

    def _forget_written(self) -> None:
        # Close the gap: what was written never waits twice. What came meanwhile has higher numbers.
        rows = self._rows
        kept = 0
        for slot in range(self._waiting):
            if rows[slot][0] > self._last or self.rings[self._ring_of[slot]] is not self._ring:
                if kept != slot:
                    rows[kept], rows[slot] = rows[slot], rows[kept]
                    self._ring_of[kept] = self._ring_of[slot]
                kept += 1
        self._waiting = kept
