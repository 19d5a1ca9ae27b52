"""A machine room for the page: a store that real collectors filled from boards in memory, and their views."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heartwire import keys
from heartwire.board import Board
from heartwire.link import Link
from heartwire.monitor import sample
from heartwire.monitor.archive import Archive, Known, Observed
from heartwire.monitor.collect import Collector
from heartwire.monitor.log import Log
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.query import Reader
from heartwire.monitor.routing import Router
from heartwire.monitor.settings import BoardSettings, ChannelSettings, MonitorSettings, OperatorSettings, WebSettings
from heartwire.monitor.store import Store
from heartwire.web.acts import Acts
from heartwire.web.app import Page
from heartwire.web.pages import Source
from heartwire.web.server import App
from heartwire_protocol import messages
from heartwire_protocol import settings as board_settings
from tests.fakes.board import FakeBoard, MemoryChannel
from tests.unit.monitor.conftest import hasty
from tests.unit.monitor.helpers import Clock, FakeSource

HOSTILE = "<script>alert('a')</script>"
SETTINGS = (
    "node.a.enabled=1\nnode.a.name=alpha\nnode.a.fence=power\nnode.b.enabled=1\nnode.b.name=beta\nnode.b.fence=power\n"
)
NOW = datetime(2026, 12, 31, 12, 0, tzinfo=UTC)


class Room:
    """Racks rack-1 to rack-`count`; each has a failover from a to b in its journal. Close it, or use `with`."""

    def __init__(self, folder: Path, count: int = 1, *, web: WebSettings | None = None) -> None:
        self.store = hasty(Store.open(folder / "monitor.db"))
        self.clock = Clock()
        self.log = io.StringIO()
        self.woken = 0
        self.boards: list[FakeBoard] = []
        self.sources: list[FakeSource] = []
        self.collectors: list[Collector] = []
        self.web = web or WebSettings()
        channels = (ChannelSettings(name="mail", kind="journald", severity="warning"),)
        self.archive = Archive(self.store, Router(channels))
        self.names = [f"rack-{number}" for number in range(1, count + 1)]
        self.settings = MonitorSettings(
            board=tuple(BoardSettings(name=name, port="fake") for name in self.names), channel=channels, web=self.web
        )
        for number, name in enumerate(self.names, 1):
            self._add(number, name)
        self.outbox = Outbox(self.store)
        self.source = Source(
            [collector.view for collector in self.collectors],
            Reader(self.store),
            self.outbox,
            self.clock,
            lambda: NOW,
        )
        self.collect()

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _add(self, number: int, name: str) -> None:
        board = FakeBoard()
        board.status["name"] = name
        board.settings, problems = board_settings.parse(SETTINGS)
        assert not problems
        for node, role in (("a", "quarantined"), ("b", "active")):
            flags = messages.FLAG_RUNNING if role == "active" else messages.FLAG_VERIFIED_STOPPED
            board.node_bodies[node].update(role=role, lease_ms=7600 if role == "active" else 0, flags=flags)
        board.status.update(active="b", holder="b", epoch=8)
        for at_ms, event, about, reason, a, b in sample.FAILOVER:
            board.log(event, about, reason, a, b, uptime_ms=at_ms + 100_000, wall_ms=43_200_000 + at_ms)
        source = FakeSource(board, f"{number:016X}")
        self.boards.append(board)
        self.sources.append(source)
        log = Log(self.log)
        self.collectors.append(
            Collector(name, source, self.archive, self.settings, log, clock=self.clock, with_settings=True)
        )

    def collect(self) -> None:
        """Read everything that the boards have, and their status."""
        for collector in self.collectors:
            collector._status_due = 0.0
            while collector.step() == 0.0:
                pass

    def beat(self, looks: int, late: Callable[[int, str], int] = lambda at, node: 300) -> None:
        """Let `looks` looks pass, 2 s apart, heartbeats once a second; `late` gives each one's age in ms."""
        for at in range(looks):
            self.clock.now_s += 2
            for board in self.boards:
                for node, body in board.node_bodies.items():
                    body["sequence"] += 2
                    body["age_ms"] = late(at, node)
            self.collect()

    def change(self, rack: int = 0, node: str = "", **values: Any) -> None:
        """Let a board say something else from the next look on."""
        body = self.boards[rack].node_bodies[node] if node else self.boards[rack].status
        body.update(values)
        self.collect()

    def known(self, rack: int = 0) -> Known:
        """Return a board as the store knows it."""
        return self.archive.named(self.names[rack])

    def note(self, kind: str, words: str, rack: int = 0) -> None:
        """Let the monitor notice something."""
        self.archive.observe(self.known(rack), Observed(kind, words))

    def app(self) -> App:
        """Return the page."""
        doing = Acts(
            self.settings.board, self.web.operator, self.archive, told=self.told, opener=self.open, clock=self.clock
        )
        return Page(self.source, self.web, doing, Log(self.log)).app()

    def told(self) -> None:
        """Note that the channels were woken."""
        self.woken += 1

    def open(self, board: BoardSettings, operator: OperatorSettings) -> Board:
        """Open a board as the page does, without a port."""
        fake = self.boards[self.names.index(board.name)]
        self.channel = MemoryChannel(fake)
        link = Link(self.channel, keys.find(operator.key_file), 0.5)
        link.hello()
        return Board(link)
