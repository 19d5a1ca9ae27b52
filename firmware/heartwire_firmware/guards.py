"""Guards: the rules that keep servers safe, each a function of its own, and the tables that put them in order.

A guard gets (settings, state, facts, node) and returns True if it forbids to fence that node. The tables name the
reason journaled for it; the first that forbids wins. The policy asks these tables before every fence, at the moment it
would fire, and nothing else in the firmware decides whether a server may be switched off. Numbers like 5.4 are the
rules of firmware/DESIGN.md.
"""

from heartwire_firmware.policy_state import WATCHING
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, messages, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT


def is_good(facts, node: int) -> bool:
    """Tell whether `node` gives good heartbeats."""
    return facts.enabled[node] and facts.verdict[node] == codes.VERDICT_GOOD


def is_running(facts, node: int) -> bool:
    """Tell whether `node` is heard and says that its services are up."""
    return is_good(facts, node) and bool(facts.flags[node] & messages.FLAG_RUNNING)


def is_fit(settings, state, facts, node: int) -> bool:
    """Tell whether `node` may become active: good, idle, powered, in no quarantine, lock-out, maintenance or fence."""
    if not is_good(facts, node) or facts.half_line[node] or facts.altered[node]:
        return False
    if facts.node_state[node] not in (codes.STATE_HEALTHY, codes.STATE_DEGRADED):
        return False
    if facts.fence[node] != IDLE or facts.power[node] == codes.POWER_OFF:
        return False
    if state.locked[node] or state.maintenance_ms[node]:
        return False
    return not state.quarantined[node] or _may_serve_alone(settings, facts, node)


def _may_serve_alone(settings, facts, node: int) -> bool:
    # A quarantined node serves only when config says so and no other node is good.
    if not settings.nodes[node].serve_alone or is_running(facts, node):
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


def observe_mode(settings, state, facts, node: int) -> bool:
    """5.5: in observe mode nothing moves."""
    return state.mode == codes.MODE_OBSERVE


def fencer_mode(settings, state, facts, node: int) -> bool:
    """6: in fencer mode only explicit requests act."""
    return state.mode == codes.MODE_FENCER


def safe_mode(settings, state, facts, node: int) -> bool:
    """5.12: no automatic action in safe mode."""
    return bool(state.safe_mode)


def in_maintenance(settings, state, facts, node: int) -> bool:
    """5.5: no automatic action in maintenance of the node or of the board."""
    return state.maintenance_ms[node] > 0 or state.maintenance_ms[NODE_COUNT] > 0


def locked_out(settings, state, facts, node: int) -> bool:
    """5.5: no automatic action after lock-out."""
    return bool(state.locked[node])


def never_heard(settings, state, facts, node: int) -> bool:
    """5.5: no action before a node's first good heartbeat since boot; the durable holder counts as heard after
    cold_start_ms.
    """
    if facts.verdict[node] != codes.VERDICT_UNHEARD:
        return False
    return state.holder != node or state.start_ms < settings.board.cold_start_ms


def boot_grace(settings, state, facts, node: int) -> bool:
    """5.5: no action within boot grace."""
    return state.grace_ms[node] > 0


def heard_half(settings, state, facts, node: int) -> bool:
    """4: a node that is heard without fresh answers hears nothing itself: the line is broken, not the node."""
    return (facts.half_line[node] and facts.age_ms[node] < settings.board.dead_ms) or (
        facts.sign_ms[node] < settings.board.late_ms
    )


def busy(settings, state, facts, node: int) -> bool:
    """A node that announced to be busy or dumping is given that time, up to its cap."""
    if facts.node_state[node] not in (codes.STATE_BUSY, codes.STATE_CRASH_DUMP):
        return False
    seconds = min(facts.busy_s[node], settings.nodes[node].busy_max_s)
    return facts.age_ms[node] < settings.board.dead_ms + seconds * 1000


def common_cause(settings, state, facts, node: int) -> bool:
    """5.4: some other node must have been heard clearly later than this one, and for dead_ms since a common silence
    ended.
    """
    if state.common_ms[node] > 0:
        return True
    return not heard_clearly_later(settings, facts, node)


