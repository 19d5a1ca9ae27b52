"""The counts of tools/structure.py see what they are for."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

from tests.unit.host.test_documents import ROOT

COUNTS = runpy.run_path(str(ROOT / "tools" / "structure.py"))


def trees(**modules: str) -> dict[Path, ast.Module]:
    return {Path(f"{name}.py"): ast.parse(text) for name, text in modules.items()}


def test_who_is_given_the_whole_is_counted_by_what_he_reaches() -> None:
    part = "class Part:\n    def __init__(self, board):\n        self._board = board\n"
    part += "    def step(self):\n        return self._board.state + self._board.clock.ms\n"
    whole = "class Whole:\n    def __init__(self):\n        self.part = Part(self)\n        move(1, self)\n"
    moved = "def move(ms, board):\n    board.changed = True\n"
    found = COUNTS["through_self"](trees(part=part, whole=whole, moved=moved))
    assert [one.rpartition(": ")[2] for one in found] == ["Part takes clock", "Part takes state", "move takes changed"]
    assert not COUNTS["through_self"](trees(part=part, whole=whole.replace("self)\n", "state)\n"), moved=moved))


def test_a_private_attribute_of_another_object_is_counted() -> None:
    text = "class One:\n    def step(self, other):\n        return self._mine, One._own, other._theirs\n"
    assert [one.rpartition(": ")[2] for one in COUNTS["private"](trees(one=text))] == ["other._theirs"]


def test_a_phase_that_the_table_does_not_allow_is_counted() -> None:
    state = "PHASES = ('rest', 'act')\nNEXT = ((REST, ACT), (REST,))\n"
    policy = "class Policy:\n    def _rest(self):\n        self.go()\n    def go(self):\n        self.enter(ACT, 0)\n"
    policy += "    def _act(self):\n        self.go()\nPHASE_STEPS = (Policy._rest, Policy._act)\n"
    assert COUNTS["phases"](trees(policy_state=state, policy=policy)) == ["act: go enters act"]


def test_what_stands_twice_is_counted() -> None:
    assert len(COUNTS["twice"](trees(one="DAY_MS = 5\nTWO = 2\n", two="DAY_MS = 5\nTWO = 3\n"))) == 1
    assert len(COUNTS["by_number"](trees(one="board.request(10, 3)\nboard.request(MODE, 3)\n"))) == 1
