"""Messages: one table of permanent ids and fields, and the fixed-layout codec that reads the table.

MESSAGES rows are (id, name, direction, rights, fields, sentence); a field is (name, type, sentence). Types are u8, u16,
u24, u32 (little endian, below 2^30 on both ends), b4 and b8 (opaque bytes) and, only as the last field, tail (the rest
of the payload). Codec, PROTOCOL.md and the golden vectors all come from this table. Reading and writing into prepared
lists allocates nothing, so the board can do it for each heartbeat.
"""

import struct

from heartwire_protocol import bits, codes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL_VERSION = 2
# The RP2040's UART keeps 32 bytes while flash is erased with interrupts off (RP2040 datasheet, 4.2): one whole frame
# must fit.
HOT_FRAME_MAX = 32
# Longest JSON text in a request or response; a longer answer is cut into several requests by the caller.
JSON_MAX = 512
RECORD_LENGTH = 42

HEARTBEAT = 0x01
GRANT = 0x02
READ_EVENTS = 0x03
EVENT = 0x04
FENCE_REQUEST = 0x05
FENCE_REPLY = 0x06
EVENTS_END = 0x07
HELLO = 0x10
WELCOME = 0x11
REQUEST = 0x12
RESPONSE = 0x13

# Bits of heartbeat.flags
FLAG_RUNNING = 1
FLAG_VERIFIED_STOPPED = 2
FLAG_WATCHDOG_ARMED = 4
FLAG_PEER_KNOWN = 8
FLAG_PEER_SEEN = 16
FLAG_ANSWERED = 32
FLAG_CHALLENGE_ODD = 64
FLAGS = (
    (1, "running", "its services are up"),
    (2, "verified_stopped", "its agent checked that the services are stopped"),
    (4, "watchdog_armed", "its kernel watchdog is armed and fed only while entitled"),
    (8, "peer_known", "it watches its peer over the network, so peer_seen means something"),
    (16, "peer_seen", "it hears its peer over the network"),
    (32, "answered", "mac answers a challenge"),
    (64, "challenge_odd", "lowest bit of the answered challenge's first byte, so the board need check one only"),
)

# Bits of grant.orders
ORDER_ADVISORY = 1
ORDER_DRAIN = 2
ORDER_REVOKE = 4
ORDER_HOLD = 8
ORDER_RECOVER = 16
ORDERS = (
    (1, "advisory", "the board is in observe or fencer mode: run no hook, stop nothing, gate no watchdog"),
    (2, "drain", "stop the services and report verified_stopped"),
    (4, "revoke", "the lease is void from now on, whatever is left of it"),
    (8, "hold", "an operator or a fault holds the board: the role stays as it is"),
    (16, "recover", "the board does not get good heartbeats: restart what is stuck, before it resets the machine"),
)

FENCE_QUESTION = 1 << bits.QUESTION_AT  # of the field target
# Results of fence_reply
FENCE_RESULTS = ("refused", "accepted", "told")

