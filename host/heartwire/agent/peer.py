"""Heartbeats between agents over the network: a second sign of life that each reports to the board.

UDP, signed with a key that both agents share. A packet counts only if it echoes a random number that this agent sent a
moment ago, so that recorded packets prove nothing. What is heard decides nothing here: the agent only sets peer_seen in
its heartbeats. `PeerView` is pure (bytes and times in, bytes out); `PeerLink` owns the socket and is stepped by the
agent's loop.
"""

import contextlib
import secrets
import socket
import struct

from heartwire.agent.log import Log
from heartwire.agent.settings import PeerSettings
from heartwire_protocol import codes
from heartwire_protocol.auth import Signer, same

NS_PER_MS = 1_000_000
MAGIC = b"HWP1"
# magic, node, flags (1: hears you), two zeros, sequence, own nonce, echoed nonce; then the MAC over all of it.
BODY = struct.Struct("<4sBBHI8s8s")
NONCE_LENGTH = 8
PACKET_LENGTH = BODY.size + 8
FLAG_HEARS_YOU = 1
# An answer may be that many own packets old: at 1 s apart, far more than any network delays.
NONCES_KEPT = 4
# Packets read in one round of the loop; a flood must not hold up heartbeats.
READ_MAX = 16


class PeerView:
    """What one agent knows of its peer."""

    def __init__(self, node: int, peer: int, key: bytes, dead_ms: int) -> None:
        self.node = node
        self.peer = peer
        self.refused = 0
        self.heard_back = False  # the peer says that it hears us
        self._signer = Signer(key)
        self._dead_ns = dead_ms * NS_PER_MS
        self._sequence = 0
        self._nonces: list[bytes] = []
        self._peer_nonce = bytes(NONCE_LENGTH)
        self._last_good_ns: int | None = None

    def seen(self, now_ns: int) -> bool:
        """Tell whether the peer gave a good sign of life in the last dead_ms."""
        return self._last_good_ns is not None and now_ns - self._last_good_ns < self._dead_ns

    def packet(self, now_ns: int) -> bytes:
        """Return the next packet to send."""
        self._sequence = self._sequence % codes.COUNT_MAX + 1
        nonce = secrets.token_bytes(NONCE_LENGTH)
        self._nonces = [*self._nonces[-NONCES_KEPT + 1 :], nonce]
        flags = FLAG_HEARS_YOU if self.seen(now_ns) else 0
        body = BODY.pack(MAGIC, self.node, flags, 0, self._sequence, nonce, self._peer_nonce)
        return body + self._signer.mac(b"P", body)

    def take(self, packet: bytes, now_ns: int) -> bool:
        """Take a packet that arrived at `now_ns`; tell whether it was a fresh sign of life from the peer."""
        if len(packet) != PACKET_LENGTH or not same(packet[BODY.size :], self._signer.mac(b"P", packet[: BODY.size])):
            self.refused += 1
            return False
        magic, node, flags, _, _, nonce, echoed = BODY.unpack(packet[: BODY.size])
        if magic != MAGIC or node != self.peer:
            self.refused += 1
            return False
        # Signed, but perhaps recorded long ago: its number may be echoed, which harms nobody, but it proves no life.
        self._peer_nonce = nonce
        if echoed not in self._nonces:
            return False
        self._nonces = self._nonces[self._nonces.index(echoed) + 1 :]
        self._last_good_ns = now_ns
        self.heard_back = bool(flags & FLAG_HEARS_YOU)
        return True


class PeerLink:
    """Send to all addresses of the peer on a schedule, and listen. Never blocks, never raises."""

    def __init__(self, node: int, settings: PeerSettings, key: bytes, log: Log, now_ns: int) -> None:
        """Bind the socket. OSError if that fails."""
        self.view = PeerView(node, codes.NODES.index(settings.node), key, settings.dead_ms)
        self._addresses = settings.addresses
        self._interval_ns = settings.interval_ms * NS_PER_MS
        self._log = log
        self._next_ns = now_ns
        family = socket.AF_INET6 if ":" in settings.listen[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(settings.listen)

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """Return the UDP port that is listened on."""
        return int(self._socket.getsockname()[1])

    def step(self, now_ns: int) -> bool:
        """Read what came, send what is due; tell whether the peer is seen."""
        for _ in range(READ_MAX):
            try:
                packet = self._socket.recv(PACKET_LENGTH + 1)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error of something sent before
            self.view.take(packet, now_ns)
        seen = self.view.seen(now_ns)
        if self._log.changed("peer", seen):
            self._log.info("peer", seen=seen)
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + self._interval_ns
            packet = self.view.packet(now_ns)
            for address in self._addresses:
                with contextlib.suppress(OSError):
                    self._socket.sendto(packet, address)
        return seen

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
