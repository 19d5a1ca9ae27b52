"""What Home Assistant is told of racks and nodes, so that it shows them by itself: pure, views in, messages out.

One retained message a device, below PREFIX/device: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
(device discovery, since 2024.11). A rack is a device; its nodes are devices behind it. Every entity only shows: none
has a command topic. Values that are not known are null, which Home Assistant shows as unknown.
"""

from __future__ import annotations

import re
from typing import Any

from heartwire import __version__
from heartwire.answers import NodeStatus, Status
from heartwire.monitor.views import View
from heartwire.mqtt.topics import OFFLINE, ONLINE, Topics, text
from heartwire_protocol import codes

MAKER = "Heartwire"
ORIGIN = {"name": MAKER, "sw_version": __version__}
# What an id of Home Assistant may hold.
_ID = re.compile(r"[^A-Za-z0-9_-]")
Entity = dict[str, Any]


def messages(topics: Topics, prefix: str, view: View) -> dict[str, str]:
    """Return the retained messages that make a rack and its nodes known, by topic; none of one that was never seen."""
    if view.status is None or not view.board_id:
        return {}
    rack_id = _ID.sub("_", f"heartwire_{view.board_id}")
    found = {f"{prefix}/device/{rack_id}/config": text(_rack(topics, view, view.status, rack_id))}
    for node in view.nodes:
        node_id = f"{rack_id}_{node.node}"
        found[f"{prefix}/device/{node_id}/config"] = text(_node(topics, view, node, rack_id, node_id))
    return found


def _rack(topics: Topics, view: View, status: Status, rack_id: str) -> dict[str, Any]:
    state = topics.rack(view.name, "state")
    entities = {
        "active": _sensor("Active node", state, "active", icon="mdi:server"),
        "mode": _sensor("Mode", state, "mode", options=list(codes.MODES)),
        "phase": _sensor("Phase", state, "phase"),
        "epoch": _sensor("Epoch", state, "epoch", diagnostic=True),
        "held": _sensor("Held because of", state, "held", icon="mdi:hand-back-right"),
        "alarm": _binary("Alarm", state, "alarm", "problem"),
        "safe": _binary("Safe mode", state, "safe", "problem", diagnostic=True),
        "storage_bad": _binary("Flash", state, "storage_bad", "problem", diagnostic=True),
        "approval": _binary("Approval wanted", state, "approval", None),
        "maintenance": _binary("Maintenance", state, "maintenance", None),
    }
    device = {
        "identifiers": [rack_id],
        "name": view.name,
        "manufacturer": MAKER,
        "model": "Rack guarded by a Raspberry Pi Pico",
        "serial_number": view.board_id,
        "sw_version": status.version,
    }
    return _message(topics, view, device, rack_id, entities)


def _node(topics: Topics, view: View, node: NodeStatus, rack_id: str, node_id: str) -> dict[str, Any]:
    state, numbers = topics.node(view.name, node.node, "state"), topics.node(view.name, node.node, "measures")
    entities = {
        "role": _sensor("Role", state, "role", options=list(codes.ROLES)),
        "verdict": _sensor("Heartbeat", state, "verdict", options=list(codes.VERDICTS), icon="mdi:heart-pulse"),
        "state": _sensor("Says of itself", state, "state"),
        "running": _binary("Services", state, "running", "running"),
        "power": _binary("Power", state, "power", "power", on="on", off="off"),
        "relay": _binary("Relay cuts", state, "relay", None, diagnostic=True),
        "fence": _sensor("Fence", state, "fence", diagnostic=True),
        "locked": _binary("Locked out", state, "locked", "problem", diagnostic=True),
        "half_line": _binary("Half line", state, "half_line", "problem", diagnostic=True),
        "altered": _binary("Altered heartbeats", state, "altered", "problem", diagnostic=True),
        "maintenance": _binary("Maintenance", state, "maintenance", None),
        "age": _seconds("Heartbeat age", numbers, "age_s"),
        "lease": _seconds("Lease", numbers, "lease_s"),
        "jitter": _seconds("Jitter", numbers, "jitter_s"),
    }
    # A power that no sense tells is neither.
    entities["power"]["value_template"] = "{{ value_json.power if value_json.power in ('on', 'off') else None }}"
    device = {
        "identifiers": [node_id],
        "name": f"{view.name} {node.label}",
        "manufacturer": MAKER,
        "model": "Server",
        "via_device": rack_id,
    }
    return _message(topics, view, device, node_id, entities)


def _message(
    topics: Topics, view: View, device: dict[str, Any], device_id: str, entities: dict[str, Entity]
) -> dict[str, Any]:
    for name, entity in entities.items():
        entity["unique_id"] = f"{device_id}_{name}"
    return {
        "device": device,
        "origin": ORIGIN,
        "availability": [{"topic": topics.monitor}, {"topic": topics.rack(view.name, "availability")}],
        "availability_mode": "all",
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "qos": 1,
        "components": entities,
    }


def _entity(platform: str, name: str, topic: str, key: str, *, diagnostic: bool, icon: str) -> Entity:
    entity: Entity = {
        "platform": platform,
        "name": name,
        "state_topic": topic,
        "value_template": f"{{{{ value_json.{key} }}}}",
    }
    if diagnostic:
        entity["entity_category"] = "diagnostic"
    if icon:
        entity["icon"] = icon
    return entity


def _sensor(
    name: str, topic: str, key: str, *, options: list[str] | None = None, diagnostic: bool = False, icon: str = ""
) -> Entity:
    entity = _entity("sensor", name, topic, key, diagnostic=diagnostic, icon=icon)
    if options:
        entity |= {"device_class": "enum", "options": options}
    return entity


def _seconds(name: str, topic: str, key: str) -> Entity:
    entity = _entity("sensor", name, topic, key, diagnostic=True, icon="")
    more = {"device_class": "duration", "unit_of_measurement": "s", "state_class": "measurement"}
    return {**entity, **more, "suggested_display_precision": 3}


def _binary(
    name: str,
    topic: str,
    key: str,
    device_class: str | None,
    *,
    on: str = "True",
    off: str = "False",
    diagnostic: bool = False,
) -> Entity:
    entity = _entity("binary_sensor", name, topic, key, diagnostic=diagnostic, icon="")
    # A template prints JSON's true as True.
    entity |= {"payload_on": on, "payload_off": off}
    return {**entity, "device_class": device_class} if device_class else entity
