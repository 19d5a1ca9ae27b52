"""Keys and line settings on a running rack, with the real agent and the firmware on the MicroPython VM."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire import config, keyroll, keys, settings_transfer
from heartwire.errors import HeartwireError, Refused
from heartwire.virtual.product import ProductRack
from tests.virtual.conftest import Watcher

pytestmark = pytest.mark.virtual


def pid_of(rack: ProductRack, node: str) -> str:
    return (rack.servers[node].directory / "service.pid").read_text()


def wait_restarted(rack: ProductRack, boot: int) -> None:
    """Wait until the board has started anew and has its active node again."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(HeartwireError), rack.open() as board:
            status = board.status()
            if status.boot > boot and status.active == "a":
                return
        time.sleep(0.1)
    pytest.fail("the board did not come back")


def harmed(rack: ProductRack) -> list[tuple[str, str]]:
    """Return what must not happen to a rack that is only set up anew."""
    names = Watcher(rack).names()
    return [one for one in names if one[0] in ("fence_fired", "late", "dead", "altered", "half_line", "two_running")]


@pytest.mark.parametrize("loss", ["hold", "stop"])
def test_a_key_is_rolled_and_nobody_notices(make_rack: Callable[..., ProductRack], tmp_path: Path, loss: str) -> None:
    rack = make_rack(on_board_loss=loss)
    pid = pid_of(rack, "a")
    before = harmed(rack)
    new = keys.write_new(tmp_path / "a-2.key", ("",))
    with rack.open() as board:
        roll = keyroll.roll_of("a", new, board.settings().values)
        roll.begin(board, board.settings().values)
    rack.key_file("a").write_text(new[""] + "\n")
    agent = rack.servers["a"].pid
    assert agent is not None
    os.kill(agent, signal.SIGHUP)
    Watcher(rack).wait(lambda board: board.node("a").key == keyroll.USES_NEXT)
    with rack.open() as board:
        roll.finish(board, board.settings().values)
        assert roll.stage(board.settings().values) == keyroll.DONE
        assert board.node("a").verdict == "good" and board.status().active == "a"
    assert harmed(rack) == before
    assert pid_of(rack, "a") == pid and rack.is_running("a")
    assert rack.writers() == [("a", 1)]


def test_a_key_that_a_stop_node_does_not_have_is_gone_before_its_lease_is(
    make_rack: Callable[..., ProductRack], tmp_path: Path
) -> None:
    rack = make_rack(on_board_loss="stop")
    pid = pid_of(rack, "a")
    keys.write_new(rack.directory / "a-2.key", ("",))
    file = rack.directory / "new.toml"
    file.write_text(rack.config_file.read_text().replace('"a.key"', '"a-2.key"'))
    wanted = config.load(file)
    wanted.require_good()
    with rack.open() as board, pytest.raises(Refused) as caught:
        board.apply_settings(wanted.settings)
    assert caught.value.reason == "not_good_again"
    Watcher(rack).wait(lambda board: board.node("a").verdict == "good")
    assert pid_of(rack, "a") == pid and rack.is_running("a") and not rack.is_running("b")
    assert rack.writers() == [("a", 1)]
    assert ("fence_fired", "a") not in Watcher(rack).names()


def test_two_trials_that_nobody_confirms_and_a_restart_lose_no_setting(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack()
    pid = pid_of(rack, "a")
    with rack.open() as board:
        kept = board.settings().text
        for name in ("first", "second"):
            file = rack.directory / f"{name}.toml"
            file.write_text(rack.config_file.read_text().replace("virtual rack", name))
            settings_transfer.upload(board.link, config.load(file).settings.text())
            board.link.request("settings_apply")
        boot = board.status().boot
        board.restart()
    wait_restarted(rack, boot)
    with rack.open() as board:
        assert board.settings().text == kept
    assert pid_of(rack, "a") == pid and rack.is_running("a")
