"""The whole way of an update: from a guarding board, a prompt, or the boot loader to a board that answers hello.

Says what it does, asks before it stops a guard, and restarts the board whatever happens, so that an interrupted update
leaves one that guards with its old firmware. It never repairs settings or journal. Called by `heartwire flash` and
`heartwire shell`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from heartwire import keys, ports
from heartwire.board import Board
from heartwire.errors import BoardNotFound, HeartwireError, NoAnswer, NotPermitted, PortBusy, Unplugged
from heartwire.flash import bootsel, images, install
from heartwire.flash.prompt import Prompt
from heartwire.link import DEFAULT_TIMEOUT_S
from heartwire_protocol import codes

# A restart, USB enumeration and the host's own time for a new device.
RETURN_S = 60.0
HELLO_S = 20.0
MAINTENANCE_S = 600
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """Versions: MicroPython's, and Heartwire's before ("" if there was none) and after."""

    micropython: str
    before: str
    after: str


def flash(
    port: str | None,
    key_file: str | None,
    timeout_s: float | None,
    *,
    confirm: Tell,
    tell: Tell,
    progress: install.Progress,
) -> Report:
    """Bring the board up to date; return the versions. Raises what its steps raise."""
    before = ""
    path = _find(port)
    if path is None:
        drive = bootsel.find()
        if drive is None:
            raise BoardNotFound("no board is plugged in, and none is in its boot loader")
        _write_image(drive, tell)
        path = _wait_for_port(port)
    else:
        version = _running(path, key_file, timeout_s)
        if version is not None:
            before = version
            confirm(f"Stop the guard of the board with Heartwire {version} for the update?")
            path = to_prompt(path, key_file, timeout_s)
    prompt = Prompt(path)
    found = install.look(prompt)
    if found.micropython != images.VERSION:
        tell(f"MicroPython {found.micropython} is replaced by {images.VERSION}; files and settings stay")
        image = images.get()[0]
        prompt.enter_boot_loader()
        bootsel.write(bootsel.wait(), image)
        prompt = Prompt(_wait_for_port(port))
    try:
        install.install(prompt, progress)
    finally:
        # Whatever happened: a board that has firmware shall guard again.
        with contextlib.suppress(HeartwireError):
            prompt.reset()
    tell("the files are right; the board restarts")
    return Report(images.VERSION, before, _wait_for_hello(prompt.port, key_file, timeout_s))


def to_prompt(port: str | None, key_file: str | None, timeout_s: float | None) -> str:
    """Bring a guarding board to the prompt; return its port. One that is at the prompt already is left there."""
    path = ports.resolve(port)
    if _running(path, key_file, timeout_s) is None:
        return path
    with Board.open(path, keys=keys.find(key_file), timeout_s=timeout_s or DEFAULT_TIMEOUT_S) as board:
        if board.status().mode != "observe":
            board.maintenance(None, MAINTENANCE_S)
        board.link.request("repl", sign_with=codes.RIGHT_CONFIGURE)
    return _wait_for_port(port, gone_first=path)


def _find(port: str | None) -> str | None:
    try:
        return ports.resolve(port)
    except BoardNotFound:
        if port is not None or ports.list_ports():
            raise
        return None


def _running(path: str, key_file: str | None, timeout_s: float | None) -> str | None:
    """Return the version of the Heartwire that answers there, or None if none does."""
    try:
        with Board.open(path, keys=keys.find(key_file), timeout_s=timeout_s or DEFAULT_TIMEOUT_S) as board:
            return board.status().version
    except NoAnswer:
        return None


def _write_image(drive: object, tell: Tell) -> None:
    from pathlib import Path  # noqa: PLC0415 - only here

    tell(f"the board is in its boot loader: MicroPython {images.VERSION} is installed")
    bootsel.write(Path(str(drive)), images.get()[0])


def _wait_for_port(port: str | None, gone_first: str | None = None) -> str:
    """Return the port of a board that comes back after a restart."""
    from pathlib import Path  # noqa: PLC0415 - only here

    deadline = time.monotonic() + RETURN_S
    if gone_first is not None:
        # It vanishes at the restart; where that goes too fast to be seen, this costs a second.
        soon = time.monotonic() + 1.0
        while Path(gone_first).exists() and time.monotonic() < soon:
            time.sleep(0.02)
    while time.monotonic() < deadline:
        with contextlib.suppress(BoardNotFound):
            path = ports.resolve(port)
            if Path(path).exists():
                return path
        time.sleep(0.1)
    raise Unplugged("the board did not come back after its restart")


def _wait_for_hello(path: str, key_file: str | None, timeout_s: float | None) -> str:
    deadline = time.monotonic() + max(HELLO_S, 2 * (timeout_s or 0.0)) + RETURN_S
    while True:
        try:
            with Board.open(path, keys=keys.find(key_file), timeout_s=timeout_s or DEFAULT_TIMEOUT_S) as board:
                return board.status().version
        except (BoardNotFound, NoAnswer, NotPermitted, PortBusy, Unplugged) as error:
            if time.monotonic() > deadline:
                raise NoAnswer(f"the board does not answer after the update: {error.words}") from None
            time.sleep(0.2)
