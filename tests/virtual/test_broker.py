"""Many programs at one board with the real firmware: commands, monitor, watchers and a fence at once, and mishaps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.board import Board
from heartwire.broker import access, client, places
from heartwire.errors import HeartwireError, NotPermitted, Unplugged
from heartwire.journal import Entry
from heartwire.virtual.product import ProductRack
from tests.virtual.test_cli import Cli

pytestmark = pytest.mark.virtual
NOBODY = 65534
ENDED_S = 60.0  # a broker has ended after its signal by then
MONITOR = """\
store = "{folder}/monitor.db"
[[board]]
name = "rack-1"
port = "{port}"
key_file = "{keys}"
[[channel]]
name = "log"
kind = "command"
command = ["true"]
"""


class Shared(Cli):
    """Programs that share the board of one rack; whatever was started is ended."""

    def __init__(self, rack: ProductRack) -> None:
        super().__init__(rack)
        self.port = str(rack.board.wait_usb())
        self.files: dict[str, Path] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def go(self, name: str, *words: str) -> None:
        """Start `heartwire WORDS`, its output in a file."""
        self.files[name] = self.rack.directory / f"{name}.out"
        with self.files[name].open("wb") as out:
            command = [sys.executable, "-m", "heartwire", *words]
            self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out)

    def fence(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the fence agent."""
        command = [sys.executable, "-c", "import sys; from heartwire.fence.main import main; sys.exit(main())"]
        reach = ["-p", self.port, "-k", str(self.rack.host_keys)]
        return subprocess.run(
            [*command, *reach, *words], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def text(self, name: str) -> str:
        """Return what one has printed."""
        return self.files[name].read_text(errors="replace")

    def wait(self, condition: Callable[[], object], limit_s: float = 20.0) -> None:
        """Wait until `condition()`; fails with what all have printed."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail("\n".join(f"{name}: {self.text(name)[-2000:]}" for name in self.files))
            time.sleep(0.05)

    def end(self) -> None:
        """End them all."""
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for the broker that the first program starts; short, as the name of a socket must be."""
    with tempfile.TemporaryDirectory(prefix="hw-") as folder:
        # Somebody else may have to get there.
        Path(folder).chmod(0o755)
        found = Path(folder) / "broker.sock"
        monkeypatch.setenv(places.ENVIRONMENT, str(found))
        yield found
        pid = broker_pid()
        if pid:
            os.kill(pid, signal.SIGTERM)
            # The folder goes after it, as it puts away what is its own there.
            end_s = time.monotonic() + ENDED_S
            while runs(pid) and time.monotonic() < end_s:
                time.sleep(0.01)


@pytest.fixture
def share(make_rack: Callable[..., ProductRack]) -> Iterator[Callable[..., Shared]]:
    """Return a maker of racks whose board is shared."""
    made: list[Shared] = []

    def make(**options: object) -> Shared:
        made.append(Shared(make_rack(**options)))
        return made[-1]

    yield make
    for shared in made:
        shared.end()


def runs(pid: int) -> bool:
    """Tell whether a process has not ended; one that nobody has asked for its end yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def broker_pid() -> int | None:
    """Return the process of the broker, None if none runs."""
    for _, state in client.states():
        if not isinstance(state, HeartwireError):
            return int(state["pid"])
    return None


def board_of(shared: Shared) -> Board:
    """Open the board in this process, through the broker."""
    board = shared.rack.open()
    assert isinstance(board.link.channel, client.BrokerChannel)
    return board


def test_monitor_watch_log_approve_and_a_fence_at_once(share: Callable[..., Shared]) -> None:
    shared = share()
    config = shared.rack.directory / "monitor.toml"
    config.write_text(MONITOR.format(folder=shared.rack.directory, port=shared.port, keys=shared.rack.host_keys))
    shared.go("monitor", "monitor", "run", "-c", str(config))
    shared.go("watch", "status", "--watch", "--interval", "0.2")
    shared.go("follow", "log", "--follow")
    shared.wait(lambda: "event=connected" in shared.text("monitor"))
    assert shared.run("mode", "approve", "--yes").returncode == 0
    shared.rack.servers["a"].crash()
    shared.wait(lambda: "approval" in shared.text("watch"))
    done = shared.run("approve", "--yes")
    assert done.returncode == 0, done
    shared.rack.wait_active("b")
    off = shared.fence("-o", "off", "-n", "a", "-v")
    assert off.returncode == 0, off
    with board_of(shared) as board:
        rows = [row for row in board.events() if isinstance(row, Entry)]
        assert not board.node("a").relay or board.node("a").fence != "idle"
    assert ("off_proven", "a") in [(row.event, row.node) for row in rows]
    newest = rows[-1].sequence
    shared.wait(lambda: "proven off" in shared.text("follow"))
    assert [name for name, process in shared.processes.items() if process.poll() is not None] == []
    done = shared.run("log", "--since", "0", "--json")
    assert done.stdout.count("\n") >= newest - 1


def test_a_broker_that_is_killed_in_the_middle_is_started_again_by_the_next(share: Callable[..., Shared]) -> None:
    shared = share(arm=False)
    shared.go("follow", "log", "--follow")
    shared.wait(lambda: "the board started" in shared.text("follow"))
    first = broker_pid()
    assert first is not None
    with board_of(shared) as board:
        board.status()
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Unplugged, match="the broker of this port has ended"):
            board.maintenance(None, 30)
        board.reopen()
        board.maintenance(None, 30)
        shared.wait(lambda: "answers again" in shared.text("follow"))
        shared.wait(lambda: "maintenance" in shared.text("follow"))
        second = broker_pid()
        assert second not in (None, first)
    assert shared.run("status").returncode == 0
    assert broker_pid() == second


def test_a_program_that_never_reads_harms_nobody(share: Callable[..., Shared]) -> None:
    shared = share(arm=False)
    with board_of(shared) as deaf, board_of(shared) as board:
        channel = deaf.link.channel
        assert isinstance(channel, client.BrokerChannel)
        for _ in range(5):
            assert channel.turn("log", 5.0) in (True, False)
            deaf.link.hello()
            # It asks for a page and never looks at it.
            channel.turn("log", 5.0)
            assert board.status().mode == "observe"
    assert shared.run("status").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_another_user_gets_nothing_that_the_port_would_not_give(share: Callable[..., Shared], place: Path) -> None:
    shared = share(arm=False)
    script = (
        "import os, sys, heartwire.broker.client;"  # while it may read Python's own files
        "from heartwire.board import Board; from heartwire.keys import Keys;"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY});"
        "Board.open(sys.argv[1], keys=Keys())"
    )
    with board_of(shared) as board:
        # The device itself: he may not enter the folder of the link to it.
        command = [sys.executable, "-c", script, os.path.realpath(shared.port)]
        done = subprocess.run(command, env=shared.environment, capture_output=True, text=True, timeout=30, check=False)
        assert "NotPermitted" in done.stderr, done
        assert board.status().mode == "observe"
        state = next(iter(client.states()))[1]
        assert not isinstance(state, HeartwireError)
        assert [session["uid"] for session in state["ports"][0]["sessions"]] == [0]
        # Once he may open the port, he may share it, and look whose broker it is.
        os.chown(os.path.realpath(shared.port), NOBODY, -1)
        done = subprocess.run(command, env=shared.environment, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_a_socket_of_somebody_who_may_not_open_the_port_is_not_trusted(
    share: Callable[..., Shared], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = share(arm=False)
    monkeypatch.setattr(access, "caller_of", lambda connection: access.Caller(1, NOBODY, frozenset({NOBODY})))
    with shared.rack.open() as board:
        assert not isinstance(board.link.channel, client.BrokerChannel)
        assert board.status().mode == "observe"


def test_unplugged_and_plugged_in_again(share: Callable[..., Shared]) -> None:
    shared = share(arm=False)
    shared.go("follow", "log", "--follow")
    shared.wait(lambda: "the board started" in shared.text("follow"))
    with board_of(shared) as board:
        board.status()
        shared.rack.board.unplug()
        with pytest.raises((Unplugged, NotPermitted)):
            for _ in range(50):
                board.status()
        assert shared.run("status").returncode == 3
        shared.rack.board.plug()
        shared.rack.board.wait_usb()
        shared.wait(lambda: "power came on" in shared.text("follow"), 30)
        with shared.rack.open() as again:
            assert isinstance(again.link.channel, client.BrokerChannel)
            assert again.status().boot == 2
    assert shared.run("status").returncode == 0


def test_a_broker_ends_when_nobody_uses_it(
    share: Callable[..., Shared], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = share(arm=False)
    assert shared.run("status").returncode == 0
    assert broker_pid() is not None
    deadline = time.monotonic() + 30
    while place.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not place.exists()


def test_the_agent_of_a_fence_finds_the_port_as_well_where_no_broker_is(
    share: Callable[..., Shared], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = share(arm=False)
    shared.environment[places.ENVIRONMENT] = places.OFF
    deadline = time.monotonic() + 10
    while (done := shared.fence("-o", "status", "-n", "a")).returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    assert done.returncode == 0, done
