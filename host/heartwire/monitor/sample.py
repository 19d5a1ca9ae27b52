"""A made-up failover, told as a real one is: what `heartwire monitor test` sends, so that a channel shows its limits.

The records go through the archive, the router and the composer in a store of their own, so the message has the parts,
the words and the length of a real one. Called by the CLI.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from heartwire import journal
from heartwire.monitor.archive import Archive
from heartwire.monitor.compose import Composer
from heartwire.monitor.courier import Letter
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.routing import Router
from heartwire.monitor.settings import ChannelSettings
from heartwire.monitor.store import Store, now_ms
from heartwire_protocol import codes, events, reasons, records

BOARD, BOARD_ID = "EXAMPLE", "0" * 16
LABELS = {"a": "a (example-server-alpha)", "b": "b (example-server-beta)"}
A, B = codes.NODE_A, codes.NODE_B
# (ms, event, node, reason, a, b) of a failover by power cut with the default settings.
FAILOVER = (
    (0, events.LATE, A, reasons.NONE, 3000, 0),
    (1000, events.GOOD_AGAIN, A, reasons.NONE, 4000, 0),
    (5000, events.LATE, A, reasons.NONE, 3000, 0),
    (6000, events.GOOD_AGAIN, A, reasons.NONE, 4000, 0),
    (7000, events.STALLED, codes.NO_NODE, reasons.NONE, 120, 0),
    (9000, events.LATE, A, reasons.NONE, 3000, 0),
    (9001, events.FENCE_PREPARED, A, reasons.DEAD, 0, 0),
    (16000, events.DEAD, A, reasons.NONE, 10000, 0),
    (16001, events.FENCE_FIRED, A, reasons.DEAD, codes.METHOD_POWER, 10001),
    (16002, events.ROLE_CHANGED, A, reasons.FENCE_FIRED, codes.ROLE_QUARANTINED, codes.ROLE_ACTIVE),
    (17223, events.OFF_PROVEN, A, reasons.NONE, 1222, 0),
    (17225, events.GRANTED, B, reasons.DEAD, 8, 11225),
    (17226, events.ROLE_CHANGED, B, reasons.DEAD, codes.ROLE_ACTIVE, codes.ROLE_STANDBY),
    (18001, events.RUNNING, B, reasons.NONE, 8, 776),
)


def letter(uid: str, channel: str, severity: str) -> Letter:
    """Return the test message of a channel. Raises StorageProblem if there is no room for a store."""
    told = ChannelSettings(name=channel, kind="journald", severity="notice")
    with tempfile.TemporaryDirectory(prefix="heartwire-") as folder, Store.open(Path(folder) / "sample.db") as store:
        archive = Archive(store, Router([told]))
        known = archive.meet(BOARD_ID, BOARD)
        archive.label(known, LABELS)
        archive.add(known, _entries())
        composer, waiting = Composer(store), Outbox(store).waiting(channel)
        words, facts = composer.compose(waiting), composer.facts(waiting)
    body = (
        f"TEST: somebody ran `heartwire monitor test` on {socket.gethostname()}. Nothing happened and nothing is to be "
        f"done; all that follows is made up, and as long as the news of a failover.\n\n{words.body}"
    )
    return Letter(uid, severity, f"TEST by channel {channel}", body, facts)


def _entries() -> list[tuple[journal.Entry, int]]:
    chains = dict.fromkeys(range(len(codes.RINGS)), records.CHAIN_START)
    began_ms = now_ms() - FAILOVER[-1][0]
    found = []
    for sequence, (ms, event, node, reason, a, b) in enumerate(FAILOVER, 1):
        day, ms_of_day = divmod(began_ms + ms, 86_400_000)
        values = {
            "sequence": sequence, "boot": 1, "uptime_day": 0, "uptime_ms": ms, "event": event, "reason": reason,
            "node": node, "a": a, "b": b, "wall_day": day, "wall_ms": ms_of_day,
        }  # fmt: skip
        raw = bytearray(records.LENGTH)
        ring = events.ring_of(event)
        chains[ring] = records.encode_into(raw, [values[name] for name, _, _ in records.FIELDS], chains[ring])
        found.append((journal.decode(bytes(raw)), began_ms + ms))
    return found
