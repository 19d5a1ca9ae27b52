"""Settings of the monitor: dataclasses that are at once the table of names, limits, defaults and sentences.

Read from TOML; unknown names are errors and every problem is reported with its path, rule and limit. Secrets (Apprise
URLs, keys, a ping's URL) stand in files of their own, mode 0600; this module only keeps their paths, so no setting can
leak one. Called by the CLI; nothing here opens a port or starts anything.
"""

# ruff: noqa: RUF009 - `setting` returns a dataclass field
from __future__ import annotations

import ipaddress
import os
import re
import tomllib
import typing
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from heartwire import board_id, private
from heartwire.errors import BadConfig, NotPermitted
from heartwire.names import crosses_network, split_address
from heartwire_protocol import codes

ENVIRONMENT = "HEARTWIRE_MONITOR_CONFIG"
SYSTEM_CONFIG = Path("/etc/heartwire/monitor.toml")
SECRET_BYTES = 65536
NEXT = "mend the file and try `heartwire monitor check`"
KINDS = ("apprise", "command", "syslog", "journald", "webhook")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def setting(
    sentence: str,
    default: Any = MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    many: type | None = None,
) -> Any:
    """Return a dataclass field with its sentence, limits (in the unit of its name) and choices."""
    metadata = {"doc": sentence, "low": low, "high": high, "choices": choices, "many": many}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


# In the state directory of heartwire-monitor.service, which is not below the agent's: one is root's, the other is not.
STATE = "/var/lib/heartwire-monitor"
STORE = f"{STATE}/monitor.db"
# Where it was before.
STORE_BEFORE = "/var/lib/heartwire/monitor/monitor.db"

# Schemes of serial servers that transport knows.
SERVERS = ("socket://", "rfc2217://")
PORT_FORMS = (
    "device file, id:SERIAL, socket://HOST:PORT, rfc2217://HOST:PORT, or agent:PATH for a surviving node's line"
)


@dataclass(frozen=True, kw_only=True)
class BoardSettings:
    """One board to collect from."""

    name: str = setting("what people call it in messages; unique")
    port: str = setting(PORT_FORMS)
    key_file: Path | None = setting("file with the view key, mode 0600; none for a board without keys", None)
    board_id: str = setting("the only board that is read there, 16 hexadecimal digits; empty for any", "")


@dataclass(frozen=True, kw_only=True)
class ChannelSettings:
    """One way to tell people."""

    name: str = setting("unique; two monitors that share the work use the same names")
    kind: str = setting("apprise, command, webhook, syslog or journald", choices=KINDS)
    severity: str = setting("this and worse: info, notice, warning or alarm", "warning", choices=codes.SEVERITIES)
    boards: tuple[str, ...] = setting("only these boards; empty for all", ())
    cleared: bool = setting("tell as well when what was told is over", True)
    url_file: Path | None = setting("apprise, webhook: file with one (Apprise) URL, mode 0600", None)
    command: tuple[str, ...] = setting("command: program and arguments; the message comes as JSON on stdin", ())
    address: str = setting("syslog: socket path or HOST:PORT (UDP)", "/dev/log")
    limit_s: float = setting("seconds until an attempt is given up and tried again later", 20.0, low=1, high=300)
    burst: int = setting("messages at once before the next ones are grouped", 5, low=1, high=1000)
    refill_s: float = setting("seconds until one more message may go out in a storm", 30.0, low=0.1, high=3600)


@dataclass(frozen=True, kw_only=True)
class RetentionSettings:
    """How long events are kept."""

    days: int = setting("what is older than this is removed, in every table; what is not yet told stays", 730, low=1)
    alarm_days: int = setting("alarms older than this are removed", 3650, low=1)
    events: int = setting("newest events kept per board, whatever their age", 1_000_000, low=1000)


