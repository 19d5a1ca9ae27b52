"""A virtual rack on which server a is a machine with a systemd of its own, and Heartwire installed as people do.

`heartwire agent install` writes what it writes; the hooks are the shipped `systemd-target`, its member a service that
tells its story: when it started, was asked to stop, and stopped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from heartwire.journal import Entry
from heartwire.virtual.product import ProductRack
from heartwire.virtual.server import Server
from tests.systemd import box

ROOT = Path(__file__).resolve().parents[2]
TARGET = "heartwire-services.target"
# Slower than a bench's: whole machines start beside it.
DEAD_S = 5
TIMINGS = {
    "interval_ms": 500, "early_ms": 100, "late_ms": 1800, "dead_ms": DEAD_S * 1000, "common_cause_ms": 500,
    "lease_ms": 4000, "drain_ms": 5000,
}  # fmt: skip
# Only its shell is asked to stop: the programs that it starts in its trap tell the story.
STORY = """\
tell() {{ echo "$(date +%s.%N) $1" >>{story}; }}
trap 'tell "asked to stop"; sleep {stop_s}; tell stopped; exit 0' TERM
tell started
while :; do sleep 0.1 & wait $!; done
"""


def heartwire() -> str:
    """Return the path of the product's command."""
    return str(Path(sys.executable).with_name("heartwire"))


def folders(directory: Path) -> list[Path]:
    """Return what a machine needs of this one beside its root: the project, its Python, and `directory`."""
    wanted = [ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), directory.resolve()]
    there = [
        path for path in wanted if path in (ROOT, directory.resolve()) or path.stat().st_dev != Path("/").stat().st_dev
    ]
    return [path for path in there if not any(path != other and path.is_relative_to(other) for other in there)]


def write_unit(stage: Path, name: str, text: str) -> None:
    """Put a unit into a staged tree."""
    path = stage / "etc/systemd/system" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def want(stage: Path, target: str, *units: str) -> None:
    """Have `target` of a staged tree want `units`, as `systemctl enable` does."""
    wants = stage / f"etc/systemd/system/{target}.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for unit in units:
        (wants / unit).symlink_to(f"../{unit}")


def install(stage: Path) -> None:
    """Install the agent into a staged tree."""
    words = [heartwire(), "agent", "install", "--root", str(stage), "--program", heartwire()]
    subprocess.run(words, check=True, capture_output=True)


@dataclass
class Told:
    """One line of a story: when, in s after the time asked for, and what."""

    at_s: float
    what: str


class MachineRack(ProductRack):
    """A rack whose server a is a machine; `stop_s` is how long its service takes to stop, `unit` is laid over it."""

    def __init__(
        self, directory: Path, *, stop_s: float = 0, unit: str = "", on_exit: str = "leave", **options: object
    ):
        self.stage = directory / "stage"
        self.story = directory / "story"
        self.state = directory / "state"
        self._on_exit = on_exit
        directory.mkdir(parents=True)
        self.story.touch()
        install(self.stage)
        want(self.stage, "multi-user.target", "heartwire-agent.service", "heartwire-planned-off.service")
        (directory / "service.sh").write_text(STORY.format(story=self.story, stop_s=stop_s))
        write_unit(self.stage, TARGET, "[Unit]\nDescription=the services\n")
        want(self.stage, TARGET, "slow.service")
        write_unit(
            self.stage,
            "slow.service",
            f"[Unit]\nPartOf={TARGET}\n{unit}\n"
            f"[Service]\nExecStart=/bin/bash {directory}/service.sh\nTimeoutStopSec=60\nKillMode=mixed\n",
        )
        super().__init__(directory / "rack", **{"timings": TIMINGS, **options})  # type: ignore[arg-type]

    def _command(self, server: Server) -> list[str]:
        if server.node != "a":
            return super()._command(server)
        settings = self.stage / "etc/heartwire/agent.toml"
        verbs = {name: ["/etc/heartwire/hooks/systemd-target", verb, TARGET] for name, verb in (
            ("on_active", "start"), ("on_standby", "stop"), ("check", "check"))}  # fmt: skip
        lines = [
            'node = "a"', f'port = "{server.port}"', f'key_file = "{self.key_file("a")}"',
            f'interval_ms = {self.timings["interval_ms"]}', f'on_board_loss = "{self.on_board_loss}"',
            "fenced_from_outside = true", f'on_exit = "{self._on_exit}"', f'state_directory = "{self.state}"',
            "[hooks]", *(f"{name} = {words}" for name, words in verbs.items()), "check_interval_s = 0.5",
        ]  # fmt: skip
        settings.write_text("\n".join(lines) + "\n")
        machine = self.directory / f"machine{server.boots}-{time.monotonic_ns()}"
        return box.command(machine, self.stage, folders(self.directory.parent))

    def close(self) -> None:
        """Switch everything off, and remove what machines left."""
        super().close()
        box.clean_up()
        for path in self.directory.glob("machine*"):
            shutil.rmtree(path, ignore_errors=True)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in machine a, once its systemd answers."""
        deadline = time.monotonic() + 20
        while not (pid := self.servers["a"].pid) or not box.is_there(pid):
            assert time.monotonic() < deadline, f"no machine:\n{self.servers['a'].log_text()}"
            time.sleep(0.05)
        return box.inside(pid, *words)

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit in machine a."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).stdout.strip()

    def service_pid(self) -> str:
        """Return the process id of the service of a, as its systemd says."""
        return self.shown("slow.service", "MainPID")

    def is_running(self, node: str) -> bool:
        """Tell whether the service of `node` runs."""
        if node != "a":
            return super().is_running(node)
        rows = self.story.read_text().splitlines()
        return bool(rows) and self.servers["a"].state == "running" and rows[-1].endswith("started")

    def arm(self, start: bool = True) -> None:
        """Start the rack, unless it is, in auto mode and wait until a is active."""
        if start:
            self.start()
        self.wait_verdict("a", "good")
        self.wait_verdict("b", "good")
        with self.open() as board:
            board.set_mode("auto")
        self.wait_active("a", 40)

    def wait_verdict(self, node: str, verdict: str, limit_s: float = 40) -> None:
        """Wait until the board calls `node` good, late or dead."""
        deadline = time.monotonic() + limit_s
        with self.open() as board:
            while board.node(node).verdict != verdict:
                assert time.monotonic() < deadline, f"{node} did not become {verdict}:\n{self.servers['a'].log_text()}"
                time.sleep(0.05)

    def told(self, since_s: float = 0.0) -> list[Told]:
        """Return the story of the service of a, from the wall time `since_s` on."""
        rows = [row.split(" ", 1) for row in self.story.read_text().splitlines()]
        return [Told(float(at) - since_s, what) for at, what in rows if float(at) >= since_s]

    def names(self) -> list[tuple[str, str]]:
        """Return the board's journal as (event, node)."""
        with self.open() as board:
            return [(row.event, row.node) for row in board.events() if isinstance(row, Entry)]

    def fences(self) -> int:
        """Return how often the board fired a fence."""
        return sum(event == "fence_fired" for event, _ in self.names())
