"""What a restart of the board, or of the agent, does to a running service: nothing, while its lease runs.

The agent and the board's policy are the real ones, in virtual time; b is the product's agent, its service obeys hooks.
"""

import json
from pathlib import Path

import pytest

from heartwire.agent.lease import Loss
from heartwire.agent.settings import AgentSettings, HookSettings
from heartwire.agent.state import LEASE_MAX_MS, Resumption, read_resumption
from heartwire_protocol import codes, events, messages
from tests.unit.agent.agent_bench import AgentBench, B
from tests.unit.agent.agent_fakes import HOOKS, World, ms


def active(directory: Path, loss: Loss, hooks: HookSettings = HOOKS) -> AgentBench:
    """Return a bench on which b is active and runs its service."""
    settings = f"board.preferred=b\nnode.b.on_board_loss={loss.value}\n"
    bench = AgentBench(directory, text=settings, mode=codes.MODE_AUTO, hooks=hooks, on_board_loss=loss, obedient=True)
    bench.bench.run(3000)
    assert bench.agent.services.running and bench.agent.judged.reason == "granted"
    bench.commands.started.clear()
    bench.bench.happened.clear()
    return bench


def told(bench: AgentBench) -> list[str]:
    """Return the names of what the board recorded of b since the last look."""
    names = {row[0]: row[1] for row in events.EVENTS}
    return [names[event] for _, event, node, *_ in bench.bench.happened if node == B]


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("check_ms", [0, 1500, 4500])
def test_an_agent_that_is_restarted_is_noticed_by_nobody(tmp_path: Path, loss: Loss, check_ms: int) -> None:
    bench = active(tmp_path, loss)
    epoch = bench.agent.lease.epoch
    bench.restart_agent(check_ms)
    bench.bench.run(30_000)
    assert bench.commands.names() == []
    assert (bench.agent.services.running, bench.agent.lease.epoch) == (True, epoch)
    assert set(told(bench)) <= {"new_incarnation", "evidence", "state_reported"}


@pytest.mark.parametrize("loss", list(Loss))
def test_where_nothing_checks_a_service_that_was_started_is_not_started_again(tmp_path: Path, loss: Loss) -> None:
    hooks = HookSettings(on_active=HOOKS.on_active, on_standby=HOOKS.on_standby)
    bench = active(tmp_path, loss, hooks)
    bench.restart_agent()
    bench.bench.run(30_000)
    assert bench.commands.names() == []
    assert set(told(bench)) <= {"new_incarnation", "evidence", "state_reported"}


@pytest.mark.parametrize("loss", list(Loss))
def test_a_service_that_ended_with_its_agent_is_started_again(tmp_path: Path, loss: Loss) -> None:
    bench = active(tmp_path, loss)
    bench.checks.instant["check"] = 3
    bench.restart_agent(500)
    bench.bench.run(30_000)
    assert bench.commands.names() == ["on_active"]
    assert bench.agent.services.running


def test_an_agent_that_stays_away_longer_than_its_lease_stops_what_must_stop(tmp_path: Path) -> None:
    bench = active(tmp_path, Loss.STOP)
    status = json.loads((tmp_path / "status.json").read_text())
    bench.bench.cut.add(B)
    bench.restart_agent()
    left_ms = (status["lease_until_ns"] - bench.now_ns()) // ms(1)
    bench.bench.run(left_ms - 50)
    assert bench.commands.names() == []
    bench.bench.run(100)
    assert bench.commands.names() == ["on_standby"]


def test_a_standby_that_could_not_be_stopped_does_not_claim_to_run(tmp_path: Path) -> None:
    bench = active(tmp_path, Loss.HOLD)
    bench.agent.lease._until_ns = 0
    bench.agent.step()
    bench.agent.disk.store_status(bench.agent.status(bench.now_ns()))
    bench.restart_agent(60_000)
    assert bench.agent.services.suspect and not bench.agent.services.running


def test_what_the_status_file_promises_is_bounded_by_what_the_wire_can_say(tmp_path: Path) -> None:
    status = {
        "node": "b", "boot_id": "boot-1", "time_ns": ms(5000), "lease_until_ns": 1 << 70, "epoch": 7, "suspect": True,
        "wish": "run", "busy_until_ns": 0, "crash_dump_until_ns": 0,
    }  # fmt: skip
    (tmp_path / "status.json").write_text(json.dumps(status))
    former = read_resumption(tmp_path, "b", "boot-1")
    assert former.lease_until_ns == ms(5000 + LEASE_MAX_MS)
    assert former.lease_epoch == 7, "written by an agent that did not say so yet"
    for broken in ("", "[]", "{}", '"x"', "{", json.dumps({**status, "lease_until_ns": "soon"})):
        (tmp_path / "status.json").write_text(broken)
        assert read_resumption(tmp_path, "b", "boot-1") == Resumption()


def test_a_new_agent_keeps_no_lease_of_an_older_epoch(tmp_path: Path) -> None:
    from heartwire.agent.build import resumed_lease

    settings = AgentSettings("b", "x", hooks=HOOKS, on_board_loss=Loss.STOP)
    lease = resumed_lease(settings, 9, Resumption(ms(9000), 8, suspect=True), ms(1000))
    assert (lease.epoch, lease.lease_epoch, lease.until_ns) == (9, 8, ms(9000))


@pytest.mark.parametrize("orders", [messages.ORDER_HOLD, messages.ORDER_HOLD | messages.ORDER_REVOKE])
@pytest.mark.parametrize("role", [codes.ROLE_STANDBY, codes.ROLE_ACTIVE])
def test_a_board_that_is_armed_may_take_a_moment_to_take_over_what_runs(tmp_path: Path, orders: int, role: int) -> None:
    """It says hold before it has stored its first epoch. What it revokes it does not want to take over."""
    world = World(tmp_path, loss=Loss.STOP, resumed_ms=5000)
    world.checks.instant["check"] = 0
    world.board.orders = messages.ORDER_ADVISORY
    world.go(10_000)
    assert world.commands.names() == []
    world.board.role, world.board.orders, world.board.lease_ms = role, orders, 0
    revoked = bool(orders & messages.ORDER_REVOKE)
    fed = world.watchdog.fed
    world.go(3500)
    assert world.watchdog.fed >= fed + 70
    assert set(world.commands.names()) == ({"on_standby"} if revoked else set())
    world.go(2000)
    assert set(world.commands.names()) == {"on_standby"}, "and no longer than a moment"
