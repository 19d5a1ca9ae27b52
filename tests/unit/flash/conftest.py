"""One board that is flashed, in memory: away, in its boot loader, at the prompt, or guarding; and a clock that jumps.

Its host link is the fake board of tests/fakes, its boot loader a folder with INFO_UF2.TXT, its prompt a fake at the
seam of heartwire.flash.prompt. `steps` holds what was done to it, in order.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from heartwire import keys, ports, transport
from heartwire.errors import BoardNotFound, Unplugged
from heartwire.flash import bootsel, images, install, lease, update
from tests.fakes.board import FakeBoard, MemoryChannel

OLD, NEW = "0.0.9", "0.1.0"
INFO = "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"
# One block for an RP2040 (https://github.com/microsoft/uf2).
IMAGE = struct.pack("<8I476xI", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000, 256, 0, 1, 0xE48BFF56, 0x0AB16F30)
PICO = "Raspberry Pi Pico with RP2040"
# Restarting and enumerating takes this long on the fake clock.
RESTART_S = 1.5
CONFIGURE_KEY = "5a" * 32
# Of `steps`: what is done at the prompt; a guard on its way there, and back from it.
INSTALLED = ["copy", "switch", "reset"]
STOPPED = [f"maintenance {update.MAINTENANCE_S}", "repl"]
GUARDS_AGAIN = ["maintenance 0"]

# MicroPython 1.24 in answer to the Ctrl-A in hello.
AT_PROMPT = b"\r\nraw REPL; CTRL-B to exit\r\n>"


class _NoFirmware:
    """What answers at a board's port where no Heartwire runs."""

    def __init__(self, says: bytes) -> None:
        self._says = says

    def receive(self, data: bytes) -> bytes:
        """Return what it says to anything."""
        return self._says


class Clock:
    """Stands for the module `time`: sleeping moves it and lets things happen."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._later: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [entry for entry in self._later if entry[0] <= self.now]
        self._later = [entry for entry in self._later if entry[0] > self.now]
        for _, action in due:
            action()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Let `action` happen in `seconds`."""
        self._later.append((self.now + seconds, action))


