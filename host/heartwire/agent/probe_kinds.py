"""What a probe does: one function per kind, run in a process of its own by the runner. None of them ever runs in the
agent.

A function returns 0 when all is well, else an errno that says why (the agent logs its text, see `words_of`). They may
hang as long as they like: the runner kills them at their time limit. KINDS is the table of kinds and their settings;
settings, docs and runner read it.
"""

import errno
import http.client
import os
import socket
import urllib.parse
from collections.abc import Callable
from typing import Any

# kind: ({setting: (type, default or None if it must be given)}, sentence)
KINDS: dict[str, tuple[dict[str, tuple[type, Any]], str]] = {
    "command": ({"command": (list, None)}, "a command exits with 0"),
    "systemd": ({"unit": (str, None)}, "a systemd unit is active"),
    "tcp": ({"host": (str, "127.0.0.1"), "port": (int, None)}, "a TCP port accepts a connection"),
    "http": ({"url": (str, None), "status": (int, 200)}, "a URL (http only) answers with this status"),
    "disk": ({"directory": (str, None)}, "a file can be written, synced and read back"),
    "memory": ({"available_mb": (int, None)}, "at least so many MB are available without swapping"),
    "load": ({"per_cpu": (float, None)}, "the load of the last minute per CPU is at most this"),
}

# A status of its own, as the resolver's numbers are not those of errno.
NO_NAME = 200


def words_of(status: int) -> str:
    """Return what a status of `run` means."""
    return "its host's name could not be looked up" if status == NO_NAME else os.strerror(status)


def run(kind: str, values: dict[str, Any]) -> int:
    """Run one probe that is no command; return 0, NO_NAME or an errno."""
    functions: dict[str, Callable[..., int]] = {
        "tcp": tcp,
        "http": http_get,
        "disk": disk,
        "memory": memory,
        "load": load,
    }
    try:
        return functions[kind](**values)
    except socket.gaierror:
        return NO_NAME
    except OSError as error:
        return error.errno or errno.EIO
    except (http.client.HTTPException, ValueError):
        return errno.EPROTO


def tcp(host: str, port: int) -> int:
    """Connect and hang up."""
    with socket.create_connection((host, port)):
        return 0


def http_get(url: str, status: int) -> int:
    """Ask for a page and compare its status; redirects are not followed."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"User-Agent": "heartwire", "Connection": "close"})
        return 0 if connection.getresponse().status == status else errno.EBADMSG
    finally:
        connection.close()


def disk(directory: str) -> int:
    """Write, sync, read back and remove a small file."""
    path = os.path.join(directory, f".heartwire-probe-{os.getpid()}")  # noqa: PTH118 - os calls throughout
    data = os.urandom(512)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.unlink(path)  # noqa: PTH108
        if os.write(descriptor, data) != len(data):
            return errno.ENOSPC
        os.fsync(descriptor)
        return 0 if os.pread(descriptor, len(data) + 1, 0) == data else errno.EIO
    finally:
        os.close(descriptor)


def memory(available_mb: int, meminfo: str = "/proc/meminfo") -> int:
    """Compare what the kernel says is available."""
    with open(meminfo, encoding="ascii") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("MemAvailable:"):
                return 0 if int(line.split()[1]) >= available_mb * 1024 else errno.ENOMEM
    return errno.ENODATA


def load(per_cpu: float) -> int:
    """Compare the load of the last minute."""
    return 0 if os.getloadavg()[0] <= per_cpu * (os.cpu_count() or 1) else errno.EBUSY
