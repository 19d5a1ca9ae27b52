"""The host link against a fake board in memory: sessions, signatures, garbage, silence, retries."""

import pytest

from heartwire.errors import (
    BadConfig,
    NoAnswer,
    NotAllowed,
    NotAuthentic,
    OutcomeUnknown,
    ProtocolMismatch,
    Refused,
    StorageProblem,
    Unplugged,
)
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire_protocol import events, framing, messages
from tests.fakes.board import BOARD_ID, FakeBoard, MemoryChannel

VIEW, OPERATE, CONFIGURE = "11" * 32, "22" * 32, "33" * 32


def connect(board: FakeBoard, keys: Keys | None = None, **options: int) -> Link:
    link = Link(MemoryChannel(board, **options), keys, timeout_s=5)
    link.hello()
    return link


def test_hello_tells_who_the_board_is() -> None:
    welcome = connect(FakeBoard()).welcome
    assert (welcome.board_id, welcome.boot, welcome.version) == (BOARD_ID.hex().upper(), 3, messages.PROTOCOL_VERSION)


@pytest.mark.parametrize(("version", "older"), [(1, "the board is older"), (3, "this host is older")])
def test_another_version_names_both_sides_and_the_next_step(version: int, older: str) -> None:
    board = FakeBoard()
    board.version = version
    with pytest.raises(ProtocolMismatch) as caught:
        connect(board)
    assert f"board speaks protocol version {version}" in caught.value.words
    assert f"host speaks version {messages.PROTOCOL_VERSION}" in caught.value.words
    assert caught.value.next_step.startswith(older)


def test_a_welcome_of_another_length_is_a_version_mismatch_too() -> None:
    board = FakeBoard()
    board.receive = lambda data: framing.encode(messages.WELCOME, bytes([9]) + bytes(40))  # type: ignore[method-assign]
    with pytest.raises(ProtocolMismatch, match="version 9"):
        connect(board)


def test_other_tables_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heartwire.link.TABLE_HASH", b"\1\2\3\4")
    board = FakeBoard()
    board.tables = b"\5\6\7\x08"
    link = connect(board)
    assert "05060708" in link.limited
    assert "01020304" in link.limited


def test_same_tables_are_no_warning() -> None:
    assert connect(FakeBoard()).limited == ""


def test_a_silent_port_is_no_answer_after_the_timeout() -> None:
    board = FakeBoard()
    board.silent = True
    channel = MemoryChannel(board)
    with pytest.raises(NoAnswer, match="no answer within 5 s"):
        Link(channel, timeout_s=5).hello()
    assert channel.time == pytest.approx(1005, abs=0.1)


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (b"\r\nMicroPython v1.24 on 2030-01-01; Raspberry Pi Pico\r\n>>> ", "Heartwire does not run on it"),
        (b"Traceback (most recent call last):\r\n  File\r\nMemoryError: \r\n", "does not start: MemoryError"),
        (b"$GPGGA,123519,4807.038,N\r\n", "no Heartwire board"),
    ],
)
def test_what_talks_instead_is_told(noise: bytes, words: str) -> None:
    board = FakeBoard()
    board.receive = lambda data: noise  # type: ignore[method-assign]
    with pytest.raises(NoAnswer, match=words):
        connect(board)


@pytest.mark.parametrize("said", [b"", b"Traceback (most recent call last):\r\n  File\r\nValueError: no\r\n"])
def test_a_board_that_restarts_again_and_again_is_not_said_to_guard(said: bytes) -> None:
    board = FakeBoard()
    answers = iter([said])

    def gone(data: bytes) -> bytes:
        for answer in answers:
            return answer
        raise Unplugged("gone")

    board.receive = gone  # type: ignore[method-assign]
    with pytest.raises(NoAnswer if said else Unplugged) as found:
        connect(board)
    assert ("guarding" in found.value.next_step) is not bool(said)
    assert ("key switch" in found.value.next_step) is bool(said)


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_garbage_before_and_between_frames_costs_only_itself(chunk: int) -> None:
    board = FakeBoard()
    board.noise_before = b"\x17garbage\xff\0\0\x05half" + bytes(range(1, 200))
    link = connect(board, chunk=chunk)
    assert link.request("status").body["name"] == "rack-1"
    assert sum(link.drops.values()) > 0


