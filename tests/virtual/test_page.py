"""The page on the real firmware: a server dies, a person approves as a browser does, the page tells it all."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from heartwire import keys
from heartwire.virtual.product import ProductRack
from heartwire.web import passwords
from tests.unit.web.test_acts import fields_of
from tests.virtual import test_broker
from tests.virtual.test_broker import Shared

pytestmark = pytest.mark.virtual
place = test_broker.place
PASSWORD = "correct horse battery"
PAGE = """
[web]
listen = "127.0.0.1:{port}"
password_file = "web.passwords"
[[web.operator]]
name = "anna"
key_file = "anna.keys"
"""


class Browser:
    """What a browser without JavaScript does with the page of one rack."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        folder = shared.rack.directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = folder / "monitor.toml"
        text = test_broker.MONITOR.format(folder=folder, port=shared.port, keys=shared.rack.host_keys)
        config.write_text('metrics = ""\n' + text + PAGE.format(port=port))
        self.config = config
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, follow_redirects=True)

    def text(self, path: str) -> str:
        """Return a page, "" while nobody answers."""
        try:
            return self.client.get(path).text
        except httpx2.TransportError:
            return ""

    def wait(self, path: str, words: str) -> str:
        """Return a page once it has these words."""
        self.shared.wait(lambda: words in self.text(path), 60)
        return self.text(path)


def operate_key(path: Path, rack: ProductRack) -> None:
    """Give a person the rack's operate key, and no other."""
    path.write_text(f"operate={keys.read_file(rack.host_keys)['operate']}\n")
    path.chmod(0o600)


def test_a_person_approves_a_failover_on_the_page(make_rack: Callable[..., ProductRack]) -> None:
    shared = Shared(make_rack())
    browser = Browser(shared)
    folder = shared.rack.directory
    operate_key(folder / "anna.keys", shared.rack)
    passwords.put(folder / "web.passwords", "anna", PASSWORD)
    try:
        shared.go("monitor", "monitor", "run", "-c", str(browser.config))
        assert shared.run("mode", "approve", "--yes").returncode == 0
        page = browser.wait("/", "What would happen now:</strong> a, active: after 2 s of silence a person is asked")
        assert "mode <strong>approve</strong>" in page
        assert "active <strong>a</strong>" in page
        shared.rack.servers["a"].crash()
        page = browser.wait("/", "Answer request")
        found = re.search(r'href="(/rack/rack-1/act/approve\?request=\d+)"', page)
        assert found is not None
        login = browser.client.get(found[1])
        assert str(login.url.path) == "/login"
        fields = {**fields_of(login), "name": "anna", "password": PASSWORD, "next": found[1]}
        shown = browser.client.post("/login", data=fields)
        assert "It will fence a, then promote b" in shown.text
        done = browser.client.post(found[1].partition("?")[0], data=fields_of(shown))
        assert "approved" in done.text, done.text
        shared.rack.wait_active("b")
        browser.wait("/", "active <strong>b</strong>")
        assert "rack-1: Failover from a to b" in browser.wait("/rack/rack-1/failover", "proven off")
        assert "granted (epoch" in browser.text("/rack/rack-1/failover.svg")
        assert "anna, from the page: request" in browser.text("/notes")
        assert browser.client.get("/journal?event=approved").text.count('<td class="words">') == 1
    finally:
        shared.end()
    assert "client_failed" not in shared.text("monitor")
    assert PASSWORD not in shared.text("monitor")
