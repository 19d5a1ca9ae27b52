"""The wheel, the source archive and the Debian packages, built once from this tree."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("heartwire", "heartwire-monitor")


@dataclass(frozen=True)
class Built:
    """What the build made: `rebuilt` is the wheel that the source archive gives."""

    wheel: Path
    sdist: Path
    rebuilt: Path


def build(folder: Path, into: Path, *kinds: str) -> None:
    """Build `kinds` (wheel, sdist) of the tree `folder`."""
    words = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-d",
        str(into),
        *[word for one in kinds for word in ("-t", one)],
    ]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    build(ROOT, folder, "wheel", "sdist")
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    build(source, folder / "rebuilt", "wheel")
    return Built(wheel, sdist, folder / "rebuilt" / wheel.name)


@functools.cache
def online() -> bool:
    """Tell whether pip reaches an index: it is asked for the smallest thing that the project needs."""
    words = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--no-deps", "pyserial"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    around = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **environment}
    return subprocess.run(words, cwd=cwd, env=around, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what `make deb` built."""
    if shutil.which("dh") is None or shutil.which("dpkg-buildpackage") is None:
        pytest.skip("not installed: debhelper")
    if not online():
        pytest.skip("pip reaches no package index")
    folder = tmp_path_factory.mktemp("deb")
    done = run("sh", "tools/deb.sh", str(folder), sys.executable)
    assert done.returncode == 0, done.stderr
    return folder


def deb(folder: Path, package: str) -> Path:
    (found,) = folder.glob(f"{package}_*.deb")
    return found
