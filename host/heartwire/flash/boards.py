"""Boards and chips by table: which one a prompt or a boot loader's drive belongs to, and whether Heartwire runs on it.

A board is known by what its MicroPython calls it, to the letter; a boot loader tells its chip only. What stands in no
row is refused: a guard that looks installed and cannot cut anything is worse than none. Registers stand in
heartwire_protocol.chips, images in images.py; nothing else knows a chip. No I/O. Used by flash, the virtual board and
the emulated one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from heartwire.errors import HeartwireError
from heartwire_protocol import chips

BLOCK = 4096


class WrongBoard(HeartwireError):
    """It is no board that Heartwire runs on, or the image is not for it."""

    exit_code = 19
    meaning = "Heartwire does not run on that board"
    default_next = "take a Raspberry Pi Pico (RP2040)"


@dataclass(frozen=True)
class Chip:
    """A chip: `board_id` is its boot loader's (the drive's label too), `family` stands in the blocks of an image; the
    clocks of processor and peripherals that MicroPython sets; base addresses; the oldest MicroPython that it runs with.
    """

    name: str
    board_id: str
    family: int
    clock_hz: int
    peripheral_hz: int
    watchdog: int
    uarts: tuple[int, int]
    minimum: str

    @property
    def scratch(self) -> int:
        """The address of the watchdog's first scratch register."""
        return self.watchdog + chips.SCRATCH


def _chip(name: str, board_id: str, family: int, clock_hz: int, peripheral_hz: int) -> Chip:
    _, watchdog, uart0, uart1, oldest = next(row for row in chips.CHIPS if row[0] == name)
    minimum = ".".join(map(str, oldest))
    return Chip(name, board_id, family, clock_hz, peripheral_hz, watchdog, (uart0, uart1), minimum)


@dataclass(frozen=True)
class Board:
    """A board: `id` is MicroPython's own (images are named after it), `machine` as its MicroPython says it; the size of
    its flash in bytes and the blocks of its file system, which ends it; the GPIO of its LED, None where it has none of
    its own. Why Heartwire does not run on it ("" where it does), and what is not proven of one on which it does.
    """

    id: str
    name: str
    machine: str
    chip: Chip
    flash_bytes: int
    blocks: int
    led: int | None = 25
    refused: str = ""
    unproven: str = ""

    @property
    def filesystem_start(self) -> int:
        """Where in the flash the file system begins; an image ends before."""
        return self.flash_bytes - self.blocks * BLOCK


# Board-ID: boot ROM sources (pico-bootrom-rp2040, -rp2350); families: uf2families.json of the UF2 specification (of the
# RP2350's, Arm in secure mode); clocks: SDK 2.x, which MicroPython leaves as they are.
RP2040 = _chip("RP2040", "RPI-RP2", 0xE48BFF56, 125_000_000, 48_000_000)
RP2350 = _chip("RP2350", "RP2350", 0xE48BFF59, 150_000_000, 48_000_000)
CHIPS = (RP2040, RP2350)
_RADIO = "MicroPython for its radio leaves too little memory for the firmware"
_RADIO_LED = "its LED hangs on the radio, and so does the pin that the firmware blinks"
_PINS = "it brings out 11 pins, and the firmware uses 27"
_SEEN_EMULATED = "experimental: an emulated one has run the firmware with these registers, no real one has"
_SAME_AS_PICO = "not seen: by its table the same as a Raspberry Pi Pico with more flash"
_MB = 1024 * 1024
# Names and sizes: MICROPY_HW_BOARD_NAME, MICROPY_HW_MCU_NAME and MICROPY_HW_FLASH_STORAGE_BYTES in ports/rp2 of
# MicroPython, PICO_FLASH_SIZE_BYTES in the SDK's header of the board. All but the XIAO have the pins of the Pico.
BOARDS = (
    Board("RPI_PICO", "Raspberry Pi Pico", "Raspberry Pi Pico with RP2040", RP2040, 2 * _MB, 352),
    Board(
        "RPI_PICO2", "Raspberry Pi Pico 2", "Raspberry Pi Pico2 with RP2350", RP2350, 4 * _MB, 768,
        unproven=_SEEN_EMULATED,
    ),
    Board(
        "PIMORONI_PICOLIPO", "Pimoroni Pico LiPo 4MB", "Pimoroni Pico LiPo 4MB with RP2040", RP2040, 4 * _MB, 768,
        unproven=_SAME_AS_PICO,
    ),
    Board(
        "WAVESHARE_RP2040_PLUS", "Waveshare RP2040-Plus 4MB", "Waveshare RP2040-Plus 4MB with RP2040", RP2040, 4 * _MB,
        768, unproven=_SAME_AS_PICO,
    ),
    Board(
        "RPI_PICO_W", "Raspberry Pi Pico W", "Raspberry Pi Pico W with RP2040", RP2040, 2 * _MB, 212, led=None,
        refused=_RADIO,
    ),
    Board(
        "RPI_PICO2_W", "Raspberry Pi Pico 2 W", "Raspberry Pi Pico 2 W with RP2350", RP2350, 4 * _MB, 640, led=None,
        refused=_RADIO_LED,
    ),
    Board(
        "SEEED_XIAO_RP2040", "Seeed Studio XIAO RP2040", "Seeed Studio XIAO RP2040 with RP2040", RP2040, 2 * _MB, 352,
        refused=_PINS,
    ),
)  # fmt: skip
PICO = BOARDS[0]
SUPPORTED = tuple(board for board in BOARDS if not board.refused)

