"""Random walks with Hypothesis, far longer than an exhaustive walk can have: the walk's world, and the whole board.

test_random.py runs them with fixed choices. As a program this file tries new seeds (`make walk-random SEEDS=20`),
prints how many examples and steps it took, and a counterexample as a row for pinned.py and as a scenario file. Exit
code 0: nothing found, 1: a counterexample.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from typing import Any, ClassVar

import hypothesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from heartwire_protocol import codes
from tests.fakes.bench import Bench
from tests.walk import liveness
from tests.walk.cases import CASES, EVERYTHING
from tests.walk.rules import Broken, Rules
from tests.walk.steps import QUIET, Step, apply, steps
from tests.walk.story import scenario_of
from tests.walk.world import World

SETTLE_TICKS = 12
WORLDS = {case.name: case for case in CASES}
# Worlds in which everything may happen.
LONG_WORLDS = ("clean_start", "auto", "three", "approve", "peer", "cold", "ladder_reset")
LONG_KINDS = (*EVERYTHING, "declare", "dip", "chatter", "peer", "claim", "service", "states", "drain", "fence")


def settled(case_name: str) -> tuple[World, Rules]:
    """Return the world of a case and what is demanded of it, some time after its start."""
    case = WORLDS[case_name]
    world, demands = case.world(), Rules()
    world.observers = [demands]
    for step in (*[QUIET] * SETTLE_TICKS, *case.settle):
        apply(world, step)
    return world, demands


class LongWalk(RuleBasedStateMachine):
    """The walk's world, with far more disturbances than an exhaustive walk can have."""

    examples: ClassVar[int] = 0
    taken: ClassVar[int] = 0

    @initialize(
        name=st.sampled_from(LONG_WORLDS),
        kinds=st.lists(st.sampled_from(LONG_KINDS), min_size=2, max_size=5, unique=True),
    )
    def start(self, name: str, kinds: list[str]) -> None:
        """Choose a world, and a few kinds of what may happen: with all of them one undoes what the other one did."""
        LongWalk.examples += 1
        self.name = name
        self.world, self.demands = settled(name)
        self.choices = steps(self.world, kinds)
        self.way: list[Step] = []

    def teardown(self) -> None:
        """Let time pass, and ask whether somebody serves, or a person is told that nobody does."""
        if not hasattr(self, "way"):
            return
        unserved_s = untold_s = 0
        for _ in range(liveness.SERVED_S + 1):
            self.take(QUIET)
            bits = liveness.seen(self.world)
            unserved_s = unserved_s + 1 if bits & (liveness.SERVES | liveness.DUE) == liveness.DUE else 0
            untold_s = untold_s + 1 if not bits & (liveness.SERVES | liveness.TOLD) else 0
            if unserved_s > liveness.SERVED_S or untold_s > liveness.TOLD_S:
                words = liveness.UNTOLD if untold_s > liveness.TOLD_S else liveness.UNSERVED
                raise Broken(f"liveness: {words}\n{self.told()}")

    def take(self, step: Step) -> None:
        """Take one step; a breach is told with the way to it."""
        LongWalk.taken += 1
        self.way.append(step)
        try:
            apply(self.world, step)
        except Broken as broken:
            raise Broken(f"{broken}\n{self.told()}") from broken

    def told(self) -> str:
        """Return the way as a row for pinned.py and as a scenario file."""
        return f'Pin("NAME", "{self.name}", {tuple(self.way)})\n{scenario_of(self.world, self.way)}'

    @rule(choice=st.integers(min_value=0, max_value=400), quiet=st.integers(min_value=0, max_value=12))
    def disturb(self, choice: int, quiet: int) -> None:
        """Let something happen, and some time pass."""
        for step in (self.choices[choice % len(self.choices)], *[QUIET] * quiet):
            self.take(step)


