"""What a message or an alert tells people to type is taken by the firmware in the state that the message is about."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from importlib import resources

import click
import pytest
import yaml

from heartwire import transport
from heartwire.answers import LogPage, NodeStatus, Status
from heartwire.board import Board
from heartwire.cli.main import cli, main
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire.monitor import advice
from heartwire.monitor.compose import Composer
from heartwire.monitor.shorten import DO, GAP
from heartwire.monitor.sources import Identity
from heartwire.monitor.store import Store
from heartwire_protocol import events
from tests.fakes.bench import Bench, BenchChannel
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel
from tests.unit.policy import test_next_steps as states

COMMAND = re.compile(r"`heartwire ([^`]+)`")


def observing() -> Bench:
    """a runs the services and falls silent while the board only observes."""
    bench = Bench()
    bench.nodes[0].running, bench.nodes[0].stopped = True, False
    bench.run(5000)
    bench.nodes[0].crash()
    bench.run(20_000)
    return bench


def locked_out() -> Bench:
    """b never comes back, and the board gives it up."""
    bench = Bench("node.b.recovery=cycle\nboard.rung_ms=5000\nboard.max_actions=2\nnode.b.boot_grace_ms=30000\n")
    bench.settle()
    bench.supplies[1].boots = False
    bench.nodes[1].crash()
    bench.run_until(lambda: bool(bench.board.state.locked[1]), 200_000)
    bench.run(15_000)
    return bench


def mended() -> Bench:
    """The contact of a did not cut; it is mended, and a is back."""
    bench = states.released_after_a_failed_fence()
    bench.supplies[0].welded = False
    bench.supplies[0].reboot()
    bench.run(20_000)
    return bench


# How an event comes about, for each whose advice names a command that does something, and the node it is about.
STATES: dict[str, tuple[Callable[[], Bench], str]] = {
    "fence_fired": (states.quarantined, "a"),
    "locked_out": (locked_out, "b"),
    "approval_asked": (states.asking, "a"),
    "relay_suspect": (mended, "a"),
    "would_fence": (observing, "a"),
    "would_grant": (observing, "b"),
}
NAMES = {row[0]: row[1] for row in events.EVENTS}
NEEDS_NODE = ("clear", "release", "declare", "switchover", "fence")


def commands_in(text: str) -> list[str]:
    """Return what `text` tells to type behind "heartwire"."""
    return COMMAND.findall(text)


def does_something(command: str) -> bool:
    return command.split(maxsplit=1)[0] not in advice.LOOKS


def run(bench: Bench, command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Type a command at `bench`; return its exit code."""
    bench.key_on = True  # who may do it is another matter
    bench.run(100)
    channel = BenchChannel(bench)
    monkeypatch.setattr(transport, "open_channel", lambda address: channel)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return main([*command.split(), "--yes"])


