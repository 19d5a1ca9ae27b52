"""The command line on the real firmware: bad settings, busy ports, a pulled plug, Ctrl-C, full disks, bad agents."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.virtual.product import ProductRack
from tests.virtual.conftest import Watcher

pytestmark = pytest.mark.virtual


class Cli:
    """Runs `heartwire` as a process against one rack's board."""

    def __init__(self, rack: ProductRack) -> None:
        self.rack = rack
        self.environment = {**os.environ, "HEARTWIRE_PORT": str(rack.board.usb_path), "NO_COLOR": "1"}
        self.environment["HEARTWIRE_KEY_FILE"] = str(rack.host_keys)

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-m", "heartwire", *words],
            env=self.environment, capture_output=True, text=True, timeout=30, check=False, **options,
        )  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start one command."""
        return subprocess.Popen(
            [sys.executable, "-m", "heartwire", *words],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Return a CLI on a rack that observes; no test of this module may leave it changed."""
    rack = ProductRack(tmp_path_factory.mktemp("shared"))
    rack.start()
    yield Cli(rack)
    rack.close()


@pytest.mark.parametrize(
    ("line", "path", "rule"),
    [
        ("speed = 1", "board.speed", "unknown"),
        ("dead_ms = 5", "board.dead_ms", "500 to 300000"),
        ("late_ms = 1900", "board.dead_ms", "dead_after_late"),
    ],
)
def test_bad_settings_are_refused_and_the_old_ones_stay(
    shared: Cli, tmp_path: Path, line: str, path: str, rule: str
) -> None:
    before = shared.run("config", "show").stdout
    text = shared.rack.config_file.read_text()
    name = line.split(" = ", maxsplit=1)[0]
    lines = [row for row in text.splitlines() if not row.startswith(name)]
    lines.insert(1, line)
    bad = shared.rack.directory / "bad.toml"
    bad.write_text("\n".join(lines))
    done = shared.run("config", "apply", "--yes", str(bad))
    assert done.returncode == 11, done
    assert path in done.stderr and rule in done.stderr
    assert shared.run("config", "show").stdout == before


def test_a_second_program_on_the_port_gets_a_clear_error(shared: Cli) -> None:
    follower = shared.start("log", "--follow")
    try:
        assert follower.stdout is not None and follower.stdout.readline()
        done = shared.run("status")
        assert done.returncode == 4, done
        assert "error:" in done.stderr and "next:" in done.stderr
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130


def test_status_and_log_in_a_pipe_and_as_json(shared: Cli) -> None:
    assert "observe mode" in shared.run("status").stdout
    assert '"mode": "observe"' in shared.run("status", "--json").stdout
    assert "the board started" in shared.run("log").stdout
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "heartwire", "log", "--csv"],
            env=shared.environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 12 and "No space left" in done.stderr


def test_unplugged_in_the_middle_of_following(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(arm=False)
    cli = Cli(rack)
    follower = cli.start("log", "--follow")
    assert follower.stdout is not None and follower.stdout.readline()
    rack.board.unplug()
    time.sleep(0.5)
    done = cli.run("status")
    assert done.returncode == 3, done
    rack.board.plug()
    rack.board.wait_usb()
    deadline = time.monotonic() + 10
    text = ""
    while "power came on" not in text and time.monotonic() < deadline:
        text = follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=10)
    assert "power came on" in text, "the follower went on by itself after the board came back"
    assert follower.returncode == 130


def test_ctrl_c_during_a_trial_reverts(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(arm=False)
    cli = Cli(rack)
    rack.config_file.write_text(rack.config_file.read_text().replace('"virtual rack"', '"other name"'))
    generation = cli.run("status", "--json").stdout
    for delay_s in (0.15, 0.3, 0.45):
        apply = cli.start("config", "apply", "--yes", str(rack.config_file))
        time.sleep(delay_s)
        apply.send_signal(signal.SIGINT)
        _, err = apply.communicate(timeout=15)
        # Killed by the signal itself: the interrupt came before the program had begun; or while Python itself started,
        # which ends with 1.
        starting = apply.returncode == 1 and err.rstrip().endswith("KeyboardInterrupt") and "heartwire/cli" not in err
        assert apply.returncode in (0, 130, -signal.SIGINT) or starting, err
        if apply.returncode:
            with rack.open() as board:
                status = board.status()
            assert not status.trial_s, "nothing stays on trial"
            assert status.name == "virtual rack"
        else:
            break
    assert generation


def test_noise_and_mutated_frames_through_the_real_port(make_rack: Callable[..., ProductRack]) -> None:
    import random

    from heartwire_protocol import framing, messages

    rack = make_rack(arm=False)
    watcher = Watcher(rack)
    watcher.wait(lambda board: all(node.verdict == "good" for node in board.nodes()))
    with rack.open() as board:
        free = board.status().free
        beats = board.node("a").beats
        started = time.monotonic()
    rng = random.Random(3)
    rack.servers["b"].freeze()
    frame = framing.encode(messages.HEARTBEAT, bytes(24))
    while time.monotonic() - started < 6:
        chunk = bytearray(rng.randbytes(100) + frame + frame)
        chunk[rng.randrange(100, len(chunk))] ^= 1 << rng.randrange(8)
        rack.board.send_line("b", bytes(chunk))
        rack.board.send_line("spare", bytes(chunk))
        time.sleep(0.02)
    with rack.open() as board:
        node = board.node("a")
        assert node.verdict == "good"
        assert node.beats - beats > 0.8 * (time.monotonic() - started) / 0.2
        assert sum(board.node("b").drops.values()) > 300
        time.sleep(5.5)  # the board collects garbage every 5 s, and tells what was free after it
        assert abs(board.status().free - free) < 4096, "memory grew with the noise"