def heard_clearly_later(settings, facts, node: int) -> bool:
    """Tell whether some other node gave a good heartbeat later than this node's last one + late_ms +
    common_cause_ms.
    """
    margin = settings.board.late_ms + settings.board.common_cause_ms
    for other in range(NODE_COUNT):
        if other != node and facts.enabled[other] and facts.verdict[other] != codes.VERDICT_UNHEARD:
            if facts.age_ms[node] - facts.age_ms[other] > margin:
                return True
    return False


def peer_sees(settings, state, facts, node: int) -> bool:
    """5.6: where config wants it, no peer may still see the node over the network."""
    if settings.nodes[node].second_sign != "peer":
        return False
    known = messages.FLAG_PEER_KNOWN | messages.FLAG_PEER_SEEN
    for other in range(NODE_COUNT):
        if other != node and is_good(facts, other) and facts.flags[other] & known == known:
            return True
    return False


def no_fence(settings, state, facts, node: int) -> bool:
    """A node without a configured fence cannot be fenced."""
    return settings.nodes[node].fence == "none"


def no_successor(settings, state, facts, node: int) -> bool:
    """5.3: after any fence, a powered node fit for promotion remains."""
    return successor_of(settings, state, facts, node) == NO_NODE


def other_relay(settings, state, facts, node: int) -> bool:
    """5.3: no two power relays are off together."""
    for other in range(NODE_COUNT):
        if other != node and facts.fence[other] != IDLE:
            return True
    return False


def not_durable(settings, state, facts, node: int) -> bool:
    """5.9: the intent is durable before the contact moves."""
    return not facts.intent_durable[node]


def denied(settings, state, facts, node: int) -> bool:
    """5.5: a denied or expired approval holds until the node's next good heartbeats."""
    return bool(state.denied[node])


def approval(settings, state, facts, node: int) -> bool:
    """5.5: in approve mode a person decides."""
    return state.mode == codes.MODE_APPROVE


def other_operation(settings, state, facts, node: int) -> bool:
    """One operation at a time."""
    return state.phase != WATCHING


def last_powered(settings, state, facts, node: int) -> bool:
    """5.3, for a request: if the node is active, a fit one must remain; if not, the active one does."""
    if state.active != NO_NODE and state.active != node:
        return False
    return successor_of(settings, state, facts, node) == NO_NODE


# Before an automatic fence. Order is order of telling: the most telling reason first, approval last of all.
AUTOMATIC = (
    (reasons.OBSERVE_MODE, observe_mode),
    (reasons.FENCER_MODE, fencer_mode),
    (reasons.SAFE_MODE, safe_mode),
    (reasons.MAINTENANCE, in_maintenance),
    (reasons.LOCKED_OUT, locked_out),
    (reasons.NEVER_HEARD, never_heard),
    (reasons.BOOT_GRACE, boot_grace),
    (reasons.HALF_LINE, heard_half),
    (reasons.BUSY, busy),
    (reasons.COMMON_CAUSE, common_cause),
    (reasons.PEER_SEES, peer_sees),
    (reasons.NO_FENCE, no_fence),
    (reasons.NO_SUCCESSOR, no_successor),
    (reasons.OTHER_OPERATION, other_relay),
    (reasons.NOT_DURABLE, not_durable),
    (reasons.NEEDS_APPROVAL, denied),
    (reasons.NEEDS_APPROVAL, approval),
)
# What observe mode asks before it says "would have": all but its own ban, and what only a real fence needs.
WOULD = AUTOMATIC[2:14]
# Before a fence that a person or a peer asked for.
REQUESTED = (
    (reasons.OTHER_OPERATION, other_operation),
    (reasons.OTHER_OPERATION, other_relay),
    (reasons.NO_FENCE, no_fence),
)
# At the moment a requested fence fires.
AT_FIRE = (
    (reasons.OTHER_OPERATION, other_relay),
    (reasons.NO_FENCE, no_fence),
)
# Before the fence that ends a drain which timed out: the request stands, the rules about who remains do too.
AFTER_DRAIN = (
    (reasons.NO_FENCE, no_fence),
    (reasons.NO_SUCCESSOR, no_successor),
    (reasons.OTHER_OPERATION, other_relay),
    (reasons.NOT_DURABLE, not_durable),
)


def first_reason(table, settings, state, facts, node: int) -> int:
    """Return the reason of the first guard of `table` that forbids to fence `node`; reasons.NONE if none does."""
    for row in table:
        if row[1](settings, state, facts, node):
            return row[0]
    return reasons.NONE
