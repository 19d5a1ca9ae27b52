"""Who is away on purpose pages nobody, and what was asked for is no alarm: the real policy's records, told."""

from collections.abc import Callable, Sequence

import pytest

from heartwire.monitor.courier import Letter
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.settings import ChannelSettings
from heartwire.monitor.store import Store
from heartwire_protocol import codes, events, reasons
from tests.fakes.bench import Bench
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel

A, B = codes.NODE_A, codes.NODE_B


class Rack:
    """A bench that runs, and the monitor that hears of it."""

    def __init__(
        self,
        store: Store,
        settings: str = "",
        mode: int = codes.MODE_AUTO,
        channels: Sequence[ChannelSettings] | None = None,
    ) -> None:
        self.bench = Bench(settings)
        self.bench.settle()
        if mode != codes.MODE_AUTO:
            self.bench.arm(mode)
        self.board = FakeBoard()
        self.board.boot = self.board.status["boot"] = 1
        self.board.status["wall"] = None
        self.world = World(store, self.board, channels or [channel()])
        self.store = store
        self.hear()

    def hear(self) -> list[Letter]:
        """Let the monitor read what the board has written by now; return what it tells."""
        self.bench.run(50)
        self.board.records = self.bench.raw_journal()
        self.board.status.update(newest=len(self.board.records), uptime_s=self.bench.ms // 1000)
        self.world.collect()
        return self.world.post(60)

    def ask(self, **request: object) -> None:
        """Send a request that the board must take."""
        answer = self.bench.ask(**request)  # type: ignore[arg-type]
        assert answer.get("ok") == 1, answer

    def had(self, event: int, node: int = codes.NO_NODE) -> bool:
        """Tell whether the board has written such a record."""
        return self.bench.has(event, node)


def switchover(rack: Rack) -> None:
    rack.ask(op="switchover", node="b", force=0)
    rack.bench.run(8000)
    assert rack.had(events.SWITCHOVER_DONE, B)


def cancelled_switchover(rack: Rack) -> None:
    rack.bench.nodes[A].obedient = False
    rack.ask(op="switchover", node="b", force=0)
    rack.bench.run(2000)
    rack.ask(op="cancel")
    rack.bench.run(2000)
    assert rack.had(events.SWITCHOVER_FAILED, B)


def planned_off(node: int) -> Callable[[Rack], None]:
    def act(rack: Rack) -> None:
        rack.bench.nodes[node].report(codes.STATE_PLANNED_OFF)
        rack.bench.run(3000)
        rack.bench.supplies[node].shut_down()
        rack.bench.run(20_000)
        assert rack.had(events.DEAD, node)

    return act


def maintenance(node: str | None) -> Callable[[Rack], None]:
    def act(rack: Rack) -> None:
        rack.ask(op="maintenance", node=node, seconds=600)
        down = A if node is None else codes.NODES.index(node)
        rack.bench.nodes[down].crash()
        rack.bench.run(20_000)
        assert rack.had(events.DEAD, down) and not rack.had(events.FENCE_FIRED)

    return act


def all_lines_in_maintenance(rack: Rack) -> None:
    rack.ask(op="maintenance", node=None, seconds=600)
    for node in rack.bench.nodes:
        node.crash()
    rack.bench.run(20_000)


def fence_by_command(rack: Rack) -> None:
    rack.ask(op="fence", node="b", last=0, by=codes.TOOL_COMMAND << 2 | codes.NO_NODE)
    rack.bench.run(16_000)
    assert rack.had(events.FENCE_FIRED, B) and rack.had(events.DEAD, B)


def relay_test(rack: Rack) -> None:
    rack.ask(op="maintenance", node="b", seconds=600)
    rack.bench.key_on = True
    rack.bench.supplies[B].boot_ms = 20_000
    rack.bench.run(100)
    rack.ask(op="proof", node="b", seconds=5)
    rack.bench.run(60_000)
    assert rack.had(events.PROOF_PASSED, B) and rack.had(events.DEAD, B)


PLANNED: dict[str, Callable[[Rack], None]] = {
    "a switchover": switchover,
    "a switchover that is cancelled": cancelled_switchover,
    "the active node goes down on purpose": planned_off(A),
    "the standby goes down on purpose": planned_off(B),
    "the active node in maintenance": maintenance("a"),
    "the standby in maintenance": maintenance("b"),
    "the board in maintenance": maintenance(None),
    "all lines silent in maintenance of the board": all_lines_in_maintenance,
    "a fence that a person asked for": fence_by_command,
    "a relay test": relay_test,
}


@pytest.mark.parametrize("act", PLANNED.values(), ids=PLANNED)
def test_what_is_meant_pages_nobody(act: Callable[[Rack], None], store: Store) -> None:
    rack = Rack(store)
    act(rack)
    assert [letter.title for letter in rack.hear()] == []
    # It is kept all the same, and those who want notices get it.
    assert [found.entry for found in Reader(store).all(Filter(severity="notice"))]


def test_what_was_meant_to_be_silent_is_not_to_be_looked_for(store: Store) -> None:
    """A test of a relay, told as a notice, sends nobody to the server's console."""
    rack = Rack(store, channels=[channel(severity="notice")])
    relay_test(rack)
    text = "\n".join(letter.body for letter in rack.hear())
    assert "b (beta) is dead" in text
    assert "Look at the server itself" not in text


def crash(rack: Rack) -> None:
    rack.bench.nodes[A].crash()
    rack.bench.run(20_000)


def maintenance_of_the_other(rack: Rack) -> None:
    rack.ask(op="maintenance", node="a", seconds=600)
    rack.bench.nodes[B].crash()
    rack.bench.run(20_000)


def fence_by_a_cluster(rack: Rack) -> None:
    rack.ask(op="fence", node="b", last=0, by=codes.TOOL_FENCE_AGENT << 2 | codes.NO_NODE)
    rack.bench.run(16_000)


def back_from_planned_off(rack: Rack) -> None:
    """It went down on purpose, came back, and then it crashes."""
    planned_off(B)(rack)
    rack.hear()
    fake = rack.bench.nodes[B]
    rack.bench.supplies[B].mains = False
    rack.bench.run(1000)
    rack.bench.supplies[B].mains = True
    rack.bench.run_until(lambda: rack.bench.board.facts.verdict[B] == codes.VERDICT_GOOD, 120_000)
    assert fake.state == codes.STATE_HEALTHY
    rack.bench.run(2000)
    fake.crash()
    rack.bench.run(20_000)


@pytest.mark.parametrize("act", [crash, maintenance_of_the_other, fence_by_a_cluster, back_from_planned_off])
def test_what_is_not_meant_is_an_alarm(act: Callable[[Rack], None], store: Store) -> None:
    rack = Rack(store)
    act(rack)
    assert any(letter.severity == "alarm" for letter in rack.hear())


def test_the_end_of_a_maintenance_that_leaves_a_server_silent_is_told(store: Store) -> None:
    rack = Rack(store)
    maintenance("b")(rack)
    assert rack.hear() == []
    rack.ask(op="maintenance", node="b", seconds=0)
    (letter,) = rack.hear()
    assert letter.severity == "warning" and "maintenance of b (beta) ended" in letter.title
    assert "If a server is still silent, look at it" in letter.body


def test_the_end_of_a_maintenance_in_which_all_is_well_is_told_to_nobody(store: Store) -> None:
    rack = Rack(store)
    rack.ask(op="maintenance", node="b", seconds=600)
    rack.ask(op="maintenance", node="b", seconds=0)
    assert rack.hear() == []
    planned_off(B)(rack)
    rack.ask(op="maintenance", node=None, seconds=600)
    rack.ask(op="maintenance", node=None, seconds=0)
    assert rack.hear() == []


@pytest.fixture
def told(store: Store, board: FakeBoard) -> Callable[..., list[str]]:
    """Return a function that lets the board write records after others and returns the severities that are told."""
    board.log(events.BOOT)
    world = World(store, board, [channel()])
    world.collect()

    def tell(*written: tuple[int, dict[str, int]]) -> list[str]:
        for event, fields in written:
            board.log(event, **fields)
        world.collect()
        return [letter.severity for letter in world.post(60)]

    return tell


BEGAN = (events.MAINTENANCE_BEGAN, {"node": B, "a": 600})


@pytest.mark.parametrize(
    "event",
    [
        (events.TWO_RUNNING, {}),
        (events.OFF_FAILED, {"node": B, "a": 5000}),
        (events.FENCE_FIRED, {"node": B, "reason": reasons.DEAD, "a": 1, "b": 10_000}),
        (events.PROOF_FAILED, {"node": B, "a": codes.PROOF_RELAY_IDLE}),
        (events.DISAGREE, {"node": B, "a": codes.POWER_OFF, "b": codes.POWER_ON}),
        (events.HELD, {"node": B, "reason": reasons.NOT_DURABLE}),
    ],
    ids=("two_running", "off_failed", "fence_fired", "proof_failed", "disagree", "held"),
)
def test_what_must_never_happen_is_an_alarm_in_maintenance_too(
    event: tuple[int, dict[str, int]], told: Callable[..., list[str]]
) -> None:
    assert told(BEGAN, event) == ["alarm"]


def test_a_maintenance_whose_end_was_never_seen_does_not_hide_for_ever(told: Callable[..., list[str]]) -> None:
    later = 43_200_000 + 1000 * (600 + 3700)
    dead = (events.DEAD, {"node": B, "a": 10_000})
    assert told(BEGAN, dead) == []
    assert told((events.DEAD, {"node": B, "a": 10_000, "wall_ms": later})) == ["alarm"]


def test_power_that_is_gone_in_maintenance_is_no_disagreement(told: Callable[..., list[str]]) -> None:
    off = (events.DISAGREE, {"node": B, "a": codes.POWER_ON, "b": codes.POWER_OFF})
    assert told(BEGAN, off) == []
    assert told((events.MAINTENANCE_ENDED, {"node": B}), off) == ["alarm"]


@pytest.mark.parametrize("event", [events.GRANTED, events.ADOPTED])
def test_one_that_was_made_active_since_is_not_off_on_purpose(event: int, told: Callable[..., list[str]]) -> None:
    said = (events.STATE_REPORTED, {"node": B, "a": codes.STATE_PLANNED_OFF})
    dead = (events.DEAD, {"node": B, "a": 10_000})
    assert told(said, dead) == []
    back = (event, {"node": B, "reason": reasons.OPERATOR, "a": 4})
    assert told(back, dead) == ["alarm"]
