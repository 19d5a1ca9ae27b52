"""The language of scenario files: text in, statements out. The grammar is told in tests/scenarios/README.md.

It knows words, times and the contract's tables, so that a typing error is found before anything runs. It runs nothing.
Called by the runner and by whatever writes scenarios (the walk's counterexamples).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from heartwire_protocol import codes, events, reasons, settings, settings_rules

NO_LIMIT = 1 << 40

# What can happen to a node, with the arguments it takes: "" none, else a word for messages.
NODE_VERBS: dict[str, str] = {
    "crashes": "", "freezes": "", "thaws": "", "reboots": "", "shuts-down": "", "loses-mains": "", "gets-mains": "",
    "agent-restarts": "", "disobeys": "", "obeys": "", "stays-down": "", "boots-in": "TIME", "sees-peer": "",
    "misses-peer": "", "knows-no-peer": "", "beats": "early|stuck|wrong|mute|well", "reports": "STATE [for TIME]",
    "epoch": "NUMBER", "asks-to-fence": "NODE", "serves": "", "watchdog": "armed|unarmed", "beats-every": "TIME",
}  # fmt: skip
PART_VERBS: dict[str, tuple[str, ...]] = {
    "line": ("cut", "deaf", "noisy", "mended"),
    "relay": ("welded", "mended"),
    "sense": ("stuck-on", "stuck-off", "mended"),
    "feed": ("hidden", "mended"),
}
BOARD_VERBS = ("resets", "loses-power", "gets-power", "forgets", "stores", "restores", "bad-boots", "stalls")
OPERATOR_VERBS: dict[str, str] = {
    "mode": "mode", "switchover": "node", "emergency": "node", "schedule": "node seconds", "cancel": "",
    "fence": "node", "fence-last": "node", "release": "node", "clear": "node", "readopt": "node", "declare": "node",
    "maintenance": "target seconds", "approve": "", "deny": "", "update": "seconds", "restart": "", "time": "",
}  # fmt: skip
LOOKS: dict[str, str] = {
    "active": "", "holder": "", "mode": "", "epoch": "", "phase": "", "alarm": "", "held": "", "safe-mode": "",
    "transfer": "", "role": "node", "verdict": "node", "power": "node", "relay": "node", "serves": "node",
    "quarantined": "node", "locked": "node", "lease": "node", "led": "",
}  # fmt: skip
EVENT_NAMES = {row[1]: row[0] for row in events.EVENTS}
REASON_NAMES = {row[1]: row[0] for row in reasons.REASONS}


class ScenarioError(ValueError):
    """A scenario file that makes no sense; says file, line and why."""


@dataclass(frozen=True)
class Action:
    """Something that happens at `ms`: `subject` is a node, "board", "operator", "button" or "transfer"."""

    line: int
    ms: int
    subject: str
    verb: str
    words: tuple[str, ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class Expect:
    """An event that must come (or must never come) between `after` and `by`."""

    line: int
    never: bool
    event: str
    node: str | None
    reason: str | None
    after: int
    by: int


@dataclass(frozen=True)
class Look:
    """What must be seen at `ms`."""

    line: int
    ms: int
    what: str
    node: str | None
    value: str


@dataclass
class Scenario:
    """One file."""

    name: str
    title: str = ""
    covers: list[str] = field(default_factory=list)
    tiers: tuple[str, ...] = ("policy", "virtual", "emulated")
    tiers_because: str = ""
    settings_text: str = ""
    nodes: list[str] = field(default_factory=lambda: ["a", "b"])
    off: list[str] = field(default_factory=list)
    keyed: bool = True
    mode: str = "auto"
    settled: str | None = None
    allow_two: bool = False
    end_ms: int = 0
    steps: list[Action | Expect | Look] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def actions(self) -> list[Action]:
        """Return what happens, in order of time; at the same time in order of the file."""
        return sorted((step for step in self.steps if isinstance(step, Action)), key=lambda step: step.ms)

    @property
    def expectations(self) -> list[Expect]:
        """Return the expected and the forbidden events."""
        return [step for step in self.steps if isinstance(step, Expect)]

    @property
    def looks(self) -> list[Look]:
        """Return what is looked at, in order of time."""
        return sorted((step for step in self.steps if isinstance(step, Look)), key=lambda step: step.ms)


def time_of(word: str) -> int | None:
    """Return a time such as 250ms, 12s, 1.5m in milliseconds; None if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", word)
    return round(float(match[1]) * {"ms": 1, "s": 1000, "m": 60000}[match[2]]) if match else None


