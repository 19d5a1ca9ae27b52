"""How one message leaves this machine: Apprise, a command, syslog or the journal of systemd.

Every function sends once, raises Undelivered with words that hold no secret, and retries nothing (the outbox does).
Runs only inside the sender process (deliver.py); Apprise is imported there and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import select
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from heartwire import names, urls
from heartwire.errors import HeartwireError
from heartwire.extras import install_hint, package_hint
from heartwire.monitor.settings import secret_lines
from heartwire.monitor.shorten import cut, shorten

# Severity of a message to the kinds that each way knows.
APPRISE_TYPES = {"alarm": "failure", "warning": "warning", "cleared": "success"}
PRIORITIES = {"alarm": 2, "warning": 4, "notice": 5, "cleared": 5, "info": 6}
# Extras of ours that bring what a plugin of Apprise needs.
EXTRAS = {"mqtt": "mqtt", "mqtts": "mqtt"}
DAEMON = 3 << 3
JOURNALD = "/run/systemd/journal/socket"
# One permanent number for `journalctl MESSAGE_ID=...`.
MESSAGE_ID = "6f0c7a3a1f5d4e0b9c55b1d2a7e48c01"
SYSLOG_BYTES = 2000
# How long a machine may take to say that nobody listens at a port, and a log to take a line.
REFUSAL_S = 0.5
TAKES_S = 5.0
# A title that Apprise puts into the text takes a line end, in HTML a tag as well; or it leaves room for a counter.
TITLE_MARKUP = {"text": 2, "markdown": 3, "html": 18}
TITLE_COUNTER = 14
_STATUS = re.compile(r"error=(\d{3})\b")
_PHRASES = (
    (re.compile(r"refused|111", re.I), "the connection was refused"),
    (re.compile(r"timed out|timeout", re.I), "it timed out"),
    (re.compile(r"name or service|resolve|gaierror", re.I), "the name could not be resolved"),
    (re.compile(r"authenticat|535", re.I), "the login was refused"),
    (re.compile(r"certificate|ssl", re.I), "the TLS certificate was refused"),
    (re.compile(r"connection", re.I), "the connection failed"),
)


class Undelivered(Exception):
    """The message did not go out this time; the words are safe to show."""


def get_ready(kind: str) -> None:
    """Import now what sending by `kind` will need."""
    if kind == "apprise":
        import apprise  # noqa: PLC0415 - slow, and only this needs it

        with _silent():
            # The first URL of all makes Apprise load its plugins.
            apprise.Apprise().add("json://localhost")


def send(channel: dict[str, Any], message: dict[str, Any], *, keep_open: tuple[int, ...] = ()) -> None:
    """Send `message` by `channel` (see courier for the keys). Raises Undelivered."""
    ways: dict[str, Callable[[], None]] = {
        "apprise": lambda: _apprise(channel, message),
        "command": lambda: _command(channel, message, keep_open),
        "webhook": lambda: _webhook(channel, message),
        "syslog": lambda: _syslog(channel, message),
        "journald": lambda: _journald(message),
    }
    ways[channel["kind"]]()


def apprise_url(path: Any) -> str:
    """Return the one Apprise URL of a secret file. Raises HeartwireError (never quoting it)."""
    from heartwire.errors import BadConfig  # noqa: PLC0415 - beside its only use

    lines = secret_lines(path)
    if len(lines) != 1:
        raise BadConfig(
            f"{path}: must hold exactly one URL, not {len(lines)}",
            "make a channel for each: what is sent to two at once cannot be repeated for the one that failed",
        )
    return lines[0]


def apprise_problem(url: str) -> str:
    """Return why Apprise does not take `url`, in words without any part of it but its scheme; "" if it does."""
    import apprise  # noqa: PLC0415 - slow, and only this needs it

    with _silent():
        taken = apprise.Apprise().add(url)
    return "" if taken else _not_taken(url)


def _not_taken(url: str) -> str:
    """Return why Apprise did not take a URL: a kind that it does not know, or one whose package is not installed."""
    from apprise.manager_plugins import NotificationManager  # noqa: PLC0415 - slow

    scheme = url.partition("://")[0]
    plugins = NotificationManager()
    known = plugins[scheme] if scheme in plugins else None  # noqa: SIM401 - it is no dict
    if known is None or known.enabled:
        return f"Apprise does not understand this {_scheme(url)} URL"
    needed = known.requirements.get("packages_required") or []
    package = ", ".join([needed] if isinstance(needed, str) else needed)
    hint = install_hint(EXTRAS[scheme]) if scheme in EXTRAS else package_hint(package)
    words = f"{_scheme(url)} URLs need {package}, which is not installed: {hint}"
    return words if package else f"Apprise cannot send by {_scheme(url)} on this machine"


def _scheme(url: str) -> str:
    scheme = url.partition("://")[0]
    return f"{scheme}://" if re.fullmatch(r"[a-z0-9+.-]{1,20}", scheme) else "kind of"


@contextlib.contextmanager
def _silent() -> Any:
    """Keep what Apprise logs to ourselves: its lines may quote the URL. Yields the stream they go to."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield stream
    finally:
        logger.removeHandler(handler)


