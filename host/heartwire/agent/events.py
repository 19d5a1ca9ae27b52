"""Read the board's journal over this node's line for monitors: a page at a time, from the reader's cursor on.

For a monitor whose board has lost its USB host: a server that still runs is enough. Read-only and bounded: one page at
a time, a few records per request (all fit into the board's output buffer beside a grant), the next request only when
the last one is over. The board ends each with a MAC over the request, its nonce and all records it sent: where this
node has a key, nothing else is passed on, so nobody is told what did not happen, a frame lost on the line is no gap,
and what a page leaves out the board does not have. Called by the agent; the other end is
heartwire.monitor.sources.AgentSource.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from heartwire_protocol import auth, framing, messages, records
from heartwire_protocol.auth import Signer

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
NONCE_BYTES = 4

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
    asked: bytes = b""  # payload of the request under way
    got: list[bytes] = field(default_factory=list)  # of that request
    refused: bool = False  # its last end was not signed with this node's key
    found: list[bytes] = field(default_factory=list)
    oldest: int = 1

    @property
    def last(self) -> int:
        """The sequence to go on after."""
        return _sequence(self.found[-1]) if self.found else self.after


class EventReader:
    """Pages of the journal over one line."""

    def __init__(self, board_id: str, signer: Signer | None) -> None:
        self.boot = 0
        self.refused_pages = 0
        self._signers = [signer] if signer else []  # the newest first
        self._board_id = board_id
        self._queue: list[_Page] = []
        self._newest = 0
        self._known = False
        self._layout = messages.layout_of(messages.READ_EVENTS)
        self._end = messages.layout_of(messages.EVENTS_END)

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

    def use(self, signer: Signer) -> None:
        """Take another key from now on; the board may sign with the former until it has seen the new one."""
        self._signers = [signer, *self._signers[:1]]

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
        page.asked = self._layout.pack(after=page.last, count=page.wanted, nonce=secrets.token_bytes(NONCE_BYTES))
        return bytes(framing.encode(messages.READ_EVENTS, page.asked))

    def take(self, payload: bytes, now_ns: int) -> None:
        """Take one record; what was not asked for is dropped."""
        page = self._queue[0] if self._queue else None
        if page is None or len(page.got) >= page.wanted:
            return
        page.got.append(bytes(payload))
        page.heard_ns = now_ns

    def end(self, payload: bytes) -> None:
        """Take what ends a request: its records count if it is signed over them, else they are asked for again."""
        page = self._queue[0] if self._queue else None
        if page is None or not page.wanted or len(payload) != self._end.length:
            return
        page.wanted = 0
        fields = self._end.unpack(bytes(payload))
        if fields["count"] != len(page.got):
            return  # one was lost on the line
        page.refused = not self._is_signed(page, fields["mac"])
        if page.refused:
            self.refused_pages += 1
            return
        for raw in page.got:
            sequence = _sequence(raw)
            if not records.is_whole(raw) or not page.last < sequence < 1 << 30:
                continue  # damaged in flash
            if sequence != page.last + 1:
                page.oldest = max(page.oldest, sequence)
            page.found.append(raw)
            self._newest = max(self._newest, sequence)
        if page.found:
            self.boot = records.decode(page.found[-1])["boot"]
        if not page.got or len(page.found) >= max(1, page.count) or page.last >= self._newest:
            self._finish(page)

    def _is_signed(self, page: _Page, mac: bytes) -> bool:
        for signer in self._signers:
            right = auth.page_begin(signer, page.asked)
            for raw in page.got:
                right.update(raw)
            if auth.same(signer.end(right), mac):
                return True
        return not self._signers

    def step(self, now_ns: int) -> None:
        """End requests that bring nothing more, and pages that take too long."""
        for page in list(self._queue):
            if page is self._queue[0] and page.wanted and now_ns - page.heard_ns >= QUIET_NS:
                page.wanted = 0
            if page in self._queue and now_ns >= page.until_ns:
                if page.found:
                    self._finish(page)
                else:
                    self._queue.remove(page)
                    words = "the board sent no records in time"
                    if page.refused:
                        words = "the records are not signed with this node's key"
                    page.answer({"error": words})

    def _finish(self, page: _Page) -> None:
        self._queue.remove(page)
        page.answer(
            {
                "board_id": self._board_id,
                "boot": self.boot,
                "newest": self._newest,
                # A node line does not tell; what a page leaves out was rotated out.
                "oldest_decision": page.oldest,
                "oldest_routine": page.oldest,
                "records": [raw.hex() for raw in page.found[: page.count]],
            }
        )


def _sequence(record: bytes) -> int:
    return int.from_bytes(record[:4], "little")
