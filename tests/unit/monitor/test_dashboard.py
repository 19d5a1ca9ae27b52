"""The shipped dashboard asks for series and labels that the monitor gives, in words that Prometheus understands."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.monitor.test_metrics import labels_of_series, series_in
from tests.unit.monitor.test_reading import heartwire

SHARE = resources.files("heartwire").joinpath("share")
DASHBOARD: dict[str, Any] = json.loads(SHARE.joinpath("heartwire-dashboard.json").read_text())
# Labels that Prometheus gives itself.
GIVEN = {"instance", "job"}


def asked() -> Iterator[tuple[str, str, str]]:
    """Yield (panel, expression, legend) of everything that is asked of Prometheus."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for note in DASHBOARD["annotations"]["list"]:
        yield note["name"], note["expr"], note["titleFormat"]


def plain(expression: str) -> str:
    """Return an expression with Grafana's variables as Grafana fills them in."""
    return expression.replace("$board", ".*").replace("$__rate_interval", "1m")


def test_every_series_and_label_exists() -> None:
    labels = labels_of_series()
    rows = list(asked())
    assert len(rows) > 15
    for title, expression, legend in rows:
        names = [name for name, _ in series_in(expression)]
        assert names, title
        known = set[str]()
        for name, selector in series_in(expression):
            assert name in labels, f"{title}: no series {name}"
            for label in re.findall(r"(\w+)(?:=~|!=|=)", selector):
                assert label in labels[name], f"{title}: {name} has no label {label}"
            known |= labels[name]
        kept = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", group)}
        assert kept <= known, f"{title}: by {kept - known}"
        shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
        assert shown <= ((kept or known) | GIVEN) - {"le"}, f"{title}: the legend shows {shown}"


def test_every_value_of_a_label_is_one_that_the_monitor_gives() -> None:
    from heartwire.monitor.schema import RELAY_EVENTS
    from heartwire_protocol import codes

    values = {"role": set(codes.ROLES), "event": set(RELAY_EVENTS)}
    found = [pair for _, expression, _ in asked() for pair in re.findall(r'(role|event)="(\w+)"', expression)]
    assert found
    assert all(value in values[label] for label, value in found)


def test_variables_and_panels_are_whole() -> None:
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r"\$\{?([a-z]\w*)\}?", text)) <= variables
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["description"] for panel in DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_understands_every_question(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("not installed: promtool")
    rules = [{"record": f"panel:n{at}", "expr": plain(row[1])} for at, row in enumerate(asked())]
    path = tmp_path / "questions.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_example_prints_it_whole() -> None:
    assert json.loads(heartwire("monitor", "example", "dashboard").output) == DASHBOARD


def test_icinga_takes_the_check_command(tmp_path: Path) -> None:
    icinga = shutil.which("icinga2")
    if icinga is None:
        pytest.skip("not installed: icinga2")
    (tmp_path / "heartwire.conf").write_text(heartwire("monitor", "example", "icinga").output)
    path = tmp_path / "icinga2.conf"
    path.write_text(
        'const NodeName = "here"\nconst ZoneName = "here"\ninclude <itl>\n'
        "object Endpoint NodeName {}\nobject Zone ZoneName { endpoints = [ NodeName ] }\n"
        'object Host "rack" { check_command = "dummy"; vars.heartwire_port = "socket://rack:4000" }\n'
        'include "heartwire.conf"\n'
    )
    defines = [f"-D{name}={tmp_path}" for name in ("DataDir", "LogDir", "CacheDir", "InitRunDir", "SpoolDir")]
    users = ["-DRunAsUser=root", "-DRunAsGroup=root"]
    words = [icinga, "daemon", "-C", "-c", str(path), *users, *defines]
    checked = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Finished validating the configuration file(s)" in checked.stdout, checked.stdout + checked.stderr
    assert "Instantiated 1 Service" in checked.stdout


def test_the_check_command_has_options_that_there_are() -> None:
    import click

    from heartwire.cli.check import check

    conf = SHARE.joinpath("heartwire-icinga2.conf").read_text()
    there = {name for option in check.params if isinstance(option, click.Option) for name in option.opts}
    named = set(re.findall(r'"(--[a-z-]+)" =', conf))
    assert named and named <= there
