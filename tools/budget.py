"""Hold the firmware to its budgets: compiled size, and on the emulated chip heap, passes, boot and the relay's edge.

Prints each number beside its limit, a column for every image in the cache, and fails when one is over. Without an image
only the size is measured, and that is said. Run by `make budget`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from heartwire.emulated.chip import MS, emulator
from heartwire.emulated.errors import NotReady
from heartwire.flash import images, install
from tests.emulated import measures, trials
from tests.emulated.conftest import Cached, cached_images, forked
from tests.emulated.rig import Rig

# Compiled bytes of the one module that the board loads, boot.py and main.py as source included.
SIZE_MAX = 98_000
TRIALS = 3
# What the smallest heap of a supported board has beside the margin (233,664 bytes: MicroPython 1.24 on the Pico).
HEAP_NEEDED_MAX = 209_000
# What is measured of each image -> (limit, whether that is the least and not the most).
LIMITS: dict[str, tuple[float, bool]] = {
    "boot to guard, ms": (measures.GUARDING_MAX_MS, False),
    f"relay after its deadline, worst of {TRIALS}, ms": (measures.RELAY_MAX_MS, False),
    "passes a second": (measures.PASSES_A_SECOND_MAX, False),
    "look that finds nothing, us": (measures.QUIET_PASS_US, False),
    "longest pass without a flash write, us": (measures.LONGEST_PASS_US, False),
    "processor busy, %": (100, False),
    "free heap after a collection, bytes": (measures.HEAP_FREE_MIN, True),
    "largest block that still boots, bytes": (measures.BOOT_MARGIN_MIN, True),
    "heap that a start needs, bytes": (HEAP_NEEDED_MAX, False),
}


def measured(image: Cached) -> list[float]:
    """Return what LIMITS names, of one image."""
    rig = Rig(image.path)
    rig.settle()

    def quiet() -> tuple[float, float]:
        since, busy_ns = len(rig.chip.passes), rig.chip.busy_ns
        rig.chip.run_for(1000 * MS)
        return float(len(rig.chip.passes) - since), (rig.chip.busy_ns - busy_ns) / (10 * MS)

    relay = [trial.after_ms for trial in trials.trials(rig, "nothing else", TRIALS, TRIALS, lambda _done: None)]
    count, share = forked(quiet)
    busy_us, _ = forked(lambda: measures.passes(rig))
    free = forked(lambda: float(rig.ask("status")["free"]))
    margin = measures.boot_margin(image.path)
    needed = forked(lambda: float(measures.heap(image.path))) - margin
    boot_ms = rig.chip.passes[0].ns / MS
    return [boot_ms, max(relay), count, busy_us[len(busy_us) // 20], busy_us[-1], share, free, margin, needed]


def starts_with(image: Cached, heap: int) -> bool:
    """Try whether the firmware starts with so many bytes of heap, and say it."""

    def tried() -> tuple[bool, int]:
        has = measures.heap(image.path)
        return has >= heap and measures.boots(image.path, has - heap), has

    starts, has = forked(tried)
    words = "starts" if starts else "does not start" if has >= heap else "has less itself: not tried,"
    print(f"{image.label}: {words} with {heap:,} of its {has:,} bytes of heap", flush=True)
    return starts


def report(columns: dict[str, list[float]]) -> bool:
    """Print the table; return whether all of it is within its limits."""
    good = True
    print("| on the emulated chip | limit | " + " | ".join(columns) + " |")
    print("| --- | --- " + "| --- " * len(columns) + "|")
    for row, (name, (limit, least)) in enumerate(LIMITS.items()):
        cells = []
        for found in columns.values():
            # Not a number (a relay that never moved) is within no limit.
            within = found[row] >= limit if least else found[row] <= limit
            good = good and within
            cells.append(f"{found[row]:,.{2 if limit < 10 else 0}f}{'' if within else ' OVER'}")
        print(f"| {name} | {'at least' if least else 'at most'} {limit:,.0f} | " + " | ".join(cells) + " |")
    return good


def main() -> int:
    """Measure and compare; return 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--image", action="append", help="only this one, as the table names it; may be repeated")
    parser.add_argument(
        "--heap", type=int, metavar="BYTES", help="only try a start with so much heap, which another board may have"
    )
    arguments = parser.parse_args()
    size = sum(map(len, install.contents().values()))
    print(f"{'OVER' if size > SIZE_MAX else 'ok  '} compiled size, {size:,} of {SIZE_MAX:,} bytes", flush=True)
    try:
        emulator()
        found = [image for image in cached_images() if not arguments.image or image.label in arguments.image]
        if not found:
            raise images.ImageMissing("no such image is in the cache")
    except (NotReady, images.ImageMissing) as error:
        print(f"only the size is measured: {error}")
        return int(size > SIZE_MAX)
    if arguments.heap is not None:
        tried = [starts_with(image, arguments.heap) for image in found]
        return int(not all(tried))
    columns: dict[str, list[float]] = {}
    good = False
    try:
        for image in found:
            print(f"  {image.label}", file=sys.stderr, flush=True)
            columns[image.label] = forked(lambda image=image: measured(image))  # type: ignore[misc]
    finally:
        # What was measured until Ctrl-C as well.
        good = report(columns)
    return int(not good or size > SIZE_MAX)


if __name__ == "__main__":
    sys.exit(main())
