"""What can happen in the walk's world: the steps by kind, and how each is done.

A step is (kind, argument). Each lets a second pass, with what happens at its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from heartwire_protocol import codes
from heartwire_protocol import operations as asks
from tests.walk.bodies import ALTERED, BEATS, HALF, MUTE
from tests.walk.world import BOOT_TICKS, NO_NODE, World

Step = tuple[str, Any]  # kind, argument
QUIET: Step = ("tick", None)
# What a node says of itself; busy and dumping for BUSY_S.
SAID = (codes.STATE_HEALTHY, codes.STATE_DEGRADED, codes.STATE_BUSY, codes.STATE_PLANNED_OFF, codes.STATE_STARTING,
        codes.STATE_CRASH_DUMP)  # fmt: skip
BUSY_S = 3
# A forced fence may wait so long for its intent to be durable; after that its word is an old one.
FORCED_S = 6


def steps(world: World, kinds: Iterable[str]) -> list[Step]:
    """Return what can happen in `world`, of the wanted kinds."""
    found: list[Step] = []
    nodes = range(world.count)
    for kind in kinds:
        if kind == "lines":
            found += [("line", (n, mode)) for n in nodes for mode in (BEATS, MUTE, ALTERED, HALF)]
        elif kind == "mute":
            found += [("line", (n, mode)) for n in nodes for mode in (BEATS, MUTE)]
        elif kind == "crash":
            found += [("crash", n) for n in nodes]
        elif kind == "reboot":
            found += [("reboot", n) for n in nodes]
        elif kind == "sense":
            found += [("sense", (n, v)) for n in nodes for v in (-1, codes.POWER_OFF, codes.POWER_ON, 0)]
        elif kind == "board":
            found += [("reset", None), ("power", None), ("full", 0), ("full", 1)]
            found += [("cut", (at, after)) for at in range(4) for after in (False, True)]
        elif kind == "operator":
            found += [("ask", (asks.SWITCHOVER, n, force)) for n in nodes for force in (0, 1)]
            found += [("ask", (asks.FENCE, n, last)) for n in nodes for last in (0, 1)]
            found += [("ask", (op, n, 0)) for n in nodes for op in (asks.RELEASE, asks.CLEAR, asks.READOPT)]
            found += [("ask", (asks.CANCEL, NO_NODE, 0)), ("ask", (asks.APPROVE, NO_NODE, 1))]
            found += [("ask", (asks.DENY, NO_NODE, 1)), ("ask", (asks.UPDATE, NO_NODE, 13))]
            found += [("ask", (asks.MAINTENANCE, n, 4)) for n in (*nodes, NO_NODE)]
        elif kind == "modes":
            found += [("ask", (asks.MODE, NO_NODE, mode)) for mode in range(4)]
        elif kind == "drain":
            found += [("obey", (n, word)) for n in nodes for word in (0, 1)]
            found += [("ask", (asks.SWITCHOVER, n, 0)) for n in nodes] + [("ask", (asks.CANCEL, NO_NODE, 0))]
        elif kind == "states":
            found += [("state", (n, state)) for n in nodes for state in SAID]
        elif kind == "transfer":
            found += [("jam", 0), ("jam", 1)]
            found += [("ask", (asks.SWITCHOVER, n, force)) for n in nodes for force in (0, 1)]
        elif kind == "schedule":
            found += [("ask", (asks.SCHEDULE, n, 4)) for n in nodes]
            found += [("ask", (asks.CANCEL, NO_NODE, 0)), ("time", None)]
        elif kind == "proof":
            found += [("ask", (asks.PROOF, n, 3)) for n in nodes]
            found += [("ask", (asks.MAINTENANCE, n, seconds)) for n in (*nodes, NO_NODE) for seconds in (0, 13)]
        elif kind == "word":
            found += [("ask", (asks.APPROVE, NO_NODE, 1)), ("ask", (asks.DENY, NO_NODE, 1))]
        elif kind == "declare":
            found += [("ask", (asks.DECLARE, n, 0)) for n in nodes]
        elif kind == "disarm":
            found += [("ask", (asks.MODE, NO_NODE, mode)) for mode in (codes.MODE_OBSERVE, codes.MODE_FENCER)]
        elif kind == "arm":
            found += [("ask", (asks.MODE, NO_NODE, codes.MODE_AUTO))]
        elif kind == "full":
            found += [("full", 0), ("full", 1)]
        elif kind == "fence":
            found += [("ask", (asks.FENCE, n, 0)) for n in nodes]
        elif kind == "dip":
            found += [("dip", (n, v)) for n in nodes for v in (codes.POWER_OFF, codes.POWER_ON)]
        elif kind == "chatter":
            found += [("chatter", (n, v)) for n in nodes for v in (0, 1)]
        elif kind == "peer":
            found += [("peer", (n, other)) for n in nodes for other in nodes if n != other]
        elif kind == "claim":
            found += [("claim", (n, how)) for n in nodes for how in ("ahead", "top", "true")]
        elif kind == "service":
            found += [("service", (n, how)) for n in nodes for how in (0, 1, 2)]
        elif kind == "settings":
            found += [("settings", variant) for variant in range(len(world.changes))]
            found += [("follow", n) for n in nodes]
    return found


def _line(world: World, argument: Any) -> bool:
    node, mode = argument
    body = world.bodies[node]
    if body.line == mode or not body.up:
        return False
    body.line = mode
    return True


def _crash(world: World, node: int) -> bool:
    body = world.bodies[node]
    if not body.up:
        return False
    body.up = body.running = body.lease = body.boot = 0
    return True


def _reboot(world: World, node: int) -> bool:
    if not _crash(world, node):
        return False
    world.bodies[node].boot = BOOT_TICKS
    return True


def _body(name: str) -> Callable[[World, Any], bool]:
    """Return what sets field `name` of a server."""

    def change(world: World, argument: Any) -> bool:
        node, value = argument
        if getattr(world.bodies[node], name) == value:
            return False
        setattr(world.bodies[node], name, value)
        return True

    return change


def _sense(world: World, argument: Any) -> bool:
    if not _body("stuck")(world, argument):
        return False
    world.tainted = max(world.tainted, 1)
    return True


def _chatter(world: World, argument: Any) -> bool:
    if not _body("chatters")(world, argument):
        return False
    world.tainted = max(world.tainted, 1)
    return True


def _dip(world: World, argument: Any) -> bool:
    world.dip = argument
    return True


def _state(world: World, argument: Any) -> bool:
    node, state = argument
    body = world.bodies[node]
    if not body.up or not _body("state")(world, argument):
        return False
    body.busy_s = BUSY_S if state in (codes.STATE_BUSY, codes.STATE_CRASH_DUMP) else 0
    return True


def _service(world: World, argument: Any) -> bool:
    """Let the services of a node fail for good under a living agent, or be mended."""
    node, how = argument
    body = world.bodies[node]
    if not body.up or not _body("broken")(world, argument):
        return False
    if how and body.running:
        body.running, body.stopped, body.state = 0, how - 1, codes.STATE_DEGRADED
    elif not how:
        body.state = codes.STATE_HEALTHY
        # Under its lease an agent starts again what it has not stopped.
        body.running = int(body.lease > 0 and not body.stopped)
    return True


def _claim(world: World, argument: Any) -> bool:
    """Let a node say that it knows a higher epoch: three more than the board's, or one near the top."""
    node, how = argument
    body = world.bodies[node]
    if how == "ahead":
        body.epoch = world.state.epoch + 3
        return True
    return _body("claims")(world, (node, int(how == "top")))


