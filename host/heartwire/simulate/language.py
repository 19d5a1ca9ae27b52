"""The language of scenario files: text in, statements out. The grammar is told in tests/scenarios/README.md.

A typing error is found before anything runs: words and what they take are vocabulary.py's. It runs nothing. Called by
the runner and by whatever writes scenarios (the walk's counterexamples).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from heartwire.simulate import vocabulary
from heartwire.simulate.vocabulary import EVENT_NAMES, LOOKS, REASON_NAMES, time_of
from heartwire_protocol import codes, settings, settings_rules

NO_LIMIT = 1 << 40
TIERS = ("policy", "virtual", "emulated")


class ScenarioError(ValueError):
    """A scenario file that makes no sense; says file, line and why."""


@dataclass(frozen=True)
class Action:
    """Something that happens at `ms`; `subject` is a node, "board", "operator", "button", "transfer", "key-switch".

    An operator holds all keys, or only that of the right `holds`.
    """

    line: int
    ms: int
    subject: str
    verb: str
    words: tuple[str, ...] = ()
    refused: str | None = None
    holds: str | None = None

    def __str__(self) -> str:
        rights = ["as", self.holds] if self.holds else []
        return " ".join([self.subject, *rights, self.verb, *self.words])


@dataclass(frozen=True)
class Expect:
    """An event that must come at least `least` times and at most `most` times between `after` and `by`."""

    line: int
    event: str
    node: str | None
    reason: str | None
    after: int
    by: int
    least: int = 1
    most: int = NO_LIMIT


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
    tiers: tuple[str, ...] = TIERS
    tiers_because: str = ""
    settings_text: str = ""
    nodes: list[str] = field(default_factory=lambda: ["a", "b"])
    off: list[str] = field(default_factory=list)
    keyed: bool = True
    mode: str = "auto"
    settled: str | None = None
    allowed: set[str] = field(default_factory=set)
    two_feeds: list[str] = field(default_factory=list)
    host_keys: tuple[str, ...] = ()
    uptime_ms: int = 0
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
    elif first == "allow" and len(words) > 1:
        _allow(scenario, words)
    elif first == "two-feeds" and len(words) > 1:
        scenario.two_feeds += [_node(word) for word in words[1:]]
        if "spare" in scenario.two_feeds:
            raise ScenarioError("the spare has one sense input")
    elif first == "host-keys" and set(words[1:]) <= set(vocabulary.RIGHTS[1:]):
        scenario.host_keys = tuple(words[1:])
    elif first == "uptime" and len(words) == 2:
        scenario.uptime_ms = _time(words[1])
    elif first == "start" and len(words) in (2, 4):
        if words[1] not in codes.MODES or (len(words) == 4 and words[2] != "with"):
            raise ScenarioError(f"start MODE [with NODE]; modes are {', '.join(codes.MODES)}")
        scenario.mode = words[1]
        scenario.settled = _node(words[3]) if len(words) == 4 else None
    elif first == "expect" and len(words) > 3 and words[1] in ("by", "from", "at"):
        _expect(scenario, number, words)
    elif first == "never" and len(words) > 1:
        scenario.steps.append(_event(number, words[1:], 0, NO_LIMIT, 0, 0))
    elif first == "at" and len(words) > 4:
        scenario.steps.append(_count(number, words))
    elif first == "end" and len(words) == 2:
        scenario.end_ms = _time(words[1])
    elif time_of(first) is not None and len(words) > 1:
        scenario.steps.append(_action(number, _time(first), words[1:]))
    else:
        raise ScenarioError("no such statement; see tests/scenarios/README.md")


def _allow(scenario: Scenario, words: list[str]) -> None:
    """Let a rule of the whole run be broken; that two may serve needs no reason, as its file is about that."""
    at = words.index("because") if "because" in words else len(words)
    if not set(words[1:at]) <= set(vocabulary.RULES) or (words != ["allow", "two"] and at >= len(words) - 1):
        raise ScenarioError(f"allow RULE... because WORDS; rules are {', '.join(vocabulary.RULES)}")
    scenario.allowed.update(words[1:at])


def _expect(scenario: Scenario, number: int, words: list[str]) -> None:
    if words[1] == "at":
        scenario.steps.append(_look(number, _time(words[2]), words[3:]))
        return
    after, rest = 0, words[1:]
    if rest[0] == "from":
        after, rest = _time(rest[1]), rest[2:]
    if len(rest) < 3 or rest[0] != "by":
        raise ScenarioError("expect [from TIME] by TIME EVENT [NODE] [because REASON]")
    scenario.steps.append(_event(number, rest[2:], after, _time(rest[1])))


def _count(number: int, words: list[str]) -> Expect:
    if words[1] not in ("most", "least") or not words[2].isdecimal() or words[3] not in ("times", "time"):
        raise ScenarioError("at most|least N times EVENT [NODE] [because REASON] [after TIME] [before TIME]")
    times = int(words[2])
    least, most = (0, times) if words[1] == "most" else (times, NO_LIMIT)
    return _event(number, words[4:], 0, NO_LIMIT, least, most)


def _event(number: int, words: list[str], after: int, by: int, least: int = 1, most: int = NO_LIMIT) -> Expect:
    event, rest = words[0], words[1:]
    spans = by == NO_LIMIT  # its span is said behind it
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
        elif key == "after" and spans:
            after = _time(value)
        elif key == "before" and spans:
            by = _time(value) - 1
        else:
            raise ScenarioError(f"what is {key}?")
    return Expect(number, event, node, reason, after, by, least, most)


def _look(number: int, ms: int, words: list[str]) -> Look:
    node = None
    if words[0] in codes.NODES:
        node, words = words[0], words[1:]
    if len(words) != 2 or words[0] not in LOOKS or (LOOKS[words[0]] == "node") != (node is not None):
        raise ScenarioError(f"expect at TIME [NODE] WHAT VALUE; WHAT is one of {', '.join(LOOKS)}")
    if words[0] == "led-pattern" and words[1] not in vocabulary.PATTERNS:
        raise ScenarioError(f"no such pattern; there are {', '.join(vocabulary.PATTERNS)}")
    return Look(number, ms, words[0], node, words[1])


def _action(number: int, ms: int, words: list[str]) -> Action:
    subject, rest = words[0], words[1:]
    refused = holds = None
    if len(rest) > 2 and rest[-2] == "refused":
        refused, rest = rest[-1], rest[:-2]
        if refused not in vocabulary.REFUSALS:
            raise ScenarioError(f"no such reason: {refused}")
    if subject == "operator" and len(rest) > 2 and rest[0] == "as":
        holds, rest = rest[1], rest[2:]
        if holds not in vocabulary.RIGHTS:
            raise ScenarioError(f"no such right: {holds}; there are {', '.join(vocabulary.RIGHTS)}")
    verb, rest = rest[0] if rest else "", rest[1:]
    if not _is_sensible(subject, verb, rest):
        raise ScenarioError(_cannot(subject, verb, rest))
    return Action(number, ms, subject, verb, tuple(rest), refused, holds)


def _verbs_of(subject: str) -> dict[str, str]:
    """Return what `subject` can do, with what each verb takes; nothing for one that is not there."""
    if subject in codes.NODES:
        return vocabulary.NODE_VERBS
    return {
        "operator": vocabulary.OPERATOR_VERBS,
        "board": dict.fromkeys(vocabulary.BOARD_VERBS, ""),
        "button": {"held": "TIME"},
        "key-switch": {"on": "", "off": ""},
        "transfer": vocabulary.TRANSFER_VERBS,
    }.get(subject, {})


def _is_sensible(subject: str, verb: str, rest: list[str]) -> bool:
    if subject in codes.NODES and verb in vocabulary.PART_VERBS:
        return any(vocabulary.fits(wanted, rest) for wanted in vocabulary.PART_VERBS[verb])
    verbs = _verbs_of(subject)
    return verb in verbs and vocabulary.fits(verbs[verb], rest)


def _cannot(subject: str, verb: str, rest: list[str]) -> str:
    """Say that something makes no sense, and what would."""
    said = f"{subject} cannot {verb} {' '.join(rest)}".rstrip()
    verbs = _verbs_of(subject)
    if not verbs:
        return f"{said}: there are {', '.join(codes.NODES)}, board, operator, button, key-switch, transfer"
    if subject in codes.NODES and verb in vocabulary.PART_VERBS:
        return f"{said}; known: {', '.join(vocabulary.PART_VERBS[verb])}"
    if verb in verbs:
        return f"{said}; {verb} takes {verbs[verb] or 'nothing'}"
    parts = vocabulary.PART_VERBS if subject in codes.NODES else ()
    return f"{said}; known: {', '.join([*verbs, *parts])}"


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
    for right in scenario.host_keys:
        text += f"board.{right}_key={'00' * 32}\n"
    found, problems = settings.parse(text)
    problems = problems or settings_rules.check(found, stored=True)
    if problems:
        raise ScenarioError(f"{scenario.name}: " + "; ".join(f"{path}: {words}" for path, words in problems))
    latest = [0]
    for step in scenario.steps:
        latest.append(step.by if isinstance(step, Expect) and step.by < NO_LIMIT else getattr(step, "ms", 0))
    scenario.end_ms = max(scenario.end_ms, *latest)
    if not scenario.steps:
        raise ScenarioError(f"{scenario.name}: nothing happens and nothing is expected")
    for action in scenario.actions:
        if action.verb[:-1] in ("relay", "sense", "feed") and action.subject not in scenario.two_feeds:
            raise ScenarioError(f"{scenario.name}:{action.line}: {action.subject} has one feed: see two-feeds")
        if action.holds not in (None, "nobody", *scenario.host_keys):
            raise ScenarioError(f"{scenario.name}:{action.line}: the board has no {action.holds} key: see host-keys")
    _leave_out_tiers(scenario)


def _leave_out_tiers(scenario: Scenario) -> None:
    """Leave out the tiers that cannot do what the file wants, unless it says itself where it can run."""
    found = [("node" if step.subject in codes.NODES else step.subject, step.verb) for step in scenario.actions]
    if scenario.uptime_ms:
        found.append(("start", "uptime"))
    whys = [vocabulary.POLICY_ONLY[word] for word in found if word in vocabulary.POLICY_ONLY]
    if whys and scenario.tiers == TIERS:
        scenario.tiers, scenario.tiers_because = TIERS[:1], whys[0]
