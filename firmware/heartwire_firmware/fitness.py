"""Fitness: who is good, who runs, who may be active, and who would replace whom. Pure questions about facts.

It forbids nothing and decides nothing: guards.py and the policy ask it.
"""

from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, messages
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

# Tuples of names are built anew each time they are met, so what each step looks into stands here once.
ABLE = (codes.STATE_HEALTHY, codes.STATE_DEGRADED)
SILENT = (codes.VERDICT_UNHEARD, codes.VERDICT_DEAD)
# How far one heartbeat may lift the epoch: ten activations an hour for ten years, a thousandth of the highest number.
# Unsigned, what a wrong bit or a stranger may do.
EPOCH_LEAP_MAX = 1000000
UNKEYED_LEAP_MAX = 1000
# The adapter that feeds a sense may be that much later than the server (hw/SAFETY.md).
SENSE_LAG_MS = 2000
STOPPED = messages.FLAG_RUNNING | messages.FLAG_VERIFIED_STOPPED


def is_good(facts, node: int) -> bool:
    """Tell whether `node` gives good heartbeats."""
    return facts.enabled[node] and facts.verdict[node] == codes.VERDICT_GOOD


def is_running(state, facts, node: int) -> bool:
    """Tell whether `node` is heard and says that its services are up."""
    return is_good(facts, node) and may_run(state, facts, node)


def may_run(state, facts, node: int) -> bool:
    """Tell whether the last word of `node` was that its services are up, and nothing has shown since that it is off."""
    if not facts.enabled[node] or not facts.flags[node] & messages.FLAG_RUNNING:
        return False
    return facts.beats[node] != state.off_beats[node]


def other_runs(state, facts, node: int) -> int:
    """Return the node beside `node` whose last word was that it runs; NO_NODE if none."""
    for other in range(NODE_COUNT):
        if other != node and may_run(state, facts, other):
            return other
    return NO_NODE


def has_stopped(facts, node: int) -> bool:
    """Tell whether `node` said last that its services are stopped, and that it checked."""
    return facts.flags[node] & STOPPED == messages.FLAG_VERIFIED_STOPPED


def has_left(facts, node: int) -> bool:
    """Tell whether `node` said last that it goes down on purpose and has stopped: nothing is left to fence."""
    return facts.node_state[node] == codes.STATE_PLANNED_OFF and has_stopped(facts, node)


def is_half(facts, node: int) -> bool:
    """Tell whether `node` is heard and hears nothing; of a silent node that says nothing."""
    return facts.half_line[node] and facts.verdict[node] not in SILENT


def claims_too_much(state, facts, node: int) -> bool:
    """Tell whether `node` knows an epoch so far above the board's that no node of this rack can have been given it."""
    limit = EPOCH_LEAP_MAX if facts.keyed[node] else UNKEYED_LEAP_MAX
    return facts.node_epoch[node] - state.epoch > limit


def is_off(settings, state, facts, node: int) -> bool:
    """Tell whether `node` is measured off by a sense that was on while it beat."""
    if settings.nodes[node].off_proof != "sense" or not state.sense_seen[node]:
        return False
    return facts.power[node] == codes.POWER_OFF and facts.off_ms[node] >= settings.board.off_stable_ms


def lost_power(settings, state, facts, node: int) -> bool:
    """Tell whether the power of `node` went off with its last heartbeat: its sense was on while it beat, and is off
    ever since.
    """
    if not is_off(settings, state, facts, node) or not facts.beats[node]:
        return False
    return facts.age_ms[node] - facts.off_ms[node] <= settings.board.interval_ms + SENSE_LAG_MS


def peer_misses(facts, node: int) -> bool:
    """Tell whether a good node looks for `node` over the network and none sees it."""
    found = False
    for other in range(NODE_COUNT):
        if other != node and is_good(facts, other) and facts.flags[other] & messages.FLAG_PEER_KNOWN:
            if facts.flags[other] & messages.FLAG_PEER_SEEN:
                return False
            found = True
    return found


def is_fit(settings, state, facts, node: int) -> bool:
    """Tell whether `node` may become active: good, idle, powered, in no quarantine, lock-out, maintenance or fence."""
    if not is_good(facts, node) or facts.half_line[node] or facts.altered[node]:
        return False
    if facts.node_epoch[node] > state.epoch and facts.keyed[node] and claims_too_much(state, facts, node):
        return False  # it would not listen to the board
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


def may_start_cold(settings, state, facts, node: int) -> bool:
    """Tell whether a cold standby beside `node` is silent and free to be started, whatever its sense says right now."""
    for other in range(NODE_COUNT):
        if other == node or not facts.enabled[other] or settings.nodes[other].standby != "cold":
            continue
        if facts.verdict[other] in SILENT and facts.fence[other] == IDLE and not _is_barred(state, other):
            return True
    return False


def _is_barred(state, node: int) -> bool:
    return bool(state.quarantined[node] or state.locked[node] or state.maintenance_ms[node])


def cold_successor_of(settings, state, facts, node: int) -> int:
    """Return the cold standby that could be started to replace `node`, or NO_NODE."""
    for other in range(NODE_COUNT):
        if other == node or not is_cold(settings, facts, other):
            continue
        if not _is_barred(state, other):
            return other
    return NO_NODE


def is_alone(settings, facts, node: int) -> bool:
    """Tell whether no second line can be heard: every other node is disabled, or a cold standby that is off."""
    for other in range(NODE_COUNT):
        if other != node and facts.enabled[other] and not is_cold(settings, facts, other):
            return False
    return True
