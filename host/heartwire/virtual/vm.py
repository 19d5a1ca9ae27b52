"""One life of the board's processor: a MicroPython VM in a process of its own, from start to kill.

Speaks the other end of shim/virtual_link.py. It passes on what the VM reports and never judges it: the watchdog, resets
and outputs are the board's affair. Ends only by kill(), like a chip that loses power, or by the VM's own crash. Owned
by board.py; every method runs in the reactor's thread.
"""

import contextlib
import importlib.util
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from heartwire.extras import install_hint
from heartwire.flash.boards import PICO
from heartwire.virtual.errors import MissingExtra
from heartwire.virtual.processes import ProcessYard
from heartwire.virtual.reactor import Reactor

SHIM = Path(__file__).parent / "shim"
RECORD_BYTES = 32
_PAYLOAD_BYTES = RECORD_BYTES - 3
LINES = 3
# Per line and millisecond: twice a default receive buffer, and three lines of it fit into one read of the shim.
_LINE_BURST_BYTES = 512
_CHANNEL_BYTES = 400_000
# Runs the VM's extension module alone: no site packages, no console script, so it starts in about 30 ms.
ENVIRONMENT = "HEARTWIRE_MICROPYTHON"
_LAUNCH = "import sys; sys.path.insert(0, sys.argv[1]); import micropython_run as m; sys.exit(m.run_main(sys.argv[2:]))"


class VmListener(Protocol):
    """What a VM reports; stamps are time.monotonic_ns() of the moment it happened."""

    def vm_level(self, gpio: int, level: int, at_ns: int) -> None:
        """Take an output's level."""

    def vm_toggling(self, gpio: int, level: int, at_ns: int) -> None:
        """Take the news that an output still toggles."""

    def vm_released(self, gpio: int, at_ns: int) -> None:
        """Take the news that an output became an input."""

    def vm_sent(self, line: int, data: bytes) -> None:
        """Take bytes sent on a line (0 UART0, 1 UART1, 2 PIO)."""

    def vm_fed(self, at_ns: int) -> None:
        """Take the news that the watchdog was fed."""

    def vm_watchdog(self, timeout_ms: int) -> None:
        """Take the watchdog's timeout."""

    def vm_scratch(self, index: int, value: int) -> None:
        """Take a scratch register."""

    def vm_event(self, kind: str) -> None:
        """Take H main.py starts, R reset, B boot loader, E program ended, P power cut by a flash fault."""

    def vm_exited(self, code: int) -> None:
        """Take the exit of the VM's process, which a board never does by itself."""


@dataclass(frozen=True)
class VmSettings:
    """What a life starts with."""

    unique_id: bytes
    reset_cause: int
    scratch: Sequence[int]
    inputs: Sequence[int]
    fast_gpios: Sequence[int]
    heap_kib: int
    erase_us: int
    program_us: int
    flash_fail_at: int


