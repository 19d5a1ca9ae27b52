"""Pace: when what may run, so that neither a deadline nor a heartbeat is missed, and how long the loop may rest.

A pass does one heavy thing at a time (take a frame, decide, answer, serve the host, write flash). Shortly before a
death may have to be decided only that decision is begun. An answer gives way to what is heavy once, the host link and
the rest once. A flash write stops the loop for tens of milliseconds, at worst FLASH_STALL_MS; handling a management
message takes a few. Both wait until no node's deadline and no fence step can fall into that time, and if possible until
no heartbeat is expected either: right after heartbeats came in. What waits too long goes ahead of expected heartbeats
(the UART keeps one whole frame), never ahead of a deadline. It reads the stages and moves nothing. Used by supervisor.
"""

from heartwire_firmware.brain import DIES
from heartwire_firmware.clock import add_capped
from heartwire_firmware.policy_state import PREPARING, PROMOTING, WATCHING
from heartwire_firmware.ports import Activity
from heartwire_protocol.codes import COUNT_MAX, NODE_COUNT, VERDICT_DEAD, VERDICT_GOOD, VERDICT_LATE
from heartwire_protocol.settings_rules import FLASH_STALL_MS

# A usual write: one erase and a few page programs (W25Q16JV typical 45 ms and 0.4 ms), and the file system's own.
USUAL_WRITE_MS = 110
MANAGEMENT_MS = 30
# Collecting took 34 ms where it was measured, and what its pass does first 3 (tools/budget.py: longest pass).
COLLECT_MS = 37
# A heartbeat may come early or late by this part of the interval, as those of the tests do (tests/emulated/rig.py). One
# that comes later still is waited for no longer, as that would mean never to write. At a bench's ten a second, nodes
# whose heartbeats are far apart leave no such moment: some come in a collection then, and count from its end.
VARIATION_PARTS = 50
# Garbage is collected before memory runs out, which would do it at a moment of its own choice: a full pass leaves some
# 500 bytes, of more than 51,000. And once shortly before a death may have to be decided.
COLLECT_EVERY_MS = 5000
COLLECT_EVERY_PASSES = 60
# Checking, judging and answering a frame leaves as much as so many passes.
FRAME_PASSES = 6
# Then heartbeats that are expected are no reason to wait any more, nor so shortly before a death.
COLLECT_AT_LAST_PASSES = 90
COLLECT_AHEAD_MS = 300
COLLECT_AHEAD_AT_LAST_MS = 150
COLLECT_CLEAR_MS = 70  # before a deadline, where passes are to be short: collecting, and all that is near
# The longest that a heavy thing of a pass takes (tools/bench_board.py): none is begun so shortly before a decision.
HEAVY_MS = 30
# Patience with expected heartbeats.
WRITE_PATIENCE_MS = 1500
URGENT_PATIENCE_MS = 20
# After a failed write, the next try.
RETRY_MS = 1000
# The policy looks at least this often while a node is late or dead; at once when a heartbeat, a verdict or a sense
# changed; and only every REST_MS while nothing is up. A deadline ends the rest to the millisecond.
POLICY_MS = 10
REST_MS = 50


# While something waits for a quiet slot; a heartbeat, after which there is one, ends the wait at once.
WAITING_MS = 25
URGENT_MS = 5
# Passes in a row with heavy work on the lines before the rest gets a turn all the same.
HEAVY_MAX = 1


