"""A board's life with `heartwire flash`: real mpremote, real command code, over a pty that vanishes at each restart.

The boot ROM is not emulated: a folder stands for its drive (BootRom), from the arrival of the image on the chip is the
emulated one again. Everything waits for what happens; nothing asserts how long it took.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from heartwire import keys, ports
from heartwire.answers import Status
from heartwire.board import Board
from heartwire.emulated import files
from heartwire.emulated.bridge import Bridge
from heartwire.emulated.chip import MS, EmulatedChip, filesystem_of
from heartwire.errors import HeartwireError
from heartwire.flash import boards, bootsel, images, install, update
from heartwire.flash.prompt import Prompt
from heartwire.virtual.image import ROOT_FILES, find_firmware
from heartwire_protocol import events
from heartwire_protocol.version import FIRMWARE_VERSION
from tests.bodies.bench import quick_settings
from tests.emulated.conftest import Cached, cached_images
from tests.emulated.rig import EPOCH, epoch_of, journal_of, stored

pytestmark = pytest.mark.emulated
KEY = "5a" * 32
NEXT_VERSION = "99.0.1"
# What a host waits for this chip, whose seconds are several of ours.
PATIENCE_S = 30.0
# And this for its restart, which takes most of a virtual second.
RESTART_S = 600.0
# At the prompt nobody answers hello, which costs the host this long once.
SHORT_S = 4.0
# So many pages and sectors of a file are written before the interrupt comes.
BEGUN = 20


class Cut(Exception):
    """The plug is pulled here."""


class BootRom:
    """Stands for the boot ROM: a folder that takes one image, vanishes, and is the board with that image from then on.

    The image that arrives is what the chip runs; `filesystem` is what was on its flash. Use it with `with`.
    """

    def __init__(self, drive: Path, port: Path, filesystem: bytes) -> None:
        self.bridge: Bridge | None = None
        self._drive, self._port, self._filesystem = drive, port, filesystem
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._drive.mkdir()
        (self._drive / bootsel.INFO).write_text("UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        if self.bridge is not None:
            self.bridge.__exit__(kind, value, trace)

    def _watch(self) -> None:
        while not self._ending.wait(0.05):
            for arrived in self._drive.glob("*.uf2"):
                if not _is_whole(arrived.read_bytes()):
                    continue
                image = Path(shutil.move(arrived, self._drive.with_name("received.uf2")))
                shutil.rmtree(self._drive)
                chip = EmulatedChip(image, filesystem=self._filesystem)
                bridge = Bridge(chip, self._port)
                bridge.__enter__()
                self.bridge = bridge
                return


def _is_whole(image: bytes) -> bool:
    """Tell whether a UF2 image has arrived: its first block says how many there are."""
    return len(image) >= 512 and len(image) == 512 * int.from_bytes(image[24:28], "little")


class Host:
    """The user at the board's port, with the configure key; what was asked, told and copied."""

    def __init__(self, port: Path, folder: Path) -> None:
        self.port = str(port)
        self.key_file = folder / "keys"
        self.key_file.write_text(f"configure={KEY}\n")
        self.key_file.chmod(0o600)
        self.asked: list[str] = []
        self.told: list[str] = []
        self.copied: list[int] = []

    def flash(
        self,
        timeout_s: float,
        copied: Callable[[int, str], None] = lambda done, name: None,
        micropython: str | None = None,
    ) -> update.Report:
        """Run the command's code; `copied` sees the progress."""
        self.asked, self.told, self.copied = [], [], []

        def progress(done: int, total: int, name: str) -> None:
            assert total == 1 + len(ROOT_FILES)
            self.copied.append(done)
            copied(done, name)

        return update.flash(
            update.Way(self.port, keys.find(self.key_file), timeout_s),
            confirm=self.asked.append,
            tell=self.told.append,
            progress=progress,
            micropython=micropython,
        )

    def status(self) -> Status:
        """Ask the board."""
        with Board.open(self.port, keys=keys.find(self.key_file), timeout_s=PATIENCE_S) as board:
            return board.status()


def know(monkeypatch: pytest.MonkeyPatch, cached: Sequence[Cached]) -> None:
    """Let these images be pinned for every board that they are for, and all of those be supported: a row each."""
    known = [replace(one.board, refused="") for one in cached]
    rows = tuple(
        images.Image(board.id, one.version, one.path.name, len(content), hashlib.sha256(content).hexdigest())
        for board in known
        for one in cached
        for content in (one.path.read_bytes(),)
    )
    monkeypatch.setattr(boards, "BOARDS", tuple(known))
    monkeypatch.setattr(boards, "SUPPORTED", tuple(known))
    monkeypatch.setattr(images, "IMAGES", rows)
    monkeypatch.setattr(images, "PREFERENCES", {board.id: cached[0].version for board in known})


@pytest.fixture
def known(board_image: Path, monkeypatch: pytest.MonkeyPatch) -> Cached:
    """The image under test, pinned for a board that is supported."""
    found = next(one for one in cached_images() if one.path == board_image)
    know(monkeypatch, [found])
    return found


def later_firmware(folder: Path) -> dict[str, Path]:
    """Return this firmware under another version, so that it is seen which of two slots runs."""
    found = find_firmware()
    name = "heartwire_protocol/version.py"
    text = found[name].read_text()
    assert FIRMWARE_VERSION in text
    changed = folder / "version.py"
    changed.write_text(text.replace(FIRMWARE_VERSION, NEXT_VERSION))
    return {**found, name: changed}


