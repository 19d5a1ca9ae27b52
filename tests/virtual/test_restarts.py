"""What restarts by itself or by a person's wish is not noticed by the service: the board, the agent, an update of both.
And what goes down on purpose is drained, and never cut.

Real firmware, real agents, a real service, on_board_loss hold and stop, with a server's timings. Each prints how long
the service was interrupted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire.virtual.product import SERVICE, ProductRack
from tests.virtual.conftest import Watcher
from tools.bench_pair import SLOW_CHECK, TIMINGS, agent_dies, agent_ends, bite, interruption_ms, pid, restart, update

pytestmark = pytest.mark.virtual


@pytest.mark.parametrize("loss", ["hold", "stop"])
def test_a_restart_is_not_noticed_by_the_service(make_rack: Callable[..., ProductRack], loss: str) -> None:
    rack = make_rack(
        timings=TIMINGS,
        on_board_loss=loss,
        respawn_ms=1000,
        agent_flags=("--check", SLOW_CHECK, "--check-interval-s", "2"),
    )
    watcher = Watcher(rack)
    started = pid(rack)
    for disturb in (bite, restart, update, agent_ends, agent_dies):
        watcher.wait(lambda board: board.status().active == "a" and board.node("a").lease_ms > 0)
        gone_ms = interruption_ms(rack, disturb)
        print(f"{loss}, {disturb.__name__}: interrupted for {gone_ms} ms")
        assert gone_ms == 0
    assert (pid(rack), rack.writers()) == (started, [("a", 1)])
    assert not [name for name in watcher.names() if name[0] in ("fence_fired", "dead")]


def test_arming_takes_over_a_service_that_runs_without_interrupting_it(tmp_path: Path) -> None:
    """A board that is armed says hold before it has stored its first epoch."""
    with ProductRack(tmp_path / "rack", timings=TIMINGS, on_board_loss="stop") as rack:
        rack.start()
        server = rack.servers["a"]
        Watcher(rack).wait(lambda board: board.node("a").verdict == "good")
        around = {**os.environ, "HEARTWIRE_NODE": "a", "HEARTWIRE_EPOCH": "0"}
        subprocess.run(["sh", str(SERVICE), "start", str(server.directory), str(rack.ledger)], env=around, check=True)
        Watcher(rack).wait(lambda board: "running" in board.node("a").as_json()["flags"])
        started = pid(rack)
        for mode in ("auto", "observe", "auto"):

            def change(rack: ProductRack, mode: str = mode) -> None:
                with rack.open() as board:
                    board.set_mode(mode)

            assert interruption_ms(rack, change) == 0, mode
        assert (pid(rack), rack.writers()) == (started, [("a", 0)])


@pytest.mark.parametrize("loss", ["hold", "stop"])
@pytest.mark.parametrize("how", ["planned-off", "stopped", "poweroff"])
def test_what_goes_down_on_purpose_is_drained_and_not_cut(
    make_rack: Callable[..., ProductRack], loss: str, how: str
) -> None:
    """The service takes longer to stop than a dead node is waited for; the agent beats meanwhile."""
    slow_stop = f"sh -c 'sleep 4; sh {SERVICE} stop {{directory}} x'"
    rack = make_rack(on_board_loss=loss, agent_flags=("--hook-standby", slow_stop, "--hook-drain", slow_stop))
    began = time.monotonic()
    if how == "planned-off":
        state = rack.servers["a"].directory / "state"
        words = [sys.executable, "-m", "heartwire", "agent", "planned-off", "--state-directory", str(state)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert not rack.is_running("a"), "the command waits"
    elif how == "poweroff":
        rack.servers["a"].shut_down()
    else:
        os.kill(rack.servers["a"].pid or 0, signal.SIGUSR2)
        os.kill(rack.servers["a"].pid or 0, signal.SIGTERM)
    while rack.is_running("a"):
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    gone = time.monotonic()
    rack.wait_active("b")
    print(f"{loss}, {how}: b serves {(time.monotonic() - gone) * 1000:.0f} ms after a stopped")
    time.sleep(4.0)  # twice dead_ms
    assert rack.writers() == [("a", 1), ("b", 2)]
    assert not [name for name in Watcher(rack).names() if name[0] == "fence_fired"]
    assert rack.servers["a"].powered and rack.servers["a"].boots == 1
