"""How an agent ends: what becomes of the kernel watchdog, and that the next agent knows all it must."""

import json
from pathlib import Path
from typing import Any

import pytest

from heartwire.agent import run as agent_run
from heartwire.agent import state
from heartwire.agent.lease import Loss
from heartwire.agent.settings import AgentSettings
from tests.unit.agent.agent_fakes import FakeWatchdog, ms


class Failure(Exception):
    """What an agent did not expect."""


def end(
    monkeypatch: pytest.MonkeyPatch, directory: Path, loss: Loss, *, suspect: bool = False, advisory: bool = False,
    before: str = "loop",
) -> bool:  # fmt: skip
    """Run an agent that dies of an exception in `before`; return whether its watchdog is still armed."""
    status: dict[str, Any] = {
        "node": "a", "boot_id": state.boot_id(), "time_ns": 0, "lease_until_ns": ms(1), "epoch": 3, "suspect": suspect,
        "wish": "advisory" if advisory else "run", "busy_until_ns": 0, "crash_dump_until_ns": 0,
    }  # fmt: skip
    (directory / "status.json").write_text(json.dumps(status))
    watchdog = FakeWatchdog()

    def fail(*_: Any) -> None:
        raise Failure

    monkeypatch.setattr(agent_run, "open_watchdog", lambda _: watchdog)
    monkeypatch.setattr(agent_run, before, fail)
    settings = AgentSettings(
        "a", "/dev/none", on_board_loss=loss, state_directory=directory, fenced_from_outside=True, lock_memory=False,
        real_time_priority=0,
    )  # fmt: skip
    with pytest.raises(Failure):
        agent_run.run(settings)
    return watchdog.armed


@pytest.mark.parametrize("before", ["loop", "open_sockets"])
@pytest.mark.parametrize("loss", list(Loss))
def test_an_exception_never_leaves_a_verified_standby_to_its_watchdog(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str, loss: Loss
) -> None:
    assert not end(monkeypatch, tmp_path, loss, before=before)


@pytest.mark.parametrize("before", ["loop", "open_sockets", "build"])
@pytest.mark.parametrize(("loss", "armed"), [(Loss.STOP, True), (Loss.HOLD, False)])
def test_what_must_end_with_its_lease_stays_under_the_watchdog(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str, loss: Loss, armed: bool
) -> None:
    assert end(monkeypatch, tmp_path, loss, suspect=True, before=before) is armed


@pytest.mark.parametrize("before", ["loop", "build"])
def test_where_the_board_only_watched_nobody_is_reset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str
) -> None:
    assert not end(monkeypatch, tmp_path, Loss.STOP, suspect=True, advisory=True, before=before)
