"""The status as parts to print: the board in two lines, its warnings, the table of nodes, remarks on nodes.

Pure: values in, parts out; golden tests hold the result. Words for phases and warnings live here, nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

from heartwire import journal, manual, next_steps
from heartwire.answers import NodeStatus, Status
from heartwire.cli.output import Cell, Line, Part, Sheet, line
from heartwire.next_steps import hears_nothing, is_heard
from heartwire.times import span_words
from heartwire_protocol import messages

ROLE_STYLES = {"active": "bold green", "standby": "cyan", "quarantined": "bold yellow", "offline": "dim"}
VERDICT_STYLES = {"good": "green", "late": "bold yellow", "dead": "bold red", "unheard": "dim"}
POWER_STYLES = {"on": "", "off": "bold red", "unknown": "yellow"}
MODE_STYLES = {"auto": "bold green", "approve": "bold cyan", "fencer": "bold yellow", "observe": "bold yellow"}
HEADERS = ("node", "role", "verdict", "heard", "state", "lease", "power", "relay", "epoch")
RIGHT = frozenset({3, 5, 8})
SPECIAL_STATES = ("busy", "crash_dump", "degraded", "draining")
AWAY_STATES = ("planned_off", "crash_dump")
FIRST_BEATS = 3
# Alarms whose steps are named, the gravest first.
HELP_MOST = 3
NO_STANDBY = "no other node is fit to take over"


def parts(status: Status, nodes: Sequence[NodeStatus]) -> list[Part]:
    """Return the whole view."""
    names = {node.node: node.label for node in nodes}
    result: list[Part] = [_headline(status, names), _second_line(status), *_crash(status)]
    for text, style in warnings(status, nodes):
        wrong = "red" in style or "yellow" in style
        result.append(Line([("! " if wrong else "- ", style), (text, style)]))
    sheet = Sheet(HEADERS, [node_cells(node) for node in nodes], RIGHT)
    result += [line(), sheet if nodes else line("no node is configured", "yellow")]
    notes = [Line([(f"{node.node}: ", "bold"), (text, "")]) for node in nodes if (text := "; ".join(remarks(node)))]
    if notes:
        result += [line(), *notes]
    return [*result, *next_parts(next_steps.steps(status, nodes)), *_help_parts(status)]


def dimmed(parts: Sequence[Part]) -> list[Part]:
    """Return the same view as something of the past."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, Line):
            found.append(Line([(text, "dim") for text, _ in part.cells]))
        else:
            rows = [[(text, "dim") for text, _ in row] for row in part.rows]
            found.append(Sheet(part.headers, rows, part.right))
    return found


def next_parts(steps: Sequence[next_steps.Step]) -> list[Part]:
    """Return the lines that say what to do now."""
    if not steps:
        return []
    rows: list[Part] = []
    width = max(len(step.command) for step in steps)
    for step in steps:
        cells: list[Cell] = [("next:  ", "dim")] if not rows else [("       ", "")]
        if step.command:
            cells += [(f"heartwire {step.command:<{width}}", "bold"), ("   ", "")]
        rows.append(Line([*cells, (step.words, "")]))
    return [line(), *rows]


def _help_parts(status: Status) -> list[Part]:
    """Return the line that says where the steps for its alarms stand."""
    found = manual.runbooks(status.alarms)[:HELP_MOST]
    return [line(), Line([("steps: ", "dim"), (", ".join(f"`{one}`" for one in found), "")])] if found else []


def troubles(status: Status, nodes: Sequence[NodeStatus]) -> list[str]:
    """Return what needs a person's attention, in words; empty if all is well and the board guards."""
    return [words for words, _ in judged(status, nodes)]


