"""Which node a plug means, and what can be said about its power. Words only; it asks the board nothing by itself.

On, off, and "cannot say" are three answers: off needs the board's proof, on needs a sense that reads it, and everything
else is unknown. Called by fence.actions.
"""

from __future__ import annotations

from collections.abc import Sequence

from heartwire.answers import NodeStatus
from heartwire.errors import UsageProblem

ON, OFF, UNKNOWN = "on", "off", "unknown"


def find(nodes: Sequence[NodeStatus], plug: str) -> NodeStatus:
    """Return the node that `plug` means: its letter on the board, or its configured name.

    Raises UsageProblem if it means none, or two: a server that is named like another node's letter must not be
    mistaken for it.
    """
    if not plug:
        raise UsageProblem(f"which node? Give plug: {_choices(nodes)}")
    found = [node for node in nodes if plug == node.node or (node.name and plug.lower() == node.name.lower())]
    if len(found) > 1:
        both = " and ".join(node.label for node in found)
        raise UsageProblem(f"plug {plug} could mean {both}: rename the server in the board's settings")
    if not found:
        raise UsageProblem(f"plug {plug}: no such node on this board; it has {_choices(nodes)}")
    return found[0]


def _choices(nodes: Sequence[NodeStatus]) -> str:
    return ", ".join(node.label for node in nodes) or "no node at all"


def power_of(node: NodeStatus) -> tuple[str, str]:
    """Return (ON, OFF or UNKNOWN, why)."""
    if node.fence == "proven" and node.power != "on":
        return OFF, "it is proven off"
    if node.fence == "assumed" and node.relay and node.power != "on":
        return OFF, "its relay is open and its off time is over; its power is not measured"
    if node.fence == "proven":
        return UNKNOWN, "it was proven stopped by a reset, and has power"
    if node.fence == "assumed":
        return UNKNOWN, "its lease is over, but nothing keeps it off"
    if node.fence != "idle" or node.relay:
        return UNKNOWN, f"a fence is under way or has failed ({node.fence}), power sense {node.power}"
    if node.power == "on":
        return ON, "its power sense reads on"
    if node.power == "off":
        # The mains or a fuse, not the board: it may come back at any moment.
        return UNKNOWN, "its power sense reads off, but its relay is closed: nothing keeps it off"
    return UNKNOWN, "its relay is closed and its power is not measured"


def is_fenced(node: NodeStatus, *, may_run: bool) -> bool:
    """Tell whether the node is off; or, where it `may_run` again afterwards, proven to have been reset."""
    return power_of(node)[0] == OFF or (may_run and node.fence == "proven")


def rows(nodes: Sequence[NodeStatus], separator: str, *, with_power: bool) -> str:
    """Return the lines of `list`, or with the power those of `list-status`."""
    lines = []
    for node in nodes:
        columns = [node.node, node.name]
        if with_power:
            columns.append(power_of(node)[0])
        lines.append(separator.join(columns) + "\n")
    return "".join(lines)
