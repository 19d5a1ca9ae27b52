"""The lines of the hand-over model as an adversary has them: what it does to heartbeats and grants, and what it keeps.

Each direction of each line has one place in which a frame is kept. A frame that is kept can be delivered later, before
or after a fresh one or in its place, and as often as wanted. The adversary can sign nothing: what a receiver believes
is for its shipped checks to say.
"""

from __future__ import annotations

from heartwire_protocol import messages

UP, DOWN = range(2)  # heartbeats, grants
WAYS = ("up", "down")
# What is done to what is sent in a second: it is lost; kept and not delivered; delivered and kept; what was kept comes
# before it, after it, or in its place.
LOSE, HOLD, COPY, BEFORE, AFTER, INSTEAD = DEEDS = ("lose", "hold", "copy", "before", "after", "instead")
NEEDS_KEPT = (BEFORE, AFTER, INSTEAD)

Heartbeat = tuple[int, ...]  # state, flags, incarnation, sequence, epoch, challenge as a number

_GRANT = messages.layout_of(messages.GRANT)
_INDEX = {name: at for at, name in enumerate(_GRANT.names)}
_MAC_AT = _GRANT.offset("mac")


def grant_fields(payload: bytes) -> tuple[int, ...]:
    """Return (node and role, orders, epoch, lease, incarnation, sequence, challenge as a number) of a grant."""
    values: list[int] = [0] * len(_GRANT.names)
    assert _GRANT.read_into(values, payload)
    at = _GRANT.offset("challenge")
    return (
        values[_INDEX["node_role"]], values[_INDEX["orders"]], values[_INDEX["epoch"]], values[_INDEX["lease_ms"]],
        int.from_bytes(payload[_MAC_AT : _MAC_AT + 4], "little"),
        int.from_bytes(payload[_MAC_AT + 4 : _MAC_AT + 8], "little"),
        int.from_bytes(payload[at : at + 4], "little"),
    )  # fmt: skip


def grant_payload(fields: tuple[int, ...]) -> bytes:
    """Return the grant that says `fields`, bound to its heartbeat as a board without a key does it."""
    node_role, orders, epoch, lease_ms, incarnation, sequence, challenge = fields
    mac = incarnation.to_bytes(4, "little") + sequence.to_bytes(4, "little")
    return bytes(
        _GRANT.pack(
            node_role=node_role, orders=orders, epoch=epoch, lease_ms=lease_ms, answers=sequence & 0xFFFF,
            newest_event=0, challenge=challenge.to_bytes(4, "little"), mac=mac,
        )
    )  # fmt: skip


class Network:
    """What is kept of each line, and what is done in this second."""

    def __init__(self, nodes: int) -> None:
        self.kept: list[list[Heartbeat | bytes | None]] = [[None] * nodes for _ in WAYS]
        self._deed: tuple[str, int, int] | None = None

    def plan(self, deed: str, way: int, node: int) -> bool:
        """Have `deed` done in this second; return False if it would do nothing."""
        if deed in NEEDS_KEPT and self.kept[way][node] is None:
            return False
        self._deed = (deed, way, node)
        return True

    def deed(self, way: int, node: int) -> str:
        """Return what is done to a line in this second; "" if it is left alone."""
        if self._deed is None or self._deed[1:] != (way, node):
            return ""
        return self._deed[0]

    def end(self) -> None:
        """End the second."""
        self._deed = None

    def pass_on(self, way: int, node: int, fresh: list[Heartbeat] | list[bytes], cut: bool) -> list[Heartbeat | bytes]:
        """Return what arrives of `fresh`, in order; through a line that is cut only what was kept."""
        deed = self.deed(way, node)
        kept = self.kept[way][node]
        if deed in (HOLD, COPY) and fresh:
            self.kept[way][node] = fresh[-1]
        if cut:
            fresh = []
        if deed in (LOSE, HOLD):
            return []
        if deed == INSTEAD:
            return [] if kept is None else [kept]
        if kept is not None and deed in (BEFORE, AFTER):
            return [kept, *fresh] if deed == BEFORE else [*fresh, kept]
        return list(fresh)
