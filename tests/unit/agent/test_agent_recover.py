"""The order to recover: the agent runs on_recover once while the board goes on not hearing good heartbeats."""

from pathlib import Path

import pytest

from heartwire.agent.agent import RECOVER_GRANTS
from heartwire.agent.settings import Command, HookSettings
from heartwire_protocol import codes, events, messages
from tests.unit.agent.agent_bench import AgentBench
from tests.unit.agent.agent_fakes import STANDBY, World

RECOVER = messages.ORDER_RECOVER
HOOKS = HookSettings(
    on_active=Command(("on_active",)),
    on_standby=Command(("on_standby",)),
    on_recover=Command(("on_recover",)),
    check=Command(("check",)),
    check_interval_s=1.0,
)


def ordered(world: World, count: int = 1) -> World:
    world.go(3100)
    world.board.orders = RECOVER
    world.go(1000 * count)
    return world


def test_the_hook_runs_once_while_the_order_stands(tmp_path: Path) -> None:
    world = ordered(World(tmp_path, hooks=HOOKS), RECOVER_GRANTS)
    assert world.commands.names().count("on_recover") == 1
    assert world.commands.started[-1][1]["HEARTWIRE_REASON"] == "recover"
    world.go(30_000)
    assert world.commands.names().count("on_recover") == 1
    assert world.log.count("recovery_asked") == 1


def test_a_passing_order_runs_nothing(tmp_path: Path) -> None:
    world = ordered(World(tmp_path, hooks=HOOKS), RECOVER_GRANTS - 1)
    world.board.orders = 0
    world.go(10_000)
    assert "on_recover" not in world.commands.names()


def test_the_next_outage_runs_it_again(tmp_path: Path) -> None:
    world = ordered(World(tmp_path, hooks=HOOKS), RECOVER_GRANTS)
    world.commands.end("on_recover")
    world.board.orders = 0
    world.go(2000)
    world.board.orders = RECOVER
    world.go(5000)
    assert world.commands.names().count("on_recover") == 2


def test_one_that_still_runs_is_not_started_again(tmp_path: Path) -> None:
    world = ordered(World(tmp_path, hooks=HOOKS), RECOVER_GRANTS)
    world.board.orders = 0
    world.go(2000)
    world.board.orders = RECOVER
    world.go(5000)
    assert world.commands.names().count("on_recover") == 1


@pytest.mark.parametrize("code", [0, 1])
def test_it_says_nothing_about_the_services(tmp_path: Path, code: int) -> None:
    world = ordered(World(tmp_path, hooks=HOOKS), RECOVER_GRANTS)
    before = (world.services.running, world.services.verified_stopped, world.services.failed)
    world.commands.end("on_recover", code)
    world.go(3000)
    assert (world.services.running, world.services.verified_stopped, world.services.failed) == before
    assert f"hook=on_recover outcome=exit code={code}" in world.log


def test_it_keeps_no_other_hook_waiting(tmp_path: Path) -> None:
    world = ordered(World(tmp_path, hooks=HOOKS), RECOVER_GRANTS)
    world.board.role = codes.ROLE_ACTIVE
    world.go(3000)
    assert "on_active" in world.commands.names()
    world.board.role = STANDBY
    world.go(3000)
    assert world.commands.names()[-1] == "on_standby"


def test_without_a_hook_it_is_only_logged(tmp_path: Path) -> None:
    world = ordered(World(tmp_path), RECOVER_GRANTS)
    assert "on_recover" not in world.commands.names()
    assert "recovery_asked" in world.log


def test_the_board_asks_an_agent_that_beats_too_fast(tmp_path: Path) -> None:
    """Its heartbeats come sooner than early_ms: they are heard and answered, but not good."""
    world = AgentBench(tmp_path, "node.b.recovery=ask\nboard.early_ms=500\n", codes.MODE_AUTO, HOOKS)
    world.agent.schedule.interval_ns = 200_000_000
    world.bench.run_until(lambda: "on_recover" in world.commands.names(), 60_000)
    steps = [row for row in world.bench.happened if row[1] == events.RECOVERY_STEP and row[2] == codes.NODE_B]
    assert steps[0][4] == codes.RUNG_ASK


def test_the_board_does_not_ask_an_agent_that_is_good(tmp_path: Path) -> None:
    world = AgentBench(tmp_path, "node.b.recovery=ask\nboard.early_ms=500\n", codes.MODE_AUTO, HOOKS)
    world.bench.run(40_000)
    assert "on_recover" not in world.commands.names()
