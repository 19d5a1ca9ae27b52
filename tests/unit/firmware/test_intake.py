"""What never counts as a good heartbeat, and what noise does to the board: nothing."""

from __future__ import annotations

import random

import pytest

from heartwire_firmware import intake
from heartwire_protocol import auth, codes, framing, messages, settings
from tests.fakes.bench import KEYS, Bench
from tests.fakes.hardware import FakeLine
from tests.fakes.node import FakeNode

MEGABYTE = 1 << 20


class Line:
    """An intake of node a alone, with a node that answers it."""

    def __init__(self, keyed: bool = True, text: bool = False) -> None:
        self.line = FakeLine()
        self.random = random.Random(5)
        self.intake = intake.Intake(0, self.line, self._fill, lambda: 0)
        chosen = settings.Settings()
        chosen.nodes[0].key = KEYS[0].hex() if keyed else ""
        chosen.nodes[0].profile = "text" if text else "frames"
        self.intake.configure(chosen.board, chosen.nodes[0])
        self.node = FakeNode(0, KEYS[0] if keyed else None)

    def _fill(self, buffer: bytearray) -> None:
        buffer[:] = self.random.randbytes(len(buffer))

    def pump(self, data: bytes, after_ms: int = 1000) -> int:
        """Deliver bytes after some time; return what they brought."""
        self.intake.advance(after_ms)
        self.line.arrive(data)
        brought = intake.NOTHING
        while self.line.incoming or self.intake.waiting:
            brought = max(brought, self.intake.pump(True))
        return brought

    def beat(self, after_ms: int = 1000) -> int:
        """Let the node beat and hear the challenge."""
        brought = self.pump(self.node.heartbeat(), after_ms)
        self.node.challenge = bytes(self.intake.challenge.current)
        return brought


@pytest.fixture(params=[True, False], ids=["keyed", "open"])
def line(request: pytest.FixtureRequest) -> Line:
    return Line(request.param)


def test_first_heartbeat_is_a_sign_and_the_answered_one_is_good(line: Line) -> None:
    assert line.beat() == intake.SIGN
    assert line.intake.beats == 0
    assert line.beat() == intake.GOOD
    assert line.intake.has_incarnation
    assert line.intake.drops[codes.DROP_UNANSWERED] == 1


def test_previous_challenge_is_taken_once_more_when_a_grant_was_lost(line: Line) -> None:
    line.beat()
    line.beat()
    old = line.node.challenge
    assert line.pump(line.node.heartbeat()) == intake.GOOD
    line.node.challenge = old
    assert line.pump(line.node.heartbeat()) == intake.GOOD, "answers the previous challenge"


def test_older_challenge_is_wrong(line: Line) -> None:
    line.beat()
    old = line.node.challenge
    line.beat()
    line.beat()
    line.beat()
    line.node.challenge = old
    assert line.pump(line.node.heartbeat()) == intake.BAD
    assert line.intake.drops[codes.DROP_WRONG_ANSWER] == 1


def test_wrong_key_never_counts() -> None:
    line = Line(True)
    line.node.signer = auth.Signer(bytes(32))
    for _ in range(20):
        assert line.beat() == intake.BAD
    assert line.intake.beats == 0
    assert line.intake.altered
    assert line.intake.drops[codes.DROP_WRONG_ANSWER] == 20


def test_replayed_and_frozen_heartbeats_never_count(line: Line) -> None:
    line.beat()
    line.beat()
    frame = line.node.heartbeat()
    assert line.pump(frame) == intake.GOOD
    assert line.pump(frame) == intake.BAD
    assert line.intake.drops[codes.DROP_FROZEN] + line.intake.drops[codes.DROP_WRONG_ANSWER] == 1
    line.node.challenge = bytes(line.intake.challenge.current)
    newer = line.node.heartbeat()
    assert line.pump(newer) == intake.GOOD
    assert line.pump(frame) == intake.BAD
    assert line.intake.beats == 3


