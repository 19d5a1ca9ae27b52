"""Settings cannot take the guard from a server that needs it: what is refused, with path and reason; what stays."""

from __future__ import annotations

import pytest

from heartwire_firmware import wiring
from heartwire_protocol import codes, events, reasons, settings
from tests.fakes.bench import Bench
from tests.unit.firmware.changes import OLD_KEY, apply, changed, confirm, rig

# For a rig of default settings: each is one re-wiring that the rules between settings allow.
REWIRED = (
    "node.a.enabled=0\n",
    "node.a.name=other\n",
    "node.a.fence=none\n",
    "node.a.front=reset\n",
    "node.a.senses=2\n",
    "node.a.on_board_loss=stop\nnode.a.off_proof=assumed\nnode.a.assumed_off_ms=80000\n",
    "node.a.standby=cold\nnode.a.front=power\n",
    "board.transfer=1\n",
)
HARMLESS = (
    "board.name=x\n",
    "board.dead_ms=20000\n",
    "board.preferred=b\n",
    "node.a.boot_grace_ms=60000\n",
    "node.a.busy_max_s=60\n",
    "node.a.key_next=" + "77" * 32 + "\n",
    "node.b.fence=none\n",
    "node.b.enabled=0\n",
    "node.b.name=other\n",
    "node.spare.enabled=1\n",
)


@pytest.mark.parametrize("mode", [codes.MODE_AUTO, codes.MODE_APPROVE, codes.MODE_FENCER])
@pytest.mark.parametrize("lines", REWIRED)
def test_what_is_active_keeps_its_wiring(lines: str, mode: int) -> None:
    bench = Bench()
    bench.run(4000)
    bench.nodes[0].running, bench.nodes[0].stopped = mode == codes.MODE_FENCER, mode != codes.MODE_FENCER
    bench.run(2000)
    bench.arm(mode)
    bench.run(8000)
    assert bench.board.state.active == 0
    before = bench.board.config.current.text()
    answer = apply(bench, changed(bench, lines))
    assert (answer["error"], answer["reason"], answer["standing"]) == ("refused", "in_use", "active"), answer
    assert answer["node"] == "a" and answer["path"] in lines
    assert bench.board.config.current.text() == before and bench.board.config.generation == 1
    bench.run(10)
    assert bench.happened[-1][1:5] == (events.REFUSED, 0, reasons.IN_USE, 7)


@pytest.mark.parametrize("lines", HARMLESS)
def test_what_is_harmless_stays_possible(lines: str) -> None:
    bench = rig()
    assert "generation" in apply(bench, changed(bench, lines))
    bench.run(4000)
    assert confirm(bench)["ok"] == 1
    bench.run(65000)
    assert bench.board.state.active == 0 and bench.board.state.mode == codes.MODE_AUTO


@pytest.mark.parametrize("lines", REWIRED[1:])
def test_observe_mode_is_for_wiring(lines: str) -> None:
    bench = rig()
    bench.arm(codes.MODE_OBSERVE)
    bench.run(2000)
    assert bench.board.state.active == 0
    assert "generation" in apply(bench, changed(bench, lines))


def test_what_runs_or_holds_the_role_is_not_taken_out_in_observe_mode_either() -> None:
    bench = rig()
    bench.arm(codes.MODE_OBSERVE)
    bench.run(2000)
    assert apply(bench, changed(bench, "node.a.enabled=0\n"))["standing"] == "holder"
    fresh = Bench()
    fresh.nodes[0].running, fresh.nodes[0].stopped = True, False
    fresh.run(5000)
    assert apply(fresh, changed(fresh, "node.a.enabled=0\n"))["standing"] == "running"
    fresh.nodes[0].running, fresh.nodes[0].stopped = False, True
    fresh.run(2000)
    assert "generation" in apply(fresh, changed(fresh, "node.a.enabled=0\n"))
    assert fresh.board.state.active == codes.NO_NODE, "a node that does not exist is active"


def test_a_standby_that_runs_is_not_taken_out() -> None:
    bench = rig()
    bench.nodes[1].running, bench.nodes[1].stopped, bench.nodes[1].obedient = True, False, False
    bench.run(3000)
    assert apply(bench, changed(bench, "node.b.enabled=0\n"))["standing"] == "running"


