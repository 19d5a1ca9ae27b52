"""Permanent numbers and their names: nodes, roles, states, modes, rights, drops, verdicts, events, reasons.

Every table is a tuple of rows whose first column is the number on the wire and in the journal. A number is never reused
and never changes its meaning; a retired row keeps its number. Docs, `heartwire log` and the tests read these tables.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# No integer on the wire or in the board's memory reaches 2^30, where MicroPython's 31-bit small ints become heap
# objects.
INT_LIMIT = 1 << 30
COUNT_MAX = INT_LIMIT - 1

NODE_A = 0
NODE_B = 1
NODE_SPARE = 2
NO_NODE = 3
NODES = ("a", "b", "spare")
NODE_COUNT = 3

ROLE_OFFLINE = 0
ROLE_STANDBY = 1
ROLE_ACTIVE = 2
ROLE_QUARANTINED = 3
ROLES = ("offline", "standby", "active", "quarantined")

STATE_STARTING = 0
STATE_HEALTHY = 1
STATE_DEGRADED = 2
STATE_BUSY = 3
STATE_DRAINING = 4
STATE_PLANNED_OFF = 5
STATE_CRASH_DUMP = 6
STATES = ("starting", "healthy", "degraded", "busy", "draining", "planned_off", "crash_dump")

MODE_OBSERVE = 0
MODE_FENCER = 1
MODE_APPROVE = 2
MODE_AUTO = 3
MODES = ("observe", "fencer", "approve", "auto")

RIGHT_NONE = 0
RIGHT_VIEW = 1
RIGHT_OPERATE = 2
RIGHT_CONFIGURE = 3
RIGHTS = ("none", "view", "operate", "configure")

POWER_UNKNOWN = 0
POWER_OFF = 1
POWER_ON = 2
POWERS = ("unknown", "off", "on")

VERDICT_UNHEARD = 0
VERDICT_GOOD = 1
VERDICT_LATE = 2
VERDICT_DEAD = 3
VERDICTS = ("unheard", "good", "late", "dead")

# How a node is fenced, as journaled with a fence that fired.
METHOD_POWER = 1
METHOD_RESET = 2
METHOD_BUTTON = 3
METHOD_LEASE = 4
METHODS = ("nothing", "power cut", "reset pulse", "power button", "lease only")
# How far the fence of a node is.
FENCES = ("idle", "firing", "proven", "assumed", "failed")
# What asked for a fence, as journaled with the request: bits 0-1 the node it ran on (3: unknown), from bit 2 the tool.
TOOL_UNKNOWN = 0
TOOL_COMMAND = 1
TOOL_FENCE_AGENT = 2
TOOLS = ("", "heartwire", "fence_heartwire")
# Steps of a recovery.
RUNG_NOTIFY = 0
RUNG_ASK = 1
RUNG_RESET = 2
RUNG_CYCLE = 3
RUNGS = ("notify", "ask", "reset", "cycle")

# What a test of a power relay found, as journaled.
PROOF_NONE = 0
PROOF_PASSED = 1
PROOF_RELAY_IDLE = 2
PROOF_SENSE_DEAD = 3
PROOF_UNCLEAR = 4
PROOF_SLOW = 5
PROOF_NO_RETURN = 6
PROOF_NO_SENSE = 7
PROOF_ENDED = 8
PROOFS = (
    (0, "none", "there is no result yet"),
    (1, "passed", "its sense went off and came back"),
    (2, "relay_idle", "its sense stayed on and it went on beating: the relay did not act, or the load is on a bypass"),
    (3, "sense_dead", "it fell silent, but its sense stayed on: the relay acted and the sense never moved"),
    (4, "unclear", "its sense stayed on, and without its heartbeats nobody can tell relay from sense"),
    (5, "slow", "its sense went off later than off_timeout_ms: a fence would not have been proven"),
    (6, "no_return", "its sense did not come back on after the relay was released"),
    (7, "no_sense", "the relay was cut and released, but no sense is wired"),
    (8, "ended", "the test was ended early"),
)
PROOF_NAMES = tuple([row[1] for row in PROOFS])
# What a self-test checks, and what came out.
CHECKS = (
    "line", "sense", "button", "key switch", "lamps", "alarm contact", "front panel", "power relay", "whole path",
    "transfer relay",
)  # fmt: skip
OUTCOMES = ("passed", "failed", "not tested")

# Why bytes, frames or heartbeats did not count: (number, name, sentence).
DROP_COBS = 0
DROP_CRC = 1
DROP_LONG = 2
DROP_SHORT = 3
DROP_UNKNOWN_TYPE = 4
DROP_WRONG_LENGTH = 5
DROP_NOT_ALLOWED = 6
DROP_OVERRUN = 7
DROP_OUT_OF_RANGE = 8
DROP_WRONG_NODE = 9
DROP_WRONG_ANSWER = 10
DROP_REPLAYED = 11
DROP_FROZEN = 12
DROP_EARLY = 13
DROP_UNANSWERED = 14
DROP_LINE_ERROR = 15
DROPS = (
    (0, "cobs", "a frame ended inside a COBS group: noise, or bytes were lost"),
    (1, "crc", "the CRC-16 of a frame was wrong"),
    (2, "long", "a frame was longer than any message allowed on this line"),
    (3, "short", "a frame was shorter than a type byte and a CRC"),
    (4, "unknown_type", "a good frame carried a message type that this version does not know"),
    (5, "wrong_length", "a known message had the wrong length"),
    (6, "not_allowed", "a message that this line has no right to send"),
    (7, "overrun", "bytes were lost because the receive buffer was full"),
    (8, "out_of_range", "a field of a message was outside its range"),
    (9, "wrong_node", "a heartbeat named another node than the one wired to this line: crossed cables"),
    (10, "wrong_answer", "a heartbeat's answer to the challenge was wrong: wrong key, or an old challenge"),
    (11, "replayed", "a heartbeat's sequence was lower than one already seen"),
    (12, "frozen", "a heartbeat repeated the sequence of the one before: a stuck sender"),
    (13, "early", "a heartbeat came sooner than early_ms after the one before"),
    (14, "unanswered", "a heartbeat carried no answer to a challenge: the node hears nothing, or has just started"),
    (15, "line_error", "the serial port reported a break, framing or parity error"),
)
DROP_NAMES = tuple([row[1] for row in DROPS])

SEVERITIES = ("info", "notice", "warning", "alarm")
# A decision record is never pushed out by a flood of routine records: the journal keeps a ring of segments for each.
RING_DECISION = 0
RING_ROUTINE = 1
RINGS = ("decision", "routine")


def name_of(table: "tuple[Any, ...]", number: int) -> str:
    """Return the name of `number` in a table of names or rows; "#number" where the table has no such row."""
    for place in range(len(table)):
        row = table[place]
        if isinstance(row, str):
            if place == number:
                return row
        elif row[0] == number:
            return str(row[1])
    return "#%d" % number


def number_of(table: "tuple[Any, ...]", name: str) -> int:
    """Return the number of `name` in a tuple of names; ValueError names the choices."""
    for number in range(len(table)):
        row = table[number]
        if name == (row if isinstance(row, str) else row[1]):
            return number
    raise ValueError("%r is none of %s" % (name, ", ".join([r if isinstance(r, str) else r[1] for r in table])))
