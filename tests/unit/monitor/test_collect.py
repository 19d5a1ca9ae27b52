"""The collector and the archive: every record once, from the cursor on, whatever happens in between."""

import pytest
import sqlalchemy

from heartwire.errors import StorageProblem, Unplugged
from heartwire.monitor import archive, collect, outbox, retention, schema
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.store import Store
from heartwire_protocol import events, records
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel


def sequences(store: Store, journal: int | None = None) -> list[int]:
    found = Reader(store).all(Filter())
    return [item.entry.sequence for item in found if journal is None or item.journal == journal]


def kinds(store: Store) -> list[str]:
    return [row["kind"] for row in Reader(store).observations()]


def test_every_record_is_stored_once_and_the_cursor_outlives_the_monitor(store: Store, board: FakeBoard) -> None:
    for _ in range(40):
        board.log(events.STATE_REPORTED, 0)
    World(store, board, []).collect()
    assert sequences(store) == list(range(1, 41))
    board.log(events.LATE, 0, a=600)
    again = World(store, board, [])
    asked: list[int] = []
    again.source.before_page = asked.append
    again.collect()
    assert sequences(store) == list(range(1, 42))
    assert min(after for after in asked if after) == 39  # from the record at the cursor, which is compared, on
    assert kinds(store) == []


def test_a_page_read_twice_is_stored_once(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel(severity="info")])
    world.collect()
    known = world.archive.meet(world.source.board_id, "rack-1")
    from heartwire import journal

    entries = [(journal.decode(raw), 0) for raw in board.records]
    assert world.archive.add(known, entries)[1] == 0
    assert sequences(store) == [1]


def test_a_kill_between_the_page_and_the_commit_loses_nothing(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel()])
    world.collect()
    board.log(events.DEAD, 0, 1, a=2000)

    def killed(connection: sqlalchemy.Connection) -> None:
        raise KeyboardInterrupt

    sqlalchemy.event.listen(store.engine, "commit", killed)
    try:
        world.collect()
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("the commit was not reached")
    sqlalchemy.event.remove(store.engine, "commit", killed)
    assert sequences(store) == [1]
    again = World(store, board, [channel()])
    again.collect()
    assert sequences(store) == [1, 2]
    assert len(again.post()) == 1


def test_history_at_the_first_meeting_is_kept_and_told_to_nobody(store: Store, board: FakeBoard) -> None:
    board.log(events.DEAD, 0, 1, a=2000)
    world = World(store, board, [channel()])
    world.collect()
    assert sequences(store) == [1]
    assert world.post() == []
    board.log(events.FENCE_FIRED, 0, 1, a=1, b=2001)
    world.collect()
    assert [letter.severity for letter in world.post()] == ["alarm"]


def test_a_gap_and_an_altered_record_are_noticed_over_a_restart_of_the_monitor(store: Store, board: FakeBoard) -> None:
    for _ in range(3):
        board.log(events.GRANTED, 0, a=1)
    World(store, board, []).collect()
    board.log(events.GRANTED, 0, a=2)
    board.records.pop()
    board.log(events.GRANTED, 0, a=3)
    World(store, board, []).collect()
    assert kinds(store) == ["lost"]
    genuine = board.log(events.GRANTED, 0, a=4)
    forged = bytearray(genuine)
    names = [name for name, _, _ in records.FIELDS]
    values = [records.decode(genuine)[name] for name in names]
    values[names.index("a")] = 99
    records.encode_into(forged, values, b"\1" * 8)
    board.records[-1] = bytes(forged)
    World(store, board, []).collect()
    assert kinds(store) == ["lost", "altered"]


def test_a_rotated_gap_is_no_alarm(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    World(store, board, []).collect()
    for _ in range(5):
        board.log(events.STATE_REPORTED, 0)
    del board.records[:4]
    board.oldest = (5, 5)
    World(store, board, []).collect()
    assert kinds(store) == ["rotated"]
    assert sequences(store) == [1, 5, 6]


def test_a_journal_started_anew_keeps_the_old_one(store: Store, board: FakeBoard) -> None:
    for _ in range(5):
        board.log(events.GRANTED, 0, a=1)
    World(store, board, []).collect()
    # A formatted flash: the sequences begin again, and have passed the cursor before we look.
    fresh = FakeBoard()
    for _ in range(8):
        fresh.log(events.GRANTED, 1, a=2)
    World(store, fresh, []).collect()
    assert sequences(store, 1) == [1, 2, 3, 4, 5]
    assert sequences(store, 2) == list(range(1, 9))
    assert kinds(store) == ["restarted"]


def test_a_journal_that_starts_over_while_connected_is_noticed(store: Store, board: FakeBoard) -> None:
    for _ in range(5):
        board.log(events.GRANTED, 0, a=1)
    world = World(store, board, [])
    world.collect()
    fresh = FakeBoard()
    fresh.log(events.GRANTED, 1, a=2)
    world.source.board = fresh
    world.collect()
    assert sequences(store, 2) == [1]
    assert kinds(store) == ["restarted"]


def test_a_reset_is_noticed_once(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel(severity="notice")])
    world.collect()
    board.restart()
    board.log(events.BOOT)
    world.source.fault = Unplugged("gone")
    world.collect()
    world.collect()
    assert kinds(store) == ["reset"]
    World(store, board, []).collect()
    assert kinds(store) == ["reset"]


