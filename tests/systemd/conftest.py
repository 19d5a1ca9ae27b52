"""Machines with a systemd of their own, on this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.systemd import box
from tests.systemd.rack import MachineRack


@pytest.fixture(autouse=True, scope="session")
def _possible() -> None:
    if problem := box.why_not():
        pytest.skip(problem)


@pytest.fixture
def make_rack(tmp_path: Path) -> Iterator[Callable[..., MachineRack]]:
    """Return a maker of racks on which a is active; with arm=False they are not started."""
    pytest.importorskip("micropython_unix", reason="not installed: heartwire[virtual]")
    racks: list[MachineRack] = []

    def make(arm: bool = True, **options: object) -> MachineRack:
        rack = MachineRack(tmp_path / f"rack{len(racks)}", **options)  # type: ignore[arg-type]
        racks.append(rack)
        if arm:
            rack.arm()
        return rack

    yield make
    for rack in racks:
        rack.close()
