"""JSON that somebody else wrote: small, shallow, and whatever it holds, a value or a ValueError.

What reads a socket calls this instead of json: a reader that a thousand opening brackets end can be ended by anybody
who reaches it. Used by the agent's and the monitor's sockets, the host link and the prompt. No I/O.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Nothing that Heartwire says is nested deeper than a list of objects in an object.
DEPTH_MAX = 16
# A string, also one without an end, or a bracket: each byte is looked at once.
_PARTS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.S)


def load(data: bytes, size_max: int) -> Any:
    """Return the JSON value in `data`. Raises ValueError: longer than `size_max` bytes, nested too deep, no JSON."""
    if len(data) > size_max:
        raise ValueError(f"longer than {size_max} bytes")
    depth = 0
    for part in _PARTS.finditer(data):
        byte = part[0][:1]
        depth += (byte in b"[{") - (byte in b"]}")
        if depth > DEPTH_MAX:
            raise ValueError(f"nested deeper than {DEPTH_MAX}")
    # As UTF-8, as which the parts were found: json takes UTF-16 too, in which a bracket can seem to stand in a text.
    return json.loads(data.decode(), parse_constant=_refuse)


def load_object(data: bytes, size_max: int) -> dict[str, Any]:
    """Return the JSON object in `data`. Raises ValueError as `load`, and for any other value."""
    value = load(data, size_max)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
