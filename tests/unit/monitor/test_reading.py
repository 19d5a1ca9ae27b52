"""Reading the store: filters, pages, export, the chain check, the picture of a failover, the commands."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import sqlalchemy
from click.testing import CliRunner, Result

from heartwire import timeline
from heartwire.cli.main import cli
from heartwire.errors import BadConfig, JournalDamaged, NotAsAsked, StorageProblem, UsageProblem
from heartwire.monitor import export, schema
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.store import Store
from heartwire_protocol import codes, events, reasons
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel


def failover(board: FakeBoard) -> None:
    """Write the records of a failover from a to b."""

    def at(ms: int) -> dict[str, int]:
        return {"uptime_ms": ms, "wall_ms": 43_200_000 + ms}

    board.log(events.BOOT, **at(0))
    board.log(events.SENSE_CHANGED, 0, a=codes.POWER_ON, **at(500))
    board.log(events.SENSE_CHANGED, 1, a=codes.POWER_ON, **at(600))
    board.log(events.ADOPTED, 0, a=7, **at(1000))
    board.log(events.ROLE_CHANGED, 0, 0, codes.ROLE_ACTIVE, codes.ROLE_OFFLINE, **at(1000))
    board.log(events.ROLE_CHANGED, 1, 0, codes.ROLE_STANDBY, codes.ROLE_OFFLINE, **at(1400))
    board.log(events.LATE, 0, a=3000, **at(63_000))
    board.log(events.FENCE_PREPARED, 0, reasons.DEAD, **at(63_010))
    board.log(events.DEAD, 0, reasons.DEAD, a=10_000, **at(70_000))
    board.log(events.FENCE_FIRED, 0, reasons.DEAD, a=1, b=10_005, **at(70_005))
    board.log(events.REVOKED, 0, reasons.DEAD, a=7, **at(70_005))
    board.log(events.ROLE_CHANGED, 0, reasons.DEAD, codes.ROLE_OFFLINE, codes.ROLE_ACTIVE, **at(70_006))
    board.log(events.SENSE_CHANGED, 0, a=codes.POWER_OFF, **at(70_300))
    board.log(events.OFF_PROVEN, 0, a=1300, **at(71_305))
    board.log(events.GRANTED, 1, reasons.FENCE_PROVEN, a=8, b=11_350, **at(71_350))
    board.log(events.ROLE_CHANGED, 1, reasons.FENCE_PROVEN, codes.ROLE_ACTIVE, codes.ROLE_STANDBY, **at(71_350))
    board.log(events.RUNNING, 1, a=8, b=2100, **at(73_450))
    board.log(events.RELAY_RELEASED, 0, reasons.OFF_TIME_OVER, a=10_000, **at(80_005))
    board.log(events.ROLE_CHANGED, 0, reasons.HEARD, codes.ROLE_QUARANTINED, codes.ROLE_OFFLINE, **at(90_005))


@pytest.fixture
def filled(store: Store, board: FakeBoard) -> World:
    failover(board)
    world = World(store, board, [channel()])
    world.collect()
    return world


def test_filters_choose_and_pages_follow_each_other(store: Store, filled: World) -> None:
    reader = Reader(store)
    assert [item.entry.event for item in reader.newest(Filter(severity="alarm"), 10)] == [
        "dead",
        "fence_fired",
        "granted",
    ]
    assert {item.entry.node for item in reader.all(Filter(node="b"))} == {"b"}
    assert [item.entry.sequence for item in reader.newest(Filter(event="role_changed"), 2)] == [16, 19]
    assert [item.entry.sequence for item in reader.all(Filter(since=17))] == [17, 18, 19]
    first = reader.newest(Filter(), 5)
    second = reader.newest(Filter(), 5, before=first[0].id)
    assert [item.entry.sequence for item in second + first] == list(range(10, 20))
    assert len(list(reader.all(Filter(), page=3))) == 19
    assert reader.relay_events(("fence_fired", "off_proven")) == {
        ("rack-1", "a", "fence_fired"): 1,
        ("rack-1", "a", "off_proven"): 1,
    }
    with pytest.raises(UsageProblem, match="no event") as caught:
        list(reader.all(Filter(event="fence_fire")))
    assert "fence_fired" in caught.value.next_step
    with pytest.raises(BadConfig, match="no board 'rack-9'"):
        reader.board("rack-9")


def test_export_is_csv_and_json_with_the_board(store: Store, filled: World) -> None:
    reader = Reader(store)
    stream = io.StringIO()
    assert export.write(reader, Filter(), "csv", stream) == 19
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert (rows[8]["board"], rows[8]["event"], rows[8]["reason"]) == ("rack-1", "dead", "dead")
    stream = io.StringIO()
    export.write(reader, Filter(severity="alarm"), "json", stream)
    bodies = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [body["event"] for body in bodies] == ["dead", "fence_fired", "granted"]
    assert bodies[0]["board_id"] == filled.source.board_id
    assert bodies[0]["sentence"].startswith("a (alpha) is dead")


def test_a_file_appears_whole_or_not_at_all(store: Store, filled: World, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(UsageProblem):
        export.write_file(Reader(store), Filter(event="nonsense"), "csv", path)
    assert path.read_text() == "old"
    export.write_file(Reader(store), Filter(), "csv", path)
    assert len(path.read_text().splitlines()) == 20
    assert sorted(entry.name for entry in tmp_path.glob("*out.csv*")) == ["out.csv"]
    with pytest.raises(StorageProblem):
        export.write_file(Reader(store), Filter(), "csv", tmp_path / "none" / "out.csv")


def test_verify_finds_a_record_that_was_altered_in_the_store(store: Store, filled: World) -> None:
    reader = Reader(store)
    assert [item for item in export.verify(reader, filled.source.board_id) if isinstance(item, str)] == []
    from heartwire_protocol import framing, records

    with store.write() as connection:
        row = connection.execute(sqlalchemy.select(schema.event).where(schema.event.c.sequence == 10)).one()
        forged = bytearray(row.raw)
        forged[18] ^= 1
        crc = framing.crc16(forged, records.LENGTH - 2)
        forged[-2:] = bytes((crc >> 8, crc & 0xFF))
        connection.execute(sqlalchemy.update(schema.event).where(schema.event.c.id == row.id).values(raw=bytes(forged)))
    found = [item for item in export.verify(reader, filled.source.board_id) if isinstance(item, str)]
    assert found
    assert "does not continue the decision chain" in found[0]


def test_the_picture_shows_the_last_failover(store: Store, filled: World) -> None:
    picture = export.timeline(Reader(store), None, None)
    root = ElementTree.fromstring(picture)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "rack-1: Failover from a (alpha) to b (beta)" in texts
    assert any(text.startswith("fence fired") for text in texts)
    for words, span in (
        ("silent until dead", "10.0 s"),
        ("fence to proof", "1.3 s"),
        ("proof to grant", "45 ms"),
        ("grant to services", "2.1 s"),
        ("without service", "13.4 s"),
    ):
        assert texts[texts.index(words) + 1] == span
    tips = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(tip.startswith("active for") for tip in tips)
    assert "script" not in picture


def test_labels_of_a_lane_never_overlap() -> None:
    rows = timeline._rows([(100, 80), (120, 80), (190, 60), (300, 10)])
    assert rows == [0, 1, 0, 0] or rows == [0, 1, 2, 0]


def test_no_story_is_told_as_such(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    World(store, board, []).collect()
    with pytest.raises(BadConfig, match="nobody was made active"):
        export.timeline(Reader(store), None, None)


def heartwire(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def path(filled: World, tmp_path: Path) -> Path:
    return tmp_path / "monitor.db"


def test_the_log_command_reads_the_store(path: Path) -> None:
    result = heartwire("log", "--store", path, "--limit", 3)
    assert [line.split()[0] for line in result.output.splitlines()] == ["17", "18", "19"]
    assert "b (beta)" in result.output
    lines = heartwire("log", "--store", path, "--severity", "alarm", "--json").output.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["dead", "fence_fired", "granted"]
    assert len(heartwire("log", "--store", path, "--since", 18, "--csv").output.splitlines()) == 3
    assert isinstance(heartwire("log", "--severity", "alarm").exception, UsageProblem)
    assert isinstance(heartwire("log", "--store", path.with_name("none"), "--since", 1).exception, StorageProblem)


def test_the_log_command_finds_an_altered_store(path: Path, store: Store) -> None:
    with store.write() as connection:
        raw = connection.scalar(sqlalchemy.select(schema.event.c.raw).where(schema.event.c.sequence == 9))
        connection.execute(sqlalchemy.update(schema.event).where(schema.event.c.sequence == 10).values(raw=raw))
    result = heartwire("log", "--store", path)
    assert isinstance(result.exception, JournalDamaged)


def test_the_monitor_commands_read_the_store(path: Path, tmp_path: Path) -> None:
    body = json.loads(heartwire("monitor", "status", "--store", path, "--json").output)
    assert body["events"] == 19
    assert body["boards"][0]["stored"] == 19
    assert [(row["kind"], row["node"]) for row in body["problems"]] == [("silent", "a"), ("fenced", "a")]
    text = heartwire("monitor", "status", "--store", path).output
    assert "rack-1 a: fenced since 2026" in text
    assert len(heartwire("monitor", "export", "--store", path, "--severity", "alarm").output.splitlines()) == 3
    out = tmp_path / "x.svg"
    assert heartwire("monitor", "timeline", "--store", path, "-o", out).exit_code == 0
    assert out.read_text().startswith("<svg")
    assert "19 records checked" in heartwire("monitor", "verify", "--store", path).output
    assert heartwire("monitor", "outbox", "--store", path).exit_code == 0


def config(tmp_path: Path, script: str) -> Path:
    path = tmp_path / "monitor.toml"
    path.write_text(
        f'store = "{tmp_path}/m.db"\n[[board]]\nname="x"\nport="/dev/null"\n'
        f"[[channel]]\nname='page'\nkind='command'\ncommand=['/bin/sh', '-c', '{script}']\n"
    )
    return path


def test_check_and_test_say_what_is_wrong(tmp_path: Path) -> None:
    good = config(tmp_path, f"cat > {tmp_path}/out")
    assert "good: 1 boards, 1 channels" in heartwire("monitor", "check", "-c", good).output
    result = heartwire("monitor", "test", "-c", good)
    assert result.output.startswith("page: told in ")
    sent = json.loads((tmp_path / "out").read_text())
    assert sent["title"] == "TEST by channel page"
    assert len(sent["body"]) > 2000  # as long as the news of a failover, which a service may not take
    bad = config(tmp_path, "exit 4")
    result = heartwire("monitor", "test", "-c", bad, "--json")
    assert isinstance(result.exception, NotAsAsked)
    assert json.loads(result.output)[0]["trouble"] == "the command ended with 4"
    assert isinstance(heartwire("monitor", "test", "-c", good, "--channel", "no").exception, UsageProblem)
    bad.write_text(bad.read_text().replace("/bin/sh", "/no/sh"))
    assert isinstance(heartwire("monitor", "check", "-c", bad).exception, BadConfig)


def test_examples_are_printed() -> None:
    for what, words in (("config", "[[board]]"), ("alerts", "groups:"), ("unit", "Type=notify")):
        assert words in heartwire("monitor", "example", what).output