_HEARTBEAT_FIELDS = (
    ("node_state", "u8", "bit field node_state, the rest zero"),
    ("flags", "u8", "bits of the table of flags"),
    ("incarnation", "u32", "random per agent start"),
    ("sequence", "u32", "rises by one with each heartbeat of an incarnation"),
    ("epoch", "u32", "highest epoch the node knows"),
    ("busy_s", "u16", "seconds the node still expects to be busy or to dump; 0 in other states"),
    (
        "mac",
        "b8",
        "first 8 bytes of HMAC-SHA256(key, 'H' challenge fields-before); without a key challenge and 4 zeros",
    ),
)
_GRANT_FIELDS = (
    ("node_role", "u8", "bit field node_role, the rest zero"),
    ("orders", "u8", "bits of the table of orders"),
    ("epoch", "u32", "fencing token of the role; the highest given out, for a node that is not active"),
    (
        "lease_ms",
        "u24",
        "permission to be active, from the time taken before the answered heartbeat was sent; 0 for none",
    ),
    ("answers", "u16", "low 16 bits of the answered sequence; the MAC covers all of it and the incarnation"),
    ("newest_event", "u24", "low 24 bits of the newest durable journal record's sequence"),
    ("challenge", "b4", "to be answered by the next heartbeats"),
    ("mac", "b8", "first 8 bytes of HMAC-SHA256(key, 'G' incarnation sequence fields-before); without a key those two"),
)
MESSAGES = (
    (HEARTBEAT, "heartbeat", "node to board", "node line", _HEARTBEAT_FIELDS, "I live, this is my state"),
    (GRANT, "grant", "board to node", "node line", _GRANT_FIELDS, "the reply: role, epoch and lease"),
    (
        READ_EVENTS,
        "read_events",
        "node to board",
        "node line",
        (
            ("after", "u32", "sequence of the last record the reader has"),
            ("count", "u8", "records wanted, 1 to 16"),
            ("nonce", "b4", "random; the MAC of the page covers this whole request"),
        ),
        "send me the journal from here on",
    ),
    (
        EVENT,
        "event",
        "from board",
        "node line, host link",
        (("record", "tail", "one journal record"),),
        "one durable record",
    ),
    (
        FENCE_REQUEST,
        "fence_request",
        "node to board",
        "node line, if the config allows it",
        (
            ("target", "u8", "bit field target"),
            (
                "sequence",
                "u32",
                "sequence of the requester's newest heartbeat, so that it is bound to an answered challenge",
            ),
            ("mac", "b8", "first 8 bytes of HMAC-SHA256(key, 'F' challenge incarnation fields-before)"),
        ),
        "a good node asks to fence another one",
    ),
    (
        FENCE_REPLY,
        "fence_reply",
        "board to node",
        "node line",
        (
            ("target", "u8", "as in the request"),
            ("result", "u8", "table of fence results"),
            ("reason", "u16", "table of reasons, of a refusal"),
            ("target_is", "u8", "bit field target_is"),
            ("sequence", "u32", "of the request"),
            ("mac", "b8", "first 8 bytes of HMAC-SHA256(key, 'P' incarnation fields-before)"),
        ),
        "what became of the request, and how the target is now",
    ),
    (
        EVENTS_END,
        "events_end",
        "board to node",
        "node line",
        (
            ("count", "u8", "events sent for this read_events"),
            ("mac", "b8", "first 8 bytes of HMAC-SHA256(key, 'E' read_events records-sent); zeros without a key"),
        ),
        "that was the page",
    ),
    (
        HELLO,
        "hello",
        "host to board",
        "host link",
        (
            ("version", "u8", "the host's protocol version"),
            ("nonce", "b8", "random; part of the MAC of each request and answer until the next hello"),
        ),
        "who are you?",
    ),
    (
        WELCOME,
        "welcome",
        "board to host",
        "host link",
        (
            ("version", "u8", "the board's protocol version"),
            ("tables", "b4", "CRC-32 of all tables, so that both ends know they speak the same"),
            ("session", "b8", "random; part of the MAC of each request and answer until the next hello"),
            ("board_id", "b8", "the chip's unique id, which is also its USB serial number"),
            ("boot", "u24", "boots so far"),
            ("keys", "u8", "rights that it has a key of: bit 1 view, bit 2 operate, bit 3 configure"),
        ),
        "a board, and what it speaks",
    ),
    (
        REQUEST,
        "request",
        "host to board",
        "host link",
        (
            ("right", "u8", "which of the keys signed it; 0 for none"),
            ("number", "u32", "rises within a session"),
            (
                "mac",
                "b8",
                "first 8 bytes of HMAC-SHA256(key, 'R' nonce session board_id right number JSON); zeros without a key",
            ),
            ("body", "tail", "JSON object with op and its arguments, at most 512 bytes"),
        ),
        "one operation of the table of operations",
    ),
    (
        RESPONSE,
        "response",
        "board to host",
        "host link",
        (
            ("number", "u32", "of the request"),
            (
                "mac",
                "b8",
                "first 8 bytes of HMAC-SHA256(key of the request, 'A' nonce session board_id number events-sent JSON); "
                "zeros if the request was not rightly signed",
            ),
            ("body", "tail", "JSON object: the result, or error with its code and the next step"),
        ),
        "what became of it",
    ),
)

_STRUCT = {"u8": "B", "u16": "H", "u32": "I"}
_WIDTHS = {"u8": 1, "u16": 2, "u24": 3, "u32": 4, "b4": 4, "b8": 8, "tail": 0}


# How a Layout keeps a field's place in a number.
_OFFSET = 0x3FF
_WIDTH_AT = 10
_INTEGER = 1 << 16


