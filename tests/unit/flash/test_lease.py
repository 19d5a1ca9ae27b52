"""A server that would stop its services without the board has a lease before the board leaves for its update."""

from __future__ import annotations

import pytest

from heartwire.errors import NoAnswer, NotAllowed
from heartwire.flash import lease
from tests.unit.flash.conftest import GUARDS_AGAIN, INSTALLED, NEW, OLD, STOPPED, World

LEASED = [f"update {lease.LEASE_S}", "a has it", *STOPPED]


def test_a_server_that_would_stop_gets_its_lease_before_the_board_leaves(world: World) -> None:
    world.guard()
    world.stops_without()
    assert world.flash().after == NEW
    assert world.steps == [*LEASED, *INSTALLED, *GUARDS_AGAIN]
    assert f"a has a lease for {lease.LEASE_S} s; nobody else is granted before it is over" in world.told


def test_the_lease_is_no_longer_than_the_settings_allow(world: World) -> None:
    world.guard()
    world.stops_without()
    world.link.settings.board.update_max_s = 90
    world.flash()
    assert world.steps[0] == "update 90"


@pytest.mark.parametrize("mode", ["observe", "fencer"])
def test_no_lease_is_asked_for_where_it_binds_nobody(world: World, mode: str) -> None:
    world.guard(mode=mode)
    world.stops_without()
    world.flash()
    assert not [step for step in world.steps if step.startswith("update")]


def test_the_lease_of_heartwire_update_is_enough(world: World) -> None:
    world.guard()
    world.stops_without()
    world.link.status["maintenance_s"] = world.lease_s = 500
    world.flash()
    assert world.steps == ["repl", *INSTALLED]


def test_maintenance_alone_is_not_and_stays_as_long_as_it_was(world: World) -> None:
    world.guard()
    world.stops_without()
    world.link.status["maintenance_s"] = 3000
    world.flash()
    assert world.steps == [f"update {lease.LEASE_S}", "a has it", "maintenance 3000", "repl", *INSTALLED]


def test_a_server_that_does_not_take_it_keeps_the_board(world: World) -> None:
    world.guard()
    world.stops_without()
    world.takes_lease = False
    with pytest.raises(NoAnswer, match="a did not take the lease"):
        world.flash()
    assert world.steps == [f"update {lease.LEASE_S}", *GUARDS_AGAIN]
    assert (world.where, world.firmware) == ("guarding", OLD)


def test_without_the_right_to_give_it_the_guard_is_not_stopped(world: World) -> None:
    world.guard()
    world.stops_without()
    world.link.script["update"] = {"error": "not_allowed", "right": "configure"}
    with pytest.raises(NotAllowed, match="a stops its services without the board"):
        world.flash()
    assert "repl" not in world.steps
    assert world.where == "guarding"
