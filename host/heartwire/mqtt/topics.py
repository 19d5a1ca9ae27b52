"""What is said under which topic: pure, views in, retained messages out; a record in, one message of the stream out.

    PREFIX/monitor/CLIENT                 online or offline; the server says offline if the monitor dies (last will)
    PREFIX/rack/NAME/availability         online while the monitor reaches the board, else offline
    PREFIX/rack/NAME/state                the board, JSON
    PREFIX/rack/NAME/node/NODE/state      one node, JSON
    PREFIX/rack/NAME/node/NODE/measures   its age, lease and jitter, JSON, now and then
    PREFIX/rack/NAME/journal              each record, JSON, not retained

Nobody listens on any of them. Called by publisher and discovery.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from heartwire import journal, next_steps
from heartwire.answers import NodeStatus, Status
from heartwire.journal import Entry
from heartwire.monitor.views import View
from heartwire_protocol import alarms

ONLINE, OFFLINE = "online", "offline"


class Topics:
    """The topics below one prefix, for the monitor that calls itself `client`."""

    def __init__(self, prefix: str, client: str) -> None:
        self.prefix = prefix
        self.client = client

    @property
    def monitor(self) -> str:
        """Where this monitor says that it is there."""
        return f"{self.prefix}/monitor/{self.client}"

    def rack(self, name: str, what: str) -> str:
        """Return a topic of a rack: availability, state or journal."""
        return f"{self.prefix}/rack/{name}/{what}"

    def node(self, name: str, node: str, what: str) -> str:
        """Return a topic of a node: state or measures."""
        return f"{self.prefix}/rack/{name}/node/{node}/{what}"


def states(topics: Topics, view: View) -> dict[str, str]:
    """Return the retained messages of a rack by topic; without the state of what was never seen."""
    found = {topics.rack(view.name, "availability"): ONLINE if view.up and view.status is not None else OFFLINE}
    if view.status is not None:
        found[topics.rack(view.name, "state")] = text(rack_state(view.status, view.board_id))
        for node in view.nodes:
            found[topics.node(view.name, node.node, "state")] = text(node_state(node))
    return found


def measures(topics: Topics, view: View) -> dict[str, str]:
    """Return what changes all the time, by topic."""
    if view.status is None or not view.up:
        return {}
    return {topics.node(view.name, node.node, "measures"): text(node_measures(view, node)) for node in view.nodes}


def rack_state(status: Status, board_id: str) -> dict[str, Any]:
    """Return what is said of a board; nothing that changes by itself with time."""
    return {
        "board_id": board_id,
        "name": status.name,
        "version": status.version,
        "boot": status.boot,
        "mode": status.mode,
        "active": status.active,
        "holder": status.holder,
        "epoch": status.epoch,
        "phase": status.phase,
        "target": status.target,
        "successor": status.successor,
        "held": status.held or None,
        "alarm": status.alarm,
        "alarms": alarms.names_of(status.alarms),
        "safe": status.safe,
        "storage_bad": status.storage_bad,
        "maintenance": status.maintenance_s > 0,
        "approval": bool(status.approval),
        "newest": status.newest,
        "lost": status.lost,
    }


def node_state(node: NodeStatus) -> dict[str, Any]:
    """Return what is said of a node; nothing that changes by itself with time."""
    return {
        "node": node.node,
        "name": node.name,
        "role": node.role,
        "verdict": node.verdict,
        "state": node.state or None,
        "running": next_steps.says_running(node),
        "power": node.power,
        "relay": node.relay,
        "fence": node.fence,
        "epoch": node.epoch,
        "half_line": node.half_line,
        "altered": node.altered,
        "locked": node.locked,
        "suspect": node.suspect,
        "maintenance": node.maintenance_s > 0,
    }


def node_measures(view: View, node: NodeStatus) -> dict[str, Any]:
    """Return the numbers of a node, in seconds, as they were at the last look."""
    looks = view.trend.get(node.node)
    stray_s = looks[-1].stray_s if looks else None
    return {
        "age_s": None if node.age_ms is None else node.age_ms / 1000,
        "lease_s": node.lease_ms / 1000,
        "jitter_s": None if stray_s is None else round(stray_s, 4),
        "beats": node.beats,
        "drops": sum(node.drops.values()),
    }


def record(board: str, board_id: str, number: int, entry: Entry, names: journal.Names) -> dict[str, Any]:
    """Return one record of the journal: as `heartwire log --json` prints it, with the board and its journal's number.

    (board_id, journal, sequence) is the same for a record whenever it comes: what comes twice is known by it.
    """
    return {"board": board, "board_id": board_id, "journal": number, **entry.as_json(names)}


def text(value: Mapping[str, Any]) -> str:
    """Return JSON in one line; equal values give equal text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
