"""Liveness as a rule: somebody serves within a bound wherever a server is fit and no person is needed; else an alarm
is on, and a command that is printed there is accepted.

A person is needed for the stated reasons of NEEDED only. Asked of every state of a walk: the states that follow when
nothing more happens must get to one in which somebody serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from heartwire_firmware import lights, policy_state
from heartwire_protocol import codes, operations, reasons
from tests.walk.bodies import BEATS
from tests.walk.world import NO_NODE, World

# So long at most nobody serves although a server is fit and no person is needed: a death after dead_ms, an intent, a
# fence with its proof, a grace, in the walk's settings.
SERVED_S = 24
# So long at most nobody serves and no alarm is on: until a death is noticed.
TOLD_S = 6
UNSERVED = "a server is fit, no person is needed, and nobody serves"
UNTOLD = "nobody serves and no alarm is on"

SERVES = 1  # somebody serves
DUE = 2  # somebody should: a server is fit and no person is needed
TOLD = 4  # the alarm is on, or the board is not armed, which its contact shows as well
ARMED = (codes.MODE_APPROVE, codes.MODE_AUTO)


def _holder(world: World) -> int:
    state = world.state
    return int(state.active if state.active != NO_NODE else state.holder)


def _of_holder(needed: Callable[[World, int], object]) -> Callable[[World], object]:
    """Return a reason that asks about who holds the role, if anybody does."""
    return lambda world: _holder(world) != NO_NODE and needed(world, _holder(world))


def _unknown(world: World) -> object:
    """5.2: with an empty or older store all must be heard, or a person says who."""
    if not world.state.store_empty:
        return False
    heard = [world.livenesses[node].verdict == codes.VERDICT_GOOD for node in _enabled(world)]
    return not all(heard)


def _runs_unasked(world: World, node: int) -> object:
    """5.7: its fence proved nothing or its lease is void, and it runs on."""
    return world.state.quarantined[node] and world.bodies[node].running


def _other_runs(world: World) -> object:
    """5.1: a server runs that nobody asked to."""
    return any(body.running and not body.obeys for body in world.bodies)


# Why a person is needed, by rule of heartwire_protocol/rules.py.
NEEDED: tuple[tuple[str, Callable[[World], object]], ...] = (
    ("5.5 not armed", lambda world: world.state.mode not in ARMED),
    ("5.5 approval", lambda world: world.state.mode == codes.MODE_APPROVE),
    ("5.12 safe mode", lambda world: world.state.safe_mode),
    ("5.5 maintenance of the board", lambda world: world.state.maintenance_ms[3]),
    ("5.5 maintenance", _of_holder(lambda world, node: world.state.maintenance_ms[node])),
    ("5.13 long lease", lambda world: world.state.long_ms),
    ("5.5 locked out", _of_holder(lambda world, node: world.state.locked[node])),
    ("5.5 denied", _of_holder(lambda world, node: world.state.denied[node])),
    ("5.5 its line is unproven", _of_holder(lambda world, node: world.facts.unproven[node])),
    ("5.7 nothing was proven", _of_holder(lambda world, node: world.state.failed[node])),
    ("5.7 nothing was proven", lambda world: world.state.phase == policy_state.FAILED),
    ("5.7 it runs on", _of_holder(_runs_unasked)),
    ("5.1 two run", lambda world: world.state.two_running),
    ("5.1 one runs unasked", _other_runs),
    ("5.2 store", _unknown),
    ("5.2 flash takes nothing", lambda world: world.full),
)


def _enabled(world: World) -> list[int]:
    return [node for node in range(world.count) if world.settings.nodes[node].enabled]


def _leaves(world: World) -> bool:
    """Tell whether who holds the role goes down on purpose, and is not gone yet."""
    holder = _holder(world)
    if holder == NO_NODE:
        return False
    body = world.bodies[holder]
    return bool(body.state == codes.STATE_PLANNED_OFF and body.up and body.line == BEATS)


def is_fit(world: World, node: int) -> bool:
    """Tell whether a server could serve if it were asked to, whatever the board believes."""
    state = world.state
    body = world.bodies[node]
    if state.locked[node] or state.quarantined[node] or state.maintenance_ms[node]:
        return False
    if world.settings.nodes[node].standby == "cold" and body.soft_off:
        # It is started when the proof comes; later, or in the place of one that lives, a person does.
        holder = _holder(world)
        if holder == NO_NODE or world.bodies[holder].up:
            return False
        return not (state.quarantined[holder] and state.phase == policy_state.WATCHING)
    if body.state == codes.STATE_DEGRADED and _leaves(world):
        return False  # nobody hands over to a degraded server
    heard = body.up and body.line == BEATS and body.follows == world.follows[node]
    able = body.state in (codes.STATE_HEALTHY, codes.STATE_DEGRADED) and not body.broken and body.obeys
    # It would not listen to the board.
    able = able and not body.claims and not (node == state.active and body.epoch > state.epoch)
    return bool(heard and able and body.stuck not in (codes.POWER_OFF,))


def why_person(world: World) -> str:
    """Return the stated reason why a person is needed, or ""."""
    for words, needed in NEEDED:
        if needed(world):
            return words
    return ""


def seen(world: World) -> int:
    """Return SERVES, DUE and TOLD of a world as bits."""
    state = world.state
    bits = 0
    if any(body.running and body.up for body in world.bodies):
        bits |= SERVES
    elif not why_person(world) and any(is_fit(world, node) for node in _enabled(world)):
        bits |= DUE
    if state.mode not in ARMED or lights.is_alarm(state, world.facts):
        bits |= TOLD
    return bits


def printed(world: World) -> Iterator[tuple[int, int, int]]:
    """Give what `heartwire status` and the notices would advise a person to ask for: (operation, node, argument)."""
    state = world.state
    if state.mode not in ARMED:
        yield operations.MODE, NO_NODE, codes.MODE_AUTO
        return
    if state.phase == policy_state.APPROVAL:
        yield operations.APPROVE, NO_NODE, state.request_number
    for node in _enabled(world):
        if state.locked[node] or state.quarantined[node]:
            yield operations.CLEAR, node, 0
        if state.maintenance_ms[node]:
            yield operations.MAINTENANCE, node, 0
        yield operations.DECLARE, node, 0
        yield operations.SWITCHOVER, node, 0
        yield operations.RELEASE, node, 0
        yield operations.FENCE, node, int(node == _holder(world) and not world.bodies[node].up)
    if state.maintenance_ms[3]:
        yield operations.MAINTENANCE, NO_NODE, 0


def can_be_helped(world: World) -> bool:
    """Tell whether a command can help: a server gives good heartbeats, and the board can write. Else only hands can."""
    return not world.full and any(world.livenesses[node].verdict == codes.VERDICT_GOOD for node in _enabled(world))


def accepted(world: World) -> bool:
    """Try what is printed, and tell whether one of it is accepted. The world is changed by it."""
    return any(world.board.ask(*one) == reasons.NONE for one in printed(world))
