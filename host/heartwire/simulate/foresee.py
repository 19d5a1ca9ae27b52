"""What the board would do if a node fell silent now: its own guards, asked about its status on this host.

Pure: it fills the firmware's State and Facts with what the board has said, lets one node be silent for dead_ms while
the others go on, and asks guards.py and fitness.py, the very code that decides on the board. It decides nothing and
asks the board for nothing. What a status does not tell (how long a node will be busy, line errors) is assumed to stand
as the settings allow at most. Called by `heartwire plans`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heartwire.answers import NodeStatus, Status
from heartwire.journal import reason_words
from heartwire_firmware import fitness, guards, policy_state, sequencer
from heartwire_protocol import codes, messages, reasons, settings

NO_NODE = codes.NO_NODE
# Reasons that depend on what would be seen then, and not on what is now.
_THEN = {
    "peer_sees": "its peer does not see it either",
    "powered": "its power sense is off",
    "line_fault": "its line shows no errors",
}
_PROOF = {
    "sense": "once its power sense has stayed off for {off_stable_ms} ms",
    "assumed": "once {assumed_off_ms} ms have passed",
    "reset": "once it came back and says that its services are stopped",
}
_METHOD = {"power": "its power is cut", "reset": "it gets a reset pulse", "button": "its power button is held",
           "lease": "its lease and its watchdog are waited out", "none": "it is not fenced"}  # fmt: skip
_RECOVERY = {"notify": "it is told", "ask": "its agent is asked to restart", "reset": "it gets a reset pulse",
             "cycle": "it is power-cycled"}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What would become of one node, if it fell silent now."""

    node: str
    role: str
    outcome: str  # failover, asks, would, held, recovery, told
    successor: str | None
    after_ms: int
    forbidden: tuple[str, ...]
    only_if: tuple[str, ...]
    words: str

    def as_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "node": self.node, "role": self.role, "outcome": self.outcome, "successor": self.successor,
            "after_ms": self.after_ms, "forbidden_by": list(self.forbidden), "only_if": list(self.only_if),
            "words": self.words,
        }  # fmt: skip


def read_settings(text: str) -> settings.Settings:
    """Return the settings a board runs, from the text that it shows; its keys are left out."""
    lines = [line for line in text.splitlines() if settings.row_of(line.partition("=")[0])[0][1] != settings.KEY]
    found, problems = settings.parse("".join(f"{line}\n" for line in lines))
    if problems:
        raise ValueError(str(problems))
    return found


def foresee(found: settings.Settings, status: Status, nodes: Sequence[NodeStatus], long_lease_s: int) -> list[Plan]:
    """Return a plan for each node."""
    return [_plan(found, status, nodes, long_lease_s, one) for one in nodes]


def _plan(
    found: settings.Settings, status: Status, nodes: Sequence[NodeStatus], long_lease_s: int, one: NodeStatus
) -> Plan:
    state, facts = _then(found, status, nodes, long_lease_s, one)
    node = codes.NODES.index(one.node)
    alone = fitness.is_alone(found, facts, node)
    fails_over = status.active == one.node and not alone
    table = guards.AUTOMATIC if fails_over else guards.RECOVERY_AT_FIRE
    forbidden = []
    for reason, guard in table:
        name = reasons.NAMES[reason]
        if guard(found, state, facts, node) and name not in forbidden:
            forbidden.append(name)
    only_if = [words for name, words in _THEN.items() if _wants(found, node, name)]
    forbidden = [name for name in forbidden if name not in _THEN]
    other = fitness.successor_of(found, state, facts, node)
    if other == NO_NODE:
        other = fitness.cold_successor_of(found, state, facts, node)
    successor = codes.NODES[other] if other != NO_NODE and fails_over else None
    outcome = _outcome(found, forbidden, fails_over, node)
    labels = {entry.node: entry.label for entry in nodes}
    words = _words(found, one, outcome, labels.get(successor or "", ""), forbidden, only_if)
    return Plan(
        one.node, one.role, outcome, successor, found.board.dead_ms, tuple(forbidden), tuple(only_if), words
    )  # fmt: skip


def _wants(found: settings.Settings, node: int, name: str) -> bool:
    sign = found.nodes[node].second_sign
    return bool(sign == "any" or {"peer_sees": "peer", "powered": "power", "line_fault": "line"}[name] == sign)


def _outcome(found: settings.Settings, forbidden: list[str], fails_over: bool, node: int) -> str:
    if not fails_over and found.nodes[node].recovery == "notify":
        return "told"
    if not forbidden:
        return "failover" if fails_over else "recovery"
    if forbidden == ["needs_approval"]:
        return "asks"
    return "would" if forbidden == ["observe_mode"] else "held"


