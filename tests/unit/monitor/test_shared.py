"""One store for many monitors: each thing is told once, whoever tells it, whatever of them or of the server dies."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy

from heartwire.errors import StorageProblem
from heartwire.monitor import dispatch, postgresql, schema
from heartwire.monitor import store as stores
from heartwire.monitor.archive import StoreChanged
from heartwire.monitor.colleagues import GONE_MS, colleagues
from heartwire.monitor.courier import Outcome
from heartwire.monitor.dispatch import claim_s
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.presence import Presence
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.standing import standing
from heartwire.monitor.store import Store, StoreAway
from heartwire_protocol import events
from tests.fakes.board import FakeBoard
from tests.postgres import Cluster
from tests.unit.monitor.helpers import Clock, World, channel

SECOND = "E660000000000002"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a server that was away again at once."""
    monkeypatch.setattr(stores, "AWAY_S", 0.0)
    monkeypatch.setattr(postgresql, "CONNECT_S", 0.0)


@pytest.fixture
def two(place: str) -> Iterator[tuple[World, World]]:
    """Return two monitors of two rooms on one store, each with a board, with one channel that both serve."""
    with Store.open(place) as first, Store.open(place) as second:
        clock = Clock()
        worlds = []
        for number, (store, board_id) in enumerate(((first, None), (second, SECOND)), 1):
            board = FakeBoard()
            board.log(events.BOOT)
            world = World(store, board, [channel()], clock=clock, claimant=f"monitor-{number}", name=f"rack-{number}")
            world.source.board_id = board_id or world.source.board_id
            world.collect()
            worlds.append(world)
        yield worlds[0], worlds[1]


def dies(world: World, node: int = 0) -> None:
    """Let a node of the board die, and the monitor read of it."""
    world.board.log(events.DEAD, node, 1, a=2000)
    world.collect()


def claim(world: World) -> tuple[str, int]:
    """Let a monitor begin an attempt, and die before anybody knows of it."""

    def power_cut(letter: Any, attempt: int) -> Outcome:
        raise KeyboardInterrupt

    world.courier.fate = power_cut
    with pytest.raises(KeyboardInterrupt):
        world.post()
    return world.courier.attempts[-1]


def test_two_rooms_write_and_every_reader_sees_both(two: tuple[World, World]) -> None:
    one, other = two
    dies(one)
    dies(other)
    for world in two:
        found = Reader(world.store).newest(Filter(), 10)
        assert [item.board for item in found] == ["rack-1", "rack-2", "rack-1", "rack-2"]


def test_what_one_monitor_stored_another_one_tells_if_the_first_is_gone(two: tuple[World, World]) -> None:
    one, other = two
    dies(one)
    told = other.post(dispatch.IDLE_S + 1)
    assert len(told) == 1 and "rack-1" in told[0].title
    assert one.post() == []


def test_each_event_is_told_once_by_whoever_is_first(two: tuple[World, World]) -> None:
    for _ in range(10):
        for world in two:
            dies(world)
            world.board.log(events.GOOD_AGAIN, 0, 1)
        for world in two:
            world.collect()
            world.post(0.4)
    for world in two:
        world.post(200)
    uids = [letter.uid for world in two for letter in world.courier.sent]
    assert len(uids) == len(set(uids))
    with two[0].store.read() as connection:
        states = connection.execute(
            sqlalchemy.select(schema.mention.c.state, sqlalchemy.func.count()).group_by(schema.mention.c.state)
        ).all()
    assert states == [("bundled", 40)]
    assert two[0].outbox.counts()["mail"].keys() == {"sent"}


def test_an_attempt_is_taken_over_when_its_monitor_is_gone_and_not_before(two: tuple[World, World]) -> None:
    one, other = two
    dies(one)
    uid, attempt = claim(one)
    assert other.post(claim_s(channel()) - 2) == [], "it may still be sending"
    (letter,) = other.post(10)
    assert (letter.uid, other.courier.attempts) == (uid, [(uid, attempt + 1)])
    (row,) = other.outbox.latest(1)
    assert (row["state"], row["unsure"]) == ("sent", True), "nobody can know whether the first one went out"


def test_a_monitor_that_comes_back_looks_after_its_own_attempt(two: tuple[World, World]) -> None:
    one, other = two
    dies(one)
    uid, attempt = claim(one)
    one.courier.recalled[uid, attempt] = Outcome(True)
    one.post()
    (row,) = one.outbox.latest(1)
    assert (row["state"], row["unsure"], row["attempts"]) == ("sent", False, 1)
    assert other.post(200) == []