class RealTime(RuleBasedStateMachine):
    """The supervisor itself with its lines, flash and senses, in passes of 20 ms."""

    examples: ClassVar[int] = 0
    taken: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        RealTime.examples += 1
        self.bench = Bench("node.a.quarantine=clean_start\nnode.b.quarantine=clean_start\nnode.spare.enabled=1\n", 3)
        self.bench.settle()

    def pass_time(self, ms: int) -> None:
        for _ in range(ms // 20):
            RealTime.taken += 1
            self.bench.step(20)

    @rule(ms=st.integers(min_value=20, max_value=15000))
    def wait(self, ms: int) -> None:
        self.pass_time(ms)

    @rule(node=st.integers(0, 2), what=st.sampled_from(["crash", "freeze", "thaw", "reboot", "restart_agent"]))
    def fault(self, node: int, what: str) -> None:
        owner = self.bench.supplies[node] if what == "reboot" else self.bench.nodes[node]
        if what != "restart_agent" or self.bench.nodes[node].alive:
            getattr(owner, what)()

    @rule(node=st.integers(0, 2), where=st.sampled_from(["cut", "deaf", "noisy"]), on=st.booleans())
    def line(self, node: int, where: str, on: bool) -> None:
        found = getattr(self.bench, where)
        found.add(node) if on else found.discard(node)

    @rule(node=st.integers(0, 2), kind=st.sampled_from(["welded", "sense_stuck"]), on=st.booleans())
    def power(self, node: int, kind: str, on: bool) -> None:
        setattr(self.bench.supplies[node], kind, on if kind == "welded" else (True if on else None))

    @precondition(lambda self: self.bench.board_on)
    @rule(operation=st.sampled_from([11, 13, 14, 15, 24]), node=st.integers(0, 2), force=st.integers(0, 1))
    def ask(self, operation: int, node: int, force: int) -> None:
        self.bench.board.request(operation, node, force)

    @rule(how=st.sampled_from(["reset", "cycle"]))
    def board(self, how: str) -> None:
        if how == "cycle":
            self.bench.power_cut()
            self.pass_time(200)
        self.bench.power_on()

    @invariant()
    def one_serves(self) -> None:
        assert not self.bench.violations, f"{self.bench.violations}\n{self.bench.story()}"
        state = self.bench.board.state
        entitled = [node for node in range(3) if self.bench.board.grants.is_entitled(node)]
        assert len(entitled) <= 1
        assert state.holder <= codes.NO_NODE


def fixed(examples: int, step_count: int, **more: Any) -> hypothesis.settings:
    """Return settings under which a machine does the same in each run, whatever another run has found."""
    return hypothesis.settings(
        max_examples=examples, stateful_step_count=step_count, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), **more,
    )  # fmt: skip


def tried(machine: type[LongWalk | RealTime], seed: int, examples: int, step_count: int) -> bool:
    """Run `machine` with one seed; print its counts, and what it found. Return whether it held."""
    machine.examples = machine.taken = 0
    began = time.monotonic()
    found: BaseException | None = None
    try:
        run_state_machine_as_test(
            hypothesis.seed(seed)(machine),
            settings=hypothesis.settings(fixed(examples, step_count), derandomize=False),
        )
    except (AssertionError, ExceptionGroup) as failure:
        found = failure
    counts = f"{machine.examples} examples, {machine.taken} steps"
    print(f"{machine.__name__} seed {seed}: {counts}, {time.monotonic() - began:.0f} s: {found or 'nothing found'}")
    return found is None


def main() -> int:
    """Try new seeds and return the exit code."""
    parser = argparse.ArgumentParser(description="Walk at random with new seeds.")
    parser.add_argument("--seeds", type=int, default=4, help="how many seeds to try (default 4)")
    parser.add_argument("--first", type=int, help="the first seed; the others follow it (default: a random one)")
    parser.add_argument("--examples", type=int, default=100, help="examples a seed of the walk's world (default 100)")
    chosen = parser.parse_args()
    first = secrets.randbelow(2**31) if chosen.first is None else chosen.first
    machines = ((LongWalk, chosen.examples, 40), (RealTime, max(1, chosen.examples // 4), 15))
    held = True
    total = [0, 0]
    try:
        for seed in range(first, first + chosen.seeds):
            for machine, examples, step_count in machines:
                held = tried(machine, seed, examples, step_count) and held
                total[0] += machine.examples
                total[1] += machine.taken
    except KeyboardInterrupt:
        print("interrupted")
    print(f"in all {total[0]} examples, {total[1]} steps; repeat with --first {first}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
