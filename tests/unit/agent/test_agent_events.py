"""The journal over a node's line: the product's agent on the board's firmware, in virtual time."""

from pathlib import Path
from typing import Any

import pytest

from heartwire.agent.events import EventReader
from heartwire_protocol import auth, codes, events, framing, messages, records
from tests.unit.agent.agent_bench import AgentBench

KEY = bytes(range(32))


@pytest.fixture
def world(tmp_path: Path) -> AgentBench:
    made = AgentBench(tmp_path, board_id="E66118604B5C4A2A")
    for _ in range(40):
        made.bench.board.journal.append(events.STALLED, codes.NO_NODE, 0, 7)
        made.bench.run(25)
    made.bench.run(2000)
    return made


def journal(world: AgentBench) -> list[bytes]:
    """Return all durable records as they are in flash."""
    return world.bench.raw_journal()


def page(world: AgentBench, after: int, count: int = 16) -> dict[str, Any]:
    return world.ask(world.agent.read_events, {"after": after, "count": count})


def read_all(world: AgentBench) -> list[bytes]:
    """Read as a monitor does, page by page."""
    found: list[bytes] = []
    while True:
        after = int.from_bytes(found[-1][:4], "little") if found else 0
        answer = page(world, after)
        if not answer["records"]:
            return found
        found += [bytes.fromhex(text) for text in answer["records"]]


def sequence(record: bytes) -> int:
    return int.from_bytes(record[:4], "little")


def is_event(kind: int, payload: bytes) -> bool:
    return kind == messages.EVENT


def test_the_whole_journal_comes_over_the_line(world: AgentBench) -> None:
    assert read_all(world) == journal(world)
    assert len(journal(world)) > 48


def test_who_answers_is_told_without_a_record(world: AgentBench) -> None:
    world.bench.reset()
    world.bench.run(5000)
    answer = page(world, 0, 0)
    assert answer["board_id"] == "E66118604B5C4A2A"
    assert (answer["boot"], answer["records"]) == (2, [])
    assert answer["newest"] == world.bench.board.journal.durable


def test_after_the_newest_nothing_is_asked(world: AgentBench) -> None:
    newest = world.bench.board.journal.durable
    world.port.written.clear()
    assert page(world, newest)["records"] == []
    assert page(world, newest + 5)["newest"] == newest, "a journal started anew shows"
    assert all(len(frame) > 20 for frame in world.port.written), "only heartbeats were sent"


def test_a_frame_lost_on_the_way_leaves_no_gap(world: AgentBench) -> None:
    count = [0]

    def loses(kind: int, payload: bytes) -> bool:
        count[0] += kind == messages.EVENT
        return kind == messages.EVENT and count[0] % 5 == 2

    world.loses = loses
    found = read_all(world)
    assert found == journal(world)
    assert count[0] > len(found)


class Pages:
    """A reader of node b, and the board's side of a page, written out."""

    def __init__(self, key: bytes | None = KEY) -> None:
        self.reader = EventReader("", auth.Signer(key) if key else None)
        self.reader.granted(40)
        self.answers: list[dict[str, Any]] = []

    def ask(self, after: int = 0, count: int = 4) -> bytes:
        """Have a page asked for; return the request's payload."""
        assert self.reader.begin({"after": after, "count": count}, 0, self.answers.append) == ""
        return self.again(0)

    def again(self, now_ns: int) -> bytes:
        decoder = framing.Decoder(64)
        frame = self.reader.frame(now_ns)
        decoder.feed(frame, 0, len(frame))
        return bytes(decoder.payload[: decoder.length])

    def send(self, asked: bytes, found: list[bytes], key: bytes = KEY, count: int | None = None) -> None:
        for record in found:
            self.reader.take(record, 0)
        mac = auth.Signer(key).mac(b"E" + asked + b"".join(found))
        self.reader.end(bytes([len(found) if count is None else count]) + mac)


def record_of(sequence: int) -> bytes:
    raw = bytearray(records.LENGTH)
    records.encode_into(raw, [sequence, 3, *range(len(records.FIELDS) - 2)], records.CHAIN_START)
    return bytes(raw)


def test_what_the_board_does_not_have_is_told_as_gone() -> None:
    pages = Pages()
    pages.send(pages.ask(), [record_of(11), record_of(12), record_of(15), record_of(16)])
    assert [sequence(bytes.fromhex(text)) for text in pages.answers[0]["records"]] == [11, 12, 15, 16]
    assert pages.answers[0]["oldest_decision"] == pages.answers[0]["oldest_routine"] == 15


@pytest.mark.parametrize("change", ["key", "left out", "put in", "altered", "count", "older"])
def test_a_page_that_the_key_does_not_sign_tells_nobody_anything(change: str) -> None:
    pages = Pages()
    sent = [record_of(number) for number in range(1, 5)]
    first = pages.ask()
    asked = first[:5] + b"once" if change == "older" else first
    shown = {"left out": sent[1:], "put in": [*sent[:1], record_of(9)], "altered": [record_of(7), *sent[1:]]}
    for record in shown.get(change, sent):
        pages.reader.take(record, 0)
    signer = auth.Signer(bytes(32) if change == "key" else KEY)
    count = 3 if change == "count" else len(shown.get(change, sent))
    pages.reader.end(bytes([count]) + signer.mac(b"E" + asked + b"".join(sent)))
    assert pages.answers == [] and pages.reader.refused_pages == (change != "count")
    again = pages.again(1)
    assert again[:5] == first[:5] and again[5:] != first[5:], "asked for again, with another nonce"
    pages.send(again, sent)
    assert [sequence(bytes.fromhex(text)) for text in pages.answers[0]["records"]] == [1, 2, 3, 4]