def test_recorded_conversation_is_worthless_after_a_new_incarnation(line: Line) -> None:
    line.beat()
    recorded = []
    for _ in range(5):
        frame = line.node.heartbeat()
        recorded.append(frame)
        assert line.pump(frame) == intake.GOOD
        line.node.challenge = bytes(line.intake.challenge.current)
    line.node.boot()
    assert line.beat() == intake.SIGN
    assert line.beat() == intake.GOOD
    beats = line.intake.beats
    for frame in recorded:
        assert line.pump(frame) == intake.BAD
    assert line.intake.beats == beats
    assert line.intake.incarnation == line.node.incarnation


def test_too_early_never_counts_and_the_next_one_does(line: Line) -> None:
    line.beat()
    line.beat()
    assert line.beat(after_ms=100) == intake.BAD
    assert line.intake.drops[codes.DROP_EARLY] == 1
    assert line.beat(after_ms=1000) == intake.GOOD


def test_early_window_is_skipped_for_a_while_after_a_stall(line: Line) -> None:
    line.beat()
    line.beat()
    line.intake.note_stall(400)
    assert line.beat(after_ms=3) == intake.GOOD
    assert line.beat(after_ms=200) == intake.GOOD
    line.intake.advance(500)
    assert line.beat(after_ms=1000) == intake.GOOD
    assert line.beat(after_ms=3) == intake.BAD, "the skipping ends"


def test_stalls_do_not_excuse_a_node_that_always_beats_too_soon(line: Line) -> None:
    line.beat()
    line.beat()
    good = 0
    for number in range(40):
        if number % 5 == 0:
            line.intake.note_stall(60)  # a flash write, for the record that it beats too soon
        good += line.beat(after_ms=100) == intake.GOOD
    assert good == intake.EXCUSED_MAX
    assert line.beat(after_ms=1000) == intake.GOOD
    line.intake.note_stall(400)
    assert line.beat(after_ms=3) == intake.GOOD, "one that beats in time is excused again"


def test_heartbeat_of_the_other_node_never_counts(line: Line) -> None:
    line.node.node = 1
    for _ in range(5):
        assert line.beat() == intake.BAD
    assert line.intake.drops[codes.DROP_WRONG_NODE] == 5
    assert not line.intake.reply_due, "a crossed cable gets no answer"


def test_stuck_sender_without_answer_is_no_sign_of_life(line: Line) -> None:
    frame = line.node.heartbeat()
    assert line.pump(frame) == intake.SIGN
    for _ in range(5):
        assert line.pump(frame) == intake.BAD
    assert line.intake.drops[codes.DROP_FROZEN] == 5


def test_node_that_hears_nothing_becomes_a_half_line(line: Line) -> None:
    line.beat()
    line.beat()
    line.beat()
    for _ in range(10):
        assert line.pump(line.node.heartbeat()) == intake.GOOD
    assert line.intake.half_line
    line.node.challenge = bytes(line.intake.challenge.current)
    line.pump(line.node.heartbeat())
    line.intake.advance(1)
    assert not line.intake.half_line


def test_time_that_the_board_stood_still_is_no_half_line(line: Line) -> None:
    late_ms = settings.Settings().board.late_ms
    line.beat()
    line.beat()
    line.intake.note_stall(300)
    line.intake.advance(late_ms + 300)
    assert not line.intake.half_line
    line.intake.advance(1)
    assert line.intake.half_line
    # A board that stands still again and again finds it all the same, and an answer ends the patience.
    for _ in range(9):
        line.intake.note_stall(late_ms)
    line.intake.advance(late_ms - 300)
    assert line.intake.half_line
    line.beat(after_ms=1)
    line.intake.advance(late_ms)
    assert not line.intake.half_line
    line.intake.advance(1)
    assert line.intake.half_line


def test_board_is_silent_until_it_heard_something_valid() -> None:
    line = Line()
    line.intake.send(b"hello")
    line.pump(b"U-Boot 2024.01 hit any key\r\n" + bytes(range(256)))
    line.intake.send(b"hello")
    assert line.line.writes == 0
    line.beat()
    line.intake.send(b"hello")
    assert line.line.writes == 1


