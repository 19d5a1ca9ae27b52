"""Settings of the agent: one table of names, limits and defaults; read from TOML or from the command line.

Unknown names are errors, every error names its path, the rule and the limit, and a key file that others may read is
refused. Nothing here opens a port or starts anything. Called by the CLI and by `agent install`.
"""

import os
import re
import shlex
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from heartwire import keys
from heartwire.agent.errors import SettingsError
from heartwire.agent.lease import Loss
from heartwire.agent.port import FORMS, port_problem
from heartwire.agent.probe_kinds import KINDS
from heartwire.agent.settings_checks import address, choice, environment, number, refuse_unknown, text, truth
from heartwire_protocol import codes

SYSTEM_STATE = Path("/var/lib/heartwire")
PEER_PORT = 7411
BAUD_RATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800)
# name: (lowest, highest)
LIMITS: dict[str, tuple[float, float]] = {
    "interval_ms": (50, 60_000),
    "stop_timeout_s": (0.1, 3600),
    "drain_timeout_s": (0.1, 3600),
    "watchdog_timeout_s": (1, 3600),
    "check_interval_s": (0.05, 600),
    "retry_s": (0.05, 3600),
    "real_time_priority": (0, 50),
    "reopen_after": (0, 1000),
    "interval_s": (0.05, 86_400),
    "failures": (1, 1000),
    "successes": (1, 1000),
}
LIMIT_S = (0.05, 86_400.0)
# Settings of the agent itself that are numbers.
NUMBERS = (
    "interval_ms", "reopen_after", "stop_timeout_s", "drain_timeout_s", "watchdog_timeout_s", "real_time_priority",
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command to run: argument list, never a shell, how long it may take, and what is set in its environment."""

    argv: tuple[str, ...]
    limit_s: float = 60.0
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class HookSettings:
    """What starts, stops and checks the services; each may be missing."""

    on_active: Command | None = None
    on_standby: Command | None = None
    on_drain: Command | None = None
    on_recover: Command | None = None
    check: Command | None = None
    check_interval_s: float = 2.0
    retry_s: float = 10.0


@dataclass(frozen=True)
class ProbeSettings:
    """One probe; `command` for the kinds that are commands, `values` for the built-in ones (probe_kinds.KINDS)."""

    name: str
    kind: str
    command: Command | None = None
    values: dict[str, Any] = field(default_factory=dict)
    interval_s: float = 10.0
    limit_s: float = 5.0
    failures: int = 2
    successes: int = 2


@dataclass(frozen=True)
class PeerSettings:
    """Heartbeats to another agent over the network; `addresses` are its paths, each (numeric address, UDP port)."""

    node: str
    addresses: tuple[tuple[str, int], ...]
    key_file: Path
    listen: tuple[str, int] = ("0.0.0.0", PEER_PORT)  # noqa: S104 - packets without the key are dropped
    interval_ms: int = 1000
    dead_ms: int = 3500


@dataclass(frozen=True)
class AgentSettings:
    """All settings of one agent. See share/agent.example.toml for a sentence on each."""

    node: str
    port: str
    baud: int = 115_200
    key_file: Path | None = None
    interval_ms: int = 1000
    reopen_after: int = 3
    on_board_loss: Loss = Loss.HOLD
    on_exit: str = "leave"
    stop_timeout_s: float = 20.0
    drain_timeout_s: float = 100.0
    state_directory: Path = field(default_factory=Path)
    watchdog: str = ""
    watchdog_timeout_s: float = 10.0
    hooks: HookSettings = HookSettings()
    probes: tuple[ProbeSettings, ...] = ()
    peer: PeerSettings | None = None
    real_time_priority: int = 10
    lock_memory: bool = True
    fenced_from_outside: bool = False
    events_socket: str = ""
    events_group: str = ""
    board_id: str = ""

    @property
    def node_number(self) -> int:
        """Return the node's number on the wire."""
        return codes.NODES.index(self.node)


def default_state_directory(node: str) -> Path:
    """Return where an agent of `node` keeps its state unless told otherwise."""
    if os.geteuid() == 0:
        return SYSTEM_STATE / node
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "heartwire" / node


def load(path: Path) -> dict[str, Any]:
    """Read a TOML file; its key files are relative to its folder. SettingsError if it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}", "give a readable file with --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}", "correct the file at the place named") from error
    for table in (values, values.get("peer")):
        if isinstance(table, dict) and isinstance(table.get("key_file"), str) and table["key_file"]:
            table["key_file"] = str(path.absolute().parent / table["key_file"])
    return values


def settings_from(values: dict[str, Any]) -> AgentSettings:
    """Check `values` (as TOML gives them) and return the settings. SettingsError names path, rule and limit."""
    known = {item.name for item in fields(AgentSettings)}
    refuse_unknown(values, known, "")
    node = values.get("node")
    if node not in codes.NODES:
        raise SettingsError(f"node: must be one of {', '.join(codes.NODES)}", "set node, or give --node")
    port = values.get("port")
    if not isinstance(port, str) or not port:
        raise SettingsError(f"port: must be {FORMS}", "set port, or give --port")
    if problem := port_problem(port):
        raise SettingsError(f"port: {problem}", f"set port to {FORMS}")
    ready: dict[str, Any] = {"node": node, "port": port}
    for name in NUMBERS:
        if name in values:
            ready[name] = number(values[name], name, LIMITS[name], whole=not name.endswith("_s"))
    for name in ("lock_memory", "fenced_from_outside"):
        if name in values:
            ready[name] = truth(values[name], name)
    if "baud" in values:
        ready["baud"] = choice(values["baud"], "baud", BAUD_RATES)
    if "on_exit" in values:
        ready["on_exit"] = choice(values["on_exit"], "on_exit", ("leave", "stop"))
    if "on_board_loss" in values:
        ready["on_board_loss"] = Loss(choice(values["on_board_loss"], "on_board_loss", ("hold", "stop")))
    for name in ("watchdog", "events_socket", "events_group", "board_id"):
        if name in values:
            ready[name] = text(values[name], name)
    if values.get("key_file"):
        ready["key_file"] = Path(text(values["key_file"], "key_file"))
    ready["board_id"] = ready.get("board_id", "").upper()
    directory = values.get("state_directory")
    ready["state_directory"] = Path(text(directory, "state_directory")) if directory else default_state_directory(node)
    ready["hooks"] = _hooks(values.get("hooks", {}))
    ready["peer"] = _peer(values["peer"], node) if "peer" in values else None
    ready["probes"] = _probes(values.get("probes", []))
    settings = AgentSettings(**ready)
    if settings.events_socket and not Path(settings.events_socket).is_absolute():
        raise SettingsError("events_socket: must be an absolute path", 'for instance "/run/heartwire/agent.sock"')
    if not re.fullmatch(r"([0-9A-Fa-f]{16})?", settings.board_id):
        raise SettingsError("board_id: must be 16 hexadecimal digits", "`heartwire status --json` shows it")
    if settings.watchdog and not (settings.hooks.check or settings.hooks.on_standby):
        raise SettingsError(
            "watchdog: needs hooks.check or hooks.on_standby, else stopped services could not be verified",
            "add a check command that exits with 0 while the services run",
        )
    return settings


def read_key(path: Path) -> bytes:
    """Return the node's key in `path`: one bare key. BadConfig if it is missing, malformed or others may read it."""
    found = keys.read_file(path)
    if set(found) != {""}:
        raise SettingsError(f"{path}: must hold one bare key, the node's", "a file with RIGHT=KEY is for the host link")
    return bytes.fromhex(found[""])


def with_flags(values: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Return `values` with the flags that were given (not None) laid over them; hook flags are shell-like words."""
    result = dict(values)
    hooks = dict(result.get("hooks", {}))
    for name, value in flags.items():
        if value is None:
            continue
        if name in {item.name for item in fields(HookSettings)}:
            hooks[name] = shlex.split(value) if isinstance(value, str) else value
        else:
            result[name] = str(value) if isinstance(value, Path) else value
    if hooks:
        result["hooks"] = hooks
    return result


def _hooks(values: Any) -> HookSettings:
    if not isinstance(values, dict):
        raise SettingsError("hooks: must be a table", "write [hooks]")
    refuse_unknown(values, {item.name for item in fields(HookSettings)} | {"environment"}, "hooks.")
    shared = environment(values.get("environment", {}), "hooks.environment")
    ready: dict[str, Any] = {}
    for name, value in values.items():
        path = f"hooks.{name}"
        if name == "environment":
            continue
        if name in LIMITS:
            ready[name] = number(value, path, LIMITS[name])
        else:
            one = command(value, path, 5.0 if name == "check" else 60.0)
            ready[name] = replace(one, environment=tuple({**dict(shared), **dict(one.environment)}.items()))
    return HookSettings(**ready)


def _peer(values: Any, own: str) -> PeerSettings:
    if not isinstance(values, dict):
        raise SettingsError("peer: must be a table", "write [peer]")
    refuse_unknown(values, {item.name for item in fields(PeerSettings)}, "peer.")
    node = choice(values.get("node"), "peer.node", tuple(name for name in codes.NODES if name != own))
    addresses = values.get("addresses")
    if not isinstance(addresses, list) or not addresses:
        raise SettingsError("peer.addresses: must be a list of address:port", "give the other server's addresses")
    ready: dict[str, Any] = {
        "node": node,
        "addresses": tuple(address(text, f"peer.addresses[{at}]") for at, text in enumerate(addresses)),
        "key_file": Path(text(values.get("key_file"), "peer.key_file")),
    }
    if "listen" in values:
        ready["listen"] = address(values["listen"], "peer.listen")
    for name in ("interval_ms", "dead_ms"):
        if name in values:
            ready[name] = number(values[name], f"peer.{name}", LIMITS["interval_ms"], whole=True)
    peer = PeerSettings(**ready)
    if peer.dead_ms < 2 * peer.interval_ms:
        limit = 2 * peer.interval_ms
        raise SettingsError(f"peer.dead_ms: must be at least {limit}", "one lost packet must not look like death")
    return peer


def _probes(tables: Any) -> tuple[ProbeSettings, ...]:
    if not isinstance(tables, list):
        raise SettingsError("probes: must be a list of tables", "write [[probes]]")
    probes = [_probe(table, f"probes[{at}]") for at, table in enumerate(tables)]
    names = [probe.name for probe in probes]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise SettingsError(f"probes[{at}].name: {name} is there twice", "give each probe a name of its own")
    return tuple(probes)


def _probe(values: Any, path: str) -> ProbeSettings:
    kind = choice(values.get("kind") if isinstance(values, dict) else None, f"{path}.kind", tuple(KINDS))
    fields_of_kind = KINDS[kind][0]
    common = {"name", "kind", "interval_s", "limit_s", "failures", "successes"}
    refuse_unknown(values, common | set(fields_of_kind), f"{path}.")
    ready: dict[str, Any] = {"kind": kind, "name": text(values.get("name", kind), f"{path}.name")}
    for name in ("interval_s", "limit_s", "failures", "successes"):
        if name in values:
            limits = LIMITS.get(name, LIMIT_S)
            ready[name] = number(values[name], f"{path}.{name}", limits, whole=not name.endswith("_s"))
    limit_s = ready.get("limit_s", ProbeSettings.limit_s)
    parts: dict[str, Any] = {}
    for name, (wanted, default) in fields_of_kind.items():
        value = values.get(name, default)
        right = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
        if isinstance(value, bool) or not right:
            raise SettingsError(f"{path}.{name}: must be {_KINDS_OF_VALUES[wanted]}", f"a {kind} probe needs {name}")
        parts[name] = value
    if kind == "command":
        return ProbeSettings(command=command(parts["command"], f"{path}.command", limit_s), **ready)
    if kind == "systemd":
        check = ("systemctl", "is-active", "--quiet", "--", parts["unit"])
        return ProbeSettings(command=Command(check, limit_s), **ready)
    if kind == "http" and not parts["url"].startswith("http://"):
        raise SettingsError(f"{path}.url: must begin with http://", "use a command probe for anything else")
    return ProbeSettings(values=parts, **ready)


_KINDS_OF_VALUES = {list: "a list of words", str: "text", int: "a whole number", float: "a number"}


def command(value: Any, path: str, limit_s: float) -> Command:
    """Return the command given as a list of words, or as {command = [...], limit_s = ..., environment = {...}}."""
    its_own: tuple[tuple[str, str], ...] = ()
    if isinstance(value, dict):
        refuse_unknown(value, {"command", "limit_s", "environment"}, f"{path}.")
        its_own = environment(value.get("environment", {}), f"{path}.environment")
        if "limit_s" in value:
            limit_s = number(value["limit_s"], f"{path}.limit_s", LIMIT_S)
        value = value.get("command")
        path = f"{path}.command"
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value) or not value[0]:
        raise SettingsError(
            f"{path}: must be a list of words, the program first", 'write ["/path/program", "argument"]'
        )
    return Command(tuple(value), limit_s, its_own)
