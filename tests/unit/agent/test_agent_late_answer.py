"""A heartbeat that was held up on its way, and answered after the services stopped: it starts nothing."""

from __future__ import annotations

from pathlib import Path

from heartwire.agent.lease import Loss
from tests.unit.agent.agent_fakes import World
from tests.unit.agent.test_agent_world import active


def test_services_that_stopped_wait_until_the_board_has_heard_of_it(tmp_path: Path) -> None:
    """The board says again what it said while they ran, with the epoch of then; a stop costs a new one."""
    world = active(World(tmp_path, loss=Loss.STOP))
    world.board.lease_ms = 2000
    world.go(1000)
    world.board.delayed = True
    world.go(1900)
    running = world.board.beats[-1]
    assert running["flags"] & 1
    world.go(900)
    assert "on_standby" in world.commands.names()
    world.commands.started.clear()
    # The board hears the last heartbeat of while they ran only now, and answers it with a fresh lease.
    world.ports[-1].inbox += world.board.grant(running["incarnation"], running["sequence"], 8000)
    world.go(100)
    assert "on_active" not in world.commands.names()
    assert "the board has not heard yet that the services stopped" in world.log
    # Once it answers a heartbeat that says that they stopped, they start.
    world.board.delayed = False
    world.board.epoch += 1
    world.go(2000)
    assert "on_active" in world.commands.names()
    assert world.services.running
