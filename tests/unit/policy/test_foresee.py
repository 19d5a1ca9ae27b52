"""`heartwire plans` says what the board then does: each plan is held against the firmware itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from heartwire.answers import NodeStatus, Status
from heartwire.simulate.foresee import Plan, foresee, read_settings
from heartwire_protocol import codes, events, operations, reasons
from tests.fakes.bench import Bench

Prepare = Callable[[Bench], object]
CLEAN = "node.a.quarantine=clean_start\nnode.b.quarantine=clean_start\n"


def plan_of(bench: Bench, node: str) -> Plan:
    """Return the plan for `node`, from what the board answers."""
    status = Status.of(bench.ask(op="status"))
    names = codes.NODES[: len(bench.nodes)]
    nodes = [NodeStatus.of(bench.ask(op="node", node=name)) for name in names]
    found = read_settings(bench.board.config.current.text(False))
    plans = foresee(found, status, nodes, bench.ask(op="plans")["long_lease_s"])
    return next(plan for plan in plans if plan.node == node)


def maintain(node: int) -> Prepare:
    return lambda bench: bench.board.request(operations.MAINTENANCE, node, 100)


def crash(node: int) -> Prepare:
    def act(bench: Bench) -> None:
        bench.nodes[node].crash()
        bench.run(12000)

    return act


def observe(bench: Bench) -> None:
    bench.board.request(operations.MODE, codes.NO_NODE, codes.MODE_OBSERVE)


def approve(bench: Bench) -> None:
    bench.board.request(operations.MODE, codes.NO_NODE, codes.MODE_APPROVE)


CASES: dict[str, tuple[str, int, Prepare, str, tuple[str, str | None, tuple[str, ...]]]] = {
    "failover": ("", 2, lambda _: None, "a", ("failover", "b", ())),
    "spare": ("", 3, crash(1), "a", ("failover", "spare", ())),
    "no successor": ("", 2, crash(1), "a", ("held", None, ("common_cause", "no_successor"))),
    "standby in maintenance": ("", 2, maintain(1), "a", ("held", None, ("no_successor",))),
    "maintenance": ("", 2, maintain(0), "a", ("held", "b", ("maintenance",))),
    "observe": ("", 2, observe, "a", ("would", "b", ("observe_mode",))),
    "approve": ("", 2, approve, "a", ("asks", "b", ("needs_approval",))),
    "no fence": ("node.a.fence=none\n", 2, lambda _: None, "a", ("held", "b", ("no_fence",))),
    "standby told": ("", 2, lambda _: None, "b", ("told", None, ())),
    "standby cycled": (CLEAN + "node.b.recovery=cycle\nboard.rung_ms=5000\nnode.b.boot_grace_ms=30000\n", 2,
                       lambda _: None, "b", ("recovery", None, ())),
    "lone": ("", 1, lambda _: None, "a", ("told", None, ("common_cause",))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_plan_comes_true(name: str) -> None:
    text, nodes, prepare, node, (outcome, successor, forbidden) = CASES[name]
    bench = Bench(text, nodes)
    bench.settle()
    for other in range(nodes):
        bench.board.state.grace_ms[other] = 0
    bench.run_until(lambda: all(verdict == codes.VERDICT_GOOD for verdict in bench.board.facts.verdict[:nodes]))
    prepare(bench)
    plan = plan_of(bench, node)
    assert (plan.outcome, plan.forbidden) == (outcome, forbidden)
    assert plan.successor == successor or outcome == "held"
    index = codes.NODES.index(node)
    seen = len(bench.happened)
    bench.nodes[index].freeze()
    bench.run(45000)
    rows = [row for row in bench.happened[seen:] if row[2] == index]
    happened = {row[1] for row in rows}
    assert (events.FENCE_FIRED in happened) == (outcome in ("failover", "recovery"))
    assert (events.APPROVAL_ASKED in happened) == (outcome == "asks")
    assert (events.WOULD_FENCE in happened) == (outcome == "would")
    if outcome == "held":
        names = {reasons.NAMES[row[3]] for row in rows if row[1] == events.HELD}
        assert names & set(forbidden)
    if outcome == "failover":
        granted = [row[2] for row in bench.happened[seen:] if row[1] == events.GRANTED]
        assert granted == [codes.NODES.index(str(successor))]


def test_what_depends_on_then_is_a_condition() -> None:
    bench = Bench("node.a.second_sign=any\n")
    bench.settle()
    plan = plan_of(bench, "a")
    assert len(plan.only_if) == 3
    assert "if its peer does not see it either" in plan.words


def test_a_sense_that_shows_nothing_is_told() -> None:
    bench = Bench()
    bench.settle()
    bench.supplies[0].sense_stuck = False
    bench.run(100)
    assert "nothing would be proven" in plan_of(bench, "a").words