def read(path: Path) -> Scenario:
    """Read and parse a file. Raises ScenarioError, OSError."""
    return parse(path.read_text(encoding="utf-8"), path.name)


def parse(text: str, name: str = "scenario") -> Scenario:
    """Parse a scenario. Raises ScenarioError with the line that makes no sense."""
    scenario = Scenario(name, lines=text.splitlines())
    values: list[str] = []
    for number, raw in enumerate(scenario.lines, 1):
        if raw.startswith("#") and not scenario.title:
            scenario.title = raw.lstrip("# ").rstrip()
        words = raw.split("#", 1)[0].split()
        if words:
            try:
                _statement(scenario, values, number, words)
            except ScenarioError as error:
                raise ScenarioError(f"{name}:{number}: {error}\n  {raw.strip()}") from None
    _finish(scenario, values)
    return scenario


def _statement(scenario: Scenario, values: list[str], number: int, words: list[str]) -> None:
    first = words[0]
    if first == "set" and len(words) == 3:
        values.append(f"{words[1]}={ {'true': '1', 'false': '0'}.get(words[2], words[2]) }\n")
    elif first == "nodes" and len(words) > 1:
        for node in words[1:]:
            _node(node.removesuffix(":off"))
        scenario.nodes = [node.removesuffix(":off") for node in words[1:]]
        scenario.off = [node.removesuffix(":off") for node in words[1:] if node.endswith(":off")]
        if scenario.nodes != list(codes.NODES[: len(scenario.nodes)]):
            raise ScenarioError("nodes are: a, or a b, or a b spare")
    elif first == "covers":
        scenario.covers += words[1:]
    elif first == "tiers":
        if "because" not in words[2:-1]:
            raise ScenarioError("tiers TIER... because WORDS: say why it cannot run on the others")
        at = words.index("because")
        scenario.tiers, scenario.tiers_because = tuple(words[1:at]), " ".join(words[at + 1 :])
    elif words == ["without", "keys"]:
        scenario.keyed = False
    elif words == ["allow", "two"]:
        scenario.allow_two = True
    elif first == "start" and len(words) in (2, 4):
        if words[1] not in codes.MODES or (len(words) == 4 and words[2] != "with"):
            raise ScenarioError(f"start MODE [with NODE]; modes are {', '.join(codes.MODES)}")
        scenario.mode = words[1]
        scenario.settled = _node(words[3]) if len(words) == 4 else None
    elif first == "expect" and len(words) > 3 and words[1] in ("by", "from", "at"):
        _expect(scenario, number, words)
    elif first == "never" and len(words) > 1:
        scenario.steps.append(_event(number, True, words[1:], 0, NO_LIMIT))
    elif first == "end" and len(words) == 2:
        scenario.end_ms = _time(words[1])
    elif time_of(first) is not None and len(words) > 1:
        scenario.steps.append(_action(number, _time(first), words[1:]))
    else:
        raise ScenarioError("no such statement; see tests/scenarios/README.md")


def _expect(scenario: Scenario, number: int, words: list[str]) -> None:
    if words[1] == "at":
        scenario.steps.append(_look(number, _time(words[2]), words[3:]))
        return
    after, rest = 0, words[1:]
    if rest[0] == "from":
        after, rest = _time(rest[1]), rest[2:]
    if len(rest) < 3 or rest[0] != "by":
        raise ScenarioError("expect [from TIME] by TIME EVENT [NODE] [because REASON]")
    scenario.steps.append(_event(number, False, rest[2:], after, _time(rest[1])))


