"""Find what would start the services by itself, for each hook that is shipped: only the board says where they run.

A hook is known by its file name, and by what it is given. Each finder reads the system through the doctor's `System`
and yields what starts by itself and what to do about it. Called by doctor.py.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from heartwire.agent.settings import Command, HookSettings

# Where the configuration of a network may name an address, by Debian, systemd, Ubuntu, NetworkManager and Red Hat.
NETWORK_FILES = (
    "etc/network/interfaces",
    "etc/network/interfaces.d/*",
    "etc/systemd/network/*.network",
    "etc/netplan/*.yaml",
    "etc/NetworkManager/system-connections/*",
    "etc/sysconfig/network-scripts/ifcfg-*",
    "etc/keepalived/keepalived.conf",
)
NAMED_ENDS = (".service", ".target")
MEMBER_ENDS = (".service", ".socket", ".timer", ".path", ".mount")
TRIGGER_ENDS = (".socket", ".timer", ".path")


class Reads(Protocol):
    """What the finders read of the system (doctor.System)."""

    root: Path

    def text(self, path: str) -> str:
        """Return the content of a file, empty if it cannot be read."""

    def output(self, *words: str) -> str:
        """Return what a program says, empty if it is missing or hangs."""


class Start(NamedTuple):
    """Something that starts by itself, and how to end that."""

    words: str
    next_step: str


class Hook(NamedTuple):
    """A command of the settings: the file name of the hook, the words behind the verb, its variables (NAME=VALUE)."""

    name: str
    about: tuple[str, ...]
    variables: tuple[str, ...] = ()


def commands_of(hooks: HookSettings) -> list[Command]:
    """Return the commands that say what the services are."""
    return [one for one in (hooks.on_active, hooks.on_standby, hooks.on_drain, hooks.check) if one]


def hooks_of(hooks: HookSettings) -> list[Hook]:
    """Return the hooks that are shipped, each with what it is about once; `env NAME=VALUE` before one is no hook."""
    found: dict[Hook, None] = {}
    for command in commands_of(hooks):
        given = tuple(f"{name}={value}" for name, value in command.environment)
        for at, word in enumerate(command.argv):
            name = Path(word).name
            if name in FINDERS:
                before = tuple(one for one in command.argv[:at] if "=" in one)
                found[Hook(name, command.argv[at + 2 :], given + before)] = None
                break
    return list(found)


def find(hooks: HookSettings, system: Reads) -> Iterator[Start]:
    """Find what starts by itself."""
    seen: set[Start] = set()
    units = sorted({word for one in commands_of(hooks) for word in one.argv if word.endswith(NAMED_ENDS)})
    starts = [start for unit in units for start in _units(unit, system)]
    for hook in hooks_of(hooks):
        starts += FINDERS[hook.name](hook, system)
    for start in starts:
        if start not in seen:
            seen.add(start)
            yield start


def _units(unit: str, system: Reads) -> Iterator[Start]:
    """Find units of a target, or a unit, that something else than the target starts."""
    words = ("--property=Wants", "--property=Requires", "--property=ConsistsOf", "--value", unit)
    members = system.output("systemctl", "show", *words).split()
    for name in dict.fromkeys([unit, *(one for one in members if one.endswith(MEMBER_ENDS))]):
        enabled = system.output("systemctl", "is-enabled", name) in ("enabled", "enabled-runtime", "alias")
        wanted_by = system.output("systemctl", "show", "--property=WantedBy", "--property=RequiredBy", "--value", name)
        if enabled and any(other != unit for other in wanted_by.split()):
            hint = f"systemctl disable {name}: only the board says where it runs"
            yield Start(f"{name} starts by itself at boot", hint)
        for trigger in system.output("systemctl", "show", "--property=TriggeredBy", "--value", name).split():
            outside = trigger.endswith(TRIGGER_ENDS) and trigger not in members
            # Active now, or at the next boot before the agent has said a word.
            told = [system.output("systemctl", verb, trigger) for verb in ("is-active", "is-enabled")]
            if outside and ("active" in told or "enabled" in told):
                hint = f"systemctl disable --now {trigger}, or make it a part of {unit}, which then stops it"
                yield Start(f"{name} is started by {trigger}", hint)


def _postgresql(hook: Hook, system: Reads) -> Iterator[Start]:
    """Find Debian clusters with the data directory that start at boot, and enabled units that name it."""
    data = hook.about[0].rstrip("/") if hook.about else ""
    if not data:
        return
    for conf in sorted((system.root / "etc/postgresql").glob("*/*/postgresql.conf")):
        text = system.text(str(conf.relative_to(system.root)))
        named = re.search(r"^\s*data_directory\s*=?\s*'([^']*)'", text, re.MULTILINE)
        if named and named[1].rstrip("/") == data:
            start = system.text(str((conf.parent / "start.conf").relative_to(system.root)))
            mode = next(
                (line.strip() for line in start.splitlines() if line.strip() and line.strip()[0] != "#"), "auto"
            )
            if mode.split()[0] == "auto":
                file = "/" + str((conf.parent / "start.conf").relative_to(system.root))
                cluster = f"{conf.parent.parent.name}/{conf.parent.name}"
                yield Start(f"the cluster {cluster} starts by itself at boot", f"echo manual > {file}")
    listed = system.output("systemctl", "list-unit-files", "--state=enabled", "--no-legend", "*postgres*", "patroni*")
    for line in listed.splitlines():
        name = line.split()[0] if line.split() else ""
        # Debian's umbrella unit, and its template, name no data directory: start.conf has said it.
        if name and re.search(
            rf"{re.escape(data)}(/|\s|\"|'|$)", system.output("systemctl", "cat", name), re.MULTILINE
        ):
            yield Start(
                f"{name} starts by itself at boot", f"systemctl disable {name}: only the board says where it runs"
            )


def _libvirt(hook: Hook, system: Reads) -> Iterator[Start]:
    """Find a guest that libvirt starts, or one that libvirt-guests brings back."""
    guest = hook.about[0] if hook.about else ""
    if not guest:
        return
    told = system.output("env", *hook.variables, "LC_ALL=C", "virsh", "dominfo", guest)
    if re.search(r"^Autostart:\s+enable", told, re.MULTILINE):
        yield Start(f"the guest {guest} starts by itself with libvirt", f"virsh autostart --disable {guest}")
    if system.output("systemctl", "is-enabled", "libvirt-guests.service") == "enabled":
        text = system.text("etc/default/libvirt-guests") + "\n" + system.text("etc/sysconfig/libvirt-guests")
        set_to = re.findall(r"^\s*ON_BOOT=[\"']?(\w+)", text, re.MULTILINE)
        if (set_to[-1] if set_to else "start") == "start":
            hint = "set ON_BOOT=ignore in /etc/default/libvirt-guests (Red Hat: /etc/sysconfig)"
            yield Start("libvirt-guests starts at boot what ran when this server went down", hint)


def _floating_ip(hook: Hook, system: Reads) -> Iterator[Start]:
    """Find the address in the network's configuration."""
    try:
        address = str(ipaddress.IPv4Interface(hook.about[0] if hook.about else "").ip)
    except ValueError:
        return
    wanted = re.compile(rf"(?<![0-9.]){re.escape(address)}(?![0-9.])")
    for pattern in NETWORK_FILES:
        for path in sorted(system.root.glob(pattern)):
            lines = system.text(str(path.relative_to(system.root))).splitlines()
            if any(wanted.search(line.split("#", 1)[0]) for line in lines):
                file = "/" + str(path.relative_to(system.root))
                yield Start(f"{file} sets {address} by itself", f"take it out of {file}: the hook adds it")


def _pacemaker(hook: Hook, system: Reads) -> Iterator[Start]:
    """Find a resource that Pacemaker may start wherever it likes."""
    service = hook.about[0] if hook.about else ""
    if not service or not re.fullmatch(r"[\w.:-]+", service):
        return
    query = ("cibadmin", "--query", "--xpath")
    if not system.output(*query, "/cib/configuration/resources"):
        return  # no cluster here, or it does not run
    if not system.output(*query, f"//rsc_location[@rsc='{service}']//expression[@attribute='heartwire']"):
        hint = "cibadmin --create --scope constraints --xml-file board-decides-location.xml"
        yield Start(f"Pacemaker starts {service} on any node, whatever the board says", hint)


def _nothing(*_: Any) -> Iterator[Start]:
    return iter(())


FINDERS: dict[str, Callable[[Hook, Reads], Iterator[Start]]] = {
    "systemd-target": _nothing,  # any unit that a hook names is looked at
    "postgresql": _postgresql,
    "libvirt-migrate": _libvirt,
    "floating-ip": _floating_ip,
    "fenced-writer": _nothing,
    "pacemaker-hook": _pacemaker,
}
