"""Events: what the journal can say, with permanent numbers.

EVENTS rows are (number, name, severity, ring, sentence). A sentence may use {node}, {reason} and the record's two
arguments {a} and {b}; {a:mode} renders an argument by the table of that name, {by} says who asked for a fence. Gaps
between numbers leave room for kin. The board writes numbers only; the sentences are rendered on the host
(heartwire.journal).
"""

INFO, NOTICE, WARNING, ALARM = range(4)
DECISION, ROUTINE = range(2)

BOOT = 1
SETTINGS_TRIAL = 2
SETTINGS_CONFIRMED = 3
SETTINGS_REVERTED = 4
MODE_CHANGED = 5
TIME_SET = 6
SAFE_MODE = 7
JOURNAL_LOST = 8
STORE_EMPTY = 9
FIRST_HEARD = 10
LATE = 11
DEAD = 12
GOOD_AGAIN = 13
ALTERED = 14
HALF_LINE = 15
NEW_INCARNATION = 16
STATE_REPORTED = 17
SENSE_CHANGED = 18
TWO_RUNNING = 19
FENCE_PREPARED = 20
FENCE_CANCELLED = 21
FENCE_FIRED = 22
OFF_PROVEN = 23
OFF_ASSUMED = 24
OFF_FAILED = 25
RELAY_RELEASED = 26
FENCE_RESUMED = 27
WOULD_FENCE = 28
WOULD_GRANT = 29
GRANTED = 30
ADOPTED = 31
REVOKED = 32
ROLE_CHANGED = 33
DRAIN_ASKED = 34
DRAINED = 35
DRAIN_TIMEOUT = 36
RUNNING = 37
HELD = 40
EVIDENCE = 41
ALL_SILENT = 42
LOCKED_OUT = 43
CLEARED = 44
APPROVAL_ASKED = 45
APPROVED = 46
DENIED = 47
APPROVAL_EXPIRED = 48
MAINTENANCE_BEGAN = 50
MAINTENANCE_ENDED = 51
REQUESTED = 52
REFUSED = 53
SWITCHOVER_BEGAN = 55
SWITCHOVER_DONE = 56
SWITCHOVER_FAILED = 57
SCHEDULED = 58
SCHEDULE_ENDED = 59
STALLED = 60
RECOVERY_STEP = 61
START_ASKED = 62
START_FAILED = 63
LINE_FAULT = 64
BOOT_TIME = 65
BOOT_SLOW = 66
TRANSFERRED = 67
TRANSFER_FAULT = 68
LONG_LEASE = 69
LONG_LEASE_ENDED = 70
DISAGREE = 71
AGREE = 72
FEED_LOST = 73
FEED_BACK = 74
SERVICE_FAILED = 75
SERVICE_BACK = 76
EPOCH_REFUSED = 77
MAINTENANCE_ENDS = 78
REPEATED = 79
RELAY_SUSPECT = 80
INTERRUPT_LOST = 81
PROOF_BEGAN = 90
PROOF_PASSED = 91
PROOF_FAILED = 92
PROOF_ENDED = 93
TESTED = 94
FRONT_PRESSED = 95
STORAGE_BAD = 120
STORAGE_GOOD = 121
FELL_BACK = 122
SETTINGS_LOST = 130

