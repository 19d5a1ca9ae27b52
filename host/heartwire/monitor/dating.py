"""When records were written: by their wall time, or by uptime and a clock that was set later.

A board forgets the time with its power. What it writes before a host sets it again carries boot and uptime only, so its
time follows from any record of the same boot that has one. Of a boot that never had one only this is known: it was over
before the next one began, and its records came no later than they were read. Pure. Called by collect and archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from heartwire.journal import Entry


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
