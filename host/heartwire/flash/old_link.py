"""The host link of protocol version 1, as far as an update of such a board needs it: requests signed, answers not.

Only `heartwire flash` and `heartwire shell` speak it, and only over the board's own USB port: everything else asks for
an update first. Called by update.
"""

from __future__ import annotations

from typing import Any

from heartwire.keys import Keys
from heartwire.link import DEFAULT_TIMEOUT_S, HOST_RIGHTS, NO_MAC, Link, Welcome
from heartwire.refusals import Reply
from heartwire.transport import Channel
from heartwire_protocol import auth, codes, messages
from heartwire_protocol.messages import Layout

VERSION = 1
_WELCOME = (("version", "u8"), ("tables", "b4"), ("session", "b8"), ("board_id", "b8"), ("boot", "u24"))
_RESPONSE = (("number", "u32"), ("body", "tail"))
# It has no word for which keys it has: as if it had all, the ones that are held are tried.
ALL_KEYS = 0b1110


class OldLink(Link):
    """One conversation with a board of version 1."""

    versions = (VERSION,)

    def __init__(
        self, channel: Channel, keys: Keys | None = None, timeout_s: float = DEFAULT_TIMEOUT_S, board_id: str = ""
    ) -> None:
        super().__init__(channel, keys, timeout_s, board_id)
        for kind, fields in ((messages.WELCOME, _WELCOME), (messages.RESPONSE, _RESPONSE)):
            self._layouts[kind] = Layout((kind, "of version 1", "", "", fields, ""))

    @property
    def signed(self) -> bool:
        return False

    def _welcomed(self, fields: dict[str, Any]) -> Welcome:
        return super()._welcomed({**fields, "keys": ALL_KEYS})

    def _request(self, key: tuple[int, auth.Signer] | None, number: int, body: bytes) -> bytes:
        right, signer = key or (codes.RIGHT_NONE, None)
        counted = number.to_bytes(4, "little")
        mac = NO_MAC if signer is None else signer.mac(b"R", self.welcome.session, bytes([right]), counted, body)
        return self._layouts[messages.REQUEST].pack(right=right, number=number, mac=mac, body=body)

    def _ask_anew(self, right: int, sign_with: int, body: bytes) -> Reply | None:
        # A board without a key of a right takes its requests unsigned; which keys it has only its refusal tells.
        held = [one for one in HOST_RIGHTS if self.keys.key(one)]
        least = max(right, sign_with)
        for one in [*(one for one in held if one >= least), *(one for one in reversed(held) if one < least), 0]:
            reply = self._ask(self.keys.signer(one) if one else None, body)
            if reply is None or reply.body.get("error") != "bad_mac":
                break
        return reply

    def _is_authentic(self, *_: object) -> bool:
        return True
