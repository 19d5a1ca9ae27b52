"""Check a stretch of the journal: are records missing, damaged, altered, or merely rotated out?

Feed records in the order they came. The hash chain runs per ring (decision, routine); a record whose predecessor is
at hand must continue it. Nothing here judges what a record says, and nothing is ever repaired. Called by board (over
the link) and by capture (from a file).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heartwire import journal
from heartwire_protocol import records

ROTATED = "rotated"
LOST = "lost"
DAMAGED = "damaged"
ALTERED = "altered"
RESTARTED = "restarted"
# Rotation is how a journal of limited size works; everything else deserves an alarm.
HARMLESS = (ROTATED,)


@dataclass(frozen=True)
class Finding:
    """What is wrong between or with records `first` to `last` (sequence numbers)."""

    kind: str
    first: int
    last: int
    words: str

    @property
    def harmless(self) -> bool:
        """Whether this is ordinary."""
        return self.kind in HARMLESS


class ChainChecker:
    """Take records one by one; return the entry (None if damaged) and what was found on the way."""

    def __init__(self, after: int = 0) -> None:
        self.restart(after)

    def restart(self, after: int = 0) -> None:
        """Forget everything and expect the record after sequence `after`."""
        self.last = after
        # Oldest records that the board keeps, by its own account; 0 while it is not known.
        self.oldest_decision = 0
        self.oldest_routine = 0
        # The chain value each ring must continue from; None where the record before is not at hand.
        start = records.CHAIN_START if after == 0 else None
        self._chain: dict[str, bytes | None] = {"decision": start, "routine": start}
        # A gap may have taken a ring's last record along: then a mismatch proves nothing.
        self._certain = {"decision": after == 0, "routine": after == 0}

    def resume(self, after: int, chains: Mapping[str, bytes]) -> None:
        """Expect the record after sequence `after`, where each ring's newest record had the chain value given."""
        self.restart(after)
        for ring, link in chains.items():
            self._chain[ring] = link
            self._certain[ring] = True

    def take(self, raw: bytes) -> tuple[journal.Entry | None, list[Finding]]:
        """Check the next record; sequence, CRC and chain."""
        try:
            entry = journal.decode(raw)
        except ValueError:
            sequence = int.from_bytes(raw[:4], "little") if len(raw) >= 4 else self.last + 1
            plausible = sequence if self.last < sequence <= self.last + 1024 else self.last + 1
            found = self._gap(plausible)
            self.last = plausible
            self._forget()
            return None, [*found, Finding(DAMAGED, plausible, plausible, f"record {plausible} is damaged (CRC)")]
        found = []
        if entry.sequence <= self.last:
            words = (
                f"sequence falls from {self.last} to {entry.sequence}: the journal was started anew, or records mixed"
            )
            found.append(Finding(RESTARTED, entry.sequence, entry.sequence, words))
            self._forget()
            if entry.sequence == 1:
                self._chain = dict.fromkeys(self._chain, records.CHAIN_START)
        else:
            found += self._gap(entry.sequence)
        self.last = entry.sequence
        found += self._link(entry)
        return entry, found

    def _gap(self, sequence: int) -> list[Finding]:
        first, last = self.last + 1, sequence - 1
        if first > last:
            return []
        found = []
        rotated_to = min(last, max(self.oldest_decision, self.oldest_routine) - 1)
        if first <= rotated_to:
            count = rotated_to - first + 1
            found.append(Finding(ROTATED, first, rotated_to, f"{_range(first, rotated_to, count)} rotated out"))
            first = rotated_to + 1
        if first <= last:
            count = last - first + 1
            verb = "is" if count == 1 else "are"
            found.append(Finding(LOST, first, last, f"{_range(first, last, count)} {verb} missing"))
        for ring in self._certain:
            self._certain[ring] = False
        return found

    def _link(self, entry: journal.Entry) -> list[Finding]:
        ring = entry.ring
        if ring not in self._chain:
            # An event of a newer version: its ring is not known, so neither chain can be followed past it.
            self._forget()
            return []
        link = records.decode(entry.raw)["chain"]
        before = self._chain[ring]
        good = before is None or records.chain_after(before, entry.raw) == link
        found = []
        if not good and self._certain[ring]:
            words = f"record {entry.sequence} does not continue the {ring} chain: it or the one before was altered"
            found.append(Finding(ALTERED, entry.sequence, entry.sequence, words))
        self._chain[ring] = link
        self._certain[ring] = True
        return found

    def _forget(self) -> None:
        for ring in self._chain:
            self._chain[ring] = None
            self._certain[ring] = False


def _range(first: int, last: int, count: int) -> str:
    return f"record {first}" if count == 1 else f"records {first} to {last} ({count})"
