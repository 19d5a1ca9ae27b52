"""Pacemaker's own fencer, alone in private namespaces, fences a virtual board's servers through the agent."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from heartwire.board import Board
from heartwire.broker import client
from heartwire.keys import read_file, write_new
from tests.cluster.bench import NAMES, Bench, agent_command, settings_text
from tests.cluster.conftest import Need
from tests.cluster.machine import Fenced

pytestmark = pytest.mark.usefixtures("brokers_used")

HOST_MAP = "alpha:a;beta:b;wrong:c"
LIMITS = {"login_timeout": 1, "power_timeout": 5}


def stands_alone() -> bool:
    """Tell whether the installed fencer can run without a cluster."""
    for folder in ("/usr/lib/pacemaker", "/usr/libexec/pacemaker"):
        program = Path(folder, "pacemaker-fenced")
        if program.exists():
            done = subprocess.run([str(program), "--help"], capture_output=True, text=True, timeout=30, check=False)
            return "stand-alone" in done.stdout + done.stderr
    return False


@pytest.fixture(scope="module")
def fencer(shared: Bench, need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fenced]:
    """Return a running fencer with the board registered as device `hw`."""
    need("pacemakerd", "stonith_admin", "unshare", namespaces=True)
    if not stands_alone():
        pytest.skip("this Pacemaker's fencer does not run without a cluster (-s); test_cluster.py uses it in one")
    fencer = Fenced(tmp_path_factory.mktemp("fenced"))
    try:
        assert fencer.register("hw", board=shared.port, pcmk_host_map=HOST_MAP, **LIMITS) == 0
        yield fencer
    finally:
        fencer.close()


def failed_in_time(fencer: Fenced, *arguments: str, timeout_s: int = 20) -> bool:
    """Tell whether a command of the fencer failed before its timeout."""
    began = time.monotonic()
    code = fencer.admin(*arguments, "-t", str(timeout_s)).returncode
    return code != 0 and time.monotonic() - began < timeout_s


def test_registration_and_query(fencer: Fenced, bench: Bench) -> None:
    assert fencer.admin("-L").stdout.startswith("hw\n")
    assert fencer.admin("-Q", "hw").returncode == 0
    assert fencer.admin("-l", "alpha").stdout.startswith("hw\n")
    assert fencer.admin("-l", "gamma").stdout.startswith("0 ")
    assert "alpha" in fencer.admin("-s", "hw").stdout
    assert "fence_heartwire" in fencer.admin("-M", "-a", "fence_heartwire").stdout
    assert fencer.admin("-K", "-a", "fence_heartwire", "-o", "plug=a").returncode == 0
    assert fencer.admin("-K", "-a", "fence_heartwire", "-o", "delay=x").returncode != 0


def test_fence_unfence_reboot(fencer: Fenced, bench: Bench) -> None:
    assert fencer.admin("-F", "alpha", "-t", "20").returncode == 0
    assert not bench.powered("a")
    assert fencer.admin("-U", "alpha", "-t", "20").returncode == 0
    assert bench.powered("a")
    bench.wait_good()
    boots = bench.servers["b"].boots
    assert fencer.admin("-B", "beta", "-t", "20").returncode == 0
    assert bench.servers["b"].boots == boots + 1


def test_targets_by_the_names_in_the_boards_settings(fencer: Fenced, bench: Bench) -> None:
    assert fencer.register("listed", board=bench.port, pcmk_host_check="dynamic-list", **LIMITS) == 0
    try:
        assert "listed" in fencer.admin("-l", "beta").stdout
        assert "listed" not in fencer.admin("-l", "gamma").stdout
    finally:
        fencer.admin("-D", "listed")


def test_wrong_nodes(fencer: Fenced, bench: Bench) -> None:
    assert failed_in_time(fencer, "-F", "wrong")
    assert failed_in_time(fencer, "-F", "gamma")
    assert bench.powered("a") and bench.powered("b")


def test_busy_port(fencer: Fenced, bench: Bench) -> None:
    with client.borrow(bench.port), serial.Serial(bench.port, exclusive=True):
        assert failed_in_time(fencer, "-F", "alpha")
    assert bench.powered("a")


def test_refused_fence(fencer: Fenced, bench: Bench) -> None:
    with Board.open(bench.port) as board:
        board.fence("b")
    bench.until(lambda board: board.node("b").fence == "proven", "the proof that b is off")
    assert failed_in_time(fencer, "-F", "alpha")
    assert bench.powered("a")
    assert "no other powered node fit to be active would remain" in fencer.machine.log("fenced.log")


def test_unplugged_board(fencer: Fenced, bench: Bench) -> None:
    bench.board.usb_unplug()
    try:
        assert failed_in_time(fencer, "-F", "alpha")
        assert fencer.admin("-Q", "hw").returncode != 0
    finally:
        bench.board.usb_plug()
        bench.board.wait_usb()
    assert bench.powered("a")
    assert fencer.admin("-F", "alpha", "-t", "20").returncode == 0


@pytest.fixture
def line_bench(tmp_path: Path) -> Iterator[Bench]:
    """Return a bench whose node b may ask for fences over its own line."""
    keys = {node: tmp_path / f"{node}.key" for node in NAMES}
    text = settings_text() + "node.b.may_fence=1\n"
    for node, path in keys.items():
        write_new(path, ("",))
        text += f"node.{node}.key={read_file(path)['']}\n"
    bench = Bench(
        tmp_path / "bench", lambda server: [*agent_command(server), "--key-file", str(keys[server.node])], text=text
    )
    try:
        bench.wait_good()
        yield bench
    finally:
        bench.close()


def test_a_fence_over_the_line_of_a_node(fencer: Fenced, shared: Bench, line_bench: Bench) -> None:
    """Device `line` is what Pacemaker on node b would use; nobody holds the board's USB port."""
    state = {node: line_bench.servers[node].directory / "state" for node in NAMES}
    names = {"pcmk_host_map": "alpha:a;beta:b"}
    line_bench.board.usb_unplug()
    fencer.admin("-D", "hw")
    try:
        assert fencer.register("no-right", board=f"agent:{state['a']}", **names, **LIMITS) == 0
        assert fencer.admin("-Q", "no-right").returncode != 0
        fencer.admin("-D", "no-right")
        assert fencer.register("line", board=f"agent:{state['b']}", **names, **LIMITS) == 0
        assert fencer.admin("-Q", "line").returncode == 0
        assert failed_in_time(fencer, "-F", "beta"), "b cannot have itself fenced"
        assert fencer.admin("-F", "alpha", "-t", "20").returncode == 0
        assert not line_bench.powered("a") and line_bench.powered("b")
        line_bench.board.usb_plug()
        line_bench.until(lambda board: board.node("a").fence == "proven", "the proof that a is off")
        asked = "request fence for a by fence_heartwire on b, over its own line"
        assert line_bench.story().count(asked) == 1
    finally:
        fencer.admin("-D", "line")
        fencer.admin("-D", "no-right")
        fencer.register("hw", board=shared.port, pcmk_host_map=HOST_MAP, **LIMITS)
