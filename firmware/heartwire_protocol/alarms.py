"""Alarms: each abnormal state of the board, as a bit of the field `alarms` in its status.

ALARMS rows are (bit, name, severity, what is wrong, what closes it). Any of them opens the alarm contact of an armed
board; firmware/DESIGN.md is generated from this table. The board knows the bits only (lights.alarm_bits).
"""

from heartwire_protocol.events import ALARM, WARNING

SAFE_MODE = 1 << 0
TWO_RUNNING = 1 << 1
NOBODY_ACTIVE = 1 << 2
STORE_EMPTY = 1 << 3
ALL_SILENT = 1 << 4
FENCE_FAILED = 1 << 5
APPROVAL = 1 << 6
HELD = 1 << 7
STORAGE_BAD = 1 << 8
TRANSFER = 1 << 9
SERVICE_FAILED = 1 << 10
EXPOSED = 1 << 11
LOCKED_OUT = 1 << 12
MISSING = 1 << 13
HALF_LINE = 1 << 14
DISAGREE = 1 << 15
FEED_LOST = 1 << 16
RELAY_SUSPECT = 1 << 17
EPOCH_CLAIM = 1 << 18

ALARMS = (
    (SAFE_MODE, "safe_mode", ALARM, "bad boots", "a start that lasts a minute"),
    (TWO_RUNNING, "two_running", ALARM, "two nodes run services", "one of them stops"),
    (NOBODY_ACTIVE, "nobody_active", ALARM, "armed, and nobody serves", "a node is active and heard"),
    (
        STORE_EMPTY,
        "store_empty",
        WARNING,
        "epoch and holder are unknown",
        "all nodes report, or `heartwire declare`",
    ),
    (ALL_SILENT, "all_silent", ALARM, "all lines are silent together", "one is heard"),
    (
        FENCE_FAILED,
        "fence_failed",
        ALARM,
        "a fence proved nothing",
        "the sense goes off, `heartwire declare`, `heartwire release`, or hold_max_s",
    ),
    (
        APPROVAL,
        "approval",
        ALARM,
        "an approval is waited for",
        "`heartwire approve`, `heartwire deny`, the button, a heartbeat, or approval_s",
    ),
    (
        HELD,
        "held",
        ALARM,
        "something is not done, for the reason shown",
        "the node is good again, or somebody is granted",
    ),
    (STORAGE_BAD, "storage_bad", ALARM, "flash takes nothing", "a write that works"),
    (
        TRANSFER,
        "transfer",
        ALARM,
        "the transfer relay is not where it should be",
        "its contacts show one position again",
    ),
    (
        SERVICE_FAILED,
        "service_failed",
        ALARM,
        "the active node's services do not run or are degraded",
        "they run and are healthy, or another node is active",
    ),
    (
        EXPOSED,
        "exposed",
        WARNING,
        "a quarantine leaves nobody to take over",
        "`heartwire clear`, a clean start where set, or another fit node",
    ),
    (LOCKED_OUT, "locked_out", ALARM, "too many automatic actions on a node", "`heartwire clear`"),
    (MISSING, "missing", ALARM, "a node is not heard", "it is good again"),
    (HALF_LINE, "half_line", WARNING, "a node is heard but hears nothing", "it answers again, or is silent"),
    (DISAGREE, "disagree", ALARM, "commanded and observed power disagree", "they agree, or it is silent"),
    (
        FEED_LOST,
        "feed_lost",
        ALARM,
        "a sensed feed of a beating node has no power",
        "all feeds on while it beats",
    ),
    (
        RELAY_SUSPECT,
        "relay_suspect",
        ALARM,
        "a contact did not cut",
        "a relay test or fence that cuts, or `heartwire clear`",
    ),
    (
        EPOCH_CLAIM,
        "epoch_claim",
        ALARM,
        "a node claims an epoch that is none of this rack",
        "its epoch file is mended",
    ),
)


def names_of(bits: int) -> "list[str]":
    """Return the names of what is wrong; "#bit" for one that this version does not know."""
    found: "list[str]" = []
    for place in range(30):
        if bits >> place & 1:
            found.append(ALARMS[place][1] if place < len(ALARMS) else "#%d" % place)
    return found
