"""A way through the walk's world as the text of a scenario file."""

from __future__ import annotations

from heartwire_protocol import codes
from heartwire_protocol import operations as asks
from tests.walk.steps import BUSY_S, Step
from tests.walk.world import LINE_WORDS, SETTINGS, World


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
             asks.UPDATE: "update", asks.DECLARE: "declare"}  # fmt: skip
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
        elif kind == "dip":
            node, value = argument
            lines.append(f"{when} {codes.NODES[node]} sense stuck-{'on' if value == codes.POWER_ON else 'off'}")
            lines.append(f"{second * 1000 + 60}ms {codes.NODES[node]} sense mended")
        elif kind == "peer":
            lines.append(f"{when} {codes.NODES[argument[0]]} asks-to-fence {codes.NODES[argument[1]]}")
        elif kind == "claim":
            number = {"ahead": 5, "top": codes.COUNT_MAX - 1, "true": 1}[argument[1]]
            lines.append(f"{when} {codes.NODES[argument[0]]} epoch {number}")
        elif kind in ("service", "chatter", "settings", "follow", "full"):
            words = world.changes[argument][0] if kind == "settings" else argument
            lines.append(f"# {when} {kind} {words}")
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
