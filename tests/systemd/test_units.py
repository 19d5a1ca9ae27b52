"""The shipped units and the hook `systemd-target`, under a real systemd, without a rack."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.systemd import box
from tests.systemd.rack import ROOT, TARGET, folders, heartwire, install, want, write_unit

SHARE = ROOT / "host/heartwire/share"
HOOK = "/etc/heartwire/hooks/systemd-target"
ECHO = """\
import os, socket
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"here")
    connection.close()
"""


class Machine:
    """A machine without a rack."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stage = directory / "stage"
        self.stage.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Switch it on and wait until it is up."""
        self._process = subprocess.Popen(box.command(self.directory / "machine", self.stage, folders(self.directory)))
        box.wait_until_up(self._process.pid)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        assert self._process is not None
        return box.inside(self._process.pid, *words)

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).stdout.strip()

    def wait_off(self) -> None:
        """Wait until it has switched itself off."""
        assert self._process is not None
        self._process.wait(60)

    def close(self) -> None:
        """Take its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        box.clean_up()
        shutil.rmtree(self.directory / "machine", ignore_errors=True)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.close()


def test_systemd_finds_nothing_wrong_with_any_shipped_unit(machine: Machine) -> None:
    install(machine.stage)
    for name in (
        "heartwire-monitor.service",
        "systemd/heartwire-selftest@.service",
        "systemd/heartwire-selftest@.timer",
        "systemd/heartwire-broker.socket",
        "systemd/heartwire-broker.service",
    ):
        shutil.copy(SHARE / name, machine.stage / "etc/systemd/system" / Path(name).name)
    units = sorted(path.name for path in (machine.stage / "etc/systemd/system").iterdir() if path.is_file())
    assert len(units) == 7
    machine.start()
    done = machine.run("systemd-analyze", "verify", "--man=no", *(f"/etc/systemd/system/{unit}" for unit in units))
    said = [line for line in done.stderr.splitlines() if "heartwire" in line]
    assert (done.returncode, said) == (0, [])


def test_the_broker_is_there_for_whoever_asks_and_again_after_it_died(machine: Machine) -> None:
    words = [heartwire(), "broker", "install", "--root", str(machine.stage), "--program", heartwire()]
    subprocess.run(words, check=True, capture_output=True)
    # This Python may lie below a home that only root may enter, or below /tmp.
    write_unit(
        machine.stage,
        "heartwire-broker.service.d/python.conf",
        "[Service]\nDynamicUser=no\nUser=root\nProtectHome=no\nPrivateTmp=no\n",
    )
    want(machine.stage, "sockets.target", "heartwire-broker.socket")
    machine.start()
    assert machine.shown("heartwire-broker.service", "ActiveState") == "inactive"

    def look() -> dict[str, Any]:
        done = machine.run("env", "-u", "HEARTWIRE_BROKER", heartwire(), "broker", "status", "--json")
        rows = [row for row in json.loads(done.stdout) if row["socket"] == "/run/heartwire-broker.sock"]
        assert rows, done
        found: dict[str, Any] = rows[0]
        return found

    first = look()
    assert (first["error"], first["ports"]) == (None, []), machine.run("journalctl", "-u", "heartwire-broker").stdout
    assert machine.shown("heartwire-broker.service", "MainPID") == str(first["pid"])
    machine.run("kill", "-9", str(first["pid"]))
    second = look()
    if second["error"]:  # it asked the one that was just dying
        second = look()
    assert second["error"] is None
    assert second["pid"] != first["pid"]


def test_the_services_are_ordered_after_the_agent(machine: Machine) -> None:
    install(machine.stage)
    machine.start()
    assert TARGET in machine.shown("heartwire-agent.service", "Before").split()
    assert "heartwire-agent.service" in machine.shown("heartwire-planned-off.service", "After").split()
    # Longer than the agent waits for its services.
    assert machine.shown("heartwire-agent.service", "TimeoutStopUSec") == "2min"


def test_agent_and_monitor_on_one_server_keep_their_own_files(machine: Machine, tmp_path: Path) -> None:
    """systemd gives a state directory to the user of its unit at each start, with all that is in it."""

    def folder_of(unit: Path) -> str:
        rows = [row for row in unit.read_text().splitlines() if row.startswith("StateDirectory=")]
        assert len(rows) == 1
        return rows[0].partition("=")[2]

    agent = folder_of(SHARE / "systemd" / "heartwire-agent.service")
    monitor = folder_of(SHARE / "heartwire-monitor.service")
    for name, user, folder in (("agents", "root", agent), ("monitors", "nobody", monitor)):
        write_unit(
            machine.stage,
            f"{name}.service",
            f"[Service]\nType=oneshot\nUser={user}\nStateDirectory={folder}\n"
            f"ExecStart=/bin/sh -c 'touch /var/lib/{folder}/{name}'\n",
        )
    machine.start()
    for name in ("agents", "monitors", "agents", "monitors"):
        assert machine.run("systemctl", "start", f"{name}.service").returncode == 0
    shown = machine.run("stat", "-c", "%U", f"/var/lib/{agent}/agents", f"/var/lib/{monitor}/monitors")
    assert shown.stdout.split() == ["root", "nobody"]


def devices_of(unit: Path) -> list[str]:
    return [row for row in unit.read_text().splitlines() if row.startswith(("DevicePolicy=", "DeviceAllow="))]


