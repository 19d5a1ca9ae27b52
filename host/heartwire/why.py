"""Why the board did what it did: one decision of the journal told in plain sentences, with its rule and its evidence.

It reads entries and nothing else, so it works on a live board and on a saved journal. The rules are those of
heartwire_protocol/rules.py; tests hold AUTOMATIC_ORDER equal to the firmware's guards. Called by `heartwire why`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from heartwire.errors import UsageProblem
from heartwire.journal import Entry, Names, reason_words
from heartwire_protocol import rules

# What people ask about first; without a number the newest of these is explained, else the newest of DECISIONS.
MAIN = ("fence_fired", "granted", "adopted", "held", "would_fence", "off_failed", "approval_asked", "switchover_failed")
# Events that decide something.
DECISIONS = (
    "fence_fired", "granted", "held", "would_fence", "adopted", "refused", "off_failed", "locked_out",
    "switchover_failed", "approval_asked", "approval_expired", "fence_cancelled", "relay_released", "recovery_step",
    "start_asked", "schedule_ended", "fence_resumed", "drain_timeout", "revoked",
)  # fmt: skip
# What every automatic fence had to pass, in this order: the reasons that would have forbidden it.
AUTOMATIC_ORDER = (
    "observe_mode", "fencer_mode", "safe_mode", "on_trial", "maintenance", "long_lease", "locked_out", "heard",
    "never_heard", "unproven_line", "boot_grace", "half_line", "line_fault", "busy", "starting", "common_cause",
    "peer_sees", "powered", "no_fence", "watchdog_unarmed", "no_successor", "not_durable", "needs_approval",
)  # fmt: skip
_LEADS = (
    "late", "dead", "altered", "half_line", "line_fault", "sense_changed", "all_silent", "two_running",
    "fence_prepared", "requested", "approval_asked", "approved", "drain_asked", "drained", "drain_timeout",
    "switchover_began", "off_proven", "off_assumed", "off_failed", "fence_fired", "store_empty", "boot",
    "safe_mode", "scheduled", "start_asked", "settings_trial", "settings_confirmed", "settings_reverted",
    "mode_changed", "maintenance_began", "maintenance_ended",
)  # fmt: skip
_FOLLOWS = (
    "off_proven", "off_assumed", "off_failed", "granted", "running", "relay_released", "switchover_done",
    "locked_out", "approved", "denied", "fence_fired", "start_failed",
)  # fmt: skip
# How far back and ahead a decision is looked at.
BEFORE_MS = 120_000
# A burst of records is not a longer story: a failover with all its evidence is about thirty.
STORY_RECORDS = 400
AFTER_MS = 60_000


@dataclass(frozen=True)
class Why:
    """A decision and what belongs to it."""

    decision: Entry
    rule: str
    evidence: tuple[Entry, ...]
    led: tuple[Entry, ...]
    followed: tuple[Entry, ...]
    passed: tuple[str, ...]
    fence: Why | None = None  # the fence that it came from

    def lines(self, names: Names | None = None) -> list[str]:
        """Return it in plain sentences."""
        decision = self.decision
        found = [f"{decision.sequence}: {decision.sentence(names)}"]
        if decision.wall is not None:
            found.append(f"At {decision.wall.astimezone():%Y-%m-%d %H:%M:%S}.")
        if decision.reason != "none":
            found.append(f"Because {reason_words(decision.reason)}.")
        if self.rule:
            found.append(f"Rule {self.rule}: {rules.sentence(self.rule)}.")
        found += _part("What led to it", [_timed(one, decision, names) for one in self.led])
        found += _part("Evidence at that moment", [one.sentence(names) for one in self.evidence])
        found += _part("What else was considered, and did not stand against it", [_not(one) for one in self.passed])
        found += _part("What followed", [_timed(one, decision, names) for one in self.followed])
        if self.fence is not None:
            found += ["", "The fence before it:", *self.fence.lines(names)]
        return found

    def as_json(self, names: Names | None = None) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "decision": self.decision.as_json(names),
            "rule": self.rule or None,
            "rule_words": rules.sentence(self.rule) if self.rule else None,
            "evidence": [one.as_json(names) for one in self.evidence],
            "led": [one.as_json(names) for one in self.led],
            "passed": list(self.passed),
            "followed": [one.as_json(names) for one in self.followed],
            "fence": self.fence.as_json(names) if self.fence else None,
        }


def explain(entries: Iterable[Entry], sequence: int | None = None) -> Why:
    """Explain record `sequence`, or the newest of MAIN, and then the fence that it came from.

    Raises UsageProblem where there is no such record.
    """
    rows = list(entries)
    at = _find(rows, sequence)
    found = _explain(rows, at)
    if sequence is None and rows[at].event != "fence_fired":
        fired = [one for one in found.led if one.event == "fence_fired"]
        if fired:
            return replace(found, fence=_explain(rows, rows.index(fired[-1])))
    return found


def needed(pieces: Iterable[Sequence[Entry]], sequence: int | None = None) -> list[Entry]:
    """Return what `explain` needs of a journal read from its end, in pieces each in order, and no piece more."""
    rows: list[Entry] = []
    for piece in pieces:
        rows = [*piece, *rows]
        at = _place(rows, sequence, MAIN)
        if at is None:
            continue
        first, decision = rows[0], rows[at]
        if at >= STORY_RECORDS:
            break
        if first.boot != decision.boot or decision.uptime_ms - first.uptime_ms > 2 * BEFORE_MS:
            break
    return rows


def _explain(rows: Sequence[Entry], at: int) -> Why:
    decision = rows[at]
    evidence = []
    for one in rows[at + 1 :]:
        if one.event == "evidence" and one.boot == decision.boot:
            evidence.append(one)
        elif one.event not in ("role_changed", "would_grant") or one.uptime_ms - decision.uptime_ms > 50:
            break
    return Why(
        decision,
        rules.rule_of(decision.event, decision.reason),
        tuple(evidence),
        tuple(_around(rows[_story_begins(rows, at) : at], decision, _LEADS)),
        tuple(_around(rows[at + 1 :], decision, _FOLLOWS)),
        _passed(decision),
    )


def _story_begins(rows: Sequence[Entry], at: int) -> int:
    """Return where what led to a decision of MAIN can begin: behind the activation before it."""
    if rows[at].event in MAIN:
        for index in range(at - 1, -1, -1):
            if rows[index].event in ("granted", "adopted"):
                return index + 1
    return 0


def _place(rows: Sequence[Entry], sequence: int | None, events: tuple[str, ...]) -> int | None:
    for index in range(len(rows) - 1, -1, -1):
        if rows[index].sequence == sequence or (sequence is None and rows[index].event in events):
            return index
    return None


def _find(rows: Sequence[Entry], sequence: int | None) -> int:
    for events in (MAIN, DECISIONS):
        at = _place(rows, sequence, events)
        if at is not None:
            return at
    what = "no decision is left in the journal" if sequence is None else f"record {sequence} is not in the journal"
    raise UsageProblem(what, "`heartwire log --limit 0` shows every record that the board still has")


def _around(rows: Sequence[Entry], decision: Entry, events: tuple[str, ...]) -> list[Entry]:
    """Return the rows of the same boot that belong to the decision, in order."""
    found = []
    for one in rows:
        apart_ms = one.uptime_ms - decision.uptime_ms
        # An event of a newer version may belong to it: better shown than left out.
        belongs = one.event in events or one.event.startswith("#")
        if one.boot == decision.boot and -BEFORE_MS <= apart_ms <= AFTER_MS and belongs:
            found.append(one)
    return found[-12:] if rows and rows[-1].sequence < decision.sequence else found[:12]


def _passed(decision: Entry) -> tuple[str, ...]:
    """Return the reasons that were asked and did not forbid: all for an automatic fence, those before for a hold."""
    automatic = decision.reason in ("dead", "holder_missing", "recovery")
    if decision.event == "fence_fired" and automatic:
        return AUTOMATIC_ORDER
    if decision.event == "would_fence":
        return AUTOMATIC_ORDER[2:-3]
    if decision.event == "approval_asked":
        return AUTOMATIC_ORDER[:-1]
    if decision.event == "held" and decision.reason in AUTOMATIC_ORDER:
        return AUTOMATIC_ORDER[: AUTOMATIC_ORDER.index(decision.reason)]
    return ()


def _not(reason: str) -> str:
    return f"not so: {reason_words(reason)}"


def _timed(one: Entry, decision: Entry, names: Names | None) -> str:
    seconds = (one.uptime_ms - decision.uptime_ms) / 1000
    return f"{seconds:+9.3f} s  {one.sentence(names)}"


def _part(title: str, lines: list[str]) -> list[str]:
    return [f"{title}:", *[f"  {line}" for line in lines]] if lines else []