def judged(status: Status, nodes: Sequence[NodeStatus]) -> list[tuple[str, bool]]:
    """Return what needs a person's attention in words, each with whether that is now: what is red, a node that died."""
    found = [(text, "red" in style) for text, style in warnings(status, nodes) if "red" in style or "yellow" in style]
    for node in nodes:
        silent = f"{node.label} is {node.verdict}"
        named = any(silent in words for words, _ in found)  # the alarm contact stands for it
        if node.verdict != "good" and not next_steps.is_away_on_purpose(node) and not named:
            found.append((silent, node.verdict == "dead"))
        half_line = hears_nothing(node)
        if node.role == "quarantined" or node.locked or node.altered or half_line or node.fence == "failed":
            words = f"{node.label}: {'; '.join(remarks(node)) or node.role}"
            found.append((words, node.fence == "failed"))
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
        "approval": "waits for approval",
        "failed": f"fence of {target} failed: nobody is granted",
    }.get(status.phase, status.phase)


def warnings(status: Status, nodes: Sequence[NodeStatus]) -> list[tuple[str, str]]:
    """Return (words, style) of everything about the board that a person must not miss; only what is red or yellow is
    wrong.
    """
    names = {node.node: node.label for node in nodes}
    found = _at_once(status, nodes, names) + _services(status, nodes) + _states(status)
    causes = _causes(nodes)
    told = any("red" in style for _, style in found) or (not causes and (NO_STANDBY, "yellow") in found)
    if status.alarm and not told:
        words = " and ".join(causes) or "`heartwire log --limit 10` says why"
        found.append((f"the alarm contact is in alarm: {words}", "bold red"))
    return found


def _at_once(status: Status, nodes: Sequence[NodeStatus], names: journal.Names) -> list[tuple[str, str]]:
    found = []
    if status.lost_settings:
        found.append(("its settings are lost: nothing is guarded, and orders need the key switch", "bold red"))
    elif status.safe:
        found.append(("safe mode: no automatic action; `heartwire log` says why", "bold red"))
    if status.storage_bad:
        words = "its flash does not take what is written, so it fences nobody: replace the board"
        found.append((words, "bold red"))
    if status.phase == "failed":
        found.append((phase_words(status, names), "bold red"))
    if status.approval:
        number, left_s = status.approval.get("request", 0), status.approval.get("left_s", 0)
        action = next_steps.approval_words(status, nodes)
        found.append((f"approval {number} wanted within {span_words(left_s)}: {action}", "bold red"))
    if status.held and not status.approval:
        about = f" on {names.get(status.target, status.target)}" if status.target and status.phase == "watching" else ""
        found.append((f"held: no action{about} because {journal.reason_words(status.held)}", "bold red"))
    return found


def _services(status: Status, nodes: Sequence[NodeStatus]) -> list[tuple[str, str]]:
    """Do the services run, and could they go on if the active node failed?"""
    found = []
    armed = status.mode in next_steps.ARMED
    running = [node for node in nodes if next_steps.says_running(node)]
    if armed and status.active is None and not status.approval and status.phase != "failed":
        serves = "" if running else ": no services run"
        found.append((f"nobody is active{serves}", "bold red"))
    bad = next_steps.without_service(status, nodes)
    if bad is not None and next_steps.says_running(bad):
        found.append((f"{bad.label} is active, and reports degraded services", "bold red"))
    elif bad is not None and next_steps.is_starting(status, bad):
        found.append((f"{bad.label} is active, and starts its services", "yellow"))
    elif bad is not None:
        said = "" if bad.state == "healthy" else f": it reports {bad.state}"
        found.append((f"{bad.label} is active, but its services do not run{said}", "bold red"))
    if len(running) > 1:
        found.append((f"{' and '.join(node.label for node in running)} both run the services", "bold red"))
    for node in nodes:
        if node.node == status.active or not is_heard(node):
            continue
        if node.state == "degraded":
            found.append((f"{node.label} reports degraded: it may not be able to take over", "yellow"))
        if node in running and len(running) == 1 and armed and status.phase == "watching":
            found.append((f"{node.label} runs the services although it is not active", "bold red"))
    if armed and status.active and len(nodes) > 1 and status.phase == "watching":
        others = [node for node in nodes if node.node != status.active]
        if not any(next_steps.is_fit(node) for node in others):
            meant = all(next_steps.is_away_on_purpose(node) for node in others)
            found.append((NO_STANDBY, "" if meant else "yellow"))
    return found


