"""Requests: what an operator, a peer or a schedule asks of the policy, and the rules that may refuse it.

Each request is one function in REQUESTS, keyed by its operation number: it returns reasons.NONE if accepted, else why
not. Accepted or refused, it is journaled. Signatures and rights were checked before (hostlink, intake); nothing here
may weaken a rule of guards.py beyond what firmware/DESIGN.md says an operator may.
"""

from heartwire_firmware import fitness, guards
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import (
    APPROVAL,
    CLEAR_LATER,
    DRAINING,
    FAILED,
    FENCING,
    PREPARING,
    VOUCH,
    WATCHING,
)
from heartwire_firmware.sequencer import FAILED as FENCE_FAILED
from heartwire_firmware.sequencer import FIRED, IDLE, SURELY_OFF
from heartwire_protocol import bits, codes, events, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT
from heartwire_protocol.operations import (
    APPROVE,
    CANCEL,
    CLEAR,
    DECLARE,
    DENY,
    FENCE,
    MAINTENANCE,
    MODE,
    PRESS,
    PROOF,
    READOPT,
    RELEASE,
    SCHEDULE,
    SWITCHOVER,
    TRANSFER,
    UPDATE,
)

# What a node asks for over its own line; journaled as a fence.
PEER_FENCE = 0
# A person's word is taken while nothing moves, or where it is what is waited for.
MAY_DECLARE = (WATCHING, APPROVAL, FAILED)
# While a relay is tested, only a fence, which ends the test, and what moves nothing may be asked.
NOT_IN_A_TEST = (
    MODE, SWITCHOVER, RELEASE, CLEAR, READOPT, MAINTENANCE, DECLARE, UPDATE, PROOF, PRESS, TRANSFER,
)  # fmt: skip
# Always accepted: whatever is under way, a person can take the board's hand off the switches.
DISARM = (MODE, codes.MODE_OBSERVE)


def request(policy, operation: int, node: int, argument: int = 0, why: int = reasons.OPERATOR) -> int:
    """Carry out request `operation` for `node` with `argument`, or refuse it; return the reason of the refusal, or
    NONE. `why` is OPERATOR, PEER or BUTTON.
    """
    if node != NO_NODE and not policy.facts.enabled[node]:
        reason = reasons.UNKNOWN_NODE
    elif policy.facts.proof != NO_NODE and operation in NOT_IN_A_TEST and (operation, argument) != DISARM:
        reason = reasons.OTHER_OPERATION
    else:
        at = len(policy.out.records)
        policy.why = why
        reason = REQUESTS[operation](policy, node, argument)
        if reason == reasons.NONE:
            policy.out.records.insert(at, (events.REQUESTED, node, why, operation or FENCE, argument))
    if reason != reasons.NONE:
        policy.out.say(events.REFUSED, node, reason, operation or FENCE, argument)
    return reason


def _mode(policy, node: int, mode: int) -> int:
    """Change the mode; arming is refused while two nodes run, and takes over what runs."""
    state = policy.state
    if mode == state.mode:
        return reasons.NONE
    if mode == codes.MODE_OBSERVE:
        _stop_operation(policy)
    if state.phase != WATCHING:
        return reasons.OTHER_OPERATION
    if mode in ARMED and state.two_running:
        return reasons.TWO_RUNNING
    policy.out.say(events.MODE_CHANGED, NO_NODE, reasons.OPERATOR, mode, state.mode)
    if (mode in ARMED) != (state.mode in ARMED):
        # The running node is adopted again by the rules of the new mode, without being interrupted.
        state.active = NO_NODE
        state.last_active = NO_NODE
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


def _stop_operation(policy) -> None:
    """End what is under way. A contact that is open stays so for its time: power that comes back starts a server."""
    state = policy.state
    node = state.target
    if state.phase == DRAINING:
        policy.out.say(events.SWITCHOVER_FAILED, state.successor, reasons.OBSERVE_MODE)
    elif state.phase == APPROVAL:
        policy.out.say(events.FENCE_CANCELLED, node, reasons.OBSERVE_MODE)
        state.prepared[node] = 0
    elif state.phase == PREPARING:
        policy.out.say(events.REFUSED, node, reasons.OBSERVE_MODE, FENCE)
    policy.rest()


def _adopt_running(policy) -> None:
    """Arming takes over what runs: the running node is made the holder, so that the last holder's claim cannot revoke
    it.
    """
    state = policy.state
    for node in range(NODE_COUNT):
        runs = fitness.is_running(state, policy.facts, node)
        if runs and node != state.holder and not state.quarantined[node]:
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
    """Rule 5.13: maintenance, and a long lease for an active node that would stop without the board."""
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