def test_a_flood_of_noise_and_mutated_frames_is_counted_and_survived() -> None:
    import random

    chance = random.Random(1)
    board = FakeBoard()
    channel = MemoryChannel(board)
    link = Link(channel)
    link.hello()
    good = framing.encode(
        messages.RESPONSE, messages.layout_of(messages.RESPONSE).pack(number=1, mac=bytes(8), body=b'{"x":1}' * 9)
    )
    flood = bytearray(chance.randbytes(50_000))
    for _ in range(500):
        mutated = bytearray(good)
        mutated[chance.randrange(1, len(mutated) - 1)] ^= 1 << chance.randrange(8)
        flood += mutated
    channel.waiting = bytes(flood)
    assert link.request("status").body["name"] == "rack-1"
    assert sum(link.drops.values()) >= 500
    assert len(link._noise) <= 512


def test_a_frame_damaged_on_the_way_is_asked_for_again() -> None:
    board = FakeBoard()
    channel = MemoryChannel(board)
    link = Link(channel)
    link.hello()
    send = board.receive
    damaged = iter([True])

    def receive(data: bytes) -> bytes:
        answer = send(data)
        return answer.replace(b"rack", b"r\0ck") if next(damaged, False) else answer

    board.receive = receive  # type: ignore[method-assign]
    assert link.request("status").body["name"] == "rack-1"


def test_a_frame_of_unknown_type_and_a_short_event_are_dropped() -> None:
    board = FakeBoard()
    board.noise_before = framing.encode(0x70, b"later") + framing.encode(messages.EVENT, b"short")
    link = connect(board)
    link.request("status")
    assert {"unknown_type", "wrong_length"} <= set(link.drops)


def test_events_come_with_the_response() -> None:
    board = FakeBoard()
    for _ in range(3):
        board.log(events.BOOT)
    reply = connect(board).request("log", after=1, count=16)
    assert reply.records == tuple(board.records[1:])


def test_an_idempotent_request_is_repeated_twice_with_new_numbers() -> None:
    board = FakeBoard()
    link = connect(board)
    board.silent_for = ["status", "status"]
    assert link.request("status").body["mode"] == "auto"
    assert [body["op"] for body in board.asked] == ["status"] * 3


def test_then_it_gives_up() -> None:
    board = FakeBoard()
    link = connect(board)
    board.silent_for = ["status"] * 3
    with pytest.raises(NoAnswer, match="3 tries"):
        link.request("status")


def test_a_fence_is_never_repeated() -> None:
    board = FakeBoard()
    link = connect(board)
    board.silent_for = ["fence"]
    with pytest.raises(OutcomeUnknown) as caught:
        link.request("fence", node="a", last=0)
    assert len(board.asked) == 1
    assert "heartwire status" in caught.value.next_step


def test_the_late_answer_to_a_request_given_up_is_not_taken_for_the_next() -> None:
    board = FakeBoard()
    channel = MemoryChannel(board)
    link = Link(channel)
    link.hello()
    board.script["fence"] = {"ok": 1}
    board.silent_for = ["fence"]
    with pytest.raises(OutcomeUnknown):
        link.request("fence", node="a")
    late = messages.layout_of(messages.RESPONSE).pack(number=1, mac=bytes(8), body=b'{"late":1}')
    channel.waiting = framing.encode(messages.RESPONSE, late)
    assert "late" not in link.request("status").body


def test_busy_is_asked_again_within_the_timeout_even_for_a_fence() -> None:
    board = FakeBoard()
    answers = iter([{"error": "busy"}, {"error": "busy"}, {"ok": "1"}])
    board.script["fence"] = lambda body: next(answers)
    assert connect(board).request("fence", node="a").body == {"ok": "1"}


def test_busy_for_ever_is_refused() -> None:
    board = FakeBoard()
    board.script["fence"] = {"error": "busy"}
    with pytest.raises(Refused) as caught:
        connect(board).request("fence", node="a")
    assert caught.value.code == "busy"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": "refused", "reason": "last_powered"}, Refused),
        ({"error": "bad_argument"}, Refused),
        ({"error": "not_allowed"}, NotAllowed),
        ({"error": "bad_mac"}, NotAllowed),
        ({"error": "bad_settings", "path": "board.dead_ms", "rule": "too small"}, BadConfig),
        ({"error": "storage"}, StorageProblem),
        ({"error": "unknown_operation"}, ProtocolMismatch),
        ({"error": "something_new"}, Refused),
    ],
)
def test_each_error_code_has_its_kind(answer: dict[str, object], kind: type[Exception]) -> None:
    board = FakeBoard()
    board.script["fence"] = answer
    with pytest.raises(kind):
        connect(board).request("fence", node="a")


