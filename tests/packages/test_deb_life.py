"""The Debian packages in a copy of this machine: installed, upgraded, removed and purged.

The copy is an overlay in a mount namespace of its own, gone with the process that has it. systemd does not run there; a
stand-in for systemctl writes down what maintainer scripts ask of it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen

import pytest

from tests.packages.conftest import PACKAGES, deb, run

SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> /var/tmp/systemctl
case "$*" in *is-active*) exit 0;; *is-enabled*) echo disabled; exit 1;; esac
"""
# What dpkg and its triggers keep for themselves; the rest is after a purge what it was before.
KEPT = (
    *("/var/lib/dpkg/", "/var/cache/", "/var/log/", "/var/tmp/"),
    *("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/sub", "/etc/.pwd.lock"),
)
# Lays an overlay over this machine's root, at M below the folder $1, says so, and holds it.
COPY = """\
mount --make-rprivate / && mount -t tmpfs none "$1" && cd "$1" && mkdir u w m &&
mount -t overlay none -o "lowerdir=/,upperdir=u,workdir=w" m && mount -t tmpfs none m/run &&
mount -t tmpfs none m/tmp && mount -t proc none m/proc &&
mount --rbind /dev m/dev && echo here && exec sleep 1200
"""


@dataclass
class Copy:
    """A machine like this one, whose changes go with it. `pid` holds it, `place` is its folder there."""

    pid: int
    place: Path
    packages: Path

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.pid}/root{self.place}/m")

    def run(self, *words: str) -> CompletedProcess[str]:
        """Run a command in it."""
        enter = ["nsenter", "-t", str(self.pid), "-m", "chroot", f"{self.place}/m"]
        return run(*enter, *words, cwd=Path("/"), PATH="/usr/sbin:/usr/bin:/sbin:/bin", TMPDIR="/tmp")

    def dpkg(self, *words: str) -> None:
        done = self.run("dpkg", *words)
        assert done.returncode == 0, done.stdout + done.stderr

    def files(self) -> set[str]:
        """Return what was made or changed in it, but for what others keep."""
        upper = self.root.parent / "u"
        found = {f"/{path.relative_to(upper)}" for path in upper.rglob("*") if path.is_symlink() or not path.is_dir()}
        return {path for path in found if not path.startswith(KEPT)}

    def asked(self) -> list[str]:
        """Return what systemctl was asked for, but for looks and reloads, since the last call."""
        path = self.root / "var/tmp/systemctl"
        said = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        rows = [re.sub(r" ?--(system|quiet)", "", row).strip() for row in said]
        return [row for row in rows if row.split()[0] not in ("daemon-reload", "is-active", "is-enabled")]

    def put(self, package: str, version: str = "") -> str:
        """Copy a package into it, as another `version` if one is named; return its path there."""
        source, target = deb(self.packages, package), self.root / "var/tmp" / f"{package}.deb"
        if not version:
            shutil.copy(source, target)
            return f"/var/tmp/{package}.deb"
        tree = self.packages / f"{package}.tree"
        assert run("dpkg-deb", "-R", str(source), str(tree)).returncode == 0
        control = tree / "DEBIAN/control"
        old = re.search(r"(?m)^Version: (.*)$", control.read_text())
        assert old
        control.write_text(control.read_text().replace(old[1], version))
        assert run("dpkg-deb", "-b", "-Znone", str(tree), str(target)).returncode == 0
        shutil.rmtree(tree)
        return f"/var/tmp/{package}.deb"


@pytest.fixture
def machine(packages: Path, tmp_path: Path) -> Iterator[Copy]:
    if os.geteuid() != 0:
        pytest.skip("a copy of this machine needs root")
    holder = Popen(["unshare", "-m", "sh", "-c", COPY, "sh", str(tmp_path)], stdout=PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "here\n", "no overlay over / can be made here"
        copy = Copy(holder.pid, tmp_path, packages)
        (copy.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        (copy.root / "run/systemd/system").mkdir(parents=True)
        systemctl = copy.root / "usr/bin/systemctl"
        systemctl.unlink(missing_ok=True)
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)
        yield copy
    finally:
        holder.kill()
        holder.wait()


def test_a_server_and_a_monitor_come_are_upgraded_and_leave_nothing(machine: Copy) -> None:
    names = [f"{package}.deb" for package in PACKAGES]
    for package in PACKAGES:
        machine.put(package)
    clean = machine.files()
    users = (machine.root / "etc/passwd").read_text()

    machine.dpkg("-i", *[f"/var/tmp/{name}" for name in names])
    assert machine.asked() == [], "nothing is started or enabled before somebody configured it"
    assert machine.run("heartwire", "--version").stdout.startswith("heartwire ")
    assert machine.run("fence_heartwire", "-o", "metadata").returncode == 0
    assert "heartwire" in (machine.root / "etc/passwd").read_text()
    lacking = machine.run("heartwire", "demo")
    assert "no Debian package holds it" in lacking.stderr and lacking.returncode == 16
    assert machine.run("heartwire", "monitor", "check", "--config", "/dev/null").returncode != 0
    modules = "import apprise, argon2, paho.mqtt, sqlalchemy, uvicorn"
    assert machine.run("/usr/lib/heartwire/bin/python3", "-c", modules).returncode == 0
    # Units are the package's; settings and the adapter's rule are written beside it.
    for words in (("agent", "install", "--usb-serial", "A50285BI"), ("monitor", "install")):
        done = machine.run("heartwire", *words)
        assert done.returncode == 0, done.stderr
        assert not list(machine.root.glob("etc/systemd/system/heartwire*")), done.stdout
    for name in ("agent.toml", "monitor.toml", "node.key"):
        (machine.root / "etc/heartwire" / name).write_text("# mine\n")
    wants = machine.root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "heartwire-agent.service").symlink_to("/lib/systemd/system/heartwire-agent.service")
    machine.asked()

    for package in PACKAGES:
        machine.put(package, "999")
    machine.dpkg("-i", *[f"/var/tmp/{name}" for name in names])
    asked = machine.asked()
    assert {row.split()[0] for row in asked} == {"try-restart"}, "an agent that is stopped moves its services"
    assert any("heartwire-agent.service" in row for row in asked)
    assert (machine.root / "etc/heartwire/agent.toml").read_text() == "# mine\n"

    machine.dpkg("-r", *PACKAGES)
    stopped = " ".join(row for row in machine.asked() if row.startswith("stop"))
    assert "heartwire-agent.service" in stopped and "heartwire-monitor.service" in stopped
    left = machine.files() - clean
    assert [path for path in left if "/lib/systemd/system/" in path or "/lib/udev/" in path or "/usr/" in path] == []
    assert {"/etc/heartwire/agent.toml", "/etc/heartwire/monitor.toml", "/etc/heartwire/node.key"} <= left

    machine.dpkg("-P", *PACKAGES)
    assert machine.files() - clean == set()
    assert (machine.root / "etc/passwd").read_text() == users


def test_the_last_of_both_to_be_purged_takes_the_settings_folder(machine: Copy) -> None:
    machine.dpkg("-i", *[machine.put(package) for package in PACKAGES])
    for name in ("agent.toml", "monitor.toml", "other.key"):
        (machine.root / "etc/heartwire" / name).write_text("# mine\n")
    machine.dpkg("-P", "heartwire-monitor")
    assert sorted(path.name for path in (machine.root / "etc/heartwire").iterdir()) == [
        "agent.toml",
        "hooks",
        "other.key",
    ]
    machine.dpkg("-P", "heartwire")
    assert not (machine.root / "etc/heartwire").exists()
