"""Install the agent on this server: systemd units, udev rules, hook examples and settings, below any root directory.

`plan` says what each file should be; `carry_out` writes it. A file that a person changed is never overwritten unless
forced; it is reported instead. A unit that a package of the distribution brings is left to it. Nothing is enabled or
started: the last lines printed say how. Called by `heartwire agent install`.
"""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from heartwire import ports, private
from heartwire.agent.errors import SettingsError, UnsafeProgram
from heartwire.errors import StorageProblem

UNITS = ("heartwire-agent.service", "heartwire-planned-off.service")
OWN_UNITS = Path("etc/systemd/system")
# Where packages of a distribution put theirs (systemd.unit(5)); what lies in OWN_UNITS hides them.
PACKAGED_UNITS = (Path("usr/lib/systemd/system"), Path("lib/systemd/system"))
RULES = """\
# The serial adapter that leads to the Heartwire board: a stable name, and neither ModemManager, which would talk to the
# board to find out whether it is a modem, nor fwupd. Known by {known}.
SUBSYSTEM=="tty", {match}, SYMLINK+="heartwire-node", ENV{{ID_MM_PORT_IGNORE}}="1", ENV{{ID_MM_DEVICE_IGNORE}}="1"
"""
USB_RULE = """\
SUBSYSTEM=="usb", ATTR{{serial}}=="{serial}", ENV{{ID_MM_DEVICE_IGNORE}}="1"
"""
# What may stand in a udev rule without meaning something else there.
SERIAL = re.compile(r"[A-Za-z0-9._:-]{1,64}")
ID_PATH = re.compile(r"[A-Za-z0-9._:-]{1,200}")
INTERFACE = re.compile(r"[0-9a-f]{2}")


