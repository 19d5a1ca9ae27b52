"""A record in two slots: a new copy never overwrites the last good one.

Each slot file holds a generation, a flag byte, the data and a CRC. `load` takes the newest whole copy; `save` writes
the other slot. A power cut at any moment leaves the old copy or the new one whole, on any file system. Used for
settings and for the durable state.
"""

from heartwire_protocol import framing
from heartwire_protocol.codes import COUNT_MAX

_HEADER = 8  # magic, flag, generation (4), length (2)
_MAGIC = 0x48


class TwoSlots:
    """Two files `name`.0 and `name`.1 on `files` (ports.Files)."""

    def __init__(self, files, name: str):
        self._files = files
        self._name = name
        self._slot = 1
        self.generation = 0  # the newest number given out, also to a copy that was refused or damaged later
        self.loaded = 0  # the number of the copy that load() returned
        self.flag = 0
        self.damaged = False
        self.copies = 0  # whole ones that load() found, accepted or not

    def _read(self, slot: int) -> "tuple[int, int, bytes] | None":
        data = self._files.read("%s.%d" % (self._name, slot))
        if not data:
            return None  # an empty file: the power went after the file was made and before its first copy was whole
        length = data[6] | data[7] << 8 if len(data) >= _HEADER + 2 else -1
        if length != len(data) - _HEADER - 2 or data[0] != _MAGIC or framing.crc16(data, len(data)) != 0:
            self.damaged = True
            return None
        generation = data[2] | data[3] << 8 | data[4] << 16 | data[5] << 24
        return generation, data[1], data[_HEADER:-2]

    def load(self, accept=None) -> "bytes | None":
        """Return the newest whole copy whose flag `accept(flag)` takes; None if there is none. Sets generation and
        flag.
        """
        best = None
        newest = 0
        self.copies = 0
        self._slot = 1
        for slot in (0, 1):
            found = self._read(slot)
            if found is None:
                continue
            self.copies += 1
            newest = max(newest, found[0])
            if accept is not None and not accept(found[1]):
                continue
            if best is None or found[0] > best[0]:
                best = found
                self._slot = slot
        # A refused copy keeps its number: generations never repeat.
        self.generation = newest
        self.loaded = 0
        if best is None:
            return None
        self.loaded = best[0]
        self.flag = best[1]
        return best[2]

    def save(self, data: bytes, flag: int = 0, over: bool = False) -> bool:
        """Write `data` as the next generation into the other slot, or `over` the newest copy, which the other slot then
        outlives; return False if it could not be written.
        """
        if self.generation >= COUNT_MAX:
            return False
        slot = self._slot if over else 1 - self._slot
        if not self._write(slot, self.generation + 1, data, flag):
            return False
        self.generation += 1
        self.loaded = self.generation
        self.flag = flag
        self._slot = slot
        return True

    def set_flag(self, data: bytes, flag: int) -> bool:
        """Write the newest copy again, in place, with another flag; return False if it could not be written."""
        if not self._write(self._slot, self.generation, data, flag):
            return False
        self.flag = flag
        return True

    def _write(self, slot: int, generation: int, data: bytes, flag: int) -> bool:
        copy = bytearray(_HEADER + len(data) + 2)
        copy[0] = _MAGIC
        copy[1] = flag
        for step in range(4):
            copy[2 + step] = generation >> (8 * step) & 0xFF
        copy[6] = len(data) & 0xFF
        copy[7] = len(data) >> 8
        copy[_HEADER : _HEADER + len(data)] = data
        crc = framing.crc16(copy, len(copy) - 2)
        copy[-2] = crc >> 8
        copy[-1] = crc & 0xFF
        return self._files.write("%s.%d" % (self._name, slot), bytes(copy))
