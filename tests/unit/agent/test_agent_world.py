"""The whole agent in memory: a fake board, fake commands and a fake clock; every rule seen from the outside."""

import json
from pathlib import Path

import pytest

from heartwire.agent.lease import Loss
from heartwire.agent.settings import Command, HookSettings
from heartwire.agent.state import Resumption, read_epoch, read_resumption, write_epoch
from heartwire_protocol import codes, messages
from tests.unit.agent.agent_fakes import ACTIVE, STANDBY, World, ms

ADVISORY = messages.ORDER_ADVISORY
DRAIN = messages.ORDER_DRAIN
REVOKE = messages.ORDER_REVOKE
RUNNING = messages.FLAG_RUNNING
VERIFIED = messages.FLAG_VERIFIED_STOPPED


def active(world: World, epoch: int = 3) -> World:
    """Make it active and running."""
    world.board.role = ACTIVE
    world.board.epoch = epoch
    world.go(3000)
    assert world.services.running
    assert "on_active" in world.commands.names()
    world.commands.started.clear()
    return world


def flags(world: World) -> int:
    return int(world.board.beats[-1]["flags"])


def state(world: World) -> str:
    return codes.STATES[world.board.beats[-1]["node_state"] >> 2]


def test_a_standby_starts_nothing_and_proves_itself_stopped(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(5000)
    assert "on_active" not in world.commands.names()
    assert flags(world) & (RUNNING | VERIFIED) == VERIFIED
    assert all(beat["right"] for beat in world.board.beats)
    assert [beat["sequence"] for beat in world.board.beats] == [1, 2, 3, 4, 5, 6]


def test_the_first_grant_without_a_lease_starts_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.board.role = ACTIVE
    world.go(900)
    assert world.agent.lease.role == ACTIVE
    assert world.commands.names() == []
    world.go(1100)
    assert world.commands.names() == ["on_active"]


def test_hooks_are_told_epoch_role_reason_and_node(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.board.role = ACTIVE
    world.board.epoch = 42
    world.go(3000)
    assert world.commands.started[0] == (
        "on_active",
        {
            "HEARTWIRE_NODE": "a",
            "HEARTWIRE_ROLE": "active",
            "HEARTWIRE_EPOCH": "42",
            "HEARTWIRE_REASON": "granted",
        },
    )


@pytest.mark.parametrize("role", [STANDBY, codes.ROLE_QUARANTINED, codes.ROLE_OFFLINE])
@pytest.mark.parametrize("loss", list(Loss))
def test_another_role_stops_the_services(tmp_path: Path, role: int, loss: Loss) -> None:
    world = active(World(tmp_path, loss=loss))
    world.board.role = role
    world.go(3000)
    assert world.commands.names() == ["on_standby"]
    assert flags(world) & (RUNNING | VERIFIED) == VERIFIED


@pytest.mark.parametrize("loss", list(Loss))
def test_an_explicit_revoke_is_obeyed(tmp_path: Path, loss: Loss) -> None:
    world = active(World(tmp_path, loss=loss))
    world.board.orders = REVOKE
    world.go(3000)
    assert world.commands.names() == ["on_standby"]
    assert not world.services.running


def test_hold_goes_on_without_the_board_and_starts_nothing(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.HOLD))
    world.board.silent = True
    world.go(60_000)
    assert world.commands.names() == []
    assert flags(world) & RUNNING
    world.checks.instant["check"] = 3
    world.go(60_000)
    assert world.commands.names() == [], "a service that stopped by itself was started without a lease"


def test_stop_stops_when_the_lease_runs_out(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.STOP))
    world.board.silent = True
    world.go(6000)
    assert world.commands.names() == []
    world.go(5000)
    assert world.commands.names() == ["on_standby"]
    assert flags(world) & (RUNNING | VERIFIED) == VERIFIED
    assert world.agent.judged.reason == "lease_over"


def test_a_returning_board_does_not_interrupt_a_running_service(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.HOLD))
    world.board.silent = True
    world.go(60_000)
    world.board.silent = False
    world.board.challenge = b"\x98\x76\x54\x32"
    world.board.epoch = 4
    world.go(5000)
    assert world.commands.names() == []
    assert (world.services.epoch, world.agent.judged.reason) == (4, "granted")
    assert [beat["right"] for beat in world.board.beats][-2:] == [True, True]


