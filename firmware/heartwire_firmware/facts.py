"""Facts: hands the policy what is so now.

What only a frame can change is copied only for nodes that sent one: the loop has a millisecond. It reads the stages and
judges nothing. Used by supervisor.
"""

from heartwire_firmware.clock import add_capped
from heartwire_protocol.codes import COUNT_MAX, NODE_COUNT


class FactFiller:
    """Fills `facts` (policy_state.Facts) from the stages."""

    def __init__(
        self, facts, config, intakes, livenesses, senses, sequencer, intents, durable, selftest, transfer, wall, reports
    ):
        self._facts = facts
        self._config = config
        self._intakes = intakes
        self._livenesses = livenesses
        self._senses = senses
        self._sequencer = sequencer
        self._intents = intents
        self._durable = durable
        self._selftest = selftest
        self._transfer = transfer
        self._wall = wall
        self._reports = reports
        self.moved = [True] * NODE_COUNT  # what its intake says has changed since the policy was told
        self.tell = False  # something may have changed that the nodes are to be told
        self._line_errors = [0] * NODE_COUNT

    def note(self, node: int) -> None:
        """Note that the intake of `node` says something else now: the policy is to be asked."""
        self.moved[node] = True
        self._facts.changed = True

    def note_all(self) -> None:
        """Note that all intakes may say something else now."""
        for node in range(NODE_COUNT):
            self.moved[node] = True

    def fill(self) -> None:
        """Tell the policy what is so now; what only a frame can change, only for nodes that sent one."""
        facts = self._facts
        senses = self._senses
        sequencer = self._sequencer
        for node in range(NODE_COUNT):
            if self.moved[node]:
                self.moved[node] = False
                self._fill_from_intake(node)
            elif not facts.enabled[node]:
                continue
            liveness = self._livenesses[node]
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
            facts.intent_durable[node] = self._intents.is_durable(node)
        durable = self._durable
        facts.durable_epoch = durable.epoch
        facts.durable_holder = durable.holder
        facts.durable_long = durable.long
        facts.proof = self._selftest.node
        facts.transfer_fault = self._transfer.fault
        facts.schedule_s = self._wall.schedule_s()

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass for what no stage of its own counts: how long the lines have shown no fault."""
        since_ms = self._facts.line_error_ms
        for node in range(NODE_COUNT):
            errors = self._intakes[node].errors
            if errors != self._line_errors[node]:
                self._line_errors[node] = errors
                since_ms[node] = 0
            else:
                since_ms[node] = add_capped(since_ms[node], elapsed_ms, COUNT_MAX)

    def _fill_from_intake(self, node: int) -> None:
        self.tell = True
        facts = self._facts
        intake = self._intakes[node]
        facts.enabled[node] = bool(self._config.current.nodes[node].enabled)
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
        self._reports.take(node, intake)
