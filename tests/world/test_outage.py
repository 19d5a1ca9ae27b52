"""Networks that lose everything for a while between an agent and the real ser2net."""

import subprocess
import sys
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
    program,
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


# What a command does: ask, wait for an answer that does not come, end. It says "written" between.
ASK = """
import sys, time
from heartwire import transport
channel = transport.open_port(sys.argv[1])
channel.write(b"early")
time.sleep(1)
print("open", flush=True)
sys.stdin.readline()
channel.write(b"cut a's power")
print("written", flush=True)
channel.read(2.0)
channel.close()
"""


def test_a_request_that_nobody_heard_does_not_arrive_after_its_program_has_ended(tmp_path: Path) -> None:
    """The kernel would send it again for minutes: a fence that was given up would be carried out later."""
    needs("iproute2", "iptables", "util-linux", namespaces=True)
    heard = tmp_path / "heard"
    listener = (
        "import socket; held = socket.create_server(('', 4000)).accept()[0]\n"
        f"while data := held.recv(100): open({str(heard)!r}, 'ab').write(data)"
    )
    with Network() as network, program([*network.within(BOARD), sys.executable, "-c", listener], tmp_path / "log"):
        time.sleep(1)
        words = [*network.within(SERVER), sys.executable, "-c", ASK, f"socket://{BOARD_ADDRESS}:4000"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asker:
            assert asker.stdout
            assert asker.stdin
            assert asker.stdout.readline() == "open\n"
            network.lose(True)
            asker.stdin.write("\n")
            asker.stdin.flush()
            assert asker.stdout.readline() == "written\n"
            assert asker.wait(20) == 0
        network.lose(False)
        # The kernel's own pauses between two attempts are shorter by then.
        time.sleep(20)
    assert heard.read_bytes() == b"early"