@dataclass(frozen=True, kw_only=True)
class DeadmanSettings:
    """An outgoing ping, so that somebody else notices a dead monitor."""

    url_file: Path | None = setting("file with the http(s) URL to fetch while all is well, mode 0600", None)
    interval_s: float = setting("seconds between two pings", 60.0, low=1, high=86400)


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """The other monitor of the same boards."""

    url: str = setting("http://HOST:PORT where the other monitor listens; empty for none", "")
    listen: str = setting("ADDRESS:PORT where this one listens for the other", "")
    key_file: Path | None = setting("file with the bare key that both share, mode 0600", None)
    rank: int = setting("1 tells first; 2 tells what 1 did not", 1, low=1, high=2)
    takeover_s: float = setting("seconds until this one tells what the other should have told", 5.0, low=0.5, high=600)


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """A person who may act from the page."""

    name: str = setting("as the person logs in, or as the proxy says")
    key_file: Path = setting("file with this person's operate key, mode 0600")
    boards: tuple[str, ...] = setting("only these boards; empty for all that take the key", ())


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """The page; there is none where its table is missing."""

    listen: str = setting("ADDRESS:PORT of the page: loopback, or with a login or a proxy any", "127.0.0.1:9734")
    hosts: tuple[str, ...] = setting("names by which a browser may call it, beside localhost and the address", ())
    password_file: Path | None = setting("file of `heartwire monitor password`, mode 0600: who may log in", None)
    certificate_file: Path | None = setting("PEM certificate for HTTPS; a login over a network needs it", None)
    certificate_key_file: Path | None = setting("PEM key of the certificate, mode 0600", None)
    proxy_header: str = setting("header in which the reverse proxy names the person", "")
    proxy_address: str = setting("numeric address of that proxy; the header counts from nowhere else", "")
    operator: tuple[OperatorSettings, ...] = setting("who may act", (), many=OperatorSettings)


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """The MQTT server that is told everything; nothing is told where this table is missing."""

    server: str = setting("HOST:PORT of the MQTT server: 1883, or 8883 with TLS")
    user: str = setting("who logs in there; empty for nobody", "")
    password_file: Path | None = setting("file with the password, mode 0600", None)
    tls: bool = setting("encrypt, and check the server's certificate", False)
    ca_file: Path | None = setting("PEM certificates that sign the server's; none for those of the system", None)
    certificate_file: Path | None = setting("PEM certificate of this monitor, where the server asks for one", None)
    certificate_key_file: Path | None = setting("PEM key of that certificate, mode 0600", None)
    topic: str = setting("first part of every topic", "heartwire")
    client: str = setting("name of this monitor there, unique; empty for heartwire-HOST", "")
    discovery: str = setting("where Home Assistant looks for devices; empty to tell it nothing", "homeassistant")
    measures_s: float = setting("seconds between two messages with ages, leases and jitter", 10.0, low=1, high=3600)


@dataclass(frozen=True, kw_only=True)
class MonitorSettings:
    """All settings of one monitor."""

    store: str = setting("SQLite file, or an SQLAlchemy URL without a password", STORE)
    store_password_file: Path | None = setting("file with the password of a store's URL, mode 0600", None)
    store_url_file: Path | None = setting("file with the whole URL instead, mode 0600", None)
    spool: Path | None = setting("folder for receipts of attempts; default: beside an SQLite store", None)
    poll_ms: int = setting("pause between two looks at a board's journal", 500, low=50, high=60_000)
    status_ms: int = setting("pause between two looks at a board's status, for metrics", 2000, low=200, high=600_000)
    gather_ms: int = setting("a message waits so long for what belongs to it", 300, low=0, high=60_000)
    unreachable_s: float = setting("a board that is silent so long is told", 15.0, low=1, high=86400)
    metrics: str = setting("ADDRESS:PORT of the Prometheus metrics; empty for none", "127.0.0.1:9732")
    set_time: bool = setting("give a board the wall time if it has none", True)
    retention: RetentionSettings = setting("", RetentionSettings())
    deadman: DeadmanSettings = setting("", DeadmanSettings())
    peer: PeerSettings = setting("", PeerSettings())
    web: WebSettings | None = setting("the page; none where this table is missing", None)
    mqtt: MqttSettings | None = setting("the MQTT server; none where this table is missing", None)
    board: tuple[BoardSettings, ...] = setting("the boards", (), many=BoardSettings)
    channel: tuple[ChannelSettings, ...] = setting("the channels", (), many=ChannelSettings)

    @property
    def spool_path(self) -> Path:
        """Return the folder of the receipts."""
        if self.spool is not None:
            return self.spool
        return Path(self.store).parent / "spool" if "://" not in self.store else Path(STATE) / "spool"


