"""Guards: the rules that keep servers safe, each a function of its own, and the tables that put them in order.

A guard gets (settings, state, facts, node) and returns True if it forbids to fence that node. The tables name the
reason journaled for it; the first that forbids wins. The policy asks these tables before every fence, at the moment it
would fire, and nothing else in the firmware decides whether a server may be switched off. Numbers like 5.4 are the
rules of heartwire_protocol/rules.py. Who is fit to be active stands in fitness.py.
"""

from heartwire_firmware.fitness import SILENT, cold_successor_of, is_alone, is_good, is_running, successor_of
from heartwire_firmware.policy_state import WATCHING
from heartwire_firmware.sequencer import FAILED, FIRED, IDLE
from heartwire_protocol import codes, messages, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

BUSY_STATES = (codes.STATE_BUSY, codes.STATE_CRASH_DUMP)
OPEN = (FIRED, FAILED)


def observe_mode(settings, state, facts, node: int) -> bool:
    """5.5: in observe mode nothing moves."""
    return state.mode == codes.MODE_OBSERVE


def fencer_mode(settings, state, facts, node: int) -> bool:
    """5.5: in fencer mode only explicit requests act."""
    return state.mode == codes.MODE_FENCER


def safe_mode(settings, state, facts, node: int) -> bool:
    """5.12: no automatic action in safe mode."""
    return bool(state.safe_mode)


def on_trial(settings, state, facts, node: int) -> bool:
    """5.5: no automatic action on settings that nobody has confirmed."""
    return bool(facts.on_trial)


def unproven_line(settings, state, facts, node: int) -> bool:
    """5.5: no action on a node whose line's settings were changed, before it was good once more; where they were
    changed back, its line may also carry nothing at all for dead_ms.
    """
    return bool(facts.unproven[node])


def in_maintenance(settings, state, facts, node: int) -> bool:
    """5.5: no automatic action in maintenance of the node or of the board."""
    return state.maintenance_ms[node] > 0 or state.maintenance_ms[NODE_COUNT] > 0


def long_lease(settings, state, facts, node: int) -> bool:
    """5.13: while a long lease for an update stands, nobody else is granted, so its holder is not fenced either."""
    return state.long_ms > 0 and node == state.long_node


def locked_out(settings, state, facts, node: int) -> bool:
    """5.5: no automatic action after lock-out."""
    return bool(state.locked[node])


def never_heard(settings, state, facts, node: int) -> bool:
    """5.5: no action before a node's first good heartbeat since boot; the durable holder counts as heard after
    cold_start_ms.
    """
    if facts.verdict[node] != codes.VERDICT_UNHEARD or facts.beats[node]:
        return False
    return state.holder != node or state.start_ms < settings.board.cold_start_ms


def boot_grace(settings, state, facts, node: int) -> bool:
    """5.5: no action within boot grace."""
    return state.grace_ms[node] > 0


def heard_half(settings, state, facts, node: int) -> bool:
    """5.6: a node that is heard without fresh answers hears nothing itself: the line is broken, not the node; but not
    for longer than excuse_s.
    """
    return facts.sign_ms[node] < settings.board.late_ms and _is_excused(settings, facts, node)


def _is_excused(settings, facts, node: int) -> bool:
    # What proves nothing more may put off a fence only for a while: it could be a recording, or a ghost.
    return facts.age_ms[node] < settings.board.dead_ms + settings.board.excuse_s * 1000


def heard_lately(settings, state, facts, node: int) -> bool:
    """5.6: a node whose heartbeats come too seldom to count as good is alive all the same."""
    return facts.beats[node] > 0 and facts.age_ms[node] < settings.board.dead_ms


def after_maintenance(settings, state, facts, node: int) -> bool:
    """5.5: when maintenance ends, silence counts anew from then."""
    return state.quiet_ms[node] > 0


def line_fault(settings, state, facts, node: int) -> bool:
    """5.6: where config wants it, a line that shows breaks and bad frames must be silent before its node is dead; but
    not for longer than excuse_s.
    """
    if settings.nodes[node].second_sign not in ("line", "any"):
        return False
    return facts.line_error_ms[node] < settings.board.late_ms and _is_excused(settings, facts, node)


def busy(settings, state, facts, node: int) -> bool:
    """5.6: a node that announced to be busy or dumping is given that time, up to its cap."""
    if facts.node_state[node] not in BUSY_STATES:
        return False
    seconds = min(facts.busy_s[node], settings.nodes[node].busy_max_s)
    return facts.age_ms[node] < settings.board.dead_ms + seconds * 1000


def starting(settings, state, facts, node: int) -> bool:
    """5.6: a node that said it is starting is given its boot grace from then on."""
    if facts.node_state[node] != codes.STATE_STARTING or not facts.beats[node]:
        return False
    return facts.age_ms[node] < settings.nodes[node].boot_grace_ms


