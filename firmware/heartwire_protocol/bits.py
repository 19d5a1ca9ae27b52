"""Bit fields: integers that hold several things. What stands where is written here alone, for both ends and the page.

A row is (name, lowest bit, bits, meaning). The board puts them together with the constants, which cost it nothing;
`unpack` is for the host.
"""

NODE_MASK = 3  # of every field that has its node at bit 0

STATE_AT = 2
NODE_STATE = (("node", 0, 2, "table of nodes"), ("state", STATE_AT, 3, "table of states"))

ROLE_AT = 2
NODE_ROLE = (("node", 0, 2, "table of nodes"), ("role", ROLE_AT, 2, "table of roles"))

# Who asks for a fence: the argument `by` of the host link. A node that asks on its own line has the same places for the
# tool (target), so that its number is made by putting the node in.
TOOL_AT = 2
TOOL_MASK = 3 << TOOL_AT
REQUESTER = (("node", 0, 2, "node that it runs on, 3 for none"), ("tool", TOOL_AT, 2, "table of tools"))

QUESTION_AT = 4
TARGET = (
    ("node", 0, 2, "node to be fenced, never the one that asks"),
    ("tool", TOOL_AT, 2, "table of tools"),
    ("question", QUESTION_AT, 1, "only asks how it is"),
)

# The argument of a fence as the policy takes it and the journal keeps it.
BY_AT = 1
ASKED = (
    ("last", 0, 1, "even if no fit node remains"),
    ("node", BY_AT, 2, "node that asks, 3 for none"),
    ("tool", BY_AT + TOOL_AT, 2, "table of tools"),
)

IS_POWER_AT = 3
IS_RELAY_AT = 5
IS_MODE_AT = 6
TARGET_IS = (
    ("fence", 0, 3, "table of fences"),
    ("power", IS_POWER_AT, 2, "table of power"),
    ("relay", IS_RELAY_AT, 1, "its relay is told to cut"),
    ("mode", IS_MODE_AT, 2, "the board's mode"),
)

FLAGS_AT = 3
POWER_AT = 10
HALF_LINE_AT = 12
ALTERED_AT = 13
VERDICT_AT = 14
EVIDENCE = (
    ("state", 0, 3, "table of states"),
    ("flags", FLAGS_AT, 7, "flags of its last heartbeat"),
    ("power", POWER_AT, 2, "table of power"),
    ("half_line", HALF_LINE_AT, 1, "it hears nothing of the board"),
    ("altered", ALTERED_AT, 1, "its heartbeats are altered"),
    ("verdict", VERDICT_AT, 2, "table of verdicts"),
)

FIELDS = (
    ("node_state", "heartbeat", NODE_STATE),
    ("node_role", "grant", NODE_ROLE),
    ("target", "fence_request, fence_reply", TARGET),
    ("target_is", "fence_reply", TARGET_IS),
    ("by", "operation fence", REQUESTER),
    ("b", "records of a requested or refused fence", ASKED),
    ("b", "record evidence", EVIDENCE),
)


def unpack(table: "tuple[tuple[str, int, int, str], ...]", value: int) -> "dict[str, int]":
    """Return the parts of `value` by name. For the host and tests."""
    return {row[0]: value >> row[1] & (1 << row[2]) - 1 for row in table}


def pack(table: "tuple[tuple[str, int, int, str], ...]", **parts: int) -> int:
    """Return the field of `parts` by name; what is not named is 0. ValueError for a part that does not fit."""
    value = 0
    for name, at, width, _ in table:
        part = parts.pop(name, 0)
        if part >> width:
            raise ValueError("%s: %d does not fit %d bits" % (name, part, width))
        value |= part << at
    if parts:
        raise ValueError("no part %s" % ", ".join(parts))
    return value
