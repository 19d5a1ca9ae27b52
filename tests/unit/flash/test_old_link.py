"""A board of protocol version 1: everything says so and how to go on, and `heartwire flash` updates it."""

from __future__ import annotations

from typing import Any

import pytest

from heartwire import board_id
from heartwire.errors import NotAllowed, OtherBoard, ProtocolMismatch
from heartwire.flash import old_link
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire_protocol import auth, framing, messages
from tests.fakes.board import FakeBoard, MemoryChannel
from tests.unit.flash.conftest import CONFIGURE_KEY, NEW, OLD, World


class OldBoard(FakeBoard):
    """Speaks version 1 as long as `is_old`."""

    is_old = True

    def receive(self, data: bytes) -> bytes:
        out = super().receive(data)
        if not self.is_old:
            return out
        decoder, at, older = framing.Decoder(600), 0, b""
        while at < len(out):
            at = decoder.feed(out, at, len(out))
            payload = bytes(decoder.payload[: decoder.length])
            if decoder.message_type == messages.WELCOME:
                payload = b"\1" + payload[1:24]
            elif decoder.message_type == messages.RESPONSE:
                payload = payload[:4] + payload[12:]
            older += framing.encode(decoder.message_type, payload)
        return older

    def _signer_of(self, fields: dict[str, Any]) -> auth.Signer | None:
        key = self.keys.get(fields["right"])
        if not self.is_old or not key:
            return super()._signer_of(fields)
        signer = auth.Signer(bytes.fromhex(key))
        signed = bytes([fields["right"]]) + fields["number"].to_bytes(4, "little") + fields["body"]
        return signer if signer.mac(b"R", self._session, signed) == fields["mac"] else None


def test_an_ordinary_command_says_which_end_is_older_and_how_to_go_on() -> None:
    with pytest.raises(ProtocolMismatch) as caught:
        Link(MemoryChannel(OldBoard())).hello()
    assert "board speaks protocol version 1, this host speaks version 2" in caught.value.words
    assert "the board is older: `heartwire flash`" in caught.value.next_step


@pytest.mark.parametrize("held", [{}, {3: CONFIGURE_KEY}, {1: "11" * 32, 2: "22" * 32, 3: CONFIGURE_KEY}])
def test_an_update_speaks_version_1(held: dict[int, str]) -> None:
    board = OldBoard()
    if held:
        board.keys = {3: CONFIGURE_KEY}
    link = old_link.OldLink(MemoryChannel(board), Keys(held))
    assert link.hello().version == 1
    assert link.request("status").body["name"] == "rack-1"
    assert not link.signed
    assert link.request("repl", sign_with=3).body == {"ok": 1}
    assert board.rights[-1] == (3 if held else 0)


def test_a_wrong_key_is_told_as_ever() -> None:
    board = OldBoard()
    board.keys = {3: CONFIGURE_KEY}
    link = old_link.OldLink(MemoryChannel(board), Keys({3: "77" * 32}))
    link.hello()
    with pytest.raises(NotAllowed):
        link.request("repl", sign_with=3)


def test_it_speaks_to_no_other_version() -> None:
    with pytest.raises(ProtocolMismatch):
        old_link.OldLink(MemoryChannel(FakeBoard())).hello()


def test_no_other_board_than_the_one_of_the_environment_is_updated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(board_id.ENVIRONMENT, "1" * 16)
    world.link = OldBoard()
    world.guard()
    with pytest.raises(OtherBoard):
        world.flash()
    assert not world.asked
    assert world.link.rights == []


def test_flash_brings_it_up_to_date(world: World) -> None:
    before = world.link
    world.link = OldBoard()
    world.link.__dict__.update(before.__dict__)
    world.guard()
    stand = world._stand

    def stood(where: str) -> None:
        stand(where)
        assert isinstance(world.link, OldBoard)
        world.link.is_old = world.firmware == OLD

    world._stand = stood  # type: ignore[method-assign]
    assert world.flash().after == NEW