def common_cause(settings, state, facts, node: int) -> bool:
    """5.4: some other node must have been heard clearly later than this one, and for dead_ms since a common silence
    ended. Where no second line can be heard, config says what silence means.
    """
    if is_alone(settings, facts, node):
        return settings.board.lone == "hold"
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
    """5.6: where config wants it, no peer may still see the node over the network; but not for longer than excuse_s."""
    if settings.nodes[node].second_sign not in ("peer", "any") or not _is_excused(settings, facts, node):
        return False
    known = messages.FLAG_PEER_KNOWN | messages.FLAG_PEER_SEEN
    for other in range(NODE_COUNT):
        if other != node and is_good(facts, other) and facts.flags[other] & known == known:
            return True
    return False


def powered(settings, state, facts, node: int) -> bool:
    """5.6: where config wants it, its power sense must be off already before it counts as gone."""
    return settings.nodes[node].second_sign in ("power", "any") and facts.power[node] == codes.POWER_ON


def no_fence(settings, state, facts, node: int) -> bool:
    """5.1: a node without a configured fence cannot be fenced."""
    return settings.nodes[node].fence == "none"


def unarmed(settings, state, facts, node: int) -> bool:
    """5.1: a lease can be waited out only where an armed kernel watchdog ends what the agent does not."""
    return settings.nodes[node].fence == "lease" and not state.watchdog_seen[node]


def no_successor(settings, state, facts, node: int) -> bool:
    """5.3: after any fence, a powered node fit for promotion remains; a cold standby counts, it is started."""
    if successor_of(settings, state, facts, node) != NO_NODE:
        return False
    return cold_successor_of(settings, state, facts, node) == NO_NODE


def none_remains(settings, state, facts, node: int) -> bool:
    """5.3: before the recovery of a node that is no holder, the active node must be good; a lone node is exempt."""
    if is_alone(settings, facts, node):
        return False
    return state.active == NO_NODE or state.active == node or not is_good(facts, state.active)


def other_relay(settings, state, facts, node: int) -> bool:
    """5.3: no second fence while one is under way or has proven nothing."""
    for other in range(NODE_COUNT):
        if other != node and facts.fence[other] in OPEN:
            return True
    return False


def has_power(settings, state, facts, node: int) -> bool:
    """5.7: nobody's word that a node is off stands against its power sense."""
    return facts.power[node] == codes.POWER_ON


def is_heard(settings, state, facts, node: int) -> bool:
    """5.1: nobody's word that a node is off stands against a sign of life within dead_ms."""
    return facts.verdict[node] not in SILENT or facts.sign_ms[node] < settings.board.dead_ms


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
    """5.3: one operation at a time."""
    return state.phase != WATCHING


def last_powered(settings, state, facts, node: int) -> bool:
    """5.3, for a request: if the node is active, a fit one must remain; if not, the active one does."""
    if state.forced:
        return False
    if state.active != NO_NODE and state.active != node and is_good(facts, state.active):
        return False
    return no_successor(settings, state, facts, node)


def any_fence(settings, state, facts, node: int) -> bool:
    """5.3, for a test: no fence of any node is under way, proven or failed."""
    for other in range(NODE_COUNT):
        if facts.fence[other] != IDLE:
            return True
    return False


def any_long_lease(settings, state, facts, node: int) -> bool:
    """5.13: while a long lease stands, nothing is tested."""
    return state.long_ms > 0


def entitled(settings, state, facts, node: int) -> bool:
    """5.3: outside observe mode, what is active, may still hold a lease or runs its services is not tested."""
    if state.mode == codes.MODE_OBSERVE:
        return False
    return node == state.active or node == state.holder or is_running(state, facts, node)


def not_in_maintenance(settings, state, facts, node: int) -> bool:
    """5.5: outside observe mode, only maintenance keeps a silence that a test causes from leading to a fence; it must
    outlast the server's start.
    """
    if state.mode == codes.MODE_OBSERVE:
        return False
    left_ms = max(state.maintenance_ms[node], state.maintenance_ms[NODE_COUNT])
    return left_ms < settings.nodes[node].boot_grace_ms


def active_not_good(settings, state, facts, node: int) -> bool:
    """5.3: outside observe mode, whoever is active must be good while another node is tested; where the board knows no
    active node, some other one must be good.
    """
    if state.mode == codes.MODE_OBSERVE or is_alone(settings, facts, node):
        return False
    if state.active != NO_NODE or state.mode != codes.MODE_FENCER:
        return none_remains(settings, state, facts, node)
    for other in range(NODE_COUNT):
        if other != node and is_good(facts, other):
            return False
    return True


def no_relay(settings, state, facts, node: int) -> bool:
    """5.1: only a power relay is cut for a test."""
    return settings.nodes[node].fence != "power"


