"""Fitness: who is good, who runs, who may be active, and who would replace whom. Pure questions about facts.

It forbids nothing and decides nothing: guards.py and the policy ask it.
"""

from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, messages
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

# Tuples of names are built anew each time they are met, so what each step looks into stands here once.
ABLE = (codes.STATE_HEALTHY, codes.STATE_DEGRADED)
SILENT = (codes.VERDICT_UNHEARD, codes.VERDICT_DEAD)
STOPPED = messages.FLAG_RUNNING | messages.FLAG_VERIFIED_STOPPED


def is_good(facts, node: int) -> bool:
    """Tell whether `node` gives good heartbeats."""
    return facts.enabled[node] and facts.verdict[node] == codes.VERDICT_GOOD


def is_running(facts, node: int) -> bool:
    """Tell whether `node` is heard and says that its services are up."""
    return is_good(facts, node) and bool(facts.flags[node] & messages.FLAG_RUNNING)


def has_stopped(facts, node: int) -> bool:
    """Tell whether `node` said last that its services are stopped, and that it checked."""
    return facts.flags[node] & STOPPED == messages.FLAG_VERIFIED_STOPPED


def is_fit(settings, state, facts, node: int) -> bool:
    """Tell whether `node` may become active: good, idle, powered, in no quarantine, lock-out, maintenance or fence."""
    if not is_good(facts, node) or facts.half_line[node] or facts.altered[node]:
        return False
    if facts.node_state[node] not in ABLE:
        return False
    if facts.fence[node] != IDLE or facts.power[node] == codes.POWER_OFF or facts.proof == node:
        return False
    if state.locked[node] or state.maintenance_ms[node]:
        return False
    return not state.quarantined[node] or may_serve_alone(settings, facts, node)


def may_serve_alone(settings, facts, node: int) -> bool:
    """Tell whether a quarantined `node` may serve: config says so, it has stopped, and no other node is good."""
    if not settings.nodes[node].serve_alone or facts.flags[node] & messages.FLAG_RUNNING:
        return False
    for other in range(NODE_COUNT):
        if other != node and is_good(facts, other):
            return False
    return True


def successor_of(settings, state, facts, node: int) -> int:
    """Return the node that would replace `node`: healthy before degraded, the preferred first, then in order; or
    NO_NODE.
    """
    best = NO_NODE
    best_rank = 0
    preferred = settings.board.preferred
    for other in range(NODE_COUNT):
        if other == node or not is_fit(settings, state, facts, other):
            continue
        rank = 4 if facts.node_state[other] == codes.STATE_HEALTHY else 1
        if codes.NODES[other] == preferred:
            rank += 2
        elif other != codes.NODE_SPARE:
            rank += 1
        if rank > best_rank:
            best = other
            best_rank = rank
    return best


def is_cold(settings, facts, node: int) -> bool:
    """Tell whether `node` is a cold standby that is measured off."""
    if not facts.enabled[node] or settings.nodes[node].standby != "cold" or facts.power[node] != codes.POWER_OFF:
        return False
    return facts.fence[node] == IDLE and facts.proof != node and facts.verdict[node] in SILENT


def cold_successor_of(settings, state, facts, node: int) -> int:
    """Return the cold standby that could be started to replace `node`, or NO_NODE."""
    for other in range(NODE_COUNT):
        if other == node or not is_cold(settings, facts, other):
            continue
        if state.quarantined[other] or state.locked[other] or state.maintenance_ms[other]:
            continue
        return other
    return NO_NODE


def is_alone(settings, facts, node: int) -> bool:
    """Tell whether no second line can be heard: every other node is disabled, or a cold standby that is off."""
    for other in range(NODE_COUNT):
        if other != node and facts.enabled[other] and not is_cold(settings, facts, other):
            return False
    return True
