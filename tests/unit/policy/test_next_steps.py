"""What `heartwire status` tells a person to type is taken by the firmware in that very state, and says the truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from heartwire import next_steps, transport
from heartwire.board import Board
from heartwire.cli import status_view
from heartwire.cli.main import main
from heartwire.cli.status import read
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire_firmware.policy_state import APPROVAL, FAILED
from heartwire_protocol import codes, messages
from tests.fakes.bench import Bench, BenchChannel

SHORT = "board.hold_max_s=600\n"


def settled(mode: str = "auto") -> Bench:
    bench = Bench(SHORT)
    bench.settle()
    if mode != "auto":
        assert bench.ask(op="mode", mode=mode) == {"ok": 1}
    return bench


def quarantined() -> Bench:
    bench = settled()
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.board.state.active == 1)
    bench.run_until(lambda: bench.board.facts.fence[0] == 0 and bench.nodes[0].alive, 60000)
    bench.run(4000)
    return bench


def asking() -> Bench:
    bench = settled("approve")
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.board.state.phase == APPROVAL)
    return bench


def failed() -> Bench:
    bench = settled()
    bench.supplies[0].welded = True
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.board.state.phase == FAILED)
    return bench


def lonely() -> Bench:
    """The standby is gone first, the active node after it: nobody is left."""
    bench = settled()
    bench.nodes[1].crash()
    bench.run(12000)
    bench.nodes[0].crash()
    bench.run(15000)
    return bench


def degraded() -> Bench:
    """The service of the active node failed, its agent lives."""
    bench = settled()
    bench.nodes[0].obedient = False
    bench.nodes[0].report(codes.STATE_DEGRADED)
    bench.nodes[0].running = False
    bench.nodes[0].stopped = False
    bench.run(1500)
    return bench


def denied() -> Bench:
    bench = asking()
    assert bench.ask(op="deny", request=bench.board.state.request_number) == {"ok": 1}
    bench.run(200)
    return bench


def maintained() -> Bench:
    bench = settled()
    for node in ("a", None):
        assert bench.ask(op="maintenance", node=node, seconds=600) == {"ok": 1}
    return bench


def forgotten() -> Bench:
    """A replaced board knows nobody, and b has not been heard."""
    bench = Bench(SHORT)
    bench.nodes[1].crash()
    bench.arm()
    bench.run(5000)
    return bench


def locked_out() -> Bench:
    bench = quarantined()
    bench.board.state.locked[0] = 1
    bench.run(50)
    return bench


def fenced_in_fencer_mode() -> Bench:
    bench = settled("fencer")
    assert bench.ask(op="fence", node="b", last=1, by=0) == {"ok": 1}
    bench.run(8000)
    return bench


def safe() -> Bench:
    bench = settled()
    bench.board.state.safe_mode = 1
    bench.run(50)
    return bench


def other_key() -> Bench:
    """The agent of a has another key than the board, which is new and observes."""
    bench = Bench()
    bench.nodes[0].take_key(bytes(32))
    bench.run(8000)
    return bench


def draining() -> Bench:
    bench = settled()
    bench.nodes[0].obedient = False
    assert bench.ask(op="switchover", node="b", force=0) == {"ok": 1}
    bench.run(500)
    return bench


def unplugged() -> Bench:
    """The active server loses its own power, for good."""
    bench = settled()
    bench.nodes[0].crash()
    bench.supplies[0].mains = False
    bench.run(15000)
    return bench


def unplugged_and_denied() -> Bench:
    bench = unplugged()
    if bench.board.state.phase == APPROVAL:
        assert bench.ask(op="deny", request=bench.board.state.request_number) == {"ok": 1}
    bench.run(15000)
    return bench


def both_silent() -> Bench:
    bench = settled()
    for node in bench.nodes:
        node.crash()
    bench.run(15000)
    return bench


def welded_and_unplugged() -> Bench:
    bench = failed()
    bench.supplies[0].mains = False
    bench.run(3000)
    return bench


def released_after_a_failed_fence() -> Bench:
    bench = failed()
    assert bench.ask(op="release", node="a") == {"ok": 1}
    bench.run(500)
    return bench


def both_run() -> Bench:
    bench = settled()
    bench.allow_two = True
    bench.nodes[1].obedient = False
    bench.nodes[1].running, bench.nodes[1].stopped = True, False
    bench.run(3000)
    return bench


def scheduled() -> Bench:
    bench = settled()
    assert bench.ask(op="time", day=20000, ms=0) == {"ok": 1}
    assert bench.ask(op="schedule", node="b", seconds=600) == {"ok": 1}
    return bench


# How the state is made, and commands that must be among those printed.
STATES: dict[str, tuple[Callable[[], Bench], set[str]]] = {
    "quarantined": (quarantined, {"clear a"}),
    "asking": (asking, {"approve 1", "deny 1"}),
    "failed": (failed, {"release a"}),
    "lonely": (lonely, set()),
    "degraded": (degraded, {"agent doctor", "switchover b"}),
    "denied": (denied, {"fence a"}),
    "maintained": (maintained, {"maintenance a off", "maintenance board off"}),
    "forgotten": (forgotten, {"fence b"}),
    "locked out": (locked_out, {"clear a"}),
    "fencer": (fenced_in_fencer_mode, {"release b"}),
    "safe": (safe, {"restart"}),
    "draining": (draining, {"cancel"}),
    "unplugged": (unplugged, {"approve 1"}),
    "unplugged and denied": (unplugged_and_denied, set()),
    "both silent": (both_silent, set()),
    "released": (released_after_a_failed_fence, {"fence a"}),
    "both run": (both_run, set()),
    "scheduled": (scheduled, {"cancel"}),
    "keys differ": (other_key, {"key list"}),
    "well": (settled, set()),
}


def open_board(bench: Bench) -> Board:
    link = Link(BenchChannel(bench), Keys())
    link.hello()
    return Board(link)


def screen(bench: Bench) -> str:
    found, nodes = read(open_board(bench))
    return "\n".join(part.plain() for part in status_view.parts(found, nodes))


@pytest.mark.parametrize("state", STATES)
def test_each_command_that_status_prints_is_accepted(
    state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, wanted = STATES[state]
    bench = make()
    found, nodes = read(open_board(bench))
    commands = [step.command for step in next_steps.steps(found, nodes) if step.command]
    assert wanted <= set(commands), screen(bench)
    assert state != "well" or not commands
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for at, command in enumerate(commands):
        if command.startswith("agent"):
            continue
        if at:
            bench = make()
        channel = BenchChannel(bench)
        monkeypatch.setattr(transport, "open_channel", lambda address, channel=channel: channel)
        boots = bench.board.state.boots
        code = main(command.split() if command == "key list" else [*command.split(), "--yes"])
        # The bench's board takes the answer to a restart with it.
        taken = bench.board.state.boots > boots if command == "restart" else code == 0
        assert taken, f"{command}: {capsys.readouterr().err}\n{screen(bench)}"


def test_a_server_proven_off_neither_runs_nor_listens() -> None:
    bench = settled()
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.board.state.active == 1)
    text = screen(bench)
    assert "proven off" in text
    assert "half line" not in text and "runs" not in text


@pytest.mark.parametrize(("deaf", "words"), [(True, "it is heard but does not hear the board"), (False, "")])
def test_only_a_node_that_is_heard_can_be_deaf(deaf: bool, words: str) -> None:
    bench = settled()
    if deaf:
        bench.deaf.add(0)
    else:
        bench.nodes[0].crash()
    bench.run(6000)
    text = screen(bench)
    assert ("hear the board" in text) == deaf and words in text


@pytest.mark.parametrize(
    ("command", "step"),
    [
        ("switchover b", "cut the power of a by hand"),
        ("declare b", "a has power: pull its plug, then again"),
    ],
)
def test_what_a_failed_fence_refuses_is_answered_with_what_helps(
    command: str, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = failed()
    monkeypatch.setattr(transport, "open_channel", lambda address: BenchChannel(bench))
    assert main([*command.split(), "--yes"]) == 9
    assert step in capsys.readouterr().err.splitlines()[-1]


def test_a_board_that_hears_nobody_is_not_to_be_armed() -> None:
    bench = Bench()
    for node in bench.nodes:
        node.crash()
    bench.run(8000)
    text = screen(bench)
    assert "mode auto" not in text and "no node is heard yet" in text
    assert "mode auto" not in screen(other_key())


def test_an_approval_for_a_lost_power_says_what_is_asked() -> None:
    text = screen(unplugged())
    assert "approval 1 wanted" in text and "a lost its power, and not by this board: let b take over" in text
    assert "fence a, then" not in text


def test_services_that_died_are_not_said_to_start() -> None:
    """Its agent is well and has not noticed, or not started them yet: no word of its own says so."""
    bench = settled()
    found, nodes = read(open_board(bench))
    for flags, words in ((0, "a is active, but its services do not run"), (messages.FLAG_VERIFIED_STOPPED, "starts")):
        told = [replace(nodes[0], flags=flags), nodes[1]]
        (trouble,) = [text for text in status_view.troubles(found, told) if "a is active" in text]
        assert words in trouble and "healthy" not in trouble


def test_services_that_are_asked_to_stop_are_no_trouble() -> None:
    found, nodes = read(open_board(draining()))
    stopped = [replace(nodes[0], state="draining", flags=messages.FLAG_VERIFIED_STOPPED), nodes[1]]
    assert found.phase == "draining"
    assert not [text for text in status_view.troubles(found, stopped) if "services" in text]


def test_a_silent_node_is_named_once() -> None:
    """By what the alarm contact stands for, or by itself."""
    bench = settled()
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.board.state.active == 1 and not bench.board.state.awaiting_running)
    bench.run(3000)
    found = "; ".join(status_view.troubles(*read(open_board(bench))))
    assert found.count("a is dead") == 1, found


def test_an_active_node_that_starts_is_not_said_to_have_failed() -> None:
    """From the grant on, whatever it said before it heard of it."""
    bench = settled()
    bench.nodes[1].take_time("on_active", 3000)
    assert bench.ask(op="switchover", node="b", force=0) == {"ok": 1}
    bench.run_until(lambda: bench.board.state.active == 1)
    for _ in range(6):
        found, nodes = read(open_board(bench))
        assert "b is active, and starts its services" in status_view.troubles(found, nodes), screen(bench)
        assert not next_steps.steps(found, nodes)
        bench.run(300)
    bench.run(5000)
    assert "starts" not in screen(bench)


def test_an_active_node_without_service_is_trouble() -> None:
    bench = degraded()
    words = "a is active, but its services do not run: it reports degraded"
    assert words in status_view.troubles(*read(open_board(bench)))
    assert f"! {words}" in screen(bench)
