"""The Debian packages: built, looked at by lintian, and what is in each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.packages.conftest import PACKAGES, deb, run

# lintian's tags that are not of the packages: the project has no mail address to be reached at.
WITHOUT = "bogus-mail-host,bogus-mail-host-in-debian-changelog"
UNITS = {
    "heartwire": [
        *("heartwire-agent.service", "heartwire-broker.service", "heartwire-broker.socket"),
        "heartwire-planned-off.service",
    ],
    "heartwire-monitor": ["heartwire-monitor.service", "heartwire-selftest@.service", "heartwire-selftest@.timer"],
}


def contents(path: Path) -> list[str]:
    """Return the paths of files and links in a package."""
    rows = run("dpkg-deb", "--contents", str(path)).stdout.splitlines()
    return [row.split()[5].removeprefix(".") for row in rows if not row.startswith("d")]


def test_lintian_has_nothing_to_say(packages: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("not installed: lintian")
    (changes,) = packages.glob("*.changes")
    done = run("lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", WITHOUT, str(changes))
    assert (done.returncode, done.stdout) == (0, "")


def test_each_package_holds_its_part(packages: Path) -> None:
    for package, units in UNITS.items():
        held = contents(deb(packages, package))
        assert sorted(Path(path).name for path in held if "/systemd/system/" in path) == units
        assert [path for path in held if path.endswith(".pyc") or path.startswith("/usr/local")] == []
    server, monitor = (contents(deb(packages, package)) for package in PACKAGES)
    assert not set(server) & set(monitor)
    for path in (
        "/usr/bin/heartwire",
        "/usr/sbin/fence_heartwire",
        "/lib/udev/rules.d/70-heartwire.rules",
        "/usr/share/bash-completion/completions/heartwire",
        "/usr/share/zsh/vendor-completions/_heartwire",
        "/usr/share/man/man1/heartwire.1.gz",
        "/usr/share/man/man8/heartwire-agent.8.gz",
        "/etc/heartwire/hooks/systemd-target",
    ):
        assert path in server
    assert "/usr/lib/sysusers.d/heartwire.conf" in monitor
    assert "/usr/share/man/man8/heartwire-monitor.8.gz" in monitor
    assert [path for path in server if "sqlalchemy" in path] == []
    assert [path for path in monitor if "psycopg_binary" in path] == []
