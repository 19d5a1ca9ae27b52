"""The whole way of an update: from a guarding board, a prompt, or the boot loader to a board that answers hello.

Says what it does, asks before it stops a guard or replaces another program, and restarts the board whatever happens, so
that an interrupted update leaves one that guards with its old firmware. It ends only the maintenance that it began, and
never repairs settings or journal. Called by `heartwire flash` and `heartwire shell`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heartwire import ports, transport
from heartwire.answers import Status
from heartwire.board import Board
from heartwire.board_id import wanted_id
from heartwire.errors import (
    AtPrompt,
    BoardNotFound,
    HeartwireError,
    NoAnswer,
    NotAllowed,
    NotPermitted,
    PortBusy,
    ProtocolMismatch,
    Refused,
    Unplugged,
    UsageProblem,
)
from heartwire.flash import boards, bootsel, images, install, lease, prompt
from heartwire.flash.old_link import OldLink
from heartwire.flash.prompt import Prompt
from heartwire.keys import Keys
from heartwire.link import DEFAULT_TIMEOUT_S
from heartwire_protocol import codes

# A restart, USB enumeration and the host's own time for a new device.
RETURN_S = 60.0
HELLO_S = 20.0
# Between the board's answer and its restart it may have records to write, at 450 ms each at worst.
LEAVE_S = 5.0
# A new device belongs to root until the system's rules have made it the user's.
RULES_S = 5.0
MAINTENANCE_S = 600
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """Versions: MicroPython's, and Heartwire's before ("" if there was none) and after."""

    micropython: str
    before: str
    after: str


@dataclass(frozen=True)
class Way:
    """How the user names the board (see ports.resolve), and how it is talked to; `board_id` as Board.open takes it."""

    port: str | None = None
    keys: Keys = field(default_factory=Keys)
    timeout_s: float | None = None
    board_id: str | None = None

    def open(self, path: str | None = None) -> Board:
        """Open the board; one of an older protocol too."""
        timeout_s = self.timeout_s or DEFAULT_TIMEOUT_S
        address, wanted = path or self.port, wanted_id(self.board_id)
        try:
            return Board.open(address, keys=self.keys, timeout_s=timeout_s, board_id=wanted)
        except ProtocolMismatch:
            link = OldLink(transport.open_channel(address), self.keys, timeout_s, wanted)
            try:
                link.hello()
            except BaseException:
                link.channel.close()
                raise
            return Board(link)

    def open_ours(self) -> Board:
        """Open the board that was flashed just now; one that has no keys (yet) without a key."""
        board = self.open()
        if board.link.keys and not board.link.welcome.keys:
            board.link.keys = Keys()
        return board

    def resolve(self) -> str:
        path = ports.resolve(self.port)
        if "://" in path:
            raise UsageProblem(
                f"{path}: the MicroPython prompt is reached through the USB port only",
                "run the command on the machine that the board is plugged into",
            )
        return path


def flash(
    way: Way,
    *,
    confirm: Tell,
    tell: Tell,
    progress: install.Progress,
    micropython: str | None = None,
    board: str | None = None,
) -> Report:
    """Bring the board up to date, with that version of MicroPython if one is named; return the versions. Raises what
    its steps raise. `board` says what a board in its boot loader is, which tells its chip only.
    """
    prompt.require()
    named = boards.by_id(board) if board else None
    path = _find(way)
    if path is None:
        path = _from_boot_loader(way, named, micropython, tell)
    # One that was in its boot loader may hold firmware too, which guards by now.
    found = _meet(way, path, confirm)
    before, ours = "", False
    if found is not None:
        _refuse_virtual(found)
        before, ours = found.version, _wants_maintenance(found)
        confirm(f"Stop the guard of the board with Heartwire {before} for the update?")
        path = _stop_guard(way, path, tell)
    at = Prompt(path)
    try:
        there = install.look(at)
        found_board = boards.by_machine(there.machine)
        version = there.micropython
        if found_board.unproven:
            tell(f"this is a {found_board.name}: {found_board.unproven}")
        image, why = images.replacement(found_board, version, micropython)
        if there.program:
            confirm(f"Another program is on this board: replace its {' and '.join(there.program)}?")
        if image is not None:
            tell(why)
            at = _replace_micropython(way, at, image, tell)
            version = image.version
        elif version != images.PREFERENCES.get(found_board.id):
            tell(why)
        slot = install.install(at, progress)
    except BaseException:
        _put_back(way, at, before, ours, tell)
        raise
    tell("the files are right; the board restarts")
    _restarted(at, tell)
    after = _wait_for_hello(way, ours, tell)
    _demand_folder(way, slot)
    return Report(version, before, after)


def _demand_folder(way: Way, slot: str) -> None:
    """Raise CannotLoad if the board runs the firmware of another folder: what was installed did not start."""
    found: dict[str, Any] = {}
    with contextlib.suppress(HeartwireError), way.open_ours() as board:  # an older one cannot say it
        found = board.platform()
    if found.get("folder") not in (None, "", slot):
        why = found.get("crash") or "no word why"
        raise install.CannotLoad(f"the new firmware did not start, the one from before guards again: {why}")


def to_prompt(way: Way, *, confirm: Tell, tell: Tell = lambda _: None) -> str:
    """Bring a guarding board to the prompt; return its port. One that is at the prompt already is left there.

    Outside observe mode the board is in maintenance for up to MAINTENANCE_S from then on, also when it guards again.
    Raises WrongBoard if the prompt is that of something else.
    """
    prompt.require()
    path = way.resolve()
    found = _meet(way, path, confirm)
    if found is not None:
        _refuse_virtual(found)
        return _stop_guard(way, path, tell)
    boards.by_machine(install.look(Prompt(path)).machine)
    return path


def _meet(way: Way, path: str, confirm: Tell) -> Status | None:
    """Return the status of the Heartwire at `path`, or None if it is at its prompt, or the user says that whatever runs
    there may be interrupted. Asks before the first byte to a port that is no board's, and before the first Ctrl-C.
    """
    other = ports.stranger(path)
    if other and Path(path).exists():
        confirm(f"{path} is {other}: send to whatever is there?")
    try:
        with way.open(path) as board:
            return board.status()
    except AtPrompt:
        return None
    except NoAnswer as error:
        confirm(f"No Heartwire answers ({error.words}): interrupt whatever runs there?")
        return None


def _at_prompt(way: Way, tell: Tell) -> str:
    """Bring a board that was met already to its prompt again; return its port."""
    path = way.resolve()
    try:
        with way.open(path) as board:
            board.status()
    except NoAnswer:
        return path
    return _stop_guard(way, path, tell)


def _refuse_virtual(found: Status) -> None:
    """Leave a virtual board alone: it has no prompt, so it would guard nobody until it is plugged in anew."""
    if found.board_id.startswith(ports.VIRTUAL_IDS):
        raise UsageProblem(
            "this is a virtual board: it has no prompt and no boot loader",
            "start `heartwire virtual` again, which installs the firmware of this heartwire",
        )


def _find(way: Way) -> str | None:
    """Return the port, or None if the board can only be in its boot loader. Raises BoardNotFound."""
    try:
        path = way.resolve()
    except BoardNotFound:
        if way.port is not None or ports.list_ports():
            raise
        return None
    # A port by its path is away while the board that it belongs to is in its boot loader.
    return path if Path(path).exists() or bootsel.find() is None else None


def _wants_maintenance(status: Status) -> bool:
    # What an operator began (`heartwire update`) is neither shortened nor ended.
    return status.mode != "observe" and not status.maintenance_s


def _stop_guard(way: Way, path: str, tell: Tell) -> str:
    """Ask the board for its prompt; return the port that it comes back at."""
    with way.open(path) as board:
        status = board.status()
        began = _wants_maintenance(status)
        try:
            if lease.is_wanted(board, status):
                lease.give(board, status, tell)
                # The lease is as short as can be, the maintenance is not, and an operator's own stays as it was.
                board.maintenance(None, status.maintenance_s or MAINTENANCE_S)
            elif began:
                board.maintenance(None, MAINTENANCE_S)
            board.link.request("repl", sign_with=codes.RIGHT_CONFIGURE)
        except (NotAllowed, Refused, NoAnswer):
            # It goes on guarding, so it must not be left alone.
            if began:
                with contextlib.suppress(HeartwireError):
                    board.maintenance(None, 0)
            raise
    try:
        return _wait_for_port(way, gone_first=path)
    except KeyboardInterrupt:
        # A board at the prompt would stay there, guarding nobody.
        with contextlib.suppress(HeartwireError):
            Prompt(_wait_for_port(way)).reset()
        raise


def _from_boot_loader(way: Way, named: boards.Board | None, micropython: str | None, tell: Tell) -> str:
    drive = bootsel.find()
    if drive is None:
        if (other := bootsel.lookalike()) is not None:
            boards.by_board_id(bootsel.board_id(other))
        raise BoardNotFound(
            "no board is plugged in, and none is in its boot loader",
            "plug it in, a new one with its BOOTSEL button held; if its drive RPI-RP2 is not mounted, mount it or name "
            f"its folder in {bootsel.ENVIRONMENT}",
        )
    chip = boards.by_board_id(bootsel.board_id(drive))
    # Boards of a chip differ in the size of their flash alone: the first has the smallest.
    image = images.of(named or next(board for board in boards.SUPPORTED if board.chip is chip), micropython)
    tell(f"the board is in its boot loader: MicroPython {image.version} is installed")
    bootsel.write(drive, images.get(image=image)[0])
    return _wait_for_port(way)


def _replace_micropython(way: Way, at: Prompt, image: images.Image, tell: Tell) -> Prompt:
    """Install the image on a board at the prompt; return its prompt under the new MicroPython."""
    if (other := bootsel.find()) is not None:
        raise BoardNotFound(
            f"another board is in its boot loader ({other}), and one drive cannot be told from the other",
            "unplug the other one and repeat the command",
        )
    content = images.get(image=image)[0]
    at.enter_boot_loader()
    bootsel.write(bootsel.wait(), content)
    _wait_for_port(way)
    # The firmware on it stayed, and guards again.
    return Prompt(_at_prompt(way, tell))


def _restarted(at: Prompt, tell: Tell) -> bool:
    """Restart a board at the prompt; tell the user what to do if it cannot be reached."""
    try:
        at.reset()
    except HeartwireError as error:
        tell(f"{error.words}: unplug the board and plug it in again; at the prompt it guards nobody")
        return False
    return True


def _put_back(way: Way, at: Prompt, before: str, end_maintenance: bool, tell: Tell) -> None:
    """Restart a board whose update broke off, and tell whether it guards again; one without firmware cannot."""
    try:
        if not _restarted(at, tell) or not before:
            return
        tell("the board restarts; waiting until it guards again")
        version = _wait_for_hello(way, end_maintenance, tell)
    except HeartwireError as error:
        tell(f"{error.words}: {error.next_step}; until it answers it may guard nobody")
    except KeyboardInterrupt:
        tell("not seen whether the board guards again: `heartwire status`; without an answer unplug it and plug it in")
        raise
    else:
        tell(f"it guards again, with Heartwire {version}")


def _wait_for_port(way: Way, gone_first: str | None = None) -> str:
    """Return the port of a board that comes back after a restart. Raises Unplugged, NotPermitted."""
    if gone_first is not None:
        soon = time.monotonic() + max(LEAVE_S, way.timeout_s or 0.0)
        while Path(gone_first).exists() and time.monotonic() < soon:
            time.sleep(0.02)
    deadline = time.monotonic() + RETURN_S
    path = ""
    while time.monotonic() < deadline:
        with contextlib.suppress(BoardNotFound):
            path = way.resolve()
            if os.access(path, os.R_OK | os.W_OK):
                return path
            if Path(path).exists():
                deadline = min(deadline, time.monotonic() + RULES_S)
        time.sleep(0.1)
    if path and Path(path).exists():
        raise NotPermitted(f"{path}: you may not open this port")
    raise Unplugged(
        "the board did not come back after its restart",
        "unplug it, plug it in again and repeat the command; until then it may guard nobody",
    )


def _wait_for_hello(way: Way, end_maintenance: bool, tell: Tell) -> str:
    """Return the version of the board that comes back, its maintenance ended if wanted. Raises NoAnswer."""
    deadline = time.monotonic() + max(HELLO_S, 2 * (way.timeout_s or 0.0)) + RETURN_S
    while True:
        try:
            with way.open_ours() as board:
                status = board.status()
                if status.maintenance_s and end_maintenance:
                    board.maintenance(None, 0)
                elif status.maintenance_s:
                    tell(f"maintenance goes on for {status.maintenance_s} s; `heartwire update off` ends it")
                return status.version
        except (BoardNotFound, NoAnswer, NotPermitted, PortBusy, Unplugged) as error:
            if time.monotonic() > deadline:
                raise NoAnswer(
                    f"the board does not answer after its restart: {error.words}",
                    "unplug it, plug it in again and look at `heartwire status`; `heartwire flash` repeats the update",
                ) from None
            time.sleep(0.2)
