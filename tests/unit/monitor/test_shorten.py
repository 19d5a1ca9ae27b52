"""A message is made to fit the service it goes to, and keeps what a person needs; `monitor test` sends one as long."""

import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apprise
import pytest
from apprise.manager_plugins import NotificationManager

from heartwire.monitor import channels, sample
from heartwire.monitor.courier import Letter, order_of
from heartwire.monitor.settings import ChannelSettings
from heartwire.monitor.shorten import ALSO, DO, GAP, HAPPENED, STORY, WHY, cut, shorten
from heartwire.monitor.store import Store
from tests.fakes.bench import Bench
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel

BODY = GAP.join(
    (
        f"{HAPPENED} b is active",
        f"{WHY} a was silent",
        "\n".join((STORY, *(f"  step {number}" for number in range(12)))),
        "\n".join((ALSO, *(f"  other {number}" for number in range(12)))),
        "\n".join((DO, "  - Look at b.", "  - Look at a.")),
        "Board x. Told by y.",
    )
)


def fitting(limit: int) -> str:
    return shorten(BODY, lambda text: len(text) <= limit)


def test_what_fits_is_left_as_it_is() -> None:
    assert fitting(len(BODY)) == BODY


def test_what_matters_least_goes_first_and_what_to_do_last() -> None:
    """Go down a character at a time: nothing is ever longer than asked, and parts vanish in their order."""
    gone: list[str] = []
    marks = {"step 0": "oldest step", "step 11": "newest step", "other 0": "worst other", "Told by": "source"}
    marks |= {"Look at a": "second advice", HAPPENED: "happened", WHY: "why", "Look at b.": "advice"}
    for limit in range(len(BODY), 5, -1):
        text = fitting(limit)
        assert len(text) <= limit
        gone += [word for mark, word in marks.items() if mark not in text and word not in gone]
    assert gone[0] == "oldest step"
    assert gone.index("newest step") < gone.index("source") < gone.index("second advice") < gone.index("why")
    assert gone.index("happened") < gone.index("why") < gone.index("advice") == len(gone) - 1


def test_a_title_that_was_cut_leaves_what_happened_to_the_text() -> None:
    room = len(f"{HAPPENED} b is active\n{DO}\n  - Look at b.")
    text = shorten(BODY, lambda text: len(text) <= room, title_is_whole=False)
    assert HAPPENED in text and WHY not in text


def test_a_foreign_text_is_cut_at_its_end() -> None:
    assert shorten("x" * 50, lambda text: len(text) <= 10) == "xxxxxxx..."
    assert cut("four words of text", lambda text: len(text) <= 9) == "four w..."
    assert cut("four", lambda text: False) == ""


def failover(store: Store) -> Letter:
    """Return the message of a failover that the firmware's policy made, all of it in one."""
    bench = Bench()
    bench.settle()
    met = len(bench.raw_journal())
    bench.nodes[0].crash()
    bench.run(25_000)
    board = FakeBoard()
    board.records = bench.raw_journal()[:met]
    board.status["newest"] = met
    world = World(store, board, [channel()])
    world.collect()
    board.records = bench.raw_journal()
    board.status["newest"] = len(board.records)
    world.collect()
    (letter,) = world.post(5)
    return letter


def test_the_test_message_is_as_long_as_a_failovers_and_says_that_it_is_none(store: Store) -> None:
    test, real = sample.letter("u", "mail", "notice"), failover(store)
    assert len(test.body) >= len(real.body) > 1024
    assert test.title == "TEST by channel mail"
    assert test.body.startswith("TEST: ") and "made up" in test.body.split(GAP)[0]
    assert {part.split("\n")[0][:8] for part in real.body.split(GAP)} <= {
        part.split("\n")[0][:8] for part in test.body.replace("EXAMPLE", "rack-1").split(GAP)
    }


TEST = sample.letter("u" * 32, "mail", "alarm")
TITLE = "ALARM rack-1: b (beta) is active with epoch 2, 11225 ms after the last holder was last heard (and 4 more)"
LETTERS = [Letter("u" * 32, "alarm", TITLE, TEST.body), Letter("u" * 32, "alarm", "T" * 400, "words " * 1000)]