def config_path(path: Path | None) -> Path:
    """Return the config file: `path`, else HEARTWIRE_MONITOR_CONFIG, else /etc/heartwire/monitor.toml."""
    return path or Path(os.environ.get(ENVIRONMENT) or SYSTEM_CONFIG)


def load(path: Path) -> MonitorSettings:
    """Return the settings of a TOML file; relative paths in it are relative to it.

    Raises BadConfig with all problems, NotPermitted if it may not be read.
    """
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except PermissionError:
        raise NotPermitted(f"{path}: you may not read this file", "run it as the user of the monitor") from None
    except OSError as error:
        words = f"{path}: {error.strerror}"
        raise BadConfig(words, "name a config with --config; `heartwire monitor example` prints one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: not valid TOML: {error}", NEXT) from None
    return settings_from(values, path.parent, str(path))


def settings_from(values: dict[str, Any], base: Path = Path(), source: str = "settings") -> MonitorSettings:
    """Check `values` as TOML gives them and return the settings. Raises BadConfig with all problems."""
    problems: list[str] = []
    settings = _section(MonitorSettings, values, "", base, problems)
    if not problems:
        assert isinstance(settings, MonitorSettings)  # noqa: S101 - by construction
        _cross(settings, problems)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise BadConfig(f"{source}: {count}", NEXT, problems=tuple(problems))
    return typing.cast(MonitorSettings, settings)


def _section(kind: type, values: Any, prefix: str, base: Path, problems: list[str]) -> Any:
    if not isinstance(values, dict):
        problems.append(f"{prefix.rstrip('.')}: must be a table")
        return None
    known = {entry.name: entry for entry in fields(kind)}
    problems += [
        f"{prefix}{name}: unknown setting; known here: {', '.join(sorted(known))}"
        for name in values
        if name not in known
    ]
    hints = typing.get_type_hints(kind)
    ready: dict[str, Any] = {}
    for name, entry in known.items():
        if name in values:
            ready[name] = _value(hints[name], entry.metadata, values[name], prefix + name, base, problems)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            problems.append(f"{prefix}{name}: is missing: {entry.metadata['doc']}")
            ready[name] = None
    return kind(**ready)


def _value(hint: Any, metadata: Any, value: Any, path: str, base: Path, problems: list[str]) -> Any:
    if metadata["many"] is not None:
        if not isinstance(value, list):
            problems.append(f"{path}: must be a list of tables, written [[{path}]]")
            return ()
        return tuple(
            _section(metadata["many"], entry, f"{path}[{at}].", base, problems) for at, entry in enumerate(value, 1)
        )
    if isinstance(hint, UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not NoneType)
    if is_dataclass(hint):
        return _section(typing.cast(type, hint), value, f"{path}.", base, problems)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
            problems.append(f'{path}: must be a list of words such as ["one", "two"]')
            return ()
        return tuple(value)
    if hint is bool:
        if not isinstance(value, bool):
            problems.append(f"{path}: must be true or false")
        return value
    if hint in (int, float):
        return _number(hint, metadata, value, path, problems)
    if not isinstance(value, str) or (hint is Path and not value):
        problems.append(f"{path}: must be text")
        return None
    if metadata["choices"] and value not in metadata["choices"]:
        problems.append(f"{path}: must be one of {', '.join(metadata['choices'])}, not {value!r}")
    return base / value if hint is Path else value


