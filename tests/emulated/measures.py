"""What a board shows of itself on the emulated chip, measured once for the tests and for tools/bench_board.py.

All times are virtual. A measure spoils the rig it is given, so it runs in a child process; it asserts nothing about
what it finds.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from heartwire.emulated import files
from heartwire.emulated.chip import MS, EmulatedChip
from heartwire.emulated.errors import TooLong
from heartwire.emulated.flashchip import Operation, Times
from heartwire.flash.boards import PICO
from heartwire.simulate.rack import POWER, settings_of
from heartwire.virtual.image import board_files, find_firmware
from heartwire_protocol.settings import Settings
from tests.bodies import guarding
from tests.bodies.bench import EARLY_MS, INTERVAL_MS, quick_settings
from tests.emulated.conftest import forked
from tests.emulated.rig import Rig, board_named_by, stored
from tests.emulated.rig_bench import RigBench

# The rest of the pins are inputs, serial lines, the board's own LED, or GUARDING, which is high once it guards.
OUTPUTS = (*POWER, "ARM", "FRONT_A", "FRONT_B", "FRONT_SPARE", "TRANSFER_SET_A", "TRANSFER_SET_B")
# What a board is held to, by the tests, tools/bench_board.py and tools/budget.py.
GUARDING_MAX_MS = 1000  # from power-on, or from a reset, until the first heartbeat can be answered
RESTORED_MAX_MS = 100
# From a deadline to its relay: half of the time, and ever.
RELAY_MEDIAN_MAX_MS = 1
RELAY_MAX_MS = 3
# A look that finds nothing to do (one of the shortest); and the longest pass without a flash write, which collects
# garbage: that begins 70 ms before a deadline at the latest (pace.COLLECT_CLEAR_MS), and is over when the death
# may have to be decided, 30 ms before it.
QUIET_PASS_US = 600
LONGEST_PASS_US = 40_000
# Nothing but a collection (33 ms and more) keeps the loop busy for so long without a flash operation: a decision takes
# up to 20 ms, encoding the records of a write 27 ms, two heartbeats that come close together 30.3 ms on MicroPython
# 1.28.
COLLECTION_MIN_MS = 32
# How long the loop may stand while the host reads nothing: a flash operation; a blocked write would take 500 ms.
STANDS_MAX_MS = 60
# All times of the bench this much longer: heartbeats every half second, the longest erase takes 400 ms.
SLOW_TIMES = 5


# The firmware must start with so much of its heap gone: MicroPython of another version, or for another board, takes
# more of the memory (12 KB between 1.24 and 1.28), and what the loader leaves behind is not always the same.
BOOT_MARGIN_MIN = 24 * 1024
PASSES_A_SECOND_MAX = 175  # 8 ms of rest and the work of a pass
# Ninety passes leave 45 KB at most before garbage is collected (pace.COLLECT_AT_LAST_PASSES); the rest is margin.
HEAP_FREE_MIN = 51_000


def at_prompt(image: Path, script: str) -> Any:
    """Return what a script prints, in JSON but for its quotes, at the prompt of a board without the firmware."""
    board = board_named_by(image) or PICO
    chip = EmulatedChip(image, filesystem=files.build(firmware=False, board=board), board=board)
    said = bytearray()
    chip.on_usb_data = said.extend
    chip.run_while(lambda: not chip.usb.connected, 1000 * MS)
    chip.run_for(50 * MS)
    chip.usb.send(b"\x01" + script.encode() + b"\x04")
    chip.run_while(lambda: b"]" not in said, 1000 * MS)
    return json.loads(said[said.rindex(b"[") : said.rindex(b"]") + 1].replace(b"'", b'"'))


def heap(image: Path) -> int:
    """Return how many bytes of heap MicroPython has on a board without the firmware."""
    return int(at_prompt(image, "import gc\nprint([gc.mem_alloc() + gc.mem_free()])")[0])


def boots_without(image: Path, taken: int) -> bool:
    """Return whether the board still guards, and answers two nodes, with so many bytes of its heap taken before the
    firmware is loaded.
    """
    main = board_files(find_firmware())["main.py"]
    data = {**stored(quick_settings()), "main.py": b"taken = bytearray(%d)\n" % taken + main}
    rig = Rig(image, data=data)
    rig.chip.run_while(lambda: not rig.chip.resets and not all(rig.grants), 2000 * MS, 10 * MS)
    return not rig.chip.resets


def boot_margin(image: Path, step: int = 1024, most: int = 1 << 16) -> int:
    """Return the largest block, to `step` bytes, that can be taken before the firmware loads; -1 if it never boots."""
    good, bad = -1, most
    while bad - max(good, 0) > step:
        taken = (max(good, 0) + bad) // 2 // step * step
        # What fails to start waits some seconds between two tries.
        if forked(partial(boots, image, taken)):
            good = taken
        else:
            bad = taken
    return good


def boots(image: Path, taken: int) -> bool:
    """Return whether it still guards within two seconds with so many bytes of its heap taken."""
    try:
        return boots_without(image, taken)
    except TooLong:
        return False


def passes(rig: Rig) -> tuple[list[float], int]:
    """Let a settled rig run on until it has collected garbage; return how many microseconds each pass was busy, in
    rising order, and how often flash was written.
    """
    since, count = len(rig.chip.passes), rig.chip.flash.count
    rig.chip.run_for(700 * MS)
    return sorted(one.busy_ns / 1000 for one in rig.chip.passes[since:]), rig.chip.flash.count - count


class Collections:
    """The collections of garbage of a rig, from now on."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._since = len(rig.chip.passes)
        self._flash_ns: list[float] = []
        rig.chip.flash.on_operation = lambda operation: self._flash_ns.append(operation.start_ns)

    def spans(self) -> list[tuple[float, float]]:
        """Return when the passes that collected began and ended, in ns."""
        spans = []
        for before, one in itertools.pairwise(self._rig.chip.passes[self._since :]):
            wrote = any(before.ns <= at <= one.ns for at in self._flash_ns)
            if one.busy_ns >= COLLECTION_MIN_MS * MS and not wrote:
                spans.append((one.ns - one.busy_ns, one.ns))
        return spans

    def longest_ms(self) -> float:
        """Return how long the longest pass that collected was."""
        return max((ended - began for began, ended in self.spans()), default=0.0) / MS

    def struck(self) -> int:
        """Return how many heartbeats came while garbage was collected: they count from its end only."""
        beats = sorted(ns for node in self._rig.beats for ns in node)
        return sum(bisect_left(beats, ended) - bisect_right(beats, began) for began, ended in self.spans())


