"""Files of the emulated board: the firmware compiled into a littlefs image, and what a flash holds after a run.

Uses the virtual board's image builder, so that both tiers run the same files. It never changes a running board.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from heartwire.flash.boards import BLOCK, PICO, Board
from heartwire.virtual.image import FlashImage, find_firmware


def build(extra: dict[str, bytes] | None = None, firmware: bool = True, board: Board = PICO) -> bytes:
    """Return a board's littlefs image with the compiled firmware and `extra` files (path on the board -> bytes)."""
    with tempfile.TemporaryDirectory(prefix="heartwire-") as folder:
        image = FlashImage(Path(folder) / "flash", board.blocks)
        image.install(find_firmware() if firmware else {})
        for name, data in (extra or {}).items():
            image.write(name, data)
        return image.path.read_bytes()


def read(filesystem: bytes) -> dict[str, bytes]:
    """Return all files of a littlefs image, whichever board's."""
    with tempfile.TemporaryDirectory(prefix="heartwire-") as folder:
        image = FlashImage(Path(folder) / "flash", len(filesystem) // BLOCK)
        image.path.write_bytes(filesystem)
        return image.contents()
