"""What is delivered when, while something is away: a monitor's host, the server of the store, a mail server, a broker.

Each case is one virtual afternoon of two monitors on one PostgreSQL server; `-s` prints the table. Lost is what nobody
was told, twice what somebody was told under two ids, or by two messages. The broker's hour is in real seconds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from heartwire.errors import StorageProblem
from heartwire.monitor import postgresql, schema
from heartwire.monitor import store as stores
from heartwire.monitor.courier import Outcome
from heartwire.monitor.store import Store
from heartwire_protocol import events
from tests.fakes.board import FakeBoard
from tests.postgres import Cluster
from tests.unit.monitor.helpers import Clock, World, channel

# Virtual seconds: one event every five minutes, over two hours; away for the second half hour or the hour after it.
EVENTS, EVERY_S = 24, 300
STEP_S = 15.0
AWAY = (1800, 5400)


@dataclass
class Afternoon:
    """Two rooms, one store."""

    cluster: Cluster
    worlds: list[World]
    clock: Clock
    logged: dict[int, float] = field(default_factory=dict)  # event by its number: when it happened
    arrived: list[tuple[str, float]] = field(default_factory=list)  # uid, and when

    def run(self, gone: Any = None, back: Any = None, dead: int | None = None) -> None:
        """Let the time pass; `gone` and `back` are done at the ends of AWAY, and monitor `dead` rests between them."""
        end = EVENTS * EVERY_S + 900
        for at in range(int(end / STEP_S)):
            now_s = at * STEP_S
            self.clock.now_s = 1000.0 + now_s
            away = AWAY[0] <= now_s < AWAY[1]
            if gone is not None and now_s == AWAY[0]:
                gone()
            if back is not None and now_s == AWAY[1]:
                back()
            if now_s % EVERY_S == 0 and len(self.logged) < EVENTS:
                number = len(self.logged)
                self.worlds[number % 2].board.log(events.DEAD, 0, 1, a=number)
                self.logged[number] = now_s
            for at_world, world in enumerate(self.worlds):
                if not (away and dead == at_world):
                    self._step(world, now_s)

    def _step(self, world: World, now_s: float) -> None:
        before = len(world.courier.sent)
        world.collector.step()
        try:
            for _ in range(20):
                if world.postmen[0].step() > 0:
                    break
        except StorageProblem:
            pass
        self.arrived += [(letter.uid, now_s) for letter in world.courier.sent[before:]]

    def table(self, what: str) -> tuple[int, int]:
        """Print what was delivered when; return how many were lost, and how many came twice."""
        with self.worlds[0].store.read() as connection:
            rows = connection.execute(
                sqlalchemy.select(schema.event.c.raw, schema.message.c.uid)
                .join_from(schema.event, schema.mention, schema.mention.c.event_id == schema.event.c.id)
                .join(schema.message, schema.mention.c.message_id == schema.message.c.id)
            ).all()
        from heartwire import journal

        when = dict(reversed(self.arrived))
        told: dict[int, list[float]] = {}
        for row in rows:
            if row.uid in when:
                told.setdefault(journal.decode(row.raw).a, []).append(when[row.uid])
        copies = Counter(uid for uid, _ in self.arrived)
        lost = [number for number in self.logged if number not in told]
        twice = [number for number, times in told.items() if len(times) > 1]
        twice += [uid for uid, count in copies.items() if count > 1]  # type: ignore[misc]
        during = [number for number, at in self.logged.items() if AWAY[0] <= at < AWAY[1]]
        delays = {number: min(times) - self.logged[number] for number, times in told.items()}
        late = max((delays[number] for number in during if number in delays), default=0.0)
        usual = max((delay for number, delay in delays.items() if number not in during), default=0.0)
        print(
            f"\n{what:<58} {len(self.logged)} events, {len(during)} of them meanwhile; told within {usual:.0f} s, "
            f"meanwhile {late:.0f} s; {len(copies)} messages; lost {len(lost)}, twice {len(twice)}"
        )
        return len(lost), len(twice)


@pytest.fixture
def afternoon(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Afternoon]:
    """Return two monitors that begin."""
    monkeypatch.setattr(stores, "AWAY_S", 0.0)
    monkeypatch.setattr(postgresql, "CONNECT_S", 0.0)
    cluster.sql("create database fleet")
    with Store.open(cluster.url("fleet")) as first, Store.open(cluster.url("fleet")) as second:
        clock = Clock()
        worlds = []
        for number, store in enumerate((first, second), 1):
            board = FakeBoard()
            board.log(events.BOOT)
            mail = channel(burst=50)
            world = World(store, board, [mail], clock=clock, claimant=f"monitor-{number}", name=f"rack-{number}")
            world.source.board_id = f"E66000000000000{number}"
            world.collect()
            worlds.append(world)
        yield Afternoon(cluster, worlds, clock)


def test_nothing_is_away(afternoon: Afternoon) -> None:
    afternoon.run()
    assert afternoon.table("nothing is away") == (0, 0)


@pytest.mark.parametrize("where", ["before it begins an attempt", "between the claim and the sending"])
def test_the_host_of_a_monitor_loses_power(afternoon: Afternoon, where: str) -> None:
    first = afternoon.worlds[0]
    genuine = first.courier.fate

    class PowerCut(StorageProblem):
        """Nothing after it is done."""

    def gone() -> None:
        first.board.log(events.DEAD, 1, 1, a=900)
        first.collector.step()
        if where.startswith("between"):

            def cut(letter: Any, attempt: int) -> Outcome:
                raise PowerCut("the power is cut")

            first.courier.fate = cut
            afternoon.clock.now_s += 1
            for _ in range(3):
                afternoon._step(first, float(AWAY[0]))
                afternoon.clock.now_s += 1
        first.courier.fate = genuine

    afternoon.run(gone, None, dead=0)
    afternoon.logged[900] = float(AWAY[0])
    assert afternoon.table(f"a monitor's host loses power {where}") == (0, 0)


def test_the_server_of_the_store_is_away_for_an_hour(afternoon: Afternoon) -> None:
    afternoon.run(afternoon.cluster.kill, afternoon.cluster.start)
    assert afternoon.table("PostgreSQL is killed, and started after an hour") == (0, 0)


def test_the_server_of_the_store_restarts_again_and_again(afternoon: Afternoon) -> None:
    def restart() -> None:
        for _ in range(3):
            afternoon.cluster.kill()
            for world in afternoon.worlds:
                afternoon._step(world, float(AWAY[0]))
            afternoon.cluster.start()

    afternoon.run(restart, restart)
    assert afternoon.table("PostgreSQL is killed and started six times") == (0, 0)


def test_the_mail_server_is_away_for_an_hour(afternoon: Afternoon) -> None:
    def refuse(letter: Any, attempt: int) -> Outcome:
        return Outcome(False, "connection refused")

    def gone() -> None:
        for world in afternoon.worlds:
            world.courier.fate = refuse

    def back() -> None:
        for world in afternoon.worlds:
            world.courier.fate = lambda letter, attempt: Outcome(True)

    afternoon.run(gone, back)
    assert afternoon.table("the mail server is away for an hour") == (0, 0)


def test_the_broker_is_away_for_an_hour(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A real mosquitto; two monitors tell it, each the journal of its own racks."""
    from heartwire.mqtt import publisher
    from tests.unit.mqtt import conftest as mqtt

    program = mqtt.find_mosquitto()
    monkeypatch.setattr(publisher, "CONNECT_S", mqtt.PATIENCE_S)
    monkeypatch.setattr(publisher, "ACKNOWLEDGE_S", mqtt.PATIENCE_S)
    cluster.sql("create database fleet")
    server = mqtt.Server(tmp_path, program)
    request.addfinalizer(server.kill)
    with Store.open(cluster.url("fleet")) as first, Store.open(cluster.url("fleet")) as second:
        rooms = []
        for number, store in enumerate((first, second), 1):
            told = mqtt.World(store, server.address, client=f"room-{number}")
            told.view.name, told.unmet.name = f"rack-{number}", f"unmet-{number}"
            told.see()
            told.tell()
            board = FakeBoard()
            world = World(store, board, [], name=f"rack-{number}")
            world.source.board_id = f"E66000000000000{number}"
            rooms.append((world, told))

        def happens(count: int) -> None:
            for world, _ in rooms:
                for _ in range(count):
                    world.board.log(events.STATE_REPORTED, 0, a=1)
                world.collect()

        came: list[tuple[str, str]] = []
        for away in (False, True, False):
            if away:
                server.kill()
                happens(12)
                for _, told in rooms:
                    for _ in range(120):  # an hour, at the publisher's own pace
                        told.now_s += told.publisher.step()
                server.start()
            with mqtt.Listener(server) as listener:
                if not away:
                    happens(6)
                for _, told in rooms:
                    told.tell()
                mqtt.until(lambda: len(journal_of(listener.all)) >= (24 if away else 12), "the journal")  # noqa: B023
                came += journal_of(listener.all)
        for _, told in rooms:
            told.publisher.close()
    numbers = Counter((topic, json.loads(words)["sequence"]) for topic, words in came)
    lost = [key for key in wanted_of(rooms) if key not in numbers]
    twice = [key for key, count in numbers.items() if count > 1]
    print(f"\nthe MQTT broker is away for an hour: {len(numbers)} records; lost {len(lost)}, twice {len(twice)}")
    assert (lost, twice, len(numbers)) == ([], [], 48)


def journal_of(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(topic, words) for topic, words in messages if topic.endswith("/journal")]


def wanted_of(rooms: list[tuple[World, Any]]) -> list[tuple[str, int]]:
    return [
        (told.publisher.topics.rack(f"rack-{number}", "journal"), sequence)
        for number, (_, told) in enumerate(rooms, 1)
        for sequence in range(1, 25)
    ]
