"""The shipped alert rules on series as the monitor gives them, judged by Prometheus's own promtool."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from heartwire.answers import NodeStatus, Status
from heartwire.monitor import metrics
from heartwire.monitor.views import View
from tests.fakes.board import node_body, status_body

RULES = resources.files("heartwire").joinpath("share", "heartwire-alerts.yml")
INTERVAL_S = 15
Node = Mapping[str, Any]
# One phase: for how long, and what each monitor that is there sees of rack-1.
Phase = tuple[float, Mapping[str, metrics.Source]]
# Alert and time, to the labels of the one that fires beside its severity; None where none does.
Expected = Mapping[tuple[str, str], "Mapping[str, str] | None"]

A: Node = {"role": "active"}
B: Node = {"role": "standby"}
DEAD: Node = {"role": "offline", "verdict": "dead", "power": "off"}


@pytest.fixture(scope="module")
def promtool() -> str:
    """The tool, or a skip that names its package."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("not installed: promtool")
    return found


def sees(
    a: Node | None = A, b: Node | None = B, *, up: bool = True, healthy: bool = True, **status: Any
) -> metrics.Source:
    """Return the metrics of a monitor that sees rack-1 so; without `up` it does not reach it."""
    view = View("rack-1", up=up)
    nodes = [NodeStatus.of(node_body(name, **body)) for name, body in (("a", a), ("b", b)) if body is not None]
    view.take(Status.of(status_body(**status)), nodes, 100.0)
    return metrics.Source(
        [view],
        {},
        counts=lambda: {"mail": {"waiting": 0}},
        relay_events=dict,
        facts=lambda: {"healthy": float(healthy)},
        clock=lambda: 100.0,
    )


def series(phases: Iterable[Phase]) -> list[dict[str, str]]:
    """Return promtool's input series: every series that the monitors give, over all phases."""
    values: dict[str, list[str]] = {}
    length = 0
    for minutes, monitors in phases:
        steps = round(minutes * 60 / INTERVAL_S)
        now: dict[str, float] = {}
        for instance, source in monitors.items():
            registry = CollectorRegistry(auto_describe=False)
            registry.register(source)
            for family in registry.collect():
                for sample in family.samples:
                    labels = {**sample.labels, "instance": instance}
                    words = ",".join(f'{name}="{text}"' for name, text in sorted(labels.items()))
                    now[f"{sample.name}{{{words}}}"] = sample.value
        for name in {*values, *now}:
            before = values.setdefault(name, ["_"] * length)
            gone = ["stale", *["_"] * (steps - 1)] if length and before[-1] not in ("_", "stale") else ["_"] * steps
            before += [f"{now[name]:g}"] * steps if name in now else gone
        length += steps
    return [{"series": name, "values": " ".join(row)} for name, row in sorted(values.items())]


def judge(promtool: str, folder: Path, phases: Iterable[Phase], expected: Expected) -> None:
    """Let promtool compare alerts with `expected`: (alert, time) to the labels of the one that fires."""
    rules = yaml.safe_load(RULES.read_text())
    severity = {}
    for group in rules["groups"]:
        for rule in group["rules"]:
            # promtool compares annotations as well; their words are another test's.
            rule.pop("annotations", None)
            severity[rule.get("alert")] = rule.get("labels", {}).get("severity")
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    tests = []
    for (alert, when), labels in expected.items():
        alerts = [] if labels is None else [{"exp_labels": {"severity": severity[alert], **labels}}]
        tests.append({"eval_time": when, "alertname": alert, "exp_alerts": alerts})
    case = {"interval": f"{INTERVAL_S}s", "input_series": series(phases), "alert_rule_test": tests}
    path = folder / "test.yml"
    path.write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": f"{INTERVAL_S}s", "tests": [case]})
    )
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    # It has ended with 0 although it printed FAILED: its words count.
    assert done.returncode == 0 and "SUCCESS" in done.stdout and "FAILED" not in done.stdout, done.stdout + done.stderr


RACK = {"board": "rack-1"}
NODE_A = {"board": "rack-1", "node": "a", "name": "alpha"}
NODE_B = {"board": "rack-1", "node": "b", "name": "beta"}
FAILED_OVER = sees(DEAD, {"role": "active", "flags": 33})