def test_an_answer_that_is_no_object_is_a_mismatch() -> None:
    board = FakeBoard()
    board.script["status"] = [1]  # type: ignore[assignment]
    with pytest.raises(ProtocolMismatch):
        connect(board).request("status")


def test_unplugged_in_the_middle() -> None:
    board = FakeBoard()
    channel = MemoryChannel(board)
    link = Link(channel)
    link.hello()
    board.before_answer = lambda op: setattr(channel, "unplugged", True)
    with pytest.raises(Unplugged):
        link.request("fence", node="a")


def test_the_smallest_right_that_is_enough_signs() -> None:
    board = FakeBoard()
    board.keys = {1: VIEW, 2: OPERATE, 3: CONFIGURE}
    link = connect(board, Keys(board.keys))
    link.request("status")
    link.request("fence", node="a")
    link.request("restart")
    link.request("mode", sign_with=3, mode="auto")
    assert board.rights == [1, 2, 3, 3]


def test_a_higher_key_covers_lower_rights() -> None:
    board = FakeBoard()
    board.keys = {1: VIEW, 3: CONFIGURE}
    assert connect(board, Keys({3: CONFIGURE})).request("status").body["name"] == "rack-1"


def test_without_a_key_a_keyed_board_says_no() -> None:
    board = FakeBoard()
    board.keys = {2: OPERATE}
    with pytest.raises(NotAllowed, match="operate key"):
        connect(board).request("fence", node="a")


def test_the_wrong_key_is_not_allowed_and_names_no_key() -> None:
    board = FakeBoard()
    board.keys = {2: OPERATE}
    with pytest.raises(NotAllowed) as caught:
        connect(board, Keys({2: VIEW})).request("fence", node="a")
    assert VIEW not in str(vars(caught.value))


def test_a_board_without_the_key_proves_nothing() -> None:
    board = FakeBoard()
    with pytest.raises(NotAuthentic, match="has no keys"):
        connect(board, Keys({2: OPERATE})).request("fence", node="a")
    board.keys = {3: CONFIGURE}
    with pytest.raises(NotAuthentic, match="it has configure"):
        connect(board, Keys({2: OPERATE})).request("status")
    assert board.asked == []


def test_a_key_that_the_board_has_signs_in_place_of_one_that_it_has_not() -> None:
    board = FakeBoard()
    board.keys = {2: OPERATE}
    link = connect(board, Keys({1: VIEW, 2: OPERATE, 3: CONFIGURE}))
    for op in ("status", "fence", "restart"):
        link.request(op, node="a")
    assert board.rights == [2, 2, 2]


def test_a_board_that_restarted_gets_a_new_session() -> None:
    board = FakeBoard()
    board.keys = {1: VIEW}
    link = connect(board, Keys({1: VIEW}))
    board.restart()
    assert link.request("status").body["name"] == "rack-1"
    assert link.welcome.boot == 4


def test_a_request_longer_than_the_contract_is_refused_here() -> None:
    from heartwire.errors import UsageProblem

    with pytest.raises(UsageProblem, match="512"):
        connect(FakeBoard()).request("settings_put", offset=0, text="x" * 600)


def test_an_argument_that_the_board_refuses_is_told_with_its_limits() -> None:
    board = FakeBoard()
    board.script["proof"] = {"error": "bad_argument", "argument": "seconds"}
    with pytest.raises(Refused, match=r"proof: seconds must be 1 to 10 \(without power\)"):
        connect(board).request("proof", node="a", seconds=11)


def test_hello_types_nothing_into_a_prompt_but_enter_and_letters() -> None:
    board = FakeBoard()
    sent: list[bytes] = []
    receive = board.receive
    board.receive = lambda data: (sent.append(data), receive(data))[1]  # type: ignore[method-assign,func-returns-value]
    nonces = set()
    for _ in range(200):
        connect(board)
        nonces.add(sent[-1][4:12])
        assert sent[-1][:4] == b"\x00\x0d\x10\x02" and min(sent[-1][4:-1]) >= 32
    assert len(nonces) == 200
