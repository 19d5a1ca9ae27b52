"""What a change of settings may do to a running rack: nothing, until it is confirmed, and then nothing sudden."""

from __future__ import annotations

import pytest

from heartwire_firmware import trial
from heartwire_protocol import codes, events, reasons
from tests.fakes.bench import KEYS, Bench
from tests.unit.firmware.changes import (
    FENCES,
    NEW_KEY,
    OLD_KEY,
    apply,
    changed,
    confirm,
    counted,
    give_key,
    rig,
)

# A change of what node a and the board must agree in; the fake line has no baud rate, so that one is silence.
KEY = ("", (OLD_KEY, NEW_KEY.hex()))
PROFILE = ("node.a.profile=text\n", None)
EARLY = ("board.early_ms=1500\nboard.interval_ms=3000\nboard.late_ms=6000\nboard.dead_ms=15000\n", None)
INTERVAL = (
    "board.bench=1\nboard.interval_ms=200\nboard.early_ms=50\nboard.late_ms=400\nboard.common_cause_ms=250\n"
    "board.dead_ms=900\n",
    None,
)
CHANGES = {"key": KEY, "profile": PROFILE, "early_ms": EARLY, "interval_ms": INTERVAL}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_a_healthy_node_does_not_follow_cuts_nobody_and_is_not_kept(name: str) -> None:
    bench = rig()
    since = bench.ms
    before = bench.board.config.current.text()
    assert "generation" in apply(bench, changed(bench, *CHANGES[name]))
    bench.run(50000)
    answer = confirm(bench)
    assert (answer["error"], answer["reason"]) == ("refused", "not_good_again"), answer
    assert bench.ask(op="settings", offset=0)["waits"] == answer["node"]
    bench.run(40000)
    assert bench.board.config.current.text() == before
    assert counted(bench, since, *FENCES) == []
    assert bench.board.state.active == 0 and bench.nodes[0].serving
    assert not bench.board.state.quarantined[0]


def test_a_change_of_the_baud_rate_that_silences_a_node_cuts_nobody() -> None:
    bench = rig()
    since = bench.ms
    apply(bench, changed(bench, "node.a.baud=9600\n"))
    bench.cut.add(0)
    bench.run(58000)
    assert confirm(bench)["reason"] == "not_good_again"
    bench.run(3000)
    bench.cut.discard(0)
    bench.run(20000)
    assert counted(bench, since, *FENCES) == [] and bench.board.state.active == 0
    assert (events.HELD, 0, reasons.ON_TRIAL) in counted(bench, since, events.HELD)


@pytest.mark.parametrize(("text", "kept"), [("board.name=x\n", True), ("node.a.baud=9600\n", True)])
def test_a_change_that_every_node_follows_is_kept(text: str, kept: bool) -> None:
    bench = rig()
    apply(bench, changed(bench, text))
    bench.run(4000)
    assert confirm(bench)["ok"] == 1
    bench.run(61000)
    assert text.strip() in bench.board.config.current.text()


def test_a_change_that_concerns_no_line_is_kept_at_once() -> None:
    bench = rig()
    apply(bench, changed(bench, "board.dead_ms=20000\nboard.off_ms=15000\n"))
    assert confirm(bench)["ok"] == 1


def test_a_node_that_dies_on_trial_keeps_the_settings_from_being_kept() -> None:
    bench = rig()
    apply(bench, changed(bench, "board.name=x\n"))
    bench.nodes[1].crash()
    bench.run(15000)
    assert confirm(bench) == {"error": "refused", "reason": "not_good_again", "node": "b"}


@pytest.mark.parametrize("who", ["node", "board"])
def test_nobody_waits_for_a_node_in_maintenance(who: str) -> None:
    bench = rig()
    assert bench.ask(op="maintenance", node="a" if who == "node" else None, seconds=600) == {"ok": 1}
    apply(bench, changed(bench, *KEY))
    bench.run(5000)
    assert confirm(bench)["ok"] == 1


def test_nothing_automatic_happens_on_trial_and_all_that_is_due_after_it() -> None:
    bench = rig()
    since = bench.ms
    apply(bench, changed(bench, "board.name=x\n"))
    bench.run(1000)
    bench.nodes[0].crash()
    bench.run(50000)
    assert counted(bench, since, *FENCES) == []
    assert bench.board.state.held == reasons.ON_TRIAL
    bench.run_until(lambda: bench.board.state.active == 1, 20000)
    assert counted(bench, since, events.FENCE_FIRED) == [(events.FENCE_FIRED, 0, reasons.DEAD)]


def test_no_failback_on_trial() -> None:
    bench = rig("board.stable_s=10\n")
    assert bench.ask(op="switchover", node="b") == {"ok": 1}
    bench.run(20000)
    assert bench.board.state.active == 1
    apply(bench, changed(bench, "board.failback=auto\n"))
    bench.run(50000)
    assert bench.board.state.active == 1
    assert confirm(bench)["ok"] == 1
    bench.run(20000)
    assert bench.board.state.active == 0


