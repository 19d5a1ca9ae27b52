"""A board in its boot loader: a USB drive that takes one UF2 file and restarts with it.

Looks only where desktop systems mount drives; it mounts nothing and writes to no drive that does not say that it is an
RP2040. Called by `heartwire flash`.
"""

from __future__ import annotations

import glob
import os
import shutil
import time
from pathlib import Path

from heartwire.errors import NoAnswer, StorageProblem

PLACES = ("/media/*/RPI-RP2", "/run/media/*/RPI-RP2", "/Volumes/RPI-RP2", "/mnt/RPI-RP2")
INFO = "INFO_UF2.TXT"
WAIT_S = 20.0
# Where else to look, for systems that mount elsewhere.
ENVIRONMENT = "HEARTWIRE_BOOTSEL"


def find() -> Path | None:
    """Return the mounted drive of a board in its boot loader, or None."""
    extra = os.environ.get(ENVIRONMENT)
    for place in ([extra] if extra else []) + list(PLACES):
        for found in sorted(glob.glob(place)):  # noqa: PTH207 - absolute patterns
            if _is_drive(Path(found)):
                return Path(found)
    return None


def _is_drive(folder: Path) -> bool:
    try:
        return "RP2" in (folder / INFO).read_text(errors="replace")
    except OSError:
        return False


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
    """Copy the image onto the drive; the board restarts with it. Raises StorageProblem."""
    try:
        shutil.copyfile(image, drive / image.name)
        if hasattr(os, "sync"):
            os.sync()
    except OSError as error:
        # The drive goes away as soon as the last block has arrived, which some systems report as a failure. Its folder
        # may stay, empty.
        if _is_drive(drive):
            raise StorageProblem(f"{drive}: {error.strerror}") from None