@dataclass(frozen=True)
class Wanted:
    """One file as it should be. `settings`: it belongs to the person from the first moment, and is only made if
    missing.
    """

    path: Path
    text: str
    mode: int
    settings: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one file: written, unchanged, kept (somebody changed it), packaged (a package brings the unit), or
    would be written.
    """

    path: Path
    what: str


@dataclass(frozen=True)
class Adapter:
    """What a serial adapter is known by: its USB serial number, where it has one, else the path that it is plugged into
    (ID_PATH of udev); and of one with several ports, which interface (ID_USB_INTERFACE_NUM, two hexadecimal digits).
    """

    serial: str = ""
    path: str = ""
    interface: str = ""

    @property
    def rules(self) -> str:
        """The udev rules. Raises SettingsError if something cannot stand in them."""
        for text, pattern, what in (
            (self.serial, SERIAL, "USB serial number"),
            (self.path, ID_PATH, "ID_PATH of udev"),
            (self.interface, INTERFACE, "USB interface number of two digits"),
        ):
            if text and not pattern.fullmatch(text):
                raise SettingsError(f"{text!r} is no {what}", "`udevadm info /dev/ttyUSB0` shows it")
        if not self.serial and not self.path:
            return ""
        match = [f'ATTRS{{serial}}=="{self.serial}"' if self.serial else f'ENV{{ID_PATH}}=="{self.path}"']
        match += [f'ENV{{ID_USB_INTERFACE_NUM}}=="{self.interface}"'] if self.interface else []
        known = "its serial number" if self.serial else "where it is plugged in, as it has no serial number"
        known += f", and its interface {self.interface}" if self.interface else ""
        tail = USB_RULE.format(serial=self.serial) if self.serial else ""
        return RULES.format(known=known, match=", ".join(match)) + tail


def adapter_of(port: str, properties: Callable[[str], Mapping[str, str]]) -> Adapter:
    """Return what the adapter behind `port` is known by; `properties` asks udev. Raises SettingsError."""
    found = properties(port)
    usb = ports.usb_of(port)
    several = usb is not None and ports.count_of(usb) > 1
    serial, path = usb.serial_number if usb is not None else "", found.get("ID_PATH", "")
    interface = found.get("ID_USB_INTERFACE_NUM", "") if several else ""
    if SERIAL.fullmatch(serial) and (not several or interface):
        return Adapter(serial, "", interface)
    if path:
        return Adapter("", path)
    raise SettingsError(
        f"{port}: udev does not tell what it is known by", "give --usb-serial, or --usb-path with its ID_PATH"
    )


def udev_properties(port: str) -> dict[str, str]:
    """Return what udev knows of a device; nothing where udevadm is missing."""
    try:
        done = subprocess.run(
            ["udevadm", "info", "--query=property", f"--name={port}"],
            capture_output=True, text=True, errors="replace", check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def plan(program: str, usb_serial: str = "", adapter: Adapter | None = None) -> list[Wanted]:
    """Return all files; `program` is the absolute path of `heartwire`, `usb_serial` or `adapter` say what the serial
    adapter is known by.

    Raises SettingsError if any of them cannot stand in the files.
    """
    if not program.startswith("/") or re.search(r"[\s\"'\\%$]", program):
        raise SettingsError(f"{program}: must be an absolute path without blanks", "install heartwire at such a path")
    rules = (adapter or Adapter(usb_serial)).rules
    share = resources.files("heartwire") / "share"
    files = [
        Wanted(
            OWN_UNITS / name,
            (share / "systemd" / name).read_text(encoding="utf-8").replace("@HEARTWIRE@", program),
            0o644,
        )
        for name in UNITS
    ]
    example = (share / "agent.example.toml").read_text(encoding="utf-8")
    files.append(Wanted(Path("etc/heartwire/agent.toml"), example, 0o644, settings=True))
    files += [
        Wanted(Path("etc/heartwire/hooks") / item.name, item.read_text(encoding="utf-8"), 0o755)
        for item in _hooks(share / "hooks")
    ]
    if rules:
        files.append(Wanted(Path("etc/udev/rules.d/70-heartwire-agent.rules"), rules, 0o644))
    return files


def demand_roots(program: str, root: Path) -> None:
    """Raise UnsafeProgram if somebody but root can change what units of root would run.

    Below another `root` the program may not be there yet; then nothing is known, and nothing said.
    """
    path = root / program.lstrip("/")
    if root != Path("/") and not path.exists():
        return
    why = private.why_not_roots(path)
    if why:
        raise UnsafeProgram(
            f"{program}: root would run it, and {why}",
            "install heartwire as root, for instance into a virtual environment below /opt, and run that one's install",
        )


def _hooks(directory: Traversable) -> Iterator[Traversable]:
    for item in sorted(directory.iterdir(), key=lambda one: one.name):
        if item.is_file() and item.name != "README.md":
            yield item


def carry_out(files: list[Wanted], root: Path, force: bool, dry_run: bool) -> list[Outcome]:
    """Write what is missing or, with `force`, different; return what became of each. Raises StorageProblem.

    A copy beside a packaged unit would hide what the next package brings, so none is made.
    """
    return [Outcome(file.path, _write(file, root, force, dry_run)) for file in files]


def packaged(unit: Path, root: Path) -> Path | None:
    """Return where below `root` a package of the distribution has the unit that `unit` would hide; None if nowhere."""
    found = [root / folder / unit.name for folder in PACKAGED_UNITS if unit.parent == OWN_UNITS]
    return next((path for path in found if path.exists()), None)


def _write(file: Wanted, root: Path, force: bool, dry_run: bool) -> str:
    path = root / file.path
    try:
        if not path.exists() and packaged(file.path, root) is not None:
            return "packaged"
        if path.exists():
            if path.read_text(encoding="utf-8", errors="replace") == file.text:
                return "unchanged"
            if not force or file.settings:
                return "kept"
        if dry_run:
            return "would be written"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".new")
        beside.write_text(file.text, encoding="utf-8")
        beside.chmod(file.mode)
        beside.replace(path)
    except OSError as error:
        raise StorageProblem(f"{path}: {error.strerror}", "run this as root, or choose another --root") from error
    return "written"


def next_steps(root: Path) -> list[str]:
    """Return what a person does now."""
    settings = shlex.quote(str(root / "etc/heartwire/agent.toml"))
    return [
        f"edit {settings}: node, port, key_file and [hooks]",
        "put the node's key into /etc/heartwire/node.key, mode 0600",
        "udevadm control --reload && udevadm trigger",
        f"heartwire agent doctor --config {settings}",
        "systemctl daemon-reload && systemctl enable --now heartwire-agent heartwire-planned-off",
    ]
