"""The exhaustive walk: every sequence of at most `budget` disturbances at any moments, to closure.

From each state either a second passes, or something happens and a second passes. States are met once. A breach is
turned into a scenario file with the way that led to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from heartwire_firmware import policy_requests as asks
from heartwire_protocol import codes
from tests.walk.bodies import ALTERED, BEATS, HALF, MUTE
from tests.walk.rules import Broken, Rules, is_due
from tests.walk.world import LINE_WORDS, NO_NODE, SETTINGS, World

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
    return found


def apply(world: World, rules: Rules, step: Step) -> bool:
    """Let `step` happen and a second pass; return False if it changes nothing and need not be walked."""
    kind, argument = step
    if kind == "tick":
        world.tick()
    elif kind == "line":
        node, mode = argument
        if world.bodies[node].line == mode or not world.bodies[node].up:
            return False
        world.bodies[node].line = mode
        world.tick()
    elif kind in ("crash", "reboot"):
        body = world.bodies[argument]
        if not body.up:
            return False
        body.up = body.running = body.lease = 0
        body.boot = 2 if kind == "reboot" else 0
        world.tick()
    elif kind == "sense":
        node, value = argument
        if world.bodies[node].stuck == value:
            return False
        world.bodies[node].stuck = value
        world.tainted = 1
        world.tick()
    elif kind == "obey":
        node, word = argument
        if world.bodies[node].obeys == word:
            return False
        world.bodies[node].obeys = word
        world.tick()
    elif kind == "state":
        node, state = argument
        body = world.bodies[node]
        if body.state == state or not body.up:
            return False
        body.state = state
        body.busy_s = BUSY_S if state in (codes.STATE_BUSY, codes.STATE_CRASH_DUMP) else 0
        world.tick()
    elif kind == "jam":
        if world.board.transfer_pins.jammed == argument:
            return False
        world.board.transfer_pins.jammed = argument
        world.tick()
    elif kind == "time":
        if world.board.clock.wall_known:
            return False
        world.board.clock.wall_known = True
        world.tick()
    elif kind == "full":
        if world.full == argument:
            return False
        world.full = argument
        world.tick()
    elif kind == "reset":
        world.boot()
        world.tick()
    elif kind == "power":
        world.lose_power()
        world.tick()
    elif kind == "cut":
        at, after = argument
        world.tick(at, after)
        return bool(world.writes > at)
    else:
        operation, node, value = argument
        if operation in (asks.APPROVE, asks.DENY):
            value = world.state.request_number
        if operation in (asks.FENCE, asks.DENY):
            world.tainted = 1
        if operation == asks.MAINTENANCE and any(body.soft_off for body in world.bodies):
            world.tainted = 1  # a cold standby is started when the proof comes, or by a person
        if operation == asks.FENCE and value:
            world.tainted = 2
        forces_s = FORCED_S if operation == asks.FENCE and value else 0
        world.tick(asks=lambda: world.ask(operation, node, value), forces_s=forces_s)
    return True


class Walk:
    """One walk; `make` gives the world it starts from, `kinds` what may happen."""

    def __init__(
        self, make: Callable[[], World], kinds: Iterable[str], budget: int, settle: Iterable[Step] = ()
    ) -> None:
        self.world = make()
        self.rules = Rules()
        self.world.observers = [self.rules]
        self.kinds = tuple(kinds)
        self.budget = budget
        self.states = 0
        self.transitions = 0
        self.before: list[Step] = []
        for _ in range(12):
            self._first(QUIET)
        for step in settle:
            self._first(step)

    def _first(self, step: Step) -> None:
        self.before.append(step)
        apply(self.world, self.rules, step)

    def run(self, limit_s: float = 600.0) -> bool:
        """Walk to closure; return False if time ran out before. Raises Broken with the way as a scenario."""
        end = time.monotonic() + limit_s
        world = self.world
        start = world.freeze()
        choices = steps(world, self.kinds)
        # state -> (budget left, the state before, the step); a state met with less budget is walked again with more.
        best: dict[Any, int] = {start: self.budget}
        came: dict[Any, tuple[Any, Step]] = {}
        layer = [start]
        left = self.budget
        while layer:
            following: list[Any] = []
            at = 0
            while at < len(layer):
                frozen = layer[at]
                at += 1
                if not at & 255 and time.monotonic() > end:
                    self.states = len(best)
                    return False
                options = [QUIET] if not left else [QUIET, *choices]
                for step in options:
                    world.thaw(frozen)
                    self.transitions += 1
                    try:
                        if not apply(world, self.rules, step):
                            continue
                        after = world.freeze()
                        if step is QUIET and after == frozen:
                            why = is_due(world)
                            if why:
                                raise Broken(f"liveness: {why}")
                    except Broken as broken:
                        raise Broken(f"{broken}\n{self._scenario(frozen, step, came)}") from broken
                    remaining = left if step is QUIET else left - 1
                    if best.get(after, -1) >= remaining:
                        continue
                    best[after] = remaining
                    came[after] = (frozen, step)
                    if step is QUIET:
                        layer.append(after)
                    else:
                        following.append(after)
            layer = following
            left -= 1
            if left < 0:
                break
        self.states = len(best)
        return True

    def _scenario(self, frozen: Any, step: Step, came: dict[Any, tuple[Any, Step]]) -> str:
        """Return the way to a breach as the text of a scenario file."""
        way = [step]
        while frozen in came:
            frozen, one = came[frozen]
            way.append(one)
        way.reverse()
        return scenario_of(self.world, self.before[12:] + way)


def scenario_of(world: World, way: list[Step]) -> str:
    """Return a scenario file of a way from the settled start."""
    mode = (
        codes.MODES[world.state.mode] if not any(one[0] == "ask" and one[1][0] == asks.MODE for one in way) else "auto"
    )
    lines = ["# A counterexample of the walk.", f"nodes {' '.join(codes.NODES[: world.count])}"]
    for line in (SETTINGS + world.extra).split():
        path, value = line.split("=")
        if not path.startswith("node.spare") or world.count > 2:
            lines.append(f"set {path} {value}")
    lines.append(f"start {mode} with a")
    names = {asks.MODE: "mode", asks.RELEASE: "release", asks.CLEAR: "clear", asks.READOPT: "readopt",
             asks.MAINTENANCE: "maintenance", asks.APPROVE: "approve", asks.DENY: "deny", asks.CANCEL: "cancel",
             asks.UPDATE: "update"}  # fmt: skip
    for second, (kind, argument) in enumerate(way):
        when = f"{second}s"
        if kind == "line":
            words = LINE_WORDS[argument[1]]
            lines.append(f"{when} {codes.NODES[argument[0]]} " + ("line deaf" if words == "deaf" else f"beats {words}"))
        elif kind == "crash":
            lines.append(f"{when} {codes.NODES[argument]} crashes")
        elif kind == "reboot":
            lines.append(f"{when} {codes.NODES[argument]} reboots")
        elif kind == "sense":
            word = {-1: "mended", codes.POWER_OFF: "stuck-off", codes.POWER_ON: "stuck-on", 0: "stuck-off"}[argument[1]]
            lines.append(f"{when} {codes.NODES[argument[0]]} sense {word}")
        elif kind == "obey":
            lines.append(f"{when} {codes.NODES[argument[0]]} {'obeys' if argument[1] else 'disobeys'}")
        elif kind == "state":
            state = codes.STATES[argument[1]]
            busy = f" for {BUSY_S}s" if state in ("busy", "crash_dump") else ""
            lines.append(f"{when} {codes.NODES[argument[0]]} reports {state}{busy}")
        elif kind == "jam":
            lines.append(f"{when} transfer {'stuck' if argument else 'mended'}")
        elif kind == "time":
            lines.append(f"{when} operator time")
        elif kind == "reset":
            lines.append(f"{when} board resets")
        elif kind in ("power", "cut"):
            lines += [f"{when} board loses-power", f"{second * 1000 + 100}ms board gets-power"]
        elif kind == "ask":
            operation, node, value = argument
            name = codes.NODES[node] if node < 3 else "board"
            if operation == asks.SWITCHOVER:
                lines.append(f"{when} operator {'emergency' if value else 'switchover'} {name}")
            elif operation == asks.FENCE:
                lines.append(f"{when} operator {'fence-last' if value else 'fence'} {name}")
            elif operation == asks.MODE:
                lines.append(f"{when} operator mode {codes.MODES[value]}")
            elif operation == asks.MAINTENANCE:
                lines.append(f"{when} operator maintenance {name} {value}")
            elif operation == asks.SCHEDULE:
                lines.append(f"{when} operator schedule {name} {value}")
            elif operation == asks.PROOF:
                lines.append(f"# {when} a test of the relay of {name} for {value} s, which a scenario cannot ask for")
            elif operation == asks.UPDATE:
                lines.append(f"{when} operator update {value}")
            else:
                lines.append(f"{when} operator {names[operation]}" + (f" {name}" if node < 3 else ""))
    lines.append(f"end {len(way) + 2}s")
    return "\n".join(lines)
