"""Rows of the failure tables of share/cluster that are no plain fault of a server; `make test-cluster` runs them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heartwire.board import Board
from tests.cluster.bench import program
from tests.cluster.conftest import Need
from tests.cluster.pair import Pair, now_s

pytestmark = pytest.mark.usefixtures("brokers_used")

# The cluster's software, without the agent that beats for the board.
SOFTWARE = "pkill -9 pacemakerd; pkill -9 -x corosync; pkill -9 pacemaker-"
QUIET_S = 12.0
# Calls of an agent that fails at once, after which Pacemaker has given up where nobody has told it not to: it has two
# calls for each of ten fences.
CALLS = 22
# The agent, failing at once while the file is there; each such call is a line in it.
FAILS = """#!/bin/bash
given=$(cat)
case "$given" in *action=off*|*action=reboot*) [ -e {away} ] && {{ echo failed >>{away}; exit 1; }} ;; esac
exec {program} "$@" <<<"$given"
"""


WAYS = ("cluster-decides", "board-decides")


@pytest.fixture(params=WAYS)
def pair(request: pytest.FixtureRequest, need: Need, tmp_path: Path) -> Iterator[Pair]:
    """Return a running cluster, for each way to combine."""
    need("pacemakerd", "stonith_admin", "corosync", "ip", "unshare", namespaces=True)
    if not os.environ.get("HEARTWIRE_DEEP"):
        pytest.skip("some minutes: `make test-cluster` runs it")
    with Pair(tmp_path, request.param) as pair:
        pair.wait_up()
        yield pair


def other_than(node: str) -> str:
    """Return the other node."""
    return "b" if node == "a" else "a"


@pytest.mark.cluster
def test_without_the_board_nobody_takes_over(pair: Pair) -> None:
    holder = pair.holders()[0]
    if pair.board_decides:
        pair.bench.board.hang()
    else:
        pair.bench.board.usb_unplug()
    at_s, at_ns = now_s(), time.monotonic_ns()
    pair.bench.servers[holder].crash()
    assert pair.wait_start(at_s, QUIET_S) is None, pair.changes(at_s)
    if pair.board_decides:
        # A hung board is reset by its watchdog within seconds; its own rules then decide.
        return
    assert not pair.power_cuts(at_ns)
    pair.bench.board.usb_plug()
    started = pair.wait_start(at_s, 90)
    assert started is not None, pair.story()
    assert started.node == other_than(holder)
    assert list(pair.power_cuts(at_ns)) == [holder]


@pytest.mark.cluster
@pytest.mark.parametrize("pair", WAYS[:1], indirect=True)
def test_a_fence_is_never_given_up(pair: Pair, tmp_path: Path) -> None:
    away = tmp_path / "away"
    for machine in pair.machines.values():
        machine.add("agents/fence_heartwire", FAILS.format(away=away, program=program("fence_heartwire")))
    away.touch()
    holder = pair.holders()[0]
    at_s = now_s()
    pair.bench.servers[holder].crash()
    while len(away.read_text().splitlines()) < CALLS:
        assert now_s() - at_s < 120, f"{away.read_text()}\n{pair.story()}"
        time.sleep(0.5)
    away.unlink()
    started = pair.wait_start(at_s, 60)
    assert started is not None, pair.story()
    assert started.node == other_than(holder)


@pytest.mark.cluster
def test_a_welded_relay_moves_nothing(pair: Pair) -> None:
    holder = pair.holders()[0]
    pair.bench.rack.supplies[holder].weld()
    at_s, at_ns = now_s(), time.monotonic_ns()
    pair.bench.servers[holder].freeze()
    assert pair.wait_start(at_s, QUIET_S) is None, pair.changes(at_s)
    assert not pair.power_cuts(at_ns)


@pytest.mark.cluster
def test_only_the_clusters_software_dies(pair: Pair) -> None:
    holder = pair.holders()[0]
    at_s, at_ns = now_s(), time.monotonic_ns()
    pair.inside(holder, "sh", "-c", SOFTWARE)
    started = pair.wait_start(at_s, 20)
    if pair.board_decides:
        assert started is None, pair.changes(at_s)
        assert not pair.power_cuts(at_ns)
        # The agent that waits for the board's proof leaves the port to the person who knows better.
        pair.bench.until(lambda board: bool(board.fence(holder)), "an operator's fence", 10)
        started = pair.wait_start(at_s, 20)
    assert started is not None, pair.story()
    assert started.node == other_than(holder)
    assert list(pair.power_cuts(at_ns)) == [holder]


@pytest.mark.cluster
@pytest.mark.parametrize("pair", WAYS[1:], indirect=True)
def test_a_switchover_where_the_board_decides(pair: Pair) -> None:
    holder = pair.holders()[0]
    at_s, at_ns = now_s(), time.monotonic_ns()
    with Board.open(pair.bench.port, keys=pair.bench.keys) as board:
        board.switchover(other_than(holder))
    started = pair.wait_start(at_s, 30)
    assert started is not None, pair.story()
    assert [change.what for change in pair.changes(at_s)] == ["stop", "start"]
    assert started.node == other_than(holder)
    assert not pair.power_cuts(at_ns)
