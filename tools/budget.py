"""Hold the firmware to its budgets: compiled size, and on the emulated chip free heap, longest pass, boot to guard.

Prints each number beside its limit and fails when one is over. Without the image only the size is measured, and that is
said. Run by `make budget`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from heartwire.emulated.chip import MS, emulator
from heartwire.emulated.errors import NotReady
from heartwire.flash import images, install
from tests.emulated import measures
from tests.emulated.rig import Rig

# Compiled bytes of the one module that the board loads, boot.py and main.py as source included.
SIZE_MAX = 98_000
# Free heap after the last collection, of the 226 KB that MicroPython 1.24 gives.
HEAP = 226_192
# Ninety passes leave 45 KB at most before garbage is collected (timeslots.COLLECT_AT_LAST_PASSES); the rest is margin.
HEAP_FREE_MIN = 51_000


def main() -> int:
    """Measure and compare; return 1 if a budget is exceeded."""
    rows = [("compiled size, bytes", float(sum(map(len, install.contents().values()))), float(SIZE_MAX))]
    try:
        emulator()
        image = images.find()
    except (NotReady, images.ImageMissing) as error:
        print(f"only the size is measured: {error}")
    else:
        rig = Rig(image)
        rig.settle()
        boot_ms = rig.chip.passes[0].ns / MS
        busy, _writes = measures.passes(rig)
        rows += [
            ("boot to guard, ms", boot_ms, measures.GUARDING_MAX_MS),
            ("look that finds nothing, us", busy[len(busy) // 20], measures.QUIET_PASS_US),
            ("longest pass without a flash write, us", busy[-1], measures.LONGEST_PASS_US),
            ("heap in use after collection, bytes", HEAP - float(rig.ask("status")["free"]), HEAP - HEAP_FREE_MIN),
        ]
    over = False
    for name, found, limit in rows:
        over = over or found > limit
        print(f"{'OVER' if found > limit else 'ok  '} {name:42} {found:10.0f} of {limit:.0f}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
