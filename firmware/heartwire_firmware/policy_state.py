"""What the policy knows and remembers: facts about the nodes, its own state, and what it decided in a step.

Plain numbers and lists of numbers only: ages and remaining times, never points in time, so that a state can be frozen
into a tuple, compared and walked through exhaustively, and nothing wraps. The policy changes State; the supervisor
fills Facts before each step and carries out Decisions after it.
"""

from heartwire_firmware.sequencer import IDLE
from heartwire_protocol.codes import COUNT_MAX, MODE_OBSERVE, NO_NODE, NODE_COUNT, POWER_UNKNOWN, ROLE_OFFLINE

# Phases of the one operation that can be under way.
WATCHING = 0
APPROVAL = 1
DRAINING = 2
FENCING = 3
PROMOTING = 4
FAILED = 5
PREPARING = 6
STARTING = 7
PHASES = ("watching", "approval", "draining", "fencing", "promoting", "failed", "preparing", "starting")
# Which phase may follow which; every test and walk holds Core.enter to it. The board does not ask: a guard that stops
# at a step nobody thought of harms more than the step, which the walk's rules judge by what it does.
NEXT = (
    (WATCHING, APPROVAL, DRAINING, FENCING, PROMOTING, PREPARING),
    (WATCHING, FENCING, FAILED),
    (WATCHING, FENCING, PROMOTING),
    (WATCHING, APPROVAL, PROMOTING, FAILED, STARTING),
    (WATCHING, FAILED),
    (WATCHING, FENCING),
    (WATCHING, FENCING),
    (WATCHING, PROMOTING, FAILED),
)

# Kinds of actions in Decisions.actions.
FENCE = 1
RELEASE = 2
PROVE = 3  # a reset node came back and says that its services are stopped
PULSE = 4  # a pulse on the front-panel header
# State.given_back: somebody let go of the relay, and that was journaled.
RELEASED = 2
# State.quarantined: a person ended it while the relay was cut; it ends when the power comes back.
CLEAR_LATER = 2
VOUCH = 5  # a fence of a node whose power is off already: somebody's word or evidence stands for its going off
DOUBT = 6  # what was vouched for was heard: nothing is proven


class Facts:
    """What is so now, by node; filled by the supervisor before each step."""

    def __init__(self):
        self.changed = True  # something is not as the policy was told: it is asked in the next pass
        self.enabled = [False] * NODE_COUNT
        self.verdict = [0] * NODE_COUNT
        self.age_ms = [0] * NODE_COUNT
        self.sign_ms = [COUNT_MAX] * NODE_COUNT
        self.beats = [0] * NODE_COUNT  # good heartbeats since boot
        self.node_state = [0] * NODE_COUNT
        self.flags = [0] * NODE_COUNT
        self.node_epoch = [0] * NODE_COUNT
        self.busy_s = [0] * NODE_COUNT
        self.incarnation = [0] * NODE_COUNT
        self.keyed = [False] * NODE_COUNT
        self.text = [False] * NODE_COUNT
        self.half_line = [False] * NODE_COUNT
        self.altered = [False] * NODE_COUNT
        self.power = [POWER_UNKNOWN] * NODE_COUNT
        self.power_full = [False] * NODE_COUNT
        self.off_ms = [0] * NODE_COUNT  # its power sense is off for so long
        self.part_ms = [0] * NODE_COUNT  # some feed that is sensed is off for so long
        self.fence = [IDLE] * NODE_COUNT
        self.fence_ms = [0] * NODE_COUNT
        self.proof_ms = [0] * NODE_COUNT
        self.fence_reason = [0] * NODE_COUNT
        self.intent_durable = [False] * NODE_COUNT
        self.durable_epoch = 0
        self.durable_holder = NO_NODE
        self.durable_long = False  # the long lease may be given out
        self.line_error_ms = [COUNT_MAX] * NODE_COUNT  # since the line last showed a break, a bad frame or a bad CRC
        self.storage_bad = False  # flash does not take what is written
        self.proof = NO_NODE  # whose power relay is being tested
        self.transfer_fault = False  # the transfer relay is not where it was sent, or between its positions
        self.on_trial = False  # the settings are not confirmed
        self.unproven = [False] * NODE_COUNT  # its line's settings have changed, and it was not good since
        self.schedule_s = COUNT_MAX  # until a scheduled switchover is due; COUNT_MAX while the wall time is unknown


NAMES: "list[str]" = []  # of the fields of State
KEPT: "list[Any]" = []  # their values, in that order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def copy_into(into, values) -> None:
    """Copy the entries of one list into another one of the same length, without taking memory."""
    for index in range(len(values)):
        into[index] = values[index]


