"""Wiring: which changes of settings are refused because they would take the guard away from a server that needs it.

Disabling, renaming or re-wiring a node that is active, holds the role or is late, and any change to one that is being
fenced or cut, would leave a server that runs without anybody who may switch it off, or a proof that proves something
else. It reads settings, state and facts, changes nothing and moves nothing. Called by hostlink_settings before
settings are stored.
"""

from heartwire_firmware import fitness
from heartwire_firmware.policy_state import WATCHING
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes
from heartwire_protocol.codes import NO_NODE, NODE_COUNT
from heartwire_protocol.settings import NODE

# How a node is fenced and proven off, and the name by which people know it.
GUARD = ("enabled", "name", "fence", "front", "standby", "off_proof", "senses", "on_board_loss")
# A lease is waited out by these; longer harms nobody.
SHORTER = ("assumed_off_ms", "self_fence_ms")
# Of the board: what a fence under way goes by, and what decides when a late node is dead.
FENCE_TIMES = ("off_stable_ms", "off_timeout_ms", "off_ms", "hold_max_s", "button_hold_ms", "press_ms")
DEAD_TIMES = ("interval_ms", "early_ms", "late_ms", "dead_ms", "common_cause_ms", "good_count", "lone")


def refusal(now, new, state, facts, fences) -> "tuple[str, int, str] | None":
    """Return (path, node, what the node is) of the first change from `now` to `new` that is refused; None if all may
    be made. `fences` are the sequencer's states by node.
    """
    for node in range(NODE_COUNT):
        found = _of_node(now, new, state, facts, fences, node)
        if found is not None:
            return found
    if now.board.transfer != new.board.transfer and state.mode != codes.MODE_OBSERVE and state.active != NO_NODE:
        return "board.transfer", state.active, "active"
    return None


def _of_node(now, new, state, facts, fences, node: int) -> "tuple[str, int, str] | None":
    old = now.nodes[node]
    wanted = new.nodes[node]
    what = standing(state, facts, fences, node)
    if what in ("fenced", "under_way", "tested", "late"):
        for row in NODE:
            if getattr(old, row[0]) != getattr(wanted, row[0]):
                return _path(node, row[0]), node, what
        for name in DEAD_TIMES if what == "late" else FENCE_TIMES:
            if getattr(now.board, name) != getattr(new.board, name):
                return "board." + name, node, what
        return None
    if old.enabled and not wanted.enabled:
        if what or state.holder == node:
            return _path(node, "enabled"), node, what or "holder"
        if fitness.is_running(state, facts, node):
            return _path(node, "enabled"), node, "running"
    if what:
        for name in GUARD:
            if getattr(old, name) != getattr(wanted, name):
                return _path(node, name), node, what
        for name in SHORTER:
            if getattr(old, name) > getattr(wanted, name):
                return _path(node, name), node, what
    return None


def standing(state, facts, fences, node: int) -> str:
    """Return why `node` keeps its wiring: fenced, under_way, tested, late, active or holder; "" if nothing stands
    against a change.
    """
    if fences[node] != IDLE:
        return "fenced"
    if state.phase != WATCHING and node in (state.target, state.successor):
        return "under_way"
    if facts.proof == node:
        return "tested"
    if not facts.enabled[node] or state.mode == codes.MODE_OBSERVE:
        return ""  # nothing moves by itself, and leases bind nobody
    if facts.verdict[node] == codes.VERDICT_LATE:
        return "late"
    if node == state.active:
        return "active"
    return "holder" if node == state.holder else ""


def _path(node: int, name: str) -> str:
    return "node.%s.%s" % (codes.NODES[node], name)
