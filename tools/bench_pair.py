"""Print what restarts, updates and changes cost the service of a running pair: for how long it stood, how many fences.

Real firmware on the MicroPython VM, real agents, a real service that a check of 1.5 s looks at, with a server's
timings, once with `on_board_loss` hold and once with stop. In real time: about five minutes. A row whose service should
not have noticed and did, and any fence, is marked, and the exit status is 1. `make bench-pair` runs it; the tests of
tests/virtual/test_restarts.py hold a part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from heartwire import config, keyroll, keys
from heartwire.board import Board
from heartwire.errors import Refused, Unplugged
from heartwire.journal import Entry
from heartwire.virtual.product import SERVICE, ProductRack

# A server's times: a lease outlasts a restart of the board, as it must.
TIMINGS = {
    "interval_ms": 1000, "early_ms": 250, "late_ms": 3000, "dead_ms": 10_000, "common_cause_ms": 2000, "lease_ms": 8000,
    "cold_start_ms": 20_000,
}  # fmt: skip
# The rest of a lease and two heartbeats more.
WATCHED_S = 10.0
SLOW_CHECK = f"sh -c 'sleep 1.5; sh {SERVICE} check {{directory}} x'"
RESPAWN_MS = 1000.0
UPGRADE_MS = 4000.0  # for so long a package manager leaves a server without its agent
AWAY_S = 20.0  # for so long `heartwire flash` has a board copy files
UPDATE_S = 45
LIMIT_S = 60.0


def pid(rack: ProductRack) -> str:
    """Return the process id of the service of a; "-" while it does not run."""
    try:
        return (rack.servers["a"].directory / "service.pid").read_text().strip()
    except OSError:
        return "-"


def bite(rack: ProductRack) -> None:
    """Let the board's watchdog bite."""
    rack.board.bite()


def restart(rack: ProductRack) -> None:
    """Restart the board as `heartwire restart` does."""
    # Its answer may be lost with the port.
    with contextlib.suppress(Unplugged), rack.open() as board:
        board.restart()


def update(rack: ProductRack) -> None:
    """Give leases for an update, and restart the board."""
    with rack.open() as board:
        _wait(lambda: _takes_update(board))
        time.sleep(2.5)  # heartbeats until each node has the long lease
    restart(rack)


def flash(rack: ProductRack) -> None:
    """Give leases for an update, and leave the rack without its board for as long as a flash takes."""
    with rack.open() as board:
        _wait(lambda: _takes_update(board))
        time.sleep(2.5)
    rack.board.power_off()
    time.sleep(AWAY_S)
    rack.board.power_on()


def agent_ends(rack: ProductRack) -> None:
    """Restart the agent in good order."""
    os.kill(rack.servers["a"].pid or 0, signal.SIGTERM)


def agent_dies(rack: ProductRack) -> None:
    """Kill the agent; it is started again."""
    os.kill(rack.servers["a"].pid or 0, signal.SIGKILL)


def agent_upgrade(rack: ProductRack) -> None:
    """Restart the agent in good order, with the time that replacing its files takes in between."""
    server = rack.servers["a"]
    server.respawn_ms = UPGRADE_MS
    agent_ends(rack)
    time.sleep(UPGRADE_MS / 1000 + 1)
    server.respawn_ms = RESPAWN_MS


def key_roll(rack: ProductRack) -> None:
    """Replace the key of a, as `heartwire key roll` does."""
    new = keys.write_new(rack.directory / f"rolled-{time.monotonic_ns()}.key", ("",))
    with rack.open() as board:
        roll = keyroll.roll_of("a", new, board.settings().values)
        roll.begin(board, board.settings().values)
        rack.key_file("a").write_text(new[""] + "\n")
        os.kill(rack.servers["a"].pid or 0, signal.SIGHUP)
        _wait(lambda: board.node("a").key == keyroll.USES_NEXT)
        roll.finish(board, board.settings().values)


def settings_change(rack: ProductRack) -> None:
    """Apply and confirm other settings."""
    found = config.load(rack.config_file)
    found.require_good()
    wanted = found.settings
    wanted.board.off_ms += 1000
    with rack.open() as board:
        board.apply_settings(wanted)


# What happens, and how; nothing of it is to be noticed by the service.
UNNOTICED: dict[str, Callable[[ProductRack], None]] = {
    "the board's watchdog bites": bite,
    "the board is restarted": restart,
    "update: long leases, a restart": update,
    f"flash: long leases, {AWAY_S:g} s without a board": flash,
    "the agent is restarted": agent_ends,
    "the agent is killed": agent_dies,
    f"the agent is upgraded: {UPGRADE_MS / 1000:g} s without one": agent_upgrade,
    "settings are changed": settings_change,
    "the node's key is rolled": key_roll,
}
POWEROFF = "poweroff of the active server"