def test_a_late_word_of_the_first_sender_spares_the_second_one(two: tuple[World, World]) -> None:
    one, other = two
    dies(one)
    claim(one)
    (message,) = other.outbox.unsent("mail")
    assert other.outbox.expire(message)
    one.outbox.finish(message.id, message.attempts, sent=True)
    assert other.post(200) == []


def test_a_late_word_says_nothing_of_the_attempt_after_it(two: tuple[World, World]) -> None:
    one, other = two
    dies(one)
    claim(one)
    (message,) = other.outbox.unsent("mail")
    assert other.outbox.expire(message)
    assert other.outbox.begin(message.id) == 2
    one.outbox.finish(message.id, 1, sent=True)
    assert other.outbox.unsent("mail")[0].state == "sending"


def test_while_the_store_was_away_nobody_could_say_that_he_sent(
    two: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    dies(one)
    uid, attempt = claim(one)
    limit_s = claim_s(channel())
    other.post(limit_s - 5)
    with monkeypatch.context() as patch:
        patch.setattr(other.outbox, "unsent", lambda channel: (_ for _ in ()).throw(StorageProblem("away")))
        with pytest.raises(StorageProblem):
            other.postmen[0].step()
    other.clock.now_s += 10
    assert other.post(limit_s - 5) == []
    one.courier.recalled[uid, attempt] = Outcome(True)
    one.post()
    assert other.post(200) == []


def test_a_begin_that_took_too_long_is_not_sent(two: tuple[World, World], monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = two
    dies(one)
    begin = one.outbox.begin

    def slow(number: int) -> int | None:
        one.clock.now_s += 6.0
        monkeypatch.setattr(one.outbox, "begin", begin)
        return begin(number)

    monkeypatch.setattr(one.outbox, "begin", slow)
    (letter,) = one.post(20)
    assert one.courier.attempts == [(letter.uid, 2)], "the first attempt was given up unsent"


def test_a_row_that_another_monitor_is_just_taking_is_passed_over(database: str) -> None:
    with Store.open(database) as store, Store.open(database) as second:
        world = World(store, FakeBoard(), [channel()])
        world.board.log(events.BOOT)
        world.collect()
        dies(world)
        (mention,) = world.outbox.waiting("mail")
        other = Outbox(second, "other")
        locked = sqlalchemy.select(schema.mention).where(schema.mention.c.id == mention.id).with_for_update()
        with store.write() as connection:
            connection.execute(locked)
            assert other.bundle("mail", [mention.id], [], "alarm", "t", "b") is None
        number = other.bundle("mail", [mention.id], [], "alarm", "t", "b")
        assert number is not None
        with store.write() as connection:
            connection.execute(sqlalchemy.select(schema.message).with_for_update())
            assert other.begin(number) is None
        assert other.begin(number) == 1
        assert world.outbox.begin(number) is None


def test_numbers_of_records_become_visible_in_their_order(database: str) -> None:
    """Who pages by number would leave out for ever what comes late under a lower one."""
    with Store.open(database) as store, Store.open(database) as second:
        boards = []
        for one in (store, second):
            world = World(one, FakeBoard(), [])
            world.source.board_id = SECOND if one is second else world.source.board_id
            world.board.log(events.BOOT)
            world.collect()
            boards.append(world)
        with store.write() as connection:
            postgresql.take_turn(connection)
            boards[1].board.log(events.GRANTED)
            with second.write() as waits:
                waits.execute(sqlalchemy.text("SET LOCAL lock_timeout = '200ms'"))
                with pytest.raises(sqlalchemy.exc.OperationalError, match="lock"):
                    postgresql.take_turn(waits)
                waits.rollback()
        boards[1].collect()
        assert Reader(store).count() == 3


def test_a_store_that_was_put_back_is_filled_again_from_the_board(place: str, board: FakeBoard) -> None:
    board.log(events.BOOT)
    with Store.open(place) as store:
        world = World(store, board, [])
        world.collect()
        for _ in range(5):
            board.log(events.STATE_REPORTED)
        world.collect()
        with store.write() as connection:  # as from a backup, or a replica that was behind
            connection.execute(sqlalchemy.delete(schema.event).where(schema.event.c.sequence > 3))
            connection.execute(sqlalchemy.update(schema.board).values(cursor=3))
        board.log(events.GRANTED)
        world.clock.now_s += 5
        world.collector.step()
        assert "in the store: journal 1, record 3" in world.collector.storage_trouble
        world.clock.now_s += 5
        world.collect()
        assert [found.entry.sequence for found in Reader(store).all(Filter())] == [1, 2, 3, 4, 5, 6, 7]
        assert world.collector.storage_trouble == ""
    assert issubclass(StoreChanged, StorageProblem)


# --- The server goes away ---


POINTS = [random.Random(seed).randrange(1, 60) for seed in range(6)]


@pytest.mark.parametrize("ending", ["before the commit", "after the commit", "statement"])
@pytest.mark.parametrize("point", sorted(set(POINTS))[:4])
def test_killed_and_started_again_at_any_point_nothing_is_lost_or_told_twice(
    cluster: Cluster, impatient: None, board: FakeBoard, point: int, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed at its Nth statement, or its Nth commit: before it, or with the answer on its way."""
    cluster.sql("create database fleet")
    killed = []
    with Store.open(cluster.url("fleet")) as store:
        board.log(events.BOOT)
        world = World(store, board, [channel(severity="info", burst=1000, refill_s=0.1)], claimant="here")
        world.collect()
        left = point

        def due() -> bool:
            nonlocal left
            left -= 1
            if left == 0:
                cluster.kill()
                killed.append(ending)
                return True
            return False

        if ending == "statement":
            sqlalchemy.event.listen(store.engine, "before_cursor_execute", lambda *_: due() and None)
        else:
            left = max(1, point // 6)
            genuine = store.engine.dialect.do_commit

            def commit(connection: Any) -> None:
                if ending == "after the commit":
                    genuine(connection)
                    if due():
                        raise psycopg.OperationalError("the server is gone, and with it the answer")
                else:
                    due()
                    genuine(connection)

            monkeypatch.setattr(store.engine.dialect, "do_commit", commit)
        patience = 400
        logged = 0
        while patience and not (logged == 12 and killed and done(world)):
            patience -= 1
            world.clock.now_s += 0.5
            if logged < 12:
                board.log(events.DEAD if logged % 2 else events.GOOD_AGAIN, 0, 1, a=logged)
                logged += 1
            world.collector.step()
            for postman in world.postmen:
                try:
                    postman.step()
                except StorageProblem:
                    assert killed
            if len(killed) == 1:
                killed.append("started again")
                world.courier.recalled = {key: Outcome(key[0] in sent(world)) for key in world.courier.attempts}
                cluster.start()
        assert patience, f"never done: {world.stream.getvalue()[-2000:]}"
        assert [found.entry.sequence for found in Reader(store).all(Filter())] == list(range(1, 14))
        assert Reader(store).observations() == []
        assert len(sent(world)) == len(set(sent(world))), "told twice"
        with store.read() as connection:
            told = connection.execute(
                sqlalchemy.select(schema.mention.c.subject, schema.message.c.uid).join_from(
                    schema.mention, schema.message, schema.mention.c.message_id == schema.message.c.id
                )
            ).all()
        assert {row.uid for row in told} == set(sent(world)) and len(told) == 12
        assert "event=unreachable" not in world.stream.getvalue(), "the board was there all the time"


def sent(world: World) -> list[str]:
    return [letter.uid for letter in world.courier.sent]


def done(world: World) -> bool:
    """Tell whether all is stored and told."""
    try:
        counts = world.outbox.counts().get("mail", {})
        stored = Reader(world.store).count()
    except StorageProblem:
        return False
    return stored == 13 and set(counts) == {"sent"}


def test_without_its_store_a_monitor_watches_on_and_says_so(
    cluster: Cluster, impatient: None, board: FakeBoard
) -> None:
    cluster.sql("create database fleet")
    board.log(events.BOOT)
    with Store.open(cluster.url("fleet")) as store:
        world = World(store, board, [channel()])
        world.collect()
        cluster.kill()
        board.log(events.DEAD, 0, 1, a=2000)
        for _ in range(5):
            world.clock.now_s += 2.5
            board.status["uptime_s"] += 2
            assert world.collector.step() > 0
        view = world.collector.view
        assert view.up and view.status is not None and view.status.uptime_s == board.status["uptime_s"]
        assert store.away and world.collector.storage_trouble
        assert world.stream.getvalue().count("event=store_failed") == 1, "said once"
        assert "unreachable" not in world.stream.getvalue()
        cluster.start()
        world.clock.now_s += 2
        world.collect()
        assert "event=store_works" in world.stream.getvalue()
        assert not store.away
        assert Reader(store).count() == 2
        assert len(world.post()) == 1


def test_a_patient_store_is_used_as_soon_as_its_server_is_there(cluster: Cluster, impatient: None) -> None:
    cluster.sql("create database fleet")
    cluster.kill()
    with pytest.raises(StoreAway):
        Store.open(cluster.url("fleet"))
    with Store.open(cluster.url("fleet"), patient=True) as store:
        with pytest.raises(StoreAway, match="connection"):
            Reader(store).count()
        cluster.start()
        assert Reader(store).count() == 0


def test_a_server_that_is_away_is_asked_by_one_at_a_time(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.sql("create database fleet")
    with Store.open(cluster.url("fleet")) as store:
        cluster.kill()
        with pytest.raises(StoreAway):
            Reader(store).count()
        asked = []
        monkeypatch.setattr(store.engine, "connect", lambda: asked.append(1))
        with pytest.raises(StoreAway):
            Reader(store).count()
        assert asked == [], "it was tried just now"


# --- Who works on it ---


def presence(world: World, number: int) -> Presence:
    return Presence(world.archive, f"{number:032x}", f"room-{number}", ["mail"], lambda: None)


def test_a_monitor_that_is_gone_is_told_once_and_so_is_its_return(database: str) -> None:
    with Store.open(database) as store:
        worlds = [World(store, FakeBoard(), [channel(severity="notice")], name=f"rack-{number}") for number in (1, 2)]
        first, second, third = presence(worlds[0], 1), presence(worlds[1], 2), presence(worlds[1], 3)
        for one in (first, second, third):
            one.step()
        assert standing(store).running is True
        with store.write() as connection:
            first_row = schema.monitor.c.name == "room-1"
            past = {"seen_ms": schema.monitor.c.seen_ms - GONE_MS - 1}
            connection.execute(sqlalchemy.update(schema.monitor).where(first_row).values(past))
        for one in (second, third, second):
            one.step()
        (letter,) = worlds[1].post()
        assert "room-1" in letter.body and "has said nothing" in letter.body
        assert any("room-1 says nothing since" in words for words, _ in standing(store).troubles())
        first.step()
        first.step()
        assert len(worlds[1].post(100)) == 1
        assert standing(store).troubles() == []


def test_a_monitor_that_ends_in_good_order_is_not_missed(database: str) -> None:
    with Store.open(database) as store:
        world = World(store, FakeBoard(), [channel(severity="info")])
        first, second = presence(world, 1), presence(world, 2)
        first.step()
        first.end()
        with store.write() as connection:
            connection.execute(sqlalchemy.update(schema.monitor).values(seen_ms=1))
        second.step()
        assert world.post() == []
        found = standing(store)
        assert [(one.name, one.at_work, one.ended) for one in found.monitors] == [
            ("room-1", False, True),
            ("room-2", True, False),
        ]
        assert "nobody would be told" not in str(found.troubles())
        second.end()
        assert "nobody would be told" in str(standing(store).troubles())


def test_what_another_monitor_serves_is_not_swept(place: str) -> None:
    with Store.open(place) as store:
        world = World(store, FakeBoard(), [channel("theirs")])
        world.board.log(events.BOOT)
        world.collect()
        dies(world)
        Presence(world.archive, "1" * 32, "room-1", ["theirs"], lambda: None).step()
        ours = World(store, FakeBoard(), [channel("ours")])
        with store.write() as connection:
            connection.execute(sqlalchemy.update(schema.mention).values(at_ms=1))
        ours.archive.sweep(1, 1000)
        assert len(world.outbox.waiting("theirs")) == 1
        with store.read() as connection:
            assert [one.channels for one in colleagues(store, connection)] == [("theirs",)]


# --- Passwords ---


def test_a_password_is_in_no_error_and_no_list_of_processes(cluster: Cluster, tmp_path: Any) -> None:
    from heartwire.monitor import run
    from heartwire.monitor.settings import settings_from

    cluster.sql("create role rack login password 'right-hunter2'")
    cluster.sql("create database fleet owner rack")
    (cluster.data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    cluster.sql("select pg_reload_conf()")
    secret = tmp_path / "password"
    values = {
        "store": cluster.url("fleet", "rack"), "store_password_file": str(secret), "metrics": "",
        "spool": str(tmp_path / "spool"), "board": [{"name": "rack-1", "port": "/dev/none"}],
    }  # fmt: skip
    secret.write_text("wrong-hunter2\n")
    secret.chmod(0o600)
    stream = io.StringIO()
    with pytest.raises(StorageProblem, match="password authentication failed") as refused:
        run.Monitor(settings_from(values), stream=stream)
    assert "hunter2" not in f"{refused.value.words} {refused.value.next_step} {stream.getvalue()}"
    secret.write_text("right-hunter2\n")
    with run.open_store(settings_from(values)) as store:
        assert store.revision()
        with store.read() as connection:
            shown = connection.execute(sqlalchemy.text("SELECT application_name, query FROM pg_stat_activity")).all()
            assert "hunter2" not in str(shown)
    secret.chmod(0o644)
    with pytest.raises(Exception, match="others may read"):
        run.open_store(settings_from(values))


def test_times_are_the_servers(database: str) -> None:
    with Store.open(database) as store, store.read() as connection:
        assert abs(store.clock_ms(connection) - time.time() * 1000) < 60_000