EVENTS = (
    (1, "boot", NOTICE, DECISION, "the board started ({reason}); {a} bad boots in a row"),
    (2, "settings_trial", NOTICE, DECISION, "settings generation {a} on trial; they revert unless confirmed"),
    (3, "settings_confirmed", NOTICE, DECISION, "settings generation {a} confirmed"),
    (4, "settings_reverted", WARNING, DECISION, "settings reverted to generation {a}: {reason}"),
    (5, "mode_changed", NOTICE, DECISION, "mode changed to {a:mode} from {b:mode}: {reason}"),
    (6, "time_set", INFO, ROUTINE, "the host set the wall time"),
    (7, "safe_mode", ALARM, DECISION, "safe mode after {a} bad boots: no automatic action"),
    (8, "journal_lost", WARNING, DECISION, "{a} records were lost because the journal could not be written"),
    (9, "store_empty", WARNING, DECISION, "no durable record of epoch and holder: nobody is granted yet"),
    (10, "first_heard", NOTICE, ROUTINE, "{node} heard for the first time since the board started, after {a} ms"),
    (11, "late", WARNING, ROUTINE, "{node} is late: no good heartbeat for {a} ms"),
    (12, "dead", ALARM, DECISION, "{node} is dead: no good heartbeat for {a} ms"),
    (13, "good_again", NOTICE, ROUTINE, "{node} is good again after {a} ms without a good heartbeat"),
    (14, "altered", WARNING, ROUTINE, "{node} sends altered heartbeats: {a:drop} ({b} so far)"),
    (15, "half_line", WARNING, ROUTINE, "{node} is heard but does not hear the board (half line)"),
    (16, "new_incarnation", NOTICE, ROUTINE, "{node} has a new agent, incarnation {a}"),
    (17, "state_reported", INFO, ROUTINE, "{node} reports {a:state}, flags {b:flags}"),
    (18, "sense_changed", INFO, ROUTINE, "{node} power sense is now {a:power}"),
    (19, "two_running", ALARM, DECISION, "two nodes report running services at once"),
    (20, "fence_prepared", NOTICE, DECISION, "fence of {node} prepared: {reason}"),
    (21, "fence_cancelled", NOTICE, DECISION, "fence of {node} cancelled: {reason}"),
    (
        22,
        "fence_fired",
        ALARM,
        DECISION,
        "fence of {node} fired ({a:method}), {b} ms after its last good heartbeat: {reason}",
    ),
    (23, "off_proven", NOTICE, DECISION, "{node} is proven off, {a} ms after the fence fired"),
    (24, "off_assumed", WARNING, DECISION, "{node} is assumed off after {a} ms: its power is not measured"),
    (25, "off_failed", ALARM, DECISION, "{node} could not be proven off within {a} ms: {reason}; nobody is granted"),
    (26, "relay_released", NOTICE, DECISION, "{node} gets power again, {a} ms after the fence fired: {reason}"),
    (27, "fence_resumed", ALARM, DECISION, "fence of {node} resumed after a reset of the board"),
    (28, "would_fence", WARNING, DECISION, "would have fenced {node}: {reason} (observe mode)"),
    (29, "would_grant", WARNING, DECISION, "would have granted {node} epoch {a} (observe mode)"),
    (
        30,
        "granted",
        ALARM,
        DECISION,
        "{node} is active with epoch {a}{b:gap}: {reason}",
    ),
    (31, "adopted", NOTICE, DECISION, "{node} adopted as active with epoch {a}: it was running"),
    (32, "revoked", WARNING, DECISION, "{node} is no longer active (epoch {a}): {reason}"),
    (33, "role_changed", NOTICE, DECISION, "{node} is now {a:role}, was {b:role}: {reason}"),
    (34, "drain_asked", NOTICE, DECISION, "{node} asked to stop its services: {reason}"),
    (35, "drained", NOTICE, DECISION, "{node} says that its services are stopped, after {a} ms"),
    (36, "drain_timeout", WARNING, DECISION, "{node} did not stop its services within {a} ms"),
    (37, "running", NOTICE, DECISION, "{node} runs its services with epoch {a}, {b} ms after the grant"),
    (40, "held", ALARM, DECISION, "no action on {node}: {reason}"),
    (41, "evidence", INFO, DECISION, "evidence on {node}: last good heartbeat {a} ms ago; {b:evidence}"),
    (42, "all_silent", ALARM, DECISION, "all lines went silent together: cable, supply or board suspected"),
    (43, "locked_out", ALARM, DECISION, "{node} locked out after {a} automatic actions"),
    (44, "cleared", NOTICE, DECISION, "{node} cleared: {reason}"),
    (45, "approval_asked", ALARM, DECISION, "approval {a} asked: fence {node}, then promote {b:node}"),
    (46, "approved", NOTICE, DECISION, "approval {a} given: {reason}"),
    (47, "denied", NOTICE, DECISION, "approval {a} denied: {reason}"),
    (48, "approval_expired", WARNING, DECISION, "approval {a} not given in time: {reason}"),
    (50, "maintenance_began", NOTICE, DECISION, "maintenance of {node} for {a} s"),
    (51, "maintenance_ended", NOTICE, DECISION, "maintenance of {node} ended: {reason}"),
    (52, "requested", INFO, DECISION, "request {a:operation} for {node}{by}"),
    (53, "refused", NOTICE, DECISION, "request {a:operation} for {node} refused: {reason}"),
    (55, "switchover_began", NOTICE, DECISION, "switchover from {a:node} to {b:node}: {reason}"),
    (56, "switchover_done", NOTICE, DECISION, "switchover to {node} done, {a} ms after the other was last heard"),
    (57, "switchover_failed", ALARM, DECISION, "switchover to {node} failed: {reason}"),
    (58, "scheduled", NOTICE, DECISION, "switchover to {node} scheduled in {a} s"),
    (59, "schedule_ended", ALARM, DECISION, "scheduled switchover to {node} will not happen: {reason}"),
    (60, "stalled", WARNING, ROUTINE, "the board's loop stalled for {a} ms"),
    (61, "recovery_step", WARNING, DECISION, "recovery of {node}, step {a:rung}, attempt {b}: {reason}"),
    (62, "start_asked", ALARM, DECISION, "{node} is started by its power button: {reason}"),
    (63, "start_failed", ALARM, DECISION, "{node} was started, but after {a} ms it is not fit: {reason}"),
    (64, "line_fault", WARNING, ROUTINE, "the line of {node} shows {a} errors: cable or plug suspected"),
    (
        65,
        "boot_time",
        INFO,
        ROUTINE,
        "{node} took {a} ms from power to its first good heartbeat; the slowest so far {b} s",
    ),
    (66, "boot_slow", WARNING, DECISION, "boot_grace_ms of {node} leaves little room: {a} ms proposed, {b} ms set"),
    (67, "transferred", NOTICE, DECISION, "the transfer relay is at {a:node}"),
    (68, "transfer_fault", ALARM, DECISION, "the transfer relay was sent to {a:node}: {reason}"),
    (
        69,
        "long_lease",
        WARNING,
        DECISION,
        "nodes that stop have a lease for {a} s; nobody else is granted until it is over",
    ),
    (70, "long_lease_ended", NOTICE, DECISION, "the long lease is over: {reason}"),
    (71, "disagree", ALARM, DECISION, "{node}: commanded {a:power}, observed {b:power}"),
    (72, "agree", NOTICE, DECISION, "{node}: commanded and observed power agree again"),
    (
        73,
        "feed_lost",
        ALARM,
        DECISION,
        "{node} beats, but not all of its sensed feeds have power: its being off could not be proven",
    ),
    (74, "feed_back", NOTICE, DECISION, "{node} has power on all its sensed feeds again"),
    (75, "service_failed", ALARM, DECISION, "the services of {node} have failed for {a} ms: {reason}"),
    (76, "service_back", NOTICE, DECISION, "the services of {node} are well again"),
    (
        77,
        "epoch_refused",
        ALARM,
        DECISION,
        "{node} claims epoch {a}, the board is at {b}: it cannot be active before its epoch file is mended",
    ),
    (78, "maintenance_ends", NOTICE, ROUTINE, "maintenance of {node} ends in {a} s"),
    (79, "repeated", NOTICE, ROUTINE, "{a:event} of {node} happened {b} more times: {reason}"),
    (
        80,
        "relay_suspect",
        ALARM,
        DECISION,
        "the contact of {node} did not cut its power: it cannot be fenced before it is mended and cleared",
    ),
    (
        81,
        "interrupt_lost",
        WARNING,
        ROUTINE,
        "the interrupt that times the heartbeats of {node} is armed again: loss {a}",
    ),
    (90, "proof_began", WARNING, DECISION, "relay test of {node}: its power is cut for {a} ms, at most"),
    (
        91,
        "proof_passed",
        NOTICE,
        DECISION,
        "relay test of {node} passed: off {a} ms after the command, on again {b} ms after the release",
    ),
    (92, "proof_failed", ALARM, DECISION, "relay test of {node} failed: {a:proof}"),
    (93, "proof_ended", WARNING, DECISION, "relay test of {node} ended after {a} ms of cut power: {reason}"),
    (94, "tested", NOTICE, DECISION, "self-test of {node}, {a:check}: {b:outcome}"),
    (95, "front_pressed", WARNING, DECISION, "front panel of {node} pressed for {a} ms as a test"),
    (120, "storage_bad", ALARM, DECISION, "the board's flash does not take what is written: no fence, no failover"),
    (121, "storage_good", NOTICE, DECISION, "the board's flash takes what is written again; {a} records were lost"),
    (122, "fell_back", ALARM, DECISION, "the firmware before the last update runs: after it, {a} starts went badly"),
    (130, "settings_lost", ALARM, DECISION, "the settings are lost ({reason}): orders only while the key switch is on"),
)


def event_row(number: int) -> "tuple[int, str, int, int, str] | None":
    """Return the row of event `number`, or None where this version does not know it."""
    for row in EVENTS:
        if row[0] == number:
            return row
    return None


# The ring of each event by number; a number without a row is a decision of a later version.
RING_OF = bytes([(event_row(number) or (0, "", 0, DECISION))[3] for number in range(EVENTS[-1][0] + 1)])


def ring_of(number: int) -> int:
    """Return the ring that keeps event `number`; unknown ones count as decisions."""
    return RING_OF[number] if number < len(RING_OF) else DECISION
