"""Measure the board on the emulated chip and print what it was promised to do beside what it does, in virtual time.

Boots and settles racks of two and three nodes, then forks a child per trial, so that a thousand trials need no thousand
boots. Run by `make bench-board`; `--trials` chooses how long it takes, `--part` what is measured. Instead, `--sweep`
cuts the power at every flash operation of what a board does, `--hour` watches its heap for long.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from heartwire.emulated.chip import MS
from heartwire.emulated.flashchip import MAXIMUM, TYPICAL
from heartwire.flash import images
from heartwire_protocol.settings import default_of, problem_with
from tests.bodies import guarding
from tests.bodies.bench import INTERVAL_MS
from tests.emulated import aftermath, limits, measures, sweep, trials
from tests.emulated.conftest import cached_images, forked
from tests.emulated.rig import Rig, epoch_of, journal_of
from tests.emulated.rig_bench import RigBench

# The image that is measured, as tests/emulated/conftest.py calls it; "": the preferred one.
IMAGE = ""
ALL = "all"
Table = list[tuple[str, str, str, bool]]
HEAP_LOSS_MAX = 256  # a leak of 16 bytes, the smallest piece, per heartbeat is far more than this within a minute
HEAP_MINUTES = 0.5  # of the table: ten heartbeats a second of each node
PARTS = ("boot", "watchdog", "relay", "writes", "host", "limits", "heap", "cuts")


def board_image() -> Path:
    """Return the image that was chosen. Raises ImageMissing."""
    for image in cached_images():
        if image.label == IMAGE:
            return image.path
    if IMAGE:
        known = ", ".join(image.label for image in cached_images())
        raise images.ImageMissing(f"no image {IMAGE} is in the cache; there are: {known}")
    return images.find()


def distribution(rig: Rig, arguments: argparse.Namespace, fault: str, table: Table) -> None:
    """Run trials of one fault and add its row."""
    print(f"  {fault}:", file=sys.stderr)
    found = list(trials.trials(rig, fault, arguments.trials, arguments.branches, tell))
    after = sorted(trial.after_ms for trial in found if trial.after_ms == trial.after_ms)
    missing = len(found) - len(after)
    target = f"median {measures.RELAY_MEDIAN_MAX_MS}, worst {measures.RELAY_MAX_MS} ms"
    if not after:
        table.append((f"relay after deadline, {fault}", "no edge", target, False))
        return
    median, p99, worst = statistics.median(after), after[int(0.99 * (len(after) - 1))], after[-1]
    words = f"min {after[0]:.2f}, median {median:.2f}, p99 {p99:.2f}, worst {worst:.2f} ms; {len(after)} trials"
    words += f", {missing} without" if missing else ""
    good = not missing and median <= measures.RELAY_MEDIAN_MAX_MS and worst <= measures.RELAY_MAX_MS
    table.append((f"relay after deadline, {fault}", words, target, good))


def tell(done: int) -> None:
    """Say how many trials are done."""
    print(f"\r    {done} trials ", end="", file=sys.stderr, flush=True)


def boot(rig: Rig, table: Table) -> None:
    """Add what the boot of the settled rack showed."""
    first = min(edge.ns for edge in rig.chip.edges) / MS
    guards = rig.chip.passes[0].ns / MS
    table.append(("outputs at their level after power-on", f"{first:.1f} ms", "before any import", first < 50))
    table.append(("power-on to guarding", f"{guards:.0f} ms", "1000 ms", guards <= measures.GUARDING_MAX_MS))
    busy = sorted(one.busy_ns / 1000 for one in rig.chip.passes[1:])
    table.append(
        ("loop pass, median and longest", f"{busy[len(busy) // 2]:.0f} us, {busy[-1] / 1000:.1f} ms", "", True)
    )


def watchdog(rig: Rig, table: Table) -> None:
    """Stop the processor in the middle of a fence and add how soon all is as before."""
    found = forked(lambda: measures.hang(rig))
    what = "watchdog reset in a fence to all outputs as before"
    table.append((what, f"{found.restored_ms:.1f} ms", "100 ms", found.restored_ms <= measures.RESTORED_MAX_MS))
    good = found.guarding_ms <= measures.GUARDING_MAX_MS
    table.append(("watchdog reset to guarding", f"{found.guarding_ms:.0f} ms", "1000 ms", good))


def writes(rigs: dict[str, Rig], table: Table) -> None:
    """Add what becomes of heartbeats that come in a flash write, on three lines."""
    for name, times in (("typical", TYPICAL), ("longest", MAXIMUM)):
        found = forked(functools.partial(measures.write, rigs[name], times))
        good = not found.lost and max(map(abs, found.missing)) <= 1 and not found.wrong
        words = f"{sum(found.came)} came while the loop stood {found.stood_ms:.0f} ms, {found.lost} bytes lost, "
        words += ", ".join(sorted(found.wrong)) or "none late or altered"
        table.append((f"heartbeats in an erase, {name}", words, "none lost, late, altered", good))


def host(rig: Rig, table: Table) -> None:
    """Add how long the loop stands while the host holds the port open and reads nothing."""

    def stalled() -> tuple[float, float]:
        bench, since = RigBench(rig), len(rig.chip.passes)
        before = measures.longest_gap_ms(rig, since - 200)
        guarding.stalled_host_costs_no_answer(bench)
        return before, measures.longest_gap_ms(rig, since)

    before, stood = forked(stalled)
    words = f"{stood:.0f} ms, {before:.0f} ms without a host; every heartbeat answered"
    good = stood < measures.STANDS_MAX_MS
    table.append(("longest stand of the loop, host reads nothing", words, "no write waited for (500 ms)", good))


def crossings(table: Table) -> None:
    """Start just below each limit, and add how the board saw a death after it."""
    for name, cross in limits.LIMITS.items():
        tell_part(f"limit: {name}")
        found = forked(functools.partial(cross, board_image()))
        wrong = found.complaints()
        late = ", ".join(f"{ms:.2f}" for ms in found.late_ms)
        words = f"relay {late} ms after its deadline, {sum(found.sent)} heartbeats taken"
        table.append((f"across a limit: {name}", "; ".join(wrong) or words, "nothing changes", not wrong))


def tell_part(name: str) -> None:
    """Say what is being measured."""
    print(f"  {name}", file=sys.stderr, flush=True)


def cuts(rig: Rig, count: int, table: Table) -> None:
    """Cut the power at the next flash operations, one trial each, and look at what a new life finds."""

    def trial(number: int) -> tuple[bool, bool]:
        chip = rig.chip
        known = {row["sequence"] for row in rig.journal()}
        epoch = rig.epoch()
        target = chip.flash.count + number

        def begun(operation: object) -> None:
            if chip.flash.count >= target:
                chip.at(chip.ns + rig.dice.uniform(0, 0.3) * MS, chip.stop)

        chip.flash.on_operation = begun
        rig.cut.add(0)
        chip.run_for(1600 * MS)
        found = rig.files()
        return epoch_of(found) >= epoch, known <= {row["sequence"] for row in journal_of(found)}

    results = [forked(functools.partial(trial, number)) for number in range(1, count + 1)]
    good = sum(all(result) for result in results)
    table.append(
        ("power cuts in a failover's flash operations", f"{good} of {len(results)} whole", "all", good == len(results))
    )


def sweep_one(name: str, rig: Rig, settled_flash: bytes, each: int, boots: int, seed: int) -> bool:
    """Cut the power at every flash operation of one activity, print what was found; return whether all is well."""
    image = board_image()

    def swept_from() -> sweep.Sweep:
        return sweep.run(name, sweep.begin(name, image, settled_flash) if name in sweep.BOOTS else rig, each, seed)

    swept = forked(swept_from)
    erases = sum(cut.kind == "erase" for cut in swept.cuts)
    complaints = [(cut, words) for cut in swept.cuts for words in aftermath.files_hold(swept, cut)]
    dice = random.Random(f"{name} boots {seed}")
    booted = aftermath.sample(swept, boots, dice)
    for number, cut in enumerate(booted):
        found = forked(functools.partial(aftermath.boot_holds, image, swept, cut, number))
        complaints += [(cut, f"next life: {words}") for words in found]
    print(
        f"{'MISS' if complaints else 'ok  '} {name:17} {swept.operations:3} flash operations, {len(swept.cuts):4} cuts "
        f"({erases} at erases), files: {len(swept.cuts)} looked at, boots: {len(booted)}",
        flush=True,
    )
    for cut, words in complaints:
        print(f"       operation {cut.operation} ({cut.kind}), {cut.ns / MS:.3f} ms: {words}", flush=True)
    return not complaints


def heap(rig: Rig, minutes: float, report_s: float) -> Table:
    """Let `rig` run for virtual `minutes`; return what became of its free heap, and of heartbeats in collections.

    The board says how much is free after its last collection, so garbage does not count. The first part is left out:
    buffers grow to their size in it.
    """
    reports: list[int] = []
    collections = measures.Collections(rig)
    started = time.monotonic()
    beats = sum(map(len, rig.beats))
    end_ns = rig.chip.ns + minutes * 60e9
    while rig.chip.ns < end_ns:
        rig.chip.run_until(min(end_ns, rig.chip.ns + report_s * 1e9))
        status = rig.ask("status")
        reports.append(int(status["free"]))
        grants = sum(len(found) for found in rig.grants)
        print(
            f"{rig.chip.ns / 1e9:8.1f} virtual s: {reports[-1]} bytes free after the last collection, longest pass "
            f"{status['loop_ms']} ms, {grants} grants, {time.monotonic() - started:.0f} real s",
            file=sys.stderr,
            flush=True,
        )
    later = reports[len(reports) // 4 :]
    half = len(later) // 2
    lost = statistics.mean(later[:half] or later) - statistics.mean(later[half:])
    beats = sum(map(len, rig.beats)) - beats
    words = f"{min(later)} to {max(later)} bytes free, second half {-lost:+.0f} on average, {beats} heartbeats"
    count, struck = len(collections.spans()), collections.struck()
    slots = f"{count} collections, the longest {collections.longest_ms():.1f} ms, {struck} heartbeats came in one"
    return [
        (f"heap after collection, {minutes:g} minutes", words, "constant", lost < HEAP_LOSS_MAX),
        ("garbage is collected in its slots", slots, "none in one", bool(count) and not struck),
    ]


def hour(minutes: float, report_s: float, interval_ms: int, nodes: int) -> int:
    """Run so many nodes for virtual `minutes`, print the free heap; return 1 if a row of it is a MISS.

    They beat with a bench's settings if the interval is a bench's, else with the default ones but for the interval, and
    for early_ms where it must be shorter then.
    """
    if interval_ms == INTERVAL_MS:
        rig = settled(nodes)
    else:
        early_ms = min(int(default_of("board.early_ms")), interval_ms // 4)
        text = f"board.interval_ms={interval_ms}\nboard.early_ms={early_ms}\n"
        rig = measures.default_rig(board_image(), text, nodes)
    table = heap(rig, minutes, report_s)
    report(table)
    return 0 if all(good for *_, good in table) else 1


def power_cuts(arguments: argparse.Namespace) -> int:
    """Run the sweep of all activities; return 1 if anything was found."""
    rig = Rig(board_image(), times=TYPICAL)
    run("boot and settle", rig.settle)
    flash = rig.chip.contents()
    good = [
        sweep_one(name, rig, flash, arguments.sweep_each, arguments.sweep_boots, arguments.seed)
        for name in arguments.activity or sweep.ACTIVITIES
    ]
    return 0 if all(good) else 1


def run(name: str, step: Callable[[], None]) -> None:
    """Run one step and say how long it took."""
    started = time.monotonic()
    step()
    print(f"  {name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


@functools.cache
def settled(nodes: int, active: int = 0) -> Rig:
    """Return a settled rig of so many nodes; whoever changes it does so in a child process."""
    tell_part(f"boot and settle {nodes} nodes")
    rig = Rig(board_image(), nodes=nodes, active=active)
    rig.settle()
    return rig


def measure(part: str, arguments: argparse.Namespace, table: Table) -> None:
    """Measure one of PARTS and add its rows."""
    if part == "boot":
        boot(settled(2), table)
    elif part == "watchdog":
        watchdog(settled(2), table)
    elif part == "relay":
        for fault in arguments.fault or trials.FAULTS:
            rack = trials.FAULTS[fault]
            rig = measures.slow_rig(board_image()) if rack.slow else settled(rack.nodes, rack.active)
            distribution(rig, arguments, fault, table)
    elif part == "writes":
        writes({"typical": settled(3), "longest": measures.slow_rig(board_image())}, table)
    elif part == "host":
        host(settled(2), table)
    elif part == "limits":
        crossings(table)
    elif part == "heap":
        table += forked(lambda: heap(settled(3), HEAP_MINUTES, 5))
    else:
        cuts(settled(2), arguments.cuts, table)


def tried(part: str, arguments: argparse.Namespace, table: Table) -> None:
    """Measure one part; what cannot be measured is a row of its own and keeps nothing else from being measured."""
    try:
        measure(part, arguments, table)
    except pytest.fail.Exception as error:
        print(error, file=sys.stderr, flush=True)
        table.append((part, str(error).strip().splitlines()[-1], "measured", False))


def report(table: Table) -> None:
    """Print the table; what was measured until Ctrl-C as well."""
    for what, found, target, good in table:
        print(f"{'ok  ' if good else 'MISS'} {what:50} {found:66} {target}")


def side_by_side(tables: dict[str, Table]) -> None:
    """Print the tables of several images as one, a column for each."""
    rows = {what: target for table in tables.values() for what, _, target, _ in table}
    print("| on the emulated chip | promised | " + " | ".join(tables) + " |")
    print("| --- | --- " + "| --- " * len(tables) + "|")
    for what, target in rows.items():
        cells = []
        for table in tables.values():
            found = next((f"{found}{'' if good else ' MISS'}" for name, found, _, good in table if name == what), "")
            cells.append(found)
        print(f"| {what} | {target} | " + " | ".join(cells) + " |")


def parts_of(arguments: argparse.Namespace) -> Sequence[str]:
    """Return what is to be measured: all of it unless something was chosen."""
    parts = arguments.part or (("relay",) if arguments.fault else PARTS)
    return [part for part in parts if part != "cuts" or arguments.cuts]


def measured(arguments: argparse.Namespace, table: Table) -> None:
    """Measure what was chosen of one image and add its rows."""
    for part in parts_of(arguments):
        run(part, functools.partial(tried, part, arguments, table))


def main() -> int:
    """Run everything; return 1 if a target was missed."""
    parser = argparse.ArgumentParser(description="Measure the board on the emulated RP2040.")
    parser.add_argument("--trials", type=int, default=1000, help="trials of each distribution")
    parser.add_argument("--branches", type=int, default=25, help="trials that share what was before the deadline")
    parser.add_argument("--fault", action="append", choices=trials.FAULTS, help="only this fault; may be repeated")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--cuts", type=int, default=12, help="flash operations at which the power is cut")
    parser.add_argument("--sweep", action="store_true", help="only cut the power at every flash operation")
    parser.add_argument(
        "--activity", action="append", choices=sweep.ACTIVITIES, help="sweep only this; may be repeated"
    )
    parser.add_argument("--sweep-each", type=int, default=4, help="cuts within each operation, besides one after it")
    parser.add_argument("--sweep-boots", type=int, default=4, help="cuts of each activity that the image boots from")
    parser.add_argument("--seed", type=int, default=1, help="seed of the instants of the sweep")
    parser.add_argument("--hour", action="store_true", help="only watch the free heap over an hour of normal traffic")
    parser.add_argument("--hour-minutes", type=float, default=60, help="virtual minutes of --hour")
    parser.add_argument(
        "--interval-ms", type=int, default=int(default_of("board.interval_ms")),
        help=f"with --hour: time between two heartbeats of a node, 200 or more; {INTERVAL_MS}: a bench",
    )  # fmt: skip
    parser.add_argument("--nodes", type=int, default=2, choices=(2, 3), help="with --hour: nodes")
    parser.add_argument("--report-s", type=float, default=10, help="virtual seconds between two reports of --hour")
    parser.add_argument(
        "--image", default="", help=f"another image in the cache, as `make budget` names it; {ALL}: side by side"
    )
    arguments = parser.parse_args()
    global IMAGE
    IMAGE = arguments.image
    if arguments.hour:
        wrong = problem_with("board.interval_ms", arguments.interval_ms, 0)
        if wrong and arguments.interval_ms != INTERVAL_MS:
            parser.error(wrong)
        return hour(arguments.hour_minutes, arguments.report_s, arguments.interval_ms, arguments.nodes)
    if arguments.sweep:
        return power_cuts(arguments)
    if arguments.image == ALL:
        tables: dict[str, Table] = {}
        try:
            for image in cached_images():
                tell_part(image.label)
                IMAGE = image.label
                settled.cache_clear()
                measured(arguments, tables.setdefault(image.label, []))
        finally:
            side_by_side(tables)
        return 0 if tables and all(row[3] for table in tables.values() for row in table) else 1
    table: Table = []
    try:
        measured(arguments, table)
    finally:
        report(table)
    return 0 if all(row[3] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
