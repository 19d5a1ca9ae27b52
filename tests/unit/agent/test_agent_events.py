"""The journal over a node's line: the product's agent on the board's firmware, in virtual time."""

from pathlib import Path
from typing import Any

import pytest

from heartwire_protocol import codes, events, framing, messages, records
from tests.unit.agent.agent_bench import AgentBench


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


def test_what_the_board_does_not_have_is_told_as_gone(world: AgentBench) -> None:
    gone = (11, 12, 30)
    world.loses = lambda kind, payload: kind == messages.EVENT and sequence(payload) in gone
    first = page(world, 0)
    found = [bytes.fromhex(text) for text in first["records"]]
    assert [sequence(record) for record in found] == [*range(1, 11), *range(13, 19)][:16]
    assert first["oldest_routine"] == 13
    assert [sequence(record) for record in read_all(world)] == [
        sequence(record) for record in journal(world) if sequence(record) not in gone
    ]


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
    longest = framing.wire_length(records.LENGTH) * max(counts) + messages.HOT_FRAME_MAX
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
