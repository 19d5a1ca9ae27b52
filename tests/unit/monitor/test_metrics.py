"""Metrics are what Prometheus reads, on loopback by default, and the shipped alert rules speak of real series."""

import re
import shutil
import subprocess
import urllib.request
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from heartwire.answers import NodeStatus, Status
from heartwire.errors import StorageProblem
from heartwire.monitor import metrics, settings
from heartwire.monitor.dispatch import Tally
from heartwire.monitor.views import Jitter, View
from tests.fakes.board import node_body, status_body

RULES = resources.files("heartwire").joinpath("share", "heartwire-alerts.yml")


def source(now_s: float = 100.0) -> metrics.Source:
    view = View("rack-1", up=True, cursor=41)
    nodes = [
        NodeStatus.of(node_body("a", drops={"crc": 3})),
        NodeStatus.of(node_body("b", power="unknown", role="standby")),
    ]
    view.take(Status.of(status_body(newest=42, storage_bad=1)), nodes, 100.0)
    view.jitter["a"] = Jitter()
    for sequence in range(10):
        view.jitter["a"].look(7, sequence, sequence * 1.0)
    view.jitter["a"].look(7, 10, 9.2)
    return metrics.Source(
        [view, View("rack-2")],
        {"mail": Tally(sent=4, failed=1)},
        counts=lambda: {"mail": {"waiting": 2, "sent": 4}},
        relay_events=lambda: {("rack-1", "a", "fence_fired"): 2},
        facts=lambda: {"healthy": 1.0, "store_works": 1.0, "peer_reachable": 1.0},
        clock=lambda: now_s,
    )


def scrape(address: str = "127.0.0.1:0", now_s: float = 100.0) -> str:
    server = metrics.server(address, source(now_s))
    server.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    finally:
        server.close()


def value(text: str, series: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(series + " ")]
    return float(line.rpartition(" ")[2])


def test_the_values_are_those_of_the_board() -> None:
    text = scrape()
    a = 'board="rack-1",name="alpha",node="a"'
    assert value(text, f'heartwire_role{{{a},role="active"}}') == 1
    assert value(text, f'heartwire_role{{{a},role="standby"}}') == 0
    assert value(text, f"heartwire_lease_margin_seconds{{{a}}}") == 7.6
    assert (
        value(
            text,
            f"heartwire_drops_total{{{a.replace(',name', chr(44) + 'kind=' + chr(34) + 'crc' + chr(34) + ',name')}}}",
        )
        == 3
    )
    assert value(text, f"heartwire_heartbeat_age_seconds{{{a}}}") == pytest.approx(0.31)
    assert value(text, f"heartwire_node_power{{{a}}}") == 1
    assert 'heartwire_node_power{board="rack-1",name="beta",node="b"}' not in text  # unknown is never off
    assert value(text, f'heartwire_node_state{{{a},state="healthy"}}') == 1
    assert value(text, f'heartwire_node_state{{{a},state="planned_off"}}') == 0
    assert value(text, f"heartwire_node_running{{{a}}}") == 1
    assert value(text, f"heartwire_node_degraded{{{a}}}") == 0
    assert value(text, 'heartwire_board_up{board="rack-2"}') == 0
    assert value(text, 'heartwire_journal_newest{board="rack-1"}') == 42
    assert value(text, 'heartwire_board_storage_bad{board="rack-1"}') == 1
    assert value(text, 'heartwire_journal_stored{board="rack-1"}') == 41
    assert value(text, 'heartwire_relay_actions_total{board="rack-1",event="fence_fired",node="a"}') == 2
    assert value(text, 'heartwire_relay_actions_total{board="rack-1",event="fence_fired",node="b"}') == 0  # not absent
    assert value(text, 'heartwire_outbox{channel="mail",state="waiting"}') == 2
    assert value(text, 'heartwire_messages_sent_total{channel="mail"}') == 4


def test_a_view_that_grows_old_shows_it_in_the_age() -> None:
    text = scrape(now_s=130.0)
    assert value(text, 'heartwire_heartbeat_age_seconds{board="rack-1",name="alpha",node="a"}') == pytest.approx(30.31)


def seen(body: Mapping[str, object], **status: object) -> str:
    """Return the metrics of a rack where node b is as `body` says."""
    view = View("rack-1", up=True)
    view.take(Status.of(status_body(**status)), [NodeStatus.of(node_body("b", **body))], 100.0)
    found = metrics.Source([view], {}, counts=dict, relay_events=dict, facts=dict, clock=lambda: 100.0)
    return metrics.exposition(found).decode()


def test_what_a_node_that_is_not_heard_said_last_is_not_shown_as_now() -> None:
    b = '{board="rack-1",name="beta",node="b"}'
    unheard: tuple[Mapping[str, object], ...] = ({"verdict": "dead"}, {"power": "off"}, {"incarnation": 0})
    for body in unheard:
        text = seen({"flags": 33, "half_line": 1, **body})
        assert f"heartwire_node_running{b}" not in text and f"heartwire_node_degraded{b}" not in text
        assert value(text, f"heartwire_node_half_line{b}") == (1 if "incarnation" in body else 0)
    assert value(seen({"state": "degraded", "verdict": "late"}), f"heartwire_node_degraded{b}") == 1
    assert 'state="starting"' not in seen({"verdict": "unheard", "age_ms": None, "state": "starting"})