class Row(NamedTuple):
    """What one disturbance cost."""

    loss: str
    what: str
    interrupted_ms: int
    fences: int
    moves: bool  # the services are to move

    @property
    def is_good(self) -> bool:
        """Tell whether it cost no more than it must."""
        return self.fences == 0 and (self.moves or self.interrupted_ms == 0)


def make_rack(directory: Path, loss: str) -> ProductRack:
    """Return a rack with a server's timings and a slow check."""
    flags = ("--check", SLOW_CHECK, "--check-interval-s", "2")
    return ProductRack(directory, timings=TIMINGS, on_board_loss=loss, respawn_ms=RESPAWN_MS, agent_flags=flags)


def interruption_ms(rack: ProductRack, disturb: Callable[[ProductRack], None]) -> int:
    """Disturb and watch; return for how long the service of a did not run, while it is disturbed too.

    A new process without a gap raises RuntimeError: something has replaced the service faster than could be seen.
    """
    before = pid(rack)
    gone_s, over = 0.0, threading.Event()

    def watch() -> None:
        nonlocal gone_s
        last = time.monotonic()
        while not over.is_set():
            time.sleep(0.01)
            now = time.monotonic()
            gone_s += 0.0 if rack.is_running("a") else now - last
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        disturb(rack)
        time.sleep(WATCHED_S)
    finally:
        over.set()
        watcher.join()
    if not gone_s and pid(rack) != before:
        raise RuntimeError("another process, and no gap was seen")
    return round(gone_s * 1000)


def poweroff_ms(rack: ProductRack) -> int:
    """Shut the active server down; return for how long no service ran while it moved."""
    rack.servers["a"].shut_down()
    _wait(lambda: not rack.is_running("a"))
    gone = time.monotonic()
    rack.wait_active("b", LIMIT_S)
    return round((time.monotonic() - gone) * 1000)


def fences(rack: ProductRack) -> int:
    """Return how many fences the journal holds."""
    with rack.open() as board:
        return sum(isinstance(row, Entry) and row.event == "fence_fired" for row in board.events())


def rows(directory: Path, loss: str) -> list[Row]:
    """Run all disturbances on one rack, one after the other, and print each row as it is known."""
    found = []
    with make_rack(directory, loss) as rack:
        rack.start()
        rack.arm()
        rack.wait_active("a", LIMIT_S)
        for what, disturb in UNNOTICED.items():
            with rack.open() as board:
                _wait(lambda: _rests(board))
            before = fences(rack)
            gone_ms = interruption_ms(rack, disturb)
            found.append(Row(loss, what, gone_ms, fences(rack) - before, moves=False))
            _print(found[-1])
        before = fences(rack)
        gone_ms = poweroff_ms(rack)
        time.sleep(TIMINGS["dead_ms"] / 1000 + 2)  # a fence would come by then
        found.append(Row(loss, POWEROFF, gone_ms, fences(rack) - before, moves=True))
        _print(found[-1])
    return found


def _takes_update(board: Board) -> bool:
    """Give leases for an update, unless the board has yet to end those of the one before."""
    try:
        board.update(UPDATE_S)
    except Refused as error:
        if error.reason != "other_operation":
            raise
        return False
    return True


def _rests(board: Board) -> bool:
    """Tell whether a holds its lease, and the board does nothing that the next disturbance could meet."""
    status = board.status()
    if status.phase != "watching" or status.long_lease_s or status.maintenance_s:
        return False
    # An update's lease is over for the board a little later than for the node that has it.
    return status.active == "a" and 0 < board.node("a").lease_ms <= TIMINGS["lease_ms"]


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {LIMIT_S:g} s")
        time.sleep(0.05)


def _print(row: Row) -> None:
    mark = "" if row.is_good else "  MISS"
    note = " (the services move to b)" if row.moves else ""
    print(f"{row.loss:5} {row.what:45} {row.interrupted_ms:6} ms {row.fences:2} fences{note}{mark}", flush=True)


def main() -> int:
    """Print the table; return 1 if a row is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--loss", choices=["hold", "stop"], help="only with this on_board_loss")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON at the end")
    options = parser.parse_args()
    found: list[Row] = []
    for loss in [options.loss] if options.loss else ["hold", "stop"]:
        with tempfile.TemporaryDirectory(prefix="heartwire-bench-") as directory:
            found += rows(Path(directory) / "rack", loss)
    if options.json:
        print(json.dumps([{**row._asdict(), "good": row.is_good} for row in found]))
    missed = sum(not row.is_good for row in found)
    print(f"{len(found)} rows, {missed} not as they should be")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
