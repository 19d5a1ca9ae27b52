"""Networks that lose everything for a while between an agent and the real ser2net."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.world.place import (
    BOARD,
    BOARD_ADDRESS,
    INTERVAL_S,
    SERVER,
    LineBoard,
    Network,
    agent,
    agent_settings,
    events_of,
    needs,
    serial_server,
    status_of,
    wait_until,
)

# A second for the next attempt, one for a half-open connection to be found out, one for a busy machine.
BACK_LIMIT_S = 3.0
WATCHED_S = 8.0


@pytest.mark.parametrize(
    ("name", "fault", "seconds", "kick"),
    [
        ("router", Network.lose, 60, False),
        ("router, kickolduser", Network.lose, 20, True),
        ("cable", Network.unplug, 20, False),
        ("short", Network.lose, 1.5, False),
    ],
)
def test_heartbeats_are_back_soon_after_the_network_and_none_comes_late(
    tmp_path: Path, name: str, fault: Callable[[Network, bool], None], seconds: float, kick: bool
) -> None:
    needs("iproute2", "iptables", "ser2net", "util-linux", namespaces=True)
    with (
        Network() as network,
        LineBoard() as line,
        serial_server(tmp_path, line.path, prefix=network.within(BOARD), kickolduser=kick),
        agent(settings := agent_settings(tmp_path / "a", f"socket://{BOARD_ADDRESS}:4000"), network.within(SERVER)),
    ):
        wait_until(lambda: len(line.came) >= 4, 30, "heartbeats")
        fault(network, True)
        cut_s = time.monotonic()
        time.sleep(seconds)
        assert len(line.since(cut_s + 0.5)) == 0
        healed_s = time.monotonic()
        fault(network, False)
        time.sleep(WATCHED_S)
        back = line.since(healed_s)
        print(f"{name}: {seconds:g} s lost, heartbeats after {', '.join(f'{came_s:.2f}' for came_s in back)} s")
        assert back, (settings.with_name("agent.log")).read_text()
        assert back[0] <= BACK_LIMIT_S
        gaps = [later - earlier for earlier, later in pairwise(back)]
        if seconds > 2:
            assert min(gaps) >= INTERVAL_S / 2, gaps
        assert max(gaps) <= 1.5 * INTERVAL_S
        # Told once, however many attempts there were.
        events = events_of(settings)
        assert events.count("line_lost") <= 3, events
        assert status_of(settings)["beat_late_max_ms"] < 200
