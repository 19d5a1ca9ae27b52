"""A program's end of the broker: a channel to a board that others use as well, and the loan of its port.

`connect` finds a broker that this program may trust, starts one where none is, and returns None where it has to be the
port itself: brokers are switched off, none can be started, or none may open this port. Called by transport and flash.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from heartwire import names
from heartwire.broker import access, places, wire
from heartwire.broker.turns import THINK_S
from heartwire.errors import (
    BoardNotFound,
    HeartwireError,
    NoAnswer,
    NotPermitted,
    PortBusy,
    PortLent,
    TurnLost,
    Unplugged,
    UsageProblem,
)
from heartwire_protocol import messages

# A broker answers at once; opening a port that another program has just given back, or a TCP connection, takes longer.
OPEN_S = 6.0
# A fence rather takes the port.
OPEN_URGENT_S = 2.0
# How long a program waits for its turn if it says nothing else, as with a port that takes no data.
TURN_S = 5.0
# Shorter than the broker keeps a turn for the next question.
GOES_ON_S = THINK_S / 2
# Where its type stands in a frame, behind the delimiter and the first code of COBS.
_TYPE_AT = 2
GONE = "the broker of this port has ended"
GONE_NEXT = "look at `heartwire status`, then repeat the command: the next program starts the broker again"


class BrokerChannel:
    """A board through a broker; `turn` before each request, as others ask it too."""

    def __init__(self, name: str, connection: socket.socket) -> None:
        self.name = name
        self.exposed = names.crosses_network(name)
        self._socket = connection
        self._has_turn = False
        self._kept = False
        self._goes_on_until = 0.0
        self._greeting = b""  # a hello that the board may not have got yet
        self._heard: list[bytes] = []

    def turn(self, operation: str, timeout_s: float) -> bool:
        """Wait for this program's turn to ask for `operation`; tell whether its session with the board still stands.

        Where it does not, hello must come first. Raises NoAnswer if the others do not let it, Unplugged.
        """
        self._greeting = b""
        began = time.monotonic()
        if began < self._goes_on_until:
            # Just answered: the turn goes on, and if it does not, the board never gets the frame.
            self._has_turn = self._kept = True
            return True
        deadline = began + timeout_s
        self._has_turn = False
        self._send(wire.WANT + operation.encode())
        while not self._has_turn:
            message = self._receive(deadline - time.monotonic())
            if message is None:
                raise NoAnswer(
                    f"{self.name}: other programs keep the board busy, no turn within {timeout_s:g} s",
                    "`heartwire broker status` shows them",
                )
            self._take(message)
        return self._kept

    def read(self, timeout_s: float) -> bytes:
        """Return what came; b"" after `timeout_s`. Raises TurnLost if the board never got the last request."""
        deadline = time.monotonic() + timeout_s
        while not self._heard:
            message = self._receive(deadline - time.monotonic())
            if message is None:
                return b""
            if self._take(message) == wire.LOST:
                self._has_turn = False
                self._goes_on_until = 0.0
                if not self._greeting:
                    raise TurnLost(f"{self.name}: another program was let before")
                greeting = self._greeting
                with contextlib.suppress(NoAnswer):
                    self.turn("", max(0.0, deadline - time.monotonic()))
                    self.write(greeting)
        self._goes_on_until = time.monotonic() + GOES_ON_S
        return self._heard.pop(0)

    def write(self, data: bytes) -> None:
        """Send one frame; a hello waits for its turn first. Raises Unplugged, NoAnswer."""
        is_hello = len(data) > _TYPE_AT and data[_TYPE_AT] == messages.HELLO
        if is_hello and not self._has_turn:
            self.turn("", TURN_S)
        self._send(wire.FRAME + data)
        self._greeting = data if is_hello else b""
        # An answer ends the turn of a request; a hello is followed by one.
        self._has_turn = self._has_turn and is_hello

    def close(self) -> None:
        """End the session. Never raises."""
        self._socket.close()

    def now(self) -> float:
        """Return seconds on a clock that only moves forward."""
        return time.monotonic()

    def _take(self, message: bytes) -> bytes:
        """Note what a message says; return its letter. Raises the errors that it carries."""
        letter = message[:1]
        if letter == wire.DATA:
            self._heard.append(message[1:])
        elif letter == wire.TURN:
            self._has_turn, self._kept = True, message == wire.KEPT
        elif letter in (wire.ERROR, wire.REFUSED):
            raise wire.error_of(message)
        return letter

    def _send(self, message: bytes) -> None:
        try:
            self._socket.send(message)
        except TimeoutError:
            raise NoAnswer(f"{self.name}: the broker takes no data", GONE_NEXT) from None
        except OSError:
            self._say_why()

    def _say_why(self) -> None:
        """Raise what the broker said before it ended the connection."""
        while (message := _receive(self._socket, 0.0, self.name)) is not None:
            self._take(message)
        raise Unplugged(f"{self.name}: {GONE}", GONE_NEXT)

    def _receive(self, timeout_s: float) -> bytes | None:
        return _receive(self._socket, timeout_s, self.name)


class Loan:
    """The port itself, for a program that cannot share it; others wait. Ends with `close`, or with this program."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._socket = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ended(self) -> bool:
        """Tell whether it is over though it was not given back: its broker has ended."""
        if self._socket is None:
            return False
        # With a timeout of its own a socket waits for that before it asks, MSG_DONTWAIT or not, and then raises.
        if not select.select([self._socket], [], [], 0)[0]:
            return False
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def close(self) -> None:
        """Give the port back. Never raises."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def connect(name: str, *, urgent: bool = False, others: bool = False) -> BrokerChannel | None:
    """Return a channel to the board at `name` through a broker, or None where it has to be the port.

    `urgent` goes before everybody else (a fence). `others`: look at other users' brokers, since the port is busy.
    Raises BoardNotFound, PortBusy and others as the port does.
    """
    connection = _admitted(name, {"urgent": urgent}, OPEN_URGENT_S if urgent else OPEN_S, others=others)
    return BrokerChannel(name, connection) if connection is not None else None


def borrow(name: str) -> Loan:
    """Have the port at `name` to oneself: whoever shares it through a broker loses it until the loan is over.

    A port that no broker has is free already, or in use by a program that knows none. Raises PortBusy.
    """
    try:
        connection = _admitted(name, {"lend": True}, OPEN_S, others=True)
    except BoardNotFound:
        connection = None
    return Loan(connection)


def states() -> Iterator[tuple[Path, dict[str, Any] | HeartwireError]]:
    """Yield each broker's socket on this machine and its state, or what it says instead."""
    for place in [*places.usual(), *places.others()]:
        connection = _dial(place)
        if connection is None:
            continue
        with connection:
            try:
                connection.send(wire.STATE)
                message = _receive(connection, OPEN_URGENT_S, str(place))
                if message is None:
                    raise NoAnswer(f"{place}: no answer from this broker", "end it; the next program starts another")
                if message[:1] != wire.TOLD:
                    raise wire.error_of(message)
                found: dict[str, Any] | HeartwireError = wire.state_of(message)
            except HeartwireError as error:
                found = error
            except ValueError:
                found = NoAnswer(f"{place}: the answer is no state of a broker of this version")
            except OSError:
                found = Unplugged(f"{place}: {GONE}", GONE_NEXT)
        yield place, found


