"""`heartwire selftest` on the real firmware: relays and senses of a virtual rack, faults of both, and every way out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from heartwire.virtual.product import ProductRack
from tests.virtual.conftest import Watcher

pytestmark = pytest.mark.virtual


def start(rack: ProductRack, *words: str) -> subprocess.Popen[str]:
    """Start `heartwire selftest` against the rack's board."""
    environment = {**os.environ, "HEARTWIRE_PORT": str(rack.board.wait_usb()), "NO_COLOR": "1"}
    environment["HEARTWIRE_KEY_FILE"] = str(rack.host_keys)
    return subprocess.Popen(
        [sys.executable, "-m", "heartwire", "selftest", *words],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(rack: ProductRack, *words: str) -> tuple[int, str, str]:
    """Run it to its end; return exit code, output and errors."""
    process = start(rack, *words)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_relays_are_proven_and_faults_found_in_observe_mode(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(arm=False)
    watcher = Watcher(rack)
    watcher.wait(lambda board: all(node.verdict == "good" for node in board.nodes()))
    code, out, err = run(rack, "--yes", "--only", "lines,relays", "--seconds", "2", "--json")
    assert code == 0, err
    found = {row["title"]: row for row in json.loads(out)["checks"]}
    for node in "ab":
        row = found[f"power relay of {node}"]
        assert 150 <= row["off_ms"] <= 900 and 0 < row["on_ms"] <= 900, row
    assert ("proof_passed", "a") in watcher.names() and ("proof_passed", "b") in watcher.names()
    assert "fence_fired" not in {name for name, _ in watcher.names()}

    watcher.wait(lambda board: all(node.verdict == "good" for node in board.nodes()))
    rack.supplies["b"].weld()
    code, out, err = run(rack, "--yes", "--relay", "b", "--seconds", "2")
    assert code == 15 and "the relay did not act" in out, out
    rack.supplies["b"].weld(False)
    rack.supplies["b"].stick_sense(True)
    code, out, err = run(rack, "--yes", "--relay", "b", "--seconds", "2")
    assert code == 15 and "the sense never moved" in out, out


def test_proof_test_in_a_maintenance_window_disturbs_nobody(rack: ProductRack, watcher: Watcher) -> None:
    watcher.wait(lambda board: all(node.verdict == "good" for node in board.nodes()))
    code, out, err = run(rack, "--relay", "a", "--in-maintenance", "--yes")
    assert code == 15 and "already" in out, "the active node is not cut"
    code, out, err = run(rack, "--relay", "b", "--in-maintenance", "--yes", "--seconds", "2")
    assert code == 0, out + err
    watcher.wait_event("maintenance_ended", "b")  # the board says so at once, and writes it down in its next slot
    names = watcher.names()
    assert ("proof_passed", "b") in names
    assert not {"fence_fired", "fence_prepared", "two_running", "disagree"} & {name for name, _ in names}
    assert rack.is_running("a") and not rack.is_running("b")
    with rack.open() as board:
        assert board.status().active == "a" and board.node("b").verdict == "good"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_relay_lets_go_whatever_happens_to_the_host(
    make_rack: Callable[..., ProductRack], how: signal.Signals
) -> None:
    rack = make_rack(arm=False)
    watcher = Watcher(rack)
    watcher.wait(lambda board: all(node.verdict == "good" for node in board.nodes()))
    process = start(rack, "--yes", "--relay", "b", "--seconds", "6")
    deadline = time.monotonic() + 20
    while not rack.board.output("POWER_B") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert rack.board.output("POWER_B")
    cut = time.monotonic()
    time.sleep(1)
    process.send_signal(how)
    out, _err = process.communicate(timeout=20)
    while rack.board.output("POWER_B"):
        assert time.monotonic() - cut < 8
        time.sleep(0.02)
    took_s = time.monotonic() - cut
    if how == signal.SIGINT:
        assert process.returncode == 130 and "1 not tested" in out
        assert took_s < 4
        watcher.wait_event("proof_ended", "b")
    else:
        assert 5 < took_s < 8
        watcher.wait_event("proof_passed", "b")


@pytest.mark.parametrize("wires", ["cross_relay", "cross_sense"])
def test_exchanged_wires_of_two_nodes_are_named(make_rack: Callable[..., ProductRack], wires: str) -> None:
    rack = make_rack(arm=False)
    watcher = Watcher(rack)
    watcher.wait(lambda board: all(node.verdict == "good" for node in board.nodes()))
    getattr(rack.supplies["a"], wires)(rack.supplies["b"])
    code, out, err = run(rack, "--yes", "--relay", "b", "--seconds", "2")
    assert code == 15 and "SENSE_A1 moved too: crossed wires" in out, out + err