def test_all_is_well_for_one_monitor_and_for_two(promtool: str, tmp_path: Path) -> None:
    alerts = [
        rule["alert"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    for monitors in ({"m1": sees()}, {"m1": sees(), "m2": sees()}):
        judge(promtool, tmp_path, [(30, monitors)], {(alert, "28m"): None for alert in alerts})


def test_two_monitors_that_look_at_different_moments_of_a_failover_show_no_second_active(
    promtool: str, tmp_path: Path
) -> None:
    phases: list[Phase] = [
        (5, {"m1": sees(), "m2": sees()}),
        (1, {"m1": sees(), "m2": FAILED_OVER}),
        (5, {"m1": FAILED_OVER, "m2": FAILED_OVER}),
    ]
    times = ("4m", "5m15s", "5m45s", "6m", "8m")
    judge(promtool, tmp_path, phases, {("HeartwireTwoActive", when): None for when in times})


@pytest.mark.parametrize("b", [{"role": "active", "flags": 34}, {"role": "standby", "flags": 33}])
def test_two_that_are_active_or_run_are_told_once(b: Node, promtool: str, tmp_path: Path) -> None:
    both = sees(A, b)
    lost = sees(A, b, up=False)
    phases: list[Phase] = [(5, {"m1": both, "m2": both}), (60, {"m1": lost, "m2": lost})]
    judge(
        promtool,
        tmp_path,
        phases,
        {("HeartwireTwoActive", "2m"): RACK, ("HeartwireTwoActive", "1h"): RACK},
    )


def test_what_a_dead_node_said_last_is_no_second_one_that_runs(promtool: str, tmp_path: Path) -> None:
    stopped_beating = sees({**DEAD, "flags": 33}, {"role": "active", "flags": 33})
    judge(promtool, tmp_path, [(5, {"m1": stopped_beating})], {("HeartwireTwoActive", "4m"): None})


def test_a_monitor_that_is_gone_is_told_whether_or_not_another_is_left(promtool: str, tmp_path: Path) -> None:
    alert = "HeartwireMonitorGone"
    phases: list[Phase] = [(2, {"m1": sees(), "m2": sees()}), (60, {"m1": sees()}), (10, {"m1": sees(), "m2": sees()})]
    judge(
        promtool, tmp_path, phases, {(alert, "1m"): None, (alert, "3m"): None, (alert, "15m"): {}, (alert, "70m"): None}
    )
    judge(promtool, tmp_path, [(2, {"m1": sees()}), (60, {})], {(alert, "1m"): None, (alert, "15m"): {}})
    judge(promtool, tmp_path, [(10, {})], {(alert, "5m"): {}})


def test_nobody_active_stays_when_the_board_or_the_monitor_goes_and_ends_when_somebody_is(
    promtool: str, tmp_path: Path
) -> None:
    alert = "HeartwireNobodyActive"
    nobody = sees(DEAD, B)
    for gone in ({"m1": sees(up=False)}, {}):
        phases: list[Phase] = [(4, {"m1": nobody}), (300, gone), (10, {"m1": FAILED_OVER})]
        judge(
            promtool,
            tmp_path,
            phases,
            {
                (alert, "30s"): None,
                (alert, "3m"): RACK,
                (alert, "5m"): RACK,
                (alert, "5h"): RACK,
                (alert, "5h10m"): None,
            },
        )


def test_a_board_that_goes_right_after_its_active_node_still_raises_nobody_active(
    promtool: str, tmp_path: Path
) -> None:
    phases: list[Phase] = [(5, {"m1": sees()}), (0.25, {"m1": sees(DEAD, B)}), (10, {"m1": sees(up=False)})]
    judge(promtool, tmp_path, phases, {("HeartwireNobodyActive", "8m"): RACK, ("HeartwireNodeDead", "8m"): NODE_A})


def test_a_board_that_goes_while_all_is_well_raises_only_that(promtool: str, tmp_path: Path) -> None:
    expected: Expected = {
        ("HeartwireBoardUnreachable", "8m"): RACK,
        **{(alert, "30m"): None for alert in ("HeartwireNobodyActive", "HeartwireNodeDead", "HeartwireNoStandby")},
    }
    judge(promtool, tmp_path, [(5, {"m1": sees()}), (30, {"m1": sees(up=False)})], expected)


def test_a_board_that_is_taken_away_in_maintenance_is_told_after_an_hour(promtool: str, tmp_path: Path) -> None:
    alert = "HeartwireBoardUnreachable"
    phases: list[Phase] = [(5, {"m1": sees(maintenance_s=600)}), (90, {"m1": sees(up=False)})]
    judge(promtool, tmp_path, phases, {(alert, "30m"): None, (alert, "80m"): RACK})


def test_a_board_that_one_of_two_monitors_reaches_is_reached(promtool: str, tmp_path: Path) -> None:
    phases: list[Phase] = [(10, {"m1": sees(up=False, healthy=False), "m2": sees()})]
    judge(
        promtool,
        tmp_path,
        phases,
        {("HeartwireBoardUnreachable", "9m"): None, ("HeartwireMonitorUnhealthy", "9m"): {"instance": "m1"}},
    )


def test_a_dead_node_is_told_once_and_stays_when_the_board_goes(promtool: str, tmp_path: Path) -> None:
    alert = "HeartwireNodeDead"
    both = {"m1": FAILED_OVER, "m2": FAILED_OVER}
    lost = dict.fromkeys(both, sees(up=False))
    phases: list[Phase] = [(4, both), (60, lost), (10, {"m1": sees()})]
    judge(promtool, tmp_path, phases, {(alert, "2m"): NODE_A, (alert, "1h"): NODE_A, (alert, "1h10m"): None})


AWAY = [
    {"b": {**DEAD, "maintenance_s": 600}},
    {"b": {**DEAD, "state": "planned_off"}},
    {"b": {**DEAD}, "maintenance_s": 600},
]


@pytest.mark.parametrize("away", AWAY, ids=("its own maintenance", "planned off", "the board's maintenance"))
def test_a_node_in_maintenance_or_off_on_purpose_pages_nobody(
    away: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    resting = sees(**away)
    phases: list[Phase] = [(30, {"m1": resting}), (30, {"m1": sees(up=False)}), (30, {"m1": sees(A, DEAD)})]
    expected: dict[tuple[str, str], Mapping[str, str] | None] = {
        (alert, when): None for alert in ("HeartwireNodeDead", "HeartwireNoStandby") for when in ("29m", "59m")
    }
    # As soon as that is over it is a fault.
    expected[("HeartwireNodeDead", "61m")] = NODE_B
    expected[("HeartwireNoStandby", "80m")] = RACK
    judge(promtool, tmp_path, phases, expected)


def test_a_rack_that_is_down_for_maintenance_pages_nobody(promtool: str, tmp_path: Path) -> None:
    down = sees(DEAD, DEAD, maintenance_s=600, held="maintenance", active=None)
    alerts = ("HeartwireNobodyActive", "HeartwireNodeDead", "HeartwireNoStandby", "HeartwireHeld")
    judge(promtool, tmp_path, [(30, {"m1": down})], {(alert, "29m"): None for alert in alerts})


def test_no_standby_is_told_of_racks_that_can_have_one(promtool: str, tmp_path: Path) -> None:
    alert = "HeartwireNoStandby"
    judge(promtool, tmp_path, [(30, {"m1": sees(A, None), "m2": sees(A, None)})], {(alert, "29m"): None})
    quarantined = sees({"role": "quarantined", "flags": 34}, {"role": "active", "flags": 33})
    phases: list[Phase] = [(90, {"m1": quarantined, "m2": quarantined})]
    judge(promtool, tmp_path, phases, {(alert, "20m"): RACK, ("HeartwireQuarantined", "80m"): NODE_A})


def test_a_service_that_does_not_run_where_it_is_active_is_told(promtool: str, tmp_path: Path) -> None:
    broken = sees({"role": "active", "state": "degraded", "flags": 32})
    expected: Expected = {
        ("HeartwireNotServing", "1m"): None,
        ("HeartwireNotServing", "5m"): NODE_A,
        ("HeartwireDegraded", "5m"): NODE_A,
    }
    judge(promtool, tmp_path, [(10, {"m1": broken, "m2": broken})], expected)
    # A line of plain text says nothing of services.
    text = sees({"role": "active", "flags": 0, "incarnation": 0})
    judge(promtool, tmp_path, [(10, {"m1": text})], {("HeartwireNotServing", "5m"): None})


def test_what_waits_for_a_person_stays_when_the_board_goes(promtool: str, tmp_path: Path) -> None:
    waits = sees(held="not_durable", safe=1, storage_bad=1)
    phases: list[Phase] = [(5, {"m1": waits, "m2": waits}), (60, {"m1": sees(up=False)})]
    alerts = ("HeartwireHeld", "HeartwireSafeMode", "HeartwireStorageBad")
    judge(promtool, tmp_path, phases, {(alert, when): RACK for alert in alerts for when in ("4m", "1h")})


def test_the_words_name_the_monitor_that_is_gone(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    summary = "a Heartwire monitor is no longer scraped: m2 m3"
    words = {"summary": summary, "description": "Without a monitor nobody would be told of a failover: start it."}
    alerts = [{"exp_labels": {"severity": "critical"}, "exp_annotations": words}]
    phases: list[Phase] = [(2, {"m1": sees(), "m2": sees(), "m3": sees()}), (20, {"m1": sees()})]
    test = {"eval_time": "15m", "alertname": "HeartwireMonitorGone", "exp_alerts": alerts}
    case = {"interval": f"{INTERVAL_S}s", "input_series": series(phases), "alert_rule_test": [test]}
    path = tmp_path / "test.yml"
    path.write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": f"{INTERVAL_S}s", "tests": [case]})
    )
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr
