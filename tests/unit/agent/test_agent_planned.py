"""Going down on purpose: a drain that starts nothing, waits for what stops, and is told until the board hears it."""

import dataclasses
import itertools
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from heartwire.agent import doctor_units
from heartwire.agent.lease import Loss
from heartwire.agent.runner import ordinary_for_oom
from heartwire.agent.settings import AgentSettings, Command, HookSettings
from heartwire.agent.state import read_resumption
from heartwire.cli.agent_wait import TOLD_S, wait_at_rest
from heartwire.errors import NotAsAsked
from heartwire_protocol import codes, messages
from tests.unit.agent.agent_fakes import HOOKS, STANDBY, World
from tests.unit.agent.test_agent_world import active, flags, state

RUNNING = messages.FLAG_RUNNING
VERIFIED = messages.FLAG_VERIFIED_STOPPED
DRAINS = HookSettings(
    Command(("on_active",)), Command(("on_standby",)), Command(("on_drain",)), check=Command(("check",))
)


def slow(tmp_path: Path, **options: Any) -> World:
    """Return an active world whose stop hook ends when the test says so."""
    world = active(World(tmp_path, **options))
    del world.commands.instant["on_standby"]
    return world


def stopped(world: World) -> None:
    """Let the stop hook end."""
    world.commands.end("on_standby")
    world.checks.instant["check"] = 3


@pytest.mark.parametrize("loss", list(Loss))
def test_planned_off_is_a_drain_that_starts_nothing_again(tmp_path: Path, loss: Loss) -> None:
    world = active(World(tmp_path, loss=loss, hooks=DRAINS))
    del world.commands.instant["on_drain"]
    world.agent.handle({"do": "planned_off"})
    world.go(50_000)
    assert (state(world), flags(world) & (RUNNING | VERIFIED)) == ("planned_off", RUNNING)
    assert not world.agent.at_rest
    world.commands.end("on_drain")
    world.checks.instant["check"] = 3
    world.go(3000)
    assert (state(world), flags(world) & (RUNNING | VERIFIED)) == ("planned_off", VERIFIED)
    assert world.agent.at_rest and world.agent.off_told
    world.go(60_000)
    assert world.commands.names() == ["on_drain"], "the board goes on granting, but nothing starts"
    assert world.watchdog.fed > 1000