def interpreter() -> list[str]:
    """Return the command that runs the VM: $HEARTWIRE_MICROPYTHON, else the extra's, else `micropython` of the PATH.

    Raises MissingExtra if there is none.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        return [named]
    found = importlib.util.find_spec("micropython_run")
    if found is not None and found.origin is not None:
        return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(Path(found.origin).parent), "micropython"]
    there = shutil.which("micropython")
    if there is None:
        raise MissingExtra(
            "the MicroPython VM",
            f"name a MicroPython 1.24 or newer for Unix in {ENVIRONMENT}; on x86_64 the extra brings one: "
            + install_hint("virtual"),
        )
    return [there]


def _record(kind: str, argument: int, payload: bytes) -> bytes:
    return (bytes([ord(kind), argument, len(payload)]) + payload).ljust(RECORD_BYTES, b"\0")


class Vm:
    """A running VM."""

    def __init__(
        self,
        reactor: Reactor,
        yard: ProcessYard,
        listener: VmListener,
        settings: VmSettings,
        *,
        image: Path,
        log: Path,
        usb: socket.socket,
    ) -> None:
        self._reactor = reactor
        self._listener = listener
        self._received = b""
        self._backlog: deque[bytes] = deque()
        self._room = [_LINE_BURST_BYTES] * LINES
        self._room_ns = [time.monotonic_ns()] * LINES
        self._ours, theirs = socket.socketpair()
        for end in (self._ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHANNEL_BYTES)
        image_fd = os.open(image, os.O_RDWR)
        values = {
            "control_fd": theirs.fileno(),
            "image_fd": image_fd,
            "unique_id": list(settings.unique_id),
            "reset_cause": settings.reset_cause,
            "scratch": list(settings.scratch),
            "machine": PICO.machine,
            "clock_hz": PICO.chip.clock_hz,
            "scratch_at": PICO.chip.scratch,
            "uarts_at": list(PICO.chip.uarts),
            "blocks": PICO.blocks,
            "inputs": list(settings.inputs),
            "fast_gpios": list(settings.fast_gpios),
            "erase_us": settings.erase_us,
            "program_us": settings.program_us,
            "flash_fail_at": settings.flash_fail_at,
        }
        heap = f"heapsize={settings.heap_kib}wK"
        argv = interpreter()
        try:
            with log.open("ab") as errors:
                self._process = yard.start(
                    [*argv, "-X", heap, str(SHIM / "start.py")],
                    name="board",
                    ended=self._exited,
                    environment={"MICROPYPATH": f"{SHIM}:.frozen", "HEARTWIRE_VIRTUAL_BOARD": json.dumps(values)},
                    stdin=usb.fileno(),
                    stdout=usb.fileno(),
                    stderr=errors,
                    pass_fds=(theirs.fileno(), image_fd),
                )
        finally:
            theirs.close()
            os.close(image_fd)
        self.pid = self._process.pid
        reactor.watch(self._ours.fileno(), select.EPOLLIN, self._ready)

    def send_line(self, line: int, data: bytes) -> None:
        """Deliver bytes to a line's receiver; what comes faster than any receive buffer can take it is lost."""
        now_ns = time.monotonic_ns()
        earned = (now_ns - self._room_ns[line]) * _LINE_BURST_BYTES // 1_000_000
        room = min(_LINE_BURST_BYTES, self._room[line] + earned)
        data = data[:room]
        self._room[line], self._room_ns[line] = room - len(data), now_ns
        records = b"".join(
            _record("L", line, data[start : start + _PAYLOAD_BYTES]) for start in range(0, len(data), _PAYLOAD_BYTES)
        )
        with contextlib.suppress(OSError):  # a VM that hangs too long loses bytes, one that is gone loses all
            self._ours.send(records)

    def set_input(self, gpio: int, level: int) -> None:
        """Drive an input: 0, 1, or 2 for nothing."""
        self._send_surely(_record("I", gpio, bytes([level])))

    def fail_flash_at(self, operation: int) -> None:
        """Lose power in the middle of the n-th flash operation from now; 0 never."""
        self._send_surely(_record("F", 0, struct.pack("<I", operation)))

    def stop(self) -> None:
        """Let the VM hang where it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def drain(self) -> None:
        """Pass on everything that the VM has reported up to now."""
        with contextlib.suppress(OSError):
            while data := self._ours.recv(65536):
                self._take(data)

    def kill(self) -> None:
        """End this life: what was reported before the end is still passed on, nothing afterwards."""
        self._process.kill(whole_tree=False)
        self.drain()
        self.close()

    def close(self) -> None:
        """Let go of the channel."""
        self._reactor.unwatch(self._ours.fileno())
        self._ours.close()

    def _send_surely(self, record: bytes) -> None:
        """Send now, or as soon as the VM has caught up."""
        self._backlog.append(record)
        self._send_backlog()
        if self._backlog:
            self._reactor.change(self._ours.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _send_backlog(self) -> None:
        try:
            while self._backlog:
                self._ours.send(self._backlog[0])
                self._backlog.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._backlog.clear()

    def _ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._send_backlog()
            if not self._backlog:
                self._reactor.change(self._ours.fileno(), select.EPOLLIN)
        if not events & ~select.EPOLLOUT:
            return
        try:
            data = self._ours.recv(65536)
        except OSError:
            return
        if data:
            self._take(data)
        else:
            self._reactor.unwatch(self._ours.fileno())

    def _exited(self, code: int) -> None:
        self.drain()
        self._listener.vm_exited(code)

    def _take(self, data: bytes) -> None:
        data = self._received + data
        position = 0
        messages = []
        while len(data) - position >= 3 and len(data) - position >= 3 + data[position + 2]:
            end = position + 3 + data[position + 2]
            messages.append((chr(data[position]), data[position + 1], data[position + 3 : end]))
            position = end
        self._received = data[position:]
        for kind, argument, payload in messages:
            self._dispatch(kind, argument, payload)

    def _dispatch(self, kind: str, argument: int, payload: bytes) -> None:
        listener = self._listener
        if kind in "OTZ":
            level, stamp_us = struct.unpack("<BQ", payload)
            if kind == "O":
                listener.vm_level(argument, level, stamp_us * 1000)
            elif kind == "T":
                listener.vm_toggling(argument, level, stamp_us * 1000)
            else:
                listener.vm_released(argument, stamp_us * 1000)
        elif kind == "L":
            listener.vm_sent(argument, payload)
        elif kind == "W":
            listener.vm_fed(struct.unpack("<Q", payload)[0] * 1000)
        elif kind == "D":
            listener.vm_watchdog(struct.unpack("<I", payload)[0])
        elif kind == "S":
            listener.vm_scratch(argument, struct.unpack("<I", payload)[0])
        else:
            listener.vm_event(kind)