def _apprise(channel: dict[str, Any], message: dict[str, Any]) -> None:
    from pathlib import Path  # noqa: PLC0415

    import apprise  # noqa: PLC0415

    try:
        url = apprise_url(Path(channel["url_file"]))
    except HeartwireError as error:
        raise Undelivered(error.words) from None
    # smtplib asks the name service what this host is called, and a name service that is down takes seconds to say so:
    # just what must not hold up the news of a failover. This process ends after the message.
    socket.getfqdn = lambda name="": name or socket.gethostname()
    asset = apprise.AppriseAsset(app_id="Heartwire", app_desc="Heartwire monitor", app_url="", async_mode=False)
    with _silent() as lines:
        sender = apprise.Apprise(asset=asset)
        if not sender.add(url):
            raise Undelivered(_not_taken(url))
        for server in sender:
            headers = getattr(server, "headers", None)
            if isinstance(headers, dict):
                headers["X-Heartwire-Id"] = message["uid"]
        kind = APPRISE_TYPES.get(message["severity"], "info")
        try:
            title, body = message["title"], message["body"]
            for server in sender:
                title, body = fitted(server, title, body)
            sent = sender.notify(title=title, body=body, notify_type=apprise.NotifyType(kind), body_format="text")
        except Exception as error:
            raise Undelivered(f"Apprise failed ({type(error).__name__})") from None
    if not sent:
        raise Undelivered(f"Apprise could not send by {_scheme(url)}{_why(lines.getvalue())}")


def fitted(server: Any, title: str, body: str) -> tuple[str, str]:
    """Return title and body as short as the Apprise plugin `server` says that its service takes them.

    Apprise knows each service's limits and by default sends longer text whole, which the service refuses; whoever asks
    for parts with `overflow=split` gets them.
    """
    if str(getattr(server.overflow_mode, "value", server.overflow_mode)) == "split":
        return title, body
    from apprise import OverflowMode  # noqa: PLC0415

    # What we count wrong is cut by Apprise rather than refused by the service.
    server.overflow_mode = OverflowMode.TRUNCATE
    body_max, title_max, lines_max = int(server.body_maxlen), int(server.title_maxlen), int(server.body_max_line_count)
    if body_max <= 0:
        return title, body
    form = _format(server)
    room = min(title_max, body_max) if title_max > 0 else body_max * 2 // 3
    short = cut(title, lambda text: len(text.encode()) <= room)
    taken = 0
    if title_max <= 0:
        taken = len(_rendered(server, short).encode()) + TITLE_MARKUP[str(getattr(form, "value", form))]
    elif server.overflow_amalgamate_title:
        taken = len(short.encode()) + TITLE_COUNTER

    def fits(text: str) -> bool:
        rendered = _rendered(server, text)
        lines = len(rendered.splitlines()) + (title_max <= 0)
        return len(rendered.encode()) <= body_max - taken and (not lines_max or lines <= lines_max)

    fitting = shorten(body, fits, title_is_whole=short == title)
    # No message may be without a text.
    return (short, fitting) if fitting else ("", cut(title, lambda text: len(text.encode()) <= body_max))


def _format(server: Any) -> Any:
    """Return the format in which Apprise sends plain text by `server`."""
    resolve = getattr(server, "resolve_format", None)  # Apprise 2: a plugin may have several formats
    return resolve("text") if resolve else server.notify_format


def _rendered(server: Any, text: str) -> str:
    """Return plain `text` as Apprise turns it into the format of `server`."""
    from apprise import NotifyFormat  # noqa: PLC0415
    from apprise.conversion import convert_between  # noqa: PLC0415

    return str(convert_between(NotifyFormat.TEXT, _format(server), text))


def _why(lines: str) -> str:
    """Return what the log of Apprise says, in our own words: its own may hold secrets."""
    status = _STATUS.search(lines)
    if status:
        return f": the server answered {status[1]}"
    for pattern, words in _PHRASES:
        if pattern.search(lines):
            return f": {words}"
    return ""


def _facts(message: dict[str, Any]) -> dict[str, str]:
    """Return what a message is about as variables; none for what it does not say."""
    names = ("board", "board_id", "node", "event", "epoch", "sequence")
    return {f"HEARTWIRE_{name.upper()}": str(message[name]) for name in names if message.get(name) is not None}


