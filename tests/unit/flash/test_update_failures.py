"""An update that fails on its way, or whose board comes back late, elsewhere, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire.errors import (
    NoAnswer,
    NotPermitted,
    StorageProblem,
    Unplugged,
)
from heartwire.flash import install, update
from tests.unit.flash.conftest import GUARDS_AGAIN, NEW, OLD, STOPPED, World


def test_firmware_that_did_not_start_is_no_success(world: World) -> None:
    world.guard()
    world.link.script["platform"] = {"folder": "fw_b", "crash": "OSError: 5"}
    with pytest.raises(install.CannotLoad, match="the one from before guards again: OSError: 5"):
        world.flash()
    assert world.where == "guarding"
    world.link.script["platform"] = {"folder": "fw_a", "crash": ""}
    assert world.flash().after == NEW


# Failures in the middle.


@pytest.mark.parametrize(
    ("failure", "restarts"),
    [(StorageProblem("torn"), True), (KeyboardInterrupt(), True), (Unplugged("pulled"), False)],
    ids=["storage", "ctrl-c", "unplugged"],
)
def test_a_failure_while_copying_restarts_the_board_and_is_raised(
    world: World, failure: BaseException, restarts: bool
) -> None:
    world.guard()
    world.fails = failure
    with pytest.raises(type(failure)) as found:
        world.flash()
    assert found.value is failure
    if restarts:
        assert world.steps == [*STOPPED, "copy", "reset", *GUARDS_AGAIN]
        assert (world.where, world.firmware) == ("guarding", OLD)
        assert world.told == [
            "the board restarts; waiting until it guards again",
            f"it guards again, with Heartwire {OLD}",
        ]
    else:
        assert world.steps == [*STOPPED, "copy", "reset"]
        assert "unplug the board" in world.told[-1]
        assert world.clock.now < 1000 + 2 * update.RETURN_S, "waits for a board that is gone"


def test_a_board_that_stays_at_its_prompt_after_a_failure_is_said(world: World) -> None:
    world.guard()
    world.fails = StorageProblem("torn")
    restart = world.restart
    world.restart = lambda then=None: restart(then or world.prompt)  # type: ignore[method-assign]
    with pytest.raises(StorageProblem):
        world.flash()
    assert "guards again, with" not in "".join(world.told)
    assert "does not answer after its restart" in world.told[-1]
    assert "may guard nobody" in world.told[-1]


def test_a_second_ctrl_c_leaves_with_a_word(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.guard()
    world.fails = KeyboardInterrupt()

    def again(at: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tests.unit.flash.conftest.FakePrompt.reset", again)
    with pytest.raises(KeyboardInterrupt):
        world.flash()
    assert "not seen whether the board guards again" in world.told[-1]


def test_an_observing_board_is_waited_for_after_a_failure_too(world: World) -> None:
    world.guard(mode="observe")
    world.fails = StorageProblem("torn")
    with pytest.raises(StorageProblem):
        world.flash()
    assert world.told[-1] == f"it guards again, with Heartwire {OLD}"


def test_a_failure_of_a_board_without_firmware_waits_for_nothing(world: World) -> None:
    world.prompt()
    world.fails = StorageProblem("torn")
    with pytest.raises(StorageProblem):
        world.flash()
    assert world.steps == ["copy", "reset"]
    assert world.clock.now == 1000.0


def test_a_board_that_cannot_even_be_looked_at_is_restarted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.guard()

    def torn(_: object) -> install.Installed:
        raise NoAnswer("makes no sense")

    monkeypatch.setattr(install, "look", torn)
    with pytest.raises(NoAnswer, match="makes no sense"):
        world.flash()
    assert world.steps == [*STOPPED, "reset", *GUARDS_AGAIN]


# Coming back.


@pytest.mark.parametrize("start", [World.boot_loader, World.guard])
def test_a_board_that_does_not_come_back_is_said(world: World, start: Callable[[World], None]) -> None:
    start(world)
    world.comes_back = False
    with pytest.raises(Unplugged, match="did not come back") as found:
        world.flash()
    assert "plug it in again and repeat" in found.value.next_step
    assert "goes on guarding" not in found.value.next_step
    assert world.clock.now >= 1000 + update.RETURN_S


def test_a_board_that_never_answers_hello_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.prompt()
    monkeypatch.setattr(install, "install", lambda at, progress: world.steps.append("copy"))  # nothing that answers
    with pytest.raises(NoAnswer, match="does not answer after its restart") as found:
        world.flash()
    assert "heartwire status" in found.value.next_step
    assert world.steps == ["copy", "reset"]
    assert world.clock.now >= 1000 + update.RETURN_S


def test_a_board_that_cannot_be_restarted_is_said_and_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.prompt()

    def pulled(at: object) -> None:
        world.restart()
        raise Unplugged("the port is gone")

    monkeypatch.setattr("tests.unit.flash.conftest.FakePrompt.reset", pulled)
    assert world.flash().after == NEW
    assert world.told[-1].startswith("the port is gone: unplug the board")


def test_a_board_that_comes_back_at_another_port_is_found(world: World, tmp_path: Path) -> None:
    world.guard()
    began = world.restart

    def renamed(then: Callable[[], None] | None = None) -> None:
        began(then)
        world.port = tmp_path / f"ttyACM{len(world.steps)}"

    world.restart = renamed  # type: ignore[method-assign]
    assert world.flash().after == NEW


def test_a_port_that_is_roots_at_first_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.boot_loader()
    refusals = [True, True]

    def access(path: str, mode: int) -> bool:
        assert mode == os.R_OK | os.W_OK
        return world.port.exists() and not (refusals and refusals.pop())

    monkeypatch.setattr(os, "access", access)
    assert world.flash().after == NEW
    assert refusals == []


def test_a_port_that_stays_roots_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.boot_loader()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(NotPermitted) as found:
        world.flash()
    assert "dialout" in found.value.next_step
    assert world.clock.now < 1000 + update.RETURN_S


# To the prompt, for `heartwire shell`.