def test_a_page_that_stays_unsigned_is_an_error_that_says_so() -> None:
    pages = Pages()
    pages.send(pages.ask(), [record_of(1)], bytes(32))
    pages.reader.step(5_000_000_000)
    assert "not signed" in pages.answers[0]["error"] and pages.reader.refused_pages == 1


def test_while_a_key_is_rolled_the_former_signs_too() -> None:
    pages = Pages()
    pages.reader.use(auth.Signer(bytes(32)))
    pages.send(pages.ask(count=1), [record_of(1)])
    pages.send(pages.ask(1, 1), [record_of(2)], bytes(32))
    assert [len(answer["records"]) for answer in pages.answers] == [1, 1]


def test_without_a_key_pages_are_as_good_as_the_line() -> None:
    pages = Pages(None)
    pages.ask(count=1)
    pages.reader.take(record_of(1), 0)
    pages.reader.end(bytes([1]) + bytes(8))
    assert len(pages.answers[0]["records"]) == 1


def test_a_damaged_record_is_not_passed_on(world: AgentBench) -> None:
    hear = world.bench.nodes[1].hear
    damaged: list[bytes] = []

    def spoil(data: bytes) -> None:
        decoder = framing.Decoder(64)
        decoder.feed(data, 0, len(data))
        if decoder.ready and decoder.message_type == messages.EVENT and not damaged:
            payload = bytearray(decoder.payload[: decoder.length])
            payload[20] ^= 1
            damaged.append(bytes(payload))
            data = bytes(framing.encode(messages.EVENT, payload))
        hear(data)

    world.bench.nodes[1].hear = spoil  # type: ignore[method-assign]
    assert read_all(world) == journal(world)
    assert damaged


def test_a_board_that_sends_nothing_is_an_error_in_time(world: AgentBench) -> None:
    world.loses = is_event
    began = world.bench.ms
    assert "no records in time" in page(world, 0)["error"]
    assert world.bench.ms - began < 5000, "the monitor waits 5 s"


def test_before_the_first_grant_nothing_is_asked(tmp_path: Path) -> None:
    world = AgentBench(tmp_path)
    world.loses = lambda kind, payload: True
    world.bench.run(100)
    world.agent.events._known = False
    world.port.written.clear()
    assert "error" in page(world, 0)
    assert all(len(frame) > 20 for frame in world.port.written)


def test_requests_are_small_enough_for_the_boards_output_buffer(world: AgentBench) -> None:
    layout = messages.layout_of(messages.READ_EVENTS)
    counts = []
    world.port.written.clear()
    page(world, 0)
    for frame in world.port.written:
        decoder = framing.Decoder(64)
        decoder.feed(frame, 0, len(frame))
        if decoder.message_type == messages.READ_EVENTS:
            counts.append(layout.unpack(bytes(decoder.payload[: decoder.length]))["count"])
    ends = framing.wire_length(messages.layout_of(messages.EVENTS_END).length)
    longest = framing.wire_length(records.LENGTH) * max(counts) + ends + messages.HOT_FRAME_MAX
    assert sum(counts) == 16 and longest <= 256


def test_reading_disturbs_no_heartbeat(world: AgentBench) -> None:
    before = world.agent.schedule.late_max_ns, world.agent.schedule.skipped
    drops = list(world.bench.board.intakes[1].drops)
    late_count = sum(row[1] == events.LATE for row in world.bench.happened)
    for _ in range(10):
        read_all(world)
    assert (world.agent.schedule.late_max_ns, world.agent.schedule.skipped) == before
    assert world.bench.board.intakes[1].drops == drops
    assert sum(row[1] == events.LATE for row in world.bench.happened) == late_count


@pytest.mark.parametrize(
    "wrong",
    [{}, {"after": -1, "count": 1}, {"after": 0, "count": 17}, {"after": True, "count": 1},
     {"after": 1 << 30, "count": 1}, {"after": "0", "count": 1}],
)  # fmt: skip
def test_wrong_requests_are_refused(world: AgentBench, wrong: dict[str, Any]) -> None:
    assert "must be" in world.ask(world.agent.read_events, wrong)["error"]


def test_too_many_readers_are_refused(world: AgentBench) -> None:
    answers: list[dict[str, Any]] = []
    for _ in range(4):
        assert world.agent.read_events({"after": 0, "count": 16}, answers.append) is None
    refused = world.agent.read_events({"after": 0, "count": 16}, answers.append)
    assert refused is not None and "too many" in refused["error"]
    world.bench.run_until(lambda: len(answers) == 4)
    assert all(answer["records"] == answers[0]["records"] for answer in answers)
    assert len(answers[0]["records"]) == 16
