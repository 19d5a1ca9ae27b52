"""The ways out: a local webhook, a local mail server, a command, syslog; and no secret in any error."""

import email
import http.server
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from heartwire.monitor import channels
from heartwire.monitor.courier import Letter, ProcessCourier, order_of
from heartwire.monitor.settings import ChannelSettings

LETTER = Letter("f" * 32, "alarm", "ALARM rack-1: a is dead", "What happened: a is dead")
SECRET = "hunter2"


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted, answers with `answer`."""

    posts: list[tuple[dict[str, str], dict[str, Any]]] = []  # noqa: RUF012 - replaced by the fixture
    answer = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).posts.append((dict(self.headers), json.loads(body)))
        self.send_response(self.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[type[Hook], int]]:
    """Return the kept posts and the port of a webhook."""
    handler = type("OneHook", (Hook,), {"posts": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler, server.server_address[1]
    server.shutdown()
    server.server_close()


def apprise_channel(tmp_path: Path, url: str) -> ChannelSettings:
    path = tmp_path / "one.url"
    path.write_text(url + "\n")
    path.chmod(0o600)
    return ChannelSettings(name="x", kind="apprise", url_file=path)


def send(channel: ChannelSettings) -> None:
    channels.send(order_of(channel), LETTER.as_json())


def test_a_webhook_gets_title_text_and_id(hook: tuple[type[Hook], int], tmp_path: Path) -> None:
    handler, port = hook
    send(apprise_channel(tmp_path, f"json://me:{SECRET}@127.0.0.1:{port}/path"))
    headers, body = handler.posts[0]
    assert body["title"] == LETTER.title
    assert body["message"] == LETTER.body
    assert body["type"] == "failure"
    assert headers["X-Heartwire-Id"] == LETTER.uid


def test_a_webhook_that_refuses_is_told_by_its_status_and_nothing_else(
    hook: tuple[type[Hook], int], tmp_path: Path
) -> None:
    handler, port = hook
    handler.answer = 503
    with pytest.raises(channels.Undelivered, match=r"^Apprise could not send by json://: the server answered 503$"):
        send(apprise_channel(tmp_path, f"json://me:{SECRET}@127.0.0.1:{port}/{SECRET}?token={SECRET}"))


@pytest.mark.parametrize(
    "url", [f"json://me:{SECRET}@127.0.0.1:1/", f"mailto://me:{SECRET}@127.0.0.1:1?to=x@example.org", f"{SECRET}://x"]
)
def test_no_error_holds_a_piece_of_the_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(channels.Undelivered) as caught:
        send(apprise_channel(tmp_path, url))
    assert SECRET not in str(caught.value) or url.startswith(SECRET)  # a scheme is no secret
    assert "127.0.0.1" not in str(caught.value)


def test_two_urls_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(channels.Undelivered, match="exactly one URL"):
        send(apprise_channel(tmp_path, f"json://{SECRET}\njson://{SECRET}"))


def test_a_mail_server_gets_a_mail(tmp_path: Path) -> None:
    smtp = pytest.importorskip("aiosmtpd.controller")
    got: list[Message] = []

    class Keeper:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            got.append(email.message_from_bytes(envelope.content))
            return "250 OK"

    controller = smtp.Controller(Keeper(), hostname="127.0.0.1", port=0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        controller.port = probe.getsockname()[1]
    controller.start()
    try:
        send(
            apprise_channel(
                tmp_path, f"mailto://127.0.0.1:{controller.port}/?from=hw@example.org&to=ops@example.org&mode=insecure"
            )
        )
    finally:
        controller.stop()
    assert got[0]["Subject"] == LETTER.title
    assert got[0]["X-Heartwire-Id"] == LETTER.uid
    assert "a is dead" in str(got[0])


def test_a_command_gets_json_and_its_failure_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f'cat > {out}; test "$HEARTWIRE_ID" = {LETTER.uid}'
    send(ChannelSettings(name="x", kind="command", command=("/bin/sh", "-c", script)))
    assert json.loads(out.read_text()) == LETTER.as_json()
    with pytest.raises(channels.Undelivered, match="ended with 3"):
        send(ChannelSettings(name="x", kind="command", command=("/bin/sh", "-c", "exit 3")))
    with pytest.raises(channels.Undelivered, match="could not be started"):
        send(ChannelSettings(name="x", kind="command", command=("/no/such/program",)))


def test_syslog_gets_one_line_with_its_priority(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        send(ChannelSettings(name="x", kind="syslog", address=str(path)))
        line = receiver.recv(4096).decode()
    assert line.startswith("<26>heartwire[")  # daemon.crit
    assert "\n" not in line
    assert LETTER.title in line
    with pytest.raises(channels.Undelivered, match="No such file"):
        send(ChannelSettings(name="x", kind="syslog", address=str(tmp_path / "none")))


def test_a_syslog_that_nobody_hears_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        send(ChannelSettings(name="x", kind="syslog", address=address))
        assert LETTER.title in receiver.recv(4096).decode()
    with pytest.raises(channels.Undelivered, match=f"{address}: .*refused"):
        send(ChannelSettings(name="x", kind="syslog", address=address))
    # One that takes lines and does not read them.
    monkeypatch.setattr(channels, "TAKES_S", 0.1)
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(path))
        with pytest.raises(channels.Undelivered, match="timed out"):
            for _ in range(10_000):
                send(ChannelSettings(name="x", kind="syslog", address=str(path)))


@pytest.mark.parametrize("url", ["mqtt://broker/topic", "mqtts://user:secret@broker/topic"])
def test_mqtt_without_its_package_says_which_extra(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.manager_plugins import NotificationManager

    plugin = NotificationManager()["mqtt"]
    monkeypatch.setattr(plugin, "enabled", False)
    words = channels.apprise_problem(url)
    assert "paho-mqtt" in words and "[mqtt]" in words
    assert "secret" not in words
    assert channels.apprise_problem("nonsense://x") == "Apprise does not understand this nonsense:// URL"


def test_journald_gets_its_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socket"
    monkeypatch.setattr(channels, "JOURNALD", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        send(ChannelSettings(name="x", kind="journald"))
        data = receiver.recv(65536)
    assert b"PRIORITY\n" + (1).to_bytes(8, "little") + b"2\n" in data
    assert LETTER.title.encode() in data


def test_the_sender_process_shows_no_secret_and_keeps_to_its_limit(tmp_path: Path) -> None:
    courier = ProcessCourier(tmp_path / "spool")
    courier.prepare()
    out = tmp_path / "seen"
    # What `ps` would show of the sender and of the command, while it runs.
    script = f"tr '\\0' ' ' < /proc/$PPID/cmdline > {out}; tr '\\0' '\\n' < /proc/$PPID/environ >> {out}; exec sleep 30"
    slow = ChannelSettings(name="x", kind="command", command=("/bin/sh", "-c", script), limit_s=1.5)
    letter = Letter("u", "alarm", "t", f"{SECRET} in the body")
    # The sender runs already, so that only the command's time counts.
    assert courier.send(replace(slow, command=("true",), limit_s=60), replace(letter, uid="first"), 1).sent
    outcome = courier.send(slow, letter, 1)
    assert not outcome.sent
    assert outcome.trouble == "the command did not end within 1.5 s"
    assert "heartwire.monitor.deliver" in out.read_text()
    assert SECRET not in out.read_text()
    courier.close()


def test_a_sender_serves_many_messages_and_one_that_ended_is_replaced(tmp_path: Path) -> None:
    courier = ProcessCourier(tmp_path / "spool")
    courier.prepare()
    out = tmp_path / "out"
    channel = ChannelSettings(name="x", kind="command", command=("/bin/sh", "-c", f"echo $PPID >> {out}"))
    for number in (1, 2):
        assert courier.send(channel, Letter(f"u{number}", "alarm", "t", "b"), 1).sent
    pids = out.read_text().split()
    assert pids[0] == pids[1]
    os.kill(int(pids[0]), signal.SIGKILL)
    courier._senders["x"].wait()
    assert courier.send(channel, Letter("u3", "alarm", "t", "b"), 1).sent
    last = int(out.read_text().split()[-1])
    assert last != int(pids[0])
    courier.close()
    assert not Path(f"/proc/{last}").exists()


def webhook(tmp_path: Path, url: str) -> dict[str, Any]:
    path = tmp_path / "hook.url"
    path.write_text(url + "\n")
    path.chmod(0o600)
    return {"kind": "webhook", "url_file": str(path), "limit_s": 5.0}


MESSAGE = {
    "uid": "f" * 32, "severity": "alarm", "title": "ALARM rack-1: a is dead", "body": "What happened: a is dead",
    "board": "rack-1", "node": "a", "epoch": None,
}  # fmt: skip


def test_a_webhook_gets_the_same_json_as_a_command(tmp_path: Path, hook: tuple[type[Hook], int]) -> None:
    handler, port = hook
    channels.send(webhook(tmp_path, f"http://127.0.0.1:{port}/{SECRET}"), MESSAGE)
    headers, body = handler.posts[0]
    assert body == MESSAGE
    assert headers["Content-Type"] == "application/json" and headers["X-Heartwire-Id"] == "f" * 32


def test_a_command_has_what_it_is_about_as_variables(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f'echo "$HEARTWIRE_BOARD $HEARTWIRE_NODE ${{HEARTWIRE_EPOCH-none}}" > {out}'
    channels.send({"kind": "command", "command": ["/bin/sh", "-c", script], "limit_s": 5.0}, MESSAGE)
    assert out.read_text() == "rack-1 a none\n"


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_a_webhook_that_is_not_taken_is_undelivered(tmp_path: Path, hook: tuple[type[Hook], int], answer: int) -> None:
    handler, port = hook
    handler.answer = answer
    with pytest.raises(channels.Undelivered, match=f"the server answered {answer}"):
        channels.send(webhook(tmp_path, f"http://127.0.0.1:{port}/{SECRET}"), MESSAGE)


@pytest.mark.parametrize(
    "url", [f"http://127.0.0.1:1/{SECRET}", f"ftp://{SECRET}/x", f"http://{SECRET} x/", "http:///x"]
)
def test_a_webhook_that_cannot_be_used_shows_no_secret(tmp_path: Path, url: str) -> None:
    with pytest.raises(channels.Undelivered) as raised:
        channels.send(webhook(tmp_path, url), MESSAGE)
    assert SECRET not in str(raised.value)
