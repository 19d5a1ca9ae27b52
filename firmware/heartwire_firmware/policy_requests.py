"""Requests: what an operator, a peer or a schedule asks of the policy, and the rules that may refuse it.

Each request is one function in REQUESTS, keyed by its operation number: it returns reasons.NONE if accepted, else why
not. Accepted or refused, it is journaled. Signatures and rights were checked before (hostlink, intake); nothing here
may weaken a rule of guards.py beyond what firmware/DESIGN.md says an operator may.
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import APPROVAL, DRAINING, FAILED, PREPARING, WATCHING
from heartwire_firmware.sequencer import IDLE
from heartwire_protocol import codes, events, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT

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
SCHEDULE = 23
CANCEL = 24
UPDATE = 25
PROOF = 33
PRESS = 34
TRANSFER = 35
# While a relay is tested, only a fence, which ends the test, and what moves nothing may be asked.
NOT_IN_A_TEST = (
    MODE, SWITCHOVER, RELEASE, CLEAR, READOPT, MAINTENANCE, DECLARE, UPDATE, PROOF, PRESS, TRANSFER,
)  # fmt: skip
SCHEDULE_MAX_S = 604800


def request(policy, operation: int, node: int, argument: int = 0, why: int = reasons.OPERATOR) -> int:
    """Carry out request `operation` for `node` with `argument`, or refuse it; return the reason of the refusal, or
    NONE. `why` is OPERATOR, PEER or BUTTON.
    """
    if node != NO_NODE and not policy.facts.enabled[node]:
        reason = reasons.UNKNOWN_NODE
    elif policy.facts.proof != NO_NODE and operation in NOT_IN_A_TEST:
        reason = reasons.OTHER_OPERATION
    else:
        at = len(policy.out.records)
        reason = REQUESTS[operation](policy, node, argument)
        if reason == reasons.NONE:
            policy.out.records.insert(at, (events.REQUESTED, node, why, operation, argument))
    if reason != reasons.NONE:
        policy.out.say(events.REFUSED, node, reason, operation, argument)
    return reason


def _mode(policy, node: int, mode: int) -> int:
    """Change the mode; arming is refused while two nodes run, and takes over what runs."""
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
    arms = mode in ARMED and state.mode not in ARMED
    state.mode = mode
    state.held = reasons.NONE
    policy.out.persist = True
    if arms and not state.store_empty and not state.safe_mode:
        _adopt_running(policy)
    return reasons.NONE


def _adopt_running(policy) -> None:
    """Arming takes over what runs: the running node is made the holder, so that the last holder's claim cannot revoke
    it.
    """
    state = policy.state
    for node in range(NODE_COUNT):
        if fitness.is_running(policy.facts, node) and node != state.holder and not state.quarantined[node]:
            policy.promote(node, reasons.OPERATOR)
            return


def _switchover(policy, node: int, force: int) -> int:
    """Move the active role: drain first, or fence at once if forced."""
    state = policy.state
    active = state.active
    reason = _may_switch(policy, node)
    if reason != reasons.NONE:
        return reason
    if policy.facts.node_state[active] == codes.STATE_DRAINING:
        return reasons.OTHER_OPERATION  # its last word on being stopped may answer an older question
    if not force:
        policy.begin_drain(node, reasons.SWITCHOVER)
        return reasons.NONE
    reason = guards.first_reason(guards.REQUESTED, policy.settings, state, policy.facts, active)
    if reason == reasons.NONE:
        # Without a drain: the drain's time is over from the start, and its fence follows once the intent is durable.
        policy.begin_drain(node, reasons.OPERATOR)
        state.phase_ms = policy.settings.board.drain_ms
    return reason


def _may_switch(policy, node: int) -> int:
    state = policy.state
    if state.phase != WATCHING:
        return reasons.OTHER_OPERATION
    if state.mode not in ARMED:
        return reasons.OBSERVE_MODE if state.mode == codes.MODE_OBSERVE else reasons.FENCER_MODE
    if state.active == NO_NODE:
        return reasons.NOT_ACTIVE
    if node == state.active:
        return reasons.ALREADY_ACTIVE
    if state.long_ms:
        return reasons.LONG_LEASE
    if not fitness.is_fit(policy.settings, state, policy.facts, node):
        return reasons.NOT_FIT
    return reasons.NONE


def _schedule(policy, node: int, seconds: int) -> int:
    """Switch over later; needs the wall time."""
    state = policy.state
    if state.mode not in ARMED:
        return reasons.OBSERVE_MODE if state.mode == codes.MODE_OBSERVE else reasons.FENCER_MODE
    if policy.facts.schedule_s == COUNT_MAX:
        return reasons.NO_WALL_TIME
    if node == state.active:
        return reasons.ALREADY_ACTIVE
    if not 0 < seconds <= SCHEDULE_MAX_S:
        return reasons.WRONG_PHASE
    state.schedule_node = node
    policy.facts.schedule_s = seconds
    policy.out.say(events.SCHEDULED, node, reasons.OPERATOR, seconds)
    policy.out.persist = True
    return reasons.NONE


def _cancel(policy, _node: int, _argument: int) -> int:
    """End a drain or a schedule."""
    state = policy.state
    if state.phase == DRAINING:
        policy.end_drain(reasons.CANCELLED)
    elif state.schedule_node != NO_NODE:
        policy.end_schedule(reasons.CANCELLED)
    else:
        return reasons.WRONG_PHASE
    return reasons.NONE


def _update(policy, _node: int, seconds: int) -> int:
    """Rule 5.12: maintenance, and a long lease for an active node that would stop without the board."""
    state = policy.state
    if state.phase != WATCHING or state.long_ms:
        return reasons.OTHER_OPERATION
    if not 0 < seconds <= policy.settings.board.update_max_s:
        return reasons.WRONG_PHASE
    active = state.active
    if active != NO_NODE and state.mode in ARMED and policy.settings.nodes[active].on_board_loss == "stop":
        state.long_ms = seconds * 1000
        state.long_node = active
        policy.out.say(events.LONG_LEASE, active, reasons.OPERATOR, seconds)
    return _maintenance(policy, NO_NODE, seconds)


def _fence(policy, node: int, argument: int) -> int:
    """Fence a node; refused where no fit node would remain, unless the operator says so."""
    # Bit 0: the operator says so; above it who asks, for the journal only.
    state = policy.state
    if state.mode == codes.MODE_OBSERVE:
        return reasons.OBSERVE_MODE
    reason = guards.first_reason(guards.REQUESTED, policy.settings, state, policy.facts, node)
    if reason != reasons.NONE:
        return reason
    state.forced = argument & 1
    if guards.last_powered(policy.settings, state, policy.facts, node):
        return reasons.LAST_POWERED
    policy.prepare(node, reasons.OPERATOR)
    policy.enter(PREPARING, node, NO_NODE, reasons.OPERATOR)
    return reasons.NONE


def _release(policy, node: int, _argument: int) -> int:
    """Give a fenced node its power back."""
    state = policy.state
    if policy.facts.fence[node] == IDLE:
        return reasons.WRONG_PHASE
    if state.target == node and state.phase not in (WATCHING, FAILED):
        return reasons.OTHER_OPERATION
    policy.give_back(node, reasons.OPERATOR)
    return reasons.NONE


def _clear(policy, node: int, _argument: int) -> int:
    """End a node's quarantine and lock-out."""
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
    """Say who may be active: the running node again, or a successor where the board cannot know."""
    state = policy.state
    if state.phase != WATCHING or policy.facts.fence[node] != IDLE:
        return reasons.OTHER_OPERATION
    if state.active != NO_NODE:
        return reasons.ALREADY_ACTIVE
    if state.mode not in ARMED:
        return reasons.OBSERVE_MODE
    if not fitness.is_good(policy.facts, node):
        return reasons.NOT_FIT
    if state.long_ms and node != state.long_node:
        return reasons.LONG_LEASE
    state.locked[node] = 0
    state.declared = node
    state.held = reasons.NONE
    return reasons.NONE


