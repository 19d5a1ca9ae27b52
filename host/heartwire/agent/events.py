"""Read the board's journal over this node's line for monitors: a page at a time, from the reader's cursor on.

For a monitor whose board has lost its USB host: a server that still runs is enough. Read-only and bounded: one page at
a time, a few records per request (all fit into the board's output buffer beside a grant), the next request only when
the last one is over. What one reading leaves out counts as gone only if a second reading leaves out the same; so a
frame lost on the line is no gap. Records on a node line are not signed: they inform people and decide nothing. Called
by the agent; the other end is heartwire.monitor.sources.AgentSource.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from heartwire_protocol import framing, messages, records

NS_PER_MS = 1_000_000
COUNT_MAX = 16
# A Pico's serial output keeps 256 bytes: four records are 196 bytes on the wire, which leaves room for a grant.
AT_ONCE = 4
# The board sends a record in a quiet millisecond, so they come close together.
QUIET_NS = 500 * NS_PER_MS
# A page, with pauses for heartbeats and flash. The monitor waits 5 s for an answer.
PAGE_NS = 4500 * NS_PER_MS
QUEUE_MAX = 4
EVENT_BITS = 24

Answer = Callable[[dict[str, Any]], None]


@dataclass
class _Page:
    """One page asked for: up to `count` records after `after`; count 0 asks only how the journal is."""

    after: int
    count: int
    answer: Answer
    until_ns: int
    wanted: int = 0  # records asked for in the request under way; 0: none is
    heard_ns: int = 0
    got: list[bytes] = field(default_factory=list)  # of the request under way
    before: list[bytes] | None = None  # what the same request brought the last time
    found: list[bytes] = field(default_factory=list)
    oldest: int = 1

    @property
    def last(self) -> int:
        """The sequence to go on after."""
        return _sequence(self.found[-1]) if self.found else self.after


class EventReader:
    """Pages of the journal over one line."""

    def __init__(self, board_id: str) -> None:
        self.boot = 0
        self._board_id = board_id
        self._queue: list[_Page] = []
        self._newest = 0
        self._known = False
        self._layout = messages.layout_of(messages.READ_EVENTS)

    def begin(self, request: dict[str, Any], now_ns: int, answer: Answer) -> str:
        """Take a reader's request {"after": N, "count": 0 to 16}, to be answered later; return what is wrong, or ""."""
        after, count = request.get("after"), request.get("count")
        for name, value, limit in (("after", after, (1 << 30) - 1), ("count", count, COUNT_MAX)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
                return f"{name} must be a whole number from 0 to {limit}"
        if len(self._queue) >= QUEUE_MAX:
            return "too many readers wait already"
        assert isinstance(after, int) and isinstance(count, int)  # noqa: S101 - checked above, for the type checker
        self._queue.append(_Page(after, count, answer, now_ns + PAGE_NS))
        return ""

    def granted(self, newest_event: int) -> None:
        """Note the low 24 bits of the newest record, from a good grant."""
        if not self._known:
            self._newest = newest_event
        half = 1 << EVENT_BITS - 1
        step = (newest_event - self._newest + half) % (1 << EVENT_BITS) - half
        self._newest = max(0, self._newest + step)
        self._known = True

    def frame(self, now_ns: int) -> bytes:
        """Return the request to be sent now, or b""."""
        page = self._queue[0] if self._queue else None
        if page is None or page.wanted or not self._known:
            return b""
        if not page.count:
            page.after = max(0, self._newest - 1)  # the newest record tells which boot of the board this is
        if self._newest <= page.last:
            self._finish(page)
            return b""
        page.wanted = min(AT_ONCE, max(1, page.count - len(page.found)))
        page.heard_ns = now_ns
        page.got = []
        return bytes(framing.encode(messages.READ_EVENTS, self._layout.pack(after=page.last, count=page.wanted)))

    def take(self, payload: bytes, now_ns: int) -> None:
        """Take one record; what was not asked for is dropped."""
        page = self._queue[0] if self._queue else None
        if page is None or not page.wanted or not records.is_whole(payload):
            return
        last = _sequence(page.got[-1]) if page.got else page.last
        sequence = _sequence(payload)
        if not last < sequence < 1 << 30:
            return
        page.got.append(bytes(payload))
        page.heard_ns = now_ns
        self._newest = max(self._newest, sequence)
        if len(page.got) >= page.wanted or sequence >= self._newest:
            self._read(page)

    def step(self, now_ns: int) -> None:
        """End requests that bring nothing more, and pages that take too long."""
        for page in list(self._queue):
            if page is self._queue[0] and page.wanted and now_ns - page.heard_ns >= QUIET_NS:
                self._read(page)
            if page in self._queue and now_ns >= page.until_ns:
                if page.found:
                    self._finish(page)
                else:
                    self._queue.remove(page)
                    page.answer({"error": "the board sent no records in time"})

    def _read(self, page: _Page) -> None:
        """Judge what one request brought."""
        page.wanted = 0
        whole = _whole(page.got, page.last)
        if len(whole) == len(page.got) and whole:
            self._keep(page, whole)
        elif page.got and page.got == page.before:
            # Twice the same: the board does not have what is missing.
            first = next(raw for at, raw in enumerate(page.got) if at >= len(whole))
            page.oldest = max(page.oldest, _sequence(first))
            self._keep(page, page.got)
        elif whole:
            self._keep(page, whole)
        else:
            page.before = list(page.got)

    def _keep(self, page: _Page, found: list[bytes]) -> None:
        page.found += found
        page.before = None
        self.boot = records.decode(page.found[-1])["boot"]
        if not page.count or len(page.found) >= page.count or page.last >= self._newest:
            self._finish(page)

    def _finish(self, page: _Page) -> None:
        self._queue.remove(page)
        page.answer(
            {
                "board_id": self._board_id,
                "boot": self.boot,
                "newest": self._newest,
                # A node line does not tell; what was found missing at two readings was rotated out.
                "oldest_decision": page.oldest,
                "oldest_routine": page.oldest,
                "records": [raw.hex() for raw in page.found[: page.count]],
            }
        )


def _sequence(record: bytes) -> int:
    return int.from_bytes(record[:4], "little")


def _whole(found: list[bytes], after: int) -> list[bytes]:
    """Return the records that follow `after` and each other without a gap."""
    count = 0
    for raw in found:
        if _sequence(raw) != after + count + 1:
            break
        count += 1
    return found[:count]
