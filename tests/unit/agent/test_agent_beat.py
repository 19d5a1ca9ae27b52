"""Heartbeats and grants on the wire: schedule, sequences, signatures, and what is not accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartwire.agent.beat import RING, HeartbeatBuilder, Incarnation, Report, Schedule
from heartwire.agent.grants import GrantReader, Refusal
from heartwire.agent.lease import Grant
from heartwire_protocol import codes, framing, messages
from heartwire_protocol.auth import Signer
from tests.unit.agent.agent_fakes import ACTIVE, KEY, FakeBoard, FakePort, ms


def decode(frame: memoryview | bytes) -> tuple[int, bytes]:
    decoder = framing.Decoder(64)
    decoder.feed(frame, 0, len(frame))
    assert decoder.ready
    return decoder.message_type, bytes(decoder.payload[: decoder.length])


def test_the_schedule_does_not_drift() -> None:
    schedule = Schedule(ms(1000), ms(500))
    for beat in range(5):
        assert not schedule.due(ms(499 + 1000 * beat))
        schedule.sent(ms(500 + 1000 * beat + 7 * beat))
    assert schedule.next_ns == ms(5500)
    assert schedule.skipped == 0


def test_after_a_pause_there_is_no_burst() -> None:
    schedule = Schedule(ms(1000), 0)
    schedule.sent(0)
    schedule.sent(ms(30_200))
    assert schedule.next_ns == ms(31_000)
    assert schedule.skipped == 29


@given(st.lists(st.integers(0, 5_000), max_size=50))
def test_two_beats_are_never_closer_than_half_an_interval(delays: list[int]) -> None:
    schedule = Schedule(ms(1000), 0)
    now = -ms(1000)
    for delay in delays:
        sent = schedule.next_ns + ms(delay)
        assert (sent - now) * 2 >= ms(1000)
        assert schedule.next_ns % ms(1000) == 0
        now = sent
        schedule.sent(now)
        assert now < schedule.next_ns <= now + ms(1500)


def test_a_heartbeat_says_what_was_reported() -> None:
    board = FakeBoard()
    incarnation = Incarnation()
    builder = HeartbeatBuilder(codes.NODE_A, Signer(KEY))
    report = Report(codes.STATE_BUSY, True, False, True, False, 77, 1200)
    frame = builder.build(incarnation, incarnation.next_sequence(1), report)
    assert len(frame) <= messages.HOT_FRAME_MAX
    board.hear(bytes(frame), FakePort(board))
    beat = board.beats[0]
    assert beat["right"]
    assert (beat["node_state"], beat["epoch"], beat["busy_s"], beat["sequence"]) == (codes.STATE_BUSY << 2, 77, 1200, 1)
    assert beat["flags"] == messages.FLAG_RUNNING | messages.FLAG_WATCHDOG_ARMED | messages.FLAG_PEER_KNOWN


@pytest.mark.parametrize("key", [KEY, None])
@pytest.mark.parametrize("challenge", [b"\x10\x02\x03\x04", b"\x11\x02\x03\x04"])
def test_a_challenge_is_answered_once_known(key: bytes | None, challenge: bytes) -> None:
    board = FakeBoard(key=key)
    board.challenge = challenge
    incarnation = Incarnation()
    builder = HeartbeatBuilder(codes.NODE_A, Signer(key) if key else None)
    port = FakePort(board)
    for _ in range(2):
        board.hear(bytes(builder.build(incarnation, incarnation.next_sequence(1), Report())), port)
        incarnation.challenge = challenge
    assert [beat["right"] for beat in board.beats] == [True, True]
    assert not board.beats[0]["flags"] & messages.FLAG_ANSWERED
    assert board.beats[1]["flags"] & messages.FLAG_ANSWERED
    assert bool(board.beats[1]["flags"] & messages.FLAG_CHALLENGE_ODD) == bool(challenge[0] & 1)


def test_each_incarnation_is_new() -> None:
    numbers = {Incarnation().number for _ in range(200)}
    assert len(numbers) == 200
    assert all(0 < number < codes.INT_LIMIT for number in numbers)


def test_the_last_sequence_is_the_last() -> None:
    incarnation = Incarnation(1)
    incarnation.sequence = codes.COUNT_MAX
    with pytest.raises(OverflowError):
        incarnation.next_sequence(0)


def answered(board: FakeBoard, incarnation: Incarnation, sequence: int) -> tuple[int, bytes]:
    return decode(board.grant(incarnation.number, sequence, 8000))


def sender(beats: int) -> tuple[FakeBoard, Incarnation]:
    board = FakeBoard()
    board.role = ACTIVE
    incarnation = Incarnation()
    for _ in range(beats):
        incarnation.next_sequence(ms(incarnation.sequence + 1))
    return board, incarnation


def test_a_grant_carries_the_time_of_its_heartbeat() -> None:
    board, incarnation = sender(3)
    got = GrantReader(0, Signer(KEY)).read(*answered(board, incarnation, 2), incarnation)
    assert got == Grant(2, ms(2), ACTIVE, 0, 1, 8000)
    assert incarnation.challenge == board.challenge


def test_grants_never_go_backwards() -> None:
    board, incarnation = sender(3)
    reader = GrantReader(0, Signer(KEY))
    assert isinstance(reader.read(*answered(board, incarnation, 3), incarnation), Grant)
    # The newest heartbeat may be answered again; lease.py decides what that grant may do.
    assert isinstance(reader.read(*answered(board, incarnation, 3), incarnation), Grant)
    for sequence in (2, 1):
        assert reader.read(*answered(board, incarnation, sequence), incarnation) is Refusal.UNKNOWN_HEARTBEAT
    assert reader.refused[Refusal.UNKNOWN_HEARTBEAT] == 2


@pytest.mark.parametrize("sequence", [0, 4, 5, 0xFFFF])
def test_a_grant_for_a_heartbeat_never_sent_is_refused(sequence: int) -> None:
    board, incarnation = sender(3)
    reader = GrantReader(0, Signer(KEY))
    assert reader.read(*answered(board, incarnation, sequence), incarnation) is Refusal.UNKNOWN_HEARTBEAT


def test_a_grant_too_old_for_the_ring_is_refused_and_16_bits_wrap_rightly() -> None:
    board, incarnation = sender(0)
    incarnation.sequence = 0xFFFE
    for _ in range(RING + 1):
        incarnation.next_sequence(ms(incarnation.sequence + 1))
    reader = GrantReader(0, Signer(KEY))
    assert reader.read(*answered(board, incarnation, 0xFFFF), incarnation) is Refusal.UNKNOWN_HEARTBEAT
    got = reader.read(*answered(board, incarnation, 0x10000), incarnation)
    assert isinstance(got, Grant) and (got.sequence, got.sent_ns) == (0x10000, ms(0x10000))


def test_a_grant_for_another_incarnation_node_or_key_is_refused() -> None:
    board, incarnation = sender(3)
    other = Incarnation()
    for key in (KEY, None):
        board.signer = Signer(key) if key else None
        reader = GrantReader(0, board.signer)
        assert reader.read(*answered(board, other, 2), incarnation) is Refusal.WRONG_MAC
        # Same low 16 bits, another sequence: only the signature tells.
        assert reader.read(*answered(board, incarnation, 2 + 0x10000), incarnation) is Refusal.WRONG_MAC
    reader = GrantReader(0, Signer(KEY))
    board.signer = Signer(bytes(32))
    assert reader.read(*answered(board, incarnation, 2), incarnation) is Refusal.WRONG_MAC
    board.node = 1
    assert reader.read(*answered(board, incarnation, 2), incarnation) is Refusal.WRONG_NODE
    assert incarnation.challenge is None
    assert incarnation.newest_answered == 0


@given(st.integers(0, 25), st.integers(1, 255))
def test_no_changed_byte_is_accepted(at: int, difference: int) -> None:
    board, incarnation = sender(3)
    message_type, payload = answered(board, incarnation, 2)
    changed = bytearray(payload)
    changed[at % len(changed)] ^= difference
    assert isinstance(GrantReader(0, Signer(KEY)).read(message_type, bytes(changed), incarnation), Refusal)


@given(st.integers(0, 255), st.binary(max_size=40))
def test_any_payload_is_taken_without_an_error(message_type: int, payload: bytes) -> None:
    _, incarnation = sender(3)
    assert isinstance(GrantReader(0, Signer(KEY)).read(message_type, payload, incarnation), Refusal)
