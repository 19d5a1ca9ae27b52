"""Operations of the host link: what a request may ask, with which key, and whether it may be repeated.

OPERATIONS rows are (number, name, right, idempotent, arguments, sentence); an argument is (name, kind, sentence).
Numbers are permanent (they stand in journal records). A response is a JSON object: the result, or {"error": code,
"say": words, "next": words}. Without a configured key of its right, an operation is open; arming needs the configure
key or the key switch always.
"""

from heartwire_protocol.codes import RIGHT_CONFIGURE as CONFIGURE
from heartwire_protocol.codes import RIGHT_OPERATE as OPERATE
from heartwire_protocol.codes import RIGHT_VIEW as VIEW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NODE = ("node", "node", "a, b or spare")

OPERATIONS = (
    (1, "status", VIEW, True, (), "the board: mode, epoch, holder, operation under way, health, settings"),
    (2, "node", VIEW, True, (_NODE,), "one node: role, verdict, age, lease, power, relay"),
    (
        3,
        "log",
        VIEW,
        True,
        (("after", "int", "sequence"), ("count", "int", "1 to 16")),
        "event messages, then a response",
    ),
    (
        4,
        "settings",
        VIEW,
        True,
        (("offset", "int", "first byte wanted"),),
        "the running settings as text, without keys",
    ),
    (5, "settings_begin", CONFIGURE, True, (("length", "int", "bytes"), ("crc", "int", "CRC-16")), "start an upload"),
    (6, "settings_put", CONFIGURE, True, (("offset", "int", ""), ("text", "text", "a piece")), "a piece of the upload"),
    (7, "settings_apply", CONFIGURE, False, (), "check the upload, store it on trial and run it"),
    (8, "settings_confirm", CONFIGURE, True, (("generation", "int", ""),), "keep the settings on trial"),
    (9, "settings_revert", CONFIGURE, True, (), "go back to the settings before the trial"),
    (10, "mode", OPERATE, True, (("mode", "mode", ""),), "change the mode; leaving observe arms and needs more"),
    (
        11,
        "switchover",
        OPERATE,
        False,
        (("node", "node", "the successor"), ("force", "bool", "fence without a drain")),
        "",
    ),
    (
        12,
        "fence",
        OPERATE,
        False,
        (_NODE, ("last", "bool", "even if no fit node remains"), ("by", "int", "0 to 15: tool x 4 + node, 3 for none")),
        "fence a node now",
    ),
    (13, "release", OPERATE, True, (_NODE,), "give a fenced node its power back"),
    (14, "clear", OPERATE, True, (_NODE,), "end a node's quarantine or lock-out"),
    (15, "readopt", OPERATE, False, (_NODE,), "take a running node as active again, with a new epoch"),
    (16, "maintenance", OPERATE, True, (("node", "node", "none for the board"), ("seconds", "int", "0 ends it")), ""),
    (17, "approve", OPERATE, False, (("request", "int", "number of the approval request"),), "let it happen"),
    (18, "deny", OPERATE, False, (("request", "int", "number of the approval request"),), "do not let it happen"),
    (19, "time", OPERATE, True, (("day", "int", "since 1970"), ("ms", "int", "of the day")), "set the wall time"),
    (20, "restart", CONFIGURE, False, (), "restart the firmware; relays of a fence under way stay as they are"),
    (21, "repl", CONFIGURE, False, (), "stop guarding and give the MicroPython prompt"),
    (22, "declare", OPERATE, False, (_NODE,), "say who may be active where the board cannot know it"),
    (
        23,
        "schedule",
        OPERATE,
        False,
        (("node", "node", "the successor"), ("seconds", "int", "from now, 1 to 604800")),
        "switch over later; needs the wall time, so that it survives a restart",
    ),
    (24, "cancel", OPERATE, True, (), "cancel a drain or a scheduled switchover"),
    (25, "update", CONFIGURE, False, (("seconds", "int", "1 to update_max_s"),), "long leases, then maintenance"),
    (26, "plans", VIEW, True, (), "scheduled switchover, long lease, what the status LED shows, the transfer relay"),
    (27, "platform", VIEW, True, (), "what the firmware runs on: MicroPython, board, folder; how it last failed"),
    (30, "drops", VIEW, True, (_NODE,), "what was thrown away on a node's line, or on the host link, by kind"),
    (31, "inputs", VIEW, True, (), "the level of each input and output by signal: 1 is asserted"),
    (32, "tests", VIEW, True, (), "the relay test under way, and what the last one found"),
    (
        33,
        "proof",
        OPERATE,
        False,
        (_NODE, ("seconds", "int", "1 to 10")),
        "cut a node's power relay for a test; needs the configure key or the key switch",
    ),
    (34, "press", OPERATE, False, (_NODE,), "press a node's front panel for a test; needs what proof needs"),
    (35, "transfer", OPERATE, True, (_NODE,), "send the transfer relay to a or b for a test, in observe mode"),
    (
        36,
        "lamps",
        OPERATE,
        True,
        (("lit", "int", "1 LED_BOARD, 2 LED_STATUS, 4 GUARDING"), ("seconds", "int", "0 to 30")),
        "show a pattern on the LEDs and the alarm contact",
    ),
    (37, "test_end", OPERATE, True, (), "end a test under way: relay released, LEDs as they were"),
    (
        38,
        "test_note",
        OPERATE,
        False,
        (("node", "node", "none for the board"), ("check", "int", "table of checks"), ("outcome", "int", "")),
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
