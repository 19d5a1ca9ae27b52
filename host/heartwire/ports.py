"""Find boards: list USB serial ports, resolve what the user said to one address, name the program that holds a port.

Reads what the kernel keeps of USB descriptors; it never opens a port, because bytes sent to somebody else's device may
do harm. Devices are looked at one by one: one that is half gone, or hangs, is no reason not to find another. Called by
transport (to resolve an address), flash, and `heartwire boards`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from heartwire.errors import BoardNotFound

# How the id of every virtual board begins; the rest is its own.
VIRTUAL_IDS = "E6600000"
ENVIRONMENT = "HEARTWIRE_PORT"
# MicroPython on a Raspberry Pi board (mpconfigport.h of ports/rp2). The vendor alone says nothing: the Debug Probe is
# 2e8a:000c, and passes on what it gets to somebody else's machine.
VENDOR, PRODUCT = 0x2E8A, 0x0005
SYS_TTY = Path("/sys/class/tty")
DEV = Path("/dev")


@dataclass(frozen=True)
class Port:
    """One serial port of a board that might run Heartwire."""

    path: str = field(metadata={"doc": "device file"})
    serial_number: str = field(metadata={"doc": "USB serial number, for --port id:..."})
    product: str = field(metadata={"doc": "what the USB descriptor calls it"})
    location: str = field(metadata={"doc": "USB bus and port"})


@dataclass(frozen=True)
class Usb:
    """The USB device of a serial port. The kernel has its numbers at hand; a text waits for a device that is being
    reset, so each is read only when it is asked for.
    """

    vendor: int
    product: int
    folder: Path

    @property
    def is_board(self) -> bool:
        """Whether MicroPython on a Raspberry Pi board answers so."""
        return (self.vendor, self.product) == (VENDOR, PRODUCT)

    @property
    def name(self) -> str:
        """What it calls itself, "" if it does not say."""
        return _text(self.folder / "product")

    @property
    def serial_number(self) -> str:
        """Its serial number, "" if it has none."""
        return _text(self.folder / "serial")


def list_ports() -> list[Port]:
    """Return the serial ports of all plugged-in boards (USB 2e8a:0005), by path; what cannot be read is left out."""
    if not SYS_TTY.is_dir():
        return _list_elsewhere()
    found = []
    for entry in SYS_TTY.glob("tty*"):
        path = DEV / entry.name
        usb = _usb_of_tty(entry)
        if usb is not None and usb.is_board and path.exists():
            found.append(Port(str(path), usb.serial_number, usb.name or entry.name, usb.folder.name))
    return sorted(found, key=lambda port: port.path)


def usb_of(path: str) -> Usb | None:
    """Return the USB device behind a port, or None if it has none or it cannot be read. Linux only."""
    names = dict.fromkeys((Path(os.path.realpath(path)).name, Path(path).name))
    found = (_usb_of_tty(SYS_TTY / name) for name in names)
    return next((usb for usb in found if usb is not None), None)


def count_of(usb: Usb) -> int:
    """Return how many serial ports a USB device has."""
    found = [_usb_of_tty(entry) for entry in SYS_TTY.glob("tty*")]
    return sum(one is not None and one.folder == usb.folder for one in found)


def stranger(path: str) -> str:
    """Return what a port is, in words, if it is not the USB port of a board with MicroPython; "" if it is."""
    if not SYS_TTY.is_dir():
        return "" if any(port.path == path for port in _list_elsewhere()) else "not the USB port of a board"
    usb = usb_of(path)
    if usb is None:
        return "not the USB port of a board"
    return "" if usb.is_board else f"{usb.name or 'another USB device'} ({usb.vendor:04x}:{usb.product:04x})"


def _usb_of_tty(entry: Path) -> Usb | None:
    """Return the USB device above `entry` of SYS_TTY, None where there is none or it cannot be read.

    A tty of cdc_acm hangs below its USB interface, one of usb-serial one level deeper.
    """
    device = Path(os.path.realpath(entry / "device"))
    deeper = Path(os.path.realpath(device / "subsystem")).name == "usb-serial"
    folder = device.parent.parent if deeper else device.parent
    try:
        return Usb(int(_line(folder / "idVendor"), 16), int(_line(folder / "idProduct"), 16), folder)
    except (OSError, ValueError):
        return None


def _line(file: Path) -> str:
    return file.read_text(errors="replace").partition("\n")[0].strip()


def _text(file: Path) -> str:
    try:
        return _line(file)
    except OSError:
        return ""


def _list_elsewhere() -> list[Port]:
    """Ask pyserial, where there is no sysfs. Raises BoardNotFound."""
    from serial.tools import list_ports as scan  # noqa: PLC0415 - slow, and only a search needs it

    try:
        entries = list(scan.comports())
    except (OSError, TypeError, ValueError):  # it gives up on all devices for one that cannot be read
        raise BoardNotFound("the ports of this machine cannot be listed", "name the board's with --port") from None
    found = [
        Port(entry.device, entry.serial_number or "", entry.product or entry.description or "", entry.location or "")
        for entry in entries
        if (entry.vid, entry.pid) == (VENDOR, PRODUCT)
    ]
    return sorted(found, key=lambda port: port.path)


def resolve(port: str | None) -> str:
    """Return the path or URL to open for what the user said: a path, `socket://host:port`, `id:SERIAL` or nothing.

    Nothing means HEARTWIRE_PORT, else the one board that is plugged in. Raises BoardNotFound with the choices.
    """
    chosen = port or os.environ.get(ENVIRONMENT) or ""
    if chosen.startswith("id:"):
        wanted = chosen[3:].upper()
        boards = list_ports()
        matches = [board for board in boards if wanted and board.serial_number.upper().startswith(wanted)]
        if len(matches) == 1:
            return matches[0].path
        if not matches:
            raise BoardNotFound(
                f"no board with USB serial number {wanted or '(empty)'} is plugged in{_choices(boards)}"
            )
        raise BoardNotFound(f"{len(matches)} boards have a USB serial number that starts so{_choices(matches)}")
    if chosen:
        return chosen
    boards = list_ports()
    if len(boards) == 1:
        return boards[0].path
    if boards:
        raise BoardNotFound(
            f"{len(boards)} boards are plugged in{_choices(boards)}", "choose one with --port id:SERIAL"
        )
    raise BoardNotFound(
        "no board is plugged in",
        "plug it in, or give --port PATH, --port socket://HOST:PORT or HEARTWIRE_PORT; `heartwire virtual` runs one "
        "without hardware",
    )


def _choices(boards: list[Port]) -> str:
    if not boards:
        return ""
    return ": " + ", ".join(f"id:{board.serial_number} ({board.path})" for board in boards)


def holder_of(path: str) -> str:
    """Return the program that has `path` open, as "name (pid 123)", or "" if that cannot be seen. Linux only."""
    return next(iter(holders_of(path).values()), "")


def holders_of(path: str) -> dict[int, str]:
    """Return the other programs that have `path` open, by process, as "name (pid 123)"; only root sees all of them."""
    target = os.path.realpath(path)
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            if any(os.readlink(entry) == target for entry in (process / "fd").iterdir()):  # noqa: PTH115
                found[int(process.name)] = f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return found
