"""The host's own API on the emulated board: a channel whose waiting makes virtual time pass.

So tests apply settings, ask and read the journal with the code that users run, without a pty or a real clock. Used by
tests and benches of this tier; it owns nothing of the rig but what comes over USB.
"""

from __future__ import annotations

from heartwire.board import Board
from heartwire.emulated.chip import MS
from heartwire.keys import Keys
from heartwire.link import Link
from tests.emulated.rig import Rig

STEP_MS = 2


class RigChannel:
    """The USB port of `rig` as heartwire.transport.Channel; seconds are virtual."""

    name = "emulated"
    exposed = False

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, after at most `timeout_s` virtual seconds."""
        rig = self._rig
        end_ns = rig.chip.ns + timeout_s * 1e9
        while not rig.usb and rig.chip.ns < end_ns:
            rig.chip.run_until(min(end_ns, rig.chip.ns + STEP_MS * MS))
        data = bytes(rig.usb)
        rig.usb.clear()
        return data

    def write(self, data: bytes) -> None:
        """Send `data`."""
        self._rig.chip.usb.send(data)

    def close(self) -> None:
        """Nothing to give back."""

    def now(self) -> float:
        """Return virtual seconds since power-on."""
        return self._rig.chip.ns / 1e9


def board_of(rig: Rig) -> Board:
    """Say hello to the board of `rig` and return it."""
    link = Link(RigChannel(rig), Keys())
    link.hello()
    return Board(link)
