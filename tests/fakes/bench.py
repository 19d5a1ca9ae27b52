"""The simulator's bench under the tests' name, with fake nodes: one copy for tests and `heartwire simulate`."""

from __future__ import annotations

from heartwire.simulate import bench
from heartwire.simulate.bench import KEYS, POWER, BenchChannel, Record, answers_in, store_settings, unsigned_request
from heartwire.simulate.node import FakeNode
from heartwire.simulate.rack import Rack

__all__ = [
    "KEYS",
    "POWER",
    "Bench",
    "BenchChannel",
    "FakeRack",
    "Record",
    "answers_in",
    "store_settings",
    "unsigned_request",
]


class Bench(bench.Bench):
    """A bench whose nodes are fakes, which a test may turn into anything."""

    nodes: list[FakeNode]


class FakeRack(Rack):
    """A rack whose nodes are fakes, without a board."""

    nodes: list[FakeNode]
