"""When records were written that have no wall time: computed from a record of the same boot that has one.

A board has no clock of its own: until a host tells it the time, records carry the uptime alone. Once any record of the
same boot has both, the time of all others follows. Of a boot that never had one this is known: it was over before the
next one began, and its records came no later than they were read; only `dates`, which the monitor stores by, says that
much. Pure. Called by `heartwire log`, `heartwire why` and the monitor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from heartwire.journal import Entry

T = TypeVar("T")
# So many records wait at most for one that tells the time.
WAIT = 1000
# A board's clock that is further from the host's was set wrong: its crystal (100 ppm) makes 9 s a day.
WRONG = timedelta(minutes=1)


class Dating:
    """Knows when each boot began, as far as records or a host have said it."""

    def __init__(self, boot: int = -1, booted: datetime | None = None) -> None:
        """`booted` is when boot `boot` began, from a source less exact than a record, such as a status."""
        self._exact: dict[int, datetime] = {}
        self._about = {boot: booted} if booted else {}

    def learn(self, entry: Entry) -> None:
        """Take note of what an entry tells."""
        if entry.wall is not None and not self._is_wrong(entry):
            self._exact[entry.boot] = entry.wall - timedelta(milliseconds=entry.uptime_ms)

    def knows(self, entry: Entry) -> bool:
        """Tell whether the entry's time is known exactly."""
        return entry.wall is not None or entry.boot in self._exact

    def _is_wrong(self, entry: Entry) -> bool:
        """Tell whether the board's clock was wrong when it wrote the entry, by the clock of whoever reads it now."""
        booted = self._about.get(entry.boot)
        if booted is None or entry.wall is None:
            return False
        return abs(entry.wall - booted - timedelta(milliseconds=entry.uptime_ms)) > WRONG

    def date(self, entry: Entry) -> Entry:
        """Return the entry with its time, computed if it can be."""
        if entry.wall is not None and not self._is_wrong(entry):
            return entry
        booted = self._exact.get(entry.boot) or self._about.get(entry.boot)
        return replace(entry, wall=booted + timedelta(milliseconds=entry.uptime_ms)) if booted else entry


def dated(items: Iterable[T], dating: Dating | None = None) -> Iterator[T]:
    """Yield the items in their order, entries with their times; others pass as they are."""
    dating = dating or Dating()
    waiting: list[T] = []
    boot = -1
    for item in items:
        if isinstance(item, Entry):
            dating.learn(item)
            if waiting and (item.boot != boot or dating.knows(item) or len(waiting) >= WAIT):
                yield from _dated(waiting, dating)
                waiting = []
            boot = item.boot
        waiting.append(item)
        if len(waiting) == 1 and (not isinstance(item, Entry) or dating.knows(item)):
            yield from _dated(waiting, dating)
            waiting = []
    yield from _dated(waiting, dating)


def _dated(items: list[T], dating: Dating) -> Iterator[T]:
    for item in items:
        yield dating.date(item) if isinstance(item, Entry) else item  # type: ignore[misc]


def wall_ms(entry: Entry) -> int | None:
    """Return the wall time of a record in ms since 1970, or None if it has none."""
    return None if entry.wall is None else round(entry.wall.timestamp() * 1000)


def starts_in(entries: Iterable[Entry]) -> dict[int, int]:
    """Return the wall time in ms at uptime 0 of each boot, by the first record of it that has a wall time."""
    starts: dict[int, int] = {}
    for entry in entries:
        at_ms = wall_ms(entry)
        if at_ms is not None:
            starts.setdefault(entry.boot, at_ms - entry.uptime_ms)
    return starts


def dates(entries: Sequence[Entry], starts: Mapping[int, int], latest_ms: Sequence[int]) -> list[int]:
    """Return when each of `entries` (in order of sequence, of one journal) was written, in ms since 1970.

    `starts` gives the wall time at uptime 0 of boots, `latest_ms` when each was there at the latest.
    """
    found: list[int] = []
    boot, uptime_ms = -1, 0  # of the record behind
    for entry, latest in zip(reversed(entries), reversed(latest_ms), strict=True):
        at_ms = wall_ms(entry)
        if at_ms is None and entry.boot in starts:
            at_ms = starts[entry.boot] + entry.uptime_ms
        elif at_ms is None:
            bounds = [latest, *[start for later, start in starts.items() if later > entry.boot]]
            if found:
                bounds.append(found[-1] - (max(0, uptime_ms - entry.uptime_ms) if entry.boot == boot else 0))
            at_ms = min(bounds)
        boot, uptime_ms = entry.boot, entry.uptime_ms
        found.append(at_ms)
    return found[::-1]
