"""Reasons: why something was or was not done, with permanent numbers.

Every decision in the journal carries one. REASONS rows are (number, name, sentence); the constant of a row is its name
in upper case (a test holds them equal). The sentence completes "... because" or stands after a colon. RESERVED numbers
had a name that nothing said; no other may take them.
"""

NONE = 0
DEAD = 1
OPERATOR = 2
SWITCHOVER = 3
FAILBACK = 4
FIRST_START = 5
HOLDER_RETURNED = 6
HOLDER_MISSING = 7
GOOD_AGAIN = 8
OFF_TIME_OVER = 9
HOLD_OVER = 10
CLEAN_START = 11
EXPIRED = 12
FENCE_PROVEN = 13
DRAINED = 14
POWER_ON = 15
WATCHDOG = 16
REQUESTED_RESET = 17
UNCONFIRMED = 18
RESET_ON_TRIAL = 19
OBSERVE_MODE = 20
FENCER_MODE = 21
MAINTENANCE = 22
SAFE_MODE = 23
LOCKED_OUT = 24
NEVER_HEARD = 25
BOOT_GRACE = 26
COMMON_CAUSE = 27
NO_SUCCESSOR = 28
ALREADY_OFF = 30
STILL_ON = 31
NOT_DURABLE = 32
BUSY = 33
NEEDS_APPROVAL = 34
POWERED = 35
PEER_SEES = 36
HALF_LINE = 37
OTHER_OPERATION = 38
STORE_EMPTY = 39
TWO_RUNNING = 40
NOT_FIT = 41
ALREADY_ACTIVE = 42
NOT_ACTIVE = 43
UNKNOWN_NODE = 44
LAST_POWERED = 45
NO_FENCE = 46
WRONG_PHASE = 47
PLANNED_OFF = 48
NOT_ARMED = 49
SENSE_UNSEEN = 50
DRAIN_TIMEOUT = 51
DIED_DRAINING = 52
FENCE_FIRED = 54
NODE_STOPPED = 55
CRASH = 56
CORRUPT = 57
NOT_QUARANTINED = 58
STARTING = 59
HEARD = 60
BUTTON = 61
SCHEDULE = 62
NO_WALL_TIME = 63
LONG_LEASE = 64
LINE_FAULT = 65
RECOVERY = 66
PEER = 67
COLD_START = 68
NOT_BOOTED = 69
WATCHDOG_UNARMED = 70
CANCELLED = 71
ACTIVE_NOT_GOOD = 72
MISSED = 73
POSITION = 74
NOT_IN_MAINTENANCE = 75
POWER_LOST = 76
DECLARED = 77
EPOCH = 78
DISPLACED = 79
DEGRADED = 80
NOT_RUNNING = 81
MAY_NOT_FENCE = 82
TOO_OFTEN = 83
SERVICE = 84
CRASH_LOOP = 85
ON_TRIAL = 110
UNPROVEN_LINE = 111
IN_USE = 112
NOT_GOOD_AGAIN = 113
SETTINGS_LOST = 114

RESERVED = (29, 53)

