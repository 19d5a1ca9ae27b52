"""Which board it is: what its MicroPython calls it, its boot loader's Board-ID, and the family of the image."""

from __future__ import annotations

import json
import struct
import sys
from types import SimpleNamespace

import pytest

from heartwire.flash import boards, bootsel, images, install, update
from heartwire.flash.boards import WrongBoard
from tests.unit.flash.conftest import IMAGE, NEW, OLD, PICO, World

PICO2 = "Raspberry Pi Pico2 with RP2350"
OTHERS = (
    "Raspberry Pi Pico W with RP2040", "Raspberry Pi Pico 2 W with RP2350", "Raspberry Pi Pico2 with RP2350-RISCV",
    "Seeed Studio XIAO RP2040 with RP2040", "Generic ESP32 module with ESP32", "raspberry pi pico with rp2040", "",
)  # fmt: skip


@pytest.mark.parametrize("machine", OTHERS)
def test_a_board_of_another_kind_is_refused_before_anything_is_written(world: World, machine: str) -> None:
    world.machine = machine
    world.prompt()
    with pytest.raises(WrongBoard) as found:
        world.flash()
    assert world.steps == ["reset"], "left as it was"
    assert machine in found.value.words or any(board.name in found.value.words for board in boards.BOARDS)


def test_a_guard_on_such_a_board_goes_on(world: World) -> None:
    world.machine = OTHERS[0]
    world.guard()
    with pytest.raises(WrongBoard, match="Raspberry Pi Pico W"):
        world.flash()
    assert (world.where, world.firmware) == ("guarding", OLD)
    assert "copy" not in world.steps


def test_its_micropython_is_not_replaced(world: World) -> None:
    world.machine = OTHERS[0]
    world.prompt("1.23.0")
    with pytest.raises(WrongBoard):
        world.flash()
    assert "boot loader" not in world.steps


@pytest.mark.parametrize("board_id", ["RP2351", "RPI-RP2 ", "RPI-RP20", "rpi-rp2", "", "RPI-RP2\r\nBoard-ID: RP2351"])
def test_only_the_exact_board_id_gets_the_image(world: World, board_id: str) -> None:
    world.drive.mkdir()
    (world.drive / bootsel.INFO).write_text(
        f"UF2 Bootloader v1.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: {board_id}\r\n"
    )
    if board_id == "RPI-RP2 ":
        assert boards.by_board_id(bootsel.board_id(world.drive)) is boards.RP2040, "white space is no difference"
        return
    with pytest.raises(WrongBoard, match="nothing was written") as found:
        world.flash()
    assert "RPI-RP2 (RP2040)" in found.value.words
    assert "RP2351" not in board_id or "\n" in board_id or "Board-ID RP2351" in found.value.words
    assert [file.name for file in world.drive.iterdir()] == [bootsel.INFO]
    assert world.told == []


def block(family: int, flags: int = 0x2000, magic: int = 0x0A324655) -> bytes:
    """Return one block of a UF2 image."""
    return struct.pack("<8I476xI", magic, 0x9E5D5157, flags, 0x10000000, 256, 0, 1, family, 0x0AB16F30)


@pytest.mark.parametrize(
    "image",
    [
        block(0xE48BFF59), IMAGE + block(0xE48BFF59), block(0xE48BFF56, flags=0), IMAGE[:-1], b"", b"no image",
        block(0xE48BFF56, magic=1),
    ],
    ids=["RP2350", "mixed", "no family", "cut", "empty", "text", "magic"],
)  # fmt: skip
def test_an_image_of_another_family_is_not_written(world: World, image: bytes) -> None:
    world.image.write_bytes(image)
    world.boot_loader()
    with pytest.raises(WrongBoard, match="of family e48bff56; nothing was written") as found:
        world.flash()
    assert images.PREFERRED.name in found.value.words
    assert [file.name for file in world.drive.iterdir()] == [bootsel.INFO]


def test_a_preview_is_no_release(world: World) -> None:
    world.prompt(f"{images.PREFERRED.version}-preview")
    assert world.flash() == update.Report(images.PREFERRED.version, "", NEW)
    assert "image written" in world.steps


@pytest.mark.parametrize(
    ("machine", "version", "told"),
    [
        (PICO, (1, 24, 0, ""), "1.24.0"),
        (PICO, (1, 29, 0, "preview"), "1.29.0-preview"),
        (PICO, (1, 20, 0), "1.20.0"),
        (PICO2, (1, 29, 0, ""), "1.29.0"),
        (OTHERS[0], (1, 24, 0, ""), "1.24.0"),
        (None, (1, 18, 0), "1.18.0"),
    ],
)
def test_looking_writes_to_no_register_of_another_chip(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    machine: str | None,
    version: tuple[object, ...],
    told: str,
) -> None:
    class Implementation(tuple[object, ...]):  # as MicroPython's, which is a tuple with names
        pass

    implementation = Implementation(("micropython", version))
    if machine is not None:
        implementation._machine = machine  # type: ignore[attr-defined]
    registers: dict[int, int] = {}
    monkeypatch.setattr(sys, "implementation", implementation)
    monkeypatch.setitem(sys.modules, "machine", SimpleNamespace(mem32=registers))

    class Here:
        def run(self, script: str) -> object:
            exec(script, {})
            return json.loads(capsys.readouterr().out.splitlines()[-1])

    found = install.look(Here())  # type: ignore[arg-type]
    assert (found.micropython, found.machine) == (told, machine or "")
    clears = {PICO: {0x4005B000: 1 << 30}, PICO2: {0x400DB000: 1 << 30}}
    assert registers == clears.get(machine or "", {})