# Why nothing automatic happens at all.
_BANS = (
    (reasons.SAFE_MODE, safe_mode),
    (reasons.ON_TRIAL, on_trial),
    (reasons.MAINTENANCE, in_maintenance),
    (reasons.MAINTENANCE, after_maintenance),
    (reasons.LONG_LEASE, long_lease),
    (reasons.LOCKED_OUT, locked_out),
)
# Why the node may live although it is not heard.
_LIVES = (
    (reasons.HEARD, heard_lately),
    (reasons.NEVER_HEARD, never_heard),
    (reasons.UNPROVEN_LINE, unproven_line),
    (reasons.BOOT_GRACE, boot_grace),
    (reasons.HALF_LINE, heard_half),
    (reasons.LINE_FAULT, line_fault),
    (reasons.BUSY, busy),
    (reasons.STARTING, starting),
    (reasons.COMMON_CAUSE, common_cause),
    (reasons.PEER_SEES, peer_sees),
    (reasons.POWERED, powered),
)
_MODES = (
    (reasons.OBSERVE_MODE, observe_mode),
    (reasons.FENCER_MODE, fencer_mode),
)
_LAST = (
    (reasons.NOT_DURABLE, not_durable),
    (reasons.NEEDS_APPROVAL, denied),
    (reasons.NEEDS_APPROVAL, approval),
)
_CANNOT = (
    (reasons.NO_FENCE, no_fence),
    (reasons.WATCHDOG_UNARMED, unarmed),
)
# What observe mode asks before it says "would have": all but its own ban, and what only a real fence needs.
WOULD = _BANS + _LIVES + _CANNOT + ((reasons.NO_SUCCESSOR, no_successor),)
# Before an automatic fence. Order is order of telling: the most telling reason first, approval last of all.
AUTOMATIC = _MODES + WOULD + _LAST
# Before a reset or power cycle that is to bring a node back which holds nothing, or is alone.
RECOVERY = _MODES + _BANS + _LIVES + ((reasons.ACTIVE_NOT_GOOD, none_remains), (reasons.OTHER_OPERATION, other_relay))
# The last of RECOVERY, once its intent was journaled.
RECOVERY_AT_FIRE = RECOVERY + _LAST
# Before a fence that a person or a peer asked for.
REQUESTED = (
    (reasons.OTHER_OPERATION, other_operation),
    (reasons.OTHER_OPERATION, other_relay),
    (reasons.LONG_LEASE, long_lease),
) + _CANNOT
# At the moment a requested fence fires.
AT_FIRE = (
    (reasons.OTHER_OPERATION, other_relay),
    (reasons.LAST_POWERED, last_powered),
) + _CANNOT
# Before a fence that a peer asked for, where the board decides by itself: as automatic as any.
PEER = REQUESTED + tuple([row for row in AUTOMATIC if row[1] not in (fencer_mode, not_durable, no_successor)])
PEER_AT_FIRE = AT_FIRE + tuple([row for row in PEER if row not in REQUESTED])
# Before a node is replaced on a person's word that it is off, when asked and when its contact opens.
REPLACED = (
    (reasons.LONG_LEASE, long_lease),
    (reasons.TWO_RUNNING, is_heard),
    (reasons.POWERED, has_power),
)
# Before the power that a node lost by itself, behind the open contact, counts as proof once a person has approved.
VOUCHED = (
    (reasons.SAFE_MODE, safe_mode),
    (reasons.MAINTENANCE, in_maintenance),
    (reasons.LONG_LEASE, long_lease),
    (reasons.POWERED, has_power),
    (reasons.NO_SUCCESSOR, no_successor),
)
# Before the fence that ends a drain which timed out: the request stands, the rules about who remains do too.
EMERGENCY = _CANNOT + (
    (reasons.NO_SUCCESSOR, no_successor),
    (reasons.OTHER_OPERATION, other_relay),
    (reasons.NOT_DURABLE, not_durable),
)
AFTER_DRAIN = (
    (reasons.ON_TRIAL, on_trial),
    (reasons.MAINTENANCE, in_maintenance),
    (reasons.UNPROVEN_LINE, unproven_line),
) + EMERGENCY
# Before a test of a relay or of a front panel, and in each pass while it is under way.
PRESS = (
    (reasons.SAFE_MODE, safe_mode),
    (reasons.OTHER_OPERATION, other_operation),
    (reasons.OTHER_OPERATION, any_fence),
    (reasons.LONG_LEASE, any_long_lease),
    (reasons.ALREADY_ACTIVE, entitled),
    (reasons.NOT_IN_MAINTENANCE, not_in_maintenance),
    (reasons.ACTIVE_NOT_GOOD, active_not_good),
)
PROOF = PRESS + ((reasons.NO_FENCE, no_relay),)
TABLES = (
    ("automatic fence", AUTOMATIC),
    ('observe mode\'s "would have"', WOULD),
    ("recovery by reset or power cycle", RECOVERY_AT_FIRE),
    ("requested fence, when asked", REQUESTED),
    ("requested fence, when it fires", AT_FIRE),
    ("fence after a drain that timed out", AFTER_DRAIN),
    ("fence that a peer asked for, outside fencer mode", PEER),
    ("word that a node is off", REPLACED),
    ("approval after a loss of power", VOUCHED),
    ("test of a power relay", PROOF),
    ("test of a front panel", PRESS),
)


def first_reason(table, settings, state, facts, node: int) -> int:
    """Return the reason of the first guard of `table` that forbids to fence `node`; reasons.NONE if none does."""
    for row in table:
        if row[1](settings, state, facts, node):
            return row[0]
    return reasons.NONE