REASONS = (
    (0, "none", "no reason given"),
    (1, "dead", "no good heartbeat for dead_ms"),
    (2, "operator", "an operator asked for it"),
    (3, "switchover", "a switchover is under way"),
    (4, "failback", "the preferred node is fit again"),
    (5, "first_start", "all configured nodes have reported and nobody was active before"),
    (6, "holder_returned", "the last holder is fit again and nobody else is active"),
    (7, "holder_missing", "the last holder did not come back within cold_start_ms"),
    (8, "good_again", "good heartbeats came back before the fence fired"),
    (9, "off_time_over", "the configured off time is over"),
    (10, "hold_over", "hold_max_s is over"),
    (11, "clean_start", "the node came back with a clean start"),
    (12, "expired", "its time is over"),
    (13, "fence_proven", "the node was proven off"),
    (14, "drained", "the services were stopped on request"),
    (15, "power_on", "power came on"),
    (16, "watchdog", "the hardware watchdog reset the board"),
    (17, "requested_reset", "a restart was asked for"),
    (18, "unconfirmed", "nobody confirmed them in time"),
    (19, "reset_on_trial", "the board restarted while they were on trial"),
    (20, "observe_mode", "the board is in observe mode"),
    (21, "fencer_mode", "in fencer mode only explicit requests act"),
    (22, "maintenance", "maintenance is on"),
    (23, "safe_mode", "the board is in safe mode"),
    (24, "locked_out", "the node is locked out"),
    (25, "never_heard", "the node has not been heard since the board started"),
    (26, "boot_grace", "the node is within its boot grace"),
    (27, "common_cause", "no other line was heard clearly after it, so the cause may be common to all"),
    (28, "no_successor", "no other node is fit to be active"),
    (30, "already_off", "its power was off before the fence fired, so the fence proves nothing"),
    (31, "still_on", "its power sense did not go off"),
    (32, "not_durable", "the journal could not be written"),
    (33, "busy", "the node is busy"),
    (34, "needs_approval", "approve mode needs a person's approval"),
    (35, "powered", "its power sense and second sign of life say that it runs"),
    (36, "peer_sees", "its peer still sees it"),
    (37, "half_line", "the node is heard but does not hear the board"),
    (38, "other_operation", "another operation is under way"),
    (39, "store_empty", "the board has no durable record of who was active"),
    (40, "two_running", "two nodes report running services"),
    (41, "not_fit", "the node is not fit to be active"),
    (42, "already_active", "the node is active already"),
    (43, "not_active", "the node is not active"),
    (44, "unknown_node", "no such node is configured"),
    (45, "last_powered", "no other powered node fit to be active would remain"),
    (46, "no_fence", "the node has no fence configured"),
    (47, "wrong_phase", "there is nothing of this kind to answer"),
    (48, "planned_off", "the node said that it is going down on purpose"),
    (49, "not_armed", "arming needs the configure key or the key switch"),
    (50, "sense_unseen", "its power sense was never seen on while it was beating"),
    (51, "drain_timeout", "it did not stop its services in time"),
    (52, "died_draining", "it fell silent while stopping its services"),
    (54, "fence_fired", "its fence has fired"),
    (55, "node_stopped", "it says that its services are stopped"),
    (56, "crash", "the firmware failed"),
    (57, "corrupt", "the stored copy was damaged"),
    (58, "not_quarantined", "the node is neither quarantined nor locked out"),
    (59, "starting", "the node is starting"),
    (60, "heard", "it gives good heartbeats"),
    (61, "button", "the board's button was held"),
    (62, "schedule", "a schedule asked for it"),
    (63, "no_wall_time", "the board does not know the wall time"),
    (64, "long_lease", "a node holds a long lease for an update of the board"),
    (65, "line_fault", "its line shows errors, so the line may be broken and not the node"),
    (66, "recovery", "it did not come back by itself"),
    (67, "peer", "its peer asked for it"),
    (68, "cold_start", "a cold standby takes its place"),
    (69, "not_booted", "it did not get fit in time after it was started"),
    (70, "watchdog_unarmed", "its kernel watchdog is not armed, so its lease cannot be waited out"),
    (71, "cancelled", "it was cancelled"),
    (72, "active_not_good", "the active node is not good, so no other node is touched"),
    (73, "missed", "its time had passed while the board was off"),
    (74, "position", "its position contacts do not show where it was sent"),
    (75, "not_in_maintenance", "the node is not in maintenance for at least its boot grace"),
    (76, "power_lost", "its power went off with its last heartbeat, and not by this board"),
    (77, "declared", "an operator vouched that it is off and said who follows"),
    (78, "epoch", "it claims an epoch far above the board's own"),
    (79, "displaced", "the active node's failure goes first"),
    (80, "degraded", "it says that its services are degraded"),
    (81, "not_running", "it does not say that its services run"),
    (82, "may_not_fence", "its settings do not let it ask for a fence"),
    (83, "too_often", "it asked too often"),
    (84, "service", "the services of the active node failed"),
    (85, "crash_loop", "it lost its services again and again"),
    (110, "on_trial", "the settings are on trial"),
    (111, "unproven_line", "its line's settings were changed and it was not good since, so its silence proves nothing"),
    (112, "in_use", "what is active, holds the role, is late or is being fenced keeps the settings that guard it"),
    (113, "not_good_again", "a node that was good before is not good under the settings on trial"),
    (114, "settings_lost", "the board's settings are lost, so it takes orders only while its key switch is on"),
)


def _names() -> "tuple[str, ...]":
    names = [""] * (REASONS[-1][0] + 1)
    for row in REASONS:
        names[row[0]] = row[1]
    return tuple(names)


# The name of each reason by number; gaps between numbers leave room for kin.
NAMES = _names()
