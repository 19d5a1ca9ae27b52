"""The durable state: what must survive a power loss, as one record in two slots.

(epoch, holder) stand together in it, so no power cut can separate them. Mode, quarantine, lock-out, action counters and
what is left of maintenance are in the same record. The supervisor saves it when the policy asks and tells the policy
what is durable; nothing else writes it.

A record carries its version, which is how many of FIELDS it has: an update, and the way back to the firmware from
before, forget nothing that both know.
"""

from heartwire_firmware.slots import TwoSlots
from heartwire_protocol.codes import INT_LIMIT, MODES, NO_NODE, NODE_COUNT

# (attribute of policy_state.State, width in bytes, entries: 1 for a number, more for a list). Rows are only ever
# appended: the first so many of them are what a record of an older version holds.
FIELDS = (
    ("epoch", 4, 1),
    ("holder", 1, 1),
    ("mode", 1, 1),
    ("quarantined", 1, NODE_COUNT),
    ("locked", 1, NODE_COUNT),
    ("sense_seen", 1, NODE_COUNT),
    ("actions", 1, NODE_COUNT),
    ("window_ms", 4, NODE_COUNT),
    ("maintenance_ms", 4, NODE_COUNT + 1),
    ("request_number", 2, 1),
    ("boots", 3, 1),
    ("schedule_node", 1, 1),
    ("schedule_day", 2, 1),
    ("schedule_of_day_s", 3, 1),
    ("long_ms", 4, 1),
    ("long_node", 1, 1),
    ("slowest_s", 2, NODE_COUNT),
    ("watchdog_seen", 1, NODE_COUNT),
    ("suspect", 1, NODE_COUNT),
)
# Firmware that wrote no version wrote so many.
UNVERSIONED = 18


def length_of(version: int) -> int:
    """Return the length in bytes of a record of `version`, at most len(FIELDS)."""
    return sum([row[1] * row[2] for row in FIELDS[:version]])


def pack(state) -> bytes:
    """Return the durable fields of `state` as bytes, in the newest version."""
    out = bytearray(length_of(len(FIELDS)))
    at = 0
    for name, width, entries in FIELDS:
        value = getattr(state, name)
        for entry in range(entries):
            number = int(value[entry] if entries > 1 else value)
            for _ in range(width):
                out[at] = number & 0xFF
                number >>= 8
                at += 1
    return bytes(out)


def unpack(data: bytes, state, version: int = 0) -> bool:
    """Set the durable fields of `state` from bytes of `version` (0: len(FIELDS)); return False, changing nothing, if
    they make no sense. Fields that an older version has not stay as they are; what a newer one has more is left out.
    """
    if 0 < version < UNVERSIONED:
        return False
    known = min(version or len(FIELDS), len(FIELDS))
    if len(data) != length_of(known) and (version <= known or len(data) < length_of(known)):
        return False
    found = []
    at = 0
    for index in range(known):
        _, width, entries = FIELDS[index]
        numbers = []
        for _entry in range(entries):
            number = 0
            for step in range(width):
                number |= data[at] << (8 * step)
                at += 1
            if number >= INT_LIMIT:
                return False
            numbers.append(number)
        found.append(numbers)
    if found[1][0] > NO_NODE or found[2][0] >= len(MODES):
        return False
    for index in range(known):
        name, _, entries = FIELDS[index]
        if entries > 1:
            for entry in range(entries):
                getattr(state, name)[entry] = found[index][entry]
        else:
            setattr(state, name, found[index][0])
    return True


class Durable:
    """The record's store on `files` (ports.Files), and what of it is durable now."""

    def __init__(self, files):
        self._slots = TwoSlots(files, "state")
        self.epoch = 0
        self.holder = NO_NODE
        self.long = False
        self.empty = True
        self.failed = False
        self.waiting = False  # the state is to be saved: what decides sets it

    def load(self, state) -> None:
        """Set the durable fields of `state` from the newest whole record; `empty` if there is none."""
        data = self._slots.load()
        self.empty = data is None or not unpack(data, state, self._slots.flag or UNVERSIONED)
        if not self.empty:
            self._note(state)

    def save(self, state) -> bool:
        """Make the fields of `state` durable; return False, with `failed` set, if flash could not be written: then the
        state waits on.
        """
        self.failed = self.waiting = not self._slots.save(pack(state), len(FIELDS))
        if not self.failed:
            self._note(state)
        return not self.failed

    def _note(self, state) -> None:
        self.epoch = state.epoch
        self.holder = state.holder
        self.long = state.long_ms > 0
        self.empty = False
