"""Who may use a port through a broker, and whose broker a program may use: whoever may open the port himself.

So a broker gives nobody more than the port would. The kernel says who is at the other end of a Unix socket; the device
says by owner, group, mode and access list who may open it. Linux only. Called by server and client.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

# include/uapi/asm-generic/socket.h of Linux; Python has no name for it.
SO_PEERGROUPS = 59
GROUPS_MAX = 65536
READ_WRITE = 6
# Access lists as the kernel keeps them: include/uapi/linux/posix_acl_xattr.h and posix_acl.h.
ACL = "system.posix_acl_access"
_ACL_HEADER, _ACL_ENTRY = 4, struct.Struct("<HHI")
_USER, _OWNING_GROUP, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10
# Unix98 pseudo terminals: Documentation/admin-guide/devices.txt of Linux.
_PTY_MAJORS = range(136, 144)


@dataclass(frozen=True)
class Caller:
    """Who is at the other end of a connection."""

    pid: int
    uid: int
    gids: frozenset[int]


def caller_of(connection: socket.socket) -> Caller:
    """Return what the kernel says of the other end."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    size = 4 * GROUPS_MAX
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, size)
    except OSError:
        groups = b""  # a kernel before 4.13 tells the first group only
    more = struct.unpack(f"{len(groups) // 4}I", groups)
    return Caller(pid, uid, frozenset({gid, *more}))


def may_open(caller: Caller, device: os.stat_result, acl: bytes = b"") -> bool:
    """Tell whether `caller` may read and write a device, as the kernel would decide; `acl` is its access list."""
    if caller.uid == 0:
        return True
    mode = stat.S_IMODE(device.st_mode)
    if caller.uid == device.st_uid:
        return mode >> 6 & READ_WRITE == READ_WRITE
    entries: list[tuple[int, int, int]] = [
        _ACL_ENTRY.unpack_from(acl, at) for at in range(_ACL_HEADER, len(acl) - 7, _ACL_ENTRY.size)
    ]
    mask = next((rights for tag, rights, _ in entries if tag == _MASK), READ_WRITE)
    for tag, rights, number in entries:
        if tag == _USER and number == caller.uid:
            return rights & mask & READ_WRITE == READ_WRITE
    # With an access list the mode's group is its mask, and the owning group stands in the list.
    groups = [(number, rights & mask) for tag, rights, number in entries if tag == _GROUP]
    owning = next((rights & mask for tag, rights, _ in entries if tag == _OWNING_GROUP), mode >> 3)
    matching = [rights for number, rights in [(device.st_gid, owning), *groups] if number in caller.gids]
    if matching:
        return any(rights & READ_WRITE == READ_WRITE for rights in matching)
    return mode & READ_WRITE == READ_WRITE


def acl_of(path: str) -> bytes:
    """Return the access list of a device, b"" where it has none."""
    try:
        return os.getxattr(path, ACL)
    except OSError:
        return b""


def is_terminal(device: os.stat_result, root: Path = Path("/sys/dev/char")) -> bool:
    """Tell whether a device is a serial port or a pseudo terminal: opening others may do something by itself."""
    if not stat.S_ISCHR(device.st_mode):
        return False
    major, minor = os.major(device.st_rdev), os.minor(device.st_rdev)
    if major in _PTY_MAJORS:
        return True
    try:
        return (root / f"{major}:{minor}" / "subsystem").resolve().name == "tty"
    except OSError:
        return False


def may_use(caller: Caller, path: str) -> bool:
    """Tell whether `caller` may open the port at `path` himself; False where there is none."""
    try:
        device = Path(path).stat()
    except OSError:
        return False
    return may_open(caller, device, acl_of(path))
