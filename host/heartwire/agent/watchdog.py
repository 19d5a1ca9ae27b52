"""The kernel watchdog: resets this server if the services cannot be stopped when they must be.

`may_feed` is the one place that decides; the agent asks it in each round, and feeds only then. A standby is never
reset by it: a server whose services were verified stopped, or that never ran them, is always fed. The total time to
self-fence is lease + stop_timeout_s + watchdog_timeout_s; the board's self_fence_ms must cover the last two.
"""

import contextlib
import fcntl
import os
import struct
from typing import Protocol

from heartwire.agent.lease import Judgement, Wish

# From linux/watchdog.h: _IOWR('W', 6, int) and _IOR('W', 7, int).
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_GETTIMEOUT = 0x80045707


def may_feed(judged: Judgement, suspect: bool, now_ns: int, stop_timeout_ns: int) -> bool:
    """Tell whether the watchdog may be fed at `now_ns`; `suspect`: the services may run."""
    if not suspect or judged.wish in (Wish.ADVISORY, Wish.RUN, Wish.KEEP):
        return True
    if judged.wish is Wish.DRAIN and judged.entitled:
        return True
    return now_ns < judged.stop_since_ns + stop_timeout_ns


class Watchdog(Protocol):
    """A watchdog that can be armed, fed and, where the kernel allows it, disarmed."""

    armed: bool

    def feed(self) -> None:
        """Put off the reset by the watchdog's time."""

    def close(self, disarm: bool) -> None:
        """Let go of it; without `disarm` it goes on counting."""


class NoWatchdog:
    """Stand in where no watchdog is configured."""

    armed = False

    def feed(self) -> None:
        """Do nothing."""

    def close(self, disarm: bool) -> None:
        """Do nothing."""


class KernelWatchdog:
    """`/dev/watchdog`. Opening it arms it."""

    def __init__(self, path: str, timeout_s: int) -> None:
        """Open and arm it with `timeout_s`. OSError if it is missing, in use, or does not take the time."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self.armed = True
        self.timeout_s = timeout_s
        try:
            answer = fcntl.ioctl(self._descriptor, WDIOC_SETTIMEOUT, struct.pack("i", timeout_s))
            self.timeout_s = struct.unpack("i", answer)[0]
        except OSError:
            self.close(disarm=True)
            raise
        if self.timeout_s > timeout_s:
            self.close(disarm=True)
            raise OSError(f"the watchdog takes no time as short as {timeout_s} s, but {self.timeout_s} s")

    def feed(self) -> None:
        """Put off the reset. A failing write is ignored: the reset then comes, which is what it is for."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"\0")

    def close(self, disarm: bool) -> None:
        """Close the device; with `disarm` the magic letter goes first, which a kernel with nowayout ignores."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if disarm:
                os.write(self._descriptor, b"V")
                self.armed = False
            os.close(self._descriptor)
        self._descriptor = -1
