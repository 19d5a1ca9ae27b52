"""What may answer at a board's address instead of the board: each wants to be believed, and none may be.

All are made of fakes.board.FakeBoard and speak right frames. `KINDS` maps a name to what makes one and the exit code
that a command ends with when it holds the real board's keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heartwire.errors import HeartwireError, NotAllowed, NotAuthentic, OtherBoard
from heartwire_protocol import auth, codes, framing, messages
from tests.fakes.board import BOARD_ID, FakeBoard, node_body

KEYS = {1: "11" * 32, 2: "22" * 32, 3: "33" * 32}
OTHER_ID = bytes.fromhex("E66118604B5C4AFF")
RESPONSE = messages.layout_of(messages.RESPONSE)
WELCOME = messages.layout_of(messages.WELCOME)


def tempting(board: FakeBoard) -> FakeBoard:
    """Let `board` say what a command hopes for: a is off, all is done."""
    board.node_bodies["a"] = node_body("a", fence="proven", power="off", relay=1, role="quarantined")
    board.status["mode"] = "fencer"
    for op in ("fence", "release", "clear", "switchover"):
        board.script[op] = {"ok": 1}
    return board


class Unsigned(FakeBoard):
    """Has no keys and says that it has them."""

    def _frame(self, kind: int, payload: bytes) -> bytes:
        self.keys = dict(KEYS) if kind == messages.HELLO else {}
        return super()._frame(kind, payload)

    def _signer_of(self, fields: dict[str, Any]) -> auth.Signer | None:
        return None

    def _denial(self, fields: dict[str, Any], op: str, signer: auth.Signer | None) -> dict[str, Any] | None:
        return None


class OwnKey(Unsigned):
    """Takes everything, and signs with a key of its own."""

    def _signer_of(self, fields: dict[str, Any]) -> auth.Signer | None:
        return auth.Signer(bytes(32))


class Relay(FakeBoard):
    """Sits before a real board; `altered` changes each frame that comes from it."""

    def __init__(self, altered: Callable[[int, dict[str, Any]], dict[str, Any] | None]) -> None:
        super().__init__()
        self.real = tempting(FakeBoard())
        self.real.keys = dict(KEYS)
        self._altered = altered
        self._inner = framing.Decoder(600)

    def receive(self, data: bytes) -> bytes:
        out = b""
        found = self.real.receive(data)
        at = 0
        while at < len(found):
            at = self._inner.feed(found, at, len(found))
            if not self._inner.ready:
                continue
            kind = self._inner.message_type
            layout = messages.layout_of(kind)
            fields = self._altered(kind, layout.unpack(bytes(self._inner.payload[: self._inner.length])))
            if fields is not None:
                out += framing.encode(kind, layout.pack(**fields))
        return out


def replaying() -> FakeBoard:
    """Return a relay that answers with what was recorded of an older conversation, numbers put right."""
    recorded: list[dict[str, Any]] = []

    def altered(kind: int, fields: dict[str, Any]) -> dict[str, Any]:
        if kind == messages.RESPONSE:
            recorded.append(fields)
            fields = {**recorded[0], "number": fields["number"]}
        return fields

    board = Relay(altered)
    # The older conversation: the same question, asked by somebody with the keys.
    nonce = bytes(8)
    board.receive(framing.encode(messages.HELLO, bytes([messages.PROTOCOL_VERSION]) + nonce))
    binding = nonce + board.real._session + board.real.board_id
    body = b'{"op":"status"}'
    mac = auth.request_mac(auth.Signer(bytes.fromhex(KEYS[1])), binding, 1, 1, body)
    request = messages.layout_of(messages.REQUEST).pack(right=1, number=1, mac=mac, body=body)
    board.receive(framing.encode(messages.REQUEST, request))
    assert recorded, "nothing was recorded"
    return board


def one_behind() -> FakeBoard:
    """Return a relay that answers each request with the answer to the one before."""
    kept: list[dict[str, Any]] = []

    def altered(kind: int, fields: dict[str, Any]) -> dict[str, Any]:
        if kind == messages.RESPONSE:
            kept.append(fields)
            fields = {**kept[max(0, len(kept) - 2)], "number": fields["number"]} if len(kept) > 1 else {
                **fields, "body": b'{"ok":1}'
            }  # fmt: skip
        return fields

    return Relay(altered)


def cutting() -> FakeBoard:
    """Return a relay that leaves out records, and the end of what an answer says."""

    def altered(kind: int, fields: dict[str, Any]) -> dict[str, Any] | None:
        if kind == messages.EVENT:
            return None
        if kind == messages.RESPONSE:
            return {**fields, "body": fields["body"].rpartition(b",")[0] + b"}" if b"," in fields["body"] else b"{}"}
        return fields

    return Relay(altered)


def lying_about_its_id() -> FakeBoard:
    """Return a relay to another board that takes the same keys, under the id that is wanted."""

    def altered(kind: int, fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "board_id": BOARD_ID} if kind == messages.WELCOME else fields

    board = Relay(altered)
    board.real.board_id = OTHER_ID
    return board


def another() -> FakeBoard:
    """Return another board that takes the same keys."""
    board = tempting(FakeBoard())
    board.keys, board.board_id = dict(KEYS), OTHER_ID
    return board


def of_other_keys() -> FakeBoard:
    """Return a board of somebody else."""
    board = tempting(FakeBoard())
    board.keys = dict.fromkeys(KEYS, "77" * 32)
    return board


def saying_that_the_key_is_wrong() -> FakeBoard:
    """Return a relay that answers everything with the one error that nobody can sign, and hides that it was done."""

    def altered(kind: int, fields: dict[str, Any]) -> dict[str, Any]:
        wrong = {"mac": bytes(8), "body": b'{"error":"bad_mac"}'}
        return {**fields, **wrong} if kind == messages.RESPONSE else fields

    return Relay(altered)


def injecting_errors() -> FakeBoard:
    """Return a relay that answers everything with an unsigned refusal."""

    def altered(kind: int, fields: dict[str, Any]) -> dict[str, Any]:
        wrong = {"mac": bytes(8), "body": b'{"error":"refused","reason":"unknown_node"}'}
        return {**fields, **wrong} if kind == messages.RESPONSE else fields

    return Relay(altered)


KINDS: dict[str, tuple[Callable[[], FakeBoard], type[HeartwireError]]] = {
    "keyless": (lambda: tempting(FakeBoard()), NotAuthentic),
    "unsigned": (lambda: tempting(Unsigned()), NotAuthentic),
    "own key": (lambda: tempting(OwnKey()), NotAuthentic),
    "replayed": (replaying, NotAuthentic),
    "one behind": (one_behind, NotAuthentic),
    "cut": (cutting, NotAuthentic),
    "refusals": (injecting_errors, NotAuthentic),
    "another board": (another, OtherBoard),
    "under a false id": (lying_about_its_id, NotAllowed),
    "other keys": (of_other_keys, NotAllowed),
    "key refused": (saying_that_the_key_is_wrong, NotAllowed),
}
RIGHTS = tuple(codes.RIGHTS[right] for right in sorted(KEYS))
