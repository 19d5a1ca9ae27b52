"""Runs a scenario on a stage and judges it: each expectation by what happened, with the timeline around a failure.

A stage (policy_stage, virtual_stage) makes things happen and tells what did; it judges nothing, and this module touches
no board. Called by `heartwire simulate` and by tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from heartwire.simulate.language import Action, Expect, Look, Scenario
from heartwire_protocol import codes, events, reasons

AROUND_MS = 15000
LOOK_AGAIN_MS = 200


@dataclass(frozen=True)
class Happened:
    """One thing of the timeline: a journal record, or (event "") words about something else."""

    ms: int
    event: str
    node: str
    reason: str
    a: int = 0
    b: int = 0
    words: str = ""

    def __str__(self) -> str:
        if not self.event:
            return f"{self.ms / 1000:9.3f} s  {self.words}"
        because = f" because {self.reason}" if self.reason != "none" else ""
        return f"{self.ms / 1000:9.3f} s  {self.event} {self.node}{because} ({self.a}, {self.b})"


class Stage(Protocol):
    """What a tier gives: time, things that happen, and what can be seen."""

    happened: list[Happened]
    slack_ms: int  # how exact its times are

    def run_until(self, ms: int) -> None:
        """Let time pass up to `ms` of the scenario."""

    def catch_up(self) -> None:
        """Bring `happened` up to now."""

    def do(self, action: Action) -> str | None:
        """Let something happen; return the name of the reason if the board refused it."""

    def look(self, what: str, node: str | None) -> str:
        """Return what is to be seen now."""

    def violations(self) -> list[tuple[int, str]]:
        """Return breaches of what must hold on every stage."""

    def close(self) -> None:
        """End everything."""


@dataclass
class Verdict:
    """What became of a scenario."""

    scenario: Scenario
    failures: list[str]
    timeline: list[Happened]

    @property
    def held(self) -> bool:
        """Tell whether every expectation held."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Return the verdict ready for JSON."""
        return {
            "scenario": self.scenario.name,
            "title": self.scenario.title,
            "held": self.held,
            "failures": self.failures,
            "expectations": len(self.scenario.expectations) + len(self.scenario.looks),
            "events": len(self.timeline),
        }


def record(ms: int, event: int, node: int, reason: int, a: int, b: int) -> Happened:
    """Return a journal record as it stands in a timeline."""
    row = events.event_row(event)
    name = row[1] if row else f"#{event}"
    return Happened(
        ms,
        name,
        codes.name_of(codes.NODES, node) if node < codes.NODE_COUNT else "",
        codes.name_of(reasons.REASONS, reason),
        a,
        b,
    )


def run(scenario: Scenario, stage: Stage) -> Verdict:
    """Run `scenario` on `stage`, which has been started and settled, and judge it."""
    failures: list[str] = []
    # What is looked at is what was before anything happens at that moment.
    stops: list[tuple[int, int, Action | Look]] = [(action.ms, 1, action) for action in scenario.actions]
    stops += [(look.ms, 0, look) for look in scenario.looks]
    for ms, _, step in sorted(stops, key=lambda stop: (stop[0], stop[1], stop[2].line)):
        stage.run_until(ms)
        if isinstance(step, Action):
            failures += _act(scenario, stage, step)
        else:
            seen = _look(stage, step)
            if seen != step.value:
                failures.append(_failure(scenario, stage, step.line, step.ms, f"it is {seen}"))
    stage.run_until(scenario.end_ms)
    stage.catch_up()
    for expect in scenario.expectations:
        failures += _judge(scenario, stage, expect)
    for ms, words in stage.violations():
        failures.append(_failure(scenario, stage, 0, ms, words))
    return Verdict(scenario, failures, list(stage.happened))


def _look(stage: Stage, look: Look) -> str:
    """Return what is to be seen; where times are not exact, it may become so a little later."""
    ms = look.ms
    seen = stage.look(look.what, look.node)
    while seen != look.value and ms < look.ms + stage.slack_ms:
        ms += LOOK_AGAIN_MS
        stage.run_until(ms)
        seen = stage.look(look.what, look.node)
    return seen


def _act(scenario: Scenario, stage: Stage, action: Action) -> list[str]:
    subject = "" if action.subject == "operator" else action.subject
    stage.happened.append(Happened(action.ms, "", subject, "", words=f"-- {action}"))
    refused = stage.do(action)
    if refused != action.refused:
        what = f"refused: {refused}" if refused else "it was not refused"
        return [_failure(scenario, stage, action.line, action.ms, what)]
    return []


def _judge(scenario: Scenario, stage: Stage, expect: Expect) -> list[str]:
    found = [one for one in stage.happened if _matches(one, expect)]
    # In real time, a moment more or less is no fault of the policy: what must come may come a little outside its span,
    # what must not come too often is not counted at its end.
    slack_ms = stage.slack_ms
    near = [one for one in found if expect.after - slack_ms <= one.ms <= expect.by + slack_ms]
    inside = [one for one in found if expect.after <= one.ms <= expect.by - slack_ms]
    if len(near) >= expect.least and len(inside) <= expect.most:
        return []
    if len(inside) > expect.most:
        first = inside[expect.most]
        when = f"it happened at {first.ms / 1000:.3f} s"
        if expect.most:
            when = f"it happened {len(inside)} times{_moments(inside)}"
        return [_failure(scenario, stage, expect.line, first.ms, when)]
    when = f"only{_moments(found)}" if found else "it did not happen"
    if expect.least > 1:
        when = f"it happened {len(near)} times{_moments(near)}"
    return [_failure(scenario, stage, expect.line, min(expect.by, scenario.end_ms), when)]


def _moments(found: list[Happened]) -> str:
    """Say when things happened: the first three, and the last."""
    if len(found) > 4:
        return f"{_moments(found[:3])} ... {found[-1].ms / 1000:.3f} s"
    return f" at {', '.join(f'{one.ms / 1000:.3f} s' for one in found)}" if found else ""


def _matches(one: Happened, expect: Expect) -> bool:
    if one.event != expect.event or (expect.node is not None and one.node != expect.node):
        return False
    return expect.reason is None or one.reason == expect.reason


def _failure(scenario: Scenario, stage: Stage, line: int, ms: int, words: str) -> str:
    """Say what failed, with the timeline around it."""
    head = f"{scenario.name}:{line}: {scenario.lines[line - 1].strip()}"
    if not line:
        head = f"{scenario.name}: a rule of the whole run broke at {ms / 1000:.3f} s"
    near = [str(one) for one in stage.happened if abs(one.ms - ms) <= AROUND_MS]
    if len(near) > 60:
        near = [*near[:20], "        ...", *near[-40:]]
    return "\n".join([f"{head}\n  {words}", "  around it:", *[f"  {text}" for text in near]])
