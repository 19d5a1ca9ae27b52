"""The way to the MQTT server: says what is new, and says everything again whenever it is there again.

Every connection is a client of its own, so that nothing of a connection that was lost can come after what is newer:
what the server did not acknowledge is not repeated, it is said anew. A record of the journal counts as told when the
server has acknowledged it, and the store keeps how far that is. It subscribes to nothing: what anybody publishes
reaches nobody here. Called by run, in a thread of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heartwire import names
from heartwire.errors import HeartwireError
from heartwire.monitor.log import Log
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.settings import MqttSettings, read_secret
from heartwire.monitor.store import Store
from heartwire.monitor.views import View
from heartwire.mqtt import discovery
from heartwire.mqtt.topics import OFFLINE, ONLINE, Topics, measures, record, states, text

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

# How long the server may take to let us in, and to acknowledge what was said.
CONNECT_S = 5.0
ACKNOWLEDGE_S = 10.0
# Between two tries, ever more; between two looks at what is new.
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 30.0
LOOK_S = 0.5
# All is said anew so often: what somebody else put under our topics does not stay.
AGAIN_S = 300.0
# Records between two looks at states.
PAGE = 100
# Where the store keeps how far the journal was told: before many monitors shared one, and the beginning of now, where
# each client has its own place.
PLACE_BEFORE = "mqtt_told"
PLACE = "mqtt_told:"
PLACE_MAX = 32
KEEPALIVE_S = 20


class Gone(Exception):
    """The server is not there, or does not do what is asked; the words hold no secret."""


class Publisher:
    """One monitor's voice. Call `step` again and again; it returns seconds until the next one."""

    def __init__(
        self,
        settings: MqttSettings,
        client: str,
        views: Sequence[View],
        store: Store,
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` names this monitor to the server, if the settings do not.

        Only the racks of `views` are told: others in the store are told by the monitors that have them.
        """
        self.topics = Topics(settings.topic, settings.client or client)
        digest = hashlib.sha256(self.topics.client.encode()).hexdigest()
        self._place = (PLACE + digest)[:PLACE_MAX]
        self._settings = settings
        self._views = views
        self._store = store
        self._reader = Reader(store)
        self._log = log
        self._clock = clock
        self._link: _Link | None = None
        self._told: dict[str, str] = {}
        self._due: dict[str, float] = {}
        self._again_s = 0.0
        self._retry_s = RETRY_FIRST_S
        self._connected = False
        self._last: int | None = None  # id of the newest event that was told

    @property
    def connected(self) -> bool:
        """Whether the server has everything that was to be said, as far as is known."""
        return self._connected

    def step(self) -> float:
        """Say what is new. Raises StorageProblem; whatever the server does is tried again."""
        try:
            if self._link is None:
                self._begin()
            more = self._say()
        except Gone as gone:
            self._connected = False
            self._drop()
            if self._log.changed("mqtt", str(gone)):
                self._log.warning("mqtt_failed", server=self._settings.server, words=str(gone))
            wait_s = self._retry_s
            self._retry_s = min(RETRY_MOST_S, self._retry_s * 2)
            return wait_s
        if self._log.changed("mqtt", None):
            self._log.info("mqtt_works", server=self._settings.server)
        self._connected = True
        self._retry_s = RETRY_FIRST_S
        return 0.0 if more else LOOK_S

    def close(self) -> None:
        """Say that this monitor goes, and leave."""
        if self._link is not None:
            with contextlib.suppress(Gone):
                self._link.say({self.topics.monitor: OFFLINE})
        self._drop()

    def _begin(self) -> None:
        self._told, self._due = {}, {}
        self._again_s = self._clock() + AGAIN_S
        self._link = _Link(self._settings, self.topics)

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _say(self) -> bool:
        """Say what is new; tell whether more records wait. Raises Gone, StorageProblem."""
        now_s = self._clock()
        if now_s >= self._again_s:
            self._told, self._again_s = {}, now_s + AGAIN_S
        wanted: dict[str, str] = {}
        for view in self._views:
            if self._settings.discovery:
                wanted |= discovery.messages(self.topics, self._settings.discovery, view)
            wanted |= states(self.topics, view)
            if now_s >= self._due.get(view.name, now_s):
                self._due[view.name] = now_s + self._settings.measures_s
                wanted |= measures(self.topics, view)
        wanted[self.topics.monitor] = ONLINE  # last: what is there by then is as it is now
        fresh = {topic: words for topic, words in wanted.items() if self._told.get(topic) != words}
        if fresh:
            self._need().say(fresh)
            self._told |= fresh
        return self._tell_records()

    def _need(self) -> _Link:
        if self._link is None:
            raise Gone("there is no connection")
        return self._link

    def _tell_records(self) -> bool:
        """Tell a page of records and note how far; a server that is away is told them when it is back."""
        self._need().check()
        if self._last is None:
            self._last = self._noted()
        found = []
        for item in self._reader.all(Filter(), PAGE, after=self._last):
            found.append(item)
            if len(found) == PAGE:
                break
        if not found:
            return False
        labels = {row.board_id: row.labels for row in self._reader.boards()}
        ours = {view.name for view in self._views}
        said = [
            (
                self.topics.rack(item.board, "journal"),
                text(record(item.board, item.board_id, item.journal, item.entry, labels.get(item.board_id, {}))),
            )
            for item in found
            if item.board in ours
        ]
        self._need().stream(said)
        self._last = found[-1].id
        self._store.note(self._place, str(self._last))
        return len(found) == PAGE

    def _noted(self) -> int:
        """Return how far the journal was told; what a new monitor finds in its store is history."""
        noted = self._store.noted(self._place)
        if noted is None and not self._store.is_shared:
            noted = self._store.noted(PLACE_BEFORE)
        if noted is None:
            newest = self._reader.last()
            self._store.note(self._place, str(newest))
            return newest
        return int(noted) if noted.isdigit() else self._reader.last()


class _Link:
    """One connection, from the handshake to its end. Raises Gone wherever it does not work."""

    def __init__(self, settings: MqttSettings, topics: Topics) -> None:
        from paho.mqtt.client import Client  # noqa: PLC0415 - an extra
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415 - an extra

        self._answered = threading.Event()
        self._over = threading.Event()
        self._refused = ""
        client = Client(CallbackAPIVersion.VERSION2, client_id=topics.client, reconnect_on_failure=False)
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(PAGE)
        client.on_connect = self._connected
        client.on_disconnect = self._ended
        client.will_set(topics.monitor, OFFLINE, qos=1, retain=True)
        self._client: Client = client
        try:
            self._secure(settings)
            host, port = names.split_address(settings.server)
            client.connect(host, port, keepalive=KEEPALIVE_S)
        except HeartwireError as error:
            raise Gone(error.words) from None
        except ssl.SSLCertVerificationError as error:
            raise Gone(f"the server's certificate is refused: {error.verify_message}") from None
        except (OSError, ValueError) as error:
            raise Gone(f"it cannot be reached: {getattr(error, 'strerror', None) or error}") from None
        client.loop_start()
        if not self._answered.wait(CONNECT_S):
            self._refused = f"no answer within {CONNECT_S:g} s"
        elif self._over.is_set() and not self._refused:
            self._refused = "the server ended the connection before it answered"
        if self._refused:
            self.close()
            raise Gone(self._refused)

    def _secure(self, settings: MqttSettings) -> None:
        if settings.tls:
            self._client.tls_set(
                ca_certs=str(settings.ca_file) if settings.ca_file else None,
                certfile=str(settings.certificate_file) if settings.certificate_file else None,
                keyfile=str(settings.certificate_key_file) if settings.certificate_key_file else None,
            )
        if settings.user:
            password = read_secret(settings.password_file).strip() if settings.password_file else None
            self._client.username_pw_set(settings.user, password)

    def _connected(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"the server refuses: {str(reason).lower()}"
        self._answered.set()

    def _ended(self, *_: Any) -> None:
        self._over.set()
        self._answered.set()

    def check(self) -> None:
        """Raise Gone if the connection is over."""
        if self._over.is_set() or not self._client.is_connected():
            raise Gone("the connection is lost")

    def say(self, said: Mapping[str, str]) -> None:
        """Publish retained messages, and wait until the server has them."""
        self._publish(list(said.items()), retain=True)

    def stream(self, said: Sequence[tuple[str, str]]) -> None:
        """Publish messages in their order, and wait until the server has them."""
        self._publish(said, retain=False)

    def _publish(self, said: Sequence[tuple[str, str]], *, retain: bool) -> None:
        under_way: list[MQTTMessageInfo] = []
        for topic, words in said:
            self.check()
            under_way.append(self._client.publish(topic, words, qos=1, retain=retain))
        end_s = time.monotonic() + ACKNOWLEDGE_S
        for info in under_way:
            # The library raises of a message that it could not send what it knows of the connection, at each question.
            try:
                while not info.is_published():
                    self.check()
                    if time.monotonic() > end_s:
                        raise Gone(f"what was said is not acknowledged within {ACKNOWLEDGE_S:g} s")
                    info.wait_for_publish(0.1)
            except (ValueError, RuntimeError) as error:
                raise Gone(f"the connection is lost: {error}") from None

    def close(self) -> None:
        """Leave; the last will is not needed by one that says goodbye, so whoever wants it said says it before."""
        with contextlib.suppress(Exception):
            self._client.disconnect()
        with contextlib.suppress(Exception):
            self._client.loop_stop()
