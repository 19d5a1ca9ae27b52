"""The whole product in real time: what happens to services when nodes, cables, relays or the board fail."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from heartwire.errors import Refused
from heartwire.virtual.cable import TO_BOARD
from heartwire.virtual.product import ProductRack
from tests.virtual.conftest import Watcher

pytestmark = pytest.mark.virtual
# How long the board is gone: four leases by default, a minute where somebody wants to wait.
GONE_S = 60.0 if os.environ.get("HEARTWIRE_LONG") else 6.0


def in_order(names: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> bool:
    """Tell whether `wanted` stands in `names` in this order."""
    at = 0
    for name in wanted:
        if name not in names[at:]:
            return False
        at = names.index(name, at) + 1
    return True


def pid_of(rack: ProductRack, node: str) -> str:
    return (rack.servers[node].directory / "service.pid").read_text()


def test_crash_of_the_active_node(rack: ProductRack, watcher: Watcher) -> None:
    rack.servers["a"].crash()
    rack.wait_active("b")
    watcher.wait(lambda board: board.node("a").role == "quarantined" and board.node("a").verdict == "good")
    watcher.wait_event("good_again", "a")  # a record may be read once it is durable, a little after the state
    wanted = [("late", "a"), ("fence_prepared", "a"), ("dead", "a"), ("fence_fired", "a"), ("off_proven", "a")]
    wanted += [("granted", "b"), ("running", "b"), ("relay_released", "a"), ("good_again", "a")]
    assert in_order(watcher.names(), wanted), watcher.names()
    assert rack.writers() == [("a", 1), ("b", 2)]
    assert not rack.is_running("a")


def test_frozen_active_node_is_fenced_and_wakes_up_to_nothing(rack: ProductRack, watcher: Watcher) -> None:
    rack.servers["a"].freeze()
    rack.wait_active("b")
    assert rack.writers() == [("a", 1), ("b", 2)]
    watcher.wait(lambda board: board.node("a").verdict == "good")
    assert not rack.is_running("a")


def test_crash_of_the_standby_leaves_the_active_alone(rack: ProductRack, watcher: Watcher) -> None:
    pid = pid_of(rack, "a")
    rack.servers["b"].crash()
    watcher.wait_event("dead", "b")
    time.sleep(0.5)
    assert pid_of(rack, "a") == pid and rack.is_running("a")
    assert rack.writers() == [("a", 1)]


def test_switchover_drains_first_and_fences_nobody(rack: ProductRack, watcher: Watcher) -> None:
    with rack.open() as board:
        board.switchover("b")
    rack.wait_active("b")
    watcher.wait_event("running", "b")
    names = watcher.names()
    assert in_order(names, [("drain_asked", "a"), ("drained", "a"), ("granted", "b"), ("running", "b")])
    assert ("fence_fired", "a") not in names
    assert rack.writers() == [("a", 1), ("b", 2)]
    watcher.wait(lambda board: board.node("a").role == "standby")


def test_hung_firmware_is_restarted_and_the_active_node_notices_nothing(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(timings={"watchdog_ms": 1500})
    # A watchdog keeps its time until the next start: RP2040 watchdogs cannot be set anew while they run.
    with rack.open() as board:
        board.restart()
    rack.board.wait_for(lambda: rack.board.boots == 2 and rack.board.state == "running", 5)
    Watcher(rack).wait_event("adopted", "a")
    pid = pid_of(rack, "a")
    bites = rack.board.watchdog_bites
    rack.board.hang()
    rack.board.wait_for(lambda: rack.board.watchdog_bites > bites and rack.board.state == "running", 6)
    watcher = Watcher(rack)
    boot = watcher.wait_event("adopted", "a")
    assert pid_of(rack, "a") == pid and rack.is_running("a")
    assert rack.writers() == [("a", 1)]
    reasons = [row.reason for row in watcher.events() if row.event == "boot"]
    assert reasons == ["power_on", "requested_reset", "watchdog"]
    assert boot.a == 1, "the same epoch: nothing was activated anew"


def test_board_pulled_out_and_plugged_in_again(rack: ProductRack, watcher: Watcher) -> None:
    pid = pid_of(rack, "a")
    rack.board.unplug()
    time.sleep(GONE_S)
    assert pid_of(rack, "a") == pid and rack.is_running("a"), "hold: a running service goes on"
    assert not rack.is_running("b"), "nothing starts without a fresh grant"
    rack.board.plug()
    watcher.wait_event("adopted", "a")
    with rack.open() as board:
        status = board.status()
    assert (status.active, status.epoch, status.mode) == ("a", 1, "auto")
    assert pid_of(rack, "a") == pid
    assert rack.writers() == [("a", 1)]


def test_services_stop_when_the_board_is_gone_and_config_says_stop(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(on_board_loss="stop")
    rack.board.unplug()
    deadline = time.monotonic() + 8
    while rack.is_running("a"):
        assert time.monotonic() < deadline, "the lease ran out long ago"
        time.sleep(0.05)
    assert rack.writers() == [("a", 1)]


def test_agent_started_anew_while_the_board_is_gone_starts_nothing(rack: ProductRack, watcher: Watcher) -> None:
    rack.board.unplug()
    rack.servers["a"].reset()
    rack.rack.wait_event("server a", "running", 10, since_ns=time.monotonic_ns())
    time.sleep(2.0)
    assert not rack.is_running("a") and not rack.is_running("b")
    rack.board.plug()
    rack.wait_active("a")
    assert rack.writers() == [("a", 1), ("a", 2)], "the same node, but a new activation"


def test_both_cables_cut_at_once_is_one_fault(rack: ProductRack, watcher: Watcher) -> None:
    for cable in rack.cables.values():
        cable.cut()
    watcher.wait_event("all_silent")
    time.sleep(2.5)
    names = watcher.names()
    assert ("fence_fired", "a") not in names and ("fence_fired", "b") not in names
    assert rack.is_running("a") and rack.writers() == [("a", 1)]
    for cable in rack.cables.values():
        cable.mend()
    watcher.wait(lambda board: board.node("a").verdict == "good" and board.status().active == "a")
    assert rack.writers() == [("a", 1)]


def test_half_a_line_is_an_alarm_and_no_fence(rack: ProductRack, watcher: Watcher) -> None:
    rack.cables["a"].one_way(TO_BOARD)
    watcher.wait_event("half_line", "a")
    time.sleep(2.5)
    assert ("fence_fired", "a") not in watcher.names()
    assert rack.is_running("a") and rack.writers() == [("a", 1)]


def test_crossed_cables_fence_nobody(rack: ProductRack, watcher: Watcher) -> None:
    rack.cables["a"].swap(rack.cables["b"])
    watcher.wait_event("all_silent")
    with rack.open() as board:
        assert board.node("a").drops.get("wrong_node", 0) > 0
        assert board.node("b").drops.get("wrong_node", 0) > 0
    time.sleep(2.0)
    names = watcher.names()
    assert ("fence_fired", "a") not in names and ("fence_fired", "b") not in names


def test_welded_relay_grants_nobody(rack: ProductRack, watcher: Watcher) -> None:
    rack.supplies["a"].weld()
    rack.servers["a"].crash()
    watcher.wait_event("off_failed", "a")
    with rack.open() as board:
        status = board.status()
        assert status.active is None and status.phase == "failed" and status.alarm
    watcher.wait_event("relay_released", "a")
    time.sleep(1.0)
    assert rack.writers() == [("a", 1)], "b was granted although a was never proven off"
    assert not rack.is_running("b")


def test_wrong_key_never_counts(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(arm=False)
    watcher = Watcher(rack)
    watcher.wait(lambda board: board.node("b").verdict == "good")
    rack.key_file("b").write_text("11" * 32 + "\n")
    rack.servers["b"].reset()
    watcher.wait_event("altered", "b")
    with rack.open() as board:
        beats = board.node("b").beats
        time.sleep(1.0)
        node = board.node("b")
    assert node.beats == beats and node.drops["wrong_answer"] > 3


def test_noise_on_one_cable_leaves_the_other_node_alone(rack: ProductRack, watcher: Watcher) -> None:
    with rack.open() as board:
        free = board.status().free
    rack.cables["b"].noise(0.05)
    time.sleep(4.0)
    with rack.open() as board:
        assert sum(board.node("b").drops.values()) > 2
        assert board.node("a").verdict == "good"
        assert board.status().free > free - 8192
    assert rack.is_running("a") and rack.writers() == [("a", 1)]


def test_fence_by_hand_of_the_last_node_is_refused(rack: ProductRack, watcher: Watcher) -> None:
    rack.servers["b"].crash()
    watcher.wait_event("dead", "b")
    with rack.open() as board, pytest.raises(Refused) as refusal:
        board.fence("a")
    assert refusal.value.reason == "last_powered"
    assert rack.is_running("a")


def test_observe_mode_decides_and_moves_nothing(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(arm=False)
    watcher = Watcher(rack)
    watcher.wait(lambda board: all(node.verdict == "good" for node in board.nodes()))
    rack.servers["a"].directory.joinpath("service.pid").write_text(str(os.getpid()))  # a service that is not ours runs
    watcher.wait(lambda board: board.status().active == "a")
    rack.servers["a"].crash()
    watcher.wait_event("would_fence", "a")
    watcher.wait_event("would_grant", "b")
    time.sleep(0.5)
    assert not rack.board.output("POWER_A")
    assert not rack.is_running("b")
    with rack.open() as board:
        assert board.status().epoch == 0