def _event(number: int, never: bool, words: list[str], after: int, by: int) -> Expect:
    event, rest = words[0], words[1:]
    if event not in EVENT_NAMES:
        raise ScenarioError(f"no such event: {event}")
    node = reason = None
    if rest and rest[0] in codes.NODES:
        node, rest = rest[0], rest[1:]
    while rest:
        if len(rest) < 2:
            raise ScenarioError(f"what about {rest[0]}?")
        key, value, rest = rest[0], rest[1], rest[2:]
        if key == "because":
            if value not in REASON_NAMES:
                raise ScenarioError(f"no such reason: {value}")
            reason = value
        elif key == "after" and never:
            after = _time(value)
        elif key == "before" and never:
            by = _time(value) - 1
        else:
            raise ScenarioError(f"what is {key}?")
    return Expect(number, never, event, node, reason, after, by)


def _look(number: int, ms: int, words: list[str]) -> Look:
    node = None
    if words[0] in codes.NODES:
        node, words = words[0], words[1:]
    if len(words) != 2 or words[0] not in LOOKS or (LOOKS[words[0]] == "node") != (node is not None):
        raise ScenarioError(f"expect at TIME [NODE] WHAT VALUE; WHAT is one of {', '.join(LOOKS)}")
    return Look(number, ms, words[0], node, words[1])


def _action(number: int, ms: int, words: list[str]) -> Action:
    subject, verb, rest = words[0], words[1] if len(words) > 1 else "", words[2:]
    refused = None
    if len(rest) > 1 and rest[-2] == "refused":
        refused, rest = rest[-1], rest[:-2]
        if refused not in REASON_NAMES:
            raise ScenarioError(f"no such reason: {refused}")
    if subject == "operator":
        good = verb in OPERATOR_VERBS and len(rest) == len(OPERATOR_VERBS[verb].split())
    elif subject == "board":
        good = verb in BOARD_VERBS
    elif subject == "button":
        good = verb == "held" and len(rest) == 1 and time_of(rest[0]) is not None
    elif subject == "transfer":
        good = verb in ("stuck", "mended")
    elif subject in codes.NODES and verb in PART_VERBS:
        good = len(rest) == 1 and rest[0] in PART_VERBS[verb]
    elif subject in codes.NODES:
        good = verb in NODE_VERBS and bool(rest) == bool(NODE_VERBS[verb])
    else:
        good = False
    if not good:
        raise ScenarioError(f"{subject} cannot {verb} {' '.join(rest)}".rstrip())
    return Action(number, ms, subject, verb, tuple(rest), refused)


def _node(word: str) -> str:
    if word not in codes.NODES:
        raise ScenarioError(f"no such node: {word}")
    return word


def _time(word: str) -> int:
    ms = time_of(word)
    if ms is None:
        raise ScenarioError(f"{word} is no time such as 250ms, 12s or 1.5m")
    return ms


def _finish(scenario: Scenario, values: list[str]) -> None:
    scenario.settings_text = "".join(values)
    text = scenario.settings_text
    for index, node in enumerate(codes.NODES):
        text += f"node.{node}.enabled={int(index < len(scenario.nodes))}\n"
        if scenario.keyed:
            text += f"node.{node}.key={'00' * 32}\n"  # every stage makes its own
    found, problems = settings.parse(text)
    problems = problems or settings_rules.check(found)
    if problems:
        raise ScenarioError(f"{scenario.name}: " + "; ".join(f"{path}: {words}" for path, words in problems))
    latest = [0]
    for step in scenario.steps:
        latest.append(step.by if isinstance(step, Expect) and step.by < NO_LIMIT else getattr(step, "ms", 0))
    scenario.end_ms = max(scenario.end_ms, *latest)
    if not scenario.steps:
        raise ScenarioError(f"{scenario.name}: nothing happens and nothing is expected")
