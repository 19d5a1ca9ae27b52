"""Generated histories with a known answer: silences of a given law, written as a board writes them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from heartwire import journal
from heartwire.adviser.history import History, Reader
from heartwire.journal import Entry
from heartwire_protocol import codes, events, records

LATE_MS, DEAD_MS = 3000, 10_000
DAY_S = 86_400
# Length in ms of a silence of LATE_MS and more.
Law = Callable[[random.Random], float]


def power_law(index: float, least_ms: float = LATE_MS) -> Law:
    """Return silences whose number above x falls with x ** -index."""
    return lambda chance: least_ms * chance.paretovariate(index)


def evenly(low_ms: float, high_ms: float) -> Law:
    """Return silences of any length between two, as those of a nightly job are."""
    return lambda chance: chance.uniform(low_ms, high_ms)


def exponential(mean_ms: float) -> Law:
    """Return silences whose excess over LATE_MS is exponential."""
    return lambda chance: LATE_MS + chance.expovariate(1 / mean_ms)


def mixture(share: float, rare: Law, other: Law) -> Law:
    """Return silences of which a share is by `rare`."""
    return lambda chance: rare(chance) if chance.random() < share else other(chance)


@dataclass
class Journal:
    """A board's journal as it grows: `at` moves the time, `say` writes a record."""

    entries: list[Entry] = field(default_factory=list)
    now_ms: int = 0
    boot: int = 1

    def say(self, event: int, node: int = codes.NO_NODE, a: int = 0, b: int = 0, *, skip: int = 0) -> None:
        """Write a record now; `skip` leaves out so many sequence numbers before it."""
        last = self.entries[-1].sequence if self.entries else 0
        day, ms = divmod(self.now_ms, 86_400_000)
        values = {
            "sequence": last + 1 + skip, "boot": self.boot, "uptime_day": day, "uptime_ms": ms, "event": event,
            "reason": 0, "node": node, "a": a, "b": b, "wall_day": 0, "wall_ms": 0,
        }  # fmt: skip
        raw = bytearray(records.LENGTH)
        records.encode_into(raw, [values[name] for name, _, _ in records.FIELDS], records.CHAIN_START)
        self.entries.append(journal.decode(bytes(raw)))

    def silence(self, node: int, length_ms: int, *, late_ms: int = LATE_MS, dead_ms: int = DEAD_MS) -> None:
        """Write a silence that ends `length_ms` after its last heartbeat, which is now."""
        self.now_ms += late_ms
        self.say(events.LATE, node, late_ms)
        if length_ms >= dead_ms:
            self.now_ms += dead_ms - late_ms
            self.say(events.DEAD, node, dead_ms)
        self.now_ms += length_ms - min(length_ms, dead_ms if length_ms >= dead_ms else late_ms)
        self.say(events.GOOD_AGAIN, node, length_ms)

    def read(self, **end: object) -> History:
        """Return what the adviser makes of it."""
        reader = Reader()
        for entry in self.entries:
            reader.take(entry)
        return reader.finish(**end)  # type: ignore[arg-type]


def watched(seed: int, law: Law, a_day: float, days: int) -> Journal:
    """Return a journal of two nodes that were heard for `days`, with `a_day` silences a node and day by `law`."""
    chance = random.Random(seed)
    found = Journal()
    for node in (codes.NODE_A, codes.NODE_B):
        found.say(events.FIRST_HEARD, node)
    left_ms = days * DAY_S * 1000
    while True:
        pause_ms = round(chance.expovariate(2 * a_day) * DAY_S * 1000)
        if found.now_ms + pause_ms >= left_ms:
            found.now_ms = max(left_ms, found.now_ms)
            return found
        found.now_ms += pause_ms
        found.silence(chance.choice((codes.NODE_A, codes.NODE_B)), round(min(law(chance), 120_000)))
