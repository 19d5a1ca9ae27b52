"""What the input of a target is made of: brackets, numbers and words that a reader may trip over."""

from __future__ import annotations

import json
from typing import Any

from heartwire.agent.peer import BODY, MAGIC
from heartwire.monitor import peer
from heartwire_protocol import operations

JSON = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\0", b"null", b"true",
    b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"-0", b"1.5", b"{}\n", b"[]\n", b"[" * 200, b'{"a":' * 60, b'"' * 50,
    b"[" * 1500, b"[" * 1500 + b"\n",
)  # fmt: skip
HEADERS = (
    b"\r\n", b"\n", b":", b" ", b"\t", b"\0", b"\xff", b"\xb2", b"Content-Length: ", b"Content-Length: \xb2\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 99999999999\r\n", b"Content-Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: keep-alive\r\n", b"Host: a\r\n",
    b"X: " + b"y" * 900 + b"\r\n", b"X: 1\r\n" * 110, b"X-Heartwire-Nonce: " + b"00" * 16 + b"\r\n",
    b"X-Heartwire-Nonce: zz\r\n", b"X-Heartwire-Mac: \xe9\r\n",
)  # fmt: skip
HTTP = (
    *HEADERS, b"GET ", b"POST ", b"HEAD ", b"/metrics", peer.PATH.encode(), b" HTTP/1.1\r\n", b" HTTP/1.0\r\n",
    b" HTTP/9.9\r\n", b"GET /metrics HTTP/1.1\r\n", b"POST " + peer.PATH.encode() + b" HTTP/1.1\r\n",
    b"POST " + peer.PATH.encode() + b" HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
)  # fmt: skip
_PATHS = (b"/", b"/journal", b"/rack/rack-1", b"/why/1", b"/notifications", b"/notes", b"/static/style.css")
WEB = (
    *HTTP, b"Host: localhost\r\n", b"Cookie: heartwire_session=x\r\n", b"?since=", b"&until=", b"%00", b"%ff", b"\xb2",
    b"Transfer-Encoding: chunked\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n",
    b"Content-Type: application/x-www-form-urlencoded\r\n", b"ffffffff\r\n", b"0\r\n\r\n",
    *(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in _PATHS),
    *(b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n" for path in _PATHS),
)  # fmt: skip
PEER_HTTP = (
    *HTTP, *JSON, b'{"channel": "mail", "subjects": [], "claim": []}', b'"claim"', b'"subjects"', b'"channel"',
    b'"e' + b"0" * 22 + b'"', b'{"channel": [], "subjects": 1, "claim": {}}',
)  # fmt: skip
ANSWERS = (
    *HEADERS, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 \xb2\xb2\xb2\r\n", b"HTTP/1.0 500 x\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 302 x\r\nLocation: \r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b"HTTP/1.1 200 OK\r\nX-Heartwire-Mac: 00\r\n\r\n{}",
)  # fmt: skip
CONTROL = (
    *JSON, b'{"do": "fence", "target": "b", "seconds": 9}\n', b'{"do": "busy", "seconds": 60}\n', b'{"do": "status"}\n',
    b'{"do": "clear"}\n', b'"do"', b'"fence"', b'"busy"', b'"seconds"', b'"target"', b'"tool"',
)  # fmt: skip
EVENTS = (
    *JSON, b'{"after": 0, "count": 16}\n', b'{"after": 0, "count": 0}\n', b'{"after": 1073741823, "count": 1}\n',
    b'"after"', b'"count"', b'{"after": -1, "count": 99}\n', b'{"after": true, "count": 1.0}\n',
)  # fmt: skip
EVENT_ANSWERS = (
    *JSON, b'{"board_id": "X", "boot": ', b'"records": ["', b'"newest": ', b'"oldest_decision": ',
    b'{"board_id": "X", "boot": 1, "newest": 2, "records": ["00"]}\n',
)  # fmt: skip
LINE = (b"\0", b"\xff", bytes(64))
PEER_PACKET = (MAGIC, b"\0", b"\xff", bytes(8), BODY.pack(MAGIC, 1, 1, 0, 1, bytes(8), bytes(8)))
HOST = (b"\0", b"\xff", b"Traceback", b">>> ", *JSON)
BOARD = (
    b"\0", b"\xff", b"\x03", *JSON, *(b'{"op":"%s"}' % row[1].encode() for row in operations.OPERATIONS), b'"node":"a"',
    b'"seconds":', b'"after":',
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 1 << 40, 1.5, 1e308, "", "a", "\ud800", "x" * 90, [], [1], [1, 2], ["a", {}], {},
    {"a": []}, [[[[]]]],
)  # fmt: skip


def odd(data: bytes, names: list[str]) -> bytes:
    """Return a JSON object with some of `names` and odd values, as `data` chooses."""
    pairs = zip(data[::2], data[1::2], strict=False)
    return json.dumps({names[name % len(names)]: ODD[value % len(ODD)] for name, value in pairs}).encode()