def test_a_node_with_another_key_after_the_trial_is_left_alone_and_told() -> None:
    # Its agent has the new key already when the trial ends: silent for the board, and serving.
    bench = rig()
    since = bench.ms
    apply(bench, changed(bench, *KEY))
    bench.run(1000)
    bench.board.config.revert()
    bench.board.trial.changed(trial.REVERTED)
    give_key(bench.nodes[0], NEW_KEY)
    bench.run(600000)
    assert counted(bench, since, *FENCES) == []
    assert (events.HELD, 0, reasons.UNPROVEN_LINE) in counted(bench, since, events.HELD)
    assert bench.nodes[0].serving


def test_a_server_that_died_on_trial_is_replaced_once_its_line_has_carried_nothing_for_dead_ms() -> None:
    bench = rig()
    apply(bench, changed(bench, *KEY))
    bench.run(1000)
    bench.nodes[0].crash()
    bench.run(61000)
    assert bench.board.config.trial_ms == 0 and bench.board.state.active == 0
    assert bench.run_until(lambda: bench.board.state.active == 1, 15000) > 8000


def test_a_change_is_proven_only_by_good_heartbeats_in_a_row() -> None:
    bench = rig()
    apply(bench, changed(bench, "node.a.baud=9600\n"))
    assert bench.board.facts.unproven == [True, False, False]
    bench.run(1500)
    assert confirm(bench)["reason"] == "not_good_again"
    bench.run(2000)
    assert bench.board.facts.unproven == [False, False, False]


@pytest.mark.parametrize("lease_ms", [3000, 8000])
def test_an_active_stop_node_keeps_its_services_through_a_trial_that_silences_it(lease_ms: int) -> None:
    bench = rig(f"board.lease_ms={lease_ms}\nnode.a.on_board_loss=stop\nnode.b.on_board_loss=stop\n")
    since = bench.ms
    stops: list[int] = []
    bench.each_ms.append(lambda: None if bench.nodes[0].serving else stops.append(bench.ms))
    apply(bench, changed(bench, *KEY))
    bench.run(30000)
    assert stops == []
    assert counted(bench, since, events.SETTINGS_REVERTED) == [(events.SETTINGS_REVERTED, 3, reasons.NOT_GOOD_AGAIN)]
    assert counted(bench, since, *FENCES) == [] and bench.board.state.active == 0


def test_a_trial_does_not_end_in_the_middle_of_a_fence() -> None:
    bench = rig("board.hold_max_s=100\n")
    apply(bench, changed(bench, "board.name=x\n"))
    bench.supplies[1].welded = True
    assert bench.ask(op="fence", node="b", by=3) == {"ok": 1}
    bench.run(70000)
    assert bench.board.config.trial_ms
    assert bench.ask(op="settings_revert")["reason"] == "other_operation"
    assert bench.ask(op="release", node="b") == {"ok": 1}
    bench.run(1000)
    assert not bench.board.config.trial_ms and bench.board.config.current.board.name == "heartwire"


def test_a_second_trial_that_mends_the_first_is_kept_and_still_owes_what_the_first_owed() -> None:
    bench = rig()
    apply(bench, changed(bench, *KEY))
    bench.run(20000)
    assert bench.board.livenesses[0].verdict == codes.VERDICT_DEAD
    apply(bench, changed(bench, "board.name=x\n"))
    assert confirm(bench)["reason"] == "not_good_again"
    apply(bench, changed(bench, "board.name=x\n", (NEW_KEY.hex(), OLD_KEY)))
    bench.run(5000)
    assert confirm(bench)["ok"] == 1
    assert bench.board.config.current.board.name == "x"


def test_setting_up_a_line_anew_loses_what_it_has_received_so_it_is_done_only_for_a_new_baud_rate() -> None:
    bench = rig()
    set_up: list[tuple[int, int]] = []
    for node, line in enumerate(bench.hardware.lines):
        line.set_baud = lambda baud, node=node: set_up.append((node, baud))  # type: ignore[method-assign,misc]
    apply(bench, changed(bench, "board.name=x\n"))
    assert set_up == []
    apply(bench, changed(bench, "board.name=x\nnode.b.baud=9600\n"))
    assert set_up == [(1, 9600)]


def test_a_node_that_is_enabled_again_begins_anew() -> None:
    bench = rig()
    apply(bench, changed(bench, "node.b.enabled=0\n"))
    assert confirm(bench)["ok"] == 1
    bench.nodes[1].crash()
    bench.run(60000)
    apply(bench, changed(bench, "node.b.enabled=1\n"))
    assert confirm(bench)["ok"] == 1
    bench.run(2000)
    assert bench.board.facts.verdict[1] == codes.VERDICT_UNHEARD


def test_keys_of_the_bench_are_what_the_changes_replace() -> None:
    assert KEYS[0].hex() == OLD_KEY and isinstance(rig(), Bench)
