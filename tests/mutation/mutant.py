"""A mutant: one rule of the firmware or of the agent broken on purpose, and the test that must notice."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One rule broken: in `file` the text `old`, which stands there exactly once, becomes `new`.

    `file` is one of the firmware, or of the host where it begins with `heartwire/`. `catcher` is `scenario NAME`,
    `walk CASE`, `handover CASE`, or `test PATH::NAME` for one test of tests/.
    """

    name: str
    file: str
    old: str
    new: str
    catcher: str


def guard(name: str, returns: str, catcher: str, words: str) -> Mutant:
    """Return a mutant of a guard that never forbids: its last line is replaced."""
    return Mutant(f"no guard: {name}", "guards.py", returns, words, catcher)