def may_ask(policy, asker: int, target: int) -> int:
    """Return why `asker` may not even ask how `target` is, over its own line; or NONE."""
    if not policy.facts.enabled[target]:
        return reasons.UNKNOWN_NODE
    if not policy.settings.nodes[asker].may_fence or target == asker:
        return reasons.MAY_NOT_FENCE
    return reasons.NONE


def _peer_fence(policy, node: int, argument: int) -> int:
    asker = argument >> bits.BY_AT & bits.NODE_MASK
    reason = may_ask(policy, asker, node)
    if reason != reasons.NONE:
        return reason
    if not policy.facts.beats[asker] or policy.facts.age_ms[asker] >= policy.settings.board.late_ms:
        return reasons.NOT_FIT  # it was not heard just now; a board that has just started hears its first heartbeats
    if policy.state.quarantined[asker]:
        return reasons.FENCE_FIRED
    return _fence(policy, node, argument & ~1)


def _fence(policy, node: int, argument: int) -> int:
    """Fence a node; refused where no fit node would remain, unless the operator says so."""
    # Bit 0: the operator says so; above it who asks, for the journal only.
    state = policy.state
    if state.mode == codes.MODE_OBSERVE:
        return reasons.OBSERVE_MODE
    fence = policy.facts.fence[node]
    if fence == FIRED or fence in SURELY_OFF or (state.phase == PREPARING and state.target == node):
        return reasons.NONE  # it is under way, or done: asked again, nothing moves
    peer = policy.why == reasons.PEER
    table = guards.PEER if peer and state.mode != codes.MODE_FENCER else guards.REQUESTED
    reason = guards.first_reason(table, policy.settings, state, policy.facts, node)
    if reason != reasons.NONE:
        return reason
    state.forced = argument & 1
    if guards.last_powered(policy.settings, state, policy.facts, node):
        state.forced = 0
        return reasons.LAST_POWERED
    cause = reasons.PEER if peer else reasons.OPERATOR
    policy.prepare(node, cause)
    policy.enter(PREPARING, node, NO_NODE, cause)
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
    if not state.quarantined[node] and not state.locked[node] and not state.suspect[node]:
        return reasons.NOT_QUARANTINED
    if policy.facts.fence[node] != IDLE:
        return _clear_open(policy, node)
    if state.suspect[node]:
        state.suspect[node] = 0  # somebody has looked at its contact
        policy.out.persist = True
        if not state.quarantined[node] and not state.locked[node]:
            policy.out.say(events.CLEARED, node, reasons.OPERATOR)
            return reasons.NONE
    if node == state.holder and state.active == NO_NODE and state.quarantined[node]:
        # Its lease became void when its fence fired: it may be active again only with a new epoch.
        return _readopt(policy, node, 0)
    policy.end_quarantine(node, reasons.OPERATOR)
    return reasons.NONE


def _clear_open(policy, node: int) -> int:
    """Clear a node whose contact is open: its lock-out ends at once, its quarantine when its power comes back. After a
    fence that proved nothing it is also the word that the node is off.
    """
    state = policy.state
    if state.phase == FAILED and state.target == node:
        reason = guards.first_reason(guards.REPLACED, policy.settings, state, policy.facts, node)
        if reason != reasons.NONE:
            return reason
        _vouch(policy, node, NO_NODE)
    elif policy.facts.fence[node] not in SURELY_OFF:
        return reasons.OTHER_OPERATION
    state.locked[node] = 0
    state.actions[node] = 0
    if state.quarantined[node]:
        state.quarantined[node] = CLEAR_LATER
    policy.out.persist = True
    return reasons.NONE


def _vouch(policy, node: int, successor: int) -> None:
    policy.state.asked_beats = policy.facts.beats[node]
    policy.out.act(VOUCH, node)
    policy.enter(FENCING, node, successor, reasons.DECLARED)


