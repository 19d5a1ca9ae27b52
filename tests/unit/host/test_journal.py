"""Records as sentences, the chain check, files and times."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heartwire import capture, journal, times
from heartwire.chain import ChainChecker, Finding
from heartwire.dating import dated
from heartwire.errors import BadConfig, UsageProblem
from heartwire.journal import Entry
from heartwire_protocol import codes, events, framing, messages, reasons, records
from tests.fakes.board import FakeBoard


def sentence(event: int, **fields: int) -> str:
    return journal.decode(FakeBoard().log(event, **fields)).sentence({"a": "a (alpha)"})


@pytest.mark.parametrize("row", events.EVENTS, ids=lambda row: row[1])
def test_every_event_has_a_sentence_without_leftovers(row: tuple[int, str, int, int, str]) -> None:
    text = sentence(row[0], node=0, reason=reasons.OPERATOR, a=1, b=2)
    assert "{" not in text
    assert "#" not in text
    assert "?" not in text


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        (events.MODE_CHANGED, {"reason": reasons.OPERATOR, "a": 3, "b": 0},
         "mode changed to auto from observe: an operator asked for it"),
        (events.FENCE_FIRED, {"node": 0, "reason": reasons.DEAD, "a": 1, "b": 10012},
         "fence of a (alpha) fired (power cut), 10012 ms after its last good heartbeat: no good heartbeat for dead_ms"),
        (events.MAINTENANCE_BEGAN, {"a": 60}, "maintenance of the board for 60 s"),
        (events.SENSE_CHANGED, {"node": 1, "a": codes.POWER_OFF}, "b power sense is now off"),
        (events.ALTERED, {"node": 1, "a": codes.DROP_WRONG_ANSWER, "b": 2},
         "b sends altered heartbeats: wrong answer (2 so far)"),
        (events.APPROVAL_ASKED, {"node": 0, "a": 4, "b": 3}, "approval 4 asked: fence a (alpha), then promote nobody"),
        (events.REFUSED, {"node": 0, "reason": reasons.LAST_POWERED, "a": 12},
         "request fence for a (alpha) refused: no other powered node fit to be active would remain"),
        (events.REQUESTED, {"node": 1, "reason": reasons.PEER, "a": 12, "b": (2 << 2 | 0) << 1},
         "request fence for b by fence_heartwire on a (alpha), over its own line"),
        (events.REQUESTED, {"node": 1, "reason": reasons.OPERATOR, "a": 12, "b": (1 << 2 | 3) << 1 | 1},
         "request fence for b by heartwire"),
        (events.REQUESTED, {"node": 1, "reason": reasons.OPERATOR, "a": 12, "b": 3 << 1}, "request fence for b"),
        (events.REQUESTED, {"node": 1, "reason": reasons.OPERATOR, "a": 16, "b": 600}, "request maintenance for b"),
        (events.STATE_REPORTED, {"node": 0, "a": codes.STATE_CRASH_DUMP, "b": messages.FLAG_ANSWERED},
         "a (alpha) reports crash dump, flags none"),
        (events.ROLE_CHANGED, {"node": 1, "a": 2, "b": 1, "reason": 999}, "b is now active, was standby: reason #999"),
        (events.EVIDENCE, {"node": 0, "a": 5, "b": 1 | 33 << 3 | 2 << 10 | 1 << 12 | 1 << 13 | 3 << 14},
         "evidence on a (alpha): last good heartbeat 5 ms ago; dead, power on, altered; "
         "it said last: state healthy, flags running, answered"),
        (events.EVIDENCE, {"node": 0, "a": 5, "b": 1 | 33 << 3 | 2 << 10 | 1 << 12 | 1 << 14},
         "evidence on a (alpha): last good heartbeat 5 ms ago; good, state healthy, flags running, answered, power on, "
         "half line"),
        (499, {"node": 0, "a": 5, "b": 6}, "event #499 of a (alpha), 5 and 6: no reason given"),
    ],
)  # fmt: skip
def test_sentences(event: int, fields: dict[str, int], expected: str) -> None:
    assert sentence(event, **fields) == expected


@pytest.mark.parametrize(
    ("event", "fields", "severity"),
    [
        (events.GRANTED, {"reason": reasons.DEAD}, "alarm"),
        (events.GRANTED, {"reason": reasons.SWITCHOVER}, "notice"),
        (events.GRANTED, {"reason": reasons.SCHEDULE}, "notice"),
        (events.GRANTED, {"reason": 999}, "alarm"),
        (events.REVOKED, {"reason": reasons.DRAINED}, "notice"),
        (events.REVOKED, {"reason": reasons.FENCE_PROVEN}, "warning"),
        (events.FENCE_FIRED, {"reason": reasons.OPERATOR}, "alarm"),
        (events.STATE_REPORTED, {"a": codes.STATE_DEGRADED}, "warning"),
        (events.STATE_REPORTED, {"a": codes.STATE_HEALTHY}, "info"),
        (499, {"reason": 999}, "notice"),
    ],
)
def test_what_was_planned_is_no_alarm_and_a_failed_service_is_a_warning(
    event: int, fields: dict[str, int], severity: str
) -> None:
    assert journal.decode(FakeBoard().log(event, node=0, **fields)).severity == severity


def test_a_record_from_before_the_wall_time_was_set_gets_its_time_from_a_later_one() -> None:
    board = FakeBoard()
    for sequence in (1, 2):
        board.log(events.BOOT, wall_day=0, wall_ms=0, uptime_ms=sequence * 100)
    board.log(events.TIME_SET, wall_day=20818, wall_ms=43_200_000, uptime_ms=5000)
    board.log(events.BOOT, boot=4, wall_day=0, wall_ms=0, uptime_ms=100)
    finding = Finding("lost", 1, 2, "records 1 to 2 are missing")
    items: list[Entry | Finding] = [finding, *[journal.decode(raw) for raw in board.records]]
    found = list(dated(items))
    assert found[0] is finding
    walls = [item.wall for item in found[1:] if isinstance(item, Entry)]
    noon = datetime(2026, 12, 31, 12, 0, tzinfo=UTC)
    assert walls == [noon - timedelta(seconds=4.9), noon - timedelta(seconds=4.8), noon, None]


def test_an_entry_without_wall_time() -> None:
    entry = journal.decode(FakeBoard().log(events.BOOT, wall_day=0, wall_ms=0))
    assert entry.wall is None
    assert entry.as_json()["time"] is None


def test_json_has_exactly_the_documented_keys() -> None:
    entry = journal.decode(FakeBoard().log(events.BOOT))
    assert list(entry.as_json()) == [name for name, _ in journal.JSON_DOC]


def story(count: int = 12) -> FakeBoard:
    board = FakeBoard()
    for number in range(count):
        board.log(events.LATE if number % 3 else events.DEAD, node=number % 2, a=number)
    return board


def kinds(raw_records: list[bytes], after: int = 0, oldest: tuple[int, int] = (0, 0)) -> list[tuple[str, int, int]]:
    checker = ChainChecker(after)
    checker.oldest_decision, checker.oldest_routine = oldest
    found: list[Finding] = []
    for raw in raw_records:
        found += checker.take(raw)[1]
    return [(one.kind, one.first, one.last) for one in found]


def test_a_whole_journal_has_no_findings() -> None:
    assert kinds(story().records) == []


def test_so_has_a_stretch_of_it() -> None:
    assert kinds(story().records[5:], after=5) == []


def test_a_missing_record_is_lost() -> None:
    raw = story().records
    assert kinds(raw[:4] + raw[6:]) == [("lost", 5, 6)]


def test_unless_it_is_older_than_the_oldest_of_a_ring() -> None:
    raw = story().records
    assert kinds(raw[:4] + raw[6:], oldest=(1, 7)) == [("rotated", 5, 6)]
    assert kinds(raw[:4] + raw[6:], oldest=(1, 6)) == [("rotated", 5, 5), ("lost", 6, 6)]


def test_decisions_that_outlive_routine_records_are_still_chained() -> None:
    board = story(30)
    decisions = [raw for raw in board.records if journal.decode(raw).ring == "decision"]
    assert {kind for kind, _, _ in kinds(decisions, oldest=(1, 31))} == {"rotated"}


def test_a_damaged_record() -> None:
    raw = story().records
    raw[4] = raw[4][:20] + bytes([raw[4][20] ^ 1]) + raw[4][21:]
    assert kinds(raw) == [("damaged", 5, 5)]


def alter(raw: bytes, **chain: bytes) -> bytes:
    """Change an argument and mend the CRC, as somebody would who wants to hide it."""
    changed = bytearray(raw)
    changed[19] ^= 1
    if "before" in chain:
        changed[records.BODY_LENGTH : records.BODY_LENGTH + 8] = records.chain_after(chain["before"], changed)
    crc = framing.crc16(changed, records.LENGTH - 2)
    changed[-2:] = crc.to_bytes(2, "big")
    return bytes(changed)


def test_an_altered_record_breaks_the_chain() -> None:
    raw = story().records
    raw[4] = alter(raw[4])
    assert kinds(raw) == [("altered", 5, 5)]


def test_an_altered_record_with_a_new_chain_value_breaks_the_next_of_its_ring() -> None:
    raw = story().records
    before = journal.decode(raw[2]).raw[records.BODY_LENGTH : records.BODY_LENGTH + 8]
    raw[4] = alter(raw[4], before=before)
    assert kinds(raw) == [("altered", 6, 6)]


def test_a_removed_record_with_renumbered_followers_breaks_the_chain() -> None:
    raw = story(4).records
    renumbered = bytearray(raw[3])
    renumbered[0] = 3
    renumbered[-2:] = framing.crc16(renumbered, records.LENGTH - 2).to_bytes(2, "big")
    assert [kind for kind, _, _ in kinds([*raw[:2], bytes(renumbered)])] == ["altered"]


def test_a_journal_that_starts_over_is_told_and_followed() -> None:
    assert kinds([*story(5).records, *story(3).records]) == [("restarted", 1, 1)]


def test_an_unknown_event_suspends_the_chain_only() -> None:
    board = FakeBoard()
    board.log(events.BOOT)
    board.log(499)
    board.log(events.BOOT)
    board.log(events.BOOT)
    assert kinds(board.records) == []


def test_a_saved_journal_reads_back_the_same(tmp_path: Path) -> None:
    raw = story().records
    file = tmp_path / "j.jsonl"
    file.write_text("".join(capture.json_line(journal.decode(one)) for one in raw))
    assert [entry.raw for entry in capture.read_file(file) if isinstance(entry, journal.Entry)] == raw


def test_a_tampered_save_is_found(tmp_path: Path) -> None:
    raw = story().records
    raw[4] = alter(raw[4])
    file = tmp_path / "j.jsonl"
    file.write_text("".join(capture.json_line(journal.decode(one)) for one in raw[2:]))
    assert [item.kind for item in capture.read_file(file) if isinstance(item, Finding)] == ["altered"]


@pytest.mark.parametrize("line", ["hello", "{}", '{"raw": 3}', '{"raw": "xyz"}', "[]"])
def test_a_file_that_is_no_saved_journal(tmp_path: Path, line: str) -> None:
    file = tmp_path / "j.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(BadConfig, match="line 2"):
        list(capture.read_file(file))


def test_a_missing_and_a_binary_file(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        list(capture.read_file(tmp_path / "none"))
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadConfig, match="no text file"):
        list(capture.read_file(tmp_path / "b"))


def test_csv_quotes_what_needs_it() -> None:
    line = capture.csv_line(
        journal.decode(FakeBoard().log(events.GRANTED, node=1, a=8, b=9, reason=13)), {"b": 'b "x"'}
    )
    assert line.endswith('"b ""x"" is active with epoch 8, 9 ms after the last holder was last heard: '
                         + journal.reason_words("fence_proven") + '"\n')  # fmt: skip
    assert capture.csv_header().count(",") == len(capture.CSV_COLUMNS) - 1


NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1234", 1234),
        ("10m", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("1.5d", NOW - timedelta(hours=36)),
        ("2030-01-30T10:00Z", datetime(2030, 1, 30, 10, tzinfo=UTC)),
        ("2030-01-30T10:00+02:00", datetime(2030, 1, 30, 8, tzinfo=UTC)),
        ("999999d", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_since(text: str, expected: int | datetime) -> None:
    assert times.parse_since(text, NOW) == expected


def test_since_without_offset_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        assert times.parse_since("2030-01-30", NOW) == datetime(2030, 1, 29, 23, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["yesterday", "-5m", "10 parsecs", "", "10m later", "2030-13-01"])
def test_since_that_makes_no_sense(text: str) -> None:
    with pytest.raises(UsageProblem):
        times.parse_since(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0s"), (7.56, "7.6s"), (10, "10s"), (65, "1m 5s"), (3600, "1h"), (90061, "1d 1h"), (-3, "-3.0s")],
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert times.span_words(seconds) == words


def test_uptime_words() -> None:
    assert times.uptime_words(2 * 86_400_000 + 3_723_004) == "+2d 01:02:03.004"
    assert times.uptime_words(5) == "+00:00:00.005"