def _number(hint: type, metadata: Any, value: Any, path: str, problems: list[str]) -> Any:
    right = isinstance(value, int) if hint is int else isinstance(value, int | float)
    low = float("-inf") if metadata["low"] is None else metadata["low"]
    high = float("inf") if metadata["high"] is None else metadata["high"]
    if isinstance(value, bool) or not right or not low <= value <= high:
        kind = "a whole number" if hint is int else "a number"
        limits = f" from {low:g}" + (f" to {high:g}" if high != float("inf") else " up")
        problems.append(f"{path}: must be {kind}{limits}, not {value!r}")
    return value


def _cross(settings: MonitorSettings, problems: list[str]) -> None:
    """Check what one setting means for another."""
    if not settings.board:
        problems.append("board: at least one [[board]] is needed")
    tables: tuple[tuple[str, Sequence[BoardSettings | ChannelSettings]], ...] = (
        ("board", settings.board),
        ("channel", settings.channel),
    )
    for what, entries in tables:
        seen: set[str] = set()
        for at, entry in enumerate(entries, 1):
            if not _NAME.fullmatch(entry.name):
                problems.append(f"{what}[{at}].name: must be letters, digits, dot, dash and underscore, at most 64")
            if entry.name in seen:
                problems.append(f"{what}[{at}].name: a second {what} {entry.name!r}")
            seen.add(entry.name)
    for at, board in enumerate(settings.board, 1):
        if "://" in board.port and not board.port.startswith(SERVERS):
            problems.append(f"board[{at}].port: must be {PORT_FORMS}, not {board.port!r}")
        if board.board_id and not board_id.FORM.fullmatch(board.board_id):
            problems.append(f"board[{at}].board_id: must be 16 hexadecimal digits; `heartwire boards` shows it")
    names = {board.name for board in settings.board}
    for at, channel in enumerate(settings.channel, 1):
        path = f"channel[{at}]"
        if channel.kind in ("apprise", "webhook") and channel.url_file is None:
            article = "an" if channel.kind == "apprise" else "a"
            problems.append(f"{path}.url_file: {article} {channel.kind} channel needs a file with its URL")
        if channel.kind == "command" and not channel.command:
            problems.append(f"{path}.command: a command channel needs its command")
        problems += [f"{path}.boards: no board is called {name!r}" for name in channel.boards if name not in names]
    for path, address in (("metrics", settings.metrics), ("peer.listen", settings.peer.listen)):
        if address and not _is_address(address):
            problems.append(f"{path}: must be ADDRESS:PORT, such as 127.0.0.1:9732, not {address!r}")
    if settings.mqtt is not None:
        _mqtt(settings.mqtt, problems)
    if settings.web is not None:
        _web(settings.web, problems)
        _operators(settings.web, names, problems)
    peer = settings.peer
    if bool(peer.url) != bool(peer.listen) or (peer.url and peer.key_file is None):
        problems.append("peer: url, listen and key_file belong together")
    if peer.url and not re.fullmatch(r"http://[^/@\s]+:\d+/?", peer.url):
        problems.append("peer.url: must be http://HOST:PORT")
    if "://" in settings.store and re.search(r"://[^/]*:[^/]*@", settings.store):
        problems.append("store: a password belongs into a file, see store_password_file")
    if settings.store_password_file is not None and "://" not in settings.store:
        problems.append("store_password_file: `store` is no URL, a file has no password")
    if settings.store_password_file is not None and settings.store_url_file is not None:
        problems.append("store_password_file: belongs to `store`; store_url_file holds its own password")