def test_another_board_behind_the_same_port_is_kept_apart(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [])
    world.collect()
    other = FakeBoard()
    other.log(events.BOOT)
    other.log(events.BOOT)
    world.source.board, world.source.board_id, world.source.fault = other, "AA00000000000001", Unplugged("gone")
    world.collect()
    world.collect()
    assert kinds(store) == ["replaced"]
    assert [(row.board_id[:2], row.cursor) for row in Reader(store).boards()] == [("E6", 1), ("AA", 2)]


def test_a_silent_board_is_told_once_and_so_is_its_return(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel()])
    world.collect()
    world.source.down = True
    for _ in range(8):
        world.collector.step()
        world.clock.now_s += 10
    assert kinds(store) == ["unreachable"]
    assert [letter.severity for letter in world.post()] == ["warning"]
    # The monitor is restarted meanwhile: the problem still stands, and is not told again.
    again = World(store, board, [channel()], clock=world.clock)
    again.source.down = True
    for _ in range(8):
        again.collector.step()
        again.clock.now_s += 10
    assert kinds(store) == ["unreachable"]
    again.source.down = False
    again.collect()
    assert kinds(store) == ["unreachable", "reachable"]
    assert [letter.severity for letter in again.post()] == ["cleared"]


ODD = [TypeError("int() can't convert non-string"), KeyError("mode"), RuntimeError("driver"), MemoryError()]


@pytest.mark.parametrize(
    "fault", [*ODD, StorageProblem("the board's flash is full")], ids=lambda fault: type(fault).__name__
)
@pytest.mark.parametrize("where", ["open", "page", "status"])
def test_whatever_a_source_raises_is_a_board_that_is_lost(
    store: Store, board: FakeBoard, monkeypatch: pytest.MonkeyPatch, fault: Exception, where: str
) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel()])
    world.collect()
    real = getattr(world.source, where)

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(world.source, where, fail)
    if where == "open":
        world.source.fault = Unplugged("gone")
    for _ in range(8):
        world.collector.step()
        world.clock.now_s += 10
    assert kinds(store) == ["unreachable"], "it comes back only where it gives all that is asked of it"
    assert world.collector.storage_trouble == "", "the store works"
    assert not world.collector.view.up
    monkeypatch.setattr(world.source, where, real)
    for _ in range(3):
        world.collector.step()
        world.clock.now_s += 10
    assert kinds(store) == ["unreachable", "reachable"]


def test_a_board_that_is_away_for_an_update_is_told_when_its_maintenance_would_be_over(
    store: Store, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(store, board, [channel()])
    board.log(events.MAINTENANCE_BEGAN, a=600)
    began_ms = 20818 * 86_400_000 + 43_200_000 + 1000
    start_s = world.clock.now_s
    for module in (archive, collect):
        monkeypatch.setattr(module, "now_ms", lambda: began_ms + round((world.clock.now_s - start_s) * 1000))
    world.collect()
    world.source.down = True
    for _ in range(59):
        world.collector.step()
        world.clock.now_s += 10
    assert kinds(store) == []
    for _ in range(3):
        world.collector.step()
        world.clock.now_s += 10
    assert kinds(store) == ["unreachable"]
    # One that is not in maintenance any more is told at once.
    world.source.down = False
    board.log(events.MAINTENANCE_ENDED)
    world.collect()
    world.source.down = True
    for _ in range(3):
        world.collector.step()
        world.clock.now_s += 10
    assert kinds(store) == ["unreachable", "reachable", "unreachable"]


def test_a_flash_that_takes_no_records_is_told_though_no_record_says_it(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel()])
    world.collect()
    board.status["storage_bad"] = 1
    for _ in range(3):
        world.clock.now_s += 10
        world.collect()
    assert kinds(store) == ["flash_failing"]
    assert [letter.severity for letter in world.post()] == ["alarm"]
    # The monitor is restarted meanwhile: it stands, and is not told again.
    again = World(store, board, [channel()], clock=world.clock)
    again.collect()
    assert kinds(store) == ["flash_failing"]
    board.status["storage_bad"] = 0
    again.clock.now_s += 10
    again.collect()
    assert kinds(store) == ["flash_failing", "flash_works"]
    assert [letter.severity for letter in again.post()] == ["cleared"]