class Layout:
    """Fixed layout of one message: names, offsets and widths of its fields, made once from the table."""

    def __init__(self, row: "Any") -> None:
        self.name: str = row[1]
        self.names: "tuple[str, ...]" = tuple([field[0] for field in row[4]])
        # Name -> offset, width from _WIDTH_AT on, _INTEGER: one number each, as a tuple costs a board 32 bytes.
        self._places: "dict[str, int]" = {}
        # The integer fields in front, which struct reads all at once, and those from a u24 on, which it does not know.
        self._format = "<"
        self._wide: "list[int]" = []
        at = 0
        plain = True
        for index in range(len(self.names)):
            kind = row[4][index][1]
            width = _WIDTHS[kind]
            place = at | width << _WIDTH_AT
            if kind[0] == "u":
                place |= _INTEGER
                plain = plain and kind in _STRUCT
                if plain:
                    self._format += _STRUCT[kind]
                else:
                    self._wide.append(index)
            else:
                plain = False
            self._places[self.names[index]] = place
            at += width
        self.length = at
        self.has_tail = row[4][-1][1] == "tail"

    def offset(self, name: str) -> int:
        """Return the offset of field `name` in the payload."""
        return self._places[name] & _OFFSET

    def _width(self, name: str) -> int:
        return (self._places[name] & (_INTEGER - 1)) >> _WIDTH_AT

    def fits(self, length: int) -> bool:
        """Tell whether a payload of `length` bytes can be this message."""
        return length >= self.length if self.has_tail else length == self.length

    def read_into(self, values: "list[int]", payload: "bytes | bytearray | memoryview") -> bool:
        """Read the integer fields into the list `values`, by field index; return False if one reaches 2^30."""
        index = 0
        for value in struct.unpack_from(self._format, payload, 0):
            if value >= codes.INT_LIMIT:
                return False
            values[index] = value
            index += 1
        for index in self._wide:
            at = self.offset(self.names[index])
            width = self._width(self.names[index])
            value = int.from_bytes(bytes(payload[at : at + width]), "little")
            if value >= codes.INT_LIMIT:
                return False
            values[index] = value
        return True

    def put(self, payload: "bytearray | memoryview", name: str, value: "Any") -> None:
        """Write integer or bytes `value` of field `name` into `payload`. ValueError outside the field's range."""
        place = self._places[name]
        at = place & _OFFSET
        width = (place & (_INTEGER - 1)) >> _WIDTH_AT
        if place & _INTEGER:
            if not 0 <= value < (codes.INT_LIMIT if width == 4 else 1 << (8 * width)):
                raise ValueError("%s.%s: %d" % (self.name, name, value))
            value = value.to_bytes(width, "little")
        elif len(value) != width:
            raise ValueError("%s.%s: %d bytes" % (self.name, name, len(value)))
        payload[at : at + width] = value

    def pack(self, **values: "Any") -> bytes:
        """Return the payload with all fields given by name, `tail` fields included. For the host and tests."""
        tail = values.pop(self.names[-1]) if self.has_tail else b""
        payload = bytearray(self.length)
        for name in self.names:
            if name in values:
                self.put(payload, name, values.pop(name))
            elif not (self.has_tail and name == self.names[-1]):
                raise ValueError("%s: no %s" % (self.name, name))
        if values:
            raise ValueError("%s: no %s" % (self.name, ", ".join(values)))
        return bytes(payload) + bytes(tail)

    def unpack(self, payload: bytes) -> "dict[str, Any]":
        """Return a dict of all fields of `payload`. ValueError on a wrong length or an integer out of range."""
        if not self.fits(len(payload)):
            raise ValueError("%s: %d bytes instead of %d" % (self.name, len(payload), self.length))
        numbers = [0] * len(self.names)
        if not self.read_into(numbers, payload):
            raise ValueError("%s: an integer reaches 2^30" % self.name)
        result: "dict[str, Any]" = {}
        for index in range(len(self.names)):
            name = self.names[index]
            at = self.offset(name)
            width = self._width(name)
            if self._places[name] & _INTEGER:
                result[name] = numbers[index]
            else:
                result[name] = bytes(payload[at : at + width] if width else payload[at:])
        return result


_MADE: "dict[int, Layout]" = {}  # three lines share those of their messages: half a kilobyte of a board's heap each


def layout_of(message_type: int) -> Layout:
    """Return the Layout of `message_type`, made when it is first asked for; KeyError for an unknown one."""
    if message_type not in _MADE:
        for row in MESSAGES:
            if row[0] == message_type:
                _MADE[message_type] = Layout(row)
    return _MADE[message_type]
