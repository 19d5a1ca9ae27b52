"""A board in its boot loader: a USB drive that takes one UF2 file and restarts with it.

Looks only where desktop systems mount drives; it mounts nothing, and writes an image only to the boot loader of the
chip that it is for. Called by `heartwire flash`.
"""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from heartwire.errors import NoAnswer, StorageProblem
from heartwire.flash import boards

# The drive's label is the chip's Board-ID. One of another chip is found as well, to be refused by its name.
PLACES = tuple(
    f"{folder}/{chip.board_id}" for chip in boards.CHIPS for folder in ("/media/*", "/run/media/*", "/Volumes", "/mnt")
)
INFO = "INFO_UF2.TXT"
WAIT_S = 20.0
# Where else to look, for systems that mount elsewhere.
ENVIRONMENT = "HEARTWIRE_BOOTSEL"


def find() -> Path | None:
    """Return the mounted drive of a board in its boot loader, known by its exact Board-ID, or None."""
    known = [chip.board_id for chip in boards.CHIPS]
    return next((drive for drive in _drives() if board_id(drive) in known), None)


def lookalike() -> Path | None:
    """Return a drive that calls itself something like a board's and is none, to be named where no board is found."""
    return next((drive for drive in _drives() if "RP2" in _info(drive)), None)


def _drives() -> Iterator[Path]:
    extra = os.environ.get(ENVIRONMENT)
    for place in ([extra] if extra else []) + list(PLACES):
        yield from (Path(found) for found in sorted(glob.glob(place)))  # noqa: PTH207 - absolute patterns


def _info(folder: Path) -> str:
    try:
        return (folder / INFO).read_text(errors="replace")
    except OSError:
        return ""


def board_id(drive: Path) -> str:
    """Return the Board-ID that the boot loader on this drive says; "" if it says none or cannot be read."""
    lines = _info(drive).splitlines()
    found = [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == "Board-ID"]
    return found[0] if len(found) == 1 else ""


def wait(limit_s: float = WAIT_S) -> Path:
    """Return the drive once it is mounted. Raises NoAnswer after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while (drive := find()) is None:
        if time.monotonic() > deadline:
            raise NoAnswer(
                "the board is in its boot loader, but its drive RPI-RP2 is not mounted",
                f"mount it, or name its folder in {ENVIRONMENT}, and repeat the command",
            )
        time.sleep(0.2)
    return drive


def write(drive: Path, image: Path) -> None:
    """Copy the image onto the drive; the board restarts with it. Raises StorageProblem, and WrongBoard with nothing
    written where the image is not for the chip of that drive.
    """
    try:
        content = image.read_bytes()
    except OSError as error:
        raise StorageProblem(f"{image}: {error.strerror}") from None
    boards.check_image(boards.by_board_id(board_id(drive)), content, image.name)
    try:
        shutil.copyfile(image, drive / image.name)
        if hasattr(os, "sync"):
            os.sync()
    except OSError as error:
        # The drive goes away as soon as the last block has arrived, which some systems report as a failure. Its folder
        # may stay, empty.
        if board_id(drive):
            raise StorageProblem(f"{drive}: {error.strerror}") from None