def _jam(world: World, jammed: int) -> bool:
    if world.board.transfer_pins.jammed == jammed:
        return False
    world.board.transfer_pins.jammed = jammed
    return True


def _time(world: World, _argument: Any) -> bool:
    if world.board.clock.wall_known:
        return False
    world.board.clock.wall_known = True
    return True


def _full(world: World, full: int) -> bool:
    if world.full == full:
        return False
    world.full = full
    return True


def _reset(world: World, _argument: Any) -> bool:
    world.boot()
    return True


def _power(world: World, _argument: Any) -> bool:
    world.lose_power()
    return True


def _follow(world: World, node: int) -> bool:
    """Give the agent of a node the key and the baud rate that the board has for it."""
    return _body("follows")(world, (node, world.follows[node]))


# What changes the world before the second passes; each returns False if it changes nothing.
_BEFORE: dict[str, Callable[[World, Any], bool]] = {
    "tick": lambda _world, _argument: True,
    "line": _line,
    "crash": _crash,
    "reboot": _reboot,
    "sense": _sense,
    "chatter": _chatter,
    "dip": _dip,
    "obey": _body("obeys"),
    "state": _state,
    "service": _service,
    "claim": _claim,
    "jam": _jam,
    "time": _time,
    "full": _full,
    "reset": _reset,
    "power": _power,
    "follow": _follow,
}


def apply(world: World, step: Step) -> bool:
    """Let `step` happen and a second pass; return False if it changes nothing and need not be walked."""
    kind, argument = step
    before = _BEFORE.get(kind)
    if before is not None:
        if not before(world, argument):
            return False
        world.tick()
    elif kind == "cut":
        at, after = argument
        world.tick(at, after)
        return bool(world.writes > at)
    elif kind == "peer":
        node, target = argument
        if not world.bodies[node].up or world.bodies[node].line != BEATS:
            return False
        world.tick(asks=lambda: world.peer_asks(node, target))
    elif kind == "settings":
        if world.variant == argument:
            return False
        world.tick(asks=lambda: world.apply_settings(argument))
    else:
        _ask(world, *argument)
    return True


def _ask(world: World, operation: int, node: int, value: int) -> None:
    if operation in (asks.APPROVE, asks.DENY):
        value = world.state.request_number
    if operation in (asks.FENCE, asks.DENY):
        world.tainted = max(world.tainted, 1)
    if operation == asks.MAINTENANCE and any(body.soft_off for body in world.bodies):
        world.tainted = max(world.tainted, 1)  # a cold standby is started when the proof comes, or by a person
    if operation == asks.FENCE and value:
        world.tainted = 2
    forces_s = FORCED_S if operation == asks.FENCE and value else 0
    world.tick(asks=lambda: world.ask(operation, node, value), forces_s=forces_s)