class State:
    """What the policy remembers. Durable fields are listed in durable.FIELDS."""

    def __init__(self):
        self.mode = MODE_OBSERVE
        self.epoch = 0
        self.holder = NO_NODE  # the durable holder; NO_NODE with an epoch above 0: proven that nobody holds it
        self.active = NO_NODE  # who is entitled now
        self.phase = WATCHING
        self.target = NO_NODE
        self.successor = NO_NODE
        self.cause = 0
        self.phase_ms = 0
        self.held = 0  # the reason last journaled for not acting
        self.held_node = NO_NODE
        self.safe_mode = 0
        self.store_empty = 0
        self.two_running = 0
        self.all_silent = 0
        self.request_number = 0
        self.approval_ms = 0
        self.start_ms = 0  # since the board started, capped
        self.seek_ms = 0  # since nobody is active, capped
        self.grant_ms = 0
        self.awaiting_running = 0
        self.last_age_ms = 0  # age of the last holder when its fence fired or it was drained
        self.active_incarnation = 0  # the one that holds the lease; a new one needs a new epoch
        self.boots = 0
        self.forced = 0  # the operator allowed that no fit node remains
        self.asked_beats = 0  # good heartbeats of the target when its approval was asked
        self.exposed = 0  # nobody could take over, as a node is quarantined
        self.named = NO_NODE  # in approve mode, who alone may take an empty seat without another word
        self.sure = 0  # a node was granted or adopted since the board started: its store is not old
        self.last_active = NO_NODE  # who was active last since the board started
        self.ill_ms = (
            0  # the services of the active node do not run, or are degraded beside a healthy node, for so long
        )
        self.ill_told = 0
        self.due_seen = 0  # the schedule fell due while the board was on
        self.schedule_node = NO_NODE
        self.schedule_day = 0  # when it is due, in wall time; kept for the supervisor, who alone knows the wall time
        self.schedule_of_day_s = 0
        self.long_ms = 0  # what is left of a long lease
        self.long_node = NO_NODE
        self.role = [ROLE_OFFLINE] * NODE_COUNT
        self.quarantined = [0] * NODE_COUNT
        self.locked = [0] * NODE_COUNT
        self.sense_seen = [0] * NODE_COUNT
        self.watchdog_seen = [0] * NODE_COUNT  # its last good heartbeat said that its kernel watchdog is armed
        self.actions = [0] * NODE_COUNT
        self.window_ms = [0] * NODE_COUNT
        self.maintenance_ms = [0] * (NODE_COUNT + 1)  # the last one is the board's
        self.grace_ms = [0] * NODE_COUNT
        self.common_ms = [0] * NODE_COUNT
        self.prepared = [0] * NODE_COUNT
        self.good_ms = [0] * NODE_COUNT
        self.denied = [0] * NODE_COUNT
        self.fired_incarnation = [0] * NODE_COUNT
        self.last_power = [POWER_UNKNOWN] * NODE_COUNT
        self.last_verdict = [0] * NODE_COUNT
        self.failed = [0] * NODE_COUNT  # its fence proved nothing, and it was not heard since
        self.suspect = [0] * NODE_COUNT  # its contact did not cut its power, and no later test showed that it does
        self.off_beats = [0] * NODE_COUNT  # its good heartbeats when it was last seen to be off
        self.fence_told = [0] * NODE_COUNT  # the state of its fence that was journaled last
        self.feed_lost = [0] * NODE_COUNT
        self.claimed = [0] * NODE_COUNT  # it claims an epoch that is none of this rack
        self.quiet_ms = [0] * NODE_COUNT  # dead_ms counts anew after maintenance: so much is left
        self.cancel_s = [0] * NODE_COUNT  # good for so long before the next intent is cancelled
        self.cold_ms = 0  # for so long a fence that is proven waits for a cold standby whose sense bounces
        self.rung = [0] * NODE_COUNT  # the step of its recovery taken last
        self.rung_ms = [0] * NODE_COUNT  # until the next one
        self.stable_ms = [0] * NODE_COUNT  # fit for so long without a break
        self.boot_ms = [0] * NODE_COUNT  # since it got power, until its first good heartbeat; 0: not measured
        self.slowest_s = [0] * NODE_COUNT  # slowest such start so far
        self.disagree = [0] * NODE_COUNT
        self.was_off = [
            0
        ] * NODE_COUNT  # its sense was off for longer than a supply holds up: power that comes is a start
        self.given_back = [0] * NODE_COUNT  # 1: a fence is on, 2: its release was journaled

    def names(self) -> "list[str]":
        """Return the names of all fields, always in the same order; the first call makes room for `keep`."""
        if not NAMES:
            NAMES.extend(self.__dict__)
            for name in NAMES:
                value = getattr(self, name)
                KEPT.append(list(value) if isinstance(value, list) else value)
        return NAMES

    def keep(self) -> None:
        """Copy all fields into memory that is there already: a deadline waits for it, and taking room from a heap that
        has been in use for a while costs a third of a millisecond each time.
        """
        names = self.names()
        for index in range(len(names)):
            value = getattr(self, names[index])
            if isinstance(value, list):
                copy_into(KEPT[index], value)
            else:
                KEPT[index] = value

    def take_back(self) -> None:
        """Set all fields to what they were when they were kept."""
        names = self.names()
        for index in range(len(names)):
            value = KEPT[index]
            if isinstance(value, list):
                copy_into(getattr(self, names[index]), value)
            else:
                setattr(self, names[index], value)


class Decisions:
    """What one step decided: records for the journal, actions for the sequencer, and whether to save the durable
    state.
    """

    def __init__(self):
        self.records: "list[tuple[int, int, int, int, int]]" = []
        self.actions: "list[tuple[int, int]]" = []
        self.persist = False

    def clear(self) -> None:
        """Forget the step before; allocates nothing when there was nothing."""
        if self.records:
            self.records.clear()
        if self.actions:
            self.actions.clear()
        self.persist = False

    def say(self, event: int, node: int = NO_NODE, reason: int = 0, a: int = 0, b: int = 0) -> None:
        """Note a record for the journal."""
        self.records.append((event, node, reason, a, b))

    def act(self, kind: int, node: int) -> None:
        """Note an action for the sequencer."""
        self.actions.append((kind, node))