def test_what_is_taken_back_runs_again(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.agent.handle({"do": "planned_off"})
    world.go(3000)
    world.agent.handle({"do": "ready"})
    world.go(3000)
    assert world.commands.names() == ["on_standby", "on_active"]
    assert (state(world), flags(world) & RUNNING, world.agent.off_told) == ("healthy", RUNNING, False)


def test_nothing_starts_before_the_board_has_heard_that_the_server_stays(tmp_path: Path) -> None:
    """It may have let another one take over by the word before, and its revoke may be on its way."""
    world = active(World(tmp_path))
    world.agent.handle({"do": "planned_off"})
    world.go(3000)
    world.board.delayed = True
    world.agent.handle({"do": "ready"})
    world.go(4000)
    assert world.agent.judged.wish.value == "run", "the lease still runs"
    assert world.commands.names() == ["on_standby"]
    world.board.delayed = False
    world.go(1500)
    assert world.commands.names() == ["on_standby", "on_active"]


def test_a_board_that_only_watches_stops_nothing(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.board.orders = messages.ORDER_ADVISORY
    world.go(2000)
    world.agent.plan_off(shutdown=False)
    world.agent.leave()
    world.go(5000)
    assert world.agent.finished and world.agent.at_rest
    assert world.commands.names() == []


@pytest.mark.parametrize("on_exit", ["leave", "stop"])
@pytest.mark.parametrize("shutdown", [True, False])
def test_an_agent_that_is_stopped_beats_until_all_is_stopped(tmp_path: Path, on_exit: str, shutdown: bool) -> None:
    world = slow(tmp_path, on_exit=on_exit, stop_timeout_s=2.0)
    world.agent.plan_off(shutdown)
    world.agent.leave()
    world.go(80_000)
    assert not world.agent.finished
    assert (state(world), flags(world) & (RUNNING | VERIFIED)) == ("planned_off", RUNNING)
    stopped(world)
    count = len(world.board.beats)
    world.go(4000)
    assert world.agent.finished
    said = [beat["flags"] & (RUNNING | VERIFIED) for beat in world.board.beats[count:]]
    assert said.count(VERIFIED) >= 2 and said[-1] == VERIFIED


def test_a_stop_that_hangs_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    world = slow(tmp_path, drain_timeout_s=5.0)
    world.agent.plan_off(shutdown=True)
    world.agent.leave()
    world.go(4500)
    assert not world.agent.finished
    world.go(4000)
    assert world.agent.finished
    assert (state(world), flags(world) & VERIFIED) == ("planned_off", 0)


def test_a_restart_leaves_the_services_and_tells_no_lie_of_them(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.agent.leave()
    world.go(3000)
    assert world.agent.finished and world.commands.names() == []
    assert flags(world) & (RUNNING | VERIFIED) == RUNNING


def test_a_board_that_does_not_answer_is_told_more_often(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.board.silent = True
    world.agent.plan_off(shutdown=True)
    world.agent.leave()
    world.go(30_000)
    states = [beat["node_state"] >> 2 for beat in world.board.beats if beat["flags"] & VERIFIED]
    assert world.agent.finished and states[-5:] == [codes.STATE_PLANNED_OFF] * 5


def test_a_standby_goes_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    world.agent.plan_off(shutdown=True)
    world.agent.leave()
    world.go(2500)
    assert world.agent.finished and state(world) == "planned_off"


def test_without_anything_that_could_stop_them_nothing_is_waited_for(tmp_path: Path) -> None:
    world = active(World(tmp_path, hooks=HookSettings(on_active=Command(("on_active",)))))
    world.agent.plan_off(shutdown=True)
    world.agent.leave()
    world.go(3000)
    assert world.agent.finished and not flags(world) & VERIFIED


@pytest.mark.parametrize("do", ["busy", "crash_dump"])
def test_busy_outlives_the_agents_own_stop(tmp_path: Path, do: str) -> None:
    world = active(World(tmp_path))
    world.agent.handle({"do": do, "seconds": 600})
    world.agent.plan_off(shutdown=False)
    world.agent.leave()
    count = len(world.board.beats)
    world.go(3000)
    assert world.agent.finished and world.commands.names() == []
    assert state(world) == do and world.board.beats[-1]["busy_s"] > 590
    assert {beat["node_state"] >> 2 for beat in world.board.beats[count:]} == {codes.STATES.index(do)}


def test_a_shutdown_is_a_drain_also_of_a_busy_server(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.agent.handle({"do": "busy", "seconds": 600})
    world.agent.plan_off(shutdown=True)
    world.go(3000)
    assert (state(world), world.commands.names()) == ("planned_off", ["on_standby"])


def test_a_role_given_meanwhile_starts_nothing(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.agent.handle({"do": "planned_off"})
    world.go(3000)
    world.board.role = STANDBY
    world.board.orders = messages.ORDER_REVOKE
    world.go(3000)
    world.board.role, world.board.orders, world.board.epoch = codes.ROLE_ACTIVE, 0, 9
    world.go(10_000)
    assert "on_active" not in world.commands.names()
    assert flags(world) & (RUNNING | VERIFIED) == VERIFIED


def test_a_service_that_ended_by_itself_is_not_started_in_the_same_breath(tmp_path: Path) -> None:
    """In a shutdown the system stops it, and says so to the agent a moment later."""
    world = active(World(tmp_path, hooks=HOOKS))
    world.checks.instant["check"] = 3
    while world.services.running:
        world.go(50)
    world.go(900)
    assert world.commands.names() == []
    world.agent.plan_off(shutdown=True)
    world.go(20_000)
    assert "on_active" not in world.commands.names()


def test_the_next_agent_knows_a_plan_of_a_person_and_not_of_the_system(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    world.agent.handle({"do": "planned_off"})
    world.go(3000)
    assert read_resumption(tmp_path, "a", "boot-1").planned_off, "it died: what the person said still holds"
    world.agent.leave()
    world.go(3000)
    world.agent.tell_last()
    assert read_resumption(tmp_path, "a", "boot-1").planned_off, "it was restarted"
    world.agent.plan_off(shutdown=False)
    world.agent.tell_last()
    assert not read_resumption(tmp_path, "a", "boot-1").planned_off, "it was stopped, and is started again"


def test_a_status_file_without_the_word_is_no_plan(tmp_path: Path) -> None:
    world = active(World(tmp_path))
    status = json.loads((tmp_path / "status.json").read_text())
    for value in (None, 1, "yes"):
        status["planned_off"] = value
        (tmp_path / "status.json").write_text(json.dumps(status))
        assert not read_resumption(tmp_path, "a", "boot-1").planned_off
    assert not world.agent.conditions.planned_off


def answers(*rows: tuple[bool, bool, bool]) -> Any:
    """Return a status function that says (planned_off, at_rest, off_told) one after the other, the last for ever."""
    said = itertools.chain(rows, itertools.repeat(rows[-1]))

    def status() -> dict[str, Any]:
        planned, rest, told = next(said)
        return {"planned_off": planned, "at_rest": rest, "off_told": told, "wish": "drain"}

    return status


def wait(status: Any, timeout_s: float = 60.0) -> float:
    """Wait in virtual time; return how long it took in s."""
    now_s = [0.0]

    def pause(seconds: float) -> None:
        now_s[0] += seconds

    wait_at_rest(status, timeout_s, lambda: now_s[0], pause)
    return now_s[0]


def test_the_command_waits_until_the_board_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert wait(answers((True, False, False), (True, True, False), (True, True, True))) == pytest.approx(0.4)
    assert wait(answers((True, True, False))) == pytest.approx(TOLD_S)
    assert "did not answer" in capsys.readouterr().err
    assert wait(lambda: {"planned_off": True, "at_rest": True, "off_told": False, "wish": "advisory"}) == 0
    assert "only watches" in capsys.readouterr().err


def test_the_command_says_that_it_was_in_vain() -> None:
    with pytest.raises(NotAsAsked, match="after 5 s"):
        wait(answers((True, False, False)), 5.0)
    with pytest.raises(NotAsAsked, match="took it back"):
        wait(answers((True, False, False), (False, False, False)))


def test_a_hook_is_as_precious_as_any_other_program(tmp_path: Path) -> None:
    path = tmp_path / "oom_score_adj"
    for before, inside in (("-900", "0"), ("0", "0"), ("500", "0")):
        path.write_text(before)
        with ordinary_for_oom(path):
            assert path.read_text() == inside
        assert path.read_text() == before
    with ordinary_for_oom(tmp_path / "none"):
        pass


def test_the_doctor_finds_units_that_announce_nothing_or_do_not_wait() -> None:
    shipped = (resources.files("heartwire") / "share/systemd/heartwire-agent.service").read_text()
    settings = AgentSettings("a", "x")
    assert list(doctor_units.findings(settings, "")) == []
    assert list(doctor_units.findings(settings, shipped)) == []
    (older,) = doctor_units.findings(settings, "[Service]\nExecStart=x\nTimeoutStopSec=120\n")
    assert "older version" in older.words and "install --force" in older.next_step
    (short,) = doctor_units.findings(dataclasses.replace(settings, drain_timeout_s=150.0), shipped)
    assert "120 s" in short.words and "160" in short.next_step
