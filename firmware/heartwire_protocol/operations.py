"""Operations of the host link: what a request may ask, with which key, and whether it may be repeated.

OPERATIONS rows are (number, name, right, idempotent, arguments, sentence); an argument is (name, kind, lowest, highest,
sentence), of kind int, mode, text (limits 0), bool, node, or node? where it may be missing. Board and host check
arguments by this table. Numbers are permanent (they stand in journal records). A response is a JSON object: the result,
or {"error": code} with what belongs to it: reason, argument, right, path and rule, node, standing. The host has the
words. Without a configured key of its right, an operation is open; arming needs the configure key or the key switch
always.
"""

from heartwire_protocol.codes import CHECKS, COUNT_MAX, MODES, NODES, OUTCOMES
from heartwire_protocol.codes import RIGHT_CONFIGURE as CONFIGURE
from heartwire_protocol.codes import RIGHT_OPERATE as OPERATE
from heartwire_protocol.codes import RIGHT_VIEW as VIEW
from heartwire_protocol.settings import LENGTH_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Numbers that records keep: of what the policy is asked, and of what is refused before.
SETTINGS_APPLY = 7
MODE = 10
SWITCHOVER = 11
FENCE = 12
RELEASE = 13
CLEAR = 14
READOPT = 15
MAINTENANCE = 16
APPROVE = 17
DENY = 18
DECLARE = 22
SCHEDULE = 23
CANCEL = 24
UPDATE = 25
PROOF = 33
PRESS = 34
TRANSFER = 35
# Records of one answer to log.
PAGE_MAX = 16
SCHEDULE_MAX_S = 604800
UPDATE_MAX_S = 3600
PROOF_MAX_S = 10
LAMPS_MAX_S = 30
DAY_MAX = 65535  # as records keep it
DAY_MS = 86400000
CHECK_MAX = len(CHECKS) - 1
OUTCOME_MAX = len(OUTCOMES) - 1

_NODE = ("node", "node", 0, 0, "a, b or spare")
_SUCCESSOR = ("node", "node", 0, 0, "the successor")
_NODE_OR_BOARD = ("node", "node?", 0, 0, "none for the board")
_REQUEST = ("request", "int", 0, COUNT_MAX, "number of the approval request")