def _words(
    found: settings.Settings, one: NodeStatus, outcome: str, successor: str, forbidden: list[str], only_if: list[str]
) -> str:
    row = found.nodes[codes.NODES.index(one.node)]
    silent_ms = found.board.dead_ms
    if outcome == "recovery" and row.recovery in ("reset", "cycle") and one.power != "off":
        # It may be booting by itself: firmware/DESIGN.md.
        silent_ms = max(silent_ms, one.slowest_boot_s * 1250 or row.boot_grace_ms)
    begin = f"{one.label}, {one.role}: after {silent_ms / 1000:g} s of silence"
    if outcome == "told":
        return f"{begin} it is told, and nothing is done to it (recovery = notify)"
    if outcome == "held":
        return f"{begin} nothing is done, because {'; '.join(reason_words(name) for name in forbidden)}"
    condition = f", if {' and '.join(only_if)}," if only_if else ""
    if successor:
        proof = _PROOF.get("reset" if row.fence == "reset" else row.off_proof, "").format(
            off_stable_ms=found.board.off_stable_ms, assumed_off_ms=row.assumed_off_ms
        )
        what = f"{_METHOD[row.fence]}{condition} and {proof}, {successor} takes over"
        if row.fence in ("power", "button") and row.off_proof == "sense" and one.power != "on":
            what += f"; but its power sense reads {one.power} now, so nothing would be proven and nobody be granted"
    else:
        what = f"{_RECOVERY[row.recovery]}{condition} to bring it back".replace(", to", " to")
    if outcome == "asks":
        return f"{begin} a person is asked; approved, {what}"
    if outcome == "would":
        return f"{begin} nothing is done in observe mode; armed, {what}"
    return f"{begin} {what}"


def _then(
    found: settings.Settings, status: Status, nodes: Sequence[NodeStatus], long_lease_s: int, silent: NodeStatus
) -> tuple[policy_state.State, policy_state.Facts]:
    """Return what the policy would know when `silent` has been silent for dead_ms and the others went on."""
    state, facts = policy_state.State(), policy_state.Facts()
    wait_ms = found.board.dead_ms if silent.verdict in ("good", "late") else 0
    state.mode = codes.MODES.index(status.mode)
    state.epoch = facts.durable_epoch = status.epoch
    state.holder = facts.durable_holder = _index(status.holder)
    state.active = _index(status.active)
    state.safe_mode = int(status.safe)
    state.phase = policy_state.PHASES.index(status.phase)
    state.start_ms = status.uptime_s * 1000 + wait_ms
    state.maintenance_ms[codes.NODE_COUNT] = max(0, status.maintenance_s * 1000 - wait_ms)
    if long_lease_s:
        state.long_ms, state.long_node = max(0, long_lease_s * 1000 - wait_ms), state.active
    for one in nodes:
        node = codes.NODES.index(one.node)
        state.role[node] = codes.ROLES.index(one.role)
        state.quarantined[node] = int(one.role == "quarantined")
        state.locked[node] = int(one.locked)
        state.maintenance_ms[node] = max(0, one.maintenance_s * 1000 - wait_ms)
        state.grace_ms[node] = max(0, one.grace_s * 1000 - wait_ms)
        state.watchdog_seen[node] = int(bool(one.flags & messages.FLAG_WATCHDOG_ARMED))
        facts.enabled[node] = True
        facts.verdict[node] = codes.number_of(codes.VERDICTS, one.verdict)
        facts.beats[node] = one.beats
        facts.age_ms[node] = 0 if one.verdict == "good" else min(codes.COUNT_MAX, (one.age_ms or 0) + wait_ms)
        facts.sign_ms[node] = facts.age_ms[node] if one.was_heard else codes.COUNT_MAX
        facts.node_state[node] = codes.number_of(codes.STATES, one.state) if one.state else 0
        facts.busy_s[node] = found.nodes[node].busy_max_s
        facts.flags[node] = one.flags
        facts.half_line[node], facts.altered[node] = one.half_line, one.altered
        facts.power[node] = codes.number_of(codes.POWERS, one.power)
        facts.power_full[node] = one.power == "on"
        facts.fence[node] = sequencer.NAMES.index(one.fence)
        facts.intent_durable[node] = True
        facts.keyed[node] = bool(found.nodes[node].profile != "text")
    node = codes.NODES.index(silent.node)
    if wait_ms:
        facts.verdict[node] = codes.VERDICT_DEAD
        facts.age_ms[node] = facts.sign_ms[node] = found.board.dead_ms
    return state, facts


def _index(node: str | None) -> int:
    return codes.NODES.index(node) if node else NO_NODE
