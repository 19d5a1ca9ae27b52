"""Facts: hands the policy what is so now, and journals what nodes say of themselves when it changes.

What only a frame can change is copied only for nodes that sent one: the loop has a millisecond. It reads the stages of
the supervisor and judges nothing. Called by supervisor before each step of the policy.
"""

from heartwire_firmware.clock import add_capped
from heartwire_protocol import codes, events, messages
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT


class FactFiller:
    """Fills `board.facts` from the stages of `board` (supervisor.Supervisor)."""

    def __init__(self, board):
        self._board = board
        self.moved = [True] * NODE_COUNT  # what its intake says has changed since the policy was told
        self.tell = False  # something may have changed that the nodes are to be told
        self.intent_sequence = [0] * NODE_COUNT
        self._altered_told = [False] * NODE_COUNT
        self._half_told = [False] * NODE_COUNT
        self._told_state = [-1] * NODE_COUNT
        self._line_errors = [0] * NODE_COUNT

    def fill(self) -> None:
        """Tell the policy what is so now; what only a frame can change, only for nodes that sent one."""
        board = self._board
        facts = board.facts
        senses = board.senses
        sequencer = board.sequencer
        for node in range(NODE_COUNT):
            if self.moved[node]:
                self.moved[node] = False
                self._fill_from_intake(node)
            elif not facts.enabled[node]:
                continue
            liveness = board.livenesses[node]
            facts.verdict[node] = liveness.verdict
            age_ms = liveness.age_ms
            facts.age_ms[node] = age_ms if age_ms > 0 else 0
            facts.sign_ms[node] = liveness.sign_ms
            facts.power[node] = senses.power[node]
            facts.off_ms[node] = senses.off_ms[node]
            facts.part_ms[node] = senses.part_ms[node]
            facts.power_full[node] = senses.full[node]
            facts.fence[node] = sequencer.status[node]
            if facts.fence[node]:
                facts.fence_ms[node] = sequencer.since_ms[node]
                facts.proof_ms[node] = sequencer.proof_ms[node]
                facts.fence_reason[node] = sequencer.reason[node]
            sequence = self.intent_sequence[node]
            facts.intent_durable[node] = sequence != 0 and board.journal.decided >= sequence
        durable = board.durable
        facts.durable_epoch = durable.epoch
        facts.durable_holder = durable.holder
        facts.durable_long = durable.long
        facts.proof = board.selftest.node
        facts.transfer_fault = board.transfer.fault
        facts.schedule_s = self._schedule_s()

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass for what no stage of its own counts: how long the lines have shown no fault."""
        board = self._board
        since_ms = board.facts.line_error_ms
        for node in range(NODE_COUNT):
            errors = board.intakes[node].errors
            if errors != self._line_errors[node]:
                self._line_errors[node] = errors
                since_ms[node] = 0
            else:
                since_ms[node] = add_capped(since_ms[node], elapsed_ms, COUNT_MAX)

    def note_schedule(self, seconds: int) -> None:
        """Keep in wall time when the scheduled switchover is due: only that survives a restart."""
        clock = self._board.clock
        state = self._board.state
        due_s = clock.wall_ms // 1000 + seconds
        state.schedule_day = clock.wall_day + due_s // 86400
        state.schedule_of_day_s = due_s % 86400

    def _schedule_s(self) -> int:
        """Return the seconds until the scheduled switchover is due, negative when past; COUNT_MAX: unknown."""
        clock = self._board.clock
        state = self._board.state
        if not clock.wall_known:
            return COUNT_MAX
        days = state.schedule_day - clock.wall_day
        if state.schedule_node == NO_NODE or days > 8:
            return COUNT_MAX - 1
        return max(days, -8) * 86400 + state.schedule_of_day_s - clock.wall_ms // 1000

    def _fill_from_intake(self, node: int) -> None:
        board = self._board
        self.tell = True
        facts = board.facts
        intake = board.intakes[node]
        facts.enabled[node] = bool(board.config.current.nodes[node].enabled)
        facts.beats[node] = intake.beats
        facts.node_state[node] = intake.state
        facts.flags[node] = intake.flags
        facts.node_epoch[node] = intake.epoch
        facts.busy_s[node] = intake.busy_s
        facts.incarnation[node] = intake.incarnation
        facts.keyed[node] = intake.signer is not None
        facts.text[node] = intake.text
        facts.half_line[node] = intake.half_line
        facts.altered[node] = intake.altered
        self._tell_changes(node, intake)

    def _tell_changes(self, node: int, intake) -> None:
        """Journal what a node says of itself when it changes."""
        board = self._board
        if intake.new_incarnation:
            intake.new_incarnation = False
            board.journal.append(events.NEW_INCARNATION, node, 0, intake.incarnation)
        if intake.altered != self._altered_told[node]:
            self._altered_told[node] = intake.altered
            if intake.altered:
                board.journal.append(events.ALTERED, node, 0, intake.last_drop, intake.drops[intake.last_drop])
        if intake.half_line != self._half_told[node] and board.livenesses[node].verdict == codes.VERDICT_GOOD:
            self._half_told[node] = intake.half_line
            if intake.half_line:
                board.journal.append(events.HALF_LINE, node)
        told = intake.state | (intake.flags & ~messages.FLAG_CHALLENGE_ODD) << 3
        if told != self._told_state[node] and intake.beats:
            self._told_state[node] = told
            board.journal.append(events.STATE_REPORTED, node, 0, intake.state, intake.flags)
