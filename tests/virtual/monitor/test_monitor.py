"""The real monitor on a virtual rack: people hear of a failover within seconds, once, whatever is killed."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from heartwire.journal import Entry
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.query import Filter, Found, Reader
from heartwire.monitor.store import Store
from heartwire.virtual.product import ProductRack

pytestmark = pytest.mark.virtual
# From the decision on the board to the message in somebody's hands, on a machine that has CPU time left.
LIMIT_S = 2.0


def limit_s() -> float:
    """Return LIMIT_S, longer where more programs want to run than there are CPUs for them."""
    return LIMIT_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass
class Inbox:
    """What came in, with the wall time of its arrival."""

    port: int = 0
    got: list[tuple[float, str, str, str]] = field(default_factory=list)  # arrival, title, body, id

    def wait(self, words: str, limit_s: float = 20.0) -> tuple[float, str, str, str]:
        """Return the first message with `words` in its text."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            for row in list(self.got):
                if words in row[1] + row[2]:
                    return row
            time.sleep(0.02)
        pytest.fail(f"no message with {words!r} within {limit_s:g} s: {[row[1] for row in self.got]}")


@pytest.fixture
def webhook() -> Iterator[Inbox]:
    """Return what a local webhook gets."""
    inbox = Inbox()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            inbox.got.append((time.time(), body["title"], body["message"], self.headers["X-Heartwire-Id"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    inbox.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield inbox
    server.shutdown()
    server.server_close()


@pytest.fixture
def mailbox() -> Iterator[Inbox]:
    """Return what a local mail server gets."""
    smtp = pytest.importorskip("aiosmtpd.controller")
    import email
    import email.policy

    inbox = Inbox()

    class Keeper:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
            part = mail.get_body(("plain",))
            text = part.get_content() if part else ""
            inbox.got.append((time.time(), str(mail["Subject"]), text, str(mail["X-Heartwire-Id"])))
            return "250 OK"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        inbox.port = probe.getsockname()[1]
    controller = smtp.Controller(Keeper(), hostname="127.0.0.1", port=inbox.port)
    controller.start()
    yield inbox
    controller.stop()


class RealMonitor:
    """`heartwire monitor run` as a process of its own."""

    def __init__(self, rack: ProductRack, directory: Path, webhook: Inbox, mailbox: Inbox, port: str = "") -> None:
        self.directory = directory
        self.store = directory / "monitor.db"
        self.config = directory / "monitor.toml"
        self.log = directory / "monitor.log"
        self.secret("hook.url", f"json://127.0.0.1:{webhook.port}/")
        self.secret("mail.url", f"mailto://127.0.0.1:{mailbox.port}/?from=a@example.org&to=b@example.org&mode=insecure")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.metrics_port = probe.getsockname()[1]
        self.config.write_text(
            f'store = "{self.store}"\nmetrics = "127.0.0.1:{self.metrics_port}"\n'
            f'[[board]]\nname = "rack-1"\nport = "{port or rack.board.usb_path}"\nkey_file = "{rack.host_keys}"\n'
            '[[channel]]\nname = "hook"\nkind = "apprise"\nurl_file = "hook.url"\n'
            '[[channel]]\nname = "mail"\nkind = "apprise"\nurl_file = "mail.url"\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def secret(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    def start(self) -> None:
        """Start it and wait until it has the board."""
        known = self.lines().count("event=connected")
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "heartwire", "monitor", "run", "-c", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait(lambda: self.lines().count("event=connected") > known)

    def wait(self, condition: Callable[[], bool], limit_s: float = 20.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {limit_s:g} s; the monitor's log:\n{self.lines()}")
            time.sleep(0.02)

    def lines(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def wait_line(self, words: str, count: int) -> None:
        """Wait until the log holds `words` so often."""
        self.wait(lambda: self.lines().count(words) >= count)

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it with SIGTERM; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def events(self) -> list[Found]:
        with Store.open(self.store, create=False) as store:
            return list(Reader(store).all(Filter()))

    def wait_event(self, name: str, node: str) -> Found:
        """Wait until the store has an event; return the newest such."""
        found: list[Found] = []

        def look() -> bool:
            found[:] = [row for row in self.events() if (row.entry.event, row.entry.node) == (name, node)]
            return bool(found)

        self.wait(look)
        return found[-1]


MakeMonitor = Callable[..., RealMonitor]


@pytest.fixture
def make_monitor(tmp_path: Path, webhook: Inbox, mailbox: Inbox) -> Iterator[MakeMonitor]:
    """Return a maker of monitors."""
    made: list[RealMonitor] = []

    def make(rack: ProductRack, port: str = "") -> RealMonitor:
        monitor = RealMonitor(rack, tmp_path, webhook, mailbox, port)
        made.append(monitor)
        return monitor

    yield make
    for monitor in made:
        if monitor.process is not None and monitor.process.poll() is None:
            monitor.kill()


def is_whole(monitor: RealMonitor) -> bool:
    sequences = [row.entry.sequence for row in monitor.events()]
    return sequences == list(range(1, len(sequences) + 1))


def test_a_failover_reaches_mail_and_webhook_within_two_seconds_of_the_decision(
    make_rack: Callable[..., ProductRack], make_monitor: MakeMonitor, webhook: Inbox, mailbox: Inbox
) -> None:
    rack = make_rack()
    monitor = make_monitor(rack)
    monitor.start()
    rack.servers["a"].crash()
    for words, event, node in (("fence of a fired", "fence_fired", "a"), ("b is active with epoch 2", "granted", "b")):
        for inbox in (webhook, mailbox):
            arrived_s, title, body, _ = inbox.wait(words)
            decided = monitor.wait_event(event, node).entry.wall
            assert decided is not None
            late_s = arrived_s - decided.timestamp()
            print(f"{event} at {'webhook' if inbox is webhook else 'mail'} after {late_s:.2f} s: {title}")
            assert late_s < limit_s(), monitor.lines()
            for part in ("What happened:", "Why:", "What the board did:", "What to do now:"):
                assert part in body
    scraped = urllib.request.urlopen(f"http://127.0.0.1:{monitor.metrics_port}/metrics", timeout=5).read().decode()
    assert 'heartwire_relay_actions_total{board="rack-1",event="fence_fired",node="a"} 1.0' in scraped
    assert monitor.stop() == 0
    assert is_whole(monitor)
    assert "event=ended" in monitor.lines().splitlines()[-1]


def test_a_monitor_killed_again_and_again_during_a_failover_tells_all_of_it_once(
    make_rack: Callable[..., ProductRack], make_monitor: MakeMonitor, webhook: Inbox, mailbox: Inbox
) -> None:
    rack = make_rack()
    monitor = make_monitor(rack)
    monitor.start()
    rack.servers["a"].crash()
    for pause_s in (1.9, 0.3, 0.6, 0.1):
        time.sleep(pause_s)
        monitor.kill()
        monitor.start()
    monitor.wait_event("running", "b")
    webhook.wait("b is active with epoch 2")
    mailbox.wait("b is active with epoch 2")
    with Store.open(monitor.store, create=False) as store:
        outbox = Outbox(store)
        monitor.wait(lambda: not outbox.in_hand() and not outbox.waiting("hook") and not outbox.waiting("mail"))
        counts = outbox.counts()
    assert is_whole(monitor)
    for name, inbox in (("hook", webhook), ("mail", mailbox)):
        ids = [row[3] for row in inbox.got]
        assert len(ids) == len(set(ids)) == counts[name]["sent"], inbox.got


def test_a_survivor_tells_of_the_failover_from_its_own_line(
    make_rack: Callable[..., ProductRack], make_monitor: MakeMonitor, webhook: Inbox
) -> None:
    rack = make_rack(agent_flags=("--events-socket", "{directory}/events"))
    monitor = make_monitor(rack, f"agent:{rack.servers['b'].directory}/events")
    monitor.start()
    rack.board.usb_unplug()  # the host that had the board's port is gone
    rack.servers["a"].crash()
    arrived_s, _, _, _ = webhook.wait("b is active with epoch 2")
    decided = monitor.wait_event("granted", "b").entry.wall
    assert decided is not None
    print(f"granted at the webhook after {arrived_s - decided.timestamp():.2f} s, over the line of b")
    rack.board.usb_plug()
    rack.wait_active("b")
    with rack.open() as board:
        newest = board.status().newest
        raw = [item.raw for item in board.events() if isinstance(item, Entry)][:newest]
    monitor.wait(lambda: len(monitor.events()) >= newest)
    assert is_whole(monitor)
    assert [row.entry.raw for row in monitor.events()][:newest] == raw[:newest]
    with Store.open(monitor.store, create=False) as store:
        assert list(Reader(store).observations()) == []


def test_a_board_that_is_reset_and_unplugged_loses_no_record(
    make_rack: Callable[..., ProductRack], make_monitor: MakeMonitor
) -> None:
    rack = make_rack()
    monitor = make_monitor(rack)
    monitor.start()
    for fault in (rack.board.press_reset, rack.board.usb_unplug):
        known = monitor.lines().count("event=connected")
        fault()
        if fault == rack.board.usb_unplug:
            monitor.wait(lambda: "event=unreachable" in monitor.lines())
            rack.board.usb_plug()
        monitor.wait_line("event=connected", known + 1)
    monitor.wait(lambda: [row.entry.event for row in monitor.events()].count("boot") == 2)
    assert is_whole(monitor)
    with Store.open(monitor.store, create=False) as store:
        assert [row["kind"] for row in Reader(store).observations()] == ["reset"]


def test_ctrl_c_ends_it_in_good_order_and_a_second_monitor_is_refused(
    make_rack: Callable[..., ProductRack], make_monitor: MakeMonitor
) -> None:
    rack = make_rack(arm=False)
    monitor = make_monitor(rack)
    monitor.start()
    command = [sys.executable, "-m", "heartwire", "monitor", "run", "-c", str(monitor.config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 4
    assert "another monitor keeps its receipts here" in second.stderr
    assert monitor.process is not None
    os.kill(monitor.process.pid, signal.SIGINT)
    assert monitor.process.wait(15) == 0


def test_a_server_that_goes_down_in_maintenance_pages_nobody_before_its_end(
    make_rack: Callable[..., ProductRack], make_monitor: MakeMonitor, webhook: Inbox, mailbox: Inbox
) -> None:
    rack = make_rack()
    with rack.open() as board:
        board.maintenance("b", 40)
    monitor = make_monitor(rack)
    monitor.start()
    rack.servers["b"].crash()
    dead = monitor.wait_event("dead", "b")
    ended = webhook.wait("maintenance of b", limit_s=90)
    assert ended[1].startswith("WARNING rack-1: maintenance of b") and "If a server is still silent" in ended[2]
    assert dead.at_ms < monitor.wait_event("maintenance_ended", "b").at_ms
    scraped = urllib.request.urlopen(f"http://127.0.0.1:{monitor.metrics_port}/metrics", timeout=5).read().decode()
    assert re.search(r'heartwire_node_running\{board="rack-1",name="[^"]*",node="a"\} 1.0', scraped)
    assert not re.search(r'heartwire_node_running\{[^}]*node="b"', scraped)  # a dead one says nothing
    assert monitor.stop() == 0
    for inbox in (webhook, mailbox):
        assert [row[1] for row in inbox.got] == [ended[1]]