def test_a_board_plugged_in_after_the_monitor_is_let_in(machine: Machine, tmp_path: Path) -> None:
    """Its driver may be loaded with it: a device group by name counts only where the driver was there before.

    Without a driver an open that is let in ends with "no such device"; one that is not, with "not permitted".
    """
    numbers = {"ttyACM": 166, "ttyUSB": 188, "other": 4}
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import errno, os, sys\n"
        f"for name, major in {numbers!r}.items():\n"
        "    path = '/run/probe-' + name\n"
        "    try:\n"
        "        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY))\n"
        "        print(name, 'opened', flush=True)\n"
        "    except OSError as error:\n"
        "        print(name, errno.errorcode[error.errno], flush=True)\n"
    )
    rows = "\n".join(devices_of(SHARE / "heartwire-monitor.service"))
    result = tmp_path / "result"
    write_unit(
        machine.stage,
        "probe.service",
        f"[Service]\nType=oneshot\nExecStart={sys.executable} {probe}\nStandardOutput=file:{result}\n{rows}\n",
    )
    machine.start()
    for name, major in numbers.items():
        assert machine.run("mknod", f"/run/probe-{name}", "c", str(major), "250").returncode == 0
    done = machine.run("systemctl", "start", "probe.service")
    assert done.returncode == 0, machine.run("journalctl", "--no-pager", "-u", "probe.service").stdout
    said = dict(row.split() for row in result.read_text().splitlines())
    assert said["other"] == "EPERM", "the devices are bounded at all"
    assert "EPERM" not in (said["ttyACM"], said["ttyUSB"]), said


@pytest.fixture
def socketed(machine: Machine, tmp_path: Path) -> Callable[[str], int]:
    """Return a function that runs the hook in a machine with a service that its socket would start."""
    install(machine.stage)
    (tmp_path / "echo.py").write_text(ECHO)
    address = tmp_path / "echo.sock"
    write_unit(machine.stage, TARGET, "[Unit]\nDescription=the services\n")
    want(machine.stage, TARGET, "echo.service")
    write_unit(
        machine.stage,
        "echo.service",
        f"[Unit]\nPartOf={TARGET}\n[Service]\nExecStart={sys.executable} {tmp_path}/echo.py\n",
    )
    write_unit(machine.stage, "echo.socket", f"[Socket]\nListenStream={address}\n[Install]\nWantedBy=sockets.target\n")
    want(machine.stage, "sockets.target", "echo.socket")
    # Asks the hook to start the services while the machine goes down.
    write_unit(
        machine.stage,
        "late.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
        f"ExecStop=/bin/sh -c '{HOOK} start {TARGET}; echo $? >{tmp_path}/late'\n",
    )
    want(machine.stage, "multi-user.target", "late.service")
    machine.start()

    def hook(verb: str) -> int:
        return machine.run(HOOK, verb, TARGET).returncode

    return hook


def connects(address: Path) -> bool:
    """Tell whether somebody who connects is served."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, contextlib.suppress(OSError):
        client.settimeout(2.0)
        client.connect(str(address))
        return client.recv(10) == b"here"
    return False


def test_a_socket_cannot_start_again_what_was_stopped(
    socketed: Callable[[str], int], machine: Machine, tmp_path: Path
) -> None:
    address = tmp_path / "echo.sock"
    assert machine.shown("echo.socket", "ActiveState") == "active", "it is there from the boot on"
    assert connects(address), "and would start the service on any server"
    assert (socketed("check"), socketed("stop"), socketed("check")) == (0, 0, 1)
    assert not connects(address)
    assert (machine.shown("echo.service", "ActiveState"), socketed("check")) == ("inactive", 1)
    assert (socketed("start"), socketed("check")) == (0, 0)
    assert machine.shown("echo.socket", "ActiveState") == "active"
    assert connects(address)
    assert (socketed("stop"), socketed("check")) == (0, 1)


def test_nothing_is_started_while_the_machine_goes_down(
    socketed: Callable[[str], int], machine: Machine, tmp_path: Path
) -> None:
    assert socketed("stop") == 0
    machine.run("systemctl", "poweroff")
    machine.wait_off()
    assert (tmp_path / "late").read_text() == "1\n"


def may_make_precious() -> bool:
    """Return whether this root has CAP_SYS_RESOURCE (capability.h: 24)."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.split("CapEff:")[1].split()[0], 16) >> 24 & 1)


@pytest.mark.parametrize("score", [-900, 300])
def test_hooks_do_not_inherit_how_precious_the_agent_is(machine: Machine, tmp_path: Path, score: int) -> None:
    """The unit's own is -900, which a root without CAP_SYS_RESOURCE cannot give: systemd then leaves it as it is."""
    install(machine.stage)
    (machine.stage / "etc/heartwire/agent.toml").write_text(
        f'node = "a"\nport = "/dev/none"\nstate_directory = "{tmp_path}/state"\n[hooks]\n'
        f'check = ["/bin/sh", "-c", "cat /proc/self/oom_score_adj >{tmp_path}/hook"]\ncheck_interval_s = 0.2\n'
    )
    want(machine.stage, "multi-user.target", "heartwire-agent.service")
    if score != -900:
        write_unit(machine.stage, "heartwire-agent.service.d/score.conf", f"[Service]\nOOMScoreAdjust={score}\n")
    machine.start()
    pid = machine.shown("heartwire-agent.service", "MainPID")
    if score < 0 and not may_make_precious():
        score = 0
    assert machine.run("cat", f"/proc/{pid}/oom_score_adj").stdout == f"{score}\n"
    deadline = time.monotonic() + 10
    while not (tmp_path / "hook").exists() or not (tmp_path / "hook").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (tmp_path / "hook").read_text() == "0\n"
    children = machine.run("cat", f"/proc/{pid}/task/{pid}/children").stdout.split()
    for child in children:
        assert machine.run("cat", f"/proc/{child}/oom_score_adj").stdout == f"{score}\n", "its helpers are protected"
    assert machine.run(heartwire(), "agent", "status", "--config", "/etc/heartwire/agent.toml").returncode == 0
