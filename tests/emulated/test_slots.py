"""Updates that cannot strand a board: firmware that does not start gives way to the one before; no prompt without the
key switch; a chip and a MicroPython that are not ours are left alone. Times are virtual.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heartwire.emulated import files
from heartwire.emulated.chip import MS, EmulatedChip
from heartwire.flash import install
from heartwire.simulate.rack import POWER
from heartwire.virtual.image import ROOT_FILES
from heartwire_protocol import events
from tests.bodies.bench import quick_settings
from tests.emulated.conftest import forked
from tests.emulated.rig import EPOCH, Rig, stored

pytestmark = pytest.mark.emulated
MODULE = "heartwire_board.mpy"
GIVE_UP = 8
BAD_START_MS = 1200
# RP2040 datasheet 4.7.2 and erratum E1.
TICKS_OF_A_MS = 2000


def _spoiled(kind: str, whole: bytes) -> dict[str, bytes]:
    """Return the files of a folder whose firmware does not come to run."""
    return {
        "missing": {"readme": b""},
        "raises": {"heartwire_board.py": b"raise ValueError('cannot be loaded')\n"},
        "other format": {MODULE: b"\0" + whole[1:]},
        "another version": {MODULE: whole[:1] + b"\x05" + whole[2:]},
        "no memory": {"heartwire_board.py": b"x = bytearray(300000)\n"},
        "no guard": {"heartwire_board.py": b"x = 1\n"},
        "half": {MODULE: whole[: len(whole) // 2]},
        "hangs": {"heartwire_board.py": b"while True:\n    pass\n"},
    }[kind]


def _board(slot: str, good: str | None, bad: dict[str, bytes], bad_slot: str) -> dict[str, bytes]:
    """Return all files of a board whose folder `bad_slot` holds `bad`, and `good` the firmware of this checkout."""
    firmware = install.contents()
    found = {name: data for name, data in firmware.items() if name in ROOT_FILES}
    found |= {f"{bad_slot}/{name}": data for name, data in bad.items()}
    if good is not None:
        found |= {f"{good}/{name}": data for name, data in firmware.items() if name not in ROOT_FILES}
    return {**found, "slot": slot.encode(), **stored(quick_settings())}


class SlotRig(Rig):
    """A rig whose board has two folders of firmware."""

    def __init__(self, image: Path, data: dict[str, bytes], nodes: int = 2) -> None:
        super().__init__(image, nodes=nodes, data=data)
        # The one at the top, which a rig's board has, would be found as well.
        system = files.build(data, firmware=False)
        self.chip.mcu.flash[0xA0000 : 0xA0000 + len(system)] = system


KINDS = ("missing", "raises", "other format", "another version", "no memory", "no guard", "half", "hangs")


@pytest.mark.parametrize(
    ("kind", "slot", "other"), [*((kind, "fw_a", "fw_b") for kind in KINDS), ("raises", "fw_b", "fw_a")]
)
def test_after_three_bad_starts_the_firmware_before_guards(board_image: Path, kind: str, slot: str, other: str) -> None:
    def body() -> dict[str, Any]:
        whole = install.contents()[MODULE]
        rig = SlotRig(board_image, _board(slot, other, _spoiled(kind, whole), slot))
        watchdog = rig.chip.mcu.watchdog
        while len(rig.chip.resets) < 3:
            before = len(rig.chip.resets)
            rig.chip.run_for(BAD_START_MS * MS)
            if len(rig.chip.resets) == before:
                # It hangs; nothing happens until the watchdog ends that.
                watchdog.timer.set(TICKS_OF_A_MS)
        rig.chip.run_for(4000 * MS)
        found: dict[str, Any] = {
            "resets": len(rig.chip.resets),
            "status": rig.ask("status"),
            "platform": rig.ask("platform"),
            "relays": [edge for edge in rig.chip.edges if edge.signal in POWER and edge.level == 1],
            "running": [fake.running for fake in rig.nodes],
            "rows": [(row["event"], row["a"]) for row in rig.journal()],
            "prompt": b">>>" in rig.usb,
        }
        rig.chip.usb.send(b"\x03\x03")
        rig.chip.run_for(2000 * MS)
        found["prompt"] = found["prompt"] or b">>>" in rig.usb
        found["slot"] = rig.files()["slot"]
        return found

    found = forked(body)
    assert found["resets"] == 3
    status = found["status"]
    assert (status["mode"], status["epoch"], status["safe"], status["active"]) == ("auto", EPOCH, 0, "a")
    platform = found["platform"]
    assert (platform["micropython"], platform["machine"]) == ("1.24.0", "Raspberry Pi Pico with RP2040")
    assert platform["folder"] == other, "what it runs is what it says"
    assert found["slot"] == other.encode(), "the next start would try the bad one again"
    assert (events.FELL_BACK, 3) in found["rows"]
    assert found["relays"] == [] and found["running"] == [True, False]
    assert not found["prompt"]


@pytest.mark.parametrize("key", [False, True], ids=["without key", "key switch on"])
def test_where_neither_starts_only_the_key_switch_gives_the_prompt(board_image: Path, key: bool) -> None:
    def body() -> tuple[int, bytes, list[tuple[str, int | None]], dict[str, bytes]]:
        bad = _spoiled("raises", b"")
        data = _board("fw_a", None, bad, "fw_a") | {f"fw_b/{name}": text for name, text in bad.items()}
        rig = SlotRig(board_image, data, nodes=0)
        rig.chip.set_input("KEY", key)
        rig.chip.run_while(lambda: len(rig.chip.resets) < GIVE_UP - 1, GIVE_UP * BAD_START_MS * MS)
        rig.chip.run_for(7000 * MS)
        rig.chip.usb.send(b"\x03\x03\r\nprint(6 * 7)\r\n")
        rig.chip.run_for(300 * MS)
        levels = [(edge.signal, edge.level) for edge in rig.chip.edges if edge.signal in (*POWER, "ARM")]
        return len(rig.chip.resets), bytes(rig.usb), levels, rig.files()

    resets, said, levels, found = forked(body)
    assert (b"\r\n42\r\n" in said) is key
    assert (b">>>" in said) is key
    assert resets == GIVE_UP - 1 if key else resets >= GIVE_UP
    assert {level for _, level in levels} <= {0, None}, "a relay moved"
    assert b"cannot be loaded" in found["crash.txt"]


def _renamed(chip: EmulatedChip, old: bytes, new: bytes) -> None:
    """Let this MicroPython say that it is for something else."""
    at = bytes(chip.mcu.flash).find(old)
    assert at >= 0 and len(old) == len(new)
    chip.mcu.flash[at : at + len(new)] = new


def test_on_another_chip_nothing_is_touched_and_the_prompt_says_why(board_image: Path) -> None:
    def body() -> tuple[list[Any], bytes, int, list[int], bool]:
        rig = Rig(board_image, nodes=0, data=stored(quick_settings()))
        _renamed(rig.chip, b"Pico with RP2040", b"Pico with RP9999")
        mark = 0x2A57F001  # of a fence under way, if the register were one
        rig.chip.mcu.watchdog.scratch_data[0] = mark
        rig.chip.run_for(1500 * MS)
        rig.chip.usb.send(b"print(6 * 7)\r\n")
        rig.chip.run_for(200 * MS)
        scratch = [rig.chip.scratch(index) for index in range(3)]
        return (
            list(rig.chip.edges),
            bytes(rig.usb),
            len(rig.chip.resets),
            scratch,
            bool(rig.chip.mcu.watchdog.timer.enable),
        )

    edges, said, resets, scratch, watched = forked(body)
    assert edges == [] and resets == 0 and not watched
    assert scratch == [0x2A57F001, 0, 0]
    assert b"runs on the RP2040 and the RP2350, and this is: Raspberry Pi Pico with RP9999" in said
    assert b"\r\n42\r\n" in said
