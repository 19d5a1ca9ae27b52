"""Signatures: HMAC-SHA256 (RFC 2104) cut to 8 bytes, over exactly the bytes that PROTOCOL.md names.

MicroPython has no hmac module, so the construction is spelled out here from hashlib.sha256. A Signer keeps both padded
keys and makes two small hash objects per signature. It never prints or returns a key.
"""

import hashlib

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
        inner = hashlib.sha256(self._inner)
        for part in parts:
            inner.update(part)
        outer = hashlib.sha256(self._outer)
        outer.update(inner.digest())
        return outer.digest()[:MAC_LENGTH]


def signer_of(key: str) -> "Signer | None":
    """Return the signer of a key given as hexadecimal digits; None for no key."""
    return Signer(bytes([int(key[at : at + 2], 16) for at in range(0, len(key), 2)])) if key else None


def same(one: "bytes | bytearray | memoryview", other: "bytes | bytearray | memoryview") -> bool:
    """Compare two signatures in a time that does not depend on where they differ."""
    if len(one) != len(other):
        return False
    difference = 0
    for index in range(len(one)):
        difference |= one[index] ^ other[index]
    return difference == 0