@pytest.mark.parametrize("letter", LETTERS, ids=("a failover", "anything"))
def test_every_service_that_apprise_knows_gets_no_more_than_it_takes(letter: Letter) -> None:
    seen = 0
    for plugin in NotificationManager().plugins():
        limits = [getattr(plugin, name) for name in ("body_maxlen", "title_maxlen", "body_max_line_count")]
        if not all(isinstance(limit, int) for limit in limits):
            continue  # known of a URL only; see below
        seen += 1
        formats = plugin.notify_format if isinstance(plugin.notify_format, tuple) else (plugin.notify_format,)
        names = ("body_maxlen", "title_maxlen", "body_max_line_count", "overflow_mode", "overflow_amalgamate_title")
        server = SimpleNamespace(notify_format=formats[0], **{name: getattr(plugin, name) for name in names})
        title, body = channels.fitted(server, letter.title, letter.body)
        body_max, title_max, lines_max = limits
        together = title and (title_max <= 0 or server.overflow_amalgamate_title)
        within = len(title) + 2 + len(body) if together else len(body)
        assert body and within <= body_max, plugin.__name__
        assert len(title) <= (title_max if title_max > 0 else body_max), plugin.__name__
        assert not lines_max or body.count("\n") < lines_max, plugin.__name__
    assert seen > 100


KEY = "a" * 32
URLS = (
    "discord://1234567/" + 2 * KEY,
    "discord://1234567/" + 2 * KEY + "?format=markdown",
    f"pover://{KEY[:30]}@{KEY[:30]}",
    f"tgram://123456789:{KEY}aaa/12345",
    "slack://AAAAAAAAA/BBBBBBBBB/" + KEY[:24],
    f"twilio://AC{KEY}:{KEY}@15551234567/15551234568",
    f"sns://AKIA{KEY[:16].upper()}/{KEY}{KEY[:8]}/us-east-1/+15551234567",
    f"mastodon://{KEY}@example.org",
    "ntfy://topic",
    "gotify://example.org/" + KEY[:15],
    f"matrix://me:{KEY}@example.org/#room",
    f"wxteams://{2 * KEY}{KEY[:16]}",
    "kodi://example.org",
    "irc://example.org/#ops",
    f"mailto://me:{KEY}@example.org",
)


@pytest.mark.parametrize("url", URLS, ids=[url.partition(":")[0] for url in URLS])
def test_what_apprise_hands_to_the_service_fits_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = apprise.Apprise.instantiate(url)
    assert server is not None
    sent: list[tuple[str, str]] = []

    def take(self: object, body: str, title: str = "", **_: Any) -> bool:
        sent.append((title or "", body))
        return True

    monkeypatch.setattr(type(server), "send", take)
    path = tmp_path / "one.url"
    path.write_text(url)
    path.chmod(0o600)
    letter = LETTERS[0]
    channels.send(order_of(ChannelSettings(name="x", kind="apprise", url_file=path)), letter.as_json())
    ((title, body),) = sent
    assert len(body) <= server.body_maxlen and len(title) <= max(0, server.title_maxlen)
    if server.overflow_amalgamate_title:
        assert len(title) + len(body) + 2 <= server.body_maxlen
    # Whatever the limit: what it is, and what to do (blanks are none in HTML, Markdown has backslashes).
    words = f"{title}\n{body}".replace("&nbsp;", " ").replace("\\", "")
    assert "ALARM rack-1: b (beta) is active" in words
    assert "Check that the service" in words


@pytest.fixture
def service() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return the address of a stand-in for Discord and Pushover that refuses too long a text as they do."""
    got: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.path.startswith("/discord"):
                found = json.loads(raw)
                refused = len(found["content"]) > 2000
            else:
                found = dict(urllib.parse.parse_qsl(raw))
                refused = len(found["message"]) > 1024 or len(found["title"]) > 250
            if not refused:
                got.append(found)
            answer = b'{"status": 1}'
            self.send_response(400 if refused else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("url", [f"discord://1234567/{KEY}{KEY}", f"pover://{KEY[:30]}@{KEY[:30]}"])
def test_a_failover_is_delivered_by_services_that_refuse_long_texts(
    url: str, service: tuple[str, list[dict[str, Any]]], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, got = service
    server = apprise.Apprise.instantiate(url)
    monkeypatch.setattr(type(server), "notify_url", f"{address}/{url.partition(':')[0]}")
    path = tmp_path / "one.url"
    path.write_text(url)
    path.chmod(0o600)
    order = order_of(ChannelSettings(name="x", kind="apprise", url_file=path))
    for letter in (failover(store), TEST):
        channels.send(order, letter.as_json())
        text = got[-1].get("content") or got[-1]["message"]
        assert (
            " is active with epoch " in text.partition("What the board did:")[2]
            and "Check that the services answer" in text
        )
    assert len(got) == 2
    # Who asks Apprise for parts gets all of it, in parts.
    path.write_text(f"{url}{'&' if '?' in url else '?'}overflow=split")
    channels.send(order, LETTERS[0].as_json())
    assert len(got) > 3


def test_syslog_keeps_what_to_do_in_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(channels, "_datagram", lambda path, data: sent.append(data))
    channels.send(order_of(ChannelSettings(name="x", kind="syslog")), LETTERS[0].as_json())
    assert len(sent[0]) <= channels.SYSLOG_BYTES
    assert b"What to do now: / - Check that the services answer" in sent[0]
