"""The journal record: its layout, its CRC and its place in the hash chain.

A record is 42 bytes. The journal (board) writes them, `heartwire log` and the monitor read them; nobody changes one.
The chain value of a record is the first 8 bytes of SHA-256(chain value of the record before in the same ring, the
record's other bytes), so a missing or altered record shows, and so does everything after it.
"""

import hashlib

from heartwire_protocol import framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# (name, width in bytes, sentence); integers little endian, below 2^30.
FIELDS = (
    ("sequence", 4, "rises by one with each record, over both rings"),
    ("boot", 3, "boots of the board so far"),
    ("uptime_day", 2, "days since that boot"),
    ("uptime_ms", 4, "milliseconds of that day"),
    ("event", 2, "table of events"),
    ("reason", 2, "table of reasons"),
    ("node", 1, "node, 3 for none"),
    ("a", 4, "first argument, by event"),
    ("b", 4, "second argument, by event"),
    ("wall_day", 2, "days since 1970-01-01 UTC; 0 when no host has set the time since boot"),
    ("wall_ms", 4, "milliseconds of that day"),
)
CHAIN_LENGTH = 8
WIDTHS = bytes([row[1] for row in FIELDS])
BODY_LENGTH = sum([row[1] for row in FIELDS])
LENGTH = BODY_LENGTH + CHAIN_LENGTH + 2
CHAIN_START = bytes(CHAIN_LENGTH)


def encode_into(out: "bytearray | memoryview", values: "list[int]", chain: bytes) -> bytes:
    """Write the record with field values `values` (in FIELDS order) after `chain` into `out`; return its chain
    value.
    """
    at = 0
    for index in range(len(WIDTHS)):
        value = values[index]
        for _ in range(WIDTHS[index]):
            out[at] = value & 0xFF
            value >>= 8
            at += 1
    link = chain_after(chain, out)
    for step in range(CHAIN_LENGTH):
        out[at + step] = link[step]
    crc = framing.crc16(out, LENGTH - 2)
    out[LENGTH - 2] = crc >> 8
    out[LENGTH - 1] = crc & 0xFF
    return link


def chain_after(chain: bytes, record: "bytes | bytearray | memoryview") -> bytes:
    """Return the chain value of `record`, given the chain value of the record before it."""
    digest = hashlib.sha256(chain)
    digest.update(memoryview(record)[:BODY_LENGTH])
    return digest.digest()[:CHAIN_LENGTH]


def is_whole(record: "bytes | bytearray | memoryview") -> bool:
    """Tell whether `record` has the right length and CRC."""
    return len(record) == LENGTH and framing.crc16(record, LENGTH) == 0


def decode(record: "bytes | bytearray | memoryview") -> "dict[str, Any]":
    """Return the fields of a whole record as a dict, with `chain`. ValueError if it is damaged."""
    if not is_whole(record):
        raise ValueError("damaged record")
    result: "dict[str, Any]" = {}
    at = 0
    for name, width, _ in FIELDS:
        result[name] = int.from_bytes(record[at : at + width], "little")
        at += width
    result["chain"] = bytes(record[at : at + CHAIN_LENGTH])
    return result
