"""A board newer than the monitor: numbers that no table here knows are kept, told, shown and exported as numbers."""

import itertools
from pathlib import Path

import pytest

from heartwire.answers import NodeStatus, Status
from heartwire.monitor import metrics
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.schema import RELAY_EVENTS
from heartwire.monitor.store import Store
from heartwire.monitor.views import View
from heartwire_protocol import codes, events, reasons
from tests.fakes.board import FakeBoard, node_body, status_body
from tests.unit.monitor.helpers import World, channel
from tests.unit.monitor.test_reading import heartwire

EVENTS = [row[0] for row in events.EVENTS]
NEW_EVENT = max(EVENTS) + 1
NEW_REASON = max(row[0] for row in reasons.REASONS) + 1
# What newer firmware may put into any field: numbers in gaps, behind the tables, and as large as the field is.
NUMBERS = (0, 3, 7, 255, 65_535, codes.COUNT_MAX)
UNKNOWN_EVENTS = sorted(set(range(1, NEW_EVENT + 3)) - set(EVENTS)) + [300, 65_535]


def everything_shows(store: Store, tmp_path: Path) -> None:
    """Let every reader of the store show all of it."""
    path = Path(str(store.engine.url.database))
    for words in (
        ("log", "--store", path, "--limit", "0"),
        ("log", "--store", path, "--limit", "0", "--json"),
        ("monitor", "export", "--store", path, "--csv"),
        ("monitor", "export", "--store", path),
        ("monitor", "status", "--store", path),
        ("monitor", "status", "--store", path, "--json"),
        ("monitor", "outbox", "--store", path),
        ("monitor", "verify", "--store", path),
    ):
        result = heartwire(*words)
        assert result.exit_code == 0, (words, result.output, result.exception)
    Reader(store).relay_events(RELAY_EVENTS)


@pytest.mark.parametrize("node", [codes.NODE_A, codes.NO_NODE, 5, 255])
def test_every_event_with_any_numbers_is_kept_told_and_shown(
    node: int, store: Store, board: FakeBoard, tmp_path: Path
) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel(severity="info", burst=1000)])
    world.collect()
    numbers = itertools.cycle(itertools.product(NUMBERS, NUMBERS))
    for event in [*EVENTS, *UNKNOWN_EVENTS]:
        a, b = next(numbers)
        board.log(event, node, (NEW_REASON, 65_535)[a % 2], a, b)
    world.collect()
    assert world.post(60)
    assert Reader(store).count() == 1 + len(EVENTS) + len(UNKNOWN_EVENTS)
    assert world.outbox.counts()["mail"].keys() == {"sent"}
    everything_shows(store, tmp_path)


def test_an_unknown_event_is_told_with_what_to_do(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    world = World(store, board, [channel(severity="notice")])
    world.collect()
    board.log(NEW_EVENT, 0, NEW_REASON, 5, 6)
    world.collect()
    (letter,) = world.post()
    assert f"event #{NEW_EVENT} of a (alpha), 5 and 6: reason #{NEW_REASON}" in letter.title
    assert "install the version that fits the board" in letter.body


def test_a_monitor_that_starts_again_takes_no_new_event_for_an_altered_journal(store: Store, board: FakeBoard) -> None:
    for event in (events.GRANTED, NEW_EVENT, events.STATE_REPORTED):
        board.log(event)
    World(store, board, []).collect()
    board.log(events.REVOKED)
    World(store, board, []).collect()
    board.log(NEW_EVENT)
    World(store, board, []).collect()
    board.log(events.GRANTED)
    board.log(events.STATE_REPORTED)
    World(store, board, []).collect()
    assert Reader(store).observations() == []
    assert [found.entry.sequence for found in Reader(store).all(Filter())] == list(range(1, 8))


def test_metrics_live_with_names_that_no_table_has() -> None:
    view = View("rack-1", up=True)
    node = node_body("a", role="retired", verdict="#9", state="#7", power="brown", fence="#5", flags=1 << 20, more=[1])
    view.take(Status.of(status_body(mode="#6", held="#99", phase="#8", more={})), [NodeStatus.of(node)], 1.0)
    source = metrics.Source([view], {}, counts=dict, relay_events=dict, facts=dict, clock=lambda: 2.0)
    values = {
        (sample.name, *sample.labels.values()): sample.value for family in source.collect() for sample in family.samples
    }
    assert values["heartwire_board_held", "rack-1"] == 1
    assert not any(value for name, value in values.items() if name[0] in ("heartwire_role", "heartwire_verdict"))
