"""Run a broker: on systemd's socket, on one that was inherited, or on one of its own, until nobody needs it.

Started by systemd, by the first program that needs one (places.start), or by hand with `heartwire broker run`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from heartwire.broker import places
from heartwire.broker.server import Server

# How long a broker stays without a program; systemd starts it again for the next one.
IDLE_S = 10.0
# The first descriptor that systemd passes: sd_listen_fds(3).
FIRST_PASSED = 3


def main(arguments: Sequence[str]) -> int:
    """Run a broker on an inherited descriptor; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m heartwire.broker", description=__doc__)
    parser.add_argument("--descriptor", type=int, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    options = parser.parse_args(arguments)
    listener = socket.socket(fileno=options.descriptor)
    serve(listener, options.socket, idle_s=IDLE_S, log=_nobody)
    return 0


def passed() -> socket.socket | None:
    """Return the socket that systemd has passed to this program, None if it has not."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    os.set_inheritable(FIRST_PASSED, False)
    return socket.socket(fileno=FIRST_PASSED)


def serve(listener: socket.socket, place: Path | None, *, idle_s: float | None, log: Callable[[str], None]) -> None:
    """Serve until unused for `idle_s`, SIGTERM or SIGINT; the socket at `place` is then removed."""
    server = Server(listener, idle_s=idle_s, log=log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    # A terminal that goes away takes no broker with it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    mark = places.mark_of(place) if place is not None else None
    try:
        server.run()
    finally:
        if place is not None and mark is not None:
            places.remove(place, mark)


def say(words: str) -> None:
    """Write a line for the journal."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()


def _nobody(_: str) -> None:
    """Keep quiet: nobody reads."""
