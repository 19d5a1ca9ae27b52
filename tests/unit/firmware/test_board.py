"""The whole board in virtual time: resets, resumed fences, stalls, wraps, and what becomes durable when."""

from __future__ import annotations

from itertools import chain, repeat
from unittest.mock import Mock, PropertyMock

import pytest

from heartwire_firmware import sequencer
from heartwire_protocol import codes, events, operations, reasons
from tests.fakes.bench import POWER, Bench


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.run(4000)
    made.settle()
    made.run(5000)
    return made


def happened(bench: Bench, event: int) -> bool:
    """Tell whether the policy said `event`, durable or not yet; much quicker than reading the journal."""
    return any(row[1] == event for row in bench.happened)


def test_failover_proves_off_before_it_grants(bench: Bench) -> None:
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.nodes[1].running)
    bench.run(500)
    order = [(row["event"], row["node"]) for row in bench.journal()]
    fired, proven = order.index((events.FENCE_FIRED, 0)), order.index((events.OFF_PROVEN, 0))
    granted = order.index((events.GRANTED, 1))
    assert order.index((events.FENCE_PREPARED, 0)) < fired < proven < granted
    assert not bench.powered[0]
    assert bench.board.durable.epoch == 2 and bench.board.durable.holder == 1


def test_grant_leaves_only_after_epoch_and_holder_are_durable(bench: Bench) -> None:
    bench.files.full = True
    bench.nodes[0].crash()
    bench.run(16000)
    assert not bench.nodes[1].running, "granted although nothing could be written"
    assert bench.board.sequencer.status[0] == sequencer.IDLE, "fired although the intent is not durable"
    bench.files.full = False
    bench.run_until(lambda: bench.nodes[1].running)


def test_no_node_is_told_an_epoch_before_it_is_durable(bench: Bench) -> None:
    # A cut in between would take the number back, and it would be given out again.
    bench.nodes[0].crash()
    bench.run_until(lambda: happened(bench, events.FENCE_FIRED))
    bench.files.full = True
    bench.run(6000)
    assert bench.board.state.epoch == 2 and bench.board.durable.epoch == 1
    assert bench.nodes[1].epoch == 1
    assert {grant["epoch"] for grant in bench.nodes[1].grants} == {1}


def test_watchdog_reset_adopts_the_running_holder_without_interruption(bench: Bench) -> None:
    for ms in (0, 1, 137, 500, 999):
        bench.run(ms)
        bench.reset()
        bench.run(5000)
        assert bench.board.state.active == 0 and bench.board.state.epoch == 1
        assert bench.nodes[0].running and not bench.nodes[1].running
        assert [edge for edge in bench.hardware.pins.edges if edge[1].startswith("POWER") and edge[2]] == []


def test_reset_in_the_middle_of_a_fence_resumes_it(bench: Bench) -> None:
    for wait_ms in (1, 100, 400, 1100):
        again = Bench()
        again.run(4000)
        again.settle()
        again.nodes[0].crash()
        again.run_until(lambda: again.hardware.pins.levels["POWER_A"] == 1)  # noqa: B023 - called in this turn only
        again.run(wait_ms)
        again.scratch = again.hardware.chip.scratches
        again.reset()
        assert again.hardware.pins.levels["POWER_A"] == 1, "held again at once"
        again.run_until(lambda: again.nodes[1].running)  # noqa: B023
        assert again.has(events.FENCE_RESUMED, 0) or wait_ms > 1000
        assert again.board.state.epoch == 2


def test_power_loss_in_the_middle_of_a_fence_does_not_resume_it(bench: Bench) -> None:
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.hardware.pins.levels["POWER_A"] == 1)
    bench.power_cut()
    bench.power_on()
    bench.run(100)
    assert bench.hardware.pins.levels["POWER_A"] == 0
    assert not bench.has(events.FENCE_RESUMED)
    assert not bench.nodes[1].running


