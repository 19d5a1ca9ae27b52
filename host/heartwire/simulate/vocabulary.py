"""The words of scenario files: subjects, verbs and what they take, looks, times, and which tiers lack which word.

Tables only, so that a typing error is found before anything runs. What a word does is statements.py's (nodes, power,
cables), operators.py's (the host link) and the stages' (the board). Called by language.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from heartwire_firmware import lights
from heartwire_protocol import codes, events, operations, reasons, settings

# What can happen to a node, with the arguments it takes: "" none, else words for messages.
NODE_VERBS: dict[str, str] = {
    "crashes": "", "freezes": "", "thaws": "", "reboots": "", "shuts-down": "", "loses-mains": "", "gets-mains": "",
    "agent-restarts": "", "agent-upgrades": "",
    "disobeys": "", "obeys": "", "stays-down": "", "boots-in": "TIME", "sees-peer": "",
    "misses-peer": "", "knows-no-peer": "", "beats": "early|stuck|wrong|mute|well", "reports": "STATE [for TIME]",
    "epoch": "NUMBER", "asks-to-fence": "NODE", "serves": "", "watchdog": "armed|unarmed", "beats-every": "TIME",
    "takes-new-key": "", "speaks-at": "BAUD",
}  # fmt: skip
# A part of a node, with what can happen to it; a word with TIME behind it takes one.
_SENSE = ("stuck-on", "stuck-off", "inverted", "chatters [TIME]", "mended")
PART_VERBS: dict[str, tuple[str, ...]] = {
    "line": ("cut", "deaf", "noisy", "talks", "mended", "records TIME", "replays"),
    "relay": ("welded", "mended"),
    "relay2": ("welded", "mended"),
    "sense": _SENSE,
    "sense2": _SENSE,
    "feed": ("hidden", "mended"),
    "feed1": ("loses-mains", "gets-mains"),
    "feed2": ("loses-mains", "gets-mains"),
    "front": ("broken", "mended"),
    "service": ("fails", "fails-quietly", "hangs", "mended", "starts-in TIME", "stops-in TIME", "checks-in TIME"),
}
BOARD_VERBS = (
    "resets", "loses-power", "gets-power", "forgets", "stores", "restores", "bad-boots", "stalls", "flash-full",
    "flash-mended",
)  # fmt: skip
TRANSFER_VERBS: dict[str, str] = {"stuck": "", "mended": "", "between": "", "both": "", "moved": "a|b"}
# What an operator asks, with its arguments; those in brackets may be left out.
OPERATOR_VERBS: dict[str, str] = {
    "mode": "MODE", "switchover": "NODE", "emergency": "NODE", "schedule": "NODE SECONDS", "cancel": "",
    "fence": "NODE", "fence-last": "NODE", "release": "NODE", "clear": "NODE", "readopt": "NODE", "declare": "NODE",
    "maintenance": "TARGET SECONDS", "approve": "[old|NUMBER]", "deny": "[old|NUMBER]", "update": "SECONDS",
    "restart": "", "time": "[MOMENT]", "set": "PATH VALUE...", "try": "PATH VALUE...", "confirm": "", "revert": "",
    "key": "NODE", "proof": "NODE SECONDS", "press": "NODE", "end-tests": "",
}  # fmt: skip
LOOKS: dict[str, str] = {
    "active": "", "holder": "", "mode": "", "epoch": "", "phase": "", "alarm": "", "held": "", "safe-mode": "",
    "transfer": "", "role": "node", "verdict": "node", "power": "node", "relay": "node", "serves": "node",
    "quarantined": "node", "locked": "node", "lease": "node", "led": "", "guarding": "", "led-pattern": "",
}  # fmt: skip
# What must hold in every file unless it says `allow RULE because WORDS`: see rules.py, and rack.py for two.
RULES = ("two", "cut", "idle", "alarm")
# Rights of an operator: `operator as RIGHT`.
RIGHTS = ("nobody", *codes.RIGHTS[1:])
# What some tiers cannot do, and why: (subject, verb) -> words. The policy tier can do everything.
POLICY_ONLY: dict[tuple[str, str], str] = {
    ("board", "flash-full"): "only flash in memory takes nothing on demand",
    ("board", "flash-mended"): "only flash in memory takes nothing on demand",
    ("node", "speaks-at"): "a pseudo terminal has no bit rate",
    ("start", "uptime"): "a board's clock starts at zero",
}
EVENT_NAMES = {row[1]: row[0] for row in events.EVENTS}
REASON_NAMES = {row[1]: row[0] for row in reasons.REASONS}
# Why a request may be refused: a reason of the board's rules, or a code of its answer.
REFUSALS = {*REASON_NAMES, *(row[0] for row in operations.ERRORS)}
PATTERNS = tuple(row[0].replace(" ", "-") for row in lights.PATTERNS)
_UNITS = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000}


def time_of(word: str) -> int | None:
    """Return a time such as 250ms, 12s, 1.5m, 2h, 12d in milliseconds; None if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", word)
    return round(float(match[1]) * _UNITS[match[2]]) if match else None


def moment_of(word: str) -> datetime | None:
    """Return a moment such as 2026-03-29T02:30 as UTC; None if it is none."""
    try:
        return datetime.fromisoformat(word.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        return None


def is_argument(kind: str, word: str) -> bool:
    """Tell whether `word` can stand where `kind` is wanted; True for a kind that anything fits."""
    if kind == "NODE":
        return word in codes.NODES
    if kind == "TARGET":
        return word in codes.NODES or word == "board"
    if kind == "MODE":
        return word in codes.MODES
    if kind in ("SECONDS", "BAUD"):
        return word.isdecimal()
    if kind == "NUMBER":
        return word.isdecimal()
    if kind == "STATE":
        return word in codes.STATES
    if kind == "TIME":
        return time_of(word) is not None
    if kind == "MOMENT":
        return moment_of(word) is not None
    if kind == "PATH":
        return is_path(word)
    if "|" in kind:
        return any(is_argument(one, word) if one.isupper() else one == word for one in kind.split("|"))
    return kind == "VALUE" or kind == word


def is_path(word: str) -> bool:
    """Tell whether `word` is a setting that a scenario may change: keys are the stages' own."""
    try:
        return bool(settings.row_of(word)[0][1] != settings.KEY)
    except KeyError:
        return False


def fits(wanted: str, words: list[str]) -> bool:
    """Tell whether `words` are what `wanted` says, such as "STATE [for TIME]" or "PATH VALUE..."."""
    if wanted.endswith("..."):
        pair = wanted.removesuffix("...").split()
        if not words or len(words) % len(pair):
            return False
        return all(is_argument(pair[at % len(pair)], word) for at, word in enumerate(words))
    least, _, rest = wanted.partition("[")
    for text in (least, f"{least} {rest.removesuffix(']')}") if rest else (least,):
        kinds = text.split()
        if len(kinds) == len(words) and all(map(is_argument, kinds, words)):
            return True
    return False
