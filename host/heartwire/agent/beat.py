"""Heartbeats: when the next one is due, what it says, and when each was sent.

Everything a heartbeat needs is prepared once; sending one allocates a few small objects and does no I/O but the write
itself, which the agent does. The schedule is fixed: late beats do not shift it, and missed ones are skipped, never
sent in a burst, because the board counts a heartbeat that comes too early as altered. Times are nanoseconds of
CLOCK_BOOTTIME.
"""

import secrets
from typing import NamedTuple

from heartwire_protocol import auth, bits, codes, framing, messages
from heartwire_protocol.auth import Signer

# Heartbeats whose sending time is remembered. At the shortest interval allowed (50 ms) that is 3 s, far more than a
# grant takes.
RING = 64
NO_CHALLENGE = bytes(4)


class Report(NamedTuple):
    """What a heartbeat says about this server."""

    state: int = codes.STATE_STARTING
    running: bool = False
    verified_stopped: bool = False
    watchdog_armed: bool = False
    peer_seen: bool | None = None  # None: no peer is watched
    epoch: int = 0
    busy_s: int = 0


class Schedule:
    """Fixed slots, `interval_ns` apart; never two beats closer than half an interval."""

    def __init__(self, interval_ns: int, now_ns: int) -> None:
        self.interval_ns = interval_ns
        self.next_ns = now_ns
        self.skipped = 0
        self.late_max_ns = 0  # latest beat so far, pauses included
        self._start_ns = now_ns

    def due(self, now_ns: int) -> bool:
        """Tell whether a heartbeat is due at `now_ns`."""
        return now_ns >= self.next_ns

    def sent(self, now_ns: int) -> None:
        """Note a heartbeat sent at `now_ns` and choose the next slot."""
        interval_ns = self.interval_ns
        self.late_max_ns = max(self.late_max_ns, now_ns - self.next_ns)
        slot = (now_ns - self._start_ns) // interval_ns + 1
        if (slot * interval_ns + self._start_ns - now_ns) * 2 < interval_ns:
            slot += 1
        previous = (self.next_ns - self._start_ns) // interval_ns
        self.skipped += max(0, slot - previous - 1)
        self.next_ns = self._start_ns + slot * interval_ns

    def hurry(self, now_ns: int, newest_ns: int) -> None:
        """Have one sent at once if none has left for an interval; the newest one that did left at `newest_ns`."""
        if now_ns - newest_ns >= self.interval_ns:
            self.next_ns = min(self.next_ns, now_ns)


class Incarnation:
    """One life of the sender: a random number, rising sequences, and the challenge to answer."""

    def __init__(self, number: int | None = None) -> None:
        """Choose a random number (1 to 2^30 - 1) unless one is given."""
        self.number = number if number is not None else 1 + secrets.randbelow(codes.COUNT_MAX)
        self.sequence = 0
        self.newest_answered = 0
        self.answers = 0  # heartbeats that got a good grant
        self.challenge: bytes | None = None
        self._sequences = [0] * RING
        self._sent_ns = [0] * RING

    def next_sequence(self, sent_ns: int) -> int:
        """Take the next sequence and remember that it is sent at `sent_ns`. OverflowError after 2^30 - 1 heartbeats."""
        if self.sequence >= codes.COUNT_MAX:
            raise OverflowError("the sequence of this incarnation is used up")
        self.sequence += 1
        at = self.sequence % RING
        self._sequences[at] = self.sequence
        self._sent_ns[at] = sent_ns
        return self.sequence

    def sent_as(self, answers: int) -> tuple[int, int] | None:
        """Return (sequence, sent time) of the heartbeat with low 16 bits `answers`; None if unknown or older.

        The newest answered one may be answered again: lease.py decides what a second grant may do.
        """
        sequence = self.sequence - ((self.sequence - answers) & 0xFFFF)
        if sequence < max(1, self.newest_answered) or self._sequences[sequence % RING] != sequence:
            return None
        return sequence, self._sent_ns[sequence % RING]

    def answered(self, sequence: int, challenge: bytes) -> None:
        """Note a good grant for `sequence`, and the challenge to answer from now on."""
        if sequence > self.newest_answered:
            self.answers += 1
        self.newest_answered = sequence
        self.challenge = challenge


class HeartbeatBuilder:
    """Build heartbeat frames of one node."""

    def __init__(self, node: int, signer: Signer | None) -> None:
        self.node = node
        self._signer = signer
        self._layout = messages.layout_of(messages.HEARTBEAT)
        self._payload = bytearray(self._layout.length)
        self._signed = memoryview(self._payload)[: self._layout.offset("mac")]
        self._wire = bytearray(framing.wire_length(self._layout.length))

    def use(self, signer: Signer) -> None:
        """Sign with another key from now on."""
        self._signer = signer

    def build(self, incarnation: Incarnation, sequence: int, report: Report) -> memoryview:
        """Return the frame; it is valid until the next call."""
        challenge = incarnation.challenge or NO_CHALLENGE
        flags = (
            (messages.FLAG_RUNNING if report.running else 0)
            | (messages.FLAG_VERIFIED_STOPPED if report.verified_stopped else 0)
            | (messages.FLAG_WATCHDOG_ARMED if report.watchdog_armed else 0)
            | (messages.FLAG_PEER_KNOWN if report.peer_seen is not None else 0)
            | (messages.FLAG_PEER_SEEN if report.peer_seen else 0)
            | (messages.FLAG_ANSWERED if incarnation.challenge is not None else 0)
            | (messages.FLAG_CHALLENGE_ODD if challenge[0] & 1 else 0)
        )
        layout = self._layout
        payload = self._payload
        layout.put(payload, "node_state", self.node | report.state << bits.STATE_AT)
        layout.put(payload, "flags", flags)
        layout.put(payload, "incarnation", incarnation.number)
        layout.put(payload, "sequence", sequence)
        layout.put(payload, "epoch", min(report.epoch, codes.COUNT_MAX))
        layout.put(payload, "busy_s", min(report.busy_s, 0xFFFF))
        mac = auth.heartbeat_mac(self._signer, challenge, self._signed) if self._signer else challenge + bytes(4)
        layout.put(payload, "mac", mac)
        length = framing.encode_into(self._wire, messages.HEARTBEAT, payload, len(payload))
        return memoryview(self._wire)[:length]
