"""When records were written that have no wall time: computed from a record of the same boot that has one.

A board has no clock of its own: until a host tells it the time, records carry the uptime alone. Once any record of the
same boot has both, the time of all others follows. Pure; nothing is guessed across a restart. Called by `heartwire log`
and `heartwire why`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from heartwire.journal import Entry

T = TypeVar("T")
# So many records wait at most for one that tells the time.
WAIT = 1000


class Dating:
    """Knows when each boot began, as far as records or a host have said it."""

    def __init__(self, boot: int = -1, booted: datetime | None = None) -> None:
        """`booted` is when boot `boot` began, from a source less exact than a record, such as a status."""
        self._exact: dict[int, datetime] = {}
        self._about = {boot: booted} if booted else {}

    def learn(self, entry: Entry) -> None:
        """Take note of what an entry tells."""
        if entry.wall is not None:
            self._exact[entry.boot] = entry.wall - timedelta(milliseconds=entry.uptime_ms)

    def knows(self, entry: Entry) -> bool:
        """Tell whether the entry's time is known exactly."""
        return entry.wall is not None or entry.boot in self._exact

    def date(self, entry: Entry) -> Entry:
        """Return the entry with its time, computed if it can be."""
        if entry.wall is not None:
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