def test_messages_a_node_may_not_send_are_counted() -> None:
    line = Line()
    for message_type in (messages.GRANT, messages.HELLO, messages.REQUEST, messages.EVENT):
        assert line.pump(framing.encode(message_type, bytes(20))) == intake.NOTHING
    assert line.intake.drops[codes.DROP_NOT_ALLOWED] == 4
    line.pump(framing.encode(0x7F, b""))
    assert line.intake.drops[codes.DROP_UNKNOWN_TYPE] == 1
    line.pump(framing.encode(messages.HEARTBEAT, bytes(23)))
    assert line.intake.drops[codes.DROP_WRONG_LENGTH] == 1


def test_text_profile_takes_any_printable_line() -> None:
    line = Line(text=True)
    assert line.pump(b"hb\n") == intake.GOOD
    assert line.pump(b"login: \r\n") == intake.GOOD
    assert line.pump(b"\xff\x80\x00\n") == intake.NOTHING
    assert line.pump(b"x" * 200 + b"\n") == intake.NOTHING
    assert line.pump(b"half a line") == intake.NOTHING
    assert line.pump(b" and the rest\n") == intake.GOOD


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """Return a frame with one to four bytes changed, dropped, doubled or inserted."""
    data = bytearray(frame)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and len(data) > 1:
            del data[at]
        elif kind == 2:
            data.insert(at, data[at])
        else:
            data.insert(at, rng.randrange(256))
    return bytes(data)


def test_ten_megabytes_of_noise_and_mutated_frames_into_lines_and_host_link() -> None:
    bench = Bench(nodes=3)
    bench.run(5050)
    beats = [bench.board.intakes[node].beats for node in range(3)]
    noisy = (0, 2)
    bench.cut.update(noisy)
    rng = random.Random(7)
    line = Line()
    frames = [mutated(rng, line.node.heartbeat()) for _ in range(10000)]
    request = framing.encode(
        messages.REQUEST, messages.layout_of(messages.REQUEST).pack(right=0, number=1, mac=bytes(8), body=b"{}")
    )
    requests = [mutated(rng, request) for _ in range(10000)]
    noise = [rng.randbytes(10 * MEGABYTE) + b"".join(frames) for _ in noisy] + [
        rng.randbytes(10 * MEGABYTE) + b"".join(requests)
    ]
    at = host_at = 0
    started = bench.ms
    while at < max(len(part) for part in noise) or host_at < len(noise[2]):
        piece = slice(at, at + 32)
        for part, node in enumerate(noisy):
            bench.hardware.lines[node].arrive(noise[part][piece])
        at += 32
        # USB has flow control: a host can send no faster than the board takes.
        if len(bench.hardware.usb.incoming) < 256:
            bench.hardware.usb.incoming.extend(noise[2][host_at : host_at + 64])
            host_at += 64
        bench.step()
    bench.run(2000)
    passed = (bench.ms - started) // 1000
    assert bench.board.intakes[1].beats - beats[1] >= passed - 1, "the other node's heartbeats suffered"
    assert bench.board.livenesses[1].verdict == codes.VERDICT_GOOD
    for node in noisy:
        assert bench.board.intakes[node].beats == beats[node], "noise counted as a heartbeat"
        assert sum(bench.board.intakes[node].drops) > 10000
    assert sum(bench.board.hostlink.drops) > 10000
    assert bench.ask(op="status")["mode"] == "observe"


def test_noise_into_the_second_uart() -> None:
    bench = Bench()
    bench.run(5050)
    bench.cut.add(1)
    beats = bench.board.intakes[1].beats
    rng = random.Random(8)
    for _ in range(10 * MEGABYTE // 48):
        bench.hardware.lines[1].arrive(rng.randbytes(48))
        bench.step()
    assert bench.board.intakes[1].beats == beats
    assert bench.board.livenesses[0].verdict == codes.VERDICT_GOOD
    assert sum(bench.board.intakes[1].drops) > 10000
