"""Looks at heartbeats: what counts, what the store keeps of it, and what `heartwire advise` reads there."""

import json
from pathlib import Path

import pytest
import sqlalchemy

from heartwire.answers import NodeStatus, Status
from heartwire.errors import StorageProblem
from heartwire.monitor import looks, schema
from heartwire.monitor.looks import AGE, JITTER, WATCHED, Looks, Sum
from heartwire.monitor.query import Reader
from heartwire.monitor.store import Store
from heartwire.monitor.views import Jitter
from heartwire_protocol import codes, events
from tests.fakes.board import FakeBoard, node_body, status_body
from tests.unit.monitor.helpers import World
from tests.unit.monitor.test_reading import heartwire

BOARD_ID = "E66118604B5C4A2A"


def look(taken: Looks, at_s: float, jitter: Jitter | None = None, status: object = None, **node: object) -> None:
    nodes = [NodeStatus.of(node_body("a", **node))]
    body = status_body(**(status if isinstance(status, dict) else {}))
    taken.take(Status.of(body), nodes, {"a": jitter} if jitter else {}, at_s)


def test_each_look_counts_under_the_least_bound_that_the_age_is_not_above() -> None:
    taken = Looks()
    for at, age_ms in enumerate((0, 50, 51, 1000, 30_000, 30_001)):
        look(taken, at * 100.0, age_ms=age_ms)
    assert taken.sums() == [
        Sum("a", AGE, bound, times) for bound, times in ((0, 1), (50, 2), (100, 1), (1000, 1), (30_000, 1))
    ]
    taken.clear()
    assert taken.sums() == []


@pytest.mark.parametrize(
    "node",
    [
        {"verdict": "dead"}, {"verdict": "unheard"}, {"maintenance_s": 60}, {"state": "planned_off"},
        {"power": "off"}, {"age_ms": None}, {"status": {"maintenance_s": 60}},
    ],
)  # fmt: skip
def test_a_node_that_need_not_beat_is_not_looked_at(node: dict[str, object]) -> None:
    taken = Looks()
    look(taken, 1.0, **node)  # type: ignore[arg-type]
    assert taken.sums() == []


def test_time_counts_between_two_looks_that_follow_each_other() -> None:
    taken = Looks()
    for at_s, age_ms in ((0.0, 300), (2.0, 300), (4.5, 300), (100.0, 300), (102.0, None), (104.0, 300)):
        look(taken, at_s, age_ms=age_ms)
    assert Sum("a", WATCHED, 0, 4500) in taken.sums()


def test_jitter_counts_from_the_first_look_on() -> None:
    jitter, taken = Jitter(), Looks()
    for number in range(2):
        jitter.look(1, number, float(number))
    look(taken, 0.0, jitter, age_ms=100)
    for number in range(2, 5):
        jitter.look(1, number, float(number) + (0.3 if number == 4 else 0.0))
    look(taken, 2.0, jitter, age_ms=100)
    strays = {item.bound_ms: item.times for item in taken.sums() if item.kind == JITTER}
    assert strays == {1: 2, 500: 1}


def watching(store: Store, board: FakeBoard, passes: int, step_s: float = 2.0) -> World:
    """Return a world whose collector has looked `passes` times."""
    board.log(events.BOOT)
    world = World(store, board, [])
    for number in range(passes):
        world.collector.step()
        world.clock.now_s += step_s
        for body in board.node_bodies.values():
            body["sequence"] += 2
        board.node_bodies["a"]["age_ms"] = 100 + number % 3
    return world


def test_looks_are_stored_now_and_then_and_at_the_end(store: Store, board: FakeBoard) -> None:
    world = watching(store, board, 20)
    assert Reader(store).looks(BOARD_ID) == {}
    world.collector.close()
    found = Reader(store).looks(BOARD_ID)
    assert sum(times for (node, kind, _), times in found.items() if (node, kind) == ("a", AGE)) == 20
    assert found["a", WATCHED, 0] == 19 * 2000
    watching(store, board, round(looks.WRITE_S / 2.0) + 2)
    again = Reader(store).looks(BOARD_ID)
    assert again["a", WATCHED, 0] > found["a", WATCHED, 0] + 100_000


def test_a_store_that_fails_loses_no_look(store: Store, board: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    world = watching(store, board, 10)
    count = world.archive.count

    def full(*_: object) -> None:
        raise StorageProblem("full")

    monkeypatch.setattr(world.archive, "count", full)
    world.collector.close()
    assert Reader(store).looks(BOARD_ID) == {}
    monkeypatch.setattr(world.archive, "count", count)
    world.collector.close()
    assert Reader(store).looks(BOARD_ID)["a", WATCHED, 0] == 9 * 2000
    world.collector.close()  # and counts none twice
    assert Reader(store).looks(BOARD_ID)["a", WATCHED, 0] == 9 * 2000


def test_old_looks_go_and_a_store_of_before_has_none(store: Store, board: FakeBoard) -> None:
    world = watching(store, board, 5)
    world.collector.close()
    with store.write() as connection:
        connection.execute(sqlalchemy.update(schema.look).values(day=1))
    world.archive.sweep(730, 1000)
    assert Reader(store).looks(BOARD_ID) == {}
    with store.write() as connection:
        schema.look.drop(connection)
    assert Reader(store).looks(BOARD_ID) == {}


def test_advise_reads_records_and_looks_of_a_store(store: Store, board: FakeBoard, tmp_path: Path) -> None:
    world = watching(store, board, 30)
    for at_ms, event, a in (
        (1000, events.FIRST_HEARD, 0),
        (40_000, events.LATE, 3000),
        (41_000, events.GOOD_AGAIN, 4000),
    ):
        board.log(event, codes.NODE_A, a=a, uptime_ms=at_ms)
    world.collect()
    world.collector.close()
    path = str(store.engine.url.database)
    refused = heartwire("advise", "--store", path)
    assert "are wanted" in str(refused.exception)
    result = heartwire("advise", "--store", path, "--least", "10s", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["silences"] == {"count": 1, "least_ms": 3000, "longest_ms": 4000}
    assert found["looks"] >= 60
    assert found["watched_s"] >= 2 * 58
    settings = tmp_path / "rack.toml"
    settings.write_text("[board]\nlate_ms = 3500\ndead_ms = 30000\n")
    words = heartwire("advise", "--store", path, "--least", "10s", "--settings", str(settings)).output
    assert "1 silences of healthy nodes of 3500 ms and more, the longest 4000 ms" in words
    assert "defaults stand for it" not in words
    assert "defaults stand for it" in heartwire("advise", "--store", path, "--least", "10s").output