@pytest.mark.parametrize(
    "lines", ["node.b.baud=9600\n", "node.b.busy_max_s=1\n", "board.dead_ms=300000\n", "board.common_cause_ms=5000\n"]
)
def test_nothing_puts_off_the_death_of_a_late_node(lines: str) -> None:
    bench = rig()
    bench.nodes[1].crash()
    bench.run_until(lambda: bench.board.livenesses[1].verdict == codes.VERDICT_LATE)
    answer = apply(bench, changed(bench, lines))
    assert (answer["standing"], answer["node"]) == ("late", "b"), answer
    bench.run(10000)
    assert "generation" in apply(bench, changed(bench, lines)), "a dead standby may be set up anew"


@pytest.mark.parametrize("lines", ["node.b.enabled=0\n", "node.b.name=x\n", "node.b.key=\n", "board.off_ms=5000\n"])
def test_what_is_cut_keeps_its_settings_until_it_has_its_power_back(lines: str) -> None:
    bench = rig("board.off_ms=60000\n")
    assert bench.ask(op="fence", node="b", by=3) == {"ok": 1}
    bench.run(20000)
    assert bench.board.relays.commanded[1]
    swap = ("node.b.key=" + "42" * 32 + "\n", "") if "key" in lines else None
    answer = apply(bench, changed(bench, "" if swap else lines, swap))
    assert (answer["standing"], answer["node"]) == ("fenced", "b"), answer
    assert "generation" in apply(bench, changed(bench, "node.a.boot_grace_ms=60000\n"))
    bench.run(61000)
    bench.ask(op="release", node="b")
    bench.run(1000)
    assert "generation" in apply(bench, changed(bench, "" if swap else lines, swap))


def test_a_fence_that_is_asked_for_is_under_way_before_it_moves_anything() -> None:
    state, facts = rig().board.state, rig().board.facts
    state.phase, state.target, state.successor = 1, 1, 0
    assert [wiring.standing(state, facts, [0, 0, 0], node) for node in range(3)] == ["under_way", "under_way", ""]


def test_a_relay_under_test_keeps_its_node() -> None:
    bench = rig()
    bench.board.facts.proof = 1
    now = bench.board.config.current
    new = settings.parse(changed(bench, "node.b.senses=2\n"))[0]
    assert wiring.refusal(now, new, bench.board.state, bench.board.facts, [0, 0, 0]) == ("node.b.senses", 1, "tested")


def test_a_node_that_is_taken_out_stays_quarantined_and_locked_for_its_return() -> None:
    bench = rig("board.off_ms=2000\nboard.max_actions=1\n")
    assert bench.ask(op="fence", node="b", by=3) == {"ok": 1}
    bench.run(20000)
    assert bench.board.state.quarantined[1] and not bench.board.relays.commanded[1]
    bench.board.state.locked[1] = 1
    bench.board.durable.waiting = True
    bench.run(3000)
    apply(bench, changed(bench, "node.b.enabled=0\n"))
    assert confirm(bench)["ok"] == 1
    bench.run(5000)
    bench.reset()
    bench.run(5000)
    apply(bench, changed(bench, "node.b.enabled=1\n"))
    bench.run(8000)
    assert confirm(bench)["ok"] == 1
    assert bench.board.state.quarantined[1] and bench.board.state.locked[1]
    assert bench.ask(op="node", node="b")["role"] == "quarantined"


def test_a_feed_that_is_sensed_from_now_on_must_be_seen_on_before_its_going_off_proves_anything() -> None:
    bench = rig()
    assert bench.board.state.sense_seen[1]
    apply(bench, changed(bench, "node.b.senses=2\n"))
    assert not bench.board.state.sense_seen[1]


def test_shorter_times_of_a_lease_that_is_out_are_refused_and_longer_ones_are_not() -> None:
    lease = "node.a.on_board_loss=stop\nnode.a.off_proof=assumed\nnode.a.assumed_off_ms=80000\n"
    bench = rig(lease)
    assert apply(bench, changed(bench, "node.a.self_fence_ms=10000\n"))["path"] == "node.a.self_fence_ms"
    assert apply(bench, changed(bench, "node.a.assumed_off_ms=70000\n"))["path"] == "node.a.assumed_off_ms"
    assert "generation" in apply(bench, changed(bench, "node.a.assumed_off_ms=90000\n"))


def test_every_setting_that_guards_exists() -> None:
    node = {row[0] for row in settings.NODE}
    board = {row[0] for row in settings.BOARD}
    assert set(wiring.GUARD) | set(wiring.SHORTER) <= node
    assert set(wiring.FENCE_TIMES) | set(wiring.DEAD_TIMES) <= board
    assert OLD_KEY not in str(rig().ask(op="settings", offset=0))