def _command(channel: dict[str, Any], message: dict[str, Any], keep_open: tuple[int, ...]) -> None:
    environment = {
        **os.environ,
        "HEARTWIRE_ID": message["uid"],
        "HEARTWIRE_SEVERITY": message["severity"],
        "HEARTWIRE_TITLE": message["title"],
        "HEARTWIRE_BODY": message["body"],
        **_facts(message),
    }
    try:
        # The command holds the receipt's lock as long as it lives, whatever happens to us.
        running = subprocess.Popen(
            channel["command"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=keep_open,
            start_new_session=True,
        )
    except OSError as error:
        raise Undelivered(f"the command could not be started: {error.strerror}") from None
    try:
        running.communicate(json.dumps(message).encode(), timeout=channel["limit_s"])
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        raise Undelivered(f"the command did not end within {channel['limit_s']:g} s") from None
    if running.returncode:
        raise Undelivered(f"the command ended with {running.returncode}")


def webhook_problem(path: Any) -> str:
    """Return what is wrong with the secret file of a webhook; "" if it holds one URL. Raises HeartwireError."""
    lines = secret_lines(path)
    good = len(lines) == 1 and re.fullmatch(r"https?://[^\s/]+\S*", lines[0])
    return "" if good else f"{path}: must hold exactly one URL that begins with http:// or https://"


def _webhook(channel: dict[str, Any], message: dict[str, Any]) -> None:
    """POST the message as JSON, the same that a command gets on stdin; any answer but 2xx is a failure."""
    from pathlib import Path  # noqa: PLC0415

    try:
        problem = webhook_problem(Path(channel["url_file"]))
        url = secret_lines(Path(channel["url_file"]))[0] if not problem else ""
    except HeartwireError as error:
        problem = error.words
    if problem:
        raise Undelivered(problem)
    headers = {"Content-Type": "application/json", "User-Agent": "heartwire", "X-Heartwire-Id": message["uid"]}
    try:
        request = urllib.request.Request(url, json.dumps(message).encode(), headers, method="POST")  # noqa: S310
        with urls.open_url(request, channel["limit_s"]) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        raise Undelivered(f"the server answered {error.code}") from None
    except urls.FAULTS as error:
        reason = getattr(error, "reason", error)
        raise Undelivered(f"the webhook could not be reached{_why(str(reason))}") from None


def _syslog(channel: dict[str, Any], message: dict[str, Any]) -> None:
    priority = DAEMON | PRIORITIES.get(message["severity"], 5)
    head = f"<{priority}>heartwire[{os.getpid()}]: "

    def data_of(body: str) -> bytes:
        lines = [message["title"], *body.splitlines()]
        return (head + " / ".join(line.strip() for line in lines if line.strip())).encode()

    data = data_of(shorten(message["body"], lambda body: len(data_of(body)) <= SYSLOG_BYTES))[:SYSLOG_BYTES]
    address = channel["address"]
    if address.startswith("/"):
        _datagram(address, data)
        return
    _over_network(address, data)


def _over_network(address: str, data: bytes) -> None:
    """Send one packet, and wait for a word that nobody hears it: a machine that is up and listens not says so."""
    try:
        host, port = names.split_address(address)
        numeric = names.RESOLVER.addresses(host)[0]
        family = socket.AF_INET6 if ":" in numeric else socket.AF_INET
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as sender:
            sender.connect((numeric, port))
            sender.send(data)
            poller = select.poll()
            poller.register(sender, select.POLLERR)
            if poller.poll(REFUSAL_S * 1000):
                number = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                raise OSError(number, os.strerror(number))
    except (OSError, ValueError) as error:
        raise Undelivered(f"{address}: {getattr(error, 'strerror', None) or error}") from None


def _journald(message: dict[str, Any]) -> None:
    values = {
        "MESSAGE": f"{message['title']}\n{message['body']}",
        "MESSAGE_ID": MESSAGE_ID,
        "PRIORITY": str(PRIORITIES.get(message["severity"], 5)),
        "SYSLOG_IDENTIFIER": "heartwire",
        "HEARTWIRE_ID": message["uid"],
        "HEARTWIRE_SEVERITY": message["severity"],
        **_facts(message),
    }
    data = b""
    for name, value in values.items():
        raw = value.encode()
        data += name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
    _datagram(JOURNALD, data)


def _datagram(path: str, data: bytes) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
        sender.settimeout(TAKES_S)
        try:
            sender.connect(path)
            sender.send(data)
        except OSError as error:
            raise Undelivered(f"{path}: {error.strerror or error}") from None
