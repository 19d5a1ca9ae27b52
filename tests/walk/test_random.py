"""Random walks with Hypothesis: long runs with many disturbances, and the whole board in real time steps."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from heartwire.simulate.bench import Bench
from heartwire_protocol import codes
from tests.walk.cases import CASES, EVERYTHING
from tests.walk.rules import Rules
from tests.walk.walk import apply, steps

WORLDS = {case.name: case for case in CASES}
QUIET = ("tick", None)


class LongWalk(RuleBasedStateMachine):
    """The walk's world, with far more disturbances than an exhaustive walk can have."""

    def __init__(self) -> None:
        super().__init__()
        self.world = WORLDS["clean_start"].world()
        self.demands = Rules()
        self.world.observers = [self.demands]
        self.choices = steps(self.world, EVERYTHING)
        for _ in range(12):
            apply(self.world, self.demands, QUIET)

    @rule(choice=st.integers(min_value=0, max_value=200), quiet=st.integers(min_value=0, max_value=12))
    def disturb(self, choice: int, quiet: int) -> None:
        """Let something happen, and some time pass."""
        apply(self.world, self.demands, self.choices[choice % len(self.choices)])
        for _ in range(quiet):
            apply(self.world, self.demands, QUIET)


class RealTime(RuleBasedStateMachine):
    """The supervisor itself with its lines, flash and senses, in passes of 20 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench("node.a.quarantine=clean_start\nnode.b.quarantine=clean_start\nnode.spare.enabled=1\n", 3)
        self.bench.settle()

    def pass_time(self, ms: int) -> None:
        for _ in range(ms // 20):
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


LongWalk.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
RealTime.TestCase.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLongWalk = LongWalk.TestCase
TestRealTime = RealTime.TestCase
