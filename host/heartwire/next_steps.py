"""What a person can do now: for each state of the board and its nodes the exact command that the board accepts there.

Pure: a status and its nodes in, steps out. It decides nothing and knows no more than the status says; a test puts the
firmware into each state and runs each command. Called by `heartwire status` and by commands that the board refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heartwire.answers import NodeStatus, Status
from heartwire_protocol import alarms, messages

ARMED = ("auto", "approve")
OPEN_FENCES = ("firing", "failed")
ABLE = ("healthy", "degraded")
JSON_DOC = (
    ("command", 'what to type after "heartwire"; null where it is done by hand'),
    ("words", "when to do it, and what for"),
)


@dataclass(frozen=True)
class Step:
    """One thing to do; `command` goes behind "heartwire", and is "" where it is done by hand."""

    words: str
    command: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {"command": self.command or None, "words": self.words}


def is_heard(node: NodeStatus) -> bool:
    """Tell whether what the node said last still says something about now."""
    return node.verdict in ("good", "late") and node.power != "off"


def hears_nothing(node: NodeStatus) -> bool:
    """Tell whether the node is heard without fresh answers; one that falls silent answers nothing either."""
    return node.half_line and node.verdict == "good"


def says_running(node: NodeStatus) -> bool:
    """Tell whether the node is heard and says that its services run."""
    return is_heard(node) and bool(node.flags & messages.FLAG_RUNNING)


def is_fit(node: NodeStatus) -> bool:
    """Tell whether the node could become active, as far as a status shows it."""
    return (
        node.verdict == "good"
        and not (node.half_line or node.altered or node.locked or node.maintenance_s)
        and node.state in ABLE
        and node.fence == "idle"
        and node.power != "off"
        and node.role != "quarantined"
    )


def is_away_on_purpose(node: NodeStatus) -> bool:
    """Tell whether somebody meant the node to be away: it said so, or it is in maintenance."""
    return node.state == "planned_off" or node.maintenance_s > 0


def standby_of(nodes: Sequence[NodeStatus], node: str | None) -> NodeStatus | None:
    """Return a node that is fit to take over from `node`, healthy before degraded; or None."""
    fit = [one for one in nodes if one.node != node and is_fit(one)]
    return min(fit, key=lambda one: one.state != "healthy", default=None)


def without_service(status: Status, nodes: Sequence[NodeStatus]) -> NodeStatus | None:
    """Return the active node if it is heard and says that it runs nothing, or runs badly; or None.

    One that is asked to stop its services is to run nothing.
    """
    if status.phase == "draining":
        return None
    for node in nodes:
        if node.node != status.active or status.mode not in ARMED or not is_heard(node):
            continue
        if node.state == "degraded" or not node.flags & messages.FLAG_RUNNING:
            return node
    return None


def is_starting(status: Status, node: NodeStatus) -> bool:
    """Tell whether the active node is about to run its services, having just been granted, and not for too long yet."""
    # It has not said yet what it makes of its grant.
    granted = node.epoch < status.epoch or node.flags & messages.FLAG_VERIFIED_STOPPED
    starts = node.state == "starting" or (node.state != "degraded" and bool(granted))
    return starts and not status.alarms & alarms.SERVICE_FAILED


def steps(status: Status, nodes: Sequence[NodeStatus]) -> list[Step]:
    """Return what to do, the most urgent first; empty if there is nothing."""
    found: list[Step] = []
    if status.lost_settings:
        found.append(
            Step(
                "puts its settings back; turn its key switch on before, and off again after", "config apply --unsigned"
            )
        )
    elif status.safe:
        found.append(Step("ends safe mode, once you know why it did not start well", "restart"))
    if status.phase == "approval" and status.approval:
        found += _approval(status, nodes)
    elif status.phase == "failed":
        found += _failed(status, nodes)
    elif status.phase == "draining":
        found.append(Step("everything stays as it is", "cancel"))
    elif status.phase == "watching":
        found += _at_rest(status, nodes)
    if status.alarms & alarms.EPOCH_CLAIM:
        found.append(Step("on the node whose epoch is far above the board's: what its epoch file says", "agent epoch"))
    for node in nodes:
        if node.maintenance_s:
            found.append(Step(f"ends the maintenance of {node.label} early", f"maintenance {node.node} off"))
    if status.maintenance_s:
        found.append(Step("ends the maintenance of the board early", "maintenance board off"))
    if status.schedule:
        found.append(Step(f"the switchover to {_label(nodes, status.schedule)} does not happen", "cancel"))
    return list({(step.command or step.words): step for step in reversed(found)}.values())[::-1]


def after_refusal(reason: str, node: str | None, status: Status, nodes: Sequence[NodeStatus]) -> str:
    """Return the next step after the board refused something for `node` because of `reason`; "" if there is none."""
    if reason == "other_operation" and status.phase != "watching":
        said = [f"`heartwire {step.command}`: {step.words}" if step.command else step.words
                for step in steps(status, nodes)]  # fmt: skip
        return said[0] if said else "wait until it is over: `heartwire status --watch`"
    if reason == "powered" and (status.target or status.holder) not in (None, node):
        other = str(status.target or status.holder)
        by_board = "" if status.phase == "failed" else f", or `heartwire fence {other}`"
        return f"{_label(nodes, other)} has power: pull its plug{by_board}, then again"
    if reason == "not_fit":
        return _why_not_fit(_find(nodes, node), nodes)
    if reason in ("not_active", "store_empty"):
        said = [f"`heartwire {step.command}`: {step.words}" for step in _nobody(status, nodes) if step.command]
        return said[0] if said else ""
    return _AFTER_REFUSAL.get(reason, "").format(node=node or "NODE", label=_label(nodes, node))


_AFTER_REFUSAL: Mapping[str, str] = {
    "observe_mode": "arm the board: `heartwire mode auto`",
    "fencer_mode": "here another cluster decides who is active; for Heartwire to decide: `heartwire mode auto`",
    "last_powered": "make another node fit first; `heartwire fence {node} --last` cuts it even so",
    "no_wall_time": "`heartwire time --set`, then again",
    "safe_mode": "`heartwire log` says why the board started badly; `heartwire restart` ends safe mode",
    "long_lease": "an update of the board is under way: `heartwire plans` says for how long",
    "two_running": "stop the services where they must not run, on that server; `heartwire status` shows where they run",
    "powered": "its power is on: pull its plug, then again",
    "not_quarantined": "there is nothing to clear; `heartwire status`",
    "no_fence": "`heartwire config show` says how it can be fenced",
    "not_in_maintenance": "`heartwire maintenance {node} 30m`, then again",
    "locked_out": "`heartwire clear {node}`, once you know why it failed so often",
    "already_active": "`heartwire status` shows who is active",
}


def approval_words(status: Status, nodes: Sequence[NodeStatus]) -> str:
    """Return what a person is asked to approve."""
    target, successor = _label(nodes, status.target), _label(nodes, status.successor)
    found = _find(nodes, status.target)
    if status.successor and found is not None and found.power == "off" and found.fence != "idle":
        return f"{target} lost its power, and not by this board: let {successor} take over"
    return f"fence {target}" + (f", then promote {successor}" if status.successor else "")


def _approval(status: Status, nodes: Sequence[NodeStatus]) -> list[Step]:
    number = int((status.approval or {}).get("request", 0))
    target = _label(nodes, status.target)
    return [
        Step(approval_words(status, nodes), f"approve {number}"),
        Step(f"nothing is done, and not asked again before {target} was good once more", f"deny {number}"),
    ]


def _failed(status: Status, nodes: Sequence[NodeStatus]) -> list[Step]:
    """After a fence that proved nothing: what is off by now may be replaced, what is not must go off by hand."""
    target = _find(nodes, status.target)
    label = _label(nodes, status.target)
    other = standby_of(nodes, status.target)
    back = Step(f"if {label} is well and shall go on; its relay is released", f"release {status.target}")
    if target is not None and target.power == "off":
        if other is None:
            return [Step(f"{label} is off by now, but no other node is fit: look at the others first")]
        return [Step(f"{label} is measured off by now: {other.label} may take over", f"declare {other.node}")]
    return [Step(f"cut the power of {label} by hand (its plug), and look here again: nobody serves before that"), back]


def _at_rest(status: Status, nodes: Sequence[NodeStatus]) -> list[Step]:
    found = [
        Step(f"the heartbeats of {node.label} do not count: compare this with the key_file of its agent", "key list")
        for node in nodes
        if node.altered and node.drops.get("wrong_answer")
    ]
    if status.mode == "observe":
        return found or _observing(status, nodes)
    if status.mode in ARMED and status.active is None:
        found += _nobody(status, nodes)
    bad = without_service(status, nodes)
    if bad is not None and not is_starting(status, bad):
        found.append(Step(f"on {bad.name or bad.node} itself: it says what fails", "agent doctor"))
        other = standby_of(nodes, bad.node)
        if other is not None and not status.long_lease_s:
            found.append(Step(f"{other.label} takes over", f"switchover {other.node}"))
    running = [node for node in nodes if says_running(node)]
    for node in nodes:
        found += _of_node(status, node)
        if node in running and status.active not in (None, node.node):
            found.append(Step(f"stop the services of {node.label}, on that server: they must not run there"))
        if node.verdict == "dead" and node.fence == "idle":
            found += _silent(status, nodes, node)
    return found


def _silent(status: Status, nodes: Sequence[NodeStatus], node: NodeStatus) -> list[Step]:
    other = standby_of(nodes, node.node)
    if (
        node.node == status.active
        and node.power != "off"
        and status.held
        and other is not None
        and not status.long_lease_s
    ):
        words = f"if {node.label} is really gone: its power is cut, then {other.label} takes over"
        return [Step(words, f"fence {node.node}")]
    if is_away_on_purpose(node) or status.active is None:
        return []
    if node.power == "off":
        return [Step(f"{node.label} has no power, and not by its relay: look at its plug, breaker and supply")]
    return [Step(f"look at {node.label} itself: console, power, agent; then at its cable")]


def _observing(status: Status, nodes: Sequence[NodeStatus]) -> list[Step]:
    if not status.generation:
        return [
            Step("writes settings and keys to begin with", "config new --keys rack.toml"),
            Step("puts them on the board", "config apply rack.toml"),
        ]
    if sum(says_running(node) for node in nodes) > 1:
        return [Step("two nodes run the services: stop them where they must not run, on that server")]
    if nodes and not any(is_heard(node) for node in nodes):
        return [Step("no node is heard yet: look at the servers and their agents (`heartwire agent doctor`)")]
    return [Step("arms the board, once its log agrees with you", "mode auto")]


def _nobody(status: Status, nodes: Sequence[NodeStatus]) -> list[Step]:
    """Nobody is active in an armed mode: who could be, by a command that the board takes."""
    if status.phase != "watching":
        return []
    running = [node for node in nodes if says_running(node)]
    if len(running) > 1:
        both = " and ".join(node.label for node in running)
        return [Step(f"{both} both run the services: stop them where they must not run, on that server")]
    holder = _find(nodes, status.holder)
    back = holder is not None and holder.verdict == "good" and holder.fence == "idle" and holder.role == "quarantined"
    if holder is not None and back and not any(node is not holder for node in running):
        return [Step(f"{holder.label} becomes active again, once you know why it failed", f"clear {holder.node}")]
    if holder is not None and not is_heard(holder) and holder.power == "on":
        other = standby_of(nodes, holder.node)
        if other is not None and holder.fence == "idle" and not status.long_lease_s:
            words = f"the power of {holder.label}, which was active last, is cut; then {other.label} takes over"
            return [Step(words, f"fence {holder.node}")]
        return [Step("no node is fit to be active: look at the servers and their agents (`heartwire agent doctor`)")]
    good = running or [node for node in nodes if node.verdict == "good" and node.fence == "idle"]
    unknown = [node for node in nodes if holder is None and not is_heard(node) and node.power == "on"]
    if good and unknown and not running:
        words = f"{unknown[0].label} is not heard, has power and may serve: it is cut, then another one may be declared"
        return [Step(words, f"fence {unknown[0].node}")]
    good = [node for node in good if node.role != "quarantined" and not node.locked] or good
    if not good:
        return [Step("no node is heard: look at the servers and their agents (`heartwire agent doctor`)")]
    first = min(good, key=lambda node: (node.node != status.holder, node.state != "healthy"))
    return [Step(f"makes {first.label} active, if nobody else runs the services", f"declare {first.node}")]


def _of_node(status: Status, node: NodeStatus) -> list[Step]:
    if node.suspect and node.role != "quarantined" and node.fence == "idle":
        return [Step(f"once somebody has looked at the contact that did not cut {node.label}", f"clear {node.node}")]
    if not (node.locked or node.role == "quarantined") or node.fence in OPEN_FENCES:
        return []
    if node.fence != "idle":
        if status.mode == "fencer" or node.locked:
            return [Step(f"gives {node.label} its power back", f"release {node.node}")]
        return []
    if (node.node == status.holder and status.active is None) or (node.verdict != "good" and not node.locked):
        return []
    return [Step(f"{node.label} may take over again, once you know why it failed", f"clear {node.node}")]


def _why_not_fit(node: NodeStatus | None, nodes: Sequence[NodeStatus]) -> str:
    if node is None:
        return ""
    if node.fence in OPEN_FENCES:
        return f"its fence is {node.fence}: `heartwire status`"
    if node.power == "off":
        return f"{node.label} is off; `heartwire release {node.node}` if its relay cuts it"
    if node.locked or node.role == "quarantined":
        why = "locked out" if node.locked else "quarantined"
        return f"{node.label} is {why}: `heartwire clear {node.node}`, once you know why it failed"
    if node.maintenance_s:
        return f"{node.label} is in maintenance: `heartwire maintenance {node.node} off`"
    if node.verdict != "good":
        return f"{node.label} is {node.verdict}: look at the server and its agent (`heartwire agent doctor` on it)"
    if node.altered:
        return f"the heartbeats of {node.label} do not count: compare the keys of both ends"
    if node.half_line:
        return f"{node.label} does not hear the board: look at its cable"
    return f"{node.label} reports {node.state or 'nothing'}: `heartwire agent doctor` on it says why"


def _find(nodes: Sequence[NodeStatus], node: str | None) -> NodeStatus | None:
    return next((one for one in nodes if one.node == node), None)


def _label(nodes: Sequence[NodeStatus], node: str | None) -> str:
    found = _find(nodes, node)
    return found.label if found else node or "a node"
