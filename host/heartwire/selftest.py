"""The steps of a self-test as data: what a person is told, which input must then change, and what must not.

Pure: no I/O, no clock, no board. `plan` turns the running settings into steps; `Phase.verdict` judges what the board
shows. Called by heartwire.cli.selftest_run, which asks, waits and commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from heartwire_protocol import codes

PASSED, FAILED, NOT_TESTED = codes.OUTCOMES
# Names for --only, in the order of a run, with what each one checks.
GROUPS: Mapping[str, str] = {
    "lines": "every node beats; unplugged, only its line goes silent",
    "senses": "each feed switched off by hand moves its own sense and no other",
    "button": "the button in the front",
    "key": "the key switch",
    "lamps": "the LEDs",
    "alarm": "the alarm contact, as the monitoring system sees it",
    "front": "the front-panel press, on a server that you may reset",
    "relays": "each power relay, with its load protected",
    "path": "the whole path, one server at a time: relay, contactor, server, sense",
    "transfer": "the transfer relay and its position contacts",
}
# What runs without a person at the rack: a line is only heard then, a relay is only measured.
SCRIPTABLE = ("lines", "relays", "transfer")
SENSES = {"a": ("SENSE_A1", "SENSE_A2"), "b": ("SENSE_B1", "SENSE_B2"), "spare": ("SENSE_SPARE",)}
ALL_SENSES = tuple(signal for signals in SENSES.values() for signal in signals)
LAMPS = (("LED_BOARD", 1, "the LED on the Pico"), ("LED_STATUS", 2, "the LED in the button"))
GUARDING_LIT = 4
HEARD, SILENT = "heard", "silent"
# What no command of the board can show; hw/README.md and hw/BENCH.md say how to check it.
BY_HAND = (
    "a relay drops within 3 s when the loop is stopped (bench)",
    "POWER asserted without ARM moves nothing (multimeter)",
    "both supplies of the board pulled: the monitoring system reports it",
)


@dataclass(frozen=True)
class Snapshot:
    """What the board shows at one moment: inputs by signal, and whether each node is heard."""

    inputs: Mapping[str, int]
    nodes: Mapping[str, str]  # HEARD or SILENT

    def value(self, name: str) -> int | str | None:
        """Return the level of a signal, or whether a node is heard."""
        return self.inputs.get(name, self.nodes.get(name))


@dataclass(frozen=True)
class Phase:
    """One thing to do and to wait for: `say`, until `name` has the value `wanted`, while `still` keep theirs."""

    say: str
    name: str
    wanted: int | str
    still: tuple[str, ...] = ()

    def verdict(self, before: Snapshot, now: Snapshot) -> str | None:
        """Return "" once the wanted value is there, words if something else moved, None while nothing has happened."""
        for other in self.still:
            if other != self.name and before.value(other) != now.value(other):
                return f"{other} moved too"
        return "" if now.value(self.name) == self.wanted else None


@dataclass(frozen=True)
class Step:
    """One check: `group` for --only, `check` of codes.CHECKS for the journal; `phases` where inputs tell the result."""

    group: str
    check: str
    title: str
    node: str | None = None
    phases: tuple[Phase, ...] = ()
    lit: int = 0
    question: str = ""

    @property
    def needs_person(self) -> bool:
        """Whether nobody but a person at the rack can do it."""
        return self.group not in SCRIPTABLE


@dataclass
class Result:
    """What came of one step."""

    step: Step
    outcome: str = NOT_TESTED
    words: str = ""
    off_ms: int | None = None
    on_ms: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the documented keys (JSON_DOC), ready for JSON."""
        return {
            "group": self.step.group,
            "check": self.step.check,
            "node": self.step.node,
            "title": self.step.title,
            "outcome": self.outcome,
            "words": self.words,
            "off_ms": self.off_ms,
            "on_ms": self.on_ms,
        }


JSON_DOC = (
    ("group", "name for --only"),
    ("check", "name from the table of checks, as journaled"),
    ("node", "a, b, spare, or null for the board"),
    ("title", "what was checked"),
    ("outcome", "passed, failed or not tested"),
    ("words", "why, where it did not pass"),
    ("off_ms", "relays: ms from the command to the sense going off"),
    ("on_ms", "relays: ms from the release to the sense coming back"),
)


@dataclass(frozen=True)
class Rack:
    """What the settings say is wired: nodes in order, label, feeds sensed, fence, front panel; the transfer relay."""

    nodes: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)  # path to value; what is missing stands at its default

    def setting(self, node: str, name: str, default: str) -> str:
        """Return a setting of `node`."""
        return self.settings.get(f"node.{node}.{name}", default)

    def label(self, node: str) -> str:
        """Return what to call `node`."""
        return self.labels.get(node, node)


