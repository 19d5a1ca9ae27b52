"""The status as parts to print: the board in two lines, its warnings, the table of nodes, remarks on nodes.

Pure: values in, parts out; golden tests hold the result. Words for phases and warnings live here, nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

from heartwire import journal
from heartwire.answers import NodeStatus, Status
from heartwire.cli.output import Cell, Line, Part, Sheet, line
from heartwire.times import span_words
from heartwire_protocol import messages

ROLE_STYLES = {"active": "bold green", "standby": "cyan", "quarantined": "bold yellow", "offline": "dim"}
VERDICT_STYLES = {"good": "green", "late": "bold yellow", "dead": "bold red", "unheard": "dim"}
POWER_STYLES = {"on": "", "off": "bold red", "unknown": "yellow"}
MODE_STYLES = {"auto": "bold green", "approve": "bold cyan", "fencer": "bold yellow", "observe": "bold yellow"}
HEADERS = ("node", "role", "verdict", "heard", "state", "lease", "power", "relay", "epoch")
RIGHT = frozenset({3, 5, 8})
SPECIAL_STATES = ("busy", "crash_dump", "degraded", "draining")


def parts(status: Status, nodes: Sequence[NodeStatus]) -> list[Part]:
    """Return the whole view."""
    names = {node.node: node.label for node in nodes}
    result: list[Part] = [_headline(status, names), _second_line(status)]
    result += [Line([("! ", style), (text, style)]) for text, style in warnings(status, names)]
    sheet = Sheet(HEADERS, [_row(node) for node in nodes], RIGHT)
    result += [line(), sheet if nodes else line("no node is configured", "yellow")]
    remarks = [Line([(f"{node.node}: ", "bold"), (text, "")]) for node in nodes if (text := "; ".join(_remarks(node)))]
    return result + ([line(), *remarks] if remarks else [])


def troubles(status: Status, nodes: Sequence[NodeStatus]) -> list[str]:
    """Return what needs a person's attention, in words; empty if all is well and the board guards."""
    names = {node.node: node.label for node in nodes}
    found = [text for text, style in warnings(status, names) if "red" in style or "yellow" in style]
    for node in nodes:
        if node.verdict != "good" and not node.maintenance_s:
            found.append(f"{node.label} is {node.verdict}")
        if node.role == "quarantined" or node.locked or node.altered or node.half_line or node.fence == "failed":
            found.append(f"{node.label}: {'; '.join(_remarks(node)) or node.role}")
    if status.active is None and status.mode in ("auto", "approve"):
        found.append("nobody is active")
    return found


def phase_words(status: Status, names: journal.Names) -> str:
    """Return what the board is doing."""
    target = names.get(status.target or "", status.target or "a node")
    successor = names.get(status.successor or "", status.successor or "")
    then = f", then {successor}" if successor else ""
    return {
        "watching": "watching",
        "preparing": f"about to fence {target}{then}",
        "draining": f"waits for {target} to stop its services{then}",
        "fencing": f"fencing {target}{then}",
        "promoting": f"making {successor or target} active",
        "approval": f"waits for approval to fence {target}{then}",
        "failed": f"fence of {target} failed: nobody is granted",
    }.get(status.phase, status.phase)


def warnings(status: Status, names: journal.Names) -> list[tuple[str, str]]:
    """Return (words, style) of everything about the board that a person must not miss."""
    found = []
    if status.safe:
        found.append(("safe mode: no automatic action; see `heartwire log`, then `heartwire restart`", "bold red"))
    if status.phase == "failed":
        found.append((phase_words(status, names), "bold red"))
    if status.approval:
        number, left_s = status.approval.get("request", 0), status.approval.get("left_s", 0)
        target = names.get(status.target or "", status.target or "a node")
        successor = names.get(status.successor or "", status.successor or "")
        action = f"fence {target}" + (f", then promote {successor}" if successor else "")
        words = (
            f"approval {number} wanted within {span_words(left_s)}: {action}; `heartwire approve {number}` or `deny`"
        )
        found.append((words, "bold red"))
    if status.held and not status.approval:
        found.append((f"held: no action because {journal.reason_words(status.held)}", "bold red"))
    if status.mode == "observe":
        found.append(("observe mode: it decides and logs, but moves nothing; `heartwire mode auto` arms it", "yellow"))
    if status.mode == "fencer":
        found.append(("fencer mode: it acts on explicit requests only", "yellow"))
    if status.maintenance_s:
        found.append((f"maintenance of the board: {span_words(status.maintenance_s)} left", "yellow"))
    if status.bench:
        found.append(("bench timings: too short for real servers", "yellow"))
    if status.trial_s:
        found.append((f"settings on trial: they revert in {span_words(status.trial_s)}", "yellow"))
    if status.lost:
        found.append((f"{status.lost} journal records could not be written", "yellow"))
    if status.key:
        found.append(("the key switch is on: anybody with the cable may arm and update", "yellow"))
    if status.alarm and not found:
        found.append(("the alarm contact is in alarm; `heartwire log` says why", "bold red"))
    return found


