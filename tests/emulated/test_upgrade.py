"""MicroPython is replaced under a guarding board, forth and back, through the boot loader: settings, mode, epoch and
journal stay. The boot ROM is a folder, as in test_flash.py; everything waits for what happens.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire.emulated import files
from heartwire.emulated.bridge import Bridge
from heartwire.emulated.chip import MS, EmulatedChip, filesystem_of
from heartwire.flash import boards, bootsel, install, update
from heartwire.flash.prompt import Prompt
from heartwire_protocol.version import FIRMWARE_VERSION
from tests.bodies.bench import quick_settings
from tests.emulated.conftest import cached_images
from tests.emulated.rig import EPOCH, epoch_of, journal_of, stored
from tests.emulated.test_flash import KEY, PATIENCE_S, RESTART_S, BootRom, Host, know

pytestmark = pytest.mark.emulated
# From this on much of what the firmware stands on is another one's (firmware/README.md).
NEWER = "1.26"


class Desk:
    """A board on a port, and what its boot loader makes of it."""

    def __init__(self, port: Path, drive: Path, chip: EmulatedChip) -> None:
        self.port, self.drive = port, drive
        self.rom: BootRom | None = None
        self.bridge = Bridge(chip, port)
        self.bridge.__enter__()

    def chip(self) -> EmulatedChip:
        """The chip that has the flash now."""
        bridge = self.rom.bridge if self.rom is not None else self.bridge
        assert bridge is not None, "no image has arrived"
        return bridge.chip

    def enter_boot_loader(self) -> None:
        """The port goes, the drive comes; the image that is copied there runs on the same files."""
        chip = self.chip()
        self.close()
        self.rom = BootRom(self.drive, self.port, filesystem_of(chip.contents()))
        self.rom.__enter__()

    def close(self) -> None:
        """Take the board off its port."""
        (self.rom or self.bridge).__exit__(None, None, None)


def test_a_newer_micropython_and_back_keeps_everything(
    board_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = cached_images()
    old = next(one for one in cached if one.path == board_image)
    like = [one for one in cached if one.board.filesystem_start == old.board.filesystem_start]
    newer = [one for one in like if not boards.is_older(one.version, NEWER)]
    if not newer or not boards.is_older(old.version, NEWER):
        pytest.skip(
            f"not installed: micropython-image (one before {NEWER} and one from it on: "
            "`heartwire image --micropython VERSION` gets it)"
        )
    new = newer[-1]
    port, drive = tmp_path / "ttyACM0", tmp_path / "RPI-RP2"
    know(monkeypatch, [old, new])
    monkeypatch.setenv(bootsel.ENVIRONMENT, str(drive))
    monkeypatch.setattr(bootsel, "PLACES", ())
    monkeypatch.setattr(update, "RETURN_S", RESTART_S)
    kept = stored(quick_settings(board__configure_key=KEY))
    host = Host(port, tmp_path)
    # The firmware has arrived in both folders before: copying it takes most of an update, and test_flash.py sees it.
    whole = install.contents()["heartwire_board.mpy"]
    arrived = {f"{slot}/heartwire_board.mpy": whole for slot in install.SLOTS}
    chip = EmulatedChip(board_image, filesystem=files.build(kept | arrived))
    chip.run_while(lambda: not chip.usb.connected, 400 * MS)
    desk = Desk(port, drive, chip)
    monkeypatch.setattr(Prompt, "enter_boot_loader", lambda _: desk.enter_boot_loader())
    boots = []
    try:
        for version, before in ((new.version, old.version), (old.version, new.version)):
            report = host.flash(PATIENCE_S, micropython=version)
            assert report == update.Report(version, FIRMWARE_VERSION, FIRMWARE_VERSION)
            assert f"MicroPython {before} is replaced by {version}; files and settings stay" in " ".join(host.told)
            status = host.status()
            assert (status.mode, status.epoch, status.maintenance_s) == ("auto", EPOCH, 0)
            boots.append(status.boot)
        found = files.read(filesystem_of(desk.chip().contents()))
    finally:
        desk.close()
    assert boots[1] > boots[0] > 1
    assert found["data/settings.0"] == kept["data/settings.0"]
    assert epoch_of(found) == EPOCH
    rows = [row["sequence"] for row in journal_of(found)]
    assert rows == list(range(1, 1 + len(rows))), "records are missing"
