"""Frames of the host link for tests that do not care what is in them."""

from __future__ import annotations

import json
from typing import Any

from heartwire_protocol import framing, messages


def frame(kind: int, tail: bytes = b"", **values: Any) -> bytes:
    """Return a frame whose fields are zero but for `values`."""
    layout = messages.layout_of(kind)
    widths = {"b4": 4, "b8": 8}
    fields: dict[str, Any] = {
        name: tail if layout_kind == "tail" else bytes(widths.get(layout_kind, 0)) if layout_kind in widths else 0
        for name, layout_kind, _ in next(row for row in messages.MESSAGES if row[0] == kind)[4]
    }
    return framing.encode(kind, layout.pack(**{**fields, **values}))


def hello() -> bytes:
    """Return a hello."""
    return frame(messages.HELLO, version=messages.PROTOCOL_VERSION)


def welcome() -> bytes:
    """Return the board's answer to it."""
    return frame(messages.WELCOME, version=messages.PROTOCOL_VERSION)


def request(operation: str, number: int = 1) -> bytes:
    """Return a request."""
    return frame(messages.REQUEST, json.dumps({"op": operation}).encode(), number=number)


def response(number: int = 1) -> bytes:
    """Return an answer."""
    return frame(messages.RESPONSE, b"{}", number=number)


def event() -> bytes:
    """Return a record on its way."""
    return frame(messages.EVENT, bytes(messages.RECORD_LENGTH))
