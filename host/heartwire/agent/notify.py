"""Tell systemd that the agent is ready, what it does, and that it lives (sd_notify). Does nothing outside systemd."""

import os
import socket

ALIVE_NS = 1_000_000_000


class Notifier:
    """Send states to the socket that systemd named in the environment."""

    def __init__(self, address: str) -> None:
        """Take the value of NOTIFY_SOCKET; an empty one makes all methods do nothing."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._next_ns = 0
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def alive(self, now_ns: int) -> None:
        """Say at most once a second that the loop goes round."""
        if self._socket is not None and now_ns >= self._next_ns:
            self._next_ns = now_ns + ALIVE_NS
            self.tell("WATCHDOG=1")

    def tell(self, state: str) -> None:
        """Send a state such as READY=1; one that cannot be sent is lost, never waited for."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:
            return


def from_environment() -> Notifier:
    """Return a notifier for this process, and keep the address from its children."""
    return Notifier(os.environ.pop("NOTIFY_SOCKET", ""))
