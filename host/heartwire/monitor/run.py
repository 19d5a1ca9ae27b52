"""The monitor as one process: builds every part from the settings, gives each a thread, and ends in good order.

boards -> sources -> collect -> archive (routing) -> store -> dispatch (compose, peer) -> courier -> deliver -> people.

One thread for each board, so that a board that hangs delays no other, and one for each channel, so that a mail server
that hangs delays no webhook. SIGTERM and Ctrl-C stop the threads between two steps; a sender process under way ends by
itself and its receipt is read at the next start. Called by `heartwire monitor run`; nothing happens at import.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from heartwire import extras
from heartwire.errors import BadConfig, HeartwireError, StorageProblem
from heartwire.monitor import metrics, moved, peer, query, schema, serving
from heartwire.monitor.archive import Archive, Known, Observed
from heartwire.monitor.collect import Collector
from heartwire.monitor.compose import Composer
from heartwire.monitor.courier import Courier, ProcessCourier
from heartwire.monitor.deadman import Deadman
from heartwire.monitor.dispatch import Alone, Partner, Postman
from heartwire.monitor.log import Log
from heartwire.monitor.needs import MQTT_NEEDED, WEB_NEEDED, check_secrets, peer_key, place
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.peer import Other, asker
from heartwire.monitor.presence import Presence
from heartwire.monitor.routing import Router
from heartwire.monitor.settings import STORE, STORE_BEFORE, MonitorSettings, MqttSettings, WebSettings
from heartwire.monitor.sources import AGENT_SCHEME, Maker, source_of
from heartwire.monitor.store import Store
from heartwire.monitor.twins import Claims

if TYPE_CHECKING:
    from heartwire.mqtt.publisher import Publisher
    from heartwire.web import server as page_server

# How long the end may take: longer than a page, shorter than systemd's patience.
STOP_S = 10.0
LOOK_S = 0.25
SWEEP_S = 3600.0
RETRY_STORE_S = 2.0
# A channel that could not tell anything for so long keeps the dead man's switch from pinging.
STUCK_S = 600.0
# What is said of the monitors themselves stands under this name; no board has such an id.
OURSELVES = Known("?monitor", "monitor", 0, 0, 0)
Step = Callable[[], float]


def open_store(settings: MonitorSettings, *, create: bool = True, patient: bool = False) -> Store:
    """Open the store that the settings name; see Store.open. Raises StorageProblem, BadConfig."""
    where, password, name = place(settings)
    if create and where == STORE:
        moved.take_along(Path(STORE_BEFORE), Path(STORE))
    return Store.open(where, name=name, create=create, password=password, patient=patient)


class Monitor:
    """Everything, built but not started. `run` blocks until `stop`."""

    def __init__(
        self,
        settings: MonitorSettings,
        *,
        stream: TextIO | None = None,
        courier: Courier | None = None,
        make_source: Maker | None = None,
    ) -> None:
        """Open the store and every port it listens on. Raises errors of heartwire.errors."""
        self.settings = settings
        self.log = Log(stream or sys.stderr)
        self._stopping = threading.Event()
        self._asked = False
        self._wakes: list[threading.Event] = []
        self._tellers: list[threading.Event] = []
        self._threads: list[threading.Thread] = []
        self._closing = contextlib.ExitStack()
        try:
            self._build(courier, make_source)
        except BaseException:
            self._closing.close()
            raise

    def _build(self, courier: Courier | None, make_source: Maker | None) -> None:
        settings = self.settings
        if settings.web is not None:
            extras.require("the page ([web] in the settings)", "web", *WEB_NEEDED)
        if settings.mqtt is not None:
            extras.require("telling an MQTT server ([mqtt] in the settings)", "mqtt", *MQTT_NEEDED)
        problems = check_secrets(settings) if courier is None else []
        if problems:
            raise BadConfig("the settings name files that cannot be used", problems=tuple(problems))
        monitor_id = ""
        if courier is None:
            process_courier = ProcessCourier(settings.spool_path)
            process_courier.prepare()
            self._closing.callback(process_courier.close)
            courier, monitor_id = process_courier, process_courier.identity
        self._courier = courier
        self.store = open_store(settings, patient=True)
        self._closing.callback(self.store.close)
        self.store.claim()
        self.outbox = Outbox(self.store, monitor_id)
        archive = Archive(self.store, Router(settings.channel))
        self._archive = archive
        channels = [channel.name for channel in settings.channel]
        self._presence = Presence(archive, monitor_id, socket.gethostname(), channels, self._tell)
        make = make_source or (lambda board: source_of(board, set_time=settings.set_time))
        claims = Claims()
        self.collectors = [
            Collector(
                board.name,
                make(board),
                archive,
                settings,
                self.log,
                told=self._tell,
                claims=claims,
                port="" if board.port.startswith(AGENT_SCHEME) else board.port,
                with_settings=settings.web is not None,
            )
            for board in settings.board
        ]
        views = {collector.view.name: collector.view for collector in self.collectors}
        composer = Composer(
            self.store, steps=lambda board: views[board].steps(time.monotonic()) if board in views else None
        )
        partner: Partner = Alone()
        self.listener: serving.Server | None = None
        self.watch: peer.Watch | None = None
        if settings.peer.url:
            key = peer_key(settings.peer)
            ask = asker(settings.peer.url, key)
            partner = Other(settings.peer, self.outbox, ask, self.log)
            self.watch = peer.Watch(ask, self._tell_of_partner)
            self.listener = peer.server(settings.peer, key, self.outbox, channels, self.log)
            self._closing.callback(self.listener.close)
        self.postmen = [
            Postman(channel, self.outbox, composer, courier, self.log, gather_ms=settings.gather_ms, partner=partner)
            for channel in settings.channel
        ]
        self._failing_since: dict[str, float] = {}
        self.metrics: serving.Server | None = None
        if settings.metrics:
            self.metrics = metrics.server(settings.metrics, self._metrics_source(), self.log)
            self._closing.callback(self.metrics.close)
        self.publisher: Publisher | None = None
        if settings.mqtt is not None:
            self.publisher = self._publisher(settings.mqtt)
            self._closing.callback(self.publisher.close)
        self.page: page_server.Server | None = None
        if settings.web is not None:
            self.page = self._page(settings.web)
            self._closing.callback(self.page.close)

    def run(self) -> int:
        """Work until `stop`; return 0."""
        self.log.info("started", boards=len(self.collectors), channels=len(self.postmen), store=self.store.name)
        for collector in self.collectors:
            self._thread(f"board {collector.view.name}", collector.step)
        for postman in self.postmen:
            self._thread(f"channel {postman.channel.name}", self._guarded(postman.step), wakes=True)
        self._thread("housekeeping", self._guarded(self._sweep))
        self._thread("presence", self._guarded(self._presence.step))
        if self.settings.deadman.url_file is not None:
            deadman = Deadman(self.settings.deadman, self.trouble, self.log)
            self._thread("deadman", deadman.step)
        for server in (self.metrics, self.listener, self.page):
            if server is not None:
                server.start()
        if self.publisher is not None:
            self._thread("mqtt", self._guarded(self.publisher.step))
        if self.watch is not None:
            self._thread("peer", self._guarded(self.watch.step))
        _notify_systemd("READY=1")
        try:
            # A signal handler may only set a flag: the lock of an Event could be held by the code it interrupted.
            while not self._asked and not self._stopping.wait(LOOK_S):
                self._say_status()
        finally:
            _notify_systemd("STOPPING=1")
            self.close()
        return 0

    def _say_status(self) -> None:
        """Let `systemctl status` show that the store is away, and that it is back."""
        away = self.store.away
        if self.log.changed("status", away or None):
            _notify_systemd(f"STATUS=the store is away, boards are watched: {away}" if away else "STATUS=")

    def _publisher(self, mqtt: MqttSettings) -> Publisher:
        from heartwire.mqtt.publisher import Publisher  # noqa: PLC0415 - what it imports is an extra

        views = [collector.view for collector in self.collectors]
        return Publisher(mqtt, f"heartwire-{socket.gethostname()}"[:64], views, self.store, self.log)

    def stop(self) -> None:
        """Ask everything to end; may be called from any thread, but not from a signal handler (see `ask_to_stop`)."""
        self._stopping.set()
        for wake in self._wakes:
            wake.set()

    def ask_to_stop(self) -> None:
        """Ask `run` to end everything soon; for signal handlers."""
        self._asked = True

    def close(self) -> None:
        """Wait for the threads and give ports and store back."""
        self.stop()
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            self.log.warning("ended_late", waiting_for=", ".join(late))
        for collector in self.collectors:
            collector.close()
        if self._threads:
            with contextlib.suppress(StorageProblem):
                self._presence.end()
        self._courier.close()
        self._closing.close()
        self.log.info("ended")

    def trouble(self) -> str:
        """Return what keeps the monitor from its work, "" if nothing does."""
        for collector in self.collectors:
            if collector.storage_trouble:
                return collector.storage_trouble
            if not collector.view.up:
                return f"board {collector.view.name} is not reached"
        now_s = time.monotonic()
        for postman in self.postmen:
            name = postman.channel.name
            if not postman.tally.trouble:
                self._failing_since.pop(name, None)
            elif now_s - self._failing_since.setdefault(name, now_s) >= STUCK_S:
                return f"channel {name} cannot tell anything"
        dead = [thread.name for thread in self._threads if not thread.is_alive()]
        return f"a thread has ended: {dead[0]}" if dead and not self._stopping.is_set() else ""

    def _thread(self, name: str, step: Step, *, wakes: bool = False) -> None:
        wake = threading.Event()
        self._wakes.append(wake)
        if wakes:
            self._tellers.append(wake)

        def loop() -> None:
            while not self._stopping.is_set():
                try:
                    wait_s = step()
                except Exception as error:
                    self.log.error("failed", part=name, kind=type(error).__name__, words=_safe(error))
                    wait_s = RETRY_STORE_S
                if wait_s > 0:
                    wake.wait(wait_s)
                    if not self._stopping.is_set():
                        wake.clear()

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _tell(self) -> None:
        """Wake the channels: something is to be told."""
        for wake in self._tellers:
            wake.set()

    def _tell_of_partner(self, gone: bool, words: str) -> None:
        """Let people know that the other monitor is gone, or back. Raises StorageProblem."""
        if gone == self._archive.is_open(OURSELVES.board_id, "partner"):
            return
        if self._archive.observe(OURSELVES, Observed("partner_gone" if gone else "partner_back", words)):
            self._tell()

    def _guarded(self, step: Step) -> Step:
        """Return `step` with a store that fails told once and tried again."""

        def guarded() -> float:
            try:
                wait_s = step()
            except StorageProblem as problem:
                if self.log.changed("store", problem.words):
                    self.log.error("store_failed", words=problem.words, next=problem.next_step)
                return RETRY_STORE_S
            self.log.changed("store", None)
            return wait_s

        return guarded

    def _sweep(self) -> float:
        keep = self.settings.retention
        gone = self._archive.sweep(keep.days, keep.events, keep.alarm_days)
        self._courier.sweep(self.outbox.in_hand())
        if gone:
            self.log.info("removed_old_events", count=gone)
        return 0.5 if gone else SWEEP_S

    def _page(self, settings: WebSettings) -> page_server.Server:
        """Return the server of the page, which reads by connections of its own: collectors never wait for it."""
        from heartwire.web import acts, app, pages  # noqa: PLC0415 - an extra

        store = open_store(self.settings, create=False, patient=True)
        self._closing.callback(store.close)
        views = [collector.view for collector in self.collectors]
        source = pages.Source(views, query.Reader(store), Outbox(store), time.monotonic)
        doing = acts.Acts(self.settings.board, settings.operator, self._archive, told=self._tell)
        return app.serve(settings, source, doing, self.log)

    def _metrics_source(self) -> metrics.Source:
        reader = query.Reader(self.store)
        return metrics.Source(
            [collector.view for collector in self.collectors],
            {postman.channel.name: postman.tally for postman in self.postmen},
            counts=self.outbox.counts,
            relay_events=lambda: reader.relay_events(schema.RELAY_EVENTS),
            facts=self._facts,
            clock=time.monotonic,
        )

    def _facts(self) -> dict[str, float]:
        facts = {"healthy": float(not self.trouble())}
        facts["store_works"] = float(not any(collector.storage_trouble for collector in self.collectors))
        if self.watch is not None and self.watch.reachable is not None:
            facts["peer_reachable"] = float(self.watch.reachable)
        if self.publisher is not None:
            facts["mqtt_connected"] = float(self.publisher.connected)
        if "://" not in self.settings.store:
            with contextlib.suppress(OSError):
                facts["store_bytes"] = float(Path(self.settings.store).stat().st_size)
        return facts


@contextlib.contextmanager
def stopping_by_signals(monitor: Monitor) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop `monitor` in good order."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        monitor.ask_to_stop()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _safe(error: Exception) -> str:
    """Return words about an error that cannot hold a secret: ours, or none."""
    return error.words if isinstance(error, HeartwireError) else ""


def _notify_systemd(state: str) -> None:
    """Tell systemd, if it wants to know (Type=notify)."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with contextlib.suppress(OSError), contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
        sender.connect("\0" + path[1:] if path.startswith("@") else path)
        sender.send(state.encode())