class Pace:
    """Looks at the stages for what is due, and for a quiet moment. `lead_ms`: a death is decided so much ahead of its
    deadline; 0 where deciding takes no time.
    """

    def __init__(
        self, lead_ms, state, facts, livenesses, intakes, sequencer, relays, selftest, intents, clock, durable, journal,
        lines, filler, hostlink,
    ):  # fmt: skip
        self._state = state
        self._facts = facts
        self._livenesses = livenesses
        self._intakes = intakes
        self._sequencer = sequencer
        self._relays = relays
        self._selftest = selftest
        self._intents = intents
        self._clock = clock
        self._durable = durable
        self._journal = journal
        self._lines = lines
        self._filler = filler
        self._hostlink = hostlink
        self.lead_ms = lead_ms
        self.is_near = False  # a deadline is so near that only the late node may take time
        self.due_ms = 0  # so long after a pass began the next one is due, whatever comes
        self._near_in_ms = COUNT_MAX  # until a deadline is near, from when the last pass began
        self._aim_ms = 0  # to the deadline that is decided ahead of; 0: none
        self._policy_ms = 1  # until the policy is to be asked though nothing has changed
        self._since_quiet_ms = 0
        self._owed = False  # an answer has given way
        self._heavy = 0  # passes in a row with something heavy to do
        # How old a node's last heartbeat is when the next one is expected, if that comes early, or late.
        self._early_ms = 980
        self._overdue_ms = 1020
        self._late_ms = 5000
        self._dead_ms = 10000
        self._waiting_ms = 0
        self._since_collect_ms = 0
        self.passes = 0  # full passes since then, and what frames count for
        self._retry_ms = 0
        self._arrival_ms = 0
        self._deadline_ms = 0
        self._fence_ms = 0  # the same for an intent: to the next fence, or a step of one under way

    def configure(self, settings) -> None:
        """Take the board's settings."""
        variation_ms = settings.interval_ms // VARIATION_PARTS
        self._early_ms = settings.interval_ms - variation_ms
        self._overdue_ms = settings.interval_ms + variation_ms
        self._late_ms = settings.late_ms
        self._dead_ms = settings.dead_ms

    # A pass.

    def begin(self, elapsed_ms: int) -> int:
        """Begin a pass; return by how much its time is to be set ahead: to the deadline that it decides on, or 0."""
        self.passes += 1
        # Counted to now: the last pass may have been a long one, and another one would be too much.
        self.is_near = self._near_in_ms <= elapsed_ms
        left_ms = self._aim_ms - elapsed_ms
        return left_ms if 0 < left_ms <= self.lead_ms else 0

    def asks(self, found: int, taken: bool, since_ms: int) -> bool:
        """Tell whether the policy is to be asked in a pass that has `taken` a frame and `found` what Brain.judge says:
        at once where a verdict, a sense or a fence changed, in the next pass where only a frame was taken in this one.
        It was asked `since_ms` ago.
        """
        # Near a deadline all else waits for it: a policy that has just begun to think of it would decide late.
        if self.is_near and found != DIES:
            return False
        if found:
            return True
        if taken and since_ms < POLICY_MS:
            return False
        return self._facts.changed or since_ms >= self._policy_ms

    def may_answer(self, heavy: bool) -> bool:
        """Tell whether a node may be answered in a pass that has done something `heavy`: an answer gives way once."""
        if heavy and not self._owed:
            self._owed = True
            return False
        return True

    def answered(self) -> None:
        """Note that one was: another one that waits for its answer gives way no more."""
        self._owed = self._lines.answers_wait()

    def has_turn(self, heavy: bool, elapsed_ms: int, bits: int) -> bool:
        """Tell whether what no deadline waits for has its turn, in a pass that has done something `heavy`; `bits` are
        ports.Activity's.
        """
        self._since_quiet_ms += elapsed_ms
        if self.is_near:
            return False
        if self._since_quiet_ms < REST_MS and not (bits & Activity.USB or self._waits() or self._hostlink.busy):
            self._heavy = 0
            return False
        self._heavy = self._heavy + 1 if heavy else 0
        return not heavy or self._heavy > HEAVY_MAX

    def begin_turn(self) -> int:
        """Return the milliseconds since the last such turn."""
        elapsed_ms = self._since_quiet_ms
        self._since_quiet_ms = 0
        self._heavy = 0
        return elapsed_ms

    def _waits(self) -> bool:
        """Tell whether something waits for a quiet moment."""
        if self._durable.waiting or self._journal.waiting or self._lines.events_left:
            return True
        return self.garbage_waits()

    def end(self, bounces: bool) -> None:
        """End a pass: look how long at most the loop may only look, until the next deadline or until something waits;
        `bounces`: an input has moved just now.
        """
        rest_ms, dead_ms = self.rest(self.lead_ms)
        policy_ms = rest_ms if rest_ms > 1 else 1
        near_ms = self.lead_ms and self.lead_ms + HEAVY_MS
        if near_ms:
            self._near_in_ms = dead_ms - near_ms
        # A death is decided a little ahead, with the time set to its deadline, as the decision takes so long; from near
        # on the policy is asked for nothing else, because that would take as long.
        self._aim_ms = dead_ms if dead_ms <= max(rest_ms + self.lead_ms, near_ms) else 0
        if self._aim_ms:
            policy_ms = max(1, dead_ms - self.lead_ms)
        self._policy_ms = policy_ms
        if bounces or self._is_under_way():
            policy_ms = 1
        elif self._durable.waiting or self._lines.events_left or self.garbage_waits():
            policy_ms = min(policy_ms, URGENT_MS)
        elif self._journal.waiting:
            policy_ms = min(policy_ms, WAITING_MS)
        self.due_ms = policy_ms

    def _is_under_way(self) -> bool:
        """Tell whether something goes on in the next pass."""
        return bool(
            self._facts.changed
            or self._lines.behind
            or self._filler.tell
            or self._heavy
            or self._lines.answers_wait()
            or self._relays.pressing
            or self._sequencer.is_firing
            or self._selftest.phase
            or self._hostlink.busy
        )

    # A quiet moment.

    def is_urgent(self) -> bool:
        """Tell whether what is to be written is: an intent hurries the state along too, as that goes first."""
        urgent = self._state.phase == PROMOTING or self._state.phase == PREPARING
        if self._durable.waiting or self._journal.waiting:
            for node in range(NODE_COUNT):
                urgent = urgent or self._intents.waits(node)
        return urgent

    def step(self, elapsed_ms: int) -> None:
        """Look ahead: time to the next deadline, and to the next expected heartbeat, below 0 if it may come now."""
        self._since_collect_ms = add_capped(self._since_collect_ms, elapsed_ms, COUNT_MAX)
        self._waiting_ms = add_capped(self._waiting_ms, elapsed_ms, COUNT_MAX)
        self._retry_ms = max(0, self._retry_ms - elapsed_ms)
        arrival = COUNT_MAX
        deadline = fence = self._sequencer.next_ms()
        for node in range(NODE_COUNT):
            liveness = self._livenesses[node]
            verdict = liveness.verdict
            if verdict != VERDICT_GOOD and verdict != VERDICT_LATE:
                continue
            age = liveness.age_ms
            if age < self._overdue_ms:
                arrival = min(arrival, self._early_ms - age)
            # A node whose intent is not durable cannot be fenced yet: its deadline must not keep the intent from being
            # written. Nor must that of a node that has none keep another one's.
            if not self._intents.waits(node):
                deadline = min(deadline, self._dead_ms - age)
                if self._intents.sequence[node]:
                    fence = min(fence, self._dead_ms - age)
        self._arrival_ms = arrival
        self._deadline_ms = deadline
        self._fence_ms = fence

    def rest(self, lead_ms: int) -> "tuple[int, int]":
        """Return how long the policy needs not be asked if nothing comes, and the time to the next death. `lead_ms`: a
        death so shortly before the active node's counts as due with that, as its relay cannot wait for another one.
        """
        state = self._state
        rest_ms = REST_MS if state.phase == WATCHING and not self._relays.cut_count else POLICY_MS
        dead_ms = COUNT_MAX
        active_ms = COUNT_MAX
        for node in range(NODE_COUNT):
            if not self._facts.enabled[node]:
                continue
            liveness = self._livenesses[node]
            if liveness.verdict == VERDICT_GOOD:
                rest_ms = min(rest_ms, self._late_ms - liveness.age_ms, self._intakes[node].half_line_in())
            elif liveness.verdict == VERDICT_LATE:
                left_ms = self._dead_ms - liveness.age_ms
                if node == state.active:
                    active_ms = left_ms
                dead_ms = min(dead_ms, left_ms)
                rest_ms = min(rest_ms, dead_ms, POLICY_MS)
            elif liveness.verdict == VERDICT_DEAD:
                rest_ms = min(rest_ms, state.common_ms[node] or POLICY_MS, POLICY_MS)
        if dead_ms < active_ms <= dead_ms + lead_ms:
            dead_ms = active_ms
        return rest_ms, dead_ms

    def is_quiet(self) -> bool:
        """Tell whether one management message may be handled now."""
        return self._deadline_ms > MANAGEMENT_MS

    def may_stall(self) -> bool:
        """Tell whether flash may be written at once, for a request that waits for it."""
        return self._deadline_ms > FLASH_STALL_MS and not self._selftest.is_moving

    def may_write(self, urgent: bool) -> bool:
        """Tell whether flash may be written now; ask once a pass while something waits."""
        if self._retry_ms:
            return False
        patience = URGENT_PATIENCE_MS if urgent else WRITE_PATIENCE_MS
        if (self._fence_ms if urgent else self._deadline_ms) <= FLASH_STALL_MS:
            return False
        if self._selftest.is_moving and not urgent:
            return False  # ARM must toggle, and times are measured
        return self._arrival_ms > USUAL_WRITE_MS or self._waiting_ms >= patience

    def garbage_waits(self) -> bool:
        """Tell whether a moment to collect garbage is to be looked for."""
        if self._deadline_ms <= COLLECT_CLEAR_MS:
            return False
        return self.passes >= COLLECT_EVERY_PASSES or self._collects_ahead()

    def _collects_ahead(self) -> bool:
        return self._deadline_ms <= COLLECT_AHEAD_MS and self._since_collect_ms >= COLLECT_AHEAD_MS

    def may_collect(self, heavy: bool) -> bool:
        """Tell whether garbage may be collected now, in a pass that has done something `heavy`; counts as done."""
        if self._deadline_ms <= COLLECT_CLEAR_MS:
            return False
        if self._since_collect_ms < COLLECT_EVERY_MS and not self.garbage_waits():
            return False
        at_last = self._collects_ahead() and self._deadline_ms <= COLLECT_AHEAD_AT_LAST_MS
        if (heavy or self._arrival_ms <= COLLECT_MS) and not at_last and self.passes < COLLECT_AT_LAST_PASSES:
            return False
        self._since_collect_ms = 0
        self.passes = 0
        return True

    def nothing_waits(self) -> None:
        """Note that nothing waits to be written: patience begins anew."""
        self._waiting_ms = 0

    def wrote(self, whole: bool) -> None:
        """Note that something was written; patience begins anew if it was the `whole` of what waited."""
        if whole:
            self._waiting_ms = 0
        self._clock.forgive()

    def failed(self) -> None:
        """Note that flash could not be written: wait before the next try."""
        self._retry_ms = RETRY_MS
