"""The real program as a process: command line, a pty as its serial port, real hooks, signals, pauses and kills."""

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from heartwire.agent.state import read_epoch
from heartwire.cli.main import main
from heartwire_protocol import codes, messages
from tests.unit.agent.agent_fakes import ACTIVE, KEY, STANDBY, FakeBoard, FakePort

PROGRAM = "import sys; from heartwire.cli.main import main; sys.exit(main(sys.argv[1:]))"
RUNNING = messages.FLAG_RUNNING
VERIFIED = messages.FLAG_VERIFIED_STOPPED


class Bench:
    """A board on a pty and one agent process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.board = FakeBoard()
        self.board.lease_ms = 500
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        self._inbox = FakePort(self.board)
        self.key = directory / "key"
        self.key.touch(0o600)
        self.key.write_text(KEY.hex())
        self.service = directory / "service"
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        words = [
            sys.executable,
            "-c",
            PROGRAM,
            "agent",
            "run",
            "--node=a",
            f"--port={self.path}",
            f"--key-file={self.key}",
        ]
        words += ["--interval-ms=50", f"--state-directory={self.directory / 'state'}", "--check-interval-s=0.05"]
        words += [f"--check=test -e {self.service}", f"--hook-standby=rm -f {self.service}"]
        words += [f"--hook-active=sh -c 'echo $HEARTWIRE_EPOCH >> {self.service}'", *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def until(self, ready: Callable[[], object], limit_s: float = 20.0) -> None:
        """Play the board until `ready`; the limit is only for a test that fails."""
        end = time.monotonic() + limit_s
        while not ready():
            assert time.monotonic() < end, "waited in vain"
            self.pump()

    def pump(self) -> None:
        if select.select([self.master], [], [], 0.01)[0]:
            self.board.hear(os.read(self.master, 4096), self._inbox)
            if self._inbox.inbox:
                os.write(self.master, self._inbox.inbox)
                self._inbox.inbox = b""

    def flags(self) -> int:
        return int(self.board.beats[-1]["flags"]) if self.board.beats else 0

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def activate(bench: Bench, epoch: int = 3) -> None:
    bench.board.role = ACTIVE
    bench.board.epoch = epoch
    bench.until(lambda: bench.flags() & RUNNING and bench.service.exists())


def test_from_standby_to_active_and_a_good_end(bench: Bench) -> None:
    process = bench.start()
    bench.until(lambda: bench.flags() & VERIFIED)
    activate(bench, epoch=7)
    assert bench.service.read_text() == "7\n"
    assert read_epoch(bench.directory / "state") == 7
    assert all(beat["right"] for beat in bench.board.beats)
    process.send_signal(signal.SIGTERM)
    bench.until(lambda: process.poll() is not None)
    bench.pump()
    states = [beat["node_state"] >> 2 for beat in bench.board.beats]
    assert states.count(codes.STATE_PLANNED_OFF) == 2
    assert states[-2:] == [codes.STATE_PLANNED_OFF] * 2
    assert process.wait() == 0
    text = process.communicate()[1]
    assert "event=hook_started hook=on_active role=active epoch=7" in text
    assert KEY.hex() not in text
    assert bench.service.exists(), "on_exit is leave"


def test_a_paused_agent_stops_its_services_when_it_wakes_up(bench: Bench) -> None:
    process = bench.start("--on-board-loss=stop", "--fenced-from-outside")
    activate(bench)
    process.send_signal(signal.SIGSTOP)
    paused = time.monotonic()
    bench.board.silent = True
    bench.until(lambda: time.monotonic() - paused > 0.7)
    # Old grants wait in its buffer meanwhile, good and signed.
    beat = bench.board.beats[-1]
    os.write(bench.master, bench.board.grant(beat["incarnation"], beat["sequence"], 500))
    process.send_signal(signal.SIGCONT)
    bench.until(lambda: bench.flags() & VERIFIED)
    assert not bench.service.exists()
    process.kill()
    assert "wish=stop reason=lease_over" in process.communicate()[1]


def test_a_killed_agent_leaves_no_hook_behind_and_its_successor_goes_on(bench: Bench) -> None:
    process = bench.start()
    activate(bench)
    process.kill()
    process.wait()
    bench.board.beats.clear()
    bench.start()
    bench.until(lambda: bench.flags() & RUNNING)
    bench.until(lambda: len(bench.board.beats) > 20)
    assert bench.service.read_text() == "3\n", "started again although it was running"


def test_the_second_agent_on_the_same_state_or_port_is_refused(bench: Bench) -> None:
    bench.start()
    bench.until(lambda: bench.board.beats)
    second = bench.start()
    assert second.wait(20) == 12
    assert "in use by another agent" in second.communicate()[1]


def test_the_status_file_is_kept(bench: Bench) -> None:
    bench.start()
    activate(bench)
    path = bench.directory / "state" / "status.json"
    bench.until(lambda: json.loads(path.read_text())["running"])
    status = json.loads(path.read_text())
    assert (status["node"], status["role"], status["port"]) == ("a", "active", bench.path)


def test_a_revoke_reaches_the_service(bench: Bench) -> None:
    bench.start()
    activate(bench)
    bench.board.role = STANDBY
    bench.board.orders = messages.ORDER_REVOKE
    bench.until(lambda: not bench.service.exists() and bench.flags() & VERIFIED)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["run"], 11, "node: must be one of a, b, spare"),
        (["run", "--node", "a"], 11, "port: must be"),
        (["run", "--config", "/no/such/file"], 11, "No such file"),
        (["run", "--node", "a", "--port", "x", "--interval-ms", "1"], 11, "interval_ms: must be a whole number"),
        (["run", "--node", "a", "--port", "x", "--key-file", "/no/key"], 11, "no such key file"),
        (["run", "--node", "a", "--port", "x", "--state-directory", "/proc/x"], 12, "/proc/x"),
        (["run", "--node", "z"], 2, "Invalid value"),
    ],
)
def test_errors_say_what_to_do(
    arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agent", *arguments]) == status
    output = capsys.readouterr().err
    assert words in output
    assert "Traceback" not in output


def test_busy_and_planned_off_reach_the_board(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.start()
    bench.until(lambda: bench.flags() & VERIFIED)
    to_agent = ["--state-directory", str(bench.directory / "state")]

    def call(*words: str) -> int:
        """Run a command in a thread, as the board must be played meanwhile."""
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(main, ["agent", *words, *to_agent])
            bench.until(running.done)
            return running.result()

    def states() -> list[str]:
        return [codes.STATES[beat["node_state"] >> 2] for beat in bench.board.beats]

    assert call("busy", "--for", "20m") == 0
    bench.until(lambda: states()[-1] == "busy" and bench.board.beats[-1]["busy_s"] > 1190)
    assert call("planned-off") == 0
    bench.until(lambda: states()[-1] == "planned_off")
    assert call("ready") == 0
    bench.until(lambda: states()[-1] == "healthy")
    assert call("busy", "--for", "soon") == 2
    assert call("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["role"] == "standby"


@pytest.mark.parametrize(("number", "left"), [(signal.SIGUSR1, False), (signal.SIGUSR2, False), (None, True)])
def test_the_word_of_the_system_makes_an_end_a_drain(bench: Bench, number: signal.Signals | None, left: bool) -> None:
    process = bench.start("--hook-standby", f"sh -c 'sleep 0.3; rm -f {bench.service}'")
    activate(bench)
    if number:
        process.send_signal(number)
    process.send_signal(signal.SIGTERM)
    bench.until(lambda: process.poll() is not None)
    bench.pump()
    assert (process.wait(), bench.service.exists()) == (0, left)
    last = bench.board.beats[-1]
    assert last["node_state"] >> 2 == codes.STATE_PLANNED_OFF
    assert bool(last["flags"] & VERIFIED) is not left
    status = json.loads((bench.directory / "state" / "status.json").read_text())
    assert (status["planned_off"], status["suspect"]) == (False, left)


def test_a_flood_of_clients_ends_no_heartbeats(bench: Bench) -> None:
    bench.start()
    bench.until(lambda: bench.flags() & VERIFIED)
    path = bench.directory / "state" / "control"

    def flood() -> int:
        """Connect 2000 times: say nothing, half a line, much too much, nonsense, or a request; never read."""
        words = (
            b"",
            b'{"do"',
            b"x" * 100_000,
            b"[" * 4000 + b"\n",
            b'{"do": "status"}\n',
            b'{"do": "fence", "tool": 1.5}\n',
        )
        kept = []
        for number in range(2000):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with contextlib.suppress(OSError):
                client.settimeout(1)
                client.connect(str(path))
                client.sendall(words[number % len(words)])
            kept.append(client)
            if len(kept) > 200:
                kept.pop(0).close()
        for client in kept:
            client.close()
        return number

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(flood)
        bench.until(running.done, 60)
        assert running.result() == 1999
    count = len(bench.board.beats)
    bench.until(lambda: len(bench.board.beats) > count + 10)
    assert len({beat["incarnation"] for beat in bench.board.beats}) == 1


def test_an_agent_without_its_helpers_ends_instead_of_pretending(bench: Bench) -> None:
    process = bench.start()
    bench.until(lambda: bench.flags() & VERIFIED)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 3
    os.kill(int(children[0]), signal.SIGKILL)
    bench.until(lambda: process.poll() is not None)
    assert process.returncode == 1
    assert "helper process" in process.communicate()[1]
    assert bench.board.beats[-1]["node_state"] >> 2 != codes.STATE_PLANNED_OFF


def test_a_full_disk_starts_nothing(bench: Bench) -> None:
    full = bench.directory / "state"
    full.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", full], check=False).returncode:
        pytest.skip("needs root and the right to mount")
    try:
        with (full / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        bench.start()
        bench.board.role = ACTIVE
        bench.board.epoch = 5
        degraded = codes.STATE_DEGRADED
        bench.until(lambda: bench.board.beats and bench.board.beats[-1]["node_state"] >> 2 == degraded)
        assert not bench.service.exists()
        (full / "ballast").unlink()
        bench.until(bench.service.exists)
        assert read_epoch(full) == 5
    finally:
        for process in bench.processes:
            process.kill()
            process.wait()
        subprocess.run(["umount", full], check=True)
