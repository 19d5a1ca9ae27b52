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
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from heartwire import extras, keys
from heartwire.errors import BadConfig, HeartwireError, StorageProblem
from heartwire.monitor import metrics, moved, peer, query, schema, serving
from heartwire.monitor.archive import Archive, Known, Observed
from heartwire.monitor.collect import Collector
from heartwire.monitor.compose import Composer
from heartwire.monitor.courier import Courier, ProcessCourier
from heartwire.monitor.deadman import Deadman
from heartwire.monitor.dispatch import Alone, Partner, Postman
from heartwire.monitor.log import Log
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.peer import Other, asker
from heartwire.monitor.routing import Router
from heartwire.monitor.settings import (
    STORE,
    STORE_BEFORE,
    MonitorSettings,
    MqttSettings,
    PeerSettings,
    WebSettings,
    read_secret,
    secret_lines,
)
from heartwire.monitor.sources import AGENT_SCHEME, Maker, source_of
from heartwire.monitor.store import Store, driver_problem
from heartwire.monitor.twins import Claims
from heartwire_protocol import codes

if TYPE_CHECKING:
    from heartwire.mqtt.publisher import Publisher
    from heartwire.web import server as page_server

# What the extra [mqtt] brings.
MQTT_NEEDED = ("paho",)
# What the extra [web] brings.
WEB_NEEDED = ("starlette", "uvicorn", "jinja2", "argon2")
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


def open_store(settings: MonitorSettings, *, create: bool = True) -> Store:
    """Open the store that the settings name. Raises StorageProblem, BadConfig."""
    if settings.store_url_file is not None:
        return Store.open(read_secret(settings.store_url_file).strip(), name="the store", create=create)
    if create and settings.store == STORE:
        moved.take_along(Path(STORE_BEFORE), Path(STORE))
    return Store.open(settings.store, create=create)


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

    url_file = settings.store_url_file
    if url_file is not None:
        look("store", lambda: driver_problem(read_secret(url_file).strip()))
    elif "://" in str(settings.store):
        look("store", partial(driver_problem, str(settings.store)))
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
        if courier is None:
            courier = ProcessCourier(settings.spool_path)
            courier.prepare()
        self._courier = courier
        self.store = open_store(settings)
        self._closing.callback(self.store.close)
        self.store.claim()
        self.outbox = Outbox(self.store)
        archive = Archive(self.store, Router(settings.channel))
        self._archive = archive
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
            names = [channel.name for channel in settings.channel]
            self.listener = peer.server(settings.peer, key, self.outbox, names, self.log)
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
                pass
        finally:
            _notify_systemd("STOPPING=1")
            self.close()
        return 0

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

        store = open_store(self.settings, create=False)
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
