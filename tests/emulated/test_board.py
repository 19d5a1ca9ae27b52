"""The board as it ships, on the emulated chip: boot, failover, hang, stalls. All times are virtual."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from heartwire.emulated.chip import MS, TIMER, Edge
from heartwire.emulated.flashchip import MAXIMUM
from heartwire.emulated.lines import PioLine
from heartwire_protocol import events
from tests.bodies import guarding
from tests.bodies.bench import DEAD_MS, EARLY_MS, Bench
from tests.emulated import measures, trials
from tests.emulated.conftest import forked
from tests.emulated.rig import EPOCH, Rig
from tests.emulated.rig_bench import RigBench

pytestmark = pytest.mark.emulated
DOCUMENTED_LOW = (*measures.OUTPUTS, "GUARDING")


def test_boot_sets_every_output_first_and_guards_within_a_second(settled: Rig) -> None:
    edges = settled.chip.edges
    first: dict[str, Edge] = {}
    for edge in edges:
        first.setdefault(edge.signal, edge)
    for signal in DOCUMENTED_LOW:
        assert first[signal].level == 0, f"{signal} was not low first"
        assert first[signal].ns < 50 * MS
    guarding_ms = settled.chip.passes[0].ns / MS
    assert guarding_ms <= measures.GUARDING_MAX_MS
    assert not settled.fenced
    assert settled.grants[0][-1][1]["epoch"] == EPOCH


def test_the_firmware_leaves_a_quarter_of_the_heap(settled: Rig) -> None:
    free = forked(lambda: int(settled.ask("status")["free"]))
    assert free >= measures.HEAP_FREE_MIN


def test_the_firmware_starts_with_a_tenth_of_the_heap_taken(board_image: Path) -> None:
    assert forked(lambda: measures.boots_without(board_image, measures.BOOT_MARGIN_MIN))


# How long the loop may stand meanwhile.
STANDS_MS: dict[Callable[[Bench], None], float] = dict.fromkeys(
    (guarding.stalled_host_costs_no_answer, guarding.no_byte_from_the_host_ends_the_guard), measures.STANDS_MAX_MS
)
LONGEST_WRITE_MS = 450


@pytest.mark.parametrize("body", guarding.BODIES, ids=lambda body: body.__name__)
def test_guards(settled: Rig, body: Callable[[Bench], None]) -> None:
    def run() -> float:
        settled.chip.resets.clear()
        since = len(settled.chip.passes)
        body(RigBench(settled))
        return 0.0 if settled.chip.resets else measures.longest_gap_ms(settled, since)

    assert forked(run) < STANDS_MS.get(body, LONGEST_WRITE_MS)


def test_longest_flash_write_loses_no_heartbeat_of_three(board_image: Path) -> None:
    # A UART keeps one whole frame while interrupts are off; here one comes on each line in the longest erase there is.
    found = forked(lambda: measures.write(measures.slow_rig(board_image), MAXIMUM))
    assert found.stood_ms > 400, "nothing was erased, so nothing was tested"
    assert found.came == [1, 1, 1]
    assert found.lost == 0
    assert max(map(abs, found.missing)) <= 1
    assert "new_incarnation" in found.events
    assert not found.wrong


@pytest.fixture(scope="module")
def spare_active(board_image: Path) -> Rig:
    """Three nodes, the spare on the third line is active. Only for `forked`."""
    rig = Rig(board_image, nodes=3, active=2)
    rig.settle()
    return rig


@pytest.mark.parametrize("seed", range(3))
def test_death_on_the_third_line_is_seen_as_on_the_others(spare_active: Rig, seed: int) -> None:
    found = forked(lambda: trials.history(spare_active, "the spare dies", seed, 1))
    assert 0 <= found[0].after_ms <= measures.RELAY_MAX_MS


def test_no_relay_waits_while_room_is_looked_for_in_the_heap(settled: Rig) -> None:
    # What a host that floods leaves there made the search for eight bytes take half a millisecond, in every trial.
    found = forked(lambda: trials.history(settled, "host floods", 1, 2))
    assert all(0 <= trial.after_ms <= measures.RELAY_MEDIAN_MAX_MS for trial in found)


def test_another_death_just_before_delays_no_relay(spare_active: Rig) -> None:
    def body() -> list[float]:
        bench = RigBench(spare_active)
        spare_active.cut.update((0, 2))
        last_ms = max(bench.last_beat_ms(0), bench.last_beat_ms(2)) + EARLY_MS + 40
        bench.beat_at(0, last_ms - 8)
        bench.beat_at(2, last_ms)
        bench.run_for(DEAD_MS + EARLY_MS + 60)
        return [at_ms - spare_active.beats[2][-1] / MS - DEAD_MS for at_ms in bench.cuts_ms(2)]

    late_ms = forked(body)
    assert len(late_ms) == 1
    assert 0 <= late_ms[0] <= measures.RELAY_MAX_MS


@pytest.mark.parametrize("off", [-0.025, 0.02])
def test_third_line_bears_a_clock_that_is_off(spare_active: Rig, off: float) -> None:
    def body() -> tuple[int, int]:
        bench, line = RigBench(spare_active), spare_active.chip.lines[2]
        assert isinstance(line, PioLine)
        line.baud = round(line.baud * (1 + off))
        before, sent = guarding.missing(bench, 2), bench.sent(2)
        bench.run_for(600)
        return guarding.missing(bench, 2) - before, bench.sent(2) - sent

    missing, sent = forked(body)
    assert sent > 4
    assert abs(missing) <= 1


class Dice(random.Random):
    """Dice that always fall the same way: `share` of an interval."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def uniform(self, low: float, high: float) -> float:
        return min(max(self._share, low), high)


