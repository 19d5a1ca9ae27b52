"""Reads the curves of one simulated fault: which expectations failed, and what that means for the rack.

expectations() lists everything a healthy board does in the play of rack.py, each with a name; a record is the names
that failed, and is what is committed. classify() turns a record into one class, worst first, and says who is told.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import rack
from waves import Waves

LOW_V, HIGH_V = 0.8, 2.0  # the RP2040's input levels at 3.3 V
STATE_V = 2.9  # an open read-back contact: above, the alarm contact is closed; below, open
IDLE_V = 3.0  # RS-232: beyond this in either direction is a level
BRIEF_S = 0.03  # shorter than this no server notices
CUT_AT = {"A": 0.588, "B": 0.698, "SPARE": 0.698}
BEFORE = {"A": 0.375, "B": 0.615, "SPARE": 0.615}
AFTER = {"A": 0.65, "B": 0.76, "SPARE": 0.76}
RESET, REST, SPOKEN, QUIET, HUNG, DEAD = 0.028, 0.09, 0.111, 0.375, 3.8, 3.93

# Classes, worst first.
CLASSES = {
    "false proof": "an input turned OFF after the command while its feed was on",
    "healthy node cut, nobody told": "a node was cut that nobody fenced, and no input, contact or line shows it",
    "healthy node cut, told": "a node was cut that nobody fenced; its sense reads OFF, or the alarm contact opens",
    "healthy node pressed": "a front-panel header is held closed; the node goes silent",
    "stuck loop holds a fence": "ARM does not fall: a hung program could keep a node cut",
    "dead board not reported": "the alarm contact says well while the board is in reset",
    "fence fails, told at once": "a cut fails or is not proven, nobody is granted; an alarm says so beforehand",
    "fence fails, told when tried": "a cut fails or is not proven, nobody is granted; found at the fence or proof test",
    "node stays off": "after the fence the node does not get its power back; its sense says so",
    "function lost": "a line, the button, the key, a lamp, a press or the transfer fails; no power is touched",
    "alarm without harm": "only the alarm contact or a read-back is wrong, to the side of alarm",
    "no effect seen": "all expectations hold: harmless, or waiting for a second fault",
    "unknown": "no result, or a floating gate decides",
}  # fmt: skip
FORBIDDEN = ("false proof", "healthy node cut, nobody told")


@dataclass(frozen=True)
class Outcome:
    """The class of a fault, and what shows it, in words."""

    name: str
    shows: tuple[str, ...]


def failed(waves: Waves, revision: str) -> list[str]:
    """Return the names of the expectations that do not hold."""
    return [name for name, holds in expectations(waves, revision).items() if not holds]


def expectations(waves: Waves, revision: str) -> dict[str, bool]:
    """Return every expectation by name: `moment.thing.which`."""
    found: dict[str, bool] = {}
    for moment, at_s in (("reset", RESET), ("rest", REST), ("quiet", QUIET), ("dead", DEAD)):
        well = moment in ("rest", "quiet")
        found[f"{moment}.alarm"] = waves.at("alarm", at_s) < 2 if well else waves.at("alarm", at_s) > 6
    for feed in rack.FEEDS:
        for moment, at_s in (("rest", REST), ("quiet", QUIET)):
            found[f"{moment}.sense.{feed}"] = _sense(waves, feed, at_s) < LOW_V
    found["rest.armed"] = waves.at("p5v_armed", QUIET) < 1
    found["rest.lamp"] = waves.at("lamp", REST) < 1
    found["spoken.lamp"] = waves.at("lamp", SPOKEN) > 1.2
    for name in rack.NODES:
        found |= _line(waves, name)
        found |= _front(waves, name, revision)
        found |= _cut(waves, name)
    for name, (start, end) in (("button", rack.BUTTON_S), ("key", rack.KEY_S)):
        found[f"rest.{name}"] = waves.at(name, REST) > HIGH_V
        found[f"pushed.{name}"] = waves.at(name, (start + end) / 2 + 0.003) < LOW_V
    found |= _transfer(waves)
    for feed, node in rack.FEEDS.items():
        found |= _feed(waves, feed, node, revision)
    return found | (_read_back(waves) if revision == "B" else {})


def _sense(waves: Waves, feed: str, at_s: float) -> float:
    return waves.at(f"sense_{feed.lower()}", at_s)


def _fed(waves: Waves, feed: str, at_s: float) -> bool:
    return waves.at(f"fed_{feed.lower()}", at_s) > 0.5


def _line(waves: Waves, name: str) -> dict[str, bool]:
    low = name.lower()
    return {
        f"rest.line.{name}": waves.at(f"heard_{low}", REST) < -IDLE_V and waves.at(f"line_{low}_rx", REST) > HIGH_V,
        f"spoken.line.{name}": waves.at(f"heard_{low}", SPOKEN) > IDLE_V and waves.at(f"line_{low}_rx", SPOKEN) < LOW_V,
    }


def _front(waves: Waves, name: str, revision: str) -> dict[str, bool]:
    window = rack.play(revision)[f"FRONT_{name}"]
    low, at_s = f"header_{name.lower()}", window[1][0] - 0.002
    outside = [(0.0, window[0][0] - 0.001), (window[1][0] + 0.01, rack.END_S)]
    return {
        f"pressed.{name}": waves.at(low, at_s) < LOW_V,
        f"unpressed.{name}": waves.longest_s(low, LOW_V, outside) < BRIEF_S / 3,
    }


def _cut(waves: Waves, name: str) -> dict[str, bool]:
    """Return what must hold when this node is fenced, and when it gets its power back."""
    feeds = [feed for feed, node in rack.FEEDS.items() if node == name]
    at_s, before, after = CUT_AT[name], BEFORE[name], AFTER[name]
    found = {}
    for feed in feeds:
        turned_off = _sense(waves, feed, before) < LOW_V and _sense(waves, feed, at_s) > HIGH_V
        found[f"cut.{feed}"] = not _fed(waves, feed, at_s)
        found[f"proven.{feed}"] = turned_off
        found[f"honest.{feed}"] = not (turned_off and _fed(waves, feed, at_s))
        found[f"restored.{feed}"] = _fed(waves, feed, after) and _sense(waves, feed, after) < LOW_V
        found[f"freed.{feed}"] = _fed(waves, feed, DEAD)
        if name == "A":
            found[f"let go.{feed}"] = _fed(waves, feed, HUNG)
    return found


def _feed(waves: Waves, feed: str, node: str, revision: str) -> dict[str, bool]:
    """Return whether a feed stays on outside its node's own fences, and whether a sense or the alarm tells if not."""
    spans, start = [], 0.0
    for begin, end in rack.CUTS[node]:
        spans.append((start, begin))
        start = end + 0.02
    spans.append((start, rack.END_S))
    held = waves.longest_s(f"fed_{feed.lower()}", 0.5, spans)
    if held < BRIEF_S:
        return {f"uncut.{feed}": True}
    # In revision B each fence opens the alarm contact, which then tells nothing of another node.
    tells_until_s = rack.ARM_SPANS_S[0][0] if revision == "B" else rack.RESET_S
    dark = waves.longest_s(waves.upside_down("alarm"), -2, [(rack.GUARD_S + 0.03, tells_until_s)])
    seen = waves.longest_s(waves.upside_down(f"sense_{feed.lower()}"), -HIGH_V, spans)
    return {f"uncut.{feed}": False, f"told.{feed}": seen > 0 or dark > 0}