def _headline(status: Status, names: journal.Names) -> Line:
    active = names.get(status.active, status.active) if status.active else None
    cells: list[Cell] = [
        (status.name or "board", "bold"),
        ("  mode ", "dim"),
        (status.mode, MODE_STYLES.get(status.mode, "")),
        ("  epoch ", "dim"),
        (str(status.epoch), "bold"),
        ("  active ", "dim"),
        (active, "bold green") if active else ("nobody", "bold red"),
    ]
    if status.holder and status.holder != status.active:
        cells += [("  holder ", "dim"), (names.get(status.holder, status.holder), "bold yellow")]
    style = "" if status.phase == "watching" else "bold red" if status.phase == "failed" else "bold yellow"
    return Line([*cells, ("  ", ""), (phase_words(status, names), style)])


def _second_line(status: Status) -> Line:
    wall = status.wall_clock
    pieces = [
        f"up {span_words(status.uptime_s)}",
        f"boot {status.boot}",
        f"settings {status.generation}",
        f"journal {status.newest}",
        f"firmware {status.version}" if status.version else "",
        f"{wall.astimezone():%Y-%m-%d %H:%M:%S}" if wall else "no wall time",
    ]
    return line("  ".join(piece for piece in pieces if piece), "dim")


def _row(node: NodeStatus) -> list[Cell]:
    heard = span_words((node.age_ms or 0) / 1000) if node.was_heard else "never"
    lease = span_words(node.lease_ms / 1000) if node.lease_ms else "-"
    return [
        (f"{node.node} {node.name}".rstrip(), "bold"),
        (node.role, ROLE_STYLES.get(node.role, "")),
        (node.verdict, VERDICT_STYLES.get(node.verdict, "")),
        (heard, VERDICT_STYLES.get(node.verdict, "")),
        (
            (node.state if node.was_heard else "").replace("_", " ") or "-",
            "yellow" if node.state in SPECIAL_STATES else "",
        ),
        (lease, "green" if node.lease_ms else "dim"),
        (node.power, POWER_STYLES.get(node.power, "")),
        ("cut", "bold red") if node.relay else ("-", "dim"),
        (str(node.epoch), ""),
    ]


def _remarks(node: NodeStatus) -> list[str]:
    found = []
    if node.fence != "idle":
        found.append(
            {
                "firing": "fence under way",
                "proven": "fenced, proven off",
                "assumed": "fenced, assumed off (not measured)",
                "failed": "fence failed: not proven off",
            }.get(node.fence, f"fence {node.fence}")
        )
    if node.locked:
        found.append(f"locked out after {node.actions} actions; `heartwire clear {node.node}`")
    elif node.role == "quarantined":
        found.append(f"quarantined; `heartwire clear {node.node}` when it is sound again")
    if node.relay and node.power == "on":
        found.append("its relay cuts, but its power is still on")
    if node.half_line:
        found.append("half line: it is heard but does not hear the board")
    if node.altered:
        found.append("altered heartbeats")
    if node.flags & messages.FLAG_RUNNING and node.role != "active":
        found.append("runs its services although it is not active")
    if node.flags & messages.FLAG_PEER_KNOWN and not node.flags & messages.FLAG_PEER_SEEN:
        found.append("does not see its peer over the network")
    if node.maintenance_s:
        found.append(f"maintenance, {span_words(node.maintenance_s)} left")
    if node.grace_s:
        found.append(f"boot grace, {span_words(node.grace_s)} left")
    if node.actions and not node.locked:
        found.append(f"{node.actions} automatic action{'s' if node.actions > 1 else ''} lately")
    if node.drops:
        found.append("dropped: " + ", ".join(f"{name} {count}" for name, count in sorted(node.drops.items())))
    return found
