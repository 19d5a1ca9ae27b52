"""The board's USB serial port: a path that is there while the board is enumerated, and vanishes as a real one does.

Between the VM's stdin and stdout (a socket pair) and a pseudo terminal that programs open. A program that holds the
path open gets a hangup at unplug, reset and power-off. While no program has it open, the firmware finds its output not
writable and nothing is kept for later, as on a real board without DTR. It never looks into the
bytes. Owned by board.py.
"""

import contextlib
import fcntl
import os
import select
import socket
import sys
import termios
from collections.abc import Callable
from pathlib import Path

from heartwire.virtual.reactor import Reactor, Timer
from heartwire.virtual.terminals import open_raw_pair

_PIECE = 4096
_WAITING_LIMIT = 512  # MicroPython's stdin buffer: more than this stays with the host's driver
_VM_BUFFER = 65536
_LOOK_FOR_CLIENT_MS = 40  # only for programs that open the port and wait without writing


class UsbPort:
    """One life of the board's USB: made with the VM, ends with it."""

    def __init__(self, reactor: Reactor, path: Path, unheard: Callable[[bytes], None]) -> None:
        """Make the port that will appear at `path`; `unheard(data)` gets what the firmware says to nobody."""
        self.path = path
        self._unheard = unheard
        self.connected = False
        self._reactor = reactor
        self._ours, self.vm_end = socket.socketpair()
        self._ours.setblocking(False)
        self.vm_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _VM_BUFFER)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
        self._master: int | None = None
        self._client = False
        self._muted_with = 0
        self._to_vm = b""
        self._to_client = b""
        self._look: Timer | None = None
        reactor.watch(self._ours.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET, self._on_vm)
        self._mute()

    def connect(self) -> None:
        """Enumerate: the path appears."""
        if self.connected:
            return
        self._master, slave = open_raw_pair(self.path)
        self.connected = True
        os.close(slave)  # from now on a hangup means that no program has the port open
        events = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
        self._reactor.watch(self._master, events, self._on_client)
        self._look_for_client()

    def disconnect(self) -> None:
        """Vanish: the path goes, and a program that has it open gets a hangup."""
        if self._master is None:
            return
        self.connected = False
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        if self._look is not None:
            self._look.cancel()
        self._reactor.unwatch(self._master)
        os.close(self._master)
        self._master = None
        self._client_left()

    def close(self) -> None:
        """End with the VM."""
        self.disconnect()
        self._reactor.unwatch(self._ours.fileno())
        self._ours.close()
        self.vm_end.close()

    def _look_for_client(self) -> None:
        self._on_client(0)
        if self.connected and not self._client:
            self._look = self._reactor.later(_LOOK_FOR_CLIENT_MS, self._look_for_client)

    def _on_client(self, _events: int) -> None:
        if self._master is None:
            return
        poller = select.poll()
        poller.register(self._master, select.POLLIN)
        held_open = not any(event & select.POLLHUP for _, event in poller.poll(0))
        if held_open and not self._client:
            self._client = True
            self._discard_vm()  # before the first request gets through, or its answer might go too
        self._read_client()
        if self._client and not held_open:
            self._client_left()
            self._look = self._reactor.later(_LOOK_FOR_CLIENT_MS, self._look_for_client)
        self._pump_out()

    def _client_left(self) -> None:
        self._client = False
        self._to_client = b""
        if self._master is not None:
            with contextlib.suppress(termios.error):
                termios.tcflush(self._master, termios.TCOFLUSH)  # what the program has not read
        self._mute()

    def _read_client(self) -> None:
        """Carry from the program to the VM until either end has had enough."""
        while self._master is not None:
            if not self._to_vm:
                try:
                    self._to_vm = os.read(self._master, _WAITING_LIMIT)
                except OSError:  # nothing there (EAGAIN), or nobody there (EIO)
                    return
                if not self._to_vm:
                    return
            try:
                self._to_vm = self._to_vm[self._ours.send(self._to_vm) :]
            except BlockingIOError:
                return
            except OSError:
                self._to_vm = b""

    def _on_vm(self, events: int) -> None:
        if events & select.EPOLLOUT and self._to_vm:
            self._read_client()
        if self._client:
            self._pump_out()
        elif self._waiting() != self._muted_with:  # the firmware wrote although nobody listens
            self._unheard(self._discard_vm()[self._muted_with :])
            self._mute()

    def _pump_out(self) -> None:
        """Carry from the VM to the program until either end has had enough."""
        while self._client and self._master is not None:
            if not self._to_client:
                try:
                    self._to_client = self._ours.recv(_PIECE)
                except BlockingIOError:
                    return
                if not self._to_client:
                    return
            try:
                self._to_client = self._to_client[os.write(self._master, self._to_client) :]
            except OSError:  # full, or the program has just gone
                return

    def _discard_vm(self) -> bytes:
        discarded = b""
        with contextlib.suppress(BlockingIOError):
            while data := self._ours.recv(65536):
                discarded += data
        return discarded

    def _mute(self) -> None:
        """Make the VM's output not writable, by filling its buffer with bytes that are thrown away later."""
        poller = select.poll()
        poller.register(self.vm_end, select.POLLOUT)
        with contextlib.suppress(BlockingIOError):
            while poller.poll(0):
                self.vm_end.send(bytes(_PIECE), socket.MSG_DONTWAIT)
        self._muted_with = self._waiting()

    def _waiting(self) -> int:
        answer = fcntl.ioctl(self._ours.fileno(), termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)
