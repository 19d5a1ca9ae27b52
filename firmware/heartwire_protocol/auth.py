"""Signatures: HMAC-SHA256 (RFC 2104) cut to 8 bytes, over exactly the bytes that PROTOCOL.md names.

What each MAC covers stands here alone: one function a MAC, called by both ends. The letter in front keeps a signature
of one kind from being taken for another. What is long is signed as it is sent, piece by piece: begin, update, end.
MicroPython has no hmac module, so the construction is spelled out here from hashlib.sha256. A Signer keeps both padded
keys and makes two small hash objects per signature. It never prints or returns a key.
"""

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK = 64  # SHA-256 block size in bytes, FIPS 180-4
MAC_LENGTH = 8
KEY_LENGTH = 32


class Signer:
    """Sign and check with one key (32 bytes)."""

    def __init__(self, key: bytes) -> None:
        if len(key) > BLOCK:
            key = hashlib.sha256(key).digest()
        key = key + bytes(BLOCK - len(key))
        self._inner = bytes([byte ^ 0x36 for byte in key])
        self._outer = bytes([byte ^ 0x5C for byte in key])

    def mac(self, *parts: "bytes | bytearray | memoryview") -> bytes:
        """Return the 8-byte signature over `parts`, one after the other."""
        return self.end(self.begin(*parts))

    def begin(self, *parts: "bytes | bytearray | memoryview") -> "Any":
        """Return a hash object that has taken `parts`; `update` it with what follows, then `end`."""
        inner = hashlib.sha256(self._inner)
        for part in parts:
            inner.update(part)
        return inner

    def end(self, inner: "Any") -> bytes:
        """Return the 8-byte signature over all that `inner` has taken."""
        outer = hashlib.sha256(self._outer)
        outer.update(inner.digest())
        return outer.digest()[:MAC_LENGTH]


def signer_of(key: str) -> "Signer | None":
    """Return the signer of a key given as hexadecimal digits; None for no key."""
    return Signer(bytes([int(key[at : at + 2], 16) for at in range(0, len(key), 2)])) if key else None


def heartbeat_mac(signer: Signer, challenge: "bytes | bytearray", body: "bytes | memoryview") -> bytes:
    """Sign a heartbeat: `body` is its payload before the MAC."""
    return signer.mac(b"H", challenge, body)


def grant_mac(signer: Signer, answered: "bytes | bytearray", body: "bytes | memoryview") -> bytes:
    """Sign a grant: `answered` is the incarnation and sequence of the heartbeat it answers, four bytes each."""
    return signer.mac(b"G", answered, body)


def fence_request_mac(signer: Signer, challenge: "bytes | bytearray", incarnation: int, body: bytes) -> bytes:
    """Sign a node's request for a fence with the challenge of the grant that answered its newest heartbeat."""
    return signer.mac(b"F", challenge, incarnation.to_bytes(4, "little"), body)


def fence_reply_mac(signer: Signer, incarnation: int, body: bytes) -> bytes:
    """Sign the reply to a node's request for a fence; `body` repeats the request's target and sequence."""
    return signer.mac(b"P", incarnation.to_bytes(4, "little"), body)


def page_begin(signer: Signer, asked: "bytes | memoryview") -> "Any":
    """Begin the MAC of a page of records on a node line: `asked` is the payload of read_events, then each record."""
    return signer.begin(b"E", asked)


def request_mac(signer: Signer, binding: bytes, right: int, number: int, body: bytes) -> bytes:
    """Sign a request of the host link; `binding` is the host's nonce, the board's session and the board's id."""
    return signer.mac(b"R", binding, bytes([right]), number.to_bytes(4, "little"), body)


def answer_begin(signer: Signer, binding: bytes, number: int) -> "Any":
    """Begin the MAC of the answer to request `number`: each record that is sent before it, then its JSON."""
    return signer.begin(b"A", binding, number.to_bytes(4, "little"))


def same(one: "bytes | bytearray | memoryview", other: "bytes | bytearray | memoryview") -> bool:
    """Compare two signatures in a time that does not depend on where they differ."""
    if len(one) != len(other):
        return False
    difference = 0
    for index in range(len(one)):
        difference |= one[index] ^ other[index]
    return difference == 0
