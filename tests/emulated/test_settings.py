"""Settings over USB on the emulated chip, with the host's own code: storing them never stands before a deadline."""

from __future__ import annotations

import pytest

from heartwire import settings_transfer
from heartwire.emulated.chip import MS
from heartwire.emulated.flashchip import MAXIMUM
from tests.bodies.bench import DEAD_MS, quick_settings
from tests.emulated.conftest import forked
from tests.emulated.hostport import board_of
from tests.emulated.rig import Rig, fence_edges

pytestmark = pytest.mark.emulated


@pytest.mark.parametrize("before_ms", [130, 75])
def test_settings_that_come_before_a_deadline_do_not_delay_the_relay(settled: Rig, before_ms: int) -> None:
    # Writing them takes the chip up to 450 ms; the host is asked to come again.
    def body() -> tuple[list[float], int]:
        rig = settled
        rig.chip.flash.times = MAXIMUM
        board = board_of(rig)
        settings_transfer.upload(board.link, quick_settings(board__late_ms=260).text())
        rig.cut.add(0)
        rig.chip.run_for(120 * MS)
        deadline = rig.beats[0][-1] + DEAD_MS * MS
        rig.chip.run_until(deadline - before_ms * MS)
        generation = int(board.link.request("settings_apply").body["generation"])
        rig.chip.run_until(max(rig.chip.ns, deadline + 60 * MS))
        return [(ns - deadline) / MS for ns in fence_edges(rig, 0)], generation

    late_ms, generation = forked(body)
    assert generation == 2
    assert len(late_ms) == 1
    assert 0 <= late_ms[0] <= 3
