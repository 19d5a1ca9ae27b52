"""Which .mpy a MicroPython loads: the format's version is tied to its release, and a wrong one is a board that is dumb.

A .mpy begins with "M", the format's version, and flags (py/persistentcode.h of MicroPython); a release loads its own
version only. The table has every release that an image is known of, and the firmware is held to it before a byte of it
goes to a board. No I/O. Used by install.
"""

from __future__ import annotations

# MPY_VERSION of each release, and the releases of mpy-cross that write it.
VERSIONS = {"1.24": 6, "1.25": 6, "1.26": 6, "1.27": 6, "1.28": 6, "1.29": 6}
HEADER_BYTES = 4
MAGIC = b"M"
# Bits of the third byte: 2 to 5 the machine that native code is for, 0 for none.
_MACHINE = 0x3C


def release_of(version: str) -> str:
    """Return the release that a version of MicroPython belongs to: "1.29" for 1.29.0-preview."""
    return ".".join(version.partition("-")[0].split(".")[:2])


def problem(content: bytes, version: str) -> str:
    """Return why MicroPython `version` does not load a compiled file, "" if it does."""
    if len(content) < HEADER_BYTES or content[:1] != MAGIC:
        return "it is no compiled file of MicroPython"
    if content[2] & _MACHINE:
        return "it has native code of a machine"
    wanted = VERSIONS.get(release_of(version))
    if wanted is None:
        return f"what MicroPython {version} loads is not known; known: {', '.join(VERSIONS)}"
    if content[1] != wanted:
        return f"it has version {content[1]} of the format, and MicroPython {version} loads {wanted}"
    return ""
