"""Boards and chips by table: which one a prompt or a boot loader's drive belongs to, and whether Heartwire runs on it.

A board is known by what its MicroPython calls it, to the letter; a boot loader tells its chip only. What stands in no
row is refused: a guard that looks installed and cannot cut anything is worse than none. No I/O. Used by bootsel,
install and update.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from heartwire.errors import HeartwireError


class WrongBoard(HeartwireError):
    """It is no board that Heartwire runs on, or the image is not for it."""

    exit_code = 19
    meaning = "Heartwire does not run on that board"
    default_next = "take a Raspberry Pi Pico (RP2040)"


@dataclass(frozen=True)
class Chip:
    """A chip: `board_id` is its boot loader's (the drive's label too), `family` stands in the blocks of an image."""

    name: str
    board_id: str
    family: int


@dataclass(frozen=True)
class Board:
    """A board: `machine` as its MicroPython says it, why Heartwire does not run on it ("" where it does), and the
    oldest MicroPython that it runs on.
    """

    name: str
    machine: str
    chip: Chip
    refused: str = ""
    minimum: str = "1.24"


# Board-ID: boot ROM sources (pico-bootrom-rp2040, -rp2350); families: uf2families.json of the UF2 specification.
RP2040 = Chip("RP2040", "RPI-RP2", 0xE48BFF56)
RP2350 = Chip("RP2350", "RP2350", 0xE48BFF59)
CHIPS = (RP2040, RP2350)
_OTHER_CHIP = "the firmware knows the registers of the RP2040 only"
_RADIO = "MicroPython for its radio leaves too little memory for the firmware"
# Names: MICROPY_HW_BOARD_NAME and MICROPY_HW_MCU_NAME in ports/rp2/boards of MicroPython.
BOARDS = (
    Board("Raspberry Pi Pico", "Raspberry Pi Pico with RP2040", RP2040),
    Board("Raspberry Pi Pico W", "Raspberry Pi Pico W with RP2040", RP2040, _RADIO),
    Board("Raspberry Pi Pico 2", "Raspberry Pi Pico2 with RP2350", RP2350, _OTHER_CHIP),
    Board("Raspberry Pi Pico 2 W", "Raspberry Pi Pico 2 W with RP2350", RP2350, _OTHER_CHIP),
)
SUPPORTED = tuple(board for board in BOARDS if not board.refused)

# https://github.com/microsoft/uf2: blocks of 512 bytes; magics at 0, 4 and 508, flags at 8, family at 28.
_BLOCK = 512
_MAGIC = (0x0A324655, 0x9E5D5157)
_MAGIC_END = 0x0AB16F30
_HAS_FAMILY = 0x2000


def by_machine(machine: str) -> Board:
    """Return the board of that name. Raises WrongBoard where it is none that Heartwire runs on."""
    for board in BOARDS:
        if board.machine == machine:
            if board.refused:
                raise WrongBoard(f"this is a {board.name}: {board.refused}")
            return board
    named = f"it says that it is: {machine}" if machine else "it does not say what it is"
    raise WrongBoard(f"this board is not in the table of boards ({named}); known: {_supported()}")


def is_older(version: str, minimum: str) -> bool:
    """Tell whether a MicroPython version is older than a minimum; a preview counts as what it leads to, as on the board
    (main.py).
    """

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.partition("-")[0].split(".") if part.isdigit()]

    return numbers(version)[:2] < numbers(minimum)[:2]


def family_of(image: bytes) -> int | None:
    """Return the family that all blocks of a UF2 image are for; None if it is no whole UF2 image of one family."""
    families = set()
    for at in range(0, len(image), _BLOCK):
        block = image[at : at + _BLOCK]
        if len(block) < _BLOCK:
            return None
        first, second, flags = struct.unpack_from("<3I", block)
        (family,) = struct.unpack_from("<I", block, 28)
        if (first, second) != _MAGIC or struct.unpack_from("<I", block, _BLOCK - 4) != (_MAGIC_END,):
            return None
        families.add(family if flags & _HAS_FAMILY else None)
    return families.pop() if len(families) == 1 else None


def by_board_id(board_id: str) -> Chip:
    """Return the chip whose boot loader says that. Raises WrongBoard where it is none that Heartwire runs on."""
    for board in SUPPORTED:
        if board.chip.board_id == board_id:
            return board.chip
    known = ", ".join(dict.fromkeys(f"{board.chip.board_id} ({board.chip.name})" for board in SUPPORTED))
    raise WrongBoard(
        f"the board in its boot loader says Board-ID {board_id or '(none)'}, and the image is for {known}; "
        "nothing was written"
    )


def check_image(chip: Chip, image: bytes, name: str) -> None:
    """Raise WrongBoard unless the UF2 image `name` is for that chip."""
    family = family_of(image)
    if family != chip.family:
        words = "of no single family" if family is None else f"of UF2 family {family:08x}"
        raise WrongBoard(
            f"{name} is {words}, and the board in its boot loader is an {chip.name}, of family {chip.family:08x}; "
            "nothing was written",
            "`heartwire image` gets the right one",
        )


def _supported() -> str:
    return ", ".join(board.name for board in SUPPORTED)
