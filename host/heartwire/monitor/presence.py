"""Which monitors work on a store, for a store that many share: each says so by its row, and all look after all.

A monitor that was not seen for a while without having ended in good order is told, once, by whoever finds it first; so
is its return. Times are the database's, so that the clocks of two hosts need not agree. Called by run, in a thread of
its own; colleagues reads the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from sqlalchemy import insert, select, update

from heartwire.monitor import schema
from heartwire.monitor.archive import Archive, Known, Observed
from heartwire.monitor.colleagues import GONE_MS, Colleague, colleagues

# Between two words of a monitor; three may be lost before it counts as gone.
SAY_S = GONE_MS / 4000
ID_MAX = 16
rows = schema.monitor.c


class Presence:
    """One monitor's row. Call `step` again and again; it returns seconds until the next one."""

    def __init__(
        self, archive: Archive, monitor_id: str, name: str, channels: Sequence[str], told: Callable[[], None]
    ) -> None:
        self._archive = archive
        self._store = archive.store
        self._id = monitor_id
        self._name = name[:64]
        self._channels = json.dumps(list(channels))
        self._told = told

    def step(self) -> float:
        """Say that this monitor works, and tell of those that do no more. Raises StorageProblem."""
        was_told = self._say(ended=False)
        if was_told:
            self._observe(self._name, "partner_back", "the monitor works again")
        if self._store.is_shared:
            self._look()
        return SAY_S

    def end(self) -> None:
        """Say that this monitor ends in good order. Raises StorageProblem."""
        self._say(ended=True)

    def _say(self, *, ended: bool) -> bool:
        """Write the row; tell whether people had been told that this monitor is gone."""
        with self._store.write() as connection:
            now_ms = self._store.clock_ms(connection)
            said = {"name": self._name, "channels": self._channels}
            values = {**said, "seen_ms": now_ms, "ended": ended, "told": False}
            told = connection.scalar(select(rows.told).where(rows.id == self._id).with_for_update())
            if told is None:
                connection.execute(insert(schema.monitor), {"id": self._id, **values})
            else:
                connection.execute(update(schema.monitor).where(rows.id == self._id).values(values))
            return bool(told)

    def _look(self) -> None:
        with self._store.read() as connection:
            gone = [one for one in colleagues(self._store, connection) if not one.at_work and not one.ended]
        for one in gone:
            if self._mark(one):
                words = f"the monitor on {one.name} has said nothing for {GONE_MS // 1000} s"
                self._observe(one.name, "partner_gone", words)

    def _mark(self, one: Colleague) -> bool:
        """Note that people are told of one that is gone; tell whether that was still to be done."""
        with self._store.write() as connection:
            unsaid = (rows.id == one.id, rows.seen_ms == one.seen_ms, rows.told.is_(False))
            return bool(connection.execute(update(schema.monitor).where(*unsaid).values(told=True)).rowcount)

    def _observe(self, name: str, kind: str, words: str) -> None:
        known = Known(f"?{name}"[:ID_MAX], name, 0, 0, 0)
        if self._archive.observe(known, Observed(kind, words)):
            self._told()
