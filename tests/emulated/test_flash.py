"""`heartwire flash` against the emulated board over a pty, with the real mpremote: first install, cut, repeat."""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire.emulated import files
from heartwire.emulated.bridge import Bridge
from heartwire.emulated.chip import MS, EmulatedChip, filesystem_of
from heartwire.errors import HeartwireError
from heartwire.flash import install
from heartwire.flash.prompt import Prompt

pytestmark = pytest.mark.emulated
KEPT = {"data/settings.0": b"kept as it is"}


class Cut(Exception):
    """The plug is pulled here."""


def test_install_survives_a_cut_and_is_whole_when_repeated(board_image: Path, tmp_path: Path) -> None:
    chip = EmulatedChip(board_image, filesystem=files.build(KEPT, firmware=False))
    chip.run_while(lambda: not chip.usb.connected, 400 * MS)
    port = tmp_path / "ttyACM0"
    steps: list[int] = []

    def pull(done: int, total: int, _name: str) -> None:
        steps.append(total)
        if done > total // 2:
            raise Cut

    with Bridge(chip, port), pytest.raises((Cut, HeartwireError)):
        install.install(Prompt(str(port)), pull)
    assert steps
    flash = chip.contents()
    after_cut = files.read(filesystem_of(flash))
    assert "slot" not in after_cut, "switched to files that are not whole"
    assert after_cut["data/settings.0"] == KEPT["data/settings.0"]

    chip = EmulatedChip(board_image, flash=flash)
    chip.run_while(lambda: not chip.usb.connected, 400 * MS)
    seen: list[int] = []
    with Bridge(chip, port):
        slot = install.install(Prompt(str(port)), lambda done, total, _name: seen.append(done))
    found = files.read(filesystem_of(chip.contents()))
    assert found["slot"].decode() == slot
    assert found["data/settings.0"] == KEPT["data/settings.0"]
    for name, content in install.contents().items():
        assert found[name if name in ("boot.py", "main.py") else f"{slot}/{name}"] == content, name
    assert seen[0] > 0, "what had arrived before the cut was copied again"
    assert seen == sorted(seen)
