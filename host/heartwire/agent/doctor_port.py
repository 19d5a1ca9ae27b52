"""What is wrong with the serial port of an agent: it is away, its name is not stable, or other programs reach for it.

Each of them has a way of its own: a console or a login prompt writes to it, brltty takes adapters of a kind that
Braille displays use, ModemManager and fwupd ask whatever is plugged in who it is, and any program may have it open.
Called by doctor.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from heartwire import ports
from heartwire.agent.doctor_findings import BAD, OK, WARNING, Finding
from heartwire.agent.port import SOCKET_SCHEME
from heartwire.agent.settings import AgentSettings

STABLE = "`heartwire agent install --port {path}` writes a rule that gives it a name of its own"
# Services that open serial adapters by themselves: unit, what it does, what keeps it away.
TAKERS = (
    (
        "brltty.service",
        "brltty takes serial adapters of the kinds that Braille displays use",
        "`systemctl mask --now brltty.service brltty-udev.service`, or remove the package, where nobody needs it",
    ),
    (
        "ModemManager.service",
        "ModemManager asks new serial ports whether they are modems",
        "`heartwire agent install --port {path}` writes a rule that keeps it away",
    ),
    (
        "fwupd.service",
        "fwupd looks into USB devices for firmware to update, and may restart one",
        "`systemctl mask --now fwupd.service`, or its plugins that match, while this server depends on the adapter",
    ),
)


class System(Protocol):
    """What is read of the system (doctor.System)."""

    def text(self, path: str) -> str:
        """Return the content of a file, empty if it cannot be read."""

    def output(self, *words: str) -> str:
        """Return what a program says, empty if it is missing or hangs."""


def check_port(settings: AgentSettings, system: System) -> Iterator[Finding]:
    """Check that the port is there, is ours, has a name that stays, and is nobody else's."""
    if "://" in settings.port:
        kind = "a network address" if settings.port.startswith(SOCKET_SCHEME) else "a serial server"
        yield Finding(OK, "port", f"{settings.port} is {kind}")
        return
    path = Path(settings.port)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        hint = "check the cable; `ls /dev/serial/by-id /dev/serial/by-path` shows adapters; "
        hint += STABLE.format(path="PORT")
        yield Finding(BAD, "port", f"{path}: {error.strerror}", hint)
        yield from _takers(path, system, away=True)
        return
    if not stat.S_ISCHR(mode):
        yield Finding(BAD, "port", f"{path} is not a device", "set port to the serial device")
        return
    if not os.access(path, os.R_OK | os.W_OK):
        yield Finding(BAD, "port", f"{path} may not be opened by this user", "run the agent as root, or join dialout")
    device = path.resolve().name
    if device in _consoles(system):
        hint = "take console= off the kernel's command line, or use another port: boot messages are noise to the board"
        yield Finding(BAD, "port", f"{path} is a console of the kernel", hint)
    for unit in (f"serial-getty@{device}.service", f"getty@{device}.service"):
        if system.output("systemctl", "is-active", unit) == "active":
            yield Finding(BAD, "port", f"a login prompt runs on {path}", f"systemctl disable --now {unit}")
    if device.startswith(("ttyUSB", "ttyACM")) and path.name == device:
        hint = STABLE.format(path=path)
        yield Finding(WARNING, "port", f"{path} may be another adapter after the next boot", hint)
    yield from _takers(path, system, away=False)
    yield from _holders(path, system)
    yield Finding(OK, "port", f"{path} is there")


def _consoles(system: System) -> set[str]:
    named = set(system.text("sys/class/tty/console/active").split())
    for word in system.text("proc/cmdline").split():
        if word.startswith("console="):
            named.add(word.removeprefix("console=").split(",")[0])
    return named


def _takers(path: Path, system: System, *, away: bool) -> Iterator[Finding]:
    """Name services that reach for adapters; of a port that is away they may be why."""
    if not away and not path.resolve().name.startswith("tty"):
        return
    for unit, words, hint in TAKERS:
        if system.output("systemctl", "is-active", unit) == "active":
            yield Finding(WARNING, "port", words, hint.format(path="PORT" if away else path))


def _holders(path: Path, system: System) -> Iterator[Finding]:
    """Name programs beside the agent that have the port open: what the board says goes to either of them."""
    others = [
        words
        for process, words in ports.holders_of(str(path)).items()
        if "agent\0run" not in system.text(f"proc/{process}/cmdline")
    ]
    if others:
        hint = "end that program, and keep it from coming back: what the board says goes to either of them"
        yield Finding(BAD, "port", f"{path} is open in {', '.join(others)} as well", hint)
