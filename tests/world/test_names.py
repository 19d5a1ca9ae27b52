"""A name server that is silent: nothing that acts waits for it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from heartwire import names
from heartwire_protocol import events
from tests.fakes.board import FakeBoard, PtyBoard
from tests.world.place import (
    HEARTWIRE,
    INTERVAL_S,
    NAME,
    LineBoard,
    agent,
    agent_settings,
    dead_resolver,
    events_of,
    needs,
    program,
    status_of,
    wait_for_grant,
    wait_until,
)

# Starting Python on a busy machine.
START_S = 4.0
PROBES = f"""
[[probes]]
name = "database"
kind = "tcp"
host = "{NAME}"
port = 5432
interval_s = 2
limit_s = 15
[[probes]]
name = "web"
kind = "http"
url = "http://{NAME}:8080/"
interval_s = 2
limit_s = 15
[peer]
node = "b"
addresses = ["127.0.0.1:7412"]
key_file = "PEER_KEY"
listen = "127.0.0.1:7411"
"""


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[list[str]]:
    """Return what to put before a command so that its name server is silent."""
    needs("iproute2", "util-linux", namespaces=True)
    with dead_resolver(tmp_path) as prefix:
        yield prefix


def timed(*words: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a program; return how long it took, in s, and how it ended."""
    began_s = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    return time.monotonic() - began_s, done


def test_the_stage_is_what_it_says(silent: list[str]) -> None:
    look = f"import socket; socket.getaddrinfo('{NAME}', 80)"
    took_s, done = timed(*silent, sys.executable, "-c", look)
    print(f"the system's resolver gives up after {took_s:.1f} s")
    assert "gaierror" in done.stderr
    assert took_s > 2 * names.LIMIT_S


def test_heartbeats_and_the_end_of_a_lease_are_on_time(tmp_path: Path, silent: list[str]) -> None:
    stopped = tmp_path / "stopped"
    key = tmp_path / "peer.key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    hooks = (
        'on_board_loss = "stop"\nfenced_from_outside = true\n[hooks]\non_active = ["true"]\n'
        f'on_standby = ["touch", "{stopped}"]\ncheck = ["test", "!", "-e", "{stopped}"]\n'
    )
    with LineBoard() as line:
        settings = agent_settings(tmp_path / "a", line.path, hooks + PROBES.replace("PEER_KEY", str(key)))
        with agent(settings, silent):
            wait_for_grant(settings)
            time.sleep(15)
            came = [came_s for came_s, _ in line.came]
            gaps = [later - earlier for earlier, later in pairwise(came)]
            print(f"{len(came)} heartbeats, at most {max(gaps):.2f} s apart")
            assert max(gaps) < 1.5 * INTERVAL_S
            line.board.silent = True
            silent_s = time.monotonic()
            limit_s = line.board.lease_ms / 1000 + 2
            wait_until(stopped.exists, limit_s, "services are stopped at the end of the lease")
            print(f"services stopped {time.monotonic() - silent_s:.1f} s after the board fell silent")
            assert status_of(settings)["beat_late_max_ms"] < 200
    assert "line_silent" in events_of(settings)


def test_a_port_with_a_name_is_refused_at_once(tmp_path: Path, silent: list[str]) -> None:
    settings = agent_settings(tmp_path / "a", f"socket://{NAME}:4000")
    took_s, done = timed(*silent, HEARTWIRE, "agent", "run", "--config", str(settings))
    assert "must have a numeric address" in done.stderr
    assert took_s < START_S
    assert done.returncode == 11


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_a_command_says_soon_that_the_name_server_is_silent(silent: list[str], scheme: str) -> None:
    took_s, done = timed(*silent, HEARTWIRE, "-p", f"{scheme}://{NAME}:4000", "status")
    print(f"{scheme}: {took_s:.1f} s")
    assert "no answer from the name server" in done.stderr, done.stderr
    assert "numeric address" in done.stderr
    assert took_s < 2 * names.LIMIT_S + START_S


def test_a_monitor_tells_of_one_board_while_another_one_and_everybody_else_have_names(
    tmp_path: Path, silent: list[str]
) -> None:
    told, key = tmp_path / "told", tmp_path / "monitor.key"
    key.write_text("cd" * 32 + "\n")
    for name in ("deadman.url", "hook.url"):
        (tmp_path / name).write_text(f"http://{NAME}/secret\n")
    for path in (key, tmp_path / "deadman.url", tmp_path / "hook.url"):
        path.chmod(0o600)
    board = FakeBoard()
    with PtyBoard(board) as pty:
        (tmp_path / "monitor.toml").write_text(
            f'store = "{tmp_path}/monitor.db"\nspool = "{tmp_path}/spool"\nmetrics = "127.0.0.1:9732"\n'
            f'[deadman]\nurl_file = "deadman.url"\n'
            f'[peer]\nurl = "http://{NAME}:9733"\nlisten = "127.0.0.1:9733"\nkey_file = "{key}"\nrank = 2\n'
            "takeover_s = 1\n"
            f'[[board]]\nname = "here"\nport = "{pty.path}"\n'
            f'[[board]]\nname = "there"\nport = "socket://{NAME}:4000"\n'
            '[[channel]]\nname = "pager"\nkind = "command"\n'
            f'command = ["sh", "-c", "cat >> {told}"]\n'
            '[[channel]]\nname = "hook"\nkind = "webhook"\nurl_file = "hook.url"\n'
        )
        log = tmp_path / "monitor.log"
        with program([*silent, HEARTWIRE, "monitor", "run", "-c", str(tmp_path / "monitor.toml")], log):
            wait_until(lambda: "event=connected" in log.read_text(), 40, "the board that is here")
            time.sleep(3)
            board.log(events.LATE, node=0, a=3000)
            board.log(events.OFF_FAILED, node=0)
            logged_s = time.monotonic()
            wait_until(lambda: told.exists() and "proven" in told.read_text(), 20, f"a message; {log.read_text()}")
            took_s = time.monotonic() - logged_s
            print(f"told after {took_s:.1f} s")
            assert took_s < 6
    assert json.loads(told.read_text().splitlines()[0])