def plan(rack: Rack, groups: Iterable[str] = (), relays: Iterable[str] = (), *, person: bool = True) -> list[Step]:
    """Return the steps for `rack`, in order: those of `groups` (default all), or the relay of each of `relays`.

    Without a `person`, lines are only heard, not unplugged.
    """
    only = tuple(relays)
    if only:
        return [step for step in _relays(rack) if step.group == "relays" and step.node in only]
    wanted = tuple(groups) or tuple(GROUPS)
    steps = _lines(rack, person) + _senses(rack) + _panel() + _front(rack) + _relays(rack)
    if rack.settings.get("board.transfer", "0") == "1":
        steps.append(Step("transfer", "transfer relay", "transfer relay moves to the other side and back"))
    return [step for group in GROUPS if group in wanted for step in steps if step.group == group]


def _lines(rack: Rack, person: bool) -> list[Step]:
    steps = []
    for node in rack.nodes:
        label = rack.label(node)
        phases = [Phase(f"{label} must beat; start its agent if it does not", node, HEARD)]
        if person:
            phases.append(Phase(f"unplug the serial cable of {label}", node, SILENT, rack.nodes))
            phases.append(Phase(f"plug the serial cable of {label} in again", node, HEARD))
        title = f"line of {label}" + ("" if person else ", heard only")
        steps.append(Step("lines", "line", title, node, tuple(phases)))
    return steps


def _senses(rack: Rack) -> list[Step]:
    steps = []
    for node in rack.nodes:
        for feed, signal in enumerate(SENSES[node][: int(rack.setting(node, "senses", "1"))], 1):
            feed_words = f"feed {feed} of {rack.label(node)}"
            phases = (
                Phase(f"{feed_words} must be on", signal, 1),
                Phase(f"load on its bypass? Then switch {feed_words} off by hand", signal, 0, ALL_SENSES),
                Phase(f"switch {feed_words} on again", signal, 1, ALL_SENSES),
            )
            steps.append(Step("senses", "sense", f"{signal}, {feed_words}", node, phases))
    return steps


def _panel() -> list[Step]:
    button = (Phase("press the button and hold it", "BUTTON", 1), Phase("let it go", "BUTTON", 0))
    key = (Phase("turn the key switch on", "KEY", 1), Phase("turn the key switch off", "KEY", 0))
    steps = [Step("button", "button", "button", phases=button), Step("key", "key switch", "key switch", phases=key)]
    steps += [
        Step("lamps", "lamps", f"{signal}, {words}", lit=lit, question=f"Is {words} lit, and the other LEDs dark?")
        for signal, lit, words in LAMPS
    ]
    question = "Is the green LED lit, and does the monitoring system see the alarm contact closed (all is well)?"
    steps.append(Step("alarm", "alarm contact", "alarm contact closed", lit=GUARDING_LIT, question=question))
    question = "Is the green LED dark now, and does the monitoring system report an alarm?"
    steps.append(Step("alarm", "alarm contact", "alarm contact open", lit=0, question=question))
    return steps


def _front(rack: Rack) -> list[Step]:
    steps = []
    for node in rack.nodes:
        wired = rack.setting(node, "front", "none")
        if wired != "none":
            question = f"Did {rack.label(node)} take the press of its {wired.upper()} header?"
            steps.append(Step("front", "front panel", f"front panel of {rack.label(node)}", node, question=question))
    return steps


def _relays(rack: Rack) -> list[Step]:
    nodes = [node for node in rack.nodes if rack.setting(node, "fence", "power") == "power"]
    steps = [Step("relays", "power relay", f"power relay of {rack.label(node)}", node) for node in nodes]
    return steps + [Step("path", "whole path", f"whole path of {rack.label(node)}", node) for node in nodes]


CLICKED = "Did the right relay click and its coil or contactor get power, and no other?"
# Results of a relay test that a protected load explains: a person then says whether the relay acted.
PROTECTED = ("relay_idle", "unclear", "no_sense")
PROOF_WORDS = {row[1]: row[2] for row in codes.PROOFS}


def judge_relay(result: str, strangers: Iterable[str]) -> tuple[str, str]:
    """Return outcome and words for the board's `result` of a relay test; `strangers` are senses that moved as well."""
    others = sorted(strangers)
    if others:
        return FAILED, f"{', '.join(others)} moved too: crossed wires"
    if result == "passed":
        return PASSED, ""
    if result == "ended":
        return NOT_TESTED, PROOF_WORDS[result]
    return FAILED, PROOF_WORDS.get(result, result)


def moved(before: Snapshot, now: Snapshot, names: Iterable[str]) -> set[str]:
    """Return which of `names` have another value now."""
    return {name for name in names if before.value(name) != now.value(name)}
