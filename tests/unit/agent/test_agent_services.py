"""Services step by step: what a check proves and what it does not, and when a stop counts as verified."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from heartwire.agent.hooks import ForkedCommands
from heartwire.agent.lease import Loss, Wish
from heartwire.agent.services import STORING, Known
from heartwire.agent.settings import Command
from heartwire_protocol import messages
from tests.unit.agent.agent_fakes import ACTIVE, HOOKS, STANDBY, World, ms

VERIFIED = messages.FLAG_VERIFIED_STOPPED


def test_nothing_starts_before_the_first_check_has_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checks.instant.clear()
    world.board.role = ACTIVE
    world.go(3000)
    assert world.agent.judged.wish is Wish.RUN
    assert world.commands.names() == []
    world.checks.end("check", 0)
    world.go(200)
    assert world.commands.names() == [], "it was running already"
    assert world.services.running


def test_a_check_begun_before_a_hook_ended_proves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.board.role = ACTIVE
    world.go(3000)
    assert world.services.running
    world.checks.instant.clear()
    world.obedient = False
    world.go(1500)
    # This check began while the services ran; it saw them stopping, perhaps, but not stopped by the hook.
    assert len(world.checks.open) == 1
    world.board.role = STANDBY
    world.go(1000)
    assert world.commands.names()[-1] == "on_standby"
    world.checks.end("check", 3)
    world.go(50)
    assert not world.services.verified_stopped
    world.checks.end("check", 3)
    world.go(50)
    assert world.services.verified_stopped


def test_a_failed_stop_is_not_verified_by_a_check_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.board.role = ACTIVE
    world.go(3000)
    world.commands.instant["on_standby"] = 1
    world.obedient = False
    world.board.role = STANDBY
    world.go(1000)
    world.checks.instant["check"] = 3
    world.go(3000)
    assert not world.services.running
    assert not world.services.verified_stopped
    assert world.services.suspect


def test_a_service_that_dies_by_itself_is_not_verified_stopped(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.board.role = ACTIVE
    world.go(3000)
    world.obedient = False
    world.commands.instant.pop("on_active")
    world.checks.instant["check"] = 3
    world.go(20_000)
    assert not world.services.running
    assert not world.services.verified_stopped


def test_services_found_running_again_need_the_stop_hook_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    assert world.services.verified_stopped
    world.commands.instant.pop("on_standby")
    world.checks.instant["check"] = 0
    world.go(2000)
    world.checks.instant["check"] = 3
    world.go(10_000)
    assert not world.services.verified_stopped, "the hook has not ended yet"
    world.commands.end("on_standby")
    world.go(2000)
    assert world.services.verified_stopped


def test_found_running_and_gone_again_while_the_board_holds_is_not_verified(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    world.board.orders = messages.ORDER_HOLD
    world.go(1000)
    world.checks.instant["check"] = 0
    world.go(2000)
    world.checks.instant["check"] = 3
    world.go(2000)
    assert world.agent.judged.wish is Wish.KEEP
    assert not world.services.verified_stopped


def test_a_stop_hook_that_takes_effect_later_is_not_run_in_a_loop(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.board.role = ACTIVE
    world.go(3000)
    world.obedient = False
    world.board.role = STANDBY
    world.go(4000)
    assert world.commands.names().count("on_standby") == 1
    world.checks.instant["check"] = 3
    world.go(2000)
    assert world.services.verified_stopped
    assert world.commands.names().count("on_standby") == 1


def test_a_new_role_runs_the_standby_hook_again_and_stays_verified(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    world.board.role = 3  # quarantined
    for _ in range(40):
        world.go(50)
        assert world.services.verified_stopped
    roles = [environment["HEARTWIRE_ROLE"] for name, environment in world.commands.started if name == "on_standby"]
    assert roles == ["standby", "quarantined"]


def test_a_start_that_the_runner_refused_as_too_late_is_not_a_failure(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.commands.instant.pop("on_active")
    world.board.role = ACTIVE
    world.go(2500)
    world.commands.end("on_active", 0, "too_late")
    world.go(300)
    assert world.services.failed == ""
    assert world.commands.names() == ["on_active", "on_active"]


@pytest.mark.parametrize("code", [2, 64, 70, 126, 127, 143])
def test_a_check_that_fails_itself_proves_nothing(tmp_path: Path, code: int) -> None:
    world = World(tmp_path)
    world.checks.instant["check"] = code
    world.obedient = False
    world.go(4000)
    assert not world.services.verified_stopped
    world.checks.instant["check"] = 1
    world.go(4000)
    assert world.services.verified_stopped


def test_a_stop_hook_ends_when_the_wish_turns_to_run_and_what_it_left_half_done_is_started(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.commands.instant.pop("on_standby")
    world.checks.instant["check"] = 0
    world.obedient = False
    world.go(2000)
    assert list(world.commands.open.values()) == ["on_standby"]
    world.board.role = ACTIVE
    world.go(6000)
    assert world.commands.killed == ["on_standby"]
    assert world.commands.names() == ["on_standby", "on_active"], "the check says running, but of what is left"
    assert world.services.running
    world.go(5000)
    assert world.commands.names().count("on_active") == 1


def test_a_drain_that_is_taken_back_ends(tmp_path: Path) -> None:
    world = World(tmp_path, hooks=replace(HOOKS, on_drain=Command(("on_drain",))))
    world.commands.instant.pop("on_drain")
    world.board.role = ACTIVE
    world.go(3000)
    world.board.orders = messages.ORDER_DRAIN
    world.go(2000)
    assert list(world.commands.open.values()) == ["on_drain"]
    world.board.orders = 0
    world.go(3000)
    assert world.commands.killed == ["on_drain"]
    assert world.services.running


def test_a_check_is_told_the_epoch_only_while_this_node_is_entitled(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    assert all("HEARTWIRE_EPOCH" not in environment for _, environment in world.checks.started)
    world.board.role = ACTIVE
    world.board.epoch = 7
    world.go(3000)
    told = world.checks.started[-1][1]
    assert (told["HEARTWIRE_EPOCH"], told["HEARTWIRE_EPOCH_BEFORE"]) == ("7", "1")
    world.board.role = STANDBY
    world.board.epoch = 8
    world.go(3000)
    assert "HEARTWIRE_EPOCH" not in world.checks.started[-1][1]
    world.board.role = ACTIVE
    world.board.epoch = 9
    world.go(3000)
    assert world.checks.started[-1][1]["HEARTWIRE_EPOCH_BEFORE"] == "8", "the other one's"


def test_the_agent_wakes_up_when_its_lease_ends(tmp_path: Path) -> None:
    world = World(tmp_path, loss=Loss.STOP, interval_ms=60_000)
    world.board.role = ACTIVE
    world.board.lease_ms = 60_100
    world.watchdog.armed = False
    world.go(61_000, step_ms=250)
    until_ns = world.agent.lease.until_ns
    assert world.agent.next_ns(until_ns - ms(100)) <= until_ns


def test_a_runner_holds_nothing_of_the_agent_open(tmp_path: Path) -> None:
    with (tmp_path / "port").open("w") as port:
        first = ForkedCommands(quiet=True)
        second = ForkedCommands(quiet=True)
        for commands in (first, second):
            commands.start(Command(("true",)), {})
            while not commands.results():
                time.sleep(0.005)
            held = [str(link.readlink()) for link in Path(f"/proc/{commands.process}/fd").iterdir()]
            assert port.name not in held
            assert sum("socket:" in name for name in held) == 1
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("refusal", "level", "event"),
    [(STORING, "info", "start_waits"), ("the epoch could not be stored", "error", "start_refused")],
)
def test_a_start_that_waits_for_the_epoch_to_be_stored_is_no_error(
    tmp_path: Path, refusal: str, level: str, event: str
) -> None:
    world = World(tmp_path)
    world.services.known = Known.STOPPED
    world.services._want_running(0, world.agent.judged, "active", 2, lambda: refusal, 0)
    assert f"level={level} node=a event={event}" in world.log
