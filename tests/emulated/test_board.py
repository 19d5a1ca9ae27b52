"""The board as it ships, on the emulated chip: boot, failover, hang, stalls. All times are virtual."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from heartwire.emulated.chip import MS, TIMER
from heartwire.emulated.flashchip import MAXIMUM
from heartwire.simulate.rack import POWER
from heartwire_protocol import events, framing, messages
from tests.emulated.conftest import forked
from tests.emulated.rig import DEAD_MS, EPOCH, Rig, fence_edges

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


@pytest.mark.parametrize("before_ms", [15, 9, 4, 1])
def test_a_heartbeat_just_before_the_deadline_saves_the_node(settled: Rig, before_ms: int) -> None:
    # The death is decided up to 30 ms ahead; a frame that is whole before the deadline undoes that.
    def body() -> tuple[list[float], bool, list[int]]:
        rig = settled
        rig.cut.add(0)
        rig.chip.run_for(120 * MS)
        deadline = rig.beats[0][-1] + DEAD_MS * MS
        line = rig.chip.lines[0]
        rig.chip.at(deadline - before_ms * MS - 32 * line.char_ns, lambda: rig.beat_now(0))
        rig.chip.run_until(deadline + 60 * MS)
        rig.cut.clear()
        rig.chip.run_for(300 * MS)
        kinds = [row["event"] for row in rig.journal()]
        return fence_edges(rig, 0), rig.nodes[0].running, kinds

    edges, running, kinds = forked(body)
    assert not edges, "a server that was heard in time lost its power"
    assert running
    assert events.FENCE_FIRED not in kinds


def test_noise_of_a_dying_server_neither_saves_it_nor_holds_the_loop(settled: Rig) -> None:
    # The deadline counts from the last good heartbeat, whatever bytes came since.
    def body() -> tuple[list[float], float, int]:
        rig = settled
        rig.cut.add(0)
        rig.chip.run_for(120 * MS)
        last_ns = rig.beats[0][-1]
        deadline = last_ns + DEAD_MS * MS
        for after_ms in (150, 300, 450, 600):
            rig.chip.at(last_ns + after_ms * MS, lambda: rig.chip.lines[0].send(b"\x5a\x00\xff\x13"))
        first, grants = len(rig.chip.passes), len(rig.grants[1])
        rig.chip.run_until(deadline + 250 * MS)
        times = [one.ns for one in rig.chip.passes[first:]]
        longest_ms = max(late - early for early, late in itertools.pairwise(times)) / MS
        return [(ns - deadline) / MS for ns in fence_edges(rig, 0)], longest_ms, len(rig.grants[1]) - grants

    late_ms, longest_ms, answered = forked(body)
    assert len(late_ms) == 1
    assert 0 <= late_ms[0] <= 3
    assert longest_ms < 450, "longer than the longest flash operation"
    assert answered >= 9


def test_loop_keeps_its_millisecond(settled: Rig) -> None:
    # A look that finds nothing to do is far inside its millisecond, and nothing but a collection takes over 20 ms.
    busy_us = sorted(one.busy_ns / 1000 for one in settled.chip.passes[1:])
    assert busy_us[len(busy_us) // 20] < 600
    assert busy_us[-1] < 32_000


def test_dead_node_is_fenced_at_its_deadline_and_the_other_granted(settled: Rig) -> None:
    def body() -> tuple[list[float], list[tuple[str, int]], bool, bool, int]:
        rig = settled
        rig.cut.add(0)
        rig.chip.run_for(120 * MS)
        deadline = rig.beats[0][-1] + DEAD_MS * MS
        rig.chip.run_until(deadline + 20 * MS)
        late_ms = [(ns - deadline) / MS for ns in fence_edges(rig, 0)]
        rig.chip.run_while(lambda: not rig.nodes[1].running, 1500 * MS)
        # Between heartbeats this close together, a record that is not urgent waits WRITE_PATIENCE_MS for its slot.
        rig.chip.run_for(1800 * MS)
        order = [(events.event_row(row["event"])[1], row["node"]) for row in rig.journal()]
        return late_ms, order, rig.two_active, bool(rig.powered[1]), rig.epoch()

    late_ms, order, two_active, powered, epoch = forked(body)
    assert len(late_ms) == 1
    assert 0 <= late_ms[0] <= 3
    assert order.index(("fence_prepared", 0)) < order.index(("fence_fired", 0)) < order.index(("off_proven", 0))
    assert order.index(("off_proven", 0)) < order.index(("granted", 1))
    assert not two_active
    assert powered
    assert epoch == EPOCH + 1


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


@pytest.mark.parametrize("erase", ["typical", "maximum"])
def test_no_heartbeat_is_lost_or_late_in_a_flash_stall(settled: Rig, erase: str) -> None:
    def body() -> tuple[int, int, list[dict[str, int]], int]:
        rig = settled
        if erase == "maximum":
            rig.chip.flash.times = MAXIMUM
        before = rig.chip.flash.count
        sent = [len(beats) for beats in rig.beats]
        # A new incarnation of node b is journaled, which writes flash; between heartbeats this close together a record
        # that is not urgent waits WRITE_PATIENCE_MS for its slot.
        rig.nodes[1].boot()
        rig.chip.run_for(2400 * MS)
        after = [len(beats) for beats in rig.beats]
        answered = [len({grant["answers"] for _, grant in grants}) for grants in rig.grants]
        lost = sum(line.lost for line in rig.chip.lines[:2]) - lost_before
        assert after[0] > sent[0] + 5
        return rig.chip.flash.count - before, lost, rig.journal(), answered[0]

    lost_before = sum(line.lost for line in settled.chip.lines[:2])
    operations, lost, rows, _ = forked(body)
    assert operations > 0, "nothing was written, so nothing was tested"
    assert lost == 0
    kinds = {row["event"] for row in rows}
    assert events.LATE not in kinds
    assert events.ALTERED not in kinds


def test_stalled_host_never_delays_the_loop(settled: Rig) -> None:
    # The same requests with a host that reads its answers and with one that does not: the loop must not know the
    # difference. A write that blocked would take 500 ms.
    def body(stalled: bool) -> tuple[float, int]:
        rig = settled
        chip = rig.chip
        chip.usb.stalled = stalled
        hello = framing.encode(messages.HELLO, bytes([messages.PROTOCOL_VERSION]))
        for turn in range(12):
            chip.at(chip.ns + turn * 25 * MS, lambda: chip.usb.send(hello))
        first = len(chip.passes)
        grants = len(rig.grants[0])
        chip.run_for(400 * MS)
        times = [one.ns for one in chip.passes[first:]]
        return max(late - early for early, late in itertools.pairwise(times)) / MS, len(rig.grants[0]) - grants

    reading_ms, answered = forked(lambda: body(False))
    stalled_ms, answered_stalled = forked(lambda: body(True))
    assert stalled_ms <= reading_ms + 5, "a write to the host blocked the loop"
    assert answered_stalled >= answered > 0


def test_no_byte_from_the_host_ends_the_guard(settled: Rig) -> None:
    # MicroPython takes a 3 for Ctrl-C unless it is told not to, and did so inside frames.
    def body() -> tuple[int, float, str]:
        rig = settled
        chip = rig.chip
        chip.usb.send(bytes(range(256)) + b"\x03" * 64 + b"\x00")
        first, since_ns = len(rig.grants[0]), chip.ns
        chip.run_for(500 * MS)
        status = rig.ask("status")
        gaps = [late.ns - early.ns for early, late in itertools.pairwise(chip.passes) if early.ns >= since_ns]
        return len(rig.grants[0]) - first, max(gaps) / MS, str(status["mode"])

    answered, longest_ms, mode = forked(body)
    assert answered >= 4
    assert longest_ms < 50
    assert mode == "auto"


def test_same_seed_gives_the_same_edges(board_image: Path) -> None:
    def body() -> list[tuple[float, str, int | None]]:
        rig = Rig(board_image, nodes=0, data={}, seed=7)
        rig.chip.run_for(120 * MS)
        return [(edge.ns, edge.signal, edge.level) for edge in rig.chip.edges]

    one, other = forked(body), forked(body)
    assert one == other
    assert one
