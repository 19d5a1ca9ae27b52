"""The agent program against a virtual board: every action, exit code and argument path, and what goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import serial

from heartwire.board import Board
from tests.cluster.bench import Bench, Outcome, call, settings_text

MakeBench = Callable[..., Bench]
WAYS = ("by_stdin", "by_command_line")


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest, bench: Bench) -> Callable[..., Outcome]:
    """Return the call of the agent, on each of its two ways in."""
    way: Callable[..., Outcome] = getattr(bench, request.param)
    return way


def test_off_status_on(bench: Bench, ask: Callable[..., Outcome]) -> None:
    assert ask(action="status", plug="a").code == 0
    assert ask(action="off", plug="alpha").code == 0
    assert not bench.powered("a")
    assert bench.powered("b")
    assert ask(action="status", plug="a").code == 2
    again = ask(action="off", plug="a", verbose=1)
    assert (again.code, again.output) == (0, "")
    assert ask(action="list-status").output == "a,alpha,off\nb,beta,on\n"
    assert ask(action="on", plug="a").code == 0
    assert bench.powered("a")
    bench.wait_good()
    assert ask(action="status", plug="a").code == 0


def test_reboot_takes_the_power_away_and_gives_it_back(bench: Bench, ask: Callable[..., Outcome]) -> None:
    boots = bench.servers["b"].boots
    assert ask(action="reboot", plug="b").code == 0
    assert bench.servers["b"].boots == boots + 1
    assert bench.powered("b")


def test_the_default_action_is_reboot(bench: Bench, ask: Callable[..., Outcome]) -> None:
    boots = bench.servers["b"].boots
    assert ask(plug="b").code == 0
    assert bench.servers["b"].boots == boots + 1


def test_list_and_monitor(ask: Callable[..., Outcome]) -> None:
    assert (ask(action="list").code, ask(action="list").output) == (0, "a,alpha\nb,beta\n")
    assert ask(action="list-status").output == "a,alpha,on\nb,beta,on\n"
    assert ask(action="monitor").code == 0


def test_metadata_and_validation(ask: Callable[..., Outcome]) -> None:
    assert ask(action="metadata").output.startswith("<?xml")
    assert ask(action="validate-all").code == 0
    assert ask(action="validate-all", delay="x").code == 1


@pytest.mark.parametrize("action", ["on", "off", "reboot", "status"])
def test_wrong_or_missing_node(bench: Bench, action: str) -> None:
    for outcome in (
        bench.by_stdin(action=action, plug="gamma"),
        bench.by_command_line(action=action, plug="spare"),
        bench.by_stdin(action=action),
    ):
        assert outcome.code == 1
        assert "fence_heartwire: " in outcome.errors
    assert bench.powered("a") and bench.powered("b")


def test_unknown_arguments_are_ignored(ask: Callable[..., Outcome]) -> None:
    assert ask(action="status", plug="a", nonsense="x", passwd="secret").code == 0


def test_unknown_action(ask: Callable[..., Outcome]) -> None:
    assert ask(action="diag", plug="a").code == 1


def test_absent_port(ask: Callable[..., Outcome]) -> None:
    outcome = ask(action="off", plug="a", board="/dev/no-such-board", login_timeout=0.5)
    assert (outcome.code, outcome.seconds < 5) == (1, True)
    assert "no such port" in outcome.errors


@pytest.mark.parametrize("action", ["on", "reboot", "status", "monitor", "list", "list-status"])
def test_every_action_needs_the_board(bench: Bench, action: str) -> None:
    assert bench.by_stdin(action=action, plug="a", board="/dev/no-such-board", login_timeout=0).code == 1


def test_a_board_by_the_name_of_the_environment(bench: Bench) -> None:
    outcome = call([], "action=list\nboard=\nlogin_timeout=0\n")
    assert outcome.code == 1
    assert "no board is plugged in" in outcome.errors or "boards are plugged in" in outcome.errors


def test_busy_port_is_waited_for_and_then_a_failure(bench: Bench) -> None:
    with serial.Serial(bench.port, exclusive=True):
        outcome = bench.by_stdin(action="off", plug="a", login_timeout=1)
        assert (outcome.code, outcome.seconds < 8) == (1, True)
        assert "in use by" in outcome.errors
    held = serial.Serial(bench.port, exclusive=True)
    threading.Timer(1.5, held.close).start()
    assert bench.by_stdin(action="status", plug="a", login_timeout=10).code == 0
    assert bench.powered("a")


def test_two_callers_at_once_both_get_their_answer(bench: Bench) -> None:
    outcomes: list[Outcome] = []
    callers = [
        threading.Thread(target=lambda: outcomes.append(bench.by_stdin(action="status", plug="a"))) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [outcome.code for outcome in outcomes] == [0] * 4


def test_two_fences_at_once_leave_exactly_one_server(bench: Bench) -> None:
    outcomes: dict[str, Outcome] = {}

    def fence(node: str) -> None:
        outcomes[node] = bench.by_stdin(action="off", plug=node, power_timeout=4)

    callers = [threading.Thread(target=fence, args=(node,)) for node in "ab"]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(outcome.code for outcome in outcomes.values()) == [0, 1]
    off = next(node for node, outcome in outcomes.items() if outcome.code == 0)
    assert [bench.powered(node) for node in "ab"] == [node != off for node in "ab"]


def test_the_last_fit_node_is_not_fenced_unless_asked(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.wait_good()
    bench.servers["b"].crash()
    bench.until(lambda board: board.node("b").verdict == "dead", "death of b")
    refused = bench.by_stdin(action="off", plug="a")
    assert refused.code == 1
    assert "no other powered node fit to be active would remain" in refused.errors
    assert bench.powered("a")
    assert bench.by_stdin(action="off", plug="a", last=1).code == 0
    assert not bench.powered("a")


def test_a_welded_relay_is_a_failure(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.wait_good()
    bench.rack.supplies["a"].weld()
    outcome = bench.by_stdin(action="off", plug="a")
    assert outcome.code == 1
    assert "its power sense did not go off" in outcome.errors
    assert bench.powered("a")
    assert bench.by_stdin(action="status", plug="a").code == 1
    assert bench.by_stdin(action="reboot", plug="a").code == 1


def test_mains_that_were_off_before_prove_nothing(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.wait_good()
    bench.rack.supplies["a"].set_mains(False)
    bench.until(lambda board: board.node("a").power == "off", "power of a off")
    assert bench.by_stdin(action="status", plug="a").code == 1
    outcome = bench.by_stdin(action="off", plug="a")
    assert outcome.code == 1
    assert "its power was off before the fence fired" in outcome.errors


def test_unplugged_and_hung_boards_are_failures_in_time(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.wait_good()
    bench.board.hang()
    hung = bench.by_stdin(action="off", plug="a", login_timeout=1, power_timeout=3)
    assert (hung.code, hung.seconds < 12) == (1, True)
    bench.board.unplug()
    gone = bench.by_stdin(action="off", plug="a", login_timeout=1, power_timeout=3)
    assert (gone.code, gone.seconds < 6) == (1, True)
    assert bench.powered("a")


def test_pulling_the_cable_in_the_middle_never_ends_in_success_without_proof(make_bench: MakeBench) -> None:
    bench = make_bench(text=settings_text(off_stable_ms=1500, off_timeout_ms=4000))
    bench.wait_good()
    outcomes: list[Outcome] = []

    def fence() -> None:
        outcomes.append(bench.by_stdin(action="off", plug="a", power_timeout=3))

    caller = threading.Thread(target=fence)
    caller.start()
    bench.rack.wait_event("relay a", "contact open", 10)
    bench.board.unplug()
    caller.join()
    assert outcomes[0].code == 1
    assert 3 <= outcomes[0].seconds < 12
    assert "fault inside" not in outcomes[0].errors
    bench.rack.wait_event("relay a", "contact closed", 5)


def test_observe_mode_refuses(make_bench: MakeBench) -> None:
    bench = make_bench(mode="observe")
    bench.wait_good()
    outcome = bench.by_stdin(action="off", plug="a")
    assert outcome.code == 1
    assert "the board is in observe mode" in outcome.errors
    assert bench.by_stdin(action="monitor").code == 1
    assert bench.powered("a")


def test_assumed_off_takes_its_time(make_bench: MakeBench) -> None:
    bench = make_bench(text=settings_text("assumed"))
    bench.until(lambda board: board.node("a").verdict == board.node("b").verdict == "good", "both good")
    outcome = bench.by_stdin(action="off", plug="a", verbose=1)
    assert outcome.code == 0
    assert outcome.seconds >= 2.0
    assert "its power is not measured" in outcome.errors
    assert bench.by_stdin(action="status", plug="a").code == 2
    assert bench.by_stdin(action="on", plug="a").code == 0
    assert bench.powered("a")


def test_keys_from_a_file_and_refusal_without(make_bench: MakeBench) -> None:
    key = "5a" * 32
    bench = make_bench(
        text=settings_text() + f"board.operate_key={key}\nboard.configure_key={'6b' * 32}\n", unlocked_by=key
    )
    bench.wait_good()
    assert bench.by_stdin(action="off", plug="a").code == 1
    assert bench.powered("a")
    path = bench.directory / "keys"
    path.write_text(f"operate={key}\n")
    path.chmod(0o600)
    outcome = bench.by_stdin(action="off", plug="a", key_file=path, verbose=1)
    assert outcome.code == 0
    assert key[:8] not in outcome.output + outcome.errors


def test_only_confirm_succeeds_by_the_boards_own_fence(make_bench: MakeBench) -> None:
    bench = make_bench(mode="auto", text=settings_text(off_ms=20000))
    bench.wait_good()
    bench.until(lambda board: board.status().active is not None, "an active node")
    with Board.open(bench.port) as board:
        active = board.status().active
    assert active is not None
    early = bench.by_stdin(action="off", plug=active, only_confirm=1, power_timeout=1)
    assert early.code == 1
    assert bench.powered(active)
    bench.servers[active].crash()
    began = time.monotonic()
    outcome = bench.by_stdin(action="reboot", plug=active, only_confirm=1, power_timeout=20)
    assert outcome.code == 0, outcome.errors + bench.story()
    assert time.monotonic() - began >= 1.0
    assert not bench.powered(active)
