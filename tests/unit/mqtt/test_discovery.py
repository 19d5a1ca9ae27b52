"""What Home Assistant is told: keys and classes as its documentation has them, and templates that give right values."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from heartwire.answers import NodeStatus, Status
from heartwire.monitor.views import View
from heartwire.mqtt import discovery
from heartwire.mqtt.topics import Topics, measures, states
from heartwire_protocol import codes
from tests.fakes.board import node_body, status_body

TOPICS = Topics("heartwire", "here")
# https://www.home-assistant.io/integrations/binary_sensor/#device-class and .../sensor/#device-class
BINARY_CLASSES = {"problem", "power", "running", "connectivity", "safety", "battery", "heat", "update"}
SENSOR_CLASSES = {"duration", "enum", "timestamp", "temperature"}
# What the MQTT integration takes for each platform, of what is used here.
COMMON = {"platform", "name", "unique_id", "state_topic", "value_template", "device_class", "entity_category", "icon"}
KEYS = {
    "sensor": COMMON | {"options", "unit_of_measurement", "state_class", "suggested_display_precision"},
    "binary_sensor": COMMON | {"payload_on", "payload_off"},
}
DEVICE = {
    "identifiers", "name", "manufacturer", "model", "serial_number", "sw_version", "via_device",
}  # fmt: skip
TOP = {
    "device", "origin", "availability", "availability_mode", "payload_available", "payload_not_available", "qos",
    "components",
}  # fmt: skip


def seen(a: dict[str, Any] | None = None, **status: Any) -> View:
    view = View("rack-1", board_id="E66118604B5C4A2A", up=True)
    nodes = [NodeStatus.of(node_body("a", **(a or {}))), NodeStatus.of(node_body("b", power="unknown"))]
    view.take(Status.of(status_body(**status)), nodes, 100.0)
    return view


def configs(view: View) -> dict[str, dict[str, Any]]:
    return {topic: json.loads(text) for topic, text in discovery.messages(TOPICS, "homeassistant", view).items()}


def test_each_rack_and_node_is_a_device_with_what_discovery_requires() -> None:
    found = configs(seen())
    rack, *nodes = found.values()
    assert next(iter(found)) == "homeassistant/device/heartwire_E66118604B5C4A2A/config"
    assert all(re.fullmatch(r"homeassistant/device/[A-Za-z0-9_-]+/config", topic) for topic in found)
    for config in found.values():
        assert set(config) == TOP
        assert set(config["device"]) <= DEVICE and config["device"]["identifiers"]
        assert config["origin"]["name"]
        assert [one["topic"] for one in config["availability"]] == [
            TOPICS.monitor,
            "heartwire/rack/rack-1/availability",
        ]
        assert (config["payload_available"], config["payload_not_available"]) == ("online", "offline")
    assert all(node["device"]["via_device"] == rack["device"]["identifiers"][0] for node in nodes)
    assert nodes[0]["device"]["name"] == "rack-1 a (alpha)"


def test_every_entity_has_known_keys_and_classes_and_none_takes_a_command() -> None:
    unique: list[str] = []
    for config in configs(seen()).values():
        for entity in config["components"].values():
            unique.append(entity["unique_id"])
            assert set(entity) <= KEYS[entity["platform"]], entity["name"]
            assert not [key for key in entity if "command" in key]
            classes = BINARY_CLASSES if entity["platform"] == "binary_sensor" else SENSOR_CLASSES
            assert entity.get("device_class") in classes | {None}
            if entity.get("device_class") == "enum":
                assert entity["options"] and "unit_of_measurement" not in entity and "state_class" not in entity
            assert entity.get("entity_category") in (None, "diagnostic")
    assert len(unique) == len(set(unique)) > 30


def shown(view: View) -> dict[str, str]:
    """Return what Home Assistant would show, by unique id without the rack's: templates on what is really said."""
    jinja2 = pytest.importorskip("jinja2")
    said = {**states(TOPICS, view), **measures(TOPICS, view)}
    found = {}
    for config in configs(view).values():
        for entity in config["components"].values():
            value = json.loads(said[entity["state_topic"]])
            text = str(jinja2.Template(entity["value_template"]).render(value_json=value))
            if entity["platform"] == "binary_sensor":
                assert text in (entity["payload_on"], entity["payload_off"], "None"), entity["name"]
                text = {entity["payload_on"]: "on", entity["payload_off"]: "off"}.get(text, "unknown")
            if "options" in entity:
                assert text in entity["options"]
            found[entity["unique_id"].removeprefix("heartwire_E66118604B5C4A2A_")] = text
    return found


def test_the_templates_give_what_is_so() -> None:
    found = shown(seen())
    assert (found["active"], found["mode"], found["alarm"], found["safe"]) == ("a", "auto", "off", "off")
    assert (found["a_role"], found["a_verdict"], found["a_power"], found["a_running"]) == ("active", "good", "on", "on")
    assert (found["b_power"], found["b_running"]) == ("unknown", "off")
    assert float(found["a_age"]) == 0.31 and float(found["a_lease"]) == 7.6
    bad = shown(seen({"verdict": "dead", "role": "quarantined", "power": "off", "relay": 1}, alarm=1, active=None))
    assert (bad["active"], bad["alarm"], bad["a_power"], bad["a_relay"]) == ("None", "on", "off", "on")
    assert bad["a_running"] == "off"  # what a dead node said last is not so any more
    assert found["a_jitter"] == "None"


@pytest.mark.parametrize("mode", codes.MODES)
def test_every_mode_is_one_of_the_options(mode: str) -> None:
    assert shown(seen(mode=mode))["mode"] == mode


def test_what_was_never_met_is_not_made_known() -> None:
    assert discovery.messages(TOPICS, "homeassistant", View("rack-1")) == {}
    view = seen()
    view.board_id = ""
    assert discovery.messages(TOPICS, "homeassistant", view) == {}


def test_nothing_that_is_retained_changes_by_itself() -> None:
    view = seen({"lease_ms": 7000, "age_ms": 10}, uptime_s=1, maintenance_s=500)
    later = seen({"lease_ms": 6000, "age_ms": 900, "sequence": 9999, "beats": 9999}, uptime_s=99, maintenance_s=400)
    assert states(TOPICS, view) == states(TOPICS, later)
    assert measures(TOPICS, view) != measures(TOPICS, later)


def test_a_strange_board_id_makes_a_topic_that_home_assistant_takes() -> None:
    view = seen()
    view.board_id = "?rack 1/+#"
    topics = list(discovery.messages(TOPICS, "homeassistant", view))
    assert all(re.fullmatch(r"homeassistant/device/[A-Za-z0-9_-]+/config", topic) for topic in topics)


@pytest.mark.parametrize(
    ("node", "running"),
    [
        ({}, True),
        ({"verdict": "late"}, True),
        ({"verdict": "dead"}, False),
        ({"verdict": "late", "power": "off"}, False),
    ],
)
def test_a_server_runs_its_services_as_long_as_it_can_be_heard(node: dict[str, Any], running: bool) -> None:
    """One whose power was cut a moment ago is late, and said last that they run."""
    assert json.loads(states(TOPICS, seen(a=node))[TOPICS.node("rack-1", "a", "state")])["running"] is running
