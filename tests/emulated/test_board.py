"""The board as it ships, on the emulated chip: boot, failover, hang, stalls. All times are virtual."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire.emulated.chip import MS, TIMER
from heartwire.emulated.flashchip import MAXIMUM, Operation
from heartwire.simulate.rack import POWER
from heartwire_protocol import events
from tests.bodies import guarding
from tests.bodies.bench import EARLY_MS, INTERVAL_MS, Bench, quick_settings
from tests.emulated.conftest import forked
from tests.emulated.rig import EPOCH, Rig, stored
from tests.emulated.rig_bench import RigBench

pytestmark = pytest.mark.emulated
# The rest of the pins are inputs, serial lines, or the board's own LED.
DOCUMENTED_LOW = (*POWER, "ARM", "FRONT_A", "FRONT_B", "FRONT_SPARE", "TRANSFER_SET_A", "TRANSFER_SET_B", "GUARDING")
# From power-on, or from a reset, until the first heartbeat can be answered.
BOOT_LIMIT_MS = 1000
RESTORE_LIMIT_MS = 100
HEAP_FREE_MIN = 56_000  # of the 226 KB that MicroPython 1.24 gives


def test_boot_sets_every_output_first_and_guards_within_a_second(settled: Rig) -> None:
    edges = settled.chip.edges
    first = {}
    for edge in edges:
        first.setdefault(edge.signal, edge)
    for signal in DOCUMENTED_LOW:
        assert first[signal].level == 0, f"{signal} was not low first"
        assert first[signal].ns < 50 * MS
    guarding_ms = settled.chip.passes[0].ns / MS
    assert guarding_ms <= BOOT_LIMIT_MS
    assert not settled.fenced
    assert settled.grants[0][-1][1]["epoch"] == EPOCH


def test_the_firmware_leaves_a_quarter_of_the_heap(settled: Rig) -> None:
    free = forked(lambda: int(settled.ask("status")["free"]))
    assert free >= HEAP_FREE_MIN


def longest_gap_ms(rig: Rig, since: int) -> float:
    """Return the longest time between two passes of the loop, from pass number `since` on."""
    return max(late.ns - early.ns for early, late in itertools.pairwise(rig.chip.passes[since:])) / MS


# How long the loop may stand meanwhile: the longest flash operation; a blocked write to the host would take 500 ms.
STANDS_MS = {guarding.stalled_host_costs_no_answer: 60, guarding.no_byte_from_the_host_ends_the_guard: 60}
LONGEST_WRITE_MS = 450


@pytest.mark.parametrize("body", guarding.BODIES, ids=lambda body: body.__name__)
def test_guards(settled: Rig, body: Callable[[Bench], None]) -> None:
    def run() -> float:
        settled.chip.resets.clear()
        since = len(settled.chip.passes)
        body(RigBench(settled))
        return 0.0 if settled.chip.resets else longest_gap_ms(settled, since)

    assert forked(run) < STANDS_MS.get(body, LONGEST_WRITE_MS)


def test_longest_flash_write_loses_no_heartbeat_of_three(board_image: Path) -> None:
    # A UART keeps one whole frame while interrupts are off; here one comes on each line in the longest erase there is.
    def run() -> tuple[int, list[int], float, list[int], set[str]]:
        times = 5
        rig = Rig(board_image, nodes=3, data=stored(quick_settings(3, times)), interval_ms=times * INTERVAL_MS)
        rig.settle(20_000)
        bench, chip = RigBench(rig), rig.chip
        chip.flash.times = MAXIMUM
        lost, newest = sum(line.lost for line in chip.lines), bench.newest()
        missing = [guarding.missing(bench, node) for node in range(3)]
        since = len(chip.passes)
        began_ns: list[float] = []

        def begun(operation: Operation) -> None:
            if operation.kind == "erase" and not began_ns:
                began_ns.append(chip.ns)
                for node in range(3):
                    since_ms = (chip.ns - rig.beats[node][-1]) / MS
                    rig.shift(node, max(60 + 100 * node, times * EARLY_MS + 30 - since_ms))

        chip.flash.on_operation = begun
        bench.restart_agent(bench.standby)
        chip.run_while(lambda: bench.newest() == newest, 8000 * MS, 100 * MS)
        bench.run_for(2 * rig.interval_ms)
        missing = [guarding.missing(bench, node) - before for node, before in enumerate(missing)]
        ended_ns = next(one.ns for one in chip.passes[since:] if one.ns > began_ns[0])
        waited = [sum(began_ns[0] < ns < ended_ns for ns in beats) for beats in rig.beats]
        found = {event for event, _ in bench.rows(newest)}
        return sum(line.lost for line in chip.lines) - lost, missing, (ended_ns - began_ns[0]) / MS, waited, found

    lost, missing, stood_ms, waited, found = forked(run)
    assert stood_ms > 400, "nothing was erased, so nothing was tested"
    assert waited == [1, 1, 1]
    assert lost == 0
    assert max(map(abs, missing)) <= 1
    assert "new_incarnation" in found
    assert not {"late", "altered", "half_line"} & found


def test_loop_keeps_its_millisecond(settled: Rig) -> None:
    # A look that finds nothing to do is far inside its millisecond, and nothing but a collection takes over 20 ms.
    busy_us = sorted(one.busy_ns / 1000 for one in settled.chip.passes[1:])
    assert busy_us[len(busy_us) // 20] < 600
    assert busy_us[-1] < 32_000


def test_hang_is_reset_and_its_fence_held_again(settled: Rig) -> None:
    def body() -> tuple[list[int], float, float, list[tuple[int, int]], bool]:
        rig = settled
        chip = rig.chip
        rig.cut.add(0)
        rig.chip.run_while(lambda: not rig.fenced, 1500 * MS)
        # The processor stops where it is: it never feeds again.
        chip.mcu.core.pc, stuck = _endless_loop(rig), chip.ns
        chip.run_while(lambda: not chip.resets, 2500 * MS)
        reset_ns = chip.resets[0].ns
        chip.run_while(lambda: chip.output("POWER_A") != 1, 300 * MS)
        held_ms = (chip.ns - reset_ns) / MS
        before = len(chip.passes)
        chip.run_while(lambda: len(chip.passes) == before, 2000 * MS)
        guarding_ms = (chip.ns - reset_ns) / MS
        chip.run_for(600 * MS)
        rows = [(row["event"], row["node"]) for row in rig.journal()]
        return [reset.reason for reset in chip.resets], held_ms, guarding_ms, rows, stuck < reset_ns

    reasons, held_ms, guarding_ms, rows, stuck = forked(body)
    assert stuck
    assert reasons == [TIMER]
    assert held_ms <= RESTORE_LIMIT_MS
    assert guarding_ms <= BOOT_LIMIT_MS
    assert (events.FENCE_RESUMED, 0) in rows


def _endless_loop(rig: Rig) -> int:
    """Put `b .` into an unused corner of RAM and return its address; interrupts are off from there on."""
    address = 0x20041FF0
    rig.chip.mcu.write_uint16(address, 0xE7FE)
    rig.chip.mcu.core.pm = True
    return address


def test_same_seed_gives_the_same_edges(board_image: Path) -> None:
    def body() -> list[tuple[float, str, int | None]]:
        rig = Rig(board_image, nodes=0, data={}, seed=7)
        rig.chip.run_for(120 * MS)
        return [(edge.ns, edge.signal, edge.level) for edge in rig.chip.edges]

    one, other = forked(body), forked(body)
    assert one == other
    assert one