@dataclass(frozen=True)
class Hang:
    """A processor that stopped in a fence: why it was reset, and ms from then on."""

    reasons: list[int]
    restored_ms: float  # until every output was as before
    guarding_ms: float  # until the first pass of the loop
    rows: list[tuple[int, int]]  # (event, node) of the whole journal afterwards


def hang(rig: Rig) -> Hang:
    """Stop the processor of a settled board while it fences node a, and wait until it guards again."""
    chip = rig.chip
    rig.cut.add(0)
    chip.run_while(lambda: not rig.fenced, 1500 * MS)
    chip.hang()
    before = {name: chip.output(name) for name in OUTPUTS}
    # It toggles while a relay is cut, and is held up by boot.py until the loop does so again.
    before["ARM"] = 1
    chip.run_while(lambda: not chip.resets, 2500 * MS)
    reset_ns = chip.resets[0].ns
    chip.run_while(lambda: {name: chip.output(name) for name in OUTPUTS} != before, 300 * MS)
    restored_ms = (max(edge.ns for edge in chip.edges if edge.signal in OUTPUTS) - reset_ns) / MS
    passes = len(chip.passes)
    chip.run_while(lambda: len(chip.passes) == passes, 2000 * MS)
    guarding_ms = (chip.passes[passes].ns - reset_ns) / MS
    chip.run_for(600 * MS)
    rows = [(row["event"], row["node"]) for row in rig.journal()]
    return Hang([reset.reason for reset in chip.resets], restored_ms, guarding_ms, rows)


