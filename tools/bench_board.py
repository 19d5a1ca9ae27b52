"""Measure the board on the emulated chip and print the table "Must show": every number in virtual time.

Boots and settles a rack of two nodes and one of three, then forks a child per trial (tests/emulated/trials.py), so that
a thousand trials need no thousand boots. Run by `make bench-board`; `--trials` chooses how long it takes. Instead,
`--sweep` cuts the power at every flash operation of what a board does, `--hour` watches its heap.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from heartwire.emulated import files
from heartwire.emulated.chip import MS, filesystem_of
from heartwire.emulated.flashchip import TYPICAL
from heartwire.flash import images
from heartwire.simulate.rack import KEYS
from heartwire_protocol import codes
from heartwire_protocol.settings import Settings
from tests.bodies.bench import quick_settings
from tests.emulated import aftermath, sweep, trials
from tests.emulated.conftest import forked
from tests.emulated.rig import Rig, epoch_of, journal_of, stored

Table = list[tuple[str, str, str, bool]]
HEAP_LOSS_MAX = 256  # a leak of 16 bytes, the smallest piece, per heartbeat is far more than this within a minute


def distribution(rig: Rig, arguments: argparse.Namespace, fault: str, table: Table) -> None:
    """Run trials of one fault and add its row."""
    print(f"  {fault}:", file=sys.stderr)
    found = list(trials.trials(rig, fault, arguments.trials, arguments.branches, tell))
    after = sorted(trial.after_ms for trial in found if trial.after_ms == trial.after_ms)
    missing = len(found) - len(after)
    if not after:
        table.append((f"relay after deadline, {fault}", "no edge", "median 1, worst 3 ms", False))
        return
    median, p99, worst = statistics.median(after), after[int(0.99 * (len(after) - 1))], after[-1]
    words = f"min {after[0]:.2f}, median {median:.2f}, p99 {p99:.2f}, worst {worst:.2f} ms; {len(after)} trials"
    words += f", {missing} without" if missing else ""
    good = not missing and median <= 1 and worst <= 3
    table.append((f"relay after deadline, {fault}", words, "median 1, worst 3 ms", good))


def tell(done: int) -> None:
    """Say how many trials are done."""
    print(f"\r    {done} trials ", end="", file=sys.stderr, flush=True)


def boot(rig: Rig, table: Table) -> None:
    """Add what the boot of the settled rack showed."""
    first = min(edge.ns for edge in rig.chip.edges) / MS
    guarding = rig.chip.passes[0].ns / MS
    table.append(("outputs at their level after power-on", f"{first:.1f} ms", "before any import", first < 50))
    table.append(("power-on to guarding", f"{guarding:.0f} ms", "1000 ms", guarding <= 1000))
    busy = sorted(one.busy_ns / 1000 for one in rig.chip.passes[-400:])
    table.append(
        ("loop pass, median and longest", f"{busy[len(busy) // 2]:.0f} us, {busy[-1] / 1000:.1f} ms", "", True)
    )


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
        found = files.read(filesystem_of(chip.contents()))
        return epoch_of(found) >= epoch, known <= {row["sequence"] for row in journal_of(found)}

    results = [forked(lambda number=number: trial(number)) for number in range(1, count + 1)]
    good = sum(all(result) for result in results)
    table.append(
        ("power cuts in a failover's flash operations", f"{good} of {len(results)} whole", "all", good == len(results))
    )


def sweep_one(name: str, rig: Rig, settled_flash: bytes, each: int, boots: int, seed: int) -> bool:
    """Cut the power at every flash operation of one activity, print what was found; return whether all is well."""
    image = images.find()

    def swept_from() -> sweep.Sweep:
        return sweep.run(name, sweep.begin(name, image, settled_flash) if name in sweep.BOOTS else rig, each, seed)

    swept = forked(swept_from)
    erases = sum(cut.kind == "erase" for cut in swept.cuts)
    complaints = [(cut, words) for cut in swept.cuts for words in aftermath.files_hold(swept, cut)]
    dice = random.Random(f"{name} boots {seed}")
    booted = aftermath.sample(swept, boots, dice)
    for number, cut in enumerate(booted):
        found = forked(lambda cut=cut, number=number: aftermath.boot_holds(image, swept, cut, number))
        complaints += [(cut, f"next life: {words}") for words in found]
    print(
        f"{'MISS' if complaints else 'ok  '} {name:17} {swept.operations:3} flash operations, {len(swept.cuts):4} cuts "
        f"({erases} at erases), files: {len(swept.cuts)} looked at, boots: {len(booted)}",
        flush=True,
    )
    for cut, words in complaints:
        print(f"       operation {cut.operation} ({cut.kind}), {cut.ns / MS:.3f} ms: {words}", flush=True)
    return not complaints


def hour(minutes: float, report_s: float, dense: bool) -> int:
    """Run two nodes for virtual `minutes`, print the free heap; return 1 if it shrinks.

    They beat at the default interval, or with `dense` ten times as often, so that six minutes hold an hour's traffic.

    The board says how much is free after its last collection, so garbage does not count. The first part is left out:
    buffers grow to their size in it.
    """
    wanted = quick_settings() if dense else Settings()
    for node in range(2):
        wanted.put(f"node.{codes.NODES[node]}.key", KEYS[node].hex())
    rig = Rig(images.find(), data=stored(wanted), interval_ms=int(wanted.get("board.interval_ms")))
    rig.settle(20_000)
    reports: list[tuple[float, int]] = []
    started = time.monotonic()
    end_ns = rig.chip.ns + minutes * 60e9
    while rig.chip.ns < end_ns:
        rig.chip.run_until(min(end_ns, rig.chip.ns + report_s * 1e9))
        status = rig.ask("status")
        reports.append((rig.chip.ns / 1e9, int(status["free"])))
        real_s = time.monotonic() - started
        grants = sum(len(found) for found in rig.grants)
        print(
            f"{reports[-1][0]:8.1f} virtual s: {reports[-1][1]} bytes free after the last collection, longest pass "
            f"{status['loop_ms']} ms, {grants} grants, {real_s:.0f} real s",
            flush=True,
        )
    later = [free for _, free in reports[len(reports) // 4 :]]
    half = len(later) // 2
    lost = statistics.mean(later[:half] or later) - statistics.mean(later[half:])
    good = lost < HEAP_LOSS_MAX
    print(
        f"{'ok  ' if good else 'MISS'} heap over {minutes:g} virtual minutes, {sum(map(len, rig.beats))} heartbeats: "
        f"{min(later)} to {max(later)} bytes free, second half {-lost:+.0f} bytes on average"
    )
    return 0 if good else 1


def power_cuts(arguments: argparse.Namespace) -> int:
    """Run the sweep of all activities; return 1 if anything was found."""
    rig = Rig(images.find(), times=TYPICAL)
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


def main() -> int:
    """Run everything; return 1 if a target was missed."""
    parser = argparse.ArgumentParser(description="Measure the board on the emulated RP2040.")
    parser.add_argument("--trials", type=int, default=1000, help="trials of each distribution")
    parser.add_argument("--branches", type=int, default=25, help="trials that share what was before the deadline")
    parser.add_argument("--fault", action="append", choices=trials.FAULTS, help="only this fault; may be repeated")
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
    parser.add_argument("--dense", action="store_true", help="with --hour: ten heartbeats a second instead of one")
    parser.add_argument("--report-s", type=float, default=10, help="virtual seconds between two reports of --hour")
    arguments = parser.parse_args()
    if arguments.hour:
        return hour(arguments.hour_minutes, arguments.report_s, arguments.dense)
    if arguments.sweep:
        return power_cuts(arguments)
    table: Table = []
    rigs = {nodes: Rig(images.find(), nodes=nodes) for nodes in (2, 3)}
    for nodes, rig in rigs.items():
        run(f"boot and settle {nodes} nodes", rig.settle)
    boot(rigs[2], table)
    for fault in arguments.fault or trials.FAULTS:
        rig = rigs[trials.nodes_of(fault)]
        run(fault, lambda fault=fault, rig=rig: distribution(rig, arguments, fault, table))
    if arguments.cuts:
        run("power cuts", lambda: cuts(rigs[2], arguments.cuts, table))
    for what, found, target, good in table:
        print(f"{'ok  ' if good else 'MISS'} {what:44} {found:64} {target}")
    return 0 if all(row[3] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
