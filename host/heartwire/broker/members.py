"""The programs and ports of a broker, as data, and who may use which. Used by server."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from heartwire.broker import access, wire
from heartwire.broker.access import Caller
from heartwire.broker.turns import Session, Turns
from heartwire.transport import Port


@dataclass(eq=False)
class Client:
    """One connection."""

    connection: socket.socket
    caller: Caller
    since: float
    session: Session | None = None
    port: SharedPort | None = None
    borrows: bool = False
    waiting: list[bytes] = field(default_factory=list)
    closing: bool = False

    @property
    def name(self) -> str:
        """Return what to call it in logs and errors."""
        program = self.session.program if self.session else "a program"
        return f"{program} (pid {self.caller.pid})"


@dataclass(eq=False)
class SharedPort:
    """One port, and who uses it. Its channel is None while it is opened, closed or lent."""

    path: str
    turns: Turns
    clients: list[Client] = field(default_factory=list)
    channel: Port | None = None
    opening: bool = False
    closing: bool = False
    borrower: Client | None = None
    output: bytearray = field(default_factory=bytearray)
    output_since: float = 0.0
    unused_since: float | None = None

    @property
    def state(self) -> str:
        """Return the port's state in a word."""
        if self.borrower is not None:
            return "lent"
        return "open" if self.channel is not None else "opening" if self.opening else "closed"


def state_of(ports: Iterable[SharedPort]) -> dict[str, object]:
    """Return what `heartwire broker status` shows of these ports, and who uses them."""
    rows = []
    for port in ports:
        sessions = [
            {
                "program": client.session.program,
                "pid": client.caller.pid,
                "uid": client.caller.uid,
                "does": "has the port" if port.borrower is client else port.turns.state_of(client.session),
                "requests": client.session.requests,
                "urgent": client.session.urgent,
            }
            for client in port.clients
            if client.session is not None
        ]
        rows.append({"port": port.path, "state": port.state, "sessions": sessions})
    return {"version": wire.VERSION, "pid": os.getpid(), "uid": os.geteuid(), "ports": rows}


def device_of(path: str) -> tuple[int, int]:
    """Return major and minor number of a device, (0, 0) where there is none."""
    try:
        device = Path(path).stat()
    except OSError:
        return 0, 0
    return (os.major(device.st_rdev), os.minor(device.st_rdev)) if stat.S_ISCHR(device.st_mode) else (0, 0)


def may_use(caller: Caller, path: str) -> bool:
    """Tell whether a caller may have this port: a terminal that he may open, or a connection of the broker's user."""
    if "://" in path:
        return caller.uid in (0, os.geteuid())
    try:
        device = Path(path).stat()
    except OSError:
        return False
    return access.is_terminal(device) and access.may_open(caller, device, access.acl_of(path))
