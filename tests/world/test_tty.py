"""Other programs at the agent's own tty, and a reader that stands still."""

import os
import signal
import subprocess
import termios
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.world.place import (
    INTERVAL_S,
    LineBoard,
    agent,
    agent_settings,
    events_of,
    free_port,
    needs,
    serial_server,
    status_of,
    wait_for_grant,
    wait_until,
)

# Three unanswered heartbeats, the one that follows, and a busy machine.
WELL_AGAIN_S = 4 * INTERVAL_S + 2


@pytest.mark.parametrize("mode", ["sane", "raw istrip"])
def test_an_agent_is_well_again_after_another_program_set_the_mode(tmp_path: Path, mode: str) -> None:
    """Canonical, echoing; or without the eighth bit. A pty knows neither speed nor parity."""
    with LineBoard() as line, agent(settings := agent_settings(tmp_path / "a", line.path)):
        wait_for_grant(settings)
        right = termios.tcgetattr(line.kept)
        subprocess.run(["stty", "-F", line.path, *mode.split()], check=True)
        changed_s = time.monotonic()
        assert termios.tcgetattr(line.kept) != right
        wait_until(lambda: termios.tcgetattr(line.kept) == right, WELL_AGAIN_S, "the agent's own mode")
        right_s = time.monotonic()
        print(f"{mode}: well again after {right_s - changed_s:.1f} s")
        wait_until(lambda: status_of(settings).get("beats_unanswered") == 0, 5, "an answer")
        assert status_of(settings)["port_reopened"] == 1
        assert events_of(settings).count("line_silent") == 1
        wait_until(lambda: len(line.since(right_s)) >= 2, WELL_AGAIN_S, "heartbeats")
        # Opening the port anew loses no heartbeat. One that holds a line's end is damaged by the mode of the other one.
        before = [sequence for came_s, sequence in line.came if came_s < changed_s]
        after = [sequence for came_s, sequence in line.came if came_s > right_s]
        for sequences in (before, after):
            assert sequences and sequences == list(range(sequences[0], sequences[0] + len(sequences)))


def test_output_that_another_program_has_stopped_goes_on(tmp_path: Path) -> None:
    with LineBoard() as line, agent(settings := agent_settings(tmp_path / "a", line.path)):
        wait_for_grant(settings)
        termios.tcflow(line.kept, termios.TCOOFF)
        stopped_s = time.monotonic()
        wait_until(lambda: line.since(stopped_s + 1), WELL_AGAIN_S + 1, "heartbeats")
        back = line.since(stopped_s + 1)
        time.sleep(3)
        gaps = [later - earlier for earlier, later in pairwise(line.since(stopped_s + 1))]
        print(f"stopped output: heartbeats again after {back[0] + 1:.1f} s")
        assert min(gaps) >= INTERVAL_S / 2


def test_a_serial_server_that_stands_still_harms_nobody(tmp_path: Path) -> None:
    """Its kernel goes on taking bytes and connections, so that nothing but the missing answers shows it."""
    needs("ser2net")
    port = free_port()
    settings = agent_settings(tmp_path / "a", f"socket://127.0.0.1:{port}")
    with (
        LineBoard() as line,
        serial_server(tmp_path, line.path, f"tcp,{port}", kickolduser=True) as server,
        agent(settings) as process,
    ):
        wait_for_grant(settings)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(30)
        assert process.poll() is None
        status = status_of(settings)
        assert 25 <= status["beats_unanswered"] <= 32
        # After 3, 6 and 12 heartbeats.
        assert status["port_reopened"] == 3
        assert events_of(settings).count("line_silent") == 1
        assert status["beat_late_max_ms"] < 200
        os.kill(server.pid, signal.SIGCONT)
        go_s = time.monotonic()
        wait_until(lambda: status_of(settings)["beats_unanswered"] == 0, 30, "an answer")
        answered_s = time.monotonic() - go_s
        time.sleep(3)
        old = sum(came_s < 0.5 for came_s in line.since(go_s))
        print(f"stopped server: an answer {answered_s:.1f} s after it went on, which passed on {old} old heartbeats")
        # Its kernel took them, and TCP takes nothing back; what follows is on time.
        fresh = [came_s for came_s in line.since(go_s) if came_s >= 0.5]
        assert all(later - earlier >= INTERVAL_S / 2 for earlier, later in pairwise(fresh))
        assert len(fresh) >= 2