def test_maintenance_of_the_node_and_of_the_board_and_planned_off_are_known() -> None:
    b = '{board="rack-1",name="beta",node="b"}'
    for own_s, board_s, left_s in ((0, 0, 0), (60, 0, 60), (0, 90, 90)):
        text = seen({"maintenance_s": own_s}, maintenance_s=board_s)
        assert value(text, f"heartwire_node_maintenance_seconds{b}") == left_s
        assert value(text, f"heartwire_node_in_maintenance{b}") == (left_s > 0)
        assert value(text, f"heartwire_node_planned_off{b}") == 0
    gone = seen({"state": "planned_off", "verdict": "dead", "power": "off"})
    assert value(gone, f"heartwire_node_planned_off{b}") == 1
    held = 'heartwire_board_held{board="rack-1"}'
    assert [value(seen({}, held=reason), held) for reason in (None, "not_durable", "maintenance")] == [0, 1, 0]


def test_a_store_that_is_away_takes_nothing_else_along() -> None:
    found = source()

    def away() -> dict[str, dict[str, int]]:
        raise StorageProblem("the store: the database failed")

    found.counts = away
    text = metrics.exposition(found).decode()
    assert value(text, "heartwire_monitor_store_works") == 0 == value(text, "heartwire_monitor_healthy")
    assert value(text, 'heartwire_messages_sent_total{channel="mail"}') == 4
    assert value(text, 'heartwire_role{board="rack-1",name="alpha",node="a",role="active"}') == 1
    assert "heartwire_outbox" not in text


def test_whatever_fails_metrics_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    for name in ("counts", "relay_events", "facts", "clock"):
        found = source()
        setattr(found, name, fail)
        text = metrics.exposition(found).decode()
        assert value(text, "heartwire_monitor_parts_failed") == 1, name
        assert value(text, "heartwire_monitor_healthy") == 0
        assert value(text, 'heartwire_board_up{board="rack-1"}') == 1
    assert value(metrics.exposition(source()).decode(), "heartwire_monitor_parts_failed") == 0


def test_a_value_that_cannot_be_written_costs_its_own_metric_only() -> None:
    found = source()
    found.counts = lambda: {"mail\ud800": {"waiting": 2}}
    text = metrics.exposition(found).decode()
    assert "heartwire_outbox" not in text
    assert value(text, 'heartwire_relay_actions_total{board="rack-1",event="fence_fired",node="a"}') == 2


def test_jitter_is_a_histogram_of_how_far_heartbeats_stray() -> None:
    text = scrape()
    labels = 'board="rack-1",{}name="alpha",node="a"'

    def bucket(bound: str) -> float:
        return value(text, "heartwire_heartbeat_jitter_seconds_bucket{" + labels.format(f'le="{bound}",') + "}")

    assert (bucket("0.001"), bucket("0.5"), bucket("1"), bucket("+Inf")) == (8, 8, 9, 9)


def test_jitter_ignores_a_restarted_agent_and_averages_over_missed_looks() -> None:
    jitter = Jitter()
    jitter.look(1, 1, 0.0)
    jitter.look(1, 4, 3.0)
    jitter.look(2, 1, 50.0)
    jitter.look(2, 1, 50.0)
    assert (jitter.interval_s, sum(jitter.counts)) == (1.0, 0)
    jitter.look(2, 3, 52.6)
    assert jitter.total_s == pytest.approx(0.3)


def test_the_default_address_is_loopback() -> None:
    assert settings.MonitorSettings().metrics.startswith("127.0.0.1:")


def test_nothing_but_metrics_is_served() -> None:
    server = metrics.server("127.0.0.1:0", source())
    server.start()
    try:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/etc/passwd", timeout=5)
    finally:
        server.close()


def rules() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def labels_of_series() -> dict[str, set[str]]:
    """Return the labels of each series that the monitor gives."""
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(scrape()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def series_in(expression: str) -> list[tuple[str, str]]:
    """Return the series of ours that an expression names, each with its selector."""
    return re.findall(r"(?<!\w)((?:\w+:)?heartwire_\w+(?::\w+)?)(?:\{([^}]*)\})?", expression)


def test_the_alert_rules_use_series_and_labels_that_exist() -> None:
    labels = labels_of_series()
    assert len(rules()) >= 15
    for rule in rules():
        if "record" in rule:
            labels[str(rule["record"])] = set()
    for rule in rules():
        expression, rule_name = str(rule["expr"]), rule.get("alert") or rule["record"]
        for name, selector in series_in(expression):
            assert name in labels, f"{rule_name}: no series {name}"
            for label in re.findall(r"(\w+)(?:=|!=|=~)", selector):
                assert label in labels[name], f"{rule_name}: {name} has no label {label}"
        if "alert" in rule:
            assert {"summary", "description"} <= set(rule["annotations"]), rule_name  # type: ignore[call-overload]


def test_the_alert_rules_pass_promtool(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("not installed: promtool")
    path = tmp_path / "rules.yml"
    path.write_text(RULES.read_text())
    checked = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    text = tmp_path / "metrics.txt"
    text.write_text(scrape())
    with text.open() as stream:
        linted = subprocess.run(
            [promtool, "check", "metrics"], stdin=stream, capture_output=True, text=True, check=False
        )
    assert linted.returncode == 0, linted.stdout + linted.stderr