def test_intent_without_mark_is_judged_again(bench: Bench) -> None:
    bench.nodes[0].crash()
    bench.run_until(lambda: happened(bench, events.FENCE_PREPARED))
    bench.run(100)
    bench.nodes[0].boot()
    bench.reset()
    bench.run(8000)
    assert not bench.has(events.FENCE_FIRED)


def test_three_bad_boots_make_safe_mode(bench: Bench) -> None:
    bench.scratch = {1: 4}
    bench.reset()
    bench.run(5000)
    assert bench.board.state.safe_mode and bench.nodes[0].running
    bench.nodes[0].crash()
    bench.run(15000)
    assert not bench.has(events.FENCE_FIRED) and bench.has(events.HELD, 0, reasons.SAFE_MODE)


def test_boot_counts_as_good_after_a_minute() -> None:
    bench = Bench()
    bench.scratch = {1: 3}
    bench.reset()
    assert not bench.board.state.safe_mode
    bench.run(60100)
    assert bench.hardware.chip.scratch(1) == 0


@pytest.mark.parametrize("start", [0, (1 << 30) - 20000, (1 << 29) - 20000])
def test_ticks_wrap_changes_nothing(start: int) -> None:
    bench = Bench(start=start)
    bench.run(4000)
    bench.settle()
    bench.run(30000)
    assert bench.board.state.active == 0 and not bench.has(events.LATE)
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.nodes[1].running)


def test_day_rolls_over_and_records_say_so(bench: Bench) -> None:
    bench.board.clock.ms = 86400000 - 3000
    bench.run(6000)
    assert bench.board.clock.day == 1 and bench.board.clock.ms < 4000
    assert not bench.has(events.LATE)


@pytest.mark.parametrize("attribute", ["epoch", "age"])
def test_limits_of_small_integers(bench: Bench, attribute: str) -> None:
    if attribute == "epoch":
        bench.board.state.epoch = codes.COUNT_MAX - 2
        bench.board.durable.save(bench.board.state)
        bench.nodes[0].crash()
        bench.run_until(lambda: bench.board.state.active == 1)
        assert bench.board.state.epoch == codes.COUNT_MAX - 1
        bench.run_until(lambda: bench.nodes[0].alive and bench.board.livenesses[0].verdict == codes.VERDICT_GOOD)
        bench.board.request(operations.CLEAR, 0, 0)
        bench.nodes[1].crash()
        bench.run(20000)
        assert bench.board.state.epoch == codes.COUNT_MAX - 1, "the epoch neither wraps nor repeats"
    else:
        bench.nodes[1].crash()
        bench.run(12000)
        for liveness in bench.board.livenesses:
            liveness.age_ms = min(liveness.age_ms + codes.COUNT_MAX - 20000, codes.COUNT_MAX)
        bench.board.livenesses[0].age_ms = 0
        bench.run(30000)
        assert bench.board.livenesses[1].age_ms == codes.COUNT_MAX


def test_stall_with_heartbeats_queued_makes_nobody_late_early_or_altered(bench: Bench) -> None:
    before = [list(intake.drops) for intake in bench.board.intakes]
    for _ in range(5):
        for node in bench.nodes:
            # Two are queued while the loop stands still, a third one follows 50 ms after it went on.
            bench.hardware.lines[node.node].arrive(node.heartbeat() + node.heartbeat())
            node.next_beat_ms = bench.ms + 2450
        bench.step(2400)
        bench.run(1200)
    for index in range(2):
        drops = bench.board.intakes[index].drops
        for kind in (codes.DROP_EARLY, codes.DROP_FROZEN, codes.DROP_REPLAYED, codes.DROP_WRONG_ANSWER):
            assert drops[kind] == before[index][kind], codes.DROPS[kind]
    assert not bench.has(events.DEAD) and bench.nodes[0].running


