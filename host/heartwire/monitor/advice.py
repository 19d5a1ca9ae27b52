"""What each event and observation means to a person: how much it matters, what it opens or clears, what to do now.

Tables, and what is left of a text in a given state. ADVICE has a row for each event of the contract (a test holds
that); a rank orders events of one severity, so that the headline of a message is the activation and not the late
heartbeat before it. Called by routing and compose.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from heartwire_protocol import events


@dataclass(frozen=True)
class Row:
    """One event: rank (higher leads), the problem it opens, those it closes, and what a person should do."""

    rank: int
    do: str
    opens: str = ""
    closes: tuple[str, ...] = ()
    # A problem of the whole board is closed whatever node the closing event is about.
    anywhere: bool = False
    # Why it is so, for an event whose record carries no reason.
    why: str = ""


LOOK = "Look at `heartwire status` and `heartwire log`."
REPAIR = "Find out why the fenced server failed before it serves again; then `heartwire clear` it."
REPLACE = "Replace the board: without a record it fences nobody."
WORN = "Plan to replace the board; its flash may be worn out."
SERVES = "Check that the services answer where it is active now."
CABLE = "Check the serial cable, its plugs and the server's port."

ADVICE: dict[str, Row] = {
    "boot": Row(40, "If nobody restarted the board, check its supply and USB cable.", closes=("safe_mode",)),
    "settings_trial": Row(10, "Nothing, if you applied them; else find out who holds the configure key."),
    "settings_confirmed": Row(10, "Nothing, if you applied them; else find out who holds the configure key."),
    "settings_reverted": Row(30, "Apply the settings again and confirm them in time, if they were meant."),
    "mode_changed": Row(30, "Nothing, if you changed it; in observe mode the board moves no relay."),
    "time_set": Row(0, "Nothing."),
    "safe_mode": Row(
        80,
        "The board acts on nothing: find out why it failed to boot, then flash or replace it.",
        opens="safe_mode",
        why="the firmware did not stay up",
    ),
    "journal_lost": Row(
        50,
        "The board's flash may be worn out or full: see `heartwire status`.",
        why="the board could not write its flash",
    ),
    "store_empty": Row(
        60,
        "Nothing, if the board finds out by itself who runs; else `heartwire status` names who may be active.",
        opens="store_empty",
        why="the board's store is new, replaced or damaged",
    ),
    "first_heard": Row(5, "Nothing.", closes=("silent", "half_line")),
    "late": Row(
        20,
        "Nothing yet; if it happens often, look at the server's load and its cable.",
        opens="silent",
        why="no good heartbeat came within late_ms",
    ),
    "dead": Row(60, f"Look at the server itself: console, power, agent. {CABLE}", opens="silent"),
    "good_again": Row(
        20,
        "Look at the server's log for why it was silent.",
        closes=("silent", "altered", "half_line", "all_silent", "start_failed"),
        anywhere=True,
        why="a good heartbeat came",
    ),
    "altered": Row(
        35,
        f"Check that both ends have the same key, and only one agent runs. {CABLE}",
        opens="altered",
        why="its heartbeats arrive, but do not count",
    ),
    "half_line": Row(
        35,
        f"The server hears nothing from the board. {CABLE}",
        opens="half_line",
        why="its heartbeats answer no challenge",
    ),
    "new_incarnation": Row(5, "Nothing, if the agent was restarted on purpose.", closes=("half_line", "epoch_refused")),
    # Only "degraded" is a problem, and any other state its end: routing.
    "state_reported": Row(
        0,
        "`heartwire agent doctor` on that server says which probe or hook fails.",
        opens="degraded",
        closes=("degraded",),
        why="the server's own agent says so",
    ),
    "sense_changed": Row(5, "Nothing."),
    "two_running": Row(
        95,
        "Stop the services where they should not run NOW, then compare the data of both.",
        opens="two_running",
        why="both say so in their heartbeats",
    ),
    "fence_prepared": Row(15, "Nothing; the board waits for the deadline."),
    "fence_cancelled": Row(15, "Nothing.", closes=("unproven",)),
    "fence_fired": Row(70, REPAIR, opens="fenced"),
    "off_proven": Row(45, "Nothing.", closes=("unproven", "two_running", "disagree", "relay_suspect")),
    "off_assumed": Row(
        65,
        "Make sure with your own eyes that the server is off: nothing measures its power.",
        closes=("two_running",),
        why="its power is not measured, and the time for it is over",
    ),
    "off_failed": Row(
        90,
        "The server may still run: cut its power by hand. Then `heartwire status` says how the other one takes over.",
        opens="unproven",
    ),
    "relay_released": Row(25, "Look at why it was fenced before you clear it.", closes=("unproven", "disagree")),
    "fence_resumed": Row(65, "Check the board's supply: it was reset in the middle of a fence."),
    "would_fence": Row(30, "Nothing was done (observe mode). If it was right, arm the board: `heartwire mode auto`."),
    "would_grant": Row(30, "Nothing was done (observe mode). If it was right, arm the board: `heartwire mode auto`."),
    "granted": Row(
        75,
        SERVES,
        closes=("store_empty", "held", "switchover"),
        anywhere=True,
    ),
    "adopted": Row(25, "Nothing.", closes=("store_empty", "held"), anywhere=True),
    "revoked": Row(40, LOOK, closes=("two_running",)),
    "role_changed": Row(10, "Nothing.", closes=("fenced", "two_running")),
    "drain_asked": Row(10, "Nothing."),
    "drained": Row(10, "Nothing.", closes=("two_running",)),
    "drain_timeout": Row(40, "Look at why its services did not stop in time."),
    "running": Row(35, "Nothing.", closes=("service_failed",), anywhere=True),
    "held": Row(
        72, "The board does nothing by itself now: decide, and see `heartwire status` for what it waits.", opens="held"
    ),
    "evidence": Row(0, "Nothing."),
    "all_silent": Row(
        85,
        "Check what the lines share (the board's supply, the cable loom), then the servers.",
        opens="all_silent",
        why="lines that fall silent together share a cause, more likely than servers",
    ),
    "locked_out": Row(
        78,
        "The board will not act on it again: repair the server, then `heartwire clear` it.",
        opens="locked_out",
        why="too many automatic actions within window_s",
    ),
    "cleared": Row(
        15, "Nothing.", closes=("fenced", "locked_out", "unproven", "disagree", "start_failed", "relay_suspect")
    ),
    "approval_asked": Row(
        82,
        "Decide now: `heartwire approve` or `heartwire deny`. Without an answer nothing is done.",
        opens="approval",
        why="in approve mode a person decides",
    ),
    "approved": Row(15, "Nothing.", closes=("approval", "held"), anywhere=True),
    "denied": Row(15, "Look after the failed server by hand.", closes=("approval",), anywhere=True),
    "approval_expired": Row(
        55, "Nobody answered in time: look after the server by hand.", closes=("approval",), anywhere=True
    ),
    "maintenance_began": Row(10, "Nothing; it ends by itself.", opens="maintenance"),
    "maintenance_ended": Row(
        48,
        "If a server is still silent, look at it: nobody was told while it was in maintenance.",
        closes=("maintenance",),
    ),
    "requested": Row(5, "Nothing."),
    "refused": Row(15, LOOK),
    "switchover_began": Row(20, "Nothing."),
    "switchover_done": Row(30, SERVES, closes=("switchover",), anywhere=True),
    "switchover_failed": Row(73, f"Nothing moved, or only half of it. {LOOK}", opens="switchover"),
    "scheduled": Row(10, "Nothing, if you scheduled it."),
    "schedule_ended": Row(50, "Look at what stands in its way with `heartwire plans`, then schedule it again."),
    "stalled": Row(10, "Nothing; if it happens often, the board's flash may be worn."),
    "recovery_step": Row(42, "Nothing yet; the board goes on step by step, and then locks out."),
    "start_asked": Row(58, "Watch that the standby comes up: nobody else can take over now."),
    "start_failed": Row(76, "Look at the server that does not come up: console, power, agent.", opens="start_failed"),
    "line_fault": Row(36, CABLE, why="framing errors, breaks and bad CRCs were counted"),
    "interrupt_lost": Row(
        32,
        "Nothing yet; a heartbeat may have counted some ms late. If it happens often, report it.",
        why="its handler failed",
    ),
    "boot_time": Row(0, "Nothing."),
    "boot_slow": Row(22, "Raise boot_grace_ms of this node, or a slow boot looks like a fault.", why="it was measured"),
    "transferred": Row(30, "Nothing.", closes=("transfer",), anywhere=True),
    "transfer_fault": Row(
        77, "Look at the transfer relay and its position contacts; switch it by hand if you must.", opens="transfer"
    ),
    "long_lease": Row(
        38, "Nothing; no failover before it is over.", opens="long_lease", why="the firmware is to be updated"
    ),
    "long_lease_ended": Row(12, "Nothing.", closes=("long_lease",), anywhere=True),
    "disagree": Row(
        88,
        "The relay or its sense lies: look at both, and make sure with your own eyes whether the server is off.",
        opens="disagree",
        why="the sense inputs do not show what the relay was told",
    ),
    "proof_began": Row(14, "Nothing; the relay and its sense are tested."),
    "proof_passed": Row(14, "Nothing.", closes=("proof",)),
    "proof_failed": Row(
        74,
        "A real fence would fail as well: mend the relay, its wiring or its sense, then test again.",
        opens="proof",
    ),
    "proof_ended": Row(14, "Nothing."),
    "tested": Row(14, "Nothing."),
    "front_pressed": Row(24, "Nothing, if it was meant; the board pressed the front-panel button."),
    "settings_lost": Row(
        82,
        "Nothing is guarded: turn the board's key switch on, put the settings back with `heartwire config apply "
        "--unsigned`, and turn it off again.",
    ),
    "agree": Row(15, "Nothing.", closes=("disagree",)),
    "feed_lost": Row(
        64,
        "Look at its power supplies and at the sense of each feed: until all are on, no fence of it can be proven.",
        opens="feed_lost",
        why="a sense that was never seen on proves nothing when it is off",
    ),
    "feed_back": Row(15, "Nothing.", closes=("feed_lost",)),
    "service_failed": Row(
        79,
        "Look at the services on the server itself: `heartwire agent doctor`, its hooks and their log.",
        opens="service_failed",
    ),
    "service_back": Row(20, "Look at the server's log for why they failed.", closes=("service_failed",)),
    "epoch_refused": Row(
        83,
        "Look at that server's epoch file with `heartwire agent epoch`, which can mend it; then start its agent anew.",
        opens="epoch_refused",
    ),
    "maintenance_ends": Row(
        12, "Extend the maintenance if it is to last longer: when it is over, the board acts again."
    ),
    "repeated": Row(20, LOOK),
    "relay_suspect": Row(
        89,
        "Mend the contact or its wiring and test it; then `heartwire clear` it.",
        opens="relay_suspect",
        why="its power sense stayed on when the board cut it",
    ),
    "storage_bad": Row(84, REPLACE, opens="storage_bad", why="a write to its flash failed"),
    "fell_back": Row(
        79,
        "The firmware of the last update does not start on this board: `heartwire log`, then `heartwire flash`.",
        why="the firmware of the last update did not stay up",
    ),
    "storage_good": Row(30, WORN, closes=("storage_bad",), anywhere=True),
}
NOTICED = "the monitor noticed it itself; no record says it"
UNKNOWN = Row(30, "This heartwire does not know that event: install the version that fits the board.")

# Observations of the monitor: (severity, what a person should do, problem opened, problem closed).
OBSERVATIONS: dict[str, tuple[str, str, str, str]] = {
    "unreachable": (
        "warning",
        "Check the board's USB cable and supply, and that no other program holds its port. It guards on by itself.",
        "unreachable",
        "",
    ),
    "reachable": ("notice", "Nothing.", "", "unreachable"),
    "flash_failing": ("alarm", REPLACE, "storage_bad", ""),
    "flash_works": ("notice", WORN, "", "storage_bad"),
    "partner_gone": (
        "warning",
        "Start the other monitor, or mend the way to it: until then nobody tells if this one cannot.",
        "partner",
        "",
    ),
    "partner_back": ("notice", "Nothing.", "", "partner"),
    "reset": ("notice", "If nobody restarted the board, check its supply and USB cable.", "", ""),
    "restarted": (
        "warning",
        "The board's flash was formatted or replaced: make sure that this was meant, and keep the old store.",
        "",
        "",
    ),
    "page_asked": ("info", "Nothing, if that person meant it.", "", ""),
    "page_done": ("notice", "Nothing, if that person meant it.", "", ""),
    "page_refused": ("notice", "Nothing was done, or nobody knows whether it was: look at `heartwire status`.", "", ""),
    "same_id": (
        "warning",
        "Two boards say that they are the same one, or one is listed twice: compare their ports in monitor.toml. What "
        "they say is kept apart.",
        "same_id",
        "",
    ),
    "own_id": ("notice", "Nothing.", "", "same_id"),
    "replaced": ("warning", "Another board answers at this port: make sure that this was meant.", "", ""),
    "lost": ("warning", "Records are missing without cause: keep a copy of the journal and find out why.", "", ""),
    "damaged": ("alarm", "A record is damaged: the board's flash may be worn out; plan to replace it.", "", ""),
    "altered": ("alarm", "The journal was altered: treat the board and its record as evidence.", "", ""),
    "rotated": ("info", "Nothing; the journal is of limited size, and the monitor was away too long.", "", ""),
}


COMMAND = re.compile(r"`heartwire ([a-z-]+)[^`]*`")
# What only looks, or asks nothing of the policy: taken in every state.
LOOKS = frozenset(("status", "log", "why", "plans", "agent", "monitor", "config", "flash", "help"))
_THEN = re.compile(r"[;,] then `heartwire [^`]+` it")


def problem_of(event: str) -> str:
    """Return the problem that an event or an observation opens, "" if none."""
    return row_of(event).opens if event in ADVICE else OBSERVATIONS.get(event, ("", "", "", ""))[2]


def acts_in(text: str) -> set[str]:
    """Return the commands that `text` tells people to type and that do something."""
    return set(COMMAND.findall(text)) - LOOKS


def as_far_as_taken(text: str, taken: Collection[str]) -> str:
    """Return an advice without what names a command that does something and is not among `taken`; perhaps ""."""
    kept = []
    for sentence in re.split(r"(?<=\.) ", text):
        shown = sentence if acts_in(sentence) <= set(taken) else _THEN.sub("", sentence)
        if acts_in(shown) <= set(taken):
            kept.append(shown)
    return " ".join(kept)


def alarming() -> frozenset[str]:
    """Return the kinds of problems that an alarm opens; the others are opened by warnings."""
    by_events = {ADVICE[row[1]].opens for row in events.EVENTS if row[2] == events.ALARM and row[1] in ADVICE}
    by_ourselves = {opens for severity, _, opens, _ in OBSERVATIONS.values() if severity == "alarm"}
    return frozenset((by_events | by_ourselves) - {""})


def row_of(event: str) -> Row:
    """Return the row of an event by name; UNKNOWN for one of a newer version."""
    return ADVICE.get(event, UNKNOWN)
