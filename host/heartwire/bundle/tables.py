"""What the board's build leaves out of tables, and what it works out beforehand. Lists only; read by whole.py.

The contract's tables carry sentences for people: docs, `heartwire log` and `heartwire why` read them on the host. The
board writes numbers, so its build keeps the rows and blanks the sentences. A path walks a row: a number is a column,
STAR is every row of a nested table.
"""

from __future__ import annotations

STAR = -1

# Table -> columns of each row that only people read.
WORDS: dict[tuple[str, str], tuple[tuple[int, ...], ...]] = {
    ("settings", "BOARD"): ((5,),),
    ("settings", "NODE"): ((5,),),
    ("settings_rules", "RULES"): ((4,),),
    ("settings_rules", "KEY_RULES"): ((4,),),
    ("messages", "MESSAGES"): ((2,), (3,), (5,), (4, STAR, 2)),
    ("messages", "_HEARTBEAT_FIELDS"): ((2,),),
    ("messages", "_GRANT_FIELDS"): ((2,),),
    ("operations", "OPERATIONS"): ((5,), (4, STAR, 4)),
    ("operations", "_NODE"): ((4,),),
    ("operations", "_SUCCESSOR"): ((4,),),
    ("operations", "_NODE_OR_BOARD"): ((4,),),
    ("operations", "_REQUEST"): ((4,),),
    ("lights", "PATTERNS"): ((2,),),
    ("records", "FIELDS"): ((2,),),
}
# Names whose value is worked out from tables when they are imported: the build puts the value in place of the table.
VALUES = (
    ("codes", "DROP_NAMES"),
    ("codes", "PROOF_NAMES"),
    ("events", "RING_OF"),
    ("operations", "CHECK_MAX"),
    ("operations", "OUTCOME_MAX"),
    ("reasons", "NAMES"),
    ("records", "WIDTHS"),
    ("records", "BODY_LENGTH"),
)