OPERATIONS = (
    (1, "status", VIEW, True, (), "the board: mode, epoch, holder, operation under way, health, settings"),
    (2, "node", VIEW, True, (_NODE,), "one node: role, verdict, age, lease, power, relay"),
    (
        3,
        "log",
        VIEW,
        True,
        (("after", "int", 0, COUNT_MAX, "sequence"), ("count", "int", 1, PAGE_MAX, "records wanted")),
        "event messages, then a response",
    ),
    (
        4,
        "settings",
        VIEW,
        True,
        (("offset", "int", 0, COUNT_MAX, "first byte wanted"),),
        "the running settings as text, without keys",
    ),
    (
        5,
        "settings_begin",
        CONFIGURE,
        True,
        (("length", "int", 0, LENGTH_MAX, "bytes"), ("crc", "int", 0, 65535, "CRC-16")),
        "start an upload",
    ),
    (
        6,
        "settings_put",
        CONFIGURE,
        True,
        (("offset", "int", 0, LENGTH_MAX, "bytes before it"), ("text", "text", 0, 0, "a piece")),
        "a piece of the upload, in order",
    ),
    (SETTINGS_APPLY, "settings_apply", CONFIGURE, False, (), "check the upload, store it on trial and run it"),
    (
        8,
        "settings_confirm",
        CONFIGURE,
        True,
        (("generation", "int", 0, COUNT_MAX, "the one on trial"),),
        "keep the settings on trial",
    ),
    (9, "settings_revert", CONFIGURE, True, (), "go back to the settings before the trial"),
    (
        MODE,
        "mode",
        OPERATE,
        True,
        (("mode", "mode", 0, 0, "table of modes"),),
        "change the mode; leaving observe arms and needs more",
    ),
    (
        SWITCHOVER,
        "switchover",
        OPERATE,
        False,
        (_SUCCESSOR, ("force", "bool", 0, 0, "fence without a drain")),
        "move the active role",
    ),
    (
        FENCE,
        "fence",
        OPERATE,
        False,
        (
            _NODE,
            ("last", "bool", 0, 0, "even if no fit node remains"),
            ("by", "int", 0, 15, "bit field by"),
        ),
        "fence a node now",
    ),
    (RELEASE, "release", OPERATE, True, (_NODE,), "give a fenced node its power back"),
    (CLEAR, "clear", OPERATE, True, (_NODE,), "end a node's quarantine or lock-out"),
    (READOPT, "readopt", OPERATE, False, (_NODE,), "take a running node as active again, with a new epoch"),
    (
        MAINTENANCE,
        "maintenance",
        OPERATE,
        True,
        (_NODE_OR_BOARD, ("seconds", "int", 0, COUNT_MAX, "maintenance_max_s at most count; 0 ends it")),
        "leave a node or the board alone for a while",
    ),
    (APPROVE, "approve", OPERATE, False, (_REQUEST,), "let it happen"),
    (DENY, "deny", OPERATE, False, (_REQUEST,), "do not let it happen"),
    (
        19,
        "time",
        OPERATE,
        True,
        (("day", "int", 1, DAY_MAX, "since 1970"), ("ms", "int", 0, DAY_MS - 1, "of the day")),
        "set the wall time",
    ),
    (20, "restart", CONFIGURE, False, (), "restart the firmware; relays of a fence under way stay as they are"),
    (21, "repl", CONFIGURE, False, (), "stop guarding and give the MicroPython prompt"),
    (DECLARE, "declare", OPERATE, False, (_NODE,), "say who may be active where the board cannot know it"),
    (
        SCHEDULE,
        "schedule",
        OPERATE,
        False,
        (_SUCCESSOR, ("seconds", "int", 1, SCHEDULE_MAX_S, "from now")),
        "switch over later; needs the wall time, so that it survives a restart",
    ),
    (CANCEL, "cancel", OPERATE, True, (), "cancel a drain or a scheduled switchover"),
    (
        UPDATE,
        "update",
        CONFIGURE,
        False,
        (("seconds", "int", 1, UPDATE_MAX_S, "update_max_s at most"),),
        "long leases, then maintenance",
    ),
    (26, "plans", VIEW, True, (), "scheduled switchover, long lease, what the status LED shows, the transfer relay"),
    (27, "platform", VIEW, True, (), "what the firmware runs on: MicroPython, board, folder; how it last failed"),
    (
        30,
        "drops",
        VIEW,
        True,
        (_NODE_OR_BOARD,),
        "what was thrown away on a node's line, or on the host link, by kind",
    ),
    (31, "inputs", VIEW, True, (), "the level of each input and output by signal: 1 is asserted"),
    (32, "tests", VIEW, True, (), "the relay test under way, and what the last one found"),
    (
        PROOF,
        "proof",
        OPERATE,
        False,
        (_NODE, ("seconds", "int", 1, PROOF_MAX_S, "without power")),
        "cut a node's power relay for a test; needs the configure key or the key switch",
    ),
    (PRESS, "press", OPERATE, False, (_NODE,), "press a node's front panel for a test; needs what proof needs"),
    (TRANSFER, "transfer", OPERATE, True, (_NODE,), "send the transfer relay to a or b for a test, in observe mode"),
    (
        36,
        "lamps",
        OPERATE,
        True,
        (
            ("lit", "int", 0, 7, "1 LED_BOARD, 2 LED_STATUS, 4 GUARDING"),
            ("seconds", "int", 0, LAMPS_MAX_S, "0 ends it"),
        ),
        "show a pattern on the LEDs and the alarm contact",
    ),
    (37, "test_end", OPERATE, True, (), "end a test under way: relay released, LEDs as they were"),
    (
        38,
        "test_note",
        OPERATE,
        False,
        (
            _NODE_OR_BOARD,
            ("check", "int", 0, CHECK_MAX, "table of checks"),
            ("outcome", "int", 0, OUTCOME_MAX, "table of outcomes"),
        ),
        "journal what a person saw in a self-test",
    ),
)

# Codes of a response's "error".
ERRORS = (
    ("bad_request", "the request is not valid JSON or lacks an argument"),
    ("unknown_operation", "the board's firmware does not know this operation"),
    ("bad_argument", "an argument is out of its range"),
    ("not_allowed", "the key that signed it does not have the right"),
    ("bad_mac", "the signature is wrong: wrong key, or an old session"),
    ("refused", "the board's rules forbid it; reason says why"),
    ("busy", "the board has no quiet moment for it now; ask again"),
    ("bad_settings", "the settings break a rule; path, rule and limit say which"),
    ("storage", "the board's flash could not be written"),
)


def operation_row(name: str) -> "Any":
    """Return the row of operation `name`, or None."""
    for row in OPERATIONS:
        if row[1] == name:
            return row
    return None


def limits_of(op: str, argument: str) -> str:
    """Return what `argument` of operation `op` must be, in words. For the host."""
    row = operation_row(op)
    for name, kind, lowest, highest, sentence in row[4] if row else ():
        if name == argument:
            kinds = {"mode": ", ".join(MODES), "text": "text", "bool": "true or false"}
            limits = kinds.get(kind) or "%d to %d" % (lowest, highest)
            return "%s must be %s (%s)" % (name, ", ".join(NODES) if kind[:4] == "node" else limits, sentence)
    return "%s: %s" % (argument or "an argument", dict(ERRORS)["bad_argument"])
