"""A policy step allocates nothing in the steady state: measured on the MicroPython VM, with the collector off."""

from __future__ import annotations

import pytest

from tools import bench_policy

# Bytes in all: the loop of the measurement may cost a cell once; a step that allocates would show ten thousand times.
LIMIT = 128


@pytest.mark.parametrize("name", bench_policy.CASES)
def test_a_step_allocates_nothing(name: str) -> None:
    if bench_policy.vm_path() is None:
        pytest.skip("not installed: heartwire[virtual]")
    assert bench_policy.measure(name).allocated <= LIMIT
