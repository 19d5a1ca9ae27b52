"""Measure the page in a real Chromium: one rack and many, side by side.

Prints, for each number of racks, the median of some loads: the answer of the server, its size, and what the browser
says of its first paint. Judges nothing. The racks are boards in memory; collector, store and server are real. Usage:

    python tools/bench_web.py [--racks N] [--loads N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.web.room import Room  # noqa: E402
from tests.web.browser import CHROMIUM, browser, served  # noqa: E402

# What the browser noted of a load, in ms since its beginning.
TIMES = """() => {
    const load = performance.getEntriesByType("navigation")[0];
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    return [load.responseEnd, paint ? paint.startTime : NaN, load.domContentLoadedEventEnd];
}"""
ROWS = ("answer of the server", "size", "answer in the browser", "first contentful paint", "document ready")


def measure(racks: int, loads: int) -> list[str]:
    """Return the cells of ROWS for a page of so many racks."""
    with tempfile.TemporaryDirectory(prefix="heartwire-") as folder, Room(Path(folder), racks) as room:
        room.beat(20)
        with served(room) as address, browser() as chromium:
            answers, found, size = [], [], 0
            for at in range(loads + 1):
                began_s = time.perf_counter()
                with urllib.request.urlopen(address, timeout=60) as answer:
                    size = len(answer.read())
                answers.append((time.perf_counter() - began_s) * 1000)
                context = chromium.new_context(viewport={"width": 1280, "height": 900})
                page = context.new_page()
                page.goto(address, wait_until="load")
                page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
                found.append(page.evaluate(TIMES))
                context.close()
                if not at:  # the first one warms both up
                    answers.clear()
                    found.clear()
    times = [statistics.median(column) for column in zip(*found, strict=True)]
    return [
        f"{statistics.median(answers):.0f} ms",
        f"{size / 1024:.0f} KB",
        *(f"{value:.0f} ms" for value in times),
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--racks", type=int, default=100)
    parser.add_argument("--loads", type=int, default=7)
    chosen = parser.parse_args()
    if CHROMIUM is None:
        print("there is no chromium: apt-get install --no-install-recommends chromium", file=sys.stderr)
        return 1
    columns = [measure(racks, chosen.loads) for racks in (1, chosen.racks)]
    print(f"{f'median of {chosen.loads} loads':<26}{'1 rack':>12}{f'{chosen.racks} racks':>12}")
    for name, *cells in zip(ROWS, *columns, strict=True):
        print(f"{name:<26}" + "".join(f"{cell:>12}" for cell in cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