def _read_back(waves: Waves) -> dict[str, bool]:
    """Return whether the alarm contact opens while ARM stands, and whether its second pole tells the Pico its state."""
    open_side = f"transfer_at_{'b' if waves.at('transfer_at_a', REST) < LOW_V else 'a'}"
    return {
        "shown.armed": waves.at("alarm", CUT_AT["A"]) > 6,
        "rest.state": waves.at(open_side, REST) > STATE_V,
        "dead.state": HIGH_V < waves.at(open_side, DEAD) < STATE_V,
    }


def _transfer(waves: Waves) -> dict[str, bool]:
    found = {}
    for moment, at_s, side in (("rest", REST, "a"), ("set b", 0.295, "b"), ("set a", QUIET, "a")):
        other = "b" if side == "a" else "a"
        moved = all((waves.at(f"moved_{ref}", at_s) > 0.57) == (side == "b") for ref in ("k61", "k62"))
        reads = waves.at(f"transfer_at_{side}", at_s) < LOW_V and waves.at(f"transfer_at_{other}", at_s) > HIGH_V
        found[f"{moment}.transfer"], found[f"{moment}.read-back"] = moved, reads
    return found


# Prefix of an expectation -> what a person, a monitor or the firmware sees when it fails, before anybody acts.
AT_ONCE = {
    "rest.alarm": "alarm contact open", "quiet.alarm": "alarm contact open",
    "rest.sense": "sense OFF without a command", "quiet.sense": "sense OFF without a command",
    "rest.line": "line silent", "spoken.line": "line silent",
    "rest.read-back": "transfer read-back wrong",
}  # fmt: skip
WHEN_USED = {
    "cut": "sense stays ON at the fence", "proven": "no proof at the fence",
    "restored": "sense stays OFF after restore", "pressed": "the press does nothing",
    "pushed.button": "the button does nothing", "pushed.key": "the key does nothing",
    "rest.button": "the button reads pressed", "rest.key": "the key reads turned", "set b": "transfer read-back wrong",
    "set a": "transfer read-back wrong", "unpressed": "the node goes silent", "uncut": "sense OFF without a command",
    "rest.armed": "yellow LED never dark", "let go": "yellow LED never dark",
    "rest.lamp": "lamp in the button", "spoken.lamp": "lamp in the button",
    "shown.armed": "alarm contact closed while armed", "rest.state": "read-back of the alarm contact",
    "dead.state": "read-back of the alarm contact",
    "reset.alarm": "alarm contact closed in reset", "dead.alarm": "alarm contact closed in reset",
}  # fmt: skip


def classify(record: list[str] | None) -> Outcome:
    """Return the class of one record; None is a run without result."""
    if record is None:
        return Outcome("unknown", ("no result",))
    shows = [words for prefix, words in AT_ONCE.items() if _has(record, prefix)]
    told = bool(shows)
    shows += [words for prefix, words in WHEN_USED.items() if _has(record, prefix)]
    words = tuple(dict.fromkeys(shows))
    return Outcome(_class(record, told), words)


def _class(record: list[str], told: bool) -> str:
    if _has(record, "honest"):
        return "false proof"
    if _has(record, "told"):
        return "healthy node cut, nobody told"
    if _has(record, "uncut"):
        return "healthy node cut, told"
    if _has(record, "unpressed"):
        return "healthy node pressed"
    if _has(record, "let go") or _has(record, "rest.armed"):
        return "stuck loop holds a fence"
    if _has(record, "dead.alarm") or _has(record, "reset.alarm"):
        return "dead board not reported"
    if _has(record, "cut") or _has(record, "proven"):
        return "fence fails, told at once" if told else "fence fails, told when tried"
    if _has(record, "restored") or _has(record, "freed"):
        return "node stays off"
    rest = [name for name in record if name.split(".")[1] not in ("alarm", "state")]
    if rest:
        return "function lost"
    return "alarm without harm" if record else "no effect seen"


def _has(record: Iterable[str], prefix: str) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for name in record)
