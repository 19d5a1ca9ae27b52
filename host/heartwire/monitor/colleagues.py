"""The monitors that work on a store, as its rows say: see presence. Called by presence, standing and retention."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, select

from heartwire.monitor import schema
from heartwire.monitor.store import Store

# One that said nothing for so long is gone.
GONE_MS = 60_000
rows = schema.monitor.c


@dataclass(frozen=True)
class Colleague:
    """One monitor of the store; `at_work` if it was seen lately and has not ended."""

    id: str
    name: str
    channels: tuple[str, ...]
    seen_ms: int
    ended: bool
    at_work: bool


def colleagues(store: Store, connection: Connection) -> list[Colleague]:
    """Return all monitors of a store, by name."""
    now_ms = store.clock_ms(connection)
    return [
        Colleague(
            row.id,
            row.name,
            tuple(json.loads(row.channels)),
            row.seen_ms,
            row.ended,
            not row.ended and now_ms - row.seen_ms < GONE_MS,
        )
        for row in connection.execute(select(schema.monitor).order_by(rows.name, rows.id))
    ]
