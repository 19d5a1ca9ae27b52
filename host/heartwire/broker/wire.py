"""What programs and the broker say to each other: one message a packet of a Unix socket, a letter and what follows it.

    program to broker                            broker to program
      O  JSON: port, device, program, urgent       o  the port is open for you, or lent to you
      W  name of an operation: may I ask?          t  your turn; 1: your session still stands, 0: say hello first
      F  one frame for the board                   d  bytes from the board
      S  how are you?                              x  it was not your turn: the board did not get that frame
                                                   r  JSON: the broker will not pass that frame on
                                                   e  JSON: an error of heartwire.errors; the connection ends
                                                   s  JSON: state

No I/O. Used by server and client.
"""

from __future__ import annotations

import json
from typing import Any

from heartwire import bounded
from heartwire.errors import (
    BoardNotFound,
    HeartwireError,
    NoAnswer,
    NotPermitted,
    PortBusy,
    PortLent,
    Refused,
    Unplugged,
    UsageProblem,
)

VERSION = 1
OPEN, WANT, FRAME, STATE = b"O", b"W", b"F", b"S"
OPENED, TURN, DATA, LOST, REFUSED, ERROR, TOLD = b"o", b"t", b"d", b"x", b"r", b"e", b"s"
KEPT, ANEW = TURN + b"1", TURN + b"0"
# Longest message of a program: a frame of the host link takes 537 bytes, a path at most 4096.
MESSAGE_MAX = 5000
# Longest message of the broker: the state of all its sessions.
ANSWER_MAX = 65536
DATA_MAX = 4096
KINDS: dict[str, type[HeartwireError]] = {
    kind.__name__: kind
    for kind in (BoardNotFound, NoAnswer, NotPermitted, PortBusy, PortLent, Refused, Unplugged, UsageProblem)
}
# What members.state_of tells: the type of each field; a list holds any number of its one form.
_SESSION = {"program": str, "pid": int, "uid": int, "does": str, "requests": int, "urgent": bool}
_PORT = {"port": str, "state": str, "sessions": [_SESSION]}
_STATE = {"version": int, "pid": int, "uid": int, "ports": [_PORT]}


def pack(letter: bytes, body: dict[str, Any]) -> bytes:
    """Return a message with a JSON object."""
    return letter + json.dumps(body, separators=(",", ":")).encode()


def body_of(message: bytes) -> dict[str, Any]:
    """Return the JSON object of a message; ValueError if it holds none."""
    return bounded.load_object(message[1:], ANSWER_MAX)


def pack_error(error: HeartwireError, letter: bytes = ERROR) -> bytes:
    """Return the message that carries an error; one of a kind that is not known there goes as NoAnswer."""
    kind = type(error).__name__ if type(error).__name__ in KINDS else NoAnswer.__name__
    return pack(letter, {"kind": kind, "words": error.words, "next": error.next_step})


def error_of(message: bytes) -> HeartwireError:
    """Return the error that a message carries."""
    try:
        body = body_of(message)
    except ValueError:
        body = {}
    kind = KINDS.get(str(body.get("kind")), NoAnswer)
    next_step = body.get("next")
    words = printable(str(body.get("words") or "the broker gave up"))
    return kind(words, None if next_step is None else printable(str(next_step)))


def state_of(message: bytes) -> dict[str, Any]:
    """Return the state that a broker tells; ValueError if it is none. Another user's broker may say anything."""
    state: dict[str, Any] = _fitted(body_of(message), _STATE)
    return state


def printable(text: str) -> str:
    """Return a text with nothing in it that a terminal obeys."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _fitted(value: Any, form: Any) -> Any:
    """Return what `form` asks for of a JSON value; ValueError if something is missing, or of another type."""
    if isinstance(form, dict) and isinstance(value, dict):
        return {name: _fitted(value.get(name), part) for name, part in form.items()}
    if isinstance(form, list) and isinstance(value, list):
        return [_fitted(one, form[0]) for one in value]
    if type(value) is not form:
        raise ValueError("no state of a broker")
    return printable(value) if form is str else value
