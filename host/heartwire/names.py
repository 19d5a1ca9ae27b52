"""Connections to hosts by name that a dead name server does not hold up.

The system's resolver may wait half a minute and cannot be interrupted, so a thread asks it and nobody waits longer than
LIMIT_S. What was answered once is used for good and asked for again beside that: an old address is worth more than
none. The agent looks up no names at all (agent.port). Used by transport and urls.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LIMIT_S = 2.0
# How old an answer may be before it is asked for again.
FRESH_S = 60.0
PORT_MAX = 65_535
PORT_DIGITS = 5
LOCAL = ("127.0.0.1", "::1")
Look = Callable[[str], list[str]]


def split_address(text: str) -> tuple[str, int]:
    """Return (host, port) of HOST:PORT or [HOST]:PORT, the port from 0 to 65535. ValueError for anything else."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not (port.isascii() and port.isdigit()) or len(port) > PORT_DIGITS or int(port) > PORT_MAX:
        raise ValueError(f"not HOST:PORT with a number up to {PORT_MAX}")
    return host, int(port)


def is_numeric(host: str) -> bool:
    """Tell whether `host` needs no name server: an address, or localhost."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


class NameProblem(OSError):
    """A name has no address, or its server did not answer in time."""

    def __init__(self, words: str) -> None:
        super().__init__(errno.EHOSTUNREACH, words)


def _ask_system(name: str) -> list[str]:
    """Return the numeric addresses of `name`, waiting as long as the system's resolver does. OSError if none."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


@dataclass
class _Name:
    addresses: list[str] = field(default_factory=list)
    answered_s: float = 0.0
    asked_s: float = 0.0
    asking: bool = False
    problem: str = ""
    done: threading.Event = field(default_factory=threading.Event)


class Resolver:
    """Numeric addresses by name; safe for many threads."""

    def __init__(
        self, look: Look = _ask_system, *, limit_s: float = LIMIT_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._limit_s = limit_s
        self._clock = clock
        self._names: dict[str, _Name] = {}
        self._lock = threading.Lock()

    def addresses(self, host: str) -> list[str]:
        """Return the addresses of `host`, at once where it is numeric, local or known. Raises NameProblem."""
        if is_numeric(host):
            return list(LOCAL) if host == "localhost" else [host]
        with self._lock:
            name = self._names.setdefault(host, _Name())
            if not name.asking and (not name.addresses or self._clock() - name.answered_s >= FRESH_S):
                self._ask(host, name)
            if name.addresses:
                return name.addresses
            # Once for all who ask: a server that did not answer the first of them does not delay the others again.
            left_s = name.asked_s + self._limit_s - self._clock()
        name.done.wait(max(0.0, left_s))
        if name.addresses:
            return name.addresses
        words = name.problem or f"no answer from the name server within {self._limit_s:g} s"
        raise NameProblem(f"{host}: {words}; a numeric address needs none")

    def _ask(self, host: str, name: _Name) -> None:
        name.asking, name.asked_s = True, self._clock()
        name.done.clear()
        threading.Thread(target=self._work, args=(host, name), name=f"name {host}", daemon=True).start()

    def _work(self, host: str, name: _Name) -> None:
        addresses: list[str] = []
        problem = "no address"
        try:
            addresses = self._look(host)
        except (OSError, UnicodeError) as error:
            problem = getattr(error, "strerror", None) or str(error)
        with self._lock:
            name.asking, name.problem = False, problem
            if addresses:
                name.addresses, name.answered_s, name.problem = addresses, self._clock(), ""
        name.done.set()


RESOLVER = Resolver()


def create_connection(
    address: tuple[str, int], timeout: float | None = None, source_address: tuple[str, int] | None = None
) -> socket.socket:
    """Connect as socket.create_connection does, but look up names for LIMIT_S at most. OSError if it fails."""
    host, port = address
    problem: OSError | None = None
    for numeric in RESOLVER.addresses(host):
        try:
            return socket.create_connection((numeric, port), timeout, source_address)
        except OSError as error:
            problem = error
    assert problem is not None  # noqa: S101 - there is at least one address
    raise problem


def crosses_network(name: str) -> bool:
    """Tell whether bytes to a port leave this machine, as far as its address says it: any host name but localhost."""
    _scheme, separator, address = name.partition("://")
    if not separator:
        return False
    try:
        host, _port = split_address(address.strip("/"))
        return not (host == "localhost" or is_loopback(host))
    except ValueError:
        return True


def is_loopback(address: str) -> bool:
    """Tell whether bytes to a numeric address stay on this machine."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
