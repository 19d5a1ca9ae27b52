"""Frames on a serial line: COBS, a type byte, payload, CRC-16, zero bytes as delimiters.

A frame on the wire is 0x00, COBS(type, payload, CRC-16 high byte first), 0x00. The leading zero ends whatever noise
came before, so that noise costs only itself. The decoder is incremental and bounded, allocates nothing after
construction, and counts every frame it drops by kind. It never interprets a payload; intake (board) and link (host) do.
"""

from heartwire_protocol import codes

# CRC-16/IBM-3740 ("CCITT-FALSE"): polynomial 0x1021, start 0xFFFF, no reflection, check value 0x29B1 for "123456789".
# Half-byte table: 32 bytes of memory instead of 512, two steps a byte.
_CRC_TABLE = (
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7,
    0x8108, 0x9129, 0xA14A, 0xB16B, 0xC18C, 0xD1AD, 0xE1CE, 0xF1EF,
)  # fmt: skip
CRC_START = 0xFFFF
# Type byte and CRC around a payload; two delimiters and one COBS code byte (payloads under 254 bytes) on the wire.
CONTENT_OVERHEAD = 3
WIRE_OVERHEAD = 6


def crc16(data: "bytes | bytearray | memoryview", count: int, crc: int = CRC_START) -> int:
    """Return the CRC-16 of the first `count` bytes of `data`, going on from `crc`."""
    table = _CRC_TABLE
    for index in range(count):
        byte = data[index]
        crc = ((crc << 4) & 0xFFFF) ^ table[(crc >> 12) ^ (byte >> 4)]
        crc = ((crc << 4) & 0xFFFF) ^ table[(crc >> 12) ^ (byte & 15)]
    return crc


def wire_length(payload_length: int) -> int:
    """Return the largest number of bytes a payload of `payload_length` bytes takes on the wire, delimiters included."""
    content = payload_length + CONTENT_OVERHEAD
    return content + 1 + content // 254 + 2


def encode_into(
    out: "bytearray | memoryview", message_type: int, payload: "bytes | bytearray | memoryview", count: int
) -> int:
    """Write the frame of `payload[:count]` into `out` (at least wire_length(count) bytes); return its length."""
    table = _CRC_TABLE
    crc = CRC_START
    out[0] = 0
    code_at = 1
    at = 2
    run = 1
    for index in range(-1, count + 2):
        if index < 0:
            byte = message_type
        elif index < count:
            byte = payload[index]
        elif index == count:
            byte = crc >> 8
            tail = crc & 0xFF
        else:
            byte = tail
        if index < count:
            crc = ((crc << 4) & 0xFFFF) ^ table[(crc >> 12) ^ (byte >> 4)]
            crc = ((crc << 4) & 0xFFFF) ^ table[(crc >> 12) ^ (byte & 15)]
        if byte:
            out[at] = byte
            at += 1
            run += 1
        if byte == 0 or run == 255:
            out[code_at] = run
            code_at = at
            at += 1
            run = 1
    out[code_at] = run
    out[at] = 0
    return at + 1


def encode(message_type: int, payload: "bytes | bytearray | memoryview") -> bytes:
    """Return the frame of `payload` as bytes. For the host and tests; the board uses encode_into."""
    out = bytearray(wire_length(len(payload)))
    return bytes(out[: encode_into(out, message_type, payload, len(payload))])


class Decoder:
    """Find frames in a stream of bytes; bounded by `max_payload`, allocation-free after construction.

    After `feed` returned with `ready` true, `message_type` and `payload[:length]` hold one good frame until the next
    call. `drops` counts what was thrown away, by the index of codes.DROPS.
    """

    def __init__(self, max_payload: int) -> None:
        self._content = bytearray(max_payload + CONTENT_OVERHEAD)
        self.payload = memoryview(self._content)[1:]
        self.message_type = 0
        self.length = 0
        self.ready = False
        self.drops = [0] * len(codes.DROPS)
        self.frames = 0
        self._at = 0
        self._run = 0
        self._zero_due = False
        self._crc = CRC_START
        self._skip = False  # true after an overlong frame, until its end

    def count_drop(self, kind: int) -> None:
        """Count one drop of `kind` (codes.DROP_*); saturates below 2^30."""
        if self.drops[kind] < codes.COUNT_MAX:
            self.drops[kind] += 1

    def feed(self, data: "bytes | bytearray | memoryview", start: int, end: int) -> int:
        """Take bytes from data[start:end] up to the end of the first good frame; return the index after the last
        taken.
        """
        self.ready = False
        content = self._content
        table = _CRC_TABLE
        limit = len(content)
        at = self._at
        run = self._run
        crc = self._crc
        zero_due = self._zero_due
        index = start
        while index < end:
            byte = data[index]
            index += 1
            if byte == 0:
                skipped = self._skip
                complete = not skipped and run == 0 and at > 0
                broken = not skipped and run != 0
                length = at
                good_crc = crc == 0
                self._skip = False
                at = 0
                run = 0
                zero_due = False
                crc = CRC_START
                if broken:
                    self.count_drop(codes.DROP_COBS)
                elif complete:
                    if length < CONTENT_OVERHEAD:
                        self.count_drop(codes.DROP_SHORT)
                    elif not good_crc:
                        self.count_drop(codes.DROP_CRC)
                    else:
                        self.message_type = content[0]
                        self.length = length - CONTENT_OVERHEAD
                        self.ready = True
                        if self.frames < codes.COUNT_MAX:
                            self.frames += 1
                        break
                continue
            if self._skip:
                continue
            if run == 0:
                # A code byte: how many bytes until the next zero. The zero of the group before is due now.
                if zero_due:
                    if at >= limit:
                        self._skip = True
                        self.count_drop(codes.DROP_LONG)
                        continue
                    content[at] = 0
                    at += 1
                    crc = ((crc << 4) & 0xFFFF) ^ table[crc >> 12]
                    crc = ((crc << 4) & 0xFFFF) ^ table[crc >> 12]
                run = byte - 1
                zero_due = byte != 255
                continue
            if at >= limit:
                self._skip = True
                self.count_drop(codes.DROP_LONG)
                continue
            content[at] = byte
            at += 1
            run -= 1
            crc = ((crc << 4) & 0xFFFF) ^ table[(crc >> 12) ^ (byte >> 4)]
            crc = ((crc << 4) & 0xFFFF) ^ table[(crc >> 12) ^ (byte & 15)]
        self._at = at
        self._run = run
        self._crc = crc
        self._zero_due = zero_due
        return index