def _admitted(name: str, wishes: dict[str, object], timeout_s: float, *, others: bool) -> socket.socket | None:
    """Return a connection to a broker that has opened (or lent) the port, or None if none does."""
    if not places.enabled():
        return None
    path = name if "://" in name else os.path.realpath(name)
    try:
        device = Path(path).stat() if "://" not in path else None
    except OSError:
        return None
    if device is not None and not access.is_terminal(device):
        return None
    numbers = [os.major(device.st_rdev), os.minor(device.st_rdev)] if device is not None else None
    request = wire.pack(
        wire.OPEN, {"v": wire.VERSION, "port": path, "device": numbers, "program": _program(), **wishes}
    )
    busy: HeartwireError | None = None
    for place in [*places.usual(device is None), *(places.others() if others else ())]:
        try:
            connection = _ask(place, request, name, path, timeout_s)
        except (NotPermitted, UsageProblem):
            continue  # this broker may not, or does not see this device; the next one, or the port, may
        except PortBusy as error:
            busy = error
            continue
        if connection is not None:
            return connection
    if isinstance(busy, PortLent):
        raise busy  # the port itself may be free for a moment, between two steps of the program that has it
    if busy is not None or others:
        return None
    listener = places.start()
    if listener is None:
        return None
    try:
        return _ask(listener, request, name, path, timeout_s)
    except (NotPermitted, UsageProblem, PortBusy):
        return None


def _ask(place: Path, request: bytes, name: str, path: str, timeout_s: float) -> socket.socket | None:
    """Ask the broker at `place` for the port; None if there is none, or none to be trusted, or it does not answer."""
    connection = _dial(place)
    if connection is None:
        return None
    try:
        if not _is_trusted(connection, path):
            connection.close()
            return None
        connection.send(request)
        message = _receive(connection, timeout_s, name)
    except (OSError, Unplugged):
        message = None
    except BaseException:
        connection.close()
        raise
    if message == wire.OPENED:
        return connection
    connection.close()
    if message is None:
        return None
    raise wire.error_of(message)


def _dial(place: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(TURN_S)
        connection.connect(str(place))
    except OSError:
        connection.close()
        return None
    return connection


def _is_trusted(connection: socket.socket, path: str) -> bool:
    """Tell whether the broker at the other end may open the port itself; any other could be anybody."""
    broker = access.caller_of(connection)
    if broker.uid in (0, os.geteuid()):
        return True
    return "://" not in path and access.may_use(broker, path)


def _receive(connection: socket.socket, timeout_s: float, name: str) -> bytes | None:
    """Return the next message, None if none came in time. Raises Unplugged."""
    try:
        if not select.select([connection], [], [], max(0.0, timeout_s))[0]:
            return None
        try:
            message = connection.recv(wire.ANSWER_MAX)
        except ConnectionResetError:
            # It ended without reading our last message; what it said before comes after this error.
            message = connection.recv(wire.ANSWER_MAX)
    except (OSError, ValueError):
        message = b""
    if not message:
        raise Unplugged(f"{name}: {GONE}", GONE_NEXT)
    return message


def _program() -> str:
    """Return what to call this program: its name and its command, never its arguments."""
    words = sys.orig_argv if sys.argv[:1] == ["-c"] else sys.argv
    name = Path(words[0]).name if words else "python"
    if name == "__main__.py":
        name = Path(words[0]).parent.name
    command = next((word for word in words[1:] if word.isalpha()), "") if name == "heartwire" else ""
    return f"{name} {command}".strip()