def test_a_full_disk_is_said_once_and_loses_nothing(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel()])
    world.collect()
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    def full(connection: object, _record: object, _proxy: object) -> None:
        connection.cursor().execute(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]

    sqlalchemy.event.listen(store.engine, "checkout", full)
    for _ in range(600):
        board.log(events.DEAD, 0, 1, a=2000)
    for _ in range(3):
        assert world.collector.step() > 0
    assert "full" in world.collector.storage_trouble
    assert world.stream.getvalue().count("event=store_failed") == 1
    assert "next=" in world.stream.getvalue()
    kept = len(sequences(store))
    assert kept < 601
    assert Reader(store).boards()[0].cursor == kept
    sqlalchemy.event.remove(store.engine, "checkout", full)
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1073741823")
    world.collect()
    assert sequences(store) == list(range(1, 602))
    assert world.collector.storage_trouble == ""


def test_retention_keeps_alarms_and_what_is_not_yet_told(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel(severity="warning")])
    world.collect()
    old = {"wall_day": 20000}
    board.log(events.STATE_REPORTED, 0, **old)
    board.log(events.DEAD, 0, 1, a=2000, **old)
    board.log(events.LATE, 0, a=600, **old)
    board.log(events.STATE_REPORTED, 0)
    world.collect()
    assert world.archive.sweep(days=365, events=1000) == 1
    assert sequences(store) == [1, 3, 4, 5]
    world.post(60)
    assert world.archive.sweep(days=365, events=1000) == 1
    assert sequences(store) == [1, 3, 5]
    assert world.archive.sweep(days=365, events=1) == 1  # too many: the oldest that is no alarm goes
    assert sequences(store) == [3, 5]


def test_every_table_has_a_rule_of_retention() -> None:
    assert set(retention.RULES) == set(schema.metadata.tables)


def test_retention_leaves_no_table_to_grow(store: Store, board: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years of a busy rack, also with a channel that is no more; what counters have shown stays counted."""
    day_ms = 86_400_000
    today = [20_000]
    for module in (archive, outbox, retention):
        monkeypatch.setattr(module, "now_ms", lambda: today[0] * day_ms)
    board.log(events.BOOT, wall_day=today[0])
    worlds = [World(store, board, [channel("mail"), channel("old")])]
    counted = 0

    def count() -> int:
        return Reader(store).relay_events(schema.RELAY_EVENTS).get(("rack-1", "a", "fence_fired"), 0)

    sizes = []
    for year in range(6):
        if year == 2:
            worlds.append(World(store, board, [channel("mail")]))
        for number in range(4):
            today[0] += 90
            worlds[-1].source.fault = Unplugged("gone") if number == 1 else None
            for event, node, a in ((events.LATE, 0, 600), (events.FENCE_FIRED, 0, 0), (events.OFF_FAILED, 0, 0)):
                board.log(event, node, a=a, wall_day=today[0])
            board.restart()
            for _ in range(3):
                worlds[-1].collector.step()
                worlds[-1].clock.now_s += 20
            worlds[-1].post(60)
            while worlds[-1].archive.sweep(days=365, events=1000, alarm_days=400):
                assert count() >= counted
            counted = max(counted, count())
        with store.read() as connection:
            tables = schema.metadata.sorted_tables
            sizes.append(
                {
                    table.name: connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)) or 0
                    for table in tables
                }
            )
    assert counted == 24, "each fence counts for ever"
    assert min(sizes[1][name] for name in ("event", "mention", "message", "observation")) > 0
    for name, size in sizes[-1].items():
        assert size <= sizes[2][name] + 2, f"{name} grows: {[row[name] for row in sizes]}"


def test_the_store_holds_each_record_by_constraint_not_by_habit(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    World(store, board, []).collect()
    with store.read() as connection:
        row = dict(connection.execute(sqlalchemy.select(schema.event)).one()._mapping)
    row.pop("id")
    try:
        with store.write() as connection:
            connection.execute(sqlalchemy.insert(schema.event), row)
    except sqlalchemy.exc.IntegrityError:
        return
    raise AssertionError("the same record was stored twice")