def collection(rig: Rig) -> tuple[float, float]:
    """Return when the next collection of garbage begins and ends."""
    found = measures.Collections(rig)
    rig.chip.run_while(lambda: not found.spans(), 6000 * MS)
    return found.spans()[0]


def test_no_heartbeat_comes_in_a_collection(spare_active: Rig) -> None:
    # Three nodes at a bench's interval leave the fewest moments: one, if they beat shortly after each other as here.
    def body() -> tuple[int, int]:
        found = measures.Collections(spare_active)
        spare_active.chip.run_for(1500 * MS)
        return len(found.spans()), found.struck()

    count, struck = forked(body)
    assert count > 2
    assert not struck


@pytest.fixture(scope="module")
def default(board_image: Path) -> Rig:
    """Two nodes with the default settings. Only for `forked`."""
    return measures.default_rig(board_image)


@pytest.mark.parametrize("off", [-0.02, 0.02], ids=["early", "late"])
def test_heartbeat_that_comes_early_or_late_comes_in_no_collection(default: Rig, off: float) -> None:
    def beat_after(at_ms: float) -> tuple[float, int]:
        # A heartbeat counts as garbage too, so the one before is put to its place; the one at `at_ms` is off.
        default.dice = Dice(off)
        default.shift(0, at_ms - (1 + off) * default.interval_ms - default.chip.ns / MS)
        default.chip.run_until((at_ms - 0.9 * default.interval_ms) * MS)
        found = measures.Collections(default)
        default.chip.run_while(lambda: not found.spans(), 3000 * MS)
        default.chip.run_for(100 * MS)
        return found.spans()[0][0] / MS, found.struck()

    # Where it would collect, there a heartbeat comes now, or shortly after it began.
    far_ms = default.chip.ns / MS + 2.9 * default.interval_ms
    collects_ms, struck = forked(lambda: beat_after(far_ms))
    assert collects_ms < far_ms - 60
    assert not struck
    for after_ms in (5, 10, 20, 30):
        assert not forked(partial(beat_after, collects_ms + after_ms))[1], after_ms


def test_host_is_not_served_in_the_pass_that_collects(default: Rig) -> None:
    # The answer is what makes the garbage too much.
    began_ns, _ = forked(lambda: collection(default))

    def body() -> tuple[list[float], int]:
        default.chip.run_until(began_ns - 100 * MS)
        since, count = len(default.chip.passes), default.chip.flash.count
        assert default.ask("status")["mode"] == "auto"
        default.chip.run_for(100 * MS)
        busy_us = [one.busy_ns / 1000 for one in default.chip.passes[since:]]
        return sorted(busy_us), default.chip.flash.count - count

    busy_us, writes = forked(body)
    assert not writes
    assert measures.COLLECTION_MIN_MS * 1000 < busy_us[-1] <= measures.LONGEST_PASS_US
    assert busy_us[-2] > 7_000, "nobody was served"


def test_heartbeat_that_came_in_a_collection_counts_from_its_end_at_the_latest(settled: Rig) -> None:
    # MicroPython collects with interrupts off, so the board cannot know better, and may not cut the power too early.
    # The same board goes the same way until it collects; then a heartbeat comes that it could not expect.
    began_ns, ended_ns = forked(lambda: collection(settled))

    def body() -> tuple[float, list[float]]:
        bench, chip = RigBench(settled), settled.chip
        chip.run_until(began_ns - 5 * MS)
        last_ms = max(bench.last_beat_ms(0) + EARLY_MS + 5, began_ns / MS + 5)
        settled.cut.add(0)
        bench.beat_at(0, last_ms)
        bench.run_for(1.1 * DEAD_MS + 40)
        return last_ms, [at_ms - last_ms - DEAD_MS for at_ms in bench.cuts_ms(0)]

    last_ms, late_ms = forked(body)
    until_end_ms = ended_ns / MS - last_ms
    assert until_end_ms > 4, "it came after the collection"
    assert len(late_ms) == 1
    assert 0 <= late_ms[0] <= until_end_ms + 3


def test_loop_keeps_its_millisecond(settled: Rig) -> None:
    # A look that finds nothing to do is far inside its millisecond; the longest pass collects garbage.
    busy_us, writes = forked(lambda: measures.passes(settled))
    assert not writes
    assert busy_us[len(busy_us) // 20] < measures.QUIET_PASS_US
    assert 20_000 < busy_us[-1] < measures.LONGEST_PASS_US


def test_a_rest_is_as_long_on_every_micropython(settled: Rig) -> None:
    def body() -> int:
        since = len(settled.chip.passes)
        settled.chip.run_for(1000 * MS)
        return len(settled.chip.passes) - since

    # A rest counted in turns of `idle`, which have been half as long since MicroPython 1.26, gives more than 200.
    assert 100 < forked(body) < measures.PASSES_A_SECOND_MAX


def test_hang_is_reset_and_its_fence_held_again(settled: Rig) -> None:
    found = forked(lambda: measures.hang(settled))
    assert found.reasons == [TIMER]
    assert found.restored_ms <= measures.RESTORED_MAX_MS
    assert found.guarding_ms <= measures.GUARDING_MAX_MS
    assert (events.FENCE_RESUMED, 0) in found.rows


def test_same_seed_gives_the_same_edges(board_image: Path) -> None:
    def body() -> list[tuple[float, str, int | None]]:
        rig = Rig(board_image, nodes=0, data={}, seed=7)
        rig.chip.run_for(120 * MS)
        return [(edge.ns, edge.signal, edge.level) for edge in rig.chip.edges]

    one, other = forked(body), forked(body)
    assert one == other
    assert one
