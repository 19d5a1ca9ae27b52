"""labgrid and pdudaemon drive the board with the command lines of share/cluster, unchanged but for its address.

Both come from the package index, and want other packages than Heartwire's development does (labgrid replaces pyserial):
HEARTWIRE_LAB_PYTHON names the Python of a virtual environment that has them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import heartwire
from tests.cluster.bench import Bench

SHARE = Path(heartwire.__file__).parent / "share" / "cluster"
EXAMPLE_ADDRESS = "id:E660000000000001"
LAB_PYTHON = os.environ.get("HEARTWIRE_LAB_PYTHON") or sys.executable

USE_LABGRID = """
import sys
from labgrid import Environment
power = Environment(sys.argv[1]).get_target("main").get_driver("PowerProtocol")
getattr(power, sys.argv[2])()
"""


def need(package: str) -> None:
    """Skip the test unless the lab's Python has `package`."""
    found = subprocess.run([LAB_PYTHON, "-c", f"import {package}"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"not installed: {package}; name a Python that has it in HEARTWIRE_LAB_PYTHON")


def example(name: str, bench: Bench, directory: Path) -> Path:
    """Return a copy of an example of share/cluster with the address of the bench's board."""
    text = (SHARE / name).read_text()
    assert EXAMPLE_ADDRESS in text
    path = directory / name
    path.write_text(text.replace(EXAMPLE_ADDRESS, bench.port))
    return path


def lab_environment() -> dict[str, str]:
    """Return an environment in which the agent is found, as it is on a host where it is installed."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
        time.sleep(0.05)


def test_labgrid(bench: Bench, tmp_path: Path) -> None:
    need("labgrid")
    path = example("labgrid.yaml", bench, tmp_path)

    def power(action: str) -> subprocess.CompletedProcess[str]:
        command = [LAB_PYTHON, "-c", USE_LABGRID, str(path), action]
        return subprocess.run(command, env=lab_environment(), capture_output=True, text=True, timeout=60, check=False)

    off = power("off")
    assert off.returncode == 0, off.stderr
    assert not bench.powered("a")
    assert power("on").returncode == 0
    assert bench.powered("a")
    bench.wait_good()
    boots = bench.servers["a"].boots
    assert power("cycle").returncode == 0
    assert bench.servers["a"].boots == boots + 1
    bench.wait_good()
    bench.rack.supplies["a"].weld()
    try:
        assert power("off").returncode != 0
    finally:
        bench.rack.supplies["a"].weld(False)


def test_pdudaemon(bench: Bench, tmp_path: Path) -> None:
    need("pdudaemon")
    path = example("pdudaemon.json", bench, tmp_path)
    config = json.loads(path.read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        config["daemon"]["port"] = free.getsockname()[1]
    path.write_text(json.dumps(config))
    url = f"http://127.0.0.1:{config['daemon']['port']}/power/control"
    daemon = Path(LAB_PYTHON).parent / "pdudaemon"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(daemon), f"--conf={path}"],
            cwd=tmp_path,
            env=lab_environment(),
            stdout=log,
            stderr=log,
        )
    try:

        def ask(action: str) -> bool:
            try:
                with urllib.request.urlopen(f"{url}/{action}?hostname=heartwire&port=b&delay=0", timeout=10) as reply:
                    return bool(reply.status == 200)
            except OSError:
                return False

        wait_until(lambda: ask("off"), f"an answer of pdudaemon: {(tmp_path / 'log').read_text()}")
        wait_until(lambda: not bench.powered("b"), "the power of b off")
        assert ask("on")
        wait_until(lambda: bench.powered("b"), "the power of b on")
        assert bench.powered("a")
    finally:
        process.terminate()
        process.wait(10)