# https://github.com/microsoft/uf2: blocks of 512 bytes; magics at 0, 4 and 508, flags at 8, address and length of the
# data at 12, family at 28, data from 32 on.
_UF2_BLOCK, _UF2_DATA = 512, 32
_MAGIC = (0x0A324655, 0x9E5D5157)
_MAGIC_END = 0x0AB16F30
_HAS_FAMILY = 0x2000
# Where the flash begins in the chip's addresses (RP2040 datasheet 2.2, RP2350 2.2).
_FLASH_BASE = 0x10000000
# The family of blocks that only mark the end of what is erased (erratum E10 of the RP2350), for any chip.
_ABSOLUTE = 0xE48BFF57


def by_machine(machine: str) -> Board:
    """Return the board of that name. Raises WrongBoard where it is none that Heartwire runs on."""
    for board in BOARDS:
        if board.machine == machine:
            if board.refused:
                raise WrongBoard(f"this is a {board.name}: {board.refused}")
            return board
    named = f"it says that it is: {machine}" if machine else "it does not say what it is"
    raise WrongBoard(f"this board is not in the table of boards ({named}); known: {_supported()}")


def by_id(name: str) -> Board:
    """Return the board of that id or name, however it is written. Raises WrongBoard where there is none."""
    for board in BOARDS:
        if name.strip().lower() in (board.id.lower(), board.name.lower()):
            return board
    raise WrongBoard(f"{name} is not in the table of boards", "`heartwire image --list` names them")


def is_older(version: str, minimum: str) -> bool:
    """Tell whether a MicroPython version is older than a minimum; a preview counts as what it leads to, as on the board
    (main.py).
    """

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.partition("-")[0].split(".") if part.isdigit()]

    return numbers(version)[:2] < numbers(minimum)[:2]


@dataclass(frozen=True)
class Uf2:
    """What the blocks of a UF2 image say: for which family, and where in the flash it ends."""

    family: int
    end: int


def _block(block: bytes) -> tuple[int | None, int, int] | None:
    """Return a UF2 block's family (None: it names none), and offset and length of its data in the flash; None if it is
    no whole one.
    """
    if len(block) < _UF2_BLOCK:
        return None
    first, second, flags, address, length = struct.unpack_from("<5I", block)
    (family,) = struct.unpack_from("<I", block, 28)
    if (first, second) != _MAGIC or struct.unpack_from("<I", block, _UF2_BLOCK - 4) != (_MAGIC_END,):
        return None
    # The mark of erratum E10 counts with and without that flag.
    named = family if flags & _HAS_FAMILY or family == _ABSOLUTE else None
    return named, address - _FLASH_BASE, length


def read_uf2(image: bytes) -> Uf2 | None:
    """Return what a UF2 image says; None if it is no whole UF2 image of one family."""
    families, end = set(), 0
    for at in range(0, len(image), _UF2_BLOCK):
        found = _block(image[at : at + _UF2_BLOCK])
        if found is None:
            return None
        family, start, length = found
        if family != _ABSOLUTE:
            families.add(family)
            end = max(end, start + length)
    family = families.pop() if len(families) == 1 else None
    return None if family is None else Uf2(family, end)


def uf2_pieces(image: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield offset and data of what an image that `read_uf2` takes puts into the flash."""
    for at in range(0, len(image), _UF2_BLOCK):
        found = _block(image[at : at + _UF2_BLOCK])
        if found is not None and found[0] != _ABSOLUTE:
            yield found[1], image[at + _UF2_DATA : at + _UF2_DATA + found[2]]


def by_board_id(board_id: str) -> Chip:
    """Return the chip whose boot loader says that. Raises WrongBoard where it is none that Heartwire runs on."""
    for board in SUPPORTED:
        if board.chip.board_id == board_id:
            return board.chip
    known = ", ".join(dict.fromkeys(f"{board.chip.board_id} ({board.chip.name})" for board in SUPPORTED))
    raise WrongBoard(
        f"the board in its boot loader says Board-ID {board_id or '(none)'}, and images are for {known}; "
        "nothing was written"
    )


def check_image(chip: Chip, image: bytes, name: str) -> None:
    """Raise WrongBoard unless the UF2 image `name` is for that chip."""
    found = read_uf2(image)
    if found is None or found.family != chip.family:
        words = "of no single family" if found is None else f"of UF2 family {found.family:08x}"
        raise WrongBoard(
            f"{name} is {words}, and the board in its boot loader is an {chip.name}, of family {chip.family:08x}; "
            "nothing was written",
            "`heartwire image` gets the right one",
        )


def _supported() -> str:
    return ", ".join(board.name for board in SUPPORTED)
