"""Find boards: list USB serial ports, resolve what the user said to one address, name the program that holds a port.

Reads USB descriptors only; it never opens a port, because bytes sent to somebody else's device may do harm. Called by
transport (to resolve an address) and by `heartwire boards`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from heartwire.errors import BoardNotFound

# The id of every virtual board, where a chip has its own.
VIRTUAL_ID = "E660000000000001"
ENVIRONMENT = "HEARTWIRE_PORT"
# USB vendor of Raspberry Pi; MicroPython on a Pico answers with it and product 0x0005.
VENDOR = 0x2E8A


@dataclass(frozen=True)
class Port:
    """One serial port of a board that might run Heartwire."""

    path: str = field(metadata={"doc": "device file"})
    serial_number: str = field(metadata={"doc": "USB serial number, for --port id:..."})
    product: str = field(metadata={"doc": "what the USB descriptor calls it"})
    location: str = field(metadata={"doc": "USB bus and port"})


def list_ports() -> list[Port]:
    """Return the serial ports of all plugged-in boards (USB vendor 0x2E8A), by path."""
    from serial.tools import list_ports as scan  # noqa: PLC0415 - slow, and only a search needs it

    found = [
        Port(entry.device, entry.serial_number or "", entry.product or entry.description or "", entry.location or "")
        for entry in scan.comports()
        if entry.vid == VENDOR
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
    target = os.path.realpath(path)
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            if any(os.readlink(entry) == target for entry in (process / "fd").iterdir()):  # noqa: PTH115
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return ""
