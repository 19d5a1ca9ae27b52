"""A flash that holds nothing any more: the file system looks through all of it, for longer than the watchdog waits. The
board ends as one that guards, renews leases, fences nobody and says so. Times are virtual.
"""

from __future__ import annotations

from typing import Any

import pytest

from heartwire.emulated.chip import MS
from heartwire.emulated.flashchip import INSTANT, SECTOR, TYPICAL, Times
from heartwire.flash.boards import PICO
from heartwire.simulate.rack import POWER
from tests.emulated.conftest import forked
from tests.emulated.rig import EPOCH, Rig

pytestmark = pytest.mark.emulated
ERASE, BLOCK_ERASE, PROGRAM = 0x20, 0xD8, 0x02
# Bites of the watchdog until it writes no more, and the life in which the first write failed.
RESETS_MAX = 4


def _let_nothing_hold(rig: Rig, times: Times) -> None:
    """Let the file system's part of the flash keep what it has, whatever is written there."""
    flash, memory = rig.chip.flash, rig.chip.mcu.flash
    flash.times = times
    apply = flash._apply

    def applied() -> None:
        command = bytes(flash._ssi._tx_buffer)
        if not command or command[0] not in (ERASE, BLOCK_ERASE, PROGRAM):
            apply()
            return
        at = int.from_bytes(command[1:4], "big") & -SECTOR
        before = bytes(memory[at : at + 16 * SECTOR])
        apply()
        if at >= PICO.filesystem_start:
            memory[at : at + len(before)] = before

    flash._apply = applied


@pytest.mark.parametrize("times", [INSTANT, TYPICAL], ids=["protected", "worn out"])
def test_it_guards_without_writing_and_says_so(settled: Rig, times: Times) -> None:
    def body() -> dict[str, Any]:
        rig = settled
        _let_nothing_hold(rig, times)
        rig.ask("maintenance", node="b", seconds=60)
        resets = len(rig.chip.resets)
        rig.chip.run_for(9000 * MS)
        ended = len(rig.chip.resets)
        written = rig.chip.flash.count
        for grants in rig.grants:
            grants.clear()
        rig.chip.run_for(4000 * MS)
        return {
            "resets": ended - resets,
            "later": (len(rig.chip.resets) - ended, rig.chip.flash.count - written),
            "status": rig.ask("status"),
            "guarding": rig.chip.output("GUARDING"),
            "relays": [edge for edge in rig.chip.edges if edge.signal in POWER and edge.level == 1],
            "leases": {grant["epoch"] for _, grant in rig.grants[0] if grant["lease_ms"]},
            "running": [fake.running for fake in rig.nodes],
        }

    found = forked(body)
    assert found["resets"] <= RESETS_MAX and found["later"] == (0, 0)
    status = found["status"]
    assert (status["storage_bad"], status["alarm"], status["active"], found["guarding"]) == (1, 1, "a", 0)
    assert found["leases"] == {EPOCH} and found["running"] == [True, False]
    assert found["relays"] == []