def _maintenance(policy, node: int, seconds: int) -> int:
    """Leave a node or the board alone for a while, at most maintenance_max_s."""
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
    """Let the action happen that is asked for, if the guards still allow it."""
    state = policy.state
    if state.phase != APPROVAL or number != state.request_number:
        return reasons.WRONG_PHASE
    policy.out.say(events.APPROVED, state.target, reasons.OPERATOR, number)
    policy.approved()
    return reasons.NONE


def _deny(policy, _node: int, number: int) -> int:
    """Do not let it happen; not asked again before the node was good once more."""
    state = policy.state
    if state.phase != APPROVAL or number != state.request_number:
        return reasons.WRONG_PHASE
    policy.out.say(events.DENIED, state.target, reasons.OPERATOR, number)
    state.denied[state.target] = 1
    policy.rest()
    return reasons.NONE


def _proof(policy, node: int, _seconds: int) -> int:
    return guards.first_reason(guards.PROOF, policy.settings, policy.state, policy.facts, node)


def _press(policy, node: int, _argument: int) -> int:
    if policy.settings.nodes[node].front == "none":
        return reasons.NO_FENCE
    return guards.first_reason(guards.PRESS, policy.settings, policy.state, policy.facts, node)


def _transfer(policy, node: int, _argument: int) -> int:
    """The transfer relay follows the active node in the armed modes; it is moved by hand in observe mode only."""
    if not policy.settings.board.transfer or node >= codes.NODE_SPARE:
        return reasons.POSITION
    return reasons.NONE if policy.state.mode == codes.MODE_OBSERVE else reasons.OTHER_OPERATION


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
    SCHEDULE: _schedule,
    CANCEL: _cancel,
    UPDATE: _update,
    PROOF: _proof,
    PRESS: _press,
    TRANSFER: _transfer,
}
