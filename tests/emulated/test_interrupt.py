"""A hard interrupt handler that raises on the emulated chip: MicroPython calls it never again, and the board arms it
anew and tells so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire.emulated.chip import MS
from heartwire.virtual.image import board_files, find_firmware
from heartwire_protocol import events
from tests.bodies.bench import DEAD_MS, quick_settings
from tests.emulated import measures
from tests.emulated.conftest import forked
from tests.emulated.rig import Rig, stored

pytestmark = pytest.mark.emulated
NODES = 3
# Each line's handler raises at these of its calls.
RAISES_AT = (4, 8)
MADE, RAISES = "        self._losses = 0\n", "    def note(self, mark: int) -> None:\n"
HANDLERS = {
    "hw_rp2": "    def _fell_idle(self, uart) -> None:\n",
    "hw_pio": "    def _fell_idle(self, block) -> None:\n",
}


def raising(folder: Path) -> dict[str, bytes]:
    """Return the files of a firmware whose handlers raise."""
    files = find_firmware()
    changed = {name: ((line, f"{line}        self.idle.call()\n"),) for name, line in HANDLERS.items()}
    called = "    def call(self):\n        self._calls[0] += 1\n"
    called += f"        if self._calls[0] in {RAISES_AT}:\n            raise ValueError\n\n"
    changed["idle"] = ((MADE, f"{MADE}        self._calls = [0]\n"), (RAISES, called + RAISES))  # type: ignore[assignment]
    for name, places in changed.items():
        path = f"heartwire_firmware/{name}.py"
        source = files[path].read_text()
        for old, new in places:
            assert source.count(old) == 1, f"{name}.py has changed: {old!r}"
            source = source.replace(old, new)
        files[path] = folder / f"{name}.py"
        files[path].write_text(source)
    return board_files(files)


def lost(rig: Rig, node: int) -> list[int]:
    """Return how often the interrupt of the node's line was lost, as the journal says it each time."""
    return [row["a"] for row in rig.journal() if row["event"] == events.INTERRUPT_LOST and row["node"] == node]


def test_an_interrupt_that_was_lost_is_armed_anew_and_told(board_image: Path, tmp_path: Path) -> None:
    def body() -> None:
        rig = Rig(board_image, nodes=NODES, data={**stored(quick_settings(NODES)), **raising(tmp_path)})
        rig.settle()
        rig.chip.run_while(lambda: [lost(rig, node) for node in range(NODES)] != [[1, 2]] * NODES, 8000 * MS, 500 * MS)
        assert not rig.chip.resets and not rig.fenced
        rig.cut.add(rig.active)
        rig.chip.run_for((DEAD_MS + measures.RELAY_MAX_MS) * MS)
        late_ms = [(at_ns - max(rig.beats[rig.active])) / MS - DEAD_MS for at_ns, _ in rig.fenced]
        assert len(late_ms) == 1 and 0 <= late_ms[0] <= measures.RELAY_MAX_MS

    forked(body)