def test_drain_stops_in_good_order_and_says_when_it_is_done(tmp_path: Path) -> None:
    hooks = HookSettings(Command(("on_active",)), Command(("on_standby",)), Command(("on_drain",)), Command(("check",)))
    world = active(World(tmp_path, hooks=hooks))
    world.commands.instant.pop("on_drain")
    world.board.orders = DRAIN
    world.go(3000)
    assert (state(world), flags(world) & (RUNNING | VERIFIED)) == ("draining", RUNNING)
    world.commands.end("on_drain")
    world.checks.instant["check"] = 3
    world.go(3000)
    assert flags(world) & (RUNNING | VERIFIED) == VERIFIED
    assert world.commands.names() == ["on_drain"]


def test_a_failed_drain_falls_back_to_the_stop_hook(tmp_path: Path) -> None:
    hooks = HookSettings(Command(("on_active",)), Command(("on_standby",)), Command(("on_drain",)), Command(("check",)))
    world = active(World(tmp_path, hooks=hooks))
    world.commands.instant["on_drain"] = 1
    world.obedient = False
    world.board.orders = DRAIN
    world.go(1500)
    assert world.commands.names() == ["on_drain", "on_standby"]
    assert not flags(world) & VERIFIED, "the check still finds them running"


def test_advisory_runs_no_hook_stops_nothing_and_gates_no_watchdog(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.STOP))
    world.board.orders = ADVISORY
    world.board.role = STANDBY
    world.go(3000)
    world.board.silent = True
    fed = world.watchdog.fed
    world.go(60_000)
    assert world.commands.names() == []
    assert flags(world) & RUNNING
    assert world.watchdog.fed > fed + 50
    world.checks.instant["check"] = 3
    world.go(3000)
    assert not flags(world) & RUNNING, "running is reported truthfully"


def test_a_lower_epoch_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, epoch=7)
    world.board.role = ACTIVE
    world.board.epoch = 6
    world.go(10_000)
    assert world.commands.names() == []
    assert "lower_epoch" in world.log
    assert world.board.beats[-1]["epoch"] == 7
    world.board.epoch = 8
    world.go(2000)
    assert world.commands.names() == ["on_active"]


def test_the_epoch_is_durable_before_the_services_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    seen: list[int] = []
    original = world.commands.start

    def start(command: Command, environment: dict[str, str], not_after_ns: int = 0) -> int:
        seen.append(read_epoch(tmp_path))
        return original(command, environment, not_after_ns)

    world.commands.start = start  # type: ignore[method-assign, assignment]
    active(world, epoch=9)
    assert seen == [9]


def test_a_full_disk_starts_nothing_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.disk.broken = "No space left on device"
    world.board.role = ACTIVE
    world.board.epoch = 3
    world.go(10_000)
    assert world.commands.names() == []
    assert "No space left on device" in world.log
    assert state(world) == "degraded"
    world.disk.broken = ""
    world.go(6000)
    assert world.commands.names() == ["on_active"]


def test_a_higher_epoch_is_stored_at_once_also_while_a_slow_disk_has_the_one_before(tmp_path: Path) -> None:
    world = World(tmp_path)
    asked: list[int] = []
    world.disk.store_epoch = asked.append  # type: ignore[method-assign, assignment]
    world.board.epoch = 3
    world.go(2000)
    world.board.role, world.board.epoch = ACTIVE, 4
    world.go(2000)
    assert asked == [3, 4]
    world.go(5000)
    assert asked == [3, 4, 4], "what is not stored is asked for again, after a while"


def test_a_full_disk_does_not_stop_what_runs(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.STOP))
    world.disk.broken = "No space left on device"
    world.board.epoch = 4
    world.go(20_000)
    assert world.commands.names() == []
    assert flags(world) & RUNNING


def test_a_paused_agent_finds_its_lease_over_before_it_does_anything(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.STOP))
    world.board.delayed = True
    world.go(1000)
    world.clock.pass_ms(30_000)
    # The grants that waited in the buffer answer heartbeats of 30 s ago.
    world.ports[-1].inbox = b"".join(world.board.kept)
    world.board.delayed = False
    world.board.silent = True
    world.step()
    assert world.agent.judged.reason == "lease_over"
    world.go(1000)
    assert world.commands.names() == ["on_standby"]


