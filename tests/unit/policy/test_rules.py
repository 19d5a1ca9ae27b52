"""The rules of a scenario's whole run: each is broken here, and each reason why it is not broken is seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from heartwire.simulate import language
from heartwire.simulate.language import Action
from heartwire.simulate.rack import settings_of
from heartwire.simulate.rules import Rules
from heartwire_firmware import policy_state
from heartwire_protocol import codes
from tests.fakes.bench import FakeRack

SCENARIO = "# One.\nnodes a b\nstart auto with a\n0s operator cancel\n"
WELL = {"GUARDING": 1, "LED_STATUS": 0}
ALARM = {"GUARDING": 0, "LED_STATUS": 1}
CUT_A = {"GUARDING": 1, "POWER_A": 1}


class World:
    """A rack whose node a serves and b stands by, with a board that decides nothing."""

    def __init__(self, extra: str = "") -> None:
        self.rack = FakeRack(settings_of("", 2, True), 2)
        for node in self.rack.nodes:
            node.heartbeat()
        self.rack.nodes[0].running, self.rack.nodes[0].stopped = True, False
        self.rules = Rules(self.rack, language.parse(SCENARIO + extra))
        self.state, self.facts = policy_state.State(), policy_state.Facts()
        self.state.mode, self.state.active, self.state.holder = codes.MODE_AUTO, 0, 0
        self.facts.enabled[:2] = [True, True]
        self.facts.verdict[:2] = [codes.VERDICT_GOOD, codes.VERDICT_GOOD]
        self.facts.node_state[:2] = [codes.STATE_HEALTHY, codes.STATE_HEALTHY]
        self.state.start_ms = 1 << 28
        self.board: Any = SimpleNamespace(
            state=self.state, facts=self.facts, config=SimpleNamespace(current=self.rack.settings),
            sequencer=SimpleNamespace(busy=False),
        )  # fmt: skip

    def pass_time(self, seconds: float, outputs: dict[str, int] | None = None) -> list[str]:
        """Let time pass in steps of 100 ms; return the words of the rules that were broken so far."""
        for _ in range(round(seconds * 10)):
            self.rack.pass_time(100, {})
            self.rules.look(WELL if outputs is None else outputs, self.board)
        return [words for _, words in self.rack.violations]

    def ask(self, subject: str, verb: str, *words: str) -> None:
        self.rules.note(Action(1, 0, subject, verb, words))


def test_all_is_well() -> None:
    assert World().pass_time(300) == []


def test_a_healthy_node_is_not_cut() -> None:
    world = World()
    world.pass_time(5)
    assert "a is cut while it serves" in world.pass_time(1, CUT_A)[0]
    world = World()
    world.pass_time(5)
    assert "a is cut while it serves" in world.pass_time(1, {"GUARDING": 1, "FRONT_A": 1})[0]


@pytest.mark.parametrize(
    ("subject", "verb", "words", "excused"),
    [
        ("operator", "fence", ("a",), True),
        ("operator", "fence", ("b",), False),
        ("operator", "emergency", ("b",), True),
        ("operator", "switchover", ("a",), False),
        ("operator", "schedule", ("b", "30"), True),
        ("operator", "approve", (), False),
        ("b", "asks-to-fence", ("a",), True),
    ],
)
def test_who_asked_for_it_gets_it(subject: str, verb: str, words: tuple[str, ...], excused: bool) -> None:
    world = World()
    world.pass_time(5)
    world.ask(subject, verb, *words)
    assert (world.pass_time(1, CUT_A) == []) is excused


def test_an_old_request_is_no_reason() -> None:
    world = World()
    world.ask("operator", "fence", "a")
    world.pass_time(61)
    assert world.pass_time(1, CUT_A)


def test_a_silent_node_may_be_cut() -> None:
    world = World()
    world.pass_time(5)
    world.rack.nodes[0].freeze()
    world.pass_time(10)
    assert world.pass_time(1, CUT_A) == []


def test_what_a_file_allows_is_no_breach_but_must_be_needed() -> None:
    world = World("allow cut because this test says so\n")
    world.pass_time(5)
    assert world.pass_time(1, CUT_A) == []
    world.rules.end()
    assert world.rack.violations == []
    world = World("allow cut because this test says so\nallow two\n")
    world.pass_time(5)
    world.rules.end()
    assert [words for _, words in world.rack.violations] == ["nothing needs `allow cut`: take it out"]


def test_somebody_serves_where_a_node_is_fit() -> None:
    world = World()
    world.rack.nodes[0].crash()
    assert world.pass_time(59, ALARM) == []
    assert world.pass_time(5, ALARM)[0].startswith("nobody has served for 60 s, though b is fit")


def meant(world: World, why: str) -> None:
    """Bring about that a person is needed, for the reason `why`."""
    state, facts, row = world.state, world.facts, world.rack.settings.nodes[0]
    if why == "mode":
        state.mode = codes.MODE_APPROVE
    elif why in ("safe_mode", "store_empty", "two_running", "long_ms"):
        setattr(state, why, 1)
    elif why in ("maintenance_ms", "failed", "denied", "locked"):
        getattr(state, why)[0] = 1
    elif why == "phase":
        state.phase = policy_state.FAILED
    elif why == "cold start":
        facts.verdict[0], state.start_ms = codes.VERDICT_UNHEARD, 1000
    elif why == "no fence":
        row.fence = "none"
    elif why == "unarmed":
        row.fence = "lease"
    elif why == "second sign":
        row.second_sign, facts.power[0] = "power", codes.POWER_ON
    elif why == "unfit":
        state.quarantined[1] = 1
    elif why == "unseen":
        world.board = None
    else:
        raise AssertionError(why)


PERSONS = (
    "mode", "safe_mode", "store_empty", "two_running", "long_ms", "maintenance_ms", "failed", "denied", "locked",
    "phase", "cold start", "no fence", "unarmed", "second sign", "unfit", "unseen",
)  # fmt: skip


@pytest.mark.parametrize("why", PERSONS)
def test_a_rule_may_want_a_person(why: str) -> None:
    world = World()
    world.rack.nodes[0].crash()
    meant(world, why)
    assert world.pass_time(300, ALARM) == []


@pytest.mark.parametrize(
    ("why", "longer_s"), [("grace", 120), ("starting", 120), ("busy", 600), ("assumed", 90), ("half line", 60)]
)
def test_a_wait_for_the_last_holder_ends(why: str, longer_s: int) -> None:
    world = World()
    world.rack.nodes[0].crash()
    row = world.rack.settings.nodes[0]
    row.boot_grace_ms, row.busy_max_s, row.assumed_off_ms = 120000, 600, 90000
    if why == "grace":
        world.state.grace_ms[0] = 1
    elif why in ("starting", "busy"):
        world.facts.node_state[0] = codes.STATES.index(why)
    elif why == "assumed":
        row.off_proof = "assumed"
    else:
        world.facts.half_line[0] = True
    assert world.pass_time(59 + longer_s, ALARM) == []
    assert "though b is fit" in world.pass_time(2, ALARM)[0]


def test_a_start_that_was_granted_has_its_time() -> None:
    world = World()
    world.rack.nodes[0].fail_service("fails")
    for _ in range(118):
        world.rack.nodes[0].left_ms = 8000
        assert world.pass_time(1, ALARM) == []
    assert world.pass_time(3, ALARM)


def test_a_node_that_is_no_longer_enabled_is_not_missed() -> None:
    world = World()
    world.rack.nodes[1].crash()
    world.board = None
    world.ask("operator", "set", "node.b.enabled", "false")
    assert world.pass_time(120) == []


def test_a_refused_request_is_no_reason() -> None:
    world = World()
    world.pass_time(5)
    world.ask("operator", "fence", "a")
    world.rules.take_back()
    assert world.pass_time(1, CUT_A)


def test_the_alarm_is_on_while_nobody_serves() -> None:
    world = World()
    world.rack.nodes[0].crash()
    world.state.safe_mode = 1
    assert world.pass_time(39) == []
    assert "nobody serves, and the alarm is off" in world.pass_time(3)[0]


@pytest.mark.parametrize("why", ["dead", "quarantined", "locked"])
def test_the_alarm_is_on_while_nobody_could_take_over(why: str) -> None:
    world = World()
    if why == "dead":
        world.rack.nodes[1].crash()
        world.pass_time(10)
    elif why == "quarantined":
        world.state.quarantined[1] = 1
    else:
        world.state.locked[1] = 1
    assert world.pass_time(39) == []
    assert "nobody is left to take over" in world.pass_time(3)[0]


@pytest.mark.parametrize("why", ["planned", "maintenance", "whole board"])
def test_who_is_meant_to_be_away_is_not_missed(why: str) -> None:
    world = World()
    if why == "planned":
        world.rack.nodes[1].report(codes.STATE_PLANNED_OFF)
    else:
        world.ask("operator", "maintenance", "b" if why == "maintenance" else "board", "600")
    world.rack.nodes[1].crash()
    assert world.pass_time(120) == []


def test_led_and_alarm_say_the_same() -> None:
    world = World()
    assert world.pass_time(4, {"GUARDING": 0, "LED_STATUS": 0}) == []
    assert "the LED says armed" in world.pass_time(2, {"GUARDING": 0, "LED_STATUS": 0})[0]


def test_no_alarm_while_all_is_well() -> None:
    world = World()
    assert world.pass_time(59, ALARM) == []
    assert "the alarm is on, though" in world.pass_time(2, ALARM)[0]
    world = World()
    world.rack.supplies[1].feeds[0].fault = "inverted"
    assert world.pass_time(90, ALARM) == []
    world.rack.supplies[1].feeds[0].fault = ""
    assert world.pass_time(90, ALARM) == []


def test_a_board_that_is_off_says_nothing() -> None:
    world = World()
    world.rack.nodes[0].crash()
    world.board = None
    assert world.pass_time(120, {}) == []


def test_a_node_with_its_key_from_before_is_healthy_and_one_with_an_unknown_key_is_not() -> None:
    world = World()
    world.pass_time(5)
    world.rack.change_key(0, on_board=True)
    world.pass_time(15)
    assert world.pass_time(1, CUT_A)
    world = World()
    world.pass_time(5)
    world.rack.change_key(0, on_board=False)
    world.pass_time(15)
    assert world.pass_time(1, CUT_A) == []


def test_what_is_played_back_over_a_live_line_hides_nobody() -> None:
    world = World()
    world.rack.recordings[1].begin(world.rack.ms, 3000)
    world.pass_time(5)
    world.rack.replay(1, on=True)
    assert world.pass_time(120) == []
