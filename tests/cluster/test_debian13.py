"""The fragments of share/cluster and its hook on another release's Pacemaker, in a chroot that somebody has made:

debootstrap --variant=minbase --include=pacemaker,pacemaker-cli-utils,corosync,iproute2,procps trixie DIRECTORY
HEARTWIRE_DEBIAN13=DIRECTORY python -m pytest tests/cluster/test_debian13.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.bench import program
from tests.cluster.conftest import Need
from tests.cluster.pair import SHARE, commands_of_the_page

pytestmark = pytest.mark.usefixtures("brokers_used")

SINGLE = Path(__file__).parent / "single.sh"
# Says yes to everything: what is tried is what Pacemaker makes of the device's definition.
AGENT = """#!/bin/sh
case "$*" in *metadata*) exec cat {metadata} ;; esac
case "$(cat)" in *action=metadata*) exec cat {metadata} ;; esac
"""


@pytest.fixture
def chroot(need: Need) -> Iterator[Path]:
    """Return a folder of the trial inside the chroot."""
    root = Path(os.environ.get("HEARTWIRE_DEBIAN13") or "/none")
    if not (root / "usr/sbin/pacemakerd").exists():
        pytest.skip("not installed: trixie (HEARTWIRE_DEBIAN13 names no chroot with pacemaker and corosync)")
    need("unshare", "ip", namespaces=True)
    folder = Path(tempfile.mkdtemp(prefix="heartwire", dir=root / "var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.cluster
@pytest.mark.parametrize("way", ["cluster-decides", "board-decides"])
def test_what_was_there_stays_and_the_device_runs(chroot: Path, way: str) -> None:
    inside = Path("/var/tmp") / chroot.name
    done = subprocess.run([program("fence_heartwire"), "-o", "metadata"], capture_output=True, text=True, check=True)
    (chroot / "metadata.xml").write_text(done.stdout)
    (chroot / "fence_heartwire").write_text(AGENT.format(metadata=inside / "metadata.xml"))
    for name in ("pacemaker-hook", *(path.name for path in SHARE.glob("*.xml"))):
        shutil.copy(SHARE / name, chroot)
    rule = (chroot / "board-decides-location.xml").read_text()
    (chroot / "board-decides-location.xml").write_text(rule.replace('rsc="service"', 'rsc="alpha"'))
    (chroot / "commands").write_text("".join(f"{' '.join(words)}\n" for words in commands_of_the_page(way)))
    shutil.copy(SINGLE, chroot / "single.sh")
    if way == "board-decides":
        (chroot / "rule").touch()
    root = str(Path(os.environ["HEARTWIRE_DEBIAN13"]))
    spaces = ["unshare", "-m", "-u", "-p", "-n", "-i", "-f", "--kill-child=KILL"]
    words = [*spaces, "chroot", root, "bash", str(inside / "single.sh"), str(inside)]
    tried = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    said = tried.stdout.splitlines()
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert len([line for line in said if line.startswith("status ")]) == len(commands_of_the_page(way))
    assert all(line.startswith("status 0") for line in said if line.startswith("status "))
    assert "devices heartwire" in said
    hooks = [line for line in said if line.startswith("hook ")]
    if way == "board-decides":
        assert hooks == ["hook check 1", "hook start 0", "hook check 0", "hook stop 0", "hook check 1"]
    else:
        assert hooks == ["hook check 0"]
    assert {"one", "two", "heartwire"} <= set(said[-1].split()), "what was there is there"
