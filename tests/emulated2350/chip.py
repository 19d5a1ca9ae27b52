"""rp2350js under the rig of tests/emulated: an RP2350 with its Arm cores, for three nodes.

The emulator stands in no registry: $HEARTWIRE_RP2350JS names a built checkout of it (the folder of its package.json).
The image is the Pico 2's in the cache, or that which $HEARTWIRE_RP2350_IMAGE names. Neither is kept in this repository.
"""

from __future__ import annotations

import os
from pathlib import Path

from heartwire.emulated.errors import NotReady
from heartwire.emulated.flashchip import TYPICAL, Times
from heartwire.flash import boards, images
from heartwire.flash.boards import RP2350, Board
from heartwire.virtual import pins
from tests.second.lockstep import KEY_SHIFT, LockStepChip, need_node

PICO_2 = boards.by_id("RPI_PICO2")
EMULATOR, IMAGE = "HEARTWIRE_RP2350JS", "HEARTWIRE_RP2350_IMAGE"
DRIVER = Path(__file__).with_name("driver.mjs")
INTERRUPTS = (33, 34)  # of the UARTs, RP2350 datasheet 3.2
THIRD = [pins.SIGNALS[f"LINE_SPARE_{end}"].gpio for end in ("RX", "TX")]


def package() -> Path:
    """Return the folder of the emulator. Raises NotReady with what is missing."""
    need_node()
    if not (named := os.environ.get(EMULATOR)):
        raise NotReady(f"{EMULATOR} names no checkout of rp2350js")
    found = Path(named).resolve()
    if not (found / "dist" / "esm" / "index.js").is_file():
        raise NotReady(f"{found} is no rp2350js that was built: it has no dist/esm/index.js")
    return found


def image() -> Path:
    """Return an image for the board. Raises NotReady where there is none, or it is for another chip."""
    named = os.environ.get(IMAGE)
    found = [Path(named)] if named else sorted(images.cache_folder().glob(f"{PICO_2.id}-*.uf2"))
    if not found or not found[-1].is_file():
        raise NotReady(f"no image of MicroPython for the {PICO_2.name} is in the cache, and {IMAGE} names none")
    boards.check_image(RP2350, found[-1].read_bytes(), str(found[-1]))
    return found[-1]


def flash_of(image: bytes, board: Board, filesystem: bytes | None) -> bytes:
    """Return the whole flash of a board with that UF2 image and those files."""
    flash = bytearray(b"\xff" * board.flash_bytes)
    for at, data in boards.uf2_pieces(image):
        flash[at : at + len(data)] = data
    if filesystem is not None:
        flash[board.filesystem_start :] = filesystem
    return bytes(flash)


class Rp2350Chip(LockStepChip):
    """A chip that has just got power; as EmulatedChip. It is deterministic, whatever the seed."""

    def __init__(
        self,
        image: Path,
        *,
        flash: bytes | None = None,
        filesystem: bytes | None = None,
        times: Times = TYPICAL,
        seed: int = 1,
        board: Board = PICO_2,
    ) -> None:
        del seed  # the emulator's random numbers have one of their own
        whole = flash_of(image.read_bytes(), board, filesystem) if flash is None else flash
        setup: dict[str, object] = {
            "package": str(package()),
            "uarts": [[address >> KEY_SHIFT, irq] for address, irq in zip(RP2350.uarts, INTERRUPTS, strict=True)],
            "third": THIRD,
        }
        super().__init__(DRIVER, board, whole, times, 3, setup)