def longest_gap_ms(rig: Rig, since: int = 0) -> float:
    """Return the longest time between two passes of the loop, from pass number `since` on."""
    return max(late.ns - early.ns for early, late in itertools.pairwise(rig.chip.passes[since:])) / MS


@dataclass(frozen=True)
class Write:
    """Heartbeats of three nodes across a record's flash write."""

    stood_ms: float  # from the first erase to the next pass of the loop
    came: list[int]  # heartbeats of each node in that time
    lost: int  # bytes that found no room
    missing: list[int]  # heartbeats of each node that the board did not take, from before the write until after it
    events: set[str]  # what was written down

    @property
    def wrong(self) -> set[str]:
        """What was written down of a node that has done nothing wrong."""
        return self.events & {"late", "altered", "half_line"}


def default_rig(image: Path, text: str = "", nodes: int = 2) -> Rig:
    """Return a settled rig of so many nodes with the default settings but for those of `text`."""
    return _settled_with(settings_of(text, nodes, keyed=True), image, nodes)


def slow_rig(image: Path) -> Rig:
    """Return a settled rig of three nodes with the times of servers: heartbeats further apart than the longest erase is
    long, and four of them fit between late and dead.
    """
    return _settled_with(quick_settings(3, SLOW_TIMES, board__bench=0), image, nodes=3)


def _settled_with(wanted: Settings, image: Path, nodes: int) -> Rig:
    """Return a settled rig of so many nodes that beat at the interval of the settings, not at a bench's."""
    rig = Rig(image, nodes=nodes, data=stored(wanted), interval_ms=int(wanted.get("board.interval_ms")))
    rig.settle(20_000)
    return rig


def write(rig: Rig, times: Times) -> Write:
    """Let a rig of three nodes write records with a flash as slow as `times`; one heartbeat of each comes in an erase.

    With longest times the rig is a slow one: no node is heard twice in one erase. A small file lies in its directory,
    which takes a record or two without an erase.
    """
    bench, chip = RigBench(rig), rig.chip
    early_ms = (EARLY_MS + 6) * rig.interval_ms / INTERVAL_MS
    chip.flash.times = times
    lost, newest = sum(line.lost for line in chip.lines), bench.newest()
    missing = [guarding.missing(bench, node) for node in range(3)]
    since = len(chip.passes)
    began_ns: list[float] = []

    def one_record() -> None:
        written = bench.newest()
        bench.restart_agent(bench.standby)
        chip.run_while(lambda: bench.newest() == written, 8000 * MS, 100 * MS)

    def begun(operation: Operation) -> None:
        if operation.kind == "erase" and not began_ns:
            began_ns.append(chip.ns)
            for node in range(3):
                since_ms = (chip.ns - rig.beats[node][-1]) / MS
                into_ms = (0.15 + 0.25 * node) * times.sector_ns / MS
                rig.shift(node, max(into_ms, early_ms - since_ms))

    chip.flash.on_operation = begun
    while not began_ns:
        one_record()
    bench.run_for(2 * rig.interval_ms)
    missing = [guarding.missing(bench, node) - before for node, before in enumerate(missing)]
    ended_ns = next(one.ns for one in chip.passes[since:] if one.ns > began_ns[0])
    came = [sum(began_ns[0] < ns < ended_ns for ns in beats) for beats in rig.beats]
    found = {event for event, _ in bench.rows(newest)}
    return Write((ended_ns - began_ns[0]) / MS, came, sum(line.lost for line in chip.lines) - lost, missing, found)
