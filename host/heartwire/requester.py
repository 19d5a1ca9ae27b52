"""Who asks for a fence, as the board journals it: which tool, and on which node's server it runs if that can be known.

Over the host link this is what the asker says of itself; over a node's own line the board knows the node by its key.
Called by the command line and by fence_heartwire; heartwire.journal renders it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from heartwire.answers import NodeStatus
from heartwire_protocol import bits, codes


def of(tool: int, nodes: Iterable[NodeStatus], host: str | None = None) -> int:
    """Return the requester's number: `tool` (codes.TOOL_*) on `host` (default: this one), if a node has its name."""
    own = (socket.gethostname() if host is None else host).lower()
    for node in nodes:
        if node.name and node.name.lower() in (own, own.partition(".")[0]):
            return bits.pack(bits.REQUESTER, tool=tool, node=codes.NODES.index(node.node))
    return bits.pack(bits.REQUESTER, tool=tool, node=codes.NO_NODE)
