"""The emulated board's USB port as a pty that vanishes at a reset and comes back, so that real programs talk to it.

Runs the chip in a thread of its own, as fast as this machine can; virtual time is not tied to real time, so callers
wait long. `path` is a link to the pty of the moment, as /dev/ttyACM0 would be. Used by tests of flashing and the CLI.
"""

from __future__ import annotations

import contextlib
import os
import threading
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

from heartwire.emulated.chip import MS, EmulatedChip

_CHUNK = 4096
# What the board has not taken yet may not grow beyond a USB host's buffers.
_UNSENT_MAX = 512


class Bridge:
    """The USB port of `chip` at `path`; use it with `with`. The chip belongs to the bridge until the end."""

    def __init__(self, chip: EmulatedChip, path: Path) -> None:
        self.chip = chip
        self.path = path
        self.error: BaseException | None = None
        self._master: int | None = None
        self._slave: int | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emulated board", daemon=True)
        chip.on_usb_data = self._from_board
        chip.usb.on_connected = self._appear
        chip.usb.on_gone = self._vanish

    def __enter__(self) -> Self:
        if self.chip.usb.connected:
            self._appear()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._vanish()
        if self.error is not None and value is None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._to_board()
                self.chip.run_for(MS)
        except BaseException as error:  # the caller gets it at the end
            self.error = error

    def _appear(self) -> None:
        self._vanish()
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._master, self._slave = master, slave
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(slave))
        fresh.replace(self.path)

    def _vanish(self) -> None:
        self.path.unlink(missing_ok=True)
        for descriptor in (self._master, self._slave):
            if descriptor is not None:
                os.close(descriptor)
        self._master = self._slave = None

    def _to_board(self) -> None:
        if self._master is None or self.chip.usb.unsent >= _UNSENT_MAX:
            return
        with contextlib.suppress(BlockingIOError, OSError):
            self.chip.usb.send(os.read(self._master, _CHUNK))

    def _from_board(self, data: bytes) -> None:
        if self._master is not None:
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self._master, data)