def _states(status: Status) -> list[tuple[str, str]]:
    found = []
    if status.mode == "observe" and not status.generation:
        found.append(("the board has no settings yet: without a node's key its heartbeats may not count", "yellow"))
    if status.mode == "observe":
        found.append(("observe mode: it decides and logs, but moves nothing", "yellow"))
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
    if status.long_lease_s:
        left = span_words(status.long_lease_s)
        found.append((f"an update of the board is under way: nobody else is granted for {left}", "yellow"))
    if status.schedule:
        left_s = status.schedule_s
        when = f"in {span_words(left_s)}" if left_s is not None else "once a host has told the wall time"
        found.append((f"a switchover to {status.schedule} is scheduled {when}", "cyan"))
    return found


def _causes(nodes: Sequence[NodeStatus]) -> list[str]:
    """Return what the alarm contact stands for, as far as the nodes show it."""
    found = []
    for node in nodes:
        if node.locked:
            found.append(f"{node.label} is locked out")
        elif node.verdict in ("dead", "unheard") and not next_steps.is_away_on_purpose(node):
            found.append(f"{node.label} is {node.verdict}")
        elif hears_nothing(node):
            found.append(f"{node.label} does not hear the board")
        elif node.relay and node.power == "on":
            found.append(f"the relay of {node.label} cuts, but its power is on")
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
        f"MicroPython {status.micropython}" if status.micropython else "",
        f"{wall.astimezone():%Y-%m-%d %H:%M:%S}" if wall else "no wall time",
    ]
    return line("  ".join(piece for piece in pieces if piece), "dim")


def _crash(status: Status) -> list[Line]:
    return [line(f"last crash: {status.crash}", "dim")] if status.crash else []


def node_cells(node: NodeStatus) -> list[Cell]:
    """Return the cells of a node, under HEADERS."""
    heard = span_words((node.age_ms or 0) / 1000) if node.was_heard else "never"
    lease = span_words(node.lease_ms / 1000) if node.lease_ms else "-"
    # What it said last is no news of a node that is silent or off, unless it said why it would be.
    state = node.state if is_heard(node) or node.state in AWAY_STATES else ""
    return [
        (f"{node.node} {node.name}".rstrip(), "bold"),
        (node.role, ROLE_STYLES.get(node.role, "")),
        (node.verdict, VERDICT_STYLES.get(node.verdict, "")),
        (heard, VERDICT_STYLES.get(node.verdict, "")),
        (state.replace("_", " ") or "-", "yellow" if state in SPECIAL_STATES else ""),
        (lease, "green" if node.lease_ms else "dim"),
        (node.power, POWER_STYLES.get(node.power, "")),
        ("cut", "bold red") if node.relay else ("-", "dim"),
        (str(node.epoch), ""),
    ]


def remarks(node: NodeStatus) -> list[str]:
    """Return what else is to be known of a node."""
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
        found.append(f"locked out after {node.actions} actions")
    elif node.role == "quarantined":
        found.append("quarantined")
    if node.relay and node.power == "on":
        found.append("its relay cuts, but its power is still on")
    if node.altered:
        found.append("altered heartbeats")
    # What it said last is no news of a node that is silent or off.
    if is_heard(node):
        found += _said(node)
    if node.maintenance_s:
        found.append(f"maintenance, {span_words(node.maintenance_s)} left")
    if node.grace_s:
        found.append(f"boot grace, {span_words(node.grace_s)} left")
    if node.actions and not node.locked:
        found.append(f"{node.actions} automatic action{'s' if node.actions > 1 else ''} lately")
    # The first heartbeats of an agent answer nothing yet.
    drops = {name: count for name, count in node.drops.items() if name != "unanswered" or count > FIRST_BEATS}
    if drops:
        found.append("dropped: " + ", ".join(f"{name} {count}" for name, count in sorted(drops.items())))
    return found


def _said(node: NodeStatus) -> list[str]:
    found = []
    if hears_nothing(node):
        found.append("half line: it is heard but does not hear the board")
    if next_steps.says_running(node) and node.role != "active":
        found.append("runs its services although it is not active")
    if node.flags & messages.FLAG_PEER_KNOWN and not node.flags & messages.FLAG_PEER_SEEN:
        found.append("does not see its peer over the network")
    return found
