"""A rack on a UPS: NUT's own upsd and dummy-ups, an upsmon for each server, and who of them speaks first."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hooks.bench import SHARE, program
from tests.postgres import PATH

UPS = SHARE / "ups"
NOTIFY = UPS / "ups-notify"
NUT = Path("/lib/nut")
LIMIT_S = 60


class Rack:
    """A UPS, and two servers with an upsmon each; what they do is written down in one file, in its order."""

    def __init__(self, directory: Path, active: str) -> None:
        self.log = directory / "log"
        self.directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        ups = self._folder(
            "ups",
            {
                "ups.conf": "maxretry = 1\n[rack]\ndriver = dummy-ups\nport = rack.dev\npollinterval = 1\n",
                "rack.dev": "ups.status: OL\n",
                "upsd.conf": f"LISTEN 127.0.0.1 {self.port}\n",
                "upsd.users": "[upsmon]\npassword = x\nupsmon primary\n[other]\npassword = x\nupsmon secondary\n",
            },
        )
        self.device = ups / "rack.dev"
        self._start(ups, [str(NUT / "dummy-ups"), "-a", "rack", "-u", "root", "-D"])
        self._wait(lambda: any(ups.glob("dummy-ups-rack*")), "the driver")
        self._start(ups, [str(NUT / "upsd"), "-u", "root", "-D"])
        self._wait(lambda: self.status() == "OL", "upsd")
        for role, user in (("primary", "upsmon"), ("secondary", "other")):
            self._server(role, user, "active" if role == active else "standby")
        self._wait(lambda: self._clients() == 2, "both upsmon")

    def _folder(self, name: str, files: dict[str, str]) -> Path:
        folder = self.directory / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
            (folder / file).chmod(0o640)
        return folder

    def _server(self, role: str, user: str, of_heartwire: str) -> None:
        text = (UPS / "upsmon.conf").read_text()
        for before, after in (
            ("rack@192.0.2.1 1 upsmon PASSWORD primary", f"rack@127.0.0.1:{self.port} 1 {user} x {role}"),
            ('"/sbin/shutdown -h +0"', f'"echo {role} shuts down >>{self.log}"'),
            ("/etc/killpower", str(self.directory / role / "killpower")),
            ("/etc/heartwire/ups-notify", str(self.directory / role / "notify")),
            ("POLLFREQ 5", "POLLFREQ 1"),
            ("HOSTSYNC 120", "HOSTSYNC 20"),
            ("FINALDELAY 5", "FINALDELAY 2"),
        ):
            assert before in text
            text = text.replace(before, after)
        folder = self._folder(role, {"upsmon.conf": text})
        # The command line of the agent, which says its role and writes down what it is told.
        status = f'status) echo \'  "role": "{of_heartwire}",\' ;;'
        program(folder, "heartwire", f'case "$2" in {status}\n*) echo "{role} says $2" >>{self.log} ;; esac')
        program(folder, "notify", f"HEARTWIRE_UPS_MARK={folder}/mark PATH={folder}:$PATH exec {NOTIFY}")
        # Each has its own /run, where upsmon keeps the number of its process.
        inside = "mount -t tmpfs none /run && mkdir /run/nut && exec /lib/nut/upsmon -D"
        self._start(folder, ["unshare", "-m", "sh", "-c", inside])

    def _start(self, folder: Path, words: list[str]) -> None:
        variables = {
            "NUT_CONFPATH": str(folder),
            "NUT_STATEPATH": str(folder),
            "NUT_ALTPIDPATH": str(folder),
            "PATH": PATH,
        }
        with (folder / "console").open("ab") as console:
            self.processes.append(subprocess.Popen(words, env=variables, stdout=console, stderr=console, cwd=folder))

    def _wait(self, condition: object, what: str) -> None:
        assert callable(condition)
        end = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > end:
                consoles = "\n".join(path.read_text() for path in self.directory.glob("*/console"))
                raise TimeoutError(f"{what} did not come\n{self.said}\n{consoles}")
            time.sleep(0.05)

    def _clients(self) -> int:
        return (self.directory / "ups" / "console").read_text().count("logged into UPS")

    def status(self) -> str:
        """Return what upsd says of the UPS."""
        words = ["upsc", f"rack@127.0.0.1:{self.port}", "ups.status"]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()

    def change(self, status: str) -> None:
        """Set the UPS's status."""
        self.device.write_text(f"ups.status: {status}\n")

    @property
    def said(self) -> list[str]:
        """What the servers did, in order."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def wait_said(self, *lines: str) -> None:
        """Wait until the servers did all of this."""
        self._wait(lambda: all(line in self.said for line in lines), f"{lines}")

    def close(self) -> None:
        """End it all."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    absent = [
        package for file, package in (("upsd", "nut-server"), ("upsmon", "nut-client")) if not (NUT / file).exists()
    ]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    if os.geteuid():
        pytest.skip("needs root, for a /run of each upsmon")
    return tmp_path


@pytest.fixture(params=["primary", "secondary"])
def rack(request: pytest.FixtureRequest, directory: Path) -> Iterator[Rack]:
    """Return a rack in which the server with, or without, the UPS's cable is active."""
    made = Rack(directory, request.param)
    made.active = request.param  # type: ignore[attr-defined]
    try:
        yield made
    finally:
        made.close()


def test_who_is_not_active_speaks_before_the_active_one_shuts_down(rack: Rack) -> None:
    active: str = rack.active  # type: ignore[attr-defined]
    standby = "secondary" if active == "primary" else "primary"
    rack.change("OB LB")
    rack.wait_said("primary shuts down", "secondary shuts down")
    said = rack.said
    assert said.index(f"{standby} says planned-off") < said.index(f"{active} shuts down"), said
    assert f"{active} says planned-off" not in said, "its shutdown says it, with the services stopped"


def notify(
    folder: Path, kind: str, role: str = "standby", status: str = "OB LB", **more: str
) -> subprocess.CompletedProcess[str]:
    program(
        folder,
        "heartwire",
        f'case "$2" in status) echo \'  "role": "{role}",\' ;; *) echo "$2" >>{folder}/told ;; esac',
    )
    program(folder, "upsc", f"echo '{status}'")
    variables = {"PATH": f"{folder}:{PATH}", "HEARTWIRE_UPS_MARK": f"{folder}/mark", "NOTIFYTYPE": kind, **more}
    return subprocess.run([str(NOTIFY), "words"], env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kind", "role", "status", "told"),
    [
        ("FSD", "standby", "FSD OB LB", "planned-off\n"),
        ("SHUTDOWN", "quarantined", "OB LB", "planned-off\n"),
        ("LOWBATT", "standby", "OB LB", "planned-off\n"),
        ("LOWBATT", "standby", "OL LB CHRG", ""),
        ("FSD", "active", "FSD OB LB", ""),
        ("ONBATT", "standby", "OB", ""),
        ("COMMBAD", "standby", "OB", ""),
        ("ONLINE", "standby", "OL", ""),
    ],
)
def test_what_is_told(tmp_path: Path, kind: str, role: str, status: str, told: str) -> None:
    assert notify(tmp_path, kind, role, status).returncode == 0
    path = tmp_path / "told"
    assert (path.read_text() if path.exists() else "") == told


def test_what_was_said_is_taken_back_once(tmp_path: Path) -> None:
    for kind in ("FSD", "ONLINE", "ONLINE"):
        assert notify(tmp_path, kind).returncode == 0
    assert (tmp_path / "told").read_text() == "planned-off\nready\n"


def test_an_agent_that_does_not_answer_is_told(tmp_path: Path) -> None:
    done = notify(tmp_path, "FSD", role="")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
