"""The random walks with fixed choices: the same in each run, so that they neither pass nor fail by chance.

New choices are tried by `make walk-random`; what they find becomes a row of pinned.py.
"""

from __future__ import annotations

from tests.walk.ramble import LongWalk, RealTime, fixed

LongWalk.TestCase.settings = fixed(60, 25)
RealTime.TestCase.settings = fixed(12, 12)
TestLongWalk = LongWalk.TestCase
TestRealTime = RealTime.TestCase