def _mqtt(mqtt: MqttSettings, problems: list[str]) -> None:
    if "/" in mqtt.server or not _is_address(mqtt.server):
        problems.append(f"mqtt.server: must be HOST:PORT, such as broker.example.org:8883, not {mqtt.server!r}")
    for name, text in (("topic", mqtt.topic), ("discovery", mqtt.discovery)):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", text) and (text or name == "topic"):
            problems.append(f"mqtt.{name}: must be words with / between them, without + and #, not {text!r}")
    if mqtt.client and not _NAME.fullmatch(mqtt.client):
        problems.append("mqtt.client: must be letters, digits, dot, dash and underscore, at most 64")
    if mqtt.password_file is not None and not mqtt.user:
        problems.append("mqtt.user: is missing: a password belongs to somebody")
    if mqtt.password_file is not None and not mqtt.tls and crosses_network(f"tcp://{mqtt.server}"):
        problems.append("mqtt.tls: must be true: the password would cross the network in clear")
    if not mqtt.tls and (mqtt.ca_file or mqtt.certificate_file or mqtt.certificate_key_file):
        problems.append("mqtt.tls: must be true for certificates to be used")
    if (mqtt.certificate_file is None) != (mqtt.certificate_key_file is None):
        problems.append("mqtt: certificate_file and certificate_key_file belong together")


def _web(web: WebSettings, problems: list[str]) -> None:
    """Check who would reach the page."""
    if not _is_address(web.listen):
        problems.append(f"web.listen: must be ADDRESS:PORT, such as 127.0.0.1:9734, not {web.listen!r}")
    elif crosses_network(f"tcp://{web.listen}"):
        if web.password_file is None and not web.proxy_header:
            problems.append(
                f"web.listen: {web.listen} is not loopback, and whoever reaches it would read: name password_file "
                "(`heartwire monitor password NAME` makes it) or proxy_header and proxy_address; or keep 127.0.0.1 and "
                "reach it through `ssh -L`"
            )
        elif web.password_file is not None and web.certificate_file is None:
            problems.append(
                "web.certificate_file: is missing: passwords would cross the network in clear. Name a certificate and "
                "its key, or let a reverse proxy do it and listen on 127.0.0.1"
            )
    if bool(web.proxy_header) != bool(web.proxy_address):
        problems.append("web: proxy_header and proxy_address belong together: anybody can send a header")
    if web.proxy_header and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", web.proxy_header):
        problems.append(f"web.proxy_header: must be a header's name, such as X-Remote-User, not {web.proxy_header!r}")
    if web.proxy_address and not _is_numeric(web.proxy_address):
        problems.append(f"web.proxy_address: must be a numeric address, not {web.proxy_address!r}")
    if (web.certificate_file is None) != (web.certificate_key_file is None):
        problems.append("web: certificate_file and certificate_key_file belong together")


def _operators(web: WebSettings, names: set[str], problems: list[str]) -> None:
    if web.operator and web.password_file is None and not web.proxy_header:
        problems.append("web.operator: nobody can say who he is: name password_file, or proxy_header and proxy_address")
    for at, operator in enumerate(web.operator, 1):
        problems += [
            f"web.operator[{at}].boards: no board is called {name!r}" for name in operator.boards if name not in names
        ]


def _is_numeric(address: str) -> bool:
    try:
        return bool(ipaddress.ip_address(address))
    except ValueError:
        return False


def _is_address(address: str) -> bool:
    try:
        return bool(split_address(address))
    except ValueError:
        return False


def read_secret(path: Path) -> str:
    """Return the text of a secret file.

    Raises BadConfig (never quoting it) if others may read it or it is theirs, NotPermitted.
    """
    text = private.read(
        path, SECRET_BYTES, what="file", missing=f"create it with mode 0600; {NEXT}", user="the monitor's files"
    )
    if not text.strip():
        raise BadConfig(f"{path}: the file is empty", NEXT)
    return text


def secret_lines(path: Path) -> list[str]:
    """Return the lines of a secret file without comments. Raises as read_secret does."""
    lines = [line.strip() for line in read_secret(path).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
