"""What the settings need beyond themselves: secret files, programs, packages, a store that can be opened.

Opens files and imports packages; connects to nothing but the store, and writes nothing. Called by run before it starts
anything, and by `heartwire monitor check`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from heartwire import extras, keys
from heartwire.errors import BadConfig, HeartwireError
from heartwire.monitor import migrate
from heartwire.monitor.settings import (
    MonitorSettings,
    MqttSettings,
    PeerSettings,
    WebSettings,
    read_secret,
    secret_lines,
)
from heartwire.monitor.store import Store, driver_problem, shown
from heartwire_protocol import codes

# What the extra [mqtt] brings.
MQTT_NEEDED = ("paho",)
# What the extra [web] brings.
WEB_NEEDED = ("starlette", "uvicorn", "jinja2", "argon2")


def place(settings: MonitorSettings) -> tuple[str, str, str]:
    """Return the store's file or URL, its password ("" for none), and what it may be called. Raises as read_secret."""
    if settings.store_url_file is not None:
        url = read_secret(settings.store_url_file).strip()
        return url, "", shown(url)
    password = ""
    if settings.store_password_file is not None:
        password = read_secret(settings.store_password_file).rstrip("\r\n")
    return settings.store, password, settings.store


def store_needs(settings: MonitorSettings) -> str:
    """Return in words what the store of the settings needs before it is used. Raises StorageProblem, BadConfig."""
    where, password, name = place(settings)
    if "://" not in where and not Path(where).exists():
        return "is made when the monitor starts"
    with Store.open(where, name=name, create=False, password=password, check=False) as store:
        found = store.revision()
    if found == migrate.NOTHING:
        return "is empty: its tables are made when the monitor starts"
    if found == migrate.HEAD:
        return f"is up to date (step {found})"
    return f"is taken from step {found} to {migrate.HEAD} when the monitor starts, or by `heartwire monitor migrate`"


def check_secrets(settings: MonitorSettings) -> list[str]:
    """Return what is wrong with the secret files that the settings name, without their content."""
    from heartwire.monitor import channels  # noqa: PLC0415 - the only place outside the sender that looks at URLs

    problems = []

    def look(what: str, test: Callable[[], object]) -> None:
        """Note what `test` raises, or the words that it returns."""
        try:
            words = test()
        except HeartwireError as error:
            words = error.words
        if isinstance(words, str) and words:
            problems.append(f"{what}: {words}")

    def url_problem(path: Path) -> str:
        return channels.apprise_problem(channels.apprise_url(path))

    if "://" in settings.store or settings.store_url_file is not None:
        look("store", lambda: driver_problem(place(settings)[0]))
    for channel in settings.channel:
        if channel.kind == "apprise" and channel.url_file is not None:
            look(f"channel {channel.name}", partial(url_problem, channel.url_file))
        if channel.kind == "webhook" and channel.url_file is not None:
            look(f"channel {channel.name}", partial(channels.webhook_problem, channel.url_file))
        if channel.kind == "command" and not _runnable(channel.command[0]):
            problems.append(f"channel {channel.name}: {channel.command[0]}: no such program, or not executable")
    for board in settings.board:
        if board.key_file is not None:
            look(f"board {board.name}", partial(keys.find, board.key_file))
    if settings.web is not None:
        _look_at_page(settings.web, look)
    if settings.mqtt is not None:
        _look_at_mqtt(settings.mqtt, look)
    if settings.deadman.url_file is not None:
        look("deadman", partial(_ping_problem, settings.deadman.url_file))
    if settings.peer.url:
        look("peer", partial(_key_problem, settings.peer))
    return problems


def _operate_problem(path: Path) -> str:
    return "" if keys.find(path).signer(codes.RIGHT_OPERATE) else f"{path}: holds no operate key"


def _look_at_mqtt(mqtt: MqttSettings, look: Callable[[str, Callable[[], object]], None]) -> None:
    absent = extras.missing(*MQTT_NEEDED)
    look("mqtt", lambda: f"{', '.join(absent)} is not installed: {extras.install_hint('mqtt')}" if absent else "")
    for secret in (mqtt.password_file, mqtt.certificate_key_file):
        if secret is not None:
            look("mqtt", partial(read_secret, secret))
    for path in (mqtt.ca_file, mqtt.certificate_file):
        if path is not None:
            look("mqtt", partial(_unreadable, path))


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"{path}: {error.strerror}"


def _look_at_page(web: WebSettings, look: Callable[[str, Callable[[], object]], None]) -> None:
    absent = extras.missing(*WEB_NEEDED)
    look("web", lambda: f"{', '.join(absent)} is not installed: {extras.install_hint('web')}" if absent else "")
    if web.password_file is not None and not absent:
        from heartwire.web import passwords  # noqa: PLC0415 - an extra

        look("web", partial(passwords.read, web.password_file))
    for operator in web.operator:
        look(f"web.operator {operator.name}", partial(_operate_problem, operator.key_file))
    if web.certificate_key_file is not None:
        look("web", partial(read_secret, web.certificate_key_file))


def _ping_problem(path: Path) -> str:
    lines = secret_lines(path)
    good = len(lines) == 1 and lines[0].startswith(("http://", "https://"))
    return "" if good else f"{path}: must hold one URL that begins with http:// or https://"


def _key_problem(settings: PeerSettings) -> str:
    return "" if peer_key(settings) else "no key"


def _runnable(program: str) -> bool:
    import shutil  # noqa: PLC0415

    return shutil.which(program) is not None


def peer_key(settings: PeerSettings) -> bytes:
    """Return the key that both monitors share. Raises BadConfig."""
    assert settings.key_file is not None  # noqa: S101 - settings hold url, listen and key_file together
    found = keys.read_file(settings.key_file)
    if set(found) != {""}:
        raise BadConfig(f"{settings.key_file}: must hold one bare key", "make one: `heartwire key new`")
    return bytes.fromhex(found[""])