class World:
    """The board and its surroundings. Tests set what it is, and read `steps`, `told` and `where`."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.where = "away"
        self.micropython = images.PREFERRED.version
        self.machine = PICO
        self.firmware = ""
        self.program: tuple[str, ...] = ()  # what runs there instead of Heartwire
        self.says = AT_PROMPT  # what answers hello where no firmware does
        self.link = FakeBoard()
        self.port = folder / "ttyACM0"
        self.drive = folder / "RPI-RP2"
        self.image = folder / images.PREFERRED.name
        self.image.write_bytes(IMAGE)
        self.stranger = ""  # what its port is, if it is no board's
        self.met: list[str] = []  # ports that were opened
        self.got: list[images.Image] = []
        self.steps: list[str] = []
        self.told: list[str] = []
        self.asked: list[str] = []
        self.progress: list[tuple[int, int, str]] = []
        self.refusal: BaseException | None = None  # the user's answer to the question
        self.fails: BaseException | None = None  # in the middle of the copy
        self.leaves_after_s = 0.0  # between its answer to repl and its restart
        self.comes_back = True
        self.mounts = True
        self.link.script["repl"] = self._repl
        self.link.script["maintenance"] = self._maintenance
        self.link.script["update"] = self._update
        self.link.script["plans"] = lambda _: {"long_lease_s": self.lease_s}
        self.lease_s = 0
        self.takes_lease = True
        self.link.status["maintenance_s"] = 0

    # States.

    def guard(self, version: str = OLD, mode: str = "auto") -> None:
        """It guards."""
        self.firmware = version
        self.link.status["mode"] = mode
        self._stand("guarding")

    def prompt(self, micropython: str = images.PREFERRED.version) -> None:
        """It has MicroPython and is at the prompt."""
        self.micropython = micropython
        self._stand("prompt")

    def boot_loader(self) -> None:
        """It is in its boot loader."""
        self._stand("boot_loader")

    def away(self) -> None:
        """It is gone."""
        self._stand("away")

    def _stand(self, where: str) -> None:
        self.where = where
        self.link.status["version"] = self.firmware
        self.link.silent = where == "away"
        self.port.unlink(missing_ok=True)
        shutil.rmtree(self.drive, ignore_errors=True)
        if where in ("guarding", "prompt"):
            self.port.touch()
        elif where == "boot_loader" and self.mounts:
            self.drive.mkdir()
            (self.drive / bootsel.INFO).write_text(INFO)
            self.clock.later(0.0, self._look_at_drive)

    def restart(self, then: Callable[[], None] | None = None) -> None:
        """Go away and come back, with the firmware on it if there is one."""
        self.away()
        if self.comes_back:
            self.clock.later(RESTART_S, then or (lambda: self._stand("guarding" if self.firmware else "prompt")))

    def _look_at_drive(self) -> None:
        """The boot ROM: an image that has arrived is started."""
        if self.where != "boot_loader":
            return
        found = list(self.drive.glob("*.uf2"))
        if not found:
            self.clock.later(0.1, self._look_at_drive)
            return
        assert found[0].read_bytes() == IMAGE
        self.steps.append("image written")
        self.micropython = self.got[-1].version
        self.restart()

    # The host link.

    def channel(self, address: str | None) -> MemoryChannel:
        path = ports.resolve(address)
        if path != str(self.port) or not self.port.exists():
            raise BoardNotFound(f"{path}: no such port")
        self.met.append(path)
        return MemoryChannel(self.link if self.where == "guarding" else cast(FakeBoard, _NoFirmware(self.says)))

    def _repl(self, _: object) -> dict[str, object]:
        self.steps.append("repl")
        self.clock.later(self.leaves_after_s, lambda: self.restart(lambda: self._stand("prompt")))
        return {"ok": 1}

    def _maintenance(self, body: dict[str, object]) -> dict[str, object]:
        assert body["node"] is None
        self.steps.append(f"maintenance {body['seconds']}")
        self.link.status["maintenance_s"] = body["seconds"]
        return {"ok": 1}

    def _update(self, body: dict[str, Any]) -> dict[str, object]:
        self.steps.append(f"update {body['seconds']}")
        self.link.status["maintenance_s"] = self.lease_s = body["seconds"]

        def takes() -> None:
            if self.takes_lease:
                self.link.node_bodies["a"]["lease_ms"] = 1000 * self.lease_s - 700
                self.steps.append("a has it")

        self.clock.later(1.0, takes)
        return {"ok": 1}

    def stops_without(self) -> None:
        """Let the active server be one that stops its services without the board."""
        self.link.settings.nodes[0].on_board_loss = "stop"
        self.link.status["active"] = "a"
        self.link.node_bodies["a"]["lease_ms"] = 8000

    # What the update calls.

    def look(self, prompt: FakePrompt) -> install.Installed:
        prompt.demand()
        self.steps += ["interrupted"] if self.says != AT_PROMPT else []
        return install.Installed(self.micropython, "", self.program, self.machine)

    def install(self, prompt: FakePrompt, progress: install.Progress) -> str:
        prompt.demand()
        self.steps.append("copy")
        progress(1, 2, "/fw_a/one")
        if self.fails is not None:
            if isinstance(self.fails, Unplugged):
                self.away()
            raise self.fails
        progress(2, 2, "/fw_a/two")
        self.firmware = NEW
        self.steps.append("switch")
        return "fw_a"

    def confirm(self, words: str) -> None:
        self.asked.append(words)
        if self.refusal is not None:
            raise self.refusal

    def get(self, *, image: images.Image) -> tuple[Path, bool]:
        """Have every image, in one file."""
        self.got.append(image)
        return self.image, False

    def flash(self, port: str | None = None, **choice: Any) -> update.Report:
        """Flash it."""
        return update.flash(
            update.Way(port, keys.find(None)),
            confirm=self.confirm,
            tell=self.told.append,
            progress=lambda *now: self.progress.append(now),
            **choice,
        )


class FakePrompt:
    """Stands for heartwire.flash.prompt.Prompt."""

    def __init__(self, world: World, port: str) -> None:
        self.world = world
        self.port = port

    def demand(self) -> None:
        """Fail as mpremote does where there is no prompt."""
        if self.world.where != "prompt" or self.port != str(self.world.port):
            raise Unplugged(f"{self.port}: no prompt there")

    def borrow(self) -> None:
        """Nobody else has it."""

    def reset(self) -> None:
        self.world.steps.append("reset")
        self.demand()
        self.world.restart()

    def enter_boot_loader(self) -> None:
        self.world.steps.append("boot loader")
        self.demand()
        self.world.restart(self.world.boot_loader)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A board that is away, on a machine with nothing else plugged in."""
    made = World(tmp_path)
    for name in (ports.ENVIRONMENT, keys.ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{tmp_path}/no-config")
    monkeypatch.setenv(bootsel.ENVIRONMENT, str(made.drive))
    monkeypatch.setattr(bootsel, "PLACES", ())
    monkeypatch.setattr(bootsel, "time", made.clock)
    monkeypatch.setattr(update, "time", made.clock)
    monkeypatch.setattr(lease, "time", made.clock)
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(images, "get", made.get)
    monkeypatch.setattr(
        ports, "list_ports", lambda: [ports.Port(str(made.port), "E661", "", "")] if made.port.exists() else []
    )
    monkeypatch.setattr(ports, "stranger", lambda path: made.stranger)
    monkeypatch.setattr(transport, "open_channel", made.channel)
    monkeypatch.setattr(update, "Prompt", lambda port: FakePrompt(made, port))
    monkeypatch.setattr(install, "look", made.look)
    monkeypatch.setattr(install, "install", made.install)
    return made