@pytest.mark.parametrize("stood_ms", [0, 16, 60])
def test_death_counts_from_when_the_last_heartbeat_came_and_not_from_when_it_was_taken(
    bench: Bench, stood_ms: int
) -> None:
    line, ticks = bench.hardware.lines[0], bench.hardware.ticks
    came: list[int] = []
    arrive = line.arrive

    def stands(data: bytes) -> None:
        came.append(ticks.now)
        ticks.now += stood_ms
        bench.ms += stood_ms
        arrive(data)

    line.arrive = stands  # type: ignore[method-assign]
    line.idle = Mock()
    type(line.idle).us = PropertyMock(side_effect=lambda: came[-1] * 1000 % ticks.PERIOD)
    line.idle.rearm.return_value = 0
    bench.run_until(lambda: bool(came))
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.hardware.pins.levels[POWER[0]] == 1)
    assert ticks.now - came[-1] == bench.board.config.current.board.dead_ms


def test_an_interrupt_that_a_line_has_lost_is_told(bench: Bench) -> None:
    bench.run(1000)
    bench.hardware.lines[1].idle.rearm = Mock(side_effect=chain([2], repeat(0)))  # type: ignore[method-assign]
    bench.run(4000)
    found = [row for row in bench.journal() if row["event"] == events.INTERRUPT_LOST]
    assert [(row["node"], row["a"]) for row in found] == [(1, 2)]


def just_near(bench: Bench) -> None:
    """Let node a be silent until the pass before its deadline is near, as on a chip whose passes take time."""
    board = bench.board
    board.pace.lead_ms = 30
    bench.nodes[0].crash()
    last_ms = board.config.current.board.dead_ms - 62
    bench.run_until(lambda: board.livenesses[0].age_ms >= last_ms - 20)
    while board.livenesses[0].age_ms <= last_ms:
        board.facts.changed = True
        bench.step()
    assert board.livenesses[0].age_ms == last_ms + 1, "no pass just before it is near"


def test_after_a_long_pass_nothing_long_is_begun_before_a_deadline(bench: Bench) -> None:
    just_near(bench)
    answered, beats = len(bench.nodes[1].grants), bench.board.intakes[1].beats
    bench.nodes[1].next_beat_ms = bench.ms + 5
    bench.step(25)
    assert bench.board.clock.stalled
    assert bench.board.intakes[1].waiting, "nothing to take"
    assert (len(bench.nodes[1].grants), bench.board.intakes[1].beats) == (answered, beats)


