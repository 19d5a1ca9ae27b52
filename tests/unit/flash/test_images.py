"""The tables of boards and images: what stands in them fits together, what a board gets, what a download must be."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from heartwire.cli.main import main
from heartwire.flash import boards, images, update
from heartwire.flash.images import ImageMissing
from tests.unit.flash.conftest import NEW, World
from tests.unit.flash.test_boards import PICO2, block

ROOT = Path(__file__).parents[3]
PLUS = boards.by_id("WAVESHARE_RP2040_PLUS")
OTHER = "1.29.0"


def test_rows_fit_together() -> None:
    for names in ([board.id for board in boards.BOARDS], [board.machine for board in boards.BOARDS]):
        assert len(set(names)) == len(names)
    for board in boards.BOARDS:
        assert board.machine.endswith(f" with {board.chip.name}")
        assert 0 < board.filesystem_start < board.flash_bytes and board.filesystem_start % boards.BLOCK == 0
        assert board.refused or board.led == 25, "the firmware blinks that pin"
        assert bool(board.refused) != (board.id in images.PREFERENCES), "what is supported has a preference"
    for image in images.IMAGES:
        found = boards.by_id(image.board)
        assert not found.refused and image.name.startswith(f"{image.board}-2")
        assert image.name.endswith(f"-v{image.version}.uf2")
        assert len(image.sha256) == 64 and image.size % 512 == 0
        assert not boards.is_older(image.version, found.chip.minimum)
    for name, version in images.PREFERENCES.items():
        assert not boards.is_older(version, boards.by_id(name).chip.minimum)
    assert images.of(boards.PICO) is images.PREFERRED


# Addresses of a chip, as they are written in source: watchdog, UARTs.
REGISTERS = re.compile(r"0x400(58|5B|34|38|D8|DB|70|78)[0-9A-F]{3}", re.IGNORECASE)
TABLES = {"firmware/heartwire_protocol/chips.py", "firmware/boot.py", "firmware/main.py"}


def test_nothing_but_the_tables_knows_a_chip() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("firmware", "host")
        for path in (ROOT / folder).rglob("*.py")
        if REGISTERS.search(path.read_text())
    }
    assert found == TABLES


@pytest.mark.parametrize(
    ("board", "there", "wanted", "gets", "told"),
    [
        (boards.PICO, "1.24.0", None, None, "stays"),
        (boards.PICO, OTHER, None, None, "1.29.0 stays"),
        (boards.PICO, OTHER, "1.24.0", "1.24.0", "1.29.0 is replaced by 1.24.0"),
        (boards.PICO, "1.24.0", OTHER, OTHER, "1.24.0 is replaced by 1.29.0"),
        (boards.PICO, "1.23.0", None, "1.24.0", "files and settings stay"),
        (boards.PICO, "1.29.0-preview", None, "1.24.0", "1.29.0-preview is replaced"),
        (boards.PICO, "1.27.1", None, "1.24.0", "not recommended"),
        (boards.PICO, "1.24.1", None, "1.24.0", "1.24.1 is replaced"),
        (PLUS, "1.29.0", None, None, "no image for the Waveshare RP2040-Plus 4MB is pinned"),
        (PLUS, "1.26.0", None, None, "not recommended"),
        (boards.by_id("RPI_PICO2"), "1.27.0", None, None, "1.27.0 stays"),
    ],
)
def test_what_a_board_gets(board: boards.Board, there: str, wanted: str | None, gets: str | None, told: str) -> None:
    image, words = images.replacement(board, there, wanted)
    assert (image.version if image else None) == gets
    assert told in words
    assert ("not recommended" in words) == ("not recommended" in told)


@pytest.mark.parametrize(
    ("board", "there", "wanted"),
    [
        (PLUS, "1.23.0", None), (PLUS, "1.29.0-preview", None), (boards.by_id("RPI_PICO2"), "1.25.0", None),
        (boards.PICO, "1.24.0", "1.28.0"),
    ],
)  # fmt: skip
def test_what_no_image_is_pinned_for(board: boards.Board, there: str, wanted: str | None) -> None:
    with pytest.raises(ImageMissing, match="is pinned") as found:
        images.replacement(board, there, wanted)
    assert f"https://micropython.org/download/{board.id}" in found.value.next_step


def test_a_known_release_stays_unless_another_is_named(world: World) -> None:
    world.prompt(OTHER)
    assert world.flash() == update.Report(OTHER, "", NEW)
    assert f"MicroPython {OTHER} stays" in world.told
    assert "boot loader" not in world.steps
    world.prompt(OTHER)
    assert world.flash(micropython="1.24.0").micropython == "1.24.0"
    assert [image.version for image in world.got] == ["1.24.0"]


def test_a_board_without_images_keeps_its_micropython_and_says_what_is_not_proven(world: World) -> None:
    world.machine = PICO2
    world.prompt("1.29.0")
    assert world.flash() == update.Report("1.29.0", "", NEW)
    assert any("experimental" in words for words in world.told)
    world.prompt("1.25.0")
    with pytest.raises(ImageMissing):
        world.flash()
    assert "boot loader" not in world.steps and not world.got


def test_a_board_without_images_in_its_boot_loader_says_where_to_get_one(world: World) -> None:
    world.drive.mkdir()
    (world.drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v1.0\nModel: Raspberry Pi RP2350\nBoard-ID: RP2350\n")
    with pytest.raises(ImageMissing, match="Raspberry Pi Pico 2 is pinned"):
        world.flash()
    assert [file.name for file in world.drive.iterdir()] == ["INFO_UF2.TXT"]


def test_what_a_board_in_its_boot_loader_is_can_be_said(world: World) -> None:
    world.boot_loader()
    with pytest.raises(ImageMissing, match=PLUS.name):
        world.flash(board="waveshare_rp2040_plus")
    assert world.flash(board="RPI_PICO", micropython=OTHER).micropython == OTHER


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "heartwire" / "images"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"right", ""),
        (b"rights", "it has 6 bytes, and 5 are pinned"),
        (
            b"wrong",
            f"its SHA-256 is {hashlib.sha256(b'wrong').hexdigest()}, and {hashlib.sha256(b'right').hexdigest()}",
        ),
    ],
)
def test_a_download_is_what_is_pinned_or_says_how_it_differs(
    monkeypatch: pytest.MonkeyPatch, cache: Path, content: bytes, told: str
) -> None:
    image = replace(images.PREFERRED, size=5, sha256=hashlib.sha256(b"right").hexdigest())
    asked = []

    def opened(url: str, timeout: float) -> object:
        asked.append(url)
        answer = io.BytesIO(content)
        answer.headers = {"Content-Length": str(len(content))}  # type: ignore[attr-defined]
        return answer

    monkeypatch.setattr(images, "urllib", SimpleNamespace(request=SimpleNamespace(urlopen=opened)))
    if told:
        with pytest.raises(ImageMissing) as found:
            images.get(image=image)
        assert told in found.value.words and "nothing was kept" in found.value.words
        assert not cache.exists()
    else:
        assert images.get(image=image) == (cache / image.name, True)
        assert images.get(image=image) == (cache / image.name, False)
    assert asked == [image.url] and image.url.startswith("https://")


def test_an_image_that_is_damaged_in_the_cache_says_so(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / images.PREFERRED.name).write_bytes(b"half")
    with pytest.raises(ImageMissing, match="it has 4 bytes, and 666,624 are pinned"):
        images.find()


def test_the_command_gets_another_version_from_a_file(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.uf2").write_bytes(b"other")
    assert main(("image", "--micropython", OTHER, "--from", str(tmp_path / "other.uf2"))) == 17
    assert "it has 5 bytes, and 680,960 are pinned" in " ".join(capsys.readouterr().err.split())
    assert main(("image", "--micropython", "1.28.0")) == 17
    assert "no image of MicroPython 1.28.0" in " ".join(capsys.readouterr().err.split())
    assert main(("image", "--board", "nothing")) == 19


def test_the_end_of_an_image_is_read() -> None:
    found = boards.read_uf2(block(0xE48BFF56) + block(0xE48BFF57))
    assert found == boards.Uf2(0xE48BFF56, 256), "the block of erratum E10 is no part of it"


def test_what_holds_the_changes_of_micropython_is_there() -> None:
    page = (ROOT / "firmware" / "MICROPYTHON.md").read_text()
    named = re.findall(r"`((?:unit|emulated|emulated2350)/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 20
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file}::{name}"