def rule_texts() -> Iterator[tuple[str, str]]:
    text = resources.files("heartwire").joinpath("share", "heartwire-alerts.yml").read_text()
    for group in yaml.safe_load(text)["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                yield rule["alert"], rule["annotations"]["description"].replace("{{ $labels.node }}", "a")


def test_every_command_that_is_named_exists() -> None:
    texts = [row.do for row in advice.ADVICE.values()] + [row[1] for row in advice.OBSERVATIONS.values()]
    found = [command for text in [*texts, *(text for _, text in rule_texts())] for command in commands_in(text)]
    assert len(found) > 10
    for command in found:
        words = [word for word in command.split() if not word.startswith("-")]
        group: click.Command = cli
        context = cli.make_context("heartwire", [], resilient_parsing=True)
        for word in words[: 2 if words[0] in ("agent", "monitor", "config") else 1]:
            entry = group.get_command(context, word) if isinstance(group, click.Group) else None
            assert entry is not None, command
            group = entry


def test_each_event_whose_advice_does_something_is_tried() -> None:
    named = {name for name, row in advice.ADVICE.items() if any(map(does_something, commands_in(row.do)))}
    assert named == set(STATES), "say in STATES how each of these comes about"
    assert not [text for _, text, _, _ in advice.OBSERVATIONS.values() if any(map(does_something, commands_in(text)))]


@pytest.mark.parametrize("event", STATES)
def test_the_board_takes_what_the_advice_for_an_event_names(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, node = STATES[event]
    for command in filter(does_something, commands_in(advice.ADVICE[event].do)):
        bench = make()
        assert any(NAMES.get(row[1]) == event for row in bench.happened)
        words = f"{command} {node}" if command in NEEDS_NODE else command
        assert run(bench, words, monkeypatch) == 0, f"{words}\n{bench.story()}"


@pytest.mark.parametrize(
    ("alert", "make"), [("HeartwireQuarantined", states.quarantined), ("HeartwireObserving", observing)]
)
def test_the_board_takes_what_an_alert_names(
    alert: str, make: Callable[[], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    (command,) = filter(does_something, commands_in(dict(rule_texts())[alert]))
    assert run(make(), command, monkeypatch) == 0


def test_no_other_alert_names_a_command_that_does_something() -> None:
    named = {alert for alert, text in rule_texts() if any(map(does_something, commands_in(text)))}
    assert named == {"HeartwireQuarantined", "HeartwireObserving"}


class BenchSource:
    """The board of a bench, as the collector reads it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def open(self) -> Identity:
        link = Link(BenchChannel(self.bench), Keys())
        link.hello()
        self.board = Board(link)
        return Identity(link.welcome.board_id, link.welcome.boot)

    def page(self, after: int) -> tuple[LogPage, tuple[bytes, ...]]:
        return self.board.page(after)

    def status(self) -> tuple[Status, list[NodeStatus]]:
        return self.board.status(), self.board.nodes()

    def settings(self) -> str | None:
        return self.board.settings().text

    def close(self) -> None:
        pass


def watching(store: Store, bench: Bench) -> World:
    """Return a monitor of the bench's board, which knows what the board takes."""
    world = World(store, FakeBoard(), [channel()])
    world.collector._source = BenchSource(bench)
    for postman in world.postmen:
        postman._composer = Composer(store, "here", steps=lambda board: world.collector.view.steps(world.clock.now_s))
    return world


def told(store: Store, bench: Bench) -> str:
    """Return what the monitor's message about all that happened on `bench` says is to be done now."""
    world = watching(store, bench)
    # It has met the board before, so nothing of this is history.
    identity = world.collector._source.open()
    world.archive.add(world.archive.meet(identity.board_id, "rack-1"), (), boot=identity.boot)
    world.collect()
    (letter,) = world.post(5)
    return next(part for part in letter.body.split(GAP) if part.startswith(DO))


MESSAGES: dict[str, tuple[Callable[[], Bench], set[str]]] = {
    "a failover": (states.quarantined, {"clear a"}),
    "an approval": (states.asking, {"approve 1", "deny 1"}),
    "a fence that failed": (states.failed, {"release a"}),
    "the same, released": (states.released_after_a_failed_fence, set()),
    "a lock-out": (locked_out, set()),
    "a denied approval": (states.denied, {"fence a"}),
    "a service that failed": (states.degraded, {"switchover b"}),
    "all silent": (states.both_silent, set()),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_the_board_takes_each_command_of_a_message(case: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    make, wanted = MESSAGES[case]
    text = told(store, make())
    commands = [command for command in commands_in(text) if does_something(command)]
    assert wanted <= set(commands), text
    node = "b" if case == "a lock-out" else "a"
    for command in commands:
        words = f"{command} {node}" if command in NEEDS_NODE else command
        bench = make()
        assert run(bench, words, monkeypatch) == 0, f"{words}\n{text}\n{bench.story()}"


def test_a_board_that_is_not_reached_gets_no_steps(store: Store) -> None:
    world = watching(store, states.quarantined())
    world.collect()
    view, now_s = world.collector.view, world.clock.now_s
    assert any("clear a" in line for line in view.steps(now_s) or ())
    assert view.steps(now_s + 60) is None
    view.up = False
    assert view.steps(now_s) is None


def test_a_text_loses_what_the_board_does_not_take() -> None:
    text = "Find out why it failed; then `heartwire clear` it. Look at `heartwire status`."
    assert advice.as_far_as_taken(text, {"clear"}) == text
    assert advice.as_far_as_taken(text, ()) == "Find out why it failed. Look at `heartwire status`."
    assert advice.as_far_as_taken("Decide now: `heartwire approve` or `heartwire deny`. It waits.", ()) == "It waits."