def holds(found: dict[str, bytes], slot: str, contents: dict[str, bytes]) -> list[str]:
    """Return the files of `contents` that are not whole on the board."""
    return [
        name for name, data in contents.items() if found.get(name if name in ROOT_FILES else f"{slot}/{name}") != data
    ]


def test_from_a_blank_board_to_an_interrupted_and_a_whole_update(
    board_image: Path, known: Cached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, drive = tmp_path / "ttyACM0", tmp_path / "RPI-RP2"
    host = Host(port, tmp_path)
    monkeypatch.setenv(bootsel.ENVIRONMENT, str(drive))
    monkeypatch.setattr(bootsel, "PLACES", ())
    monkeypatch.setattr(update, "RETURN_S", RESTART_S)
    monkeypatch.setattr(ports, "stranger", lambda path: "")  # a pty stands for the board's USB port
    first = install.contents()

    # A board with MicroPython and settings, without firmware: of that, only the largest file has arrived (copying it
    # takes half a minute and is seen below). The plug is pulled while the others come.
    kept = stored(quick_settings(board__configure_key=KEY))
    arrived = {"fw_a/heartwire_board.mpy": first["heartwire_board.mpy"]}
    chip = EmulatedChip(board_image, filesystem=files.build(kept | arrived, firmware=False))
    chip.run_while(lambda: not chip.usb.connected, 400 * MS)

    def pull(done: int, total: int, _name: str) -> None:
        if done > total // 2:
            raise Cut

    with Bridge(chip, port), pytest.raises((Cut, HeartwireError)):
        install.install(Prompt(str(port)), pull)
    after_cut = files.read(filesystem_of(chip.contents()))
    assert "slot" not in after_cut, "switched to files that are not whole"
    assert {name: after_cut[name] for name in kept} == kept
    assert "new.main.py" not in after_cut, "the plug was pulled after the copy"

    # It is plugged in with BOOTSEL held: image, firmware, hello.
    filesystem = filesystem_of(chip.contents())
    with BootRom(drive, port, filesystem) as rom:
        assert host.flash(SHORT_S) == update.Report(known.version, "", FIRMWARE_VERSION)
        assert (drive.with_name("received.uf2")).read_bytes() == board_image.read_bytes()
        assert host.asked == []
        assert host.copied[0] > 0, "what had arrived before the cut was copied again"
        assert host.copied[-1] == 1 + len(ROOT_FILES)
        assert rom.bridge is not None
        chip = rom.bridge.chip
        begun = host.status()
        assert (begun.mode, begun.epoch, begun.maintenance_s) == ("auto", EPOCH, 0)

        # It guards. A later firmware comes, and Ctrl-C in the middle of its largest file.
        monkeypatch.setattr(install, "find_firmware", lambda: later_firmware(tmp_path))
        second = install.contents()
        written = 0

        def interrupt(done: int, name: str) -> None:
            nonlocal written
            if name.endswith(".mpy"):
                before = chip.flash.count
                deadline = time.monotonic() + PATIENCE_S
                while written < BEGUN and time.monotonic() < deadline:
                    time.sleep(0.01)
                    written = chip.flash.count - before
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            host.flash(PATIENCE_S, interrupt)
        assert len(host.asked) == 1
        assert written >= BEGUN, "interrupted before anything of the file was written"
        assert host.told[-1] == f"it guards again, with Heartwire {FIRMWARE_VERSION}"
        status = host.status()
        assert (status.version, status.boot) == (FIRMWARE_VERSION, begun.boot + 1)
        assert (status.mode, status.epoch, status.maintenance_s) == ("auto", EPOCH, 0)

        # The same once more, to the end.
        assert host.flash(PATIENCE_S) == update.Report(known.version, FIRMWARE_VERSION, NEXT_VERSION)
        assert host.asked == [f"Stop the guard of the board with Heartwire {FIRMWARE_VERSION} for the update?"]
        status = host.status()
        assert (status.version, status.boot) == (NEXT_VERSION, begun.boot + 2)
        assert (status.mode, status.epoch, status.maintenance_s) == ("auto", EPOCH, 0)

    found = files.read(filesystem_of(chip.contents()))
    assert found["slot"] == b"fw_b"
    assert holds(found, "fw_b", second) == []
    assert found["fw_a/heartwire_board.mpy"] == first["heartwire_board.mpy"], "the firmware before is still there"
    assert found["data/settings.0"] == kept["data/settings.0"]
    assert epoch_of(found) == EPOCH
    rows = journal_of(found)
    assert [row["sequence"] for row in rows] == list(range(1, 1 + len(rows))), "records are missing"
    said = [
        row["event"]
        for row in rows
        if row["event"] in (events.BOOT, events.MAINTENANCE_BEGAN, events.MAINTENANCE_ENDED)
    ]
    update_records = [events.MAINTENANCE_BEGAN, events.BOOT, events.MAINTENANCE_ENDED]
    assert said == [events.BOOT, *update_records, *update_records]


@pytest.mark.parametrize("begun", [False, True], ids=["another", "half of ours"])
def test_another_program_on_the_board_is_told_from_an_install_that_broke_off(
    board_image: Path, known: Cached, tmp_path: Path, begun: bool
) -> None:
    there = {"main.py": b"while True:\n    pass\n", **({"fw_a/heartwire_board.mpy": b""} if begun else {})}
    chip = EmulatedChip(board_image, filesystem=files.build(there, firmware=False))
    chip.run_while(lambda: not chip.usb.connected, 400 * MS)
    with Bridge(chip, tmp_path / "ttyACM0"):
        found = install.look(Prompt(str(tmp_path / "ttyACM0")))
    assert found == install.Installed(known.version, "", () if begun else ("main.py",))
