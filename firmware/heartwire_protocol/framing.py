"""Frames on a serial line: COBS, a type byte, payload, CRC-16, zero bytes as delimiters.

A frame on the wire is 0x00, COBS(type, payload, CRC-16 high byte first), 0x00. The leading zero ends whatever noise
came before, so that noise costs only itself. The decoder is incremental and bounded, and counts every
frame it drops by kind. It never interprets a payload; intake (board) and link (host) do.
"""

from heartwire_protocol import codes

# CRC-16/IBM-3740 ("CCITT-FALSE"): polynomial 0x1021, start 0xFFFF, no reflection, check value 0x29B1 for "123456789".
_CRC_POLYNOMIAL = 0x1021
CRC_START = 0xFFFF
# Type byte and CRC around a payload; two delimiters and one COBS code byte (payloads under 254 bytes) on the wire.
CONTENT_OVERHEAD = 3
WIRE_OVERHEAD = 6
# Longest run of bytes without a zero behind one COBS code byte.
_RUN = 254


def _crc_table() -> "tuple[int, ...]":
    # A step for each value of a byte, made from steps of half a byte: twice as fast to use, and quick to make.
    half = []
    for value in range(16):
        crc = value << 12
        for _ in range(4):
            crc = (crc << 1) ^ _CRC_POLYNOMIAL if crc & 0x8000 else crc << 1
        half.append(crc & 0xFFFF)
    table = []
    for value in range(256):
        crc = half[value >> 4]
        table.append(((crc << 4) & 0xFFFF) ^ half[(crc >> 12) ^ (value & 15)])
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: "bytes | bytearray | memoryview", count: int, crc: int = CRC_START) -> int:
    """Return the CRC-16 of the first `count` bytes of `data`, going on from `crc`."""
    table = _CRC_TABLE
    for byte in memoryview(data)[:count]:
        crc = ((crc & 0xFF) << 8) ^ table[(crc >> 8) ^ byte]
    return crc


def wire_length(payload_length: int) -> int:
    """Return the largest number of bytes a payload of `payload_length` bytes takes on the wire, delimiters included."""
    content = payload_length + CONTENT_OVERHEAD
    return content + 1 + content // 254 + 2


def encode_into(
    out: "bytearray | memoryview", message_type: int, payload: "bytes | bytearray | memoryview", count: int
) -> int:
    """Write the frame of `payload[:count]` into `out` (at least wire_length(count) bytes); return its length."""
    content = bytearray(count + CONTENT_OVERHEAD)
    content[0] = message_type
    content[1 : count + 1] = payload[:count]
    crc = crc16(content, count + 1)
    content[count + 1] = crc >> 8
    content[count + 2] = crc & 0xFF
    out[0] = 0
    at = 1
    # COBS: what stands between two zeros, behind its length + 1; 255 says that no zero follows.
    for part in bytes(content).split(b"\0"):
        left = len(part)
        start = 0
        while left >= _RUN:
            out[at] = _RUN + 1
            out[at + 1 : at + 1 + _RUN] = part[start : start + _RUN]
            at += 1 + _RUN
            start += _RUN
            left -= _RUN
        out[at] = left + 1
        out[at + 1 : at + 1 + left] = part[start:]
        at += 1 + left
    out[at] = 0
    return at + 1


def encode(message_type: int, payload: "bytes | bytearray | memoryview") -> bytes:
    """Return the frame of `payload` as bytes. For the host and tests; the board uses encode_into."""
    out = bytearray(wire_length(len(payload)))
    return bytes(out[: encode_into(out, message_type, payload, len(payload))])


class Decoder:
    """Find frames in a stream of bytes; bounded by `max_payload`; what it allocates is gone after each call.

    After `feed` returned with `ready` true, `message_type` and `payload[:length]` hold one good frame until the next
    call. `drops` counts what was thrown away, by the index of codes.DROPS.
    """

    def __init__(self, max_payload: int) -> None:
        limit = max_payload + CONTENT_OVERHEAD
        self._content = bytearray(limit)
        self.payload = memoryview(self._content)[1:]
        self.message_type = 0
        self.length = 0
        self.ready = False
        self.drops = [0] * len(codes.DROP_NAMES)
        self.frames = 0
        # A frame that is longer than this between its delimiters cannot have content that fits.
        self._coded = bytearray(limit + 1 + limit // _RUN)
        self._used = 0
        self._skip = False  # true after an overlong frame, until its end
        # How often bytes came that no frame can hold, modulo 2^30: a console's text never ends a frame, and is no drop.
        self.endless = 0

    def count_drop(self, kind: int) -> None:
        """Count one drop of `kind` (codes.DROP_*); saturates below 2^30."""
        if self.drops[kind] < codes.COUNT_MAX:
            self.drops[kind] += 1

    def feed(self, data: "bytes | bytearray | memoryview", start: int, end: int) -> int:
        """Take bytes from data[start:end] up to the end of the first good frame; return the index after the last
        taken.
        """
        self.ready = False
        if isinstance(data, memoryview):
            data = bytes(data)
        while start < end:
            stop = data.find(b"\0", start, end)
            if stop < 0:
                self._keep(data, start, end)
                return end
            if stop > start:
                self._keep(data, start, stop)
            start = stop + 1
            if self._used and not self._skip and self._take():
                self._used = 0
                return start
            self._used = 0
            self._skip = False
        return end

    def _keep(self, data: "bytes | bytearray", start: int, end: int) -> None:
        if self._skip:
            self.endless = (self.endless + 1) & 0x3FFFFFFF
            return
        used = self._used
        until = used + end - start
        if until > len(self._coded):
            self._skip = True
            self._used = 0
            self.count_drop(codes.DROP_LONG)
            return
        self._coded[used:until] = data[start:end]
        self._used = until

    def _take(self) -> bool:
        """Decode what stands between two delimiters; return True if it is a good frame."""
        coded = self._coded
        content = self._content
        limit = len(content)
        used = self._used
        at = 0
        index = 0
        drop = -1
        while True:
            code = coded[index]
            index += 1
            until = index + code - 1
            if until > used:
                # The end came inside a run.
                drop = codes.DROP_LONG if at + used - index > limit else codes.DROP_COBS
                break
            if at + code - 1 > limit:
                drop = codes.DROP_LONG
                break
            content[at : at + code - 1] = coded[index:until]
            at += code - 1
            index = until
            if index == used:
                break
            if code != _RUN + 1:
                if at >= limit:
                    drop = codes.DROP_LONG
                    break
                content[at] = 0
                at += 1
        if drop < 0 and at:
            if at < CONTENT_OVERHEAD:
                drop = codes.DROP_SHORT
            elif crc16(content, at) != 0:
                drop = codes.DROP_CRC
            else:
                self.message_type = content[0]
                self.length = at - CONTENT_OVERHEAD
                self.ready = True
                if self.frames < codes.COUNT_MAX:
                    self.frames += 1
                return True
        if drop >= 0:
            self.count_drop(drop)
        return False
