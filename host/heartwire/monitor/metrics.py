"""Prometheus metrics: roles, heartbeat age and jitter, lease margin, relays, drops, journal position, health.

Values are read at the scrape from the views and tallies, so there are no stale series and no locks; counters that the
board keeps restart with it, as Prometheus expects. Serves on loopback unless the settings say otherwise; nothing here
can change anything. Called by run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from heartwire import next_steps
from heartwire.answers import NodeStatus, Status
from heartwire.errors import StorageProblem
from heartwire.monitor import serving
from heartwire.monitor.dispatch import Tally
from heartwire.monitor.log import Log
from heartwire.monitor.schema import RELAY_EVENTS
from heartwire.monitor.views import JITTER_BOUNDS_S, Jitter, View
from heartwire_protocol import codes, messages

NODE_LABELS = ["board", "node", "name"]
TIMEOUT_S = 5.0
PLANNED_OFF = codes.STATES[codes.STATE_PLANNED_OFF]
DEGRADED = codes.STATES[codes.STATE_DEGRADED]


def _maintenance_s(node: NodeStatus, status: Status) -> int:
    return max(node.maintenance_s, status.maintenance_s)


def _held(status: Status) -> int:
    # In maintenance it waits for nobody: somebody is there.
    return int(status.held not in (None, "", "maintenance"))


def _speaks(node: NodeStatus) -> bool:
    """Tell whether its flags mean something now: a text line has none, and no incarnation either."""
    return next_steps.is_heard(node) and node.incarnation > 0


# Gauges of the board: (name, sentence, value of its status).
BOARD_GAUGES: tuple[tuple[str, str, Callable[[Status], float]], ...] = (
    ("heartwire_board_uptime_seconds", "time since the board started", lambda status: status.uptime_s),
    ("heartwire_board_boots", "boots of the board so far", lambda status: status.boot),
    ("heartwire_board_free_bytes", "free heap of the board", lambda status: status.free),
    ("heartwire_board_loop_seconds", "worst pass of the board's loop", lambda status: status.loop_ms / 1000),
    ("heartwire_board_safe_mode", "1 in safe mode: no automatic action", lambda status: int(status.safe)),
    ("heartwire_board_alarm", "1 while the alarm contact is in alarm", lambda status: int(status.alarm)),
    ("heartwire_board_storage_bad", "1 while its flash takes no writes", lambda status: int(status.storage_bad)),
    ("heartwire_board_held", "1 while the board holds an action and waits for a person", _held),
    ("heartwire_board_epoch", "fencing token of the newest activation", lambda status: status.epoch),
    ("heartwire_board_maintenance_seconds", "maintenance left", lambda status: status.maintenance_s),
    (
        "heartwire_board_schedule_seconds",
        "until a scheduled switchover; -1 without one",
        lambda status: -1 if status.schedule is None or status.schedule_s is None else max(0, status.schedule_s),
    ),
    ("heartwire_board_settings_crc", "CRC-16 of the running settings", lambda status: status.crc),
    ("heartwire_journal_newest", "sequence of the newest record on the board", lambda status: status.newest),
    ("heartwire_journal_lost", "records that the board could not write", lambda status: status.lost),
)
# Gauges of a node: (name, sentence, value of its status and its board's).
NODE_GAUGES: tuple[tuple[str, str, Callable[[NodeStatus, Status], float]], ...] = (
    ("heartwire_lease_margin_seconds", "lease left; 0 for none", lambda node, _: node.lease_ms / 1000),
    ("heartwire_node_relay", "1 while the relay is told to cut its power", lambda node, _: int(node.relay)),
    (
        "heartwire_node_relay_suspect",
        "1 after its contact did not cut its power, until it did or somebody cleared it",
        lambda node, _: int(node.suspect),
    ),
    ("heartwire_node_feeds_on", "sensed feeds that have power", lambda node, _: node.feeds.bit_count()),
    ("heartwire_node_locked_out", "1 after too many automatic actions", lambda node, _: int(node.locked)),
    (
        "heartwire_node_half_line",
        "1 while it hears nothing from the board",
        lambda node, _: int(node.half_line and next_steps.is_heard(node)),
    ),
    ("heartwire_node_altered", "1 while its heartbeats are altered", lambda node, _: int(node.altered)),
    ("heartwire_node_actions", "automatic actions on it within the window", lambda node, _: node.actions),
    (
        "heartwire_node_maintenance_seconds",
        "maintenance left, its own or the board's",
        _maintenance_s,
    ),
    (
        "heartwire_node_in_maintenance",
        "1 in maintenance, its own or the board's",
        lambda node, status: int(_maintenance_s(node, status) > 0),
    ),
    (
        "heartwire_node_planned_off",
        "1 once it said that it goes down on purpose",
        lambda node, _: int(node.state == PLANNED_OFF),
    ),
)
POWER = {"off": 0.0, "on": 1.0}


class Source:
    """What metrics are made of; run fills it, tests hand in their own."""

    def __init__(
        self,
        views: Sequence[View],
        tallies: Mapping[str, Tally],
        *,
        counts: Callable[[], dict[str, dict[str, int]]],
        relay_events: Callable[[], dict[tuple[str, str, str], int]],
        facts: Callable[[], dict[str, float]],
        clock: Callable[[], float],
    ) -> None:
        self.views = views
        self.tallies = tallies
        self.counts = counts
        self.relay_events = relay_events
        self.facts = facts
        self.clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, read now. What a part cannot say is left out, and counts as one that failed."""
        failed, away = 0, False
        for part in (self._boards, self._nodes, self._jitter, self._channels, self._stored):
            try:
                yield from list(part())
            except StorageProblem:
                # A store that is away must not take along what tells of it, and the roles.
                away = True
            except Exception:
                failed += 1
        yield from self._own(failed, away)

    def _boards(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("heartwire_board_up", "1 while the monitor reaches the board", labels=["board"])
        cursor = GaugeMetricFamily("heartwire_journal_stored", "sequence of the newest stored record", labels=["board"])
        records = CounterMetricFamily("heartwire_records_stored", "records stored by this process", labels=["board"])
        mode = GaugeMetricFamily("heartwire_board_mode", "1 for the mode it is in", labels=["board", "mode"])
        for view in self.views:
            up.add_metric([view.name], int(view.up))
            cursor.add_metric([view.name], view.cursor)
            records.add_metric([view.name], view.records)
            if view.status is not None:
                for name in codes.MODES:
                    mode.add_metric([view.name, name], int(view.status.mode == name))
        yield from (up, cursor, records, mode)
        for name, words, value in BOARD_GAUGES:
            gauge = GaugeMetricFamily(name, words, labels=["board"])
            for view in self._answering():
                if view.status is not None:
                    gauge.add_metric([view.name], value(view.status))
            yield gauge

    def _nodes(self) -> Iterator[Metric]:
        role = GaugeMetricFamily("heartwire_role", "1 for the role it has", labels=[*NODE_LABELS, "role"])
        verdict = GaugeMetricFamily("heartwire_verdict", "1 for the board's verdict", labels=[*NODE_LABELS, "verdict"])
        age = GaugeMetricFamily("heartwire_heartbeat_age_seconds", "since the last good heartbeat", labels=NODE_LABELS)
        power = GaugeMetricFamily("heartwire_node_power", "1 on, 0 off; absent if unknown", labels=NODE_LABELS)
        state = GaugeMetricFamily("heartwire_node_state", "1 for what it said last", labels=[*NODE_LABELS, "state"])
        words = "1 while it says that its services run; absent if it is not heard"
        running = GaugeMetricFamily("heartwire_node_running", words, labels=NODE_LABELS)
        words = "1 while it says that it does not serve well; absent if it is not heard"
        degraded = GaugeMetricFamily("heartwire_node_degraded", words, labels=NODE_LABELS)
        beats = CounterMetricFamily(
            "heartwire_heartbeats", "good heartbeats since the board started", labels=NODE_LABELS
        )
        drops = CounterMetricFamily(
            "heartwire_drops", "what did not count, by kind, since the board started", labels=[*NODE_LABELS, "kind"]
        )
        for view, node, labels in self._each_node():
            for name in codes.ROLES:
                role.add_metric([*labels, name], int(node.role == name))
            for name in codes.VERDICTS:
                verdict.add_metric([*labels, name], int(node.verdict == name))
            if node.age_ms is not None:
                # What has passed since the look counts as well: a board that hangs must not look fresh.
                age.add_metric(labels, node.age_ms / 1000 + max(0.0, self.clock() - view.seen_s))
            for name in codes.STATES if node.was_heard else ():
                state.add_metric([*labels, name], int(node.state == name))
            if _speaks(node):
                running.add_metric(labels, int(bool(node.flags & messages.FLAG_RUNNING)))
                degraded.add_metric(labels, int(node.state == DEGRADED))
            if node.power in POWER:
                power.add_metric(labels, POWER[node.power])
            beats.add_metric(labels, node.beats)
            for kind, count in node.drops.items():
                drops.add_metric([*labels, kind], count)
        yield from (role, verdict, age, power, state, running, degraded, beats, drops)
        for name, words, value in NODE_GAUGES:
            gauge = GaugeMetricFamily(name, words, labels=NODE_LABELS)
            for view, node, labels in self._each_node():
                if view.status is not None:
                    gauge.add_metric(labels, value(node, view.status))
            yield gauge

    def _jitter(self) -> Iterator[Metric]:
        words = "how far heartbeats stray from their usual interval, from looks at the status"
        histogram = HistogramMetricFamily("heartwire_heartbeat_jitter_seconds", words, labels=NODE_LABELS)
        for view, node, labels in self._each_node():
            jitter = view.jitter.get(node.node)
            if jitter is not None:
                histogram.add_metric(labels, _buckets(jitter), jitter.total_s)
        yield histogram

    def _stored(self) -> Iterator[Metric]:
        """Yield what the store says; raises StorageProblem before the first metric."""
        relays, channels = self.relay_events(), self.counts()
        words = "relay actions that the store has seen, by what happened"
        counter = CounterMetricFamily("heartwire_relay_actions", words, labels=["board", "node", "event"])
        # From 0 on: of a series that begins at 1 Prometheus sees no increase, so the first fence would not show.
        none = {
            (view.name, node.node, event): 0 for view in self.views for node in view.nodes for event in RELAY_EVENTS
        }
        for labels, count in sorted({**none, **relays}.items()):
            counter.add_metric(list(labels), count)
        outbox = GaugeMetricFamily("heartwire_outbox", "messages not sent, by state", labels=["channel", "state"])
        for channel, states in sorted(channels.items()):
            for state in ("waiting", "pending", "sending"):
                outbox.add_metric([channel, state], states.get(state, 0))
        yield from (counter, outbox)

    def _channels(self) -> Iterator[Metric]:
        sent = CounterMetricFamily("heartwire_messages_sent", "messages sent by this process", labels=["channel"])
        failed = CounterMetricFamily("heartwire_attempts_failed", "attempts that failed", labels=["channel"])
        for channel, tally in sorted(self.tallies.items()):
            sent.add_metric([channel], tally.sent)
            failed.add_metric([channel], tally.failed)
        yield from (sent, failed)

    def _own(self, failed: int, away: bool) -> Iterator[Metric]:
        """Yield how the monitor itself is, given how many parts failed, and whether its store is away."""
        facts = {"healthy": 1.0, "store_works": 1.0}
        try:
            facts |= self.facts()
        except Exception:
            failed += 1
        if away:
            facts |= {"healthy": 0.0, "store_works": 0.0}
        if failed:
            facts["healthy"] = 0.0
        facts["parts_failed"] = float(failed)
        for name, value in sorted(facts.items()):
            gauge = GaugeMetricFamily(f"heartwire_monitor_{name}", name.replace("_", " "))
            gauge.add_metric([], value)
            yield gauge

    def _answering(self) -> Iterator[View]:
        return (view for view in self.views if view.up and view.status is not None)

    def _each_node(self) -> Iterator[tuple[View, NodeStatus, list[str]]]:
        for view in self._answering():
            for node in view.nodes:
                yield view, node, [view.name, node.node, node.name]


def _buckets(jitter: Jitter) -> list[tuple[str, float]]:
    total = 0
    buckets = []
    for bound, count in zip((*JITTER_BOUNDS_S, float("inf")), jitter.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(total)))
    return buckets


class _One:
    """A registry of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """Yield it."""
        yield self._metric


def exposition(source: Source) -> bytes:
    """Return what /metrics answers, whatever the values: one that cannot be written costs its own metric only."""
    text = b""
    for metric in source.collect():
        with contextlib.suppress(Exception):
            text += generate_latest(cast(CollectorRegistry, _One(metric)))
    return text


def server(address: str, source: Source, log: Log | None = None) -> serving.Server:
    """Return what serves /metrics at `address` once it is started. Raises PortBusy."""
    return serving.Server("metrics", address, _handler(source), log)


def _handler(source: Source) -> type[serving.Handler]:
    class Handler(serving.Handler):
        timeout = TIMEOUT_S

        def do_GET(self) -> None:
            if self.path.partition("?")[0] not in ("/", "/metrics"):
                self.send_error(404)
                return
            self.answer(exposition(source), {"Content-Type": CONTENT_TYPE_LATEST})

    return Handler