def test_grants_in_the_buffer_extend_a_lease_only_from_their_own_time(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.STOP))
    world.board.delayed = True
    world.go(7000)
    sent_ns = world.clock.now_ns
    world.ports[-1].inbox = world.board.kept[-1]
    world.board.silent = True
    world.board.delayed = False
    world.step()
    assert world.agent.lease.until_ns <= sent_ns + ms(8000)
    world.go(9000)
    assert not world.services.running


def test_the_watchdog_bites_only_if_the_services_cannot_be_stopped(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.STOP, stop_timeout_s=5.0))
    world.commands.instant["on_standby"] = 1
    world.obedient = False
    world.board.silent = True
    world.go(8000 + 4500)
    fed = world.watchdog.fed
    world.go(10_000)
    assert world.watchdog.fed - fed <= 22, "still fed after the time to stop was over"
    fed = world.watchdog.fed
    world.go(10_000)
    assert world.watchdog.fed == fed
    assert "watchdog_not_fed" in world.log
    world.commands.instant["on_standby"] = 0
    world.checks.instant["check"] = 3
    world.go(10_000)
    assert world.watchdog.fed > fed, "verified stopped at last"


def test_after_a_long_pause_the_time_to_stop_is_over_as_well(tmp_path: Path) -> None:
    world = active(World(tmp_path, loss=Loss.STOP, stop_timeout_s=5.0))
    world.commands.instant.pop("on_standby")
    world.board.silent = True
    world.clock.pass_ms(30_000)
    fed = world.watchdog.fed
    world.go(5000)
    assert world.watchdog.fed == fed


@pytest.mark.parametrize("loss", list(Loss))
def test_a_standby_is_never_reset_by_its_watchdog(tmp_path: Path, loss: Loss) -> None:
    world = World(tmp_path, loss=loss, stop_timeout_s=1.0)
    world.commands.instant["on_standby"] = 1
    world.checks.instant["check"] = 127
    world.go(30_000)
    fed = world.watchdog.fed
    world.go(10_000)
    assert world.watchdog.fed >= fed + 200


