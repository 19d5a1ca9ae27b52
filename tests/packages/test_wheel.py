"""The wheel: what is in it, and that it works where pipx installs it, with each Python that is here."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.packages.conftest import ROOT, Built, online
from tests.unit.host.test_lock import PROJECT

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache"}


@functools.cache
def python(version: str) -> str:
    """Return the path of a Python; "" if it is not here."""
    words = ["sh", str(ROOT / "tools/pythons.sh"), "--find", version]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def wanted() -> set[str]:
    """Return the modules and data that a wheel must hold: all of three packages, and what is brought beside them."""
    found = set(WHEEL["force-include"].values())
    for package in WHEEL["packages"]:
        top = ROOT / package
        for path in top.rglob("*"):
            if path.is_file() and not LEFT_OUT & set(path.parts) and path.suffix not in (".pyc", ".mpy"):
                found.add(str(path.relative_to(top.parent)))
    return found


def test_the_wheel_holds_host_contract_and_firmware_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = archive.namelist()
    found = {name for name in names if not name.split("/")[0].endswith((".dist-info", ".data"))}
    assert found == wanted()
    assert [name for name in names if ".data/" in name and "/share/man/" not in name] == []
    assert {
        "heartwire_firmware/policy.py",
        "heartwire_protocol/settings.py",
        "heartwire_firmware/root/main.py",
    } <= found


def test_the_source_archive_gives_the_very_wheel(built: Built) -> None:
    assert built.rebuilt.read_bytes() == built.wheel.read_bytes()


class Home:
    """A home of one's own, with what pipx installs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = {"HOME": str(folder), "PIPX_HOME": str(folder / "pipx"), "PIPX_BIN_DIR": str(folder / "bin")}
        left_out = ("PYTHONPATH", "VIRTUAL_ENV", "XDG_DATA_HOME")
        self.environment = {name: value for name, value in os.environ.items() if name not in left_out} | own

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command as somebody whose home this is."""
        return subprocess.run(
            words, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=500
        )

    def heartwire(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the installed program."""
        return self.run(str(self.folder / "bin/heartwire"), *words)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    if shutil.which("pipx") is None:
        pytest.skip("not installed: pipx")
    if not online():
        pytest.skip("pip reaches no package index")
    made = Home(tmp_path_factory.mktemp("home"))
    made.environment["PIP_CACHE_DIR"] = subprocess.run(
        [sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return made


@pytest.mark.parametrize("version", PYTHONS)
def test_pipx_installs_it_and_what_it_lacks_is_said_with_the_command_that_brings_it(
    built: Built, home: Home, version: str
) -> None:
    path = python(version)
    if not path:
        pytest.skip(f"not installed: another-python ({version})")
    done = home.run("pipx", "install", "--python", path, str(built.wheel))
    assert done.returncode == 0, done.stderr
    try:
        shown = home.heartwire("--version")
        assert shown.stdout.startswith(f"heartwire {PROJECT['project']['version']} "), shown.stderr
        assert "Safety" not in home.heartwire("help").stderr
        assert home.heartwire("help", "runbook").returncode == 0
        assert home.heartwire("monitor", "example", "config").returncode == 0
        # What needs no hardware and no extra: the policy in virtual time.
        simulated = home.heartwire("simulate", str(ROOT / "tests/scenarios/failover.txt"))
        assert simulated.returncode == 0, simulated.stderr
        lacking = home.heartwire("demo")
        assert lacking.returncode == 16 and " is not installed" in lacking.stderr
        hint = lacking.stderr.partition("next:")[2].partition("\n")[0].strip()
        # What is found may be a script that starts the real one.
        asked = home.run(path, "-c", "import os, sys; print(os.path.realpath(sys.executable))")
        real = asked.stdout.strip()
        assert shlex.split(hint) == ["pipx", "install", "--force", "--python", real, f"{built.wheel}[virtual]"]
    finally:
        home.run("pipx", "uninstall", "heartwire")
    assert not (home.folder / "bin/heartwire").exists()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the MicroPython VM is built for x86-64 only")
def test_the_command_that_it_names_brings_the_demo(built: Built, home: Home) -> None:
    assert home.run("pipx", "install", "--python", sys.executable, str(built.wheel)).returncode == 0
    hint = home.heartwire("demo").stderr.partition("next:")[2].partition("\n")[0]
    done = home.run(*shlex.split(hint))
    assert done.returncode == 0, done.stderr
    assert "The failover was right." in home.heartwire("demo").stdout
