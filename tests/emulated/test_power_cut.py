"""Power cuts at every flash operation of what a board does, a short choice; all of it: tools/bench_board.py --sweep."""

from __future__ import annotations

import dataclasses
import random
from functools import partial
from pathlib import Path

import pytest

from tests.emulated import aftermath, sweep
from tests.emulated.conftest import forked
from tests.emulated.rig import Rig

pytestmark = pytest.mark.emulated
EACH = 6  # cuts within each operation


def _swept(name: str, board_image: Path, settled: Rig) -> sweep.Sweep:
    def body() -> sweep.Sweep:
        rig = sweep.begin(name, board_image, settled.chip.contents()) if name in sweep.BOOTS else settled
        return sweep.run(name, rig, EACH, seed=1)

    return forked(body)


@pytest.mark.every_image
def test_power_cut_at_every_flash_operation_of_an_update_of_the_settings(settled: Rig, board_image: Path) -> None:
    _whole_after_cuts(settled, board_image, "config apply", 1)


@pytest.mark.parametrize(("name", "boots"), [("first boot", 0), ("failover", 1)])
def test_power_cut_at_every_flash_operation(settled: Rig, board_image: Path, name: str, boots: int) -> None:
    _whole_after_cuts(settled, board_image, name, boots)


def _whole_after_cuts(settled: Rig, board_image: Path, name: str, boots: int) -> None:
    swept = _swept(name, board_image, settled)
    assert swept.operations >= 8
    assert len(swept.cuts) >= (EACH + 1) * (swept.operations - 1)
    assert {cut.kind for cut in swept.cuts} == {"erase", "program"}
    complaints = [(cut.operation, words) for cut in swept.cuts for words in aftermath.files_hold(swept, cut)]
    assert not complaints
    for cut in aftermath.sample(swept, boots, random.Random(1)):
        assert not forked(partial(aftermath.boot_holds, board_image, swept, cut, 1))
    _damage_is_seen(swept)


def _damage_is_seen(swept: sweep.Sweep) -> None:
    """Hold that the look at the files finds what it is there for."""
    last = swept.cuts[-1]
    assert aftermath.files_hold(swept, dataclasses.replace(last, granted=1000)), "a fallen epoch is not seen"
    assert aftermath.files_hold(swept, dataclasses.replace(last, told=1000)), "a lost record is not seen"
    running = dataclasses.replace(last.nodes[0], alive=True, running=True)
    two = tuple(dataclasses.replace(running) for _ in last.nodes)
    assert aftermath.files_hold(swept, dataclasses.replace(last, nodes=two)), "two active nodes are not seen"
    erased = {block: b"\xff" * len(data) for block, data in last.blocks.items()}
    assert aftermath.files_hold(swept, dataclasses.replace(last, blocks=erased)), "lost blocks are not seen"