def asked_while_near(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the silence of node a at each question to the policy."""
    board = bench.board
    asked: list[int] = []
    step = board.policy.step

    def noted(elapsed_ms: int) -> None:
        asked.append(board.livenesses[0].age_ms)
        step(elapsed_ms)

    monkeypatch.setattr(board.policy, "step", noted)
    # No time passes here while it looks.
    monkeypatch.setattr(board._last_look, "confirms", lambda out, verdicts: True)
    return asked


def test_near_a_deadline_the_policy_is_asked_for_that_death_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    just_near(bench)
    board = bench.board
    asked = asked_while_near(bench, monkeypatch)
    settings = board.config.current.board
    bench.nodes[1].crash()
    # It becomes late, which is told at once at any other time, when half of the wait is over.
    board.livenesses[1].age_ms = settings.late_ms - 30
    bench.run_until(lambda: board.facts.verdict[0] == codes.VERDICT_DEAD)
    assert board.facts.verdict[1] == board.livenesses[1].verdict == codes.VERDICT_LATE
    assert [age_ms for age_ms in asked if age_ms > settings.dead_ms - 60] == [settings.dead_ms]


@pytest.mark.parametrize("heard", [False, True])
def test_another_death_just_before_the_active_nodes_is_decided_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    just_near(bench)
    board = bench.board
    asked = asked_while_near(bench, monkeypatch)
    dead_ms = board.config.current.board.dead_ms
    board.livenesses[1].age_ms, board.livenesses[1].verdict = dead_ms - 55, codes.VERDICT_LATE
    bench.nodes[1].next_beat_ms = bench.ms + 30 if heard else bench.ms + 10 * dead_ms
    bench.run(58)
    board.facts.changed = True  # a pass between the two deadlines
    bench.run_until(lambda: board.facts.verdict[0] == codes.VERDICT_DEAD)
    assert [age_ms for age_ms in asked if age_ms > dead_ms - 60] == [dead_ms]
    assert board.facts.verdict[1] == (codes.VERDICT_GOOD if heard else codes.VERDICT_DEAD)


def test_a_death_just_after_the_active_nodes_waits_for_its_own_deadline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    just_near(bench)
    board = bench.board
    asked_while_near(bench, monkeypatch)
    board.livenesses[1].age_ms, board.livenesses[1].verdict = board.livenesses[0].age_ms - 20, codes.VERDICT_LATE
    bench.nodes[1].crash()
    bench.run_until(lambda: board.facts.verdict[0] == codes.VERDICT_DEAD)
    assert board.facts.verdict[1] == codes.VERDICT_LATE


def test_after_a_flash_write_all_is_taken_before_anybody_is_judged_even_near_a_deadline(bench: Bench) -> None:
    just_near(bench)
    beats = bench.board.intakes[1].beats
    bench.hardware.lines[1].arrive(bench.nodes[1].heartbeat())
    bench.hardware.ticks.now += 60
    bench.board.clock.tick()
    bench.board.lines.take(True)
    assert bench.board.intakes[1].beats == beats + 1


def test_watchdog_is_fed_once_a_pass(bench: Bench) -> None:
    fed = bench.hardware.chip.fed
    bench.run(100)
    assert bench.hardware.chip.fed == fed + 100


def test_hold_max_lets_the_relay_go_after_a_failed_proof() -> None:
    bench = Bench("board.hold_max_s=20\n")
    bench.run(4000)
    bench.settle()
    bench.run(3000)
    bench.supplies[0].welded = True
    bench.nodes[0].crash()
    bench.run_until(lambda: happened(bench, events.OFF_FAILED))
    bench.run(100)
    assert bench.has(events.OFF_FAILED, 0, reasons.STILL_ON)
    assert bench.hardware.pins.levels["POWER_A"] == 1
    bench.run(21000)
    assert bench.hardware.pins.levels["POWER_A"] == 0
    assert not bench.nodes[1].running and bench.board.state.active == codes.NO_NODE


def test_arm_toggles_only_while_a_relay_is_cut(bench: Bench) -> None:
    bench.run(100)
    assert [edge for edge in bench.hardware.pins.edges if edge[1] == "ARM"] == []
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.hardware.pins.levels["POWER_A"] == 1)
    at = len(bench.hardware.pins.edges)
    bench.run(50)
    assert len([edge for edge in bench.hardware.pins.edges[at:] if edge[1] == "ARM"]) == 50
    bench.run_until(lambda: bench.hardware.pins.levels["POWER_A"] == 0)
    bench.run(2)
    assert bench.hardware.pins.levels["ARM"] == 0


def test_boot_py_has_the_levels_of_the_pin_list() -> None:
    import re
    from pathlib import Path

    from heartwire_firmware import board

    text = (Path(__file__).parents[3] / "firmware" / "boot.py").read_text()
    pairs = [(int(gpio), int(level)) for gpio, level in re.findall(r"\((\d+), ([01])\)", text)]
    wanted = [(row[1], row[4]) for row in board.PINS if row[4] is not None]
    assert sorted(pairs) == sorted(wanted)
    gpio = {row[0]: row[1] for row in board.PINS}
    assert f"POWER = ({gpio['POWER_A']}, {gpio['POWER_B']}, {gpio['POWER_SPARE']})" in text
    assert f"ARM = {gpio['ARM']}\n" in text
    assert f"MARK_MAGIC = 0x{sequencer.MARK_MAGIC:08X}" in text
