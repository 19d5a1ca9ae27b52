"""Requests: what an operator, a peer or a schedule asks of the policy, and the rules that may refuse it.

Each request is one function in REQUESTS, keyed by its operation number: it returns reasons.NONE if accepted, else why
not. Accepted or refused, it is journaled. Signatures and rights were checked before (hostlink, intake); nothing here
may weaken a rule of guards.py beyond what firmware/DESIGN.md says an operator may.
"""

from heartwire_firmware import guards
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import APPROVAL, DRAINING, FAILED, PREPARING, WATCHING
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, events, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

MODE = 10
SWITCHOVER = 11
FENCE = 12
RELEASE = 13
CLEAR = 14
READOPT = 15
MAINTENANCE = 16
APPROVE = 17
DENY = 18
DECLARE = 22


def request(policy, operation: int, node: int, argument: int = 0) -> int:
    """Carry out request `operation` for `node` with `argument`, or refuse it; return the reason of the refusal, or
    NONE.
    """
    if node != NO_NODE and not policy.facts.enabled[node]:
        reason = reasons.UNKNOWN_NODE
    else:
        at = len(policy.out.records)
        reason = REQUESTS[operation](policy, node, argument)
        if reason == reasons.NONE:
            policy.out.records.insert(at, (events.REQUESTED, node, reasons.OPERATOR, operation, argument))
    if reason != reasons.NONE:
        policy.out.say(events.REFUSED, node, reason, operation, argument)
    return reason


def _mode(policy, node: int, mode: int) -> int:
    state = policy.state
    if mode == state.mode:
        return reasons.NONE
    if state.phase != WATCHING:
        return reasons.OTHER_OPERATION
    if mode in ARMED and state.two_running:
        return reasons.TWO_RUNNING
    policy.out.say(events.MODE_CHANGED, NO_NODE, reasons.OPERATOR, mode, state.mode)
    if (mode in ARMED) != (state.mode in ARMED):
        # The running node is adopted again by the rules of the new mode, without being interrupted.
        state.active = NO_NODE
        state.awaiting_running = 0
    for other in range(NODE_COUNT):
        state.denied[other] = 0
    state.mode = mode
    state.held = reasons.NONE
    policy.out.persist = True
    return reasons.NONE


def _switchover(policy, node: int, force: int) -> int:
    state = policy.state
    active = state.active
    if state.phase != WATCHING:
        return reasons.OTHER_OPERATION
    if state.mode not in ARMED:
        return reasons.OBSERVE_MODE if state.mode == codes.MODE_OBSERVE else reasons.FENCER_MODE
    if active == NO_NODE:
        return reasons.NOT_ACTIVE
    if node == active:
        return reasons.ALREADY_ACTIVE
    if not guards.is_fit(policy.settings, state, policy.facts, node):
        return reasons.NOT_FIT
    if force:
        reason = guards.first_reason(guards.REQUESTED, policy.settings, state, policy.facts, active)
        if reason != reasons.NONE:
            return reason
    policy.out.say(events.SWITCHOVER_BEGAN, active, reasons.OPERATOR, active, node)
    policy.prepare(active, reasons.SWITCHOVER)
    if force:
        # Asked for without a drain: the drain's time is over from the start, and its fence follows once the intent is
        # durable.
        policy.enter(DRAINING, active, node, reasons.OPERATOR)
        state.phase_ms = policy.settings.board.drain_ms
    else:
        policy.enter(DRAINING, active, node, reasons.SWITCHOVER)
        policy.out.say(events.DRAIN_ASKED, active, reasons.SWITCHOVER)
    return reasons.NONE


def _fence(policy, node: int, last: int) -> int:
    state = policy.state
    if state.mode == codes.MODE_OBSERVE:
        return reasons.OBSERVE_MODE
    reason = guards.first_reason(guards.REQUESTED, policy.settings, state, policy.facts, node)
    if reason != reasons.NONE:
        return reason
    if not last and guards.last_powered(policy.settings, state, policy.facts, node):
        return reasons.LAST_POWERED
    policy.prepare(node, reasons.OPERATOR)
    policy.enter(PREPARING, node, NO_NODE, reasons.OPERATOR)
    return reasons.NONE


def _release(policy, node: int, _argument: int) -> int:
    state = policy.state
    if policy.facts.fence[node] == IDLE:
        return reasons.WRONG_PHASE
    if state.target == node and state.phase not in (WATCHING, FAILED):
        return reasons.OTHER_OPERATION
    policy.give_back(node, reasons.OPERATOR)
    return reasons.NONE


def _clear(policy, node: int, _argument: int) -> int:
    state = policy.state
    if not state.quarantined[node] and not state.locked[node]:
        return reasons.NOT_QUARANTINED
    if policy.facts.fence[node] != IDLE:
        return reasons.OTHER_OPERATION
    if node == state.holder and state.active == NO_NODE and state.quarantined[node]:
        # Its lease became void when its fence fired: it may be active again only with a new epoch.
        return _readopt(policy, node, 0)
    policy.end_quarantine(node, reasons.OPERATOR)
    return reasons.NONE


def _readopt(policy, node: int, _argument: int) -> int:
    state = policy.state
    if state.phase != WATCHING or policy.facts.fence[node] != IDLE:
        return reasons.OTHER_OPERATION
    if state.active != NO_NODE:
        return reasons.ALREADY_ACTIVE
    if state.mode not in ARMED:
        return reasons.OBSERVE_MODE
    if not guards.is_good(policy.facts, node):
        return reasons.NOT_FIT
    state.locked[node] = 0
    state.declared = node
    return reasons.NONE


def _maintenance(policy, node: int, seconds: int) -> int:
    state = policy.state
    index = node if node != NO_NODE else NODE_COUNT
    seconds = min(seconds, policy.settings.board.maintenance_max_s)
    if seconds:
        policy.out.say(events.MAINTENANCE_BEGAN, node, reasons.OPERATOR, seconds)
    elif state.maintenance_ms[index]:
        policy.out.say(events.MAINTENANCE_ENDED, node, reasons.OPERATOR)
    state.maintenance_ms[index] = seconds * 1000
    policy.out.persist = True
    return reasons.NONE


def _approve(policy, _node: int, number: int) -> int:
    state = policy.state
    if state.phase != APPROVAL or number != state.request_number:
        return reasons.WRONG_PHASE
    policy.out.say(events.APPROVED, state.target, reasons.OPERATOR, number)
    policy.approved()
    return reasons.NONE


def _deny(policy, _node: int, number: int) -> int:
    state = policy.state
    if state.phase != APPROVAL or number != state.request_number:
        return reasons.WRONG_PHASE
    policy.out.say(events.DENIED, state.target, reasons.OPERATOR, number)
    state.denied[state.target] = 1
    policy.enter(WATCHING, NO_NODE, NO_NODE, reasons.NONE)
    return reasons.NONE


REQUESTS = {
    MODE: _mode,
    SWITCHOVER: _switchover,
    FENCE: _fence,
    RELEASE: _release,
    CLEAR: _clear,
    READOPT: _readopt,
    MAINTENANCE: _maintenance,
    APPROVE: _approve,
    DENY: _deny,
    DECLARE: _readopt,
}