def _readopt(policy, node: int, _argument: int) -> int:
    """Say who may be active: the running node again, or a successor where the board cannot know. A node that may still
    hold the role is cut off first, and must stay off.
    """
    state = policy.state
    facts = policy.facts
    if state.mode not in ARMED:
        return reasons.OBSERVE_MODE if state.mode == codes.MODE_OBSERVE else reasons.FENCER_MODE
    if facts.fence[node] != IDLE or state.phase not in MAY_DECLARE:
        return reasons.OTHER_OPERATION
    if node == state.active or (state.active != NO_NODE and facts.verdict[state.active] not in fitness.SILENT):
        return reasons.ALREADY_ACTIVE
    if not fitness.is_good(facts, node) or fitness.claims_too_much(state, facts, node):
        return reasons.NOT_FIT
    if state.long_ms and node != state.long_node:
        return reasons.LONG_LEASE
    before = state.active if state.active != NO_NODE else state.holder
    rogue = fitness.other_runs(state, facts, node)
    if rogue != NO_NODE and rogue != before:
        return _held(policy, rogue, reasons.TWO_RUNNING)
    if before == node or before == NO_NODE or state.store_empty:
        return _take_seat(policy, node)
    reason = guards.first_reason(guards.REPLACED, policy.settings, state, facts, before)
    if reason != reasons.NONE:
        return _held(policy, before, reason)
    if not fitness.is_fit(policy.settings, state, facts, node):
        if not state.quarantined[node] and not state.locked[node]:
            return reasons.NOT_FIT
        policy.end_quarantine(node, reasons.OPERATOR)
        if not fitness.is_fit(policy.settings, state, facts, node):
            return reasons.NOT_FIT
    if state.phase == APPROVAL:
        policy.drop_approval(reasons.DECLARED)
    _replace(policy, before, node)
    return reasons.NONE


def _held(policy, node: int, reason: int) -> int:
    policy.hold(node, reason)
    return reason


def _take_seat(policy, node: int) -> int:
    """Nobody else may hold the role: `node` gets it with a new epoch."""
    state = policy.state
    if state.store_empty:
        # Whose role it was is unknown: not while another one that is not heard has power.
        for other in range(NODE_COUNT):
            if other != node and policy.facts.enabled[other] and not fitness.is_good(policy.facts, other):
                if policy.facts.power[other] == codes.POWER_ON and policy.facts.fence[other] == IDLE:
                    return _held(policy, other, reasons.POWERED)
    if state.phase == APPROVAL:
        policy.drop_approval(reasons.DECLARED)
    if state.phase != WATCHING:
        return reasons.OTHER_OPERATION
    state.locked[node] = 0
    state.quarantined[node] = 0
    state.held = reasons.NONE
    policy.promote(node, reasons.OPERATOR)
    return reasons.NONE


def _replace(policy, before: int, node: int) -> None:
    """`node` follows `before`, whose contact is opened, or is open already, and which must stay off behind it."""
    state = policy.state
    fence = policy.facts.fence[before]
    method = policy.settings.nodes[before].fence
    if fence == FENCE_FAILED:
        _vouch(policy, before, node)
    elif fence in SURELY_OFF or method == "none" or method == "reset":
        # Nothing holds it off: the person's word and its sense are all there is.
        policy.retire(before, reasons.DECLARED)
        policy.promote(node, reasons.OPERATOR)
    else:
        state.prepared[before] = 0
        policy.prepare(before, reasons.DECLARED)
        policy.enter(PREPARING, before, node, reasons.DECLARED)


def _maintenance(policy, node: int, seconds: int) -> int:
    """Leave a node or the board alone for a while, at most maintenance_max_s."""
    state = policy.state
    index = node if node != NO_NODE else NODE_COUNT
    seconds = min(seconds, policy.settings.board.maintenance_max_s)
    if seconds:
        policy.out.say(events.MAINTENANCE_BEGAN, node, reasons.OPERATOR, seconds)
    elif state.maintenance_ms[index]:
        policy.out.say(events.MAINTENANCE_ENDED, node, reasons.OPERATOR)
    ends = state.maintenance_ms[index] and not seconds
    state.maintenance_ms[index] = seconds * 1000
    if ends:
        policy.maintenance_over(index)
    policy.out.persist = True
    return reasons.NONE


def _approve(policy, _node: int, number: int) -> int:
    """Let the action happen that is asked for, if the guards still allow it."""
    state = policy.state
    if state.phase != APPROVAL or number != state.request_number:
        return reasons.WRONG_PHASE
    if not policy.still_asked(state.target):
        policy.drop_approval(reasons.GOOD_AGAIN)
        return reasons.WRONG_PHASE
    policy.out.say(events.APPROVED, state.target, policy.why, number)
    policy.approved()
    return reasons.NONE


def _deny(policy, _node: int, number: int) -> int:
    """Do not let it happen; not asked again before the node was good once more."""
    state = policy.state
    if state.phase != APPROVAL or number != state.request_number:
        return reasons.WRONG_PHASE
    policy.out.say(events.DENIED, state.target, reasons.OPERATOR, number)
    policy.refuse_approval()
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
    PEER_FENCE: _peer_fence,
}
