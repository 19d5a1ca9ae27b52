"""The monitor killed with SIGKILL at every step of its outbox: nothing is lost and nothing is sent twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire.monitor import receipts
from heartwire.monitor.courier import Letter, ProcessCourier, _start, order_of
from heartwire.monitor.settings import ChannelSettings
from heartwire.monitor.store import Store
from heartwire_protocol import events
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("killed_monitor.py")
POINTS = (
    "before:bundle:1",
    "after:bundle:1",
    "before:begin:1",
    "after:begin:1",
    "after:started:1",
    "after:started:2",
    "at:ordered:1",
    "late:ordered:1",
    "late:ordered:2",
    "late:ordered:6",
    "after:send:1",
    "before:finish:1",
    "after:finish:1",
    "after:forget:1",
)


def monitor(store: Path, spool: Path, out: Path, point: str) -> int:
    ours = [str(ROOT), str(ROOT / "host"), str(ROOT / "firmware")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(ours)}
    command = [sys.executable, str(PROGRAM), str(store), str(spool), str(out), point]
    return subprocess.run(command, env=environment, timeout=60, check=False).returncode


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_each_event_is_told_exactly_once(tmp_path: Path, board: FakeBoard, point: str) -> None:
    path, spool, out = tmp_path / "m.db", tmp_path / "spool", tmp_path / "out"
    with Store.open(path) as store:
        board.log(events.BOOT)
        world = World(store, board, [channel()])
        world.collect()
        board.log(events.DEAD, 0, 1, a=2000)
        world.collect()
    assert monitor(path, spool, out, point) == -signal.SIGKILL, "the point was not reached"
    assert monitor(path, spool, out, "none") == 0
    time.sleep(0.05)
    told = out.read_text().splitlines()
    assert len(told) == 1, told
    assert "(alpha) is dead" in told[0]
    ProcessCourier(spool).sweep((), older_than_s=-1)
    assert [path.name for path in spool.iterdir()] == [receipts.IDENTITY]


def test_a_sender_that_comes_late_may_not_send_any_more(tmp_path: Path) -> None:
    courier = ProcessCourier(tmp_path / "spool")
    courier.prepare()
    outcome = courier.recall("u", 1)
    assert not outcome.sent
    assert not outcome.unsure
    courier.forget("u", 1)
    out = tmp_path / "out"
    late = ChannelSettings(name="x", kind="command", command=("/bin/sh", "-c", f"echo sent >> {out}"))
    courier.send(late, Letter("u", "alarm", "t", "b"), 1)
    assert not out.exists()
    courier.send(late, Letter("u", "alarm", "t", "b"), 2)
    assert out.exists()


def test_a_sender_at_work_is_seen_and_its_result_is_taken(tmp_path: Path) -> None:
    courier = ProcessCourier(tmp_path)
    path = receipts.path_of(tmp_path, "u", 1)
    descriptor = receipts.claim(path)
    assert descriptor is not None
    assert receipts.claim(path) is None
    assert courier.recall("u", 1).busy
    receipts.conclude(descriptor, {"sent": True, "trouble": ""})
    assert courier.recall("u", 1).busy
    os.close(descriptor)
    assert courier.recall("u", 1).sent
    courier.forget("u", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_sender_that_was_killed_itself_leaves_a_doubt(tmp_path: Path) -> None:
    courier = ProcessCourier(tmp_path)
    descriptor = receipts.claim(receipts.path_of(tmp_path, "u", 1))
    assert descriptor is not None
    os.close(descriptor)
    outcome = courier.recall("u", 1)
    assert (outcome.sent, outcome.unsure, outcome.busy) == (False, True, False)


def test_a_command_that_outlives_its_killed_sender_is_waited_for(tmp_path: Path) -> None:
    courier = ProcessCourier(tmp_path / "spool")
    courier.prepare()
    begun, go = tmp_path / "begun", tmp_path / "go"
    script = f"cat > /dev/null; touch {begun}; while ! test -e {go}; do sleep 0.02; done"
    slow = ChannelSettings(name="x", kind="command", command=("/bin/sh", "-c", script))
    sender = _start(slow)
    assert sender.stdin is not None
    order = {"spool": str(tmp_path / "spool"), "attempt": 1, "channel": order_of(slow)}
    sender.stdin.write(json.dumps({**order, "message": Letter("u", "alarm", "t", "b").as_json()}).encode() + b"\n")
    sender.stdin.flush()
    _wait(begun.exists)
    sender.kill()
    sender.wait()
    assert courier.recall("u", 1).busy
    go.touch()
    _wait(lambda: not courier.recall("u", 1).busy)
    assert courier.recall("u", 1).unsure


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