def test_a_revoked_start_is_broken_off(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.commands.instant.pop("on_active")
    world.board.role = ACTIVE
    world.go(3000)
    assert world.commands.names() == ["on_active"]
    world.board.role = STANDBY
    world.go(3000)
    assert world.commands.killed == ["on_active"]
    assert world.commands.names() == ["on_active", "on_standby"]
    assert flags(world) & VERIFIED


def test_a_failing_start_is_tried_again_and_reported(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.commands.instant["on_active"] = 1
    world.obedient = False
    world.board.role = ACTIVE
    world.go(3500)
    assert world.commands.names() == ["on_active"]
    assert state(world) == "degraded"
    world.go(5000)
    assert world.commands.names() == ["on_active", "on_active"]
    assert not flags(world) & VERIFIED, "a start that failed half-way may have left something running"


def test_a_broken_check_is_not_taken_for_stopped(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.checks.instant["check"] = 127
    world.go(3000)
    assert flags(world) & (RUNNING | VERIFIED) == RUNNING
    world.obedient = False
    world.board.role = STANDBY
    world.go(3000)
    assert not flags(world) & VERIFIED


def test_services_started_by_somebody_else_are_stopped_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    assert flags(world) & VERIFIED
    world.checks.instant["check"] = 0
    world.commands.started.clear()
    world.go(1000)
    assert flags(world) & VERIFIED == 0
    world.go(8000)
    assert world.commands.names() == ["on_standby"]
    assert flags(world) & (RUNNING | VERIFIED) == VERIFIED


def test_a_new_agent_finds_running_services_and_does_not_start_them_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checks.instant["check"] = 0
    world.board.role = ACTIVE
    world.go(5000)
    assert world.commands.names() == []
    assert flags(world) & RUNNING
    assert not flags(world) & VERIFIED


def test_without_hooks_and_check_it_follows_its_role_and_verifies_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, hooks=HookSettings())
    world.board.role = ACTIVE
    world.go(3000)
    assert flags(world) & (RUNNING | VERIFIED) == RUNNING
    world.board.role = STANDBY
    world.go(2000)
    assert flags(world) & (RUNNING | VERIFIED) == 0


def test_without_a_check_a_successful_stop_hook_verifies(tmp_path: Path) -> None:
    hooks = HookSettings(on_active=Command(("on_active",)), on_standby=Command(("on_standby",)))
    world = World(tmp_path, hooks=hooks)
    world.go(200)
    assert not flags(world) & VERIFIED
    world.board.role = ACTIVE
    world.go(3000)
    assert flags(world) & RUNNING
    world.board.role = STANDBY
    world.commands.instant["on_standby"] = 1
    world.go(2000)
    assert flags(world) & (RUNNING | VERIFIED) == RUNNING
    world.commands.instant["on_standby"] = 0
    world.go(11_000)
    assert flags(world) & (RUNNING | VERIFIED) == VERIFIED


def test_a_broken_line_comes_back_and_is_logged_once(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.ports[-1].broken = True
    world.go(10_000)
    assert len(world.ports) == 2
    assert world.log.count("line_lost") == 1
    assert world.agent.judged.reason == "granted"


def test_garbage_on_the_line_changes_nothing(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    for index in range(200):
        world.ports[-1].inbox += bytes((index * 7 + at) & 0xFF for at in range(100)) + b"\0"
        world.go(100)
    assert world.commands.names() == []
    assert flags(world) & RUNNING


def test_the_wrong_key_gets_no_lease_and_one_line_in_the_log(tmp_path: Path) -> None:
    world = World(tmp_path, key=bytes(32))
    world.board.signer = World(tmp_path).board.signer
    world.board.role = ACTIVE
    world.go(20_000)
    assert world.commands.names() == []
    assert world.log.count("wrong_mac") == 1


def test_the_end_is_announced_twice(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    count = len(world.board.beats)
    world.agent.leave()
    world.go(2000)
    assert world.agent.finished
    assert [beat["node_state"] >> 2 for beat in world.board.beats[count:]] == [codes.STATE_PLANNED_OFF] * 2
    assert world.commands.names() == []


def test_the_end_stops_the_services_first_if_so_configured(tmp_path: Path) -> None:
    world = active(World(tmp_path, on_exit="stop"))
    world.commands.instant.pop("on_standby")
    world.agent.leave()
    world.go(5000)
    assert not world.agent.finished
    world.commands.end("on_standby")
    world.checks.instant["check"] = 3
    world.go(3500)
    assert world.agent.finished
    assert flags(world) & (RUNNING | VERIFIED) == VERIFIED


def test_the_end_does_not_wait_for_ever(tmp_path: Path) -> None:
    world = active(World(tmp_path, on_exit="stop", stop_timeout_s=5.0))
    world.commands.instant.pop("on_standby")
    world.agent.leave()
    world.go(8000)
    assert world.agent.finished


def test_the_status_file_tells_and_resumes(tmp_path: Path) -> None:
    active(World(tmp_path), epoch=6)
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["role"], status["epoch"], status["running"], status["entitled"]) == ("active", 6, True, True)
    assert 0 < status["lease_left_ms"] <= 8000
    former = read_resumption(tmp_path, "a", "boot-1")
    assert (former.lease_until_ns, former.suspect, former.advisory) == (status["lease_until_ns"], True, False)
    for node, boot in (("b", "boot-1"), ("a", "boot-2"), ("a", "")):
        assert read_resumption(tmp_path, node, boot) == Resumption()


def test_a_resumed_lease_keeps_services_for_its_rest_only(tmp_path: Path) -> None:
    world = World(tmp_path, loss=Loss.STOP, resumed_ms=5000)
    world.checks.instant["check"] = 0
    world.board.silent = True
    world.go(4500)
    assert world.commands.names() == []
    world.go(1500)
    assert world.commands.names() == ["on_standby"]


def test_no_key_reaches_log_or_status(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    text = world.log + (tmp_path / "status.json").read_text()
    assert bytes(range(32)).hex() not in text
    assert "0102030405" not in text


def test_an_epoch_once_written_survives(tmp_path: Path) -> None:
    assert read_epoch(tmp_path) == 0
    write_epoch(tmp_path, 12)
    assert read_epoch(tmp_path) == 12


def test_the_sequence_never_reaches_the_limit_of_the_wire(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    first = world.agent.incarnation.number
    world.agent.incarnation.sequence = codes.COUNT_MAX
    world.go(4000)
    assert world.agent.incarnation.number != first
    assert world.agent.judged.reason == "granted"
