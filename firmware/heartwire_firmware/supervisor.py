"""Supervisor: builds the stages, wires them, and steps them all in one loop with one time.

It moves data between stages and decides nothing: policy decides, sequencer acts, journal remembers. Flash is written
only where no deadline falls due; the watchdog is fed in one place, after every stage has stepped. Called by main.py on
the board, by tests with fake hardware. Hardware is handed in (ports.py).
"""

from heartwire_firmware import guards, policy_requests, policy_state
from heartwire_firmware.button import Button
from heartwire_firmware.clock import Clock, add_capped
from heartwire_firmware.config import Config
from heartwire_firmware.durable import Durable
from heartwire_firmware.grants import Grants
from heartwire_firmware.hostlink import HostLink
from heartwire_firmware.hostlink_operations import Operations
from heartwire_firmware.intake import BAD, EVENTS_WANTED, FENCE_WANTED, GOOD, NOTHING, SIGN, Intake
from heartwire_firmware.journal import Journal
from heartwire_firmware.lights import Lights
from heartwire_firmware.liveness import Liveness
from heartwire_firmware.policy import Policy
from heartwire_firmware.relays import FAULT, MOVED, Input, Relays, Senses, Transfer
from heartwire_firmware.selftest import CUT, WAITING, SelfTest
from heartwire_firmware.sequencer import FIRED, IDLE, Sequencer
from heartwire_firmware.timeslots import TimeSlots
from heartwire_protocol import codes, events, framing, messages, reasons, records, version
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

# The policy looks at least this often; at once when a heartbeat, a verdict or a sense changed.
POLICY_MS = 10
# After a stall, at most this many turns to drain the lines before anything is judged.
DRAIN_TURNS = 64
# A start counts as good after this long.
GOOD_BOOT_MS = 60000
BAD_BOOTS_MAX = 3
# Scratch register 1: bad boots in a row. boot.py counts up, the loop sets it to 0.
BOOT_REGISTER = 1
# A fence that is over needs a new intent before the next.
FENCE_OVER = (events.FENCE_CANCELLED, events.OFF_PROVEN, events.OFF_ASSUMED, events.OFF_FAILED)
RUN = 0
RESTART = 1
REPL = 2


class Supervisor:
    """The whole board on `hardware`: lines, usb, pins, files, chip and the ticks of ports.py."""

    version = version.FIRMWARE_VERSION

    def __init__(self, hardware):
        self.chip = hardware.chip
        self._hardware = hardware
        self.clock = Clock(hardware.ticks_ms, hardware.ticks_diff)
        self.state = policy_state.State()
        self.facts = policy_state.Facts()
        self._out = policy_state.Decisions()
        self.config = Config(hardware.files)
        self.durable = Durable(hardware.files)
        self.journal = Journal(hardware.files, self.clock)
        self.relays = Relays(hardware.pins)
        self.senses = Senses(hardware.pins)
        self.key = Input(hardware.pins, "KEY")
        self.button = Button(Input(hardware.pins, "BUTTON"))
        self.transfer = Transfer(hardware.pins)
        self.pins = hardware.pins
        self.sequencer = Sequencer(self.relays, self.senses, self.chip)
        self.selftest = SelfTest(self.relays, self.senses, self.facts, self.journal)
        lines = hardware.lines
        random_into = self.chip.random_into
        self.intakes = tuple([Intake(node, lines[node], random_into) for node in range(NODE_COUNT)])
        self.livenesses = tuple([Liveness() for _ in range(NODE_COUNT)])
        self.grants = Grants(self.state, self.facts)
        self.policy = Policy(self.config.current, self.state, self.facts, self._out)
        self.lights = Lights(hardware.pins, self.state, self.facts)
        self.hostlink = HostLink(hardware.usb, self.chip, self.journal)
        self.hostlink.operations = Operations(self)
        self._slots = TimeSlots(self)
        self._persist = False
        self._changed = True
        self._since_policy_ms = 0
        self._turn = 0
        self._good = [False] * NODE_COUNT
        self._intent_sequence = [0] * NODE_COUNT
        self._line_errors = [0] * NODE_COUNT
        self._altered_told = [False] * NODE_COUNT
        self._half_told = [False] * NODE_COUNT
        self._told_state = [-1] * NODE_COUNT
        self._event_node = NO_NODE
        self._event_after = 0
        self._event_left = 0
        self._record = bytearray(records.LENGTH)
        self._frame = bytearray(framing.wire_length(records.LENGTH))
        self._frame_view = memoryview(self._frame)
        self._reply = messages.layout_of(messages.FENCE_REPLY)
        self.stopping = RUN
        self.free_memory = 0  # after the last collection, so that growth shows and garbage does not
        self._young = True

    # Start.

    def start(self) -> None:
        """Load what is durable, take up a marked fence, and begin to guard."""
        self.config.load()
        self.durable.load(self.state)
        empty = self.durable.empty
        state = self.state
        state.boots = min(state.boots + 1, 0xFFFFFF)
        self.journal.boot = state.boots
        self.journal.load()
        # boot.py has counted this start already; it may still turn out well.
        bad_boots = max(0, self.chip.scratch(BOOT_REGISTER) - 1)
        self.journal.append(events.BOOT, NO_NODE, self.chip.reset_cause, bad_boots)
        if bad_boots >= BAD_BOOTS_MAX:
            state.safe_mode = 1
            self.journal.append(events.SAFE_MODE, NO_NODE, 0, bad_boots)
        if self.config.problem != reasons.NONE:
            self.journal.append(events.SETTINGS_REVERTED, NO_NODE, self.config.problem, self.config.generation)
        self._configure()
        resumed = self.sequencer.resume()
        self._out.clear()
        self._fill_facts()
        self.policy.boot(resumed, empty)
        self._carry_out()
        self._persist = True
        self.chip.collect()
        self.free_memory = self.chip.free_memory()

    def _configure(self) -> None:
        current = self.config.current
        self.policy.settings = current
        self.sequencer.configure(current.board, current.nodes)
        self.senses.configure(current.nodes)
        self.selftest.configure(current.board)
        self.grants.configure(current.board)
        self.hostlink.configure(current.board)
        self._slots.configure(current.board)
        for node in range(NODE_COUNT):
            self.intakes[node].configure(current.board, current.nodes[node])
            self.livenesses[node].configure(current.board)
            self._hardware.lines[node].set_baud(current.nodes[node].baud)

    def settings_changed(self, what: int) -> None:
        """Hand changed settings to all stages and journal it: 1 on trial, 2 confirmed, 3 reverted."""
        generation = self.config.generation
        if what == 1:
            self.journal.append(events.SETTINGS_TRIAL, NO_NODE, reasons.OPERATOR, generation)
        elif what == 2:
            self.journal.append(events.SETTINGS_CONFIRMED, NO_NODE, reasons.OPERATOR, generation)
        else:
            self.journal.append(events.SETTINGS_REVERTED, NO_NODE, reasons.UNCONFIRMED, generation)
        if what != 2:
            self._configure()
        self._changed = True

    def set_wall(self, day: int, ms: int) -> None:
        """Take the wall time from the host."""
        if not self.clock.wall_known:
            self.clock.set_wall(day, ms)
            self.journal.append(events.TIME_SET, NO_NODE)
        else:
            self.clock.set_wall(day, ms)

    def _step_transfer(self, elapsed: int) -> None:
        state = self.state
        if not self.config.current.board.transfer:
            return
        armed = state.mode >= codes.MODE_APPROVE
        wanted = state.active if armed and state.active < codes.NODE_SPARE else NO_NODE
        if state.mode == codes.MODE_OBSERVE:
            wanted = self.selftest.transfer
        found = self.transfer.step(elapsed, wanted)
        if found or state.mode != codes.MODE_OBSERVE:
            self.selftest.transfer = NO_NODE
        if found == MOVED:
            self.journal.append(events.TRANSFERRED, NO_NODE, 0, wanted)
        elif found == FAULT:
            self.journal.append(events.TRANSFER_FAULT, NO_NODE, reasons.POSITION, wanted)

    def request(self, operation: int, node: int, argument: int, why: int = reasons.OPERATOR) -> int:
        """Hand a request to the policy and carry out what it decides; return the reason of a refusal, or NONE."""
        self._out.clear()
        self._fill_facts()
        reason = policy_requests.request(self.policy, operation, node, argument, why)
        if operation == policy_requests.SCHEDULE and reason == reasons.NONE:
            self._note_schedule(argument)
        self._carry_out()
        self._changed = True
        return reason

    def _note_schedule(self, seconds: int) -> None:
        """Keep in wall time when the scheduled switchover is due: only that survives a restart."""
        clock = self.clock
        due_s = clock.wall_ms // 1000 + seconds
        self.state.schedule_day = clock.wall_day + due_s // 86400
        self.state.schedule_of_day_s = due_s % 86400

    def _schedule_s(self) -> int:
        """Return the seconds until the scheduled switchover is due, negative when past; COUNT_MAX: unknown."""
        clock = self.clock
        if not clock.wall_known:
            return codes.COUNT_MAX
        days = self.state.schedule_day - clock.wall_day
        if self.state.schedule_node == NO_NODE or days > 8:
            return codes.COUNT_MAX - 1
        return max(days, -8) * 86400 + self.state.schedule_of_day_s - clock.wall_ms // 1000

    def stop(self, how: int) -> None:
        """Leave the loop after the answers have left: RESTART or REPL."""
        self.selftest.end(reasons.REQUESTED_RESET)
        self.stopping = how

    # The loop.

    def run(self) -> int:
        """Step until asked to stop; return RESTART or REPL."""
        self.chip.start_watchdog(self.config.current.board.watchdog_ms)
        wait = self._hardware.wait_for_tick
        while True:
            self.step()
            if self.stopping and self.hostlink.idle:
                self._write_all()
                return self.stopping
            wait()

    def step(self) -> None:
        """Step every stage once, with the same time."""
        elapsed = self.clock.tick()
        self._take_lines(elapsed)
        self.senses.step(elapsed)
        self.key.step(elapsed)
        if self.button.step(elapsed) and self.state.phase == policy_state.APPROVAL:
            self.request(policy_requests.APPROVE, NO_NODE, self.state.request_number, reasons.BUTTON)
        self.sequencer.step(elapsed)
        self._step_selftest(elapsed)
        self._judge(elapsed)
        self._reply_to_lines(elapsed)
        if self.config.step(elapsed):
            self.settings_changed(3)
        slots = self._slots
        slots.step(elapsed)
        self.hostlink.step(elapsed, slots.is_quiet())
        self._send_events(slots)
        self.relays.step(elapsed)
        self._step_transfer(elapsed)
        self.lights.step(elapsed)
        self._write(slots)
        if self._young and (self.clock.day or self.clock.ms >= GOOD_BOOT_MS):
            self._young = False
            self.chip.put_scratch(BOOT_REGISTER, 0)
        self.chip.feed()

    def _step_selftest(self, elapsed: int) -> None:
        """Go on with a test of a relay for as long as the guards allow it."""
        test = self.selftest
        if test.phase == WAITING or test.phase == CUT:
            reason = guards.first_reason(guards.PROOF, self.config.current, self.state, self.facts, test.node)
            if reason != reasons.NONE:
                test.end(reason)
        test.step(elapsed)

    def _take_lines(self, elapsed: int) -> None:
        for node in range(NODE_COUNT):
            self.livenesses[node].advance(elapsed)
            self.intakes[node].advance(elapsed)
            if self.clock.stalled:
                self.intakes[node].note_stall(elapsed)
        turns = DRAIN_TURNS if self.clock.stalled else 1
        while turns > 0:
            turns -= 1
            busy = False
            self._turn = self._turn + 1 if self._turn < NODE_COUNT - 1 else 0
            for step in range(NODE_COUNT):
                node = self._turn + step
                if node >= NODE_COUNT:
                    node -= NODE_COUNT
                # One signature a pass; after a stall one a turn, until all lines are empty.
                self._take(node, step == 0 or not self.intakes[self._turn].waiting)
                busy = busy or self.intakes[node].waiting
            if not busy:
                return

    def _take(self, node: int, may_verify: bool) -> None:
        intake = self.intakes[node]
        kind = intake.pump(may_verify)
        if kind == NOTHING:
            return
        liveness = self.livenesses[node]
        self._changed = True
        if kind == GOOD:
            liveness.good()
            self._good[node] = True
        elif kind == SIGN:
            liveness.sign()
        elif kind == BAD:
            liveness.bad()
            self._good[node] = False
        elif kind == EVENTS_WANTED:
            self._event_node = node
            self._event_after = intake.events_after
            self._event_left = intake.events_count
        elif kind == FENCE_WANTED:
            self._fence_for_peer(node, intake.request_target)

    def _fence_for_peer(self, node: int, asked: int) -> None:
        """Fence for a node that asks on its own line, or only tell how the target is; `asked`: fence_request.target."""
        target = asked & 3
        state = self.state
        result = 1
        if not self.config.current.nodes[node].may_fence or target == node:
            reason = reasons.NOT_ARMED
        elif not self.facts.enabled[target]:
            reason = reasons.UNKNOWN_NODE
        elif asked & messages.FENCE_QUESTION:
            reason = reasons.NONE
            result = 2
        elif self.facts.verdict[node] != codes.VERDICT_GOOD:
            reason = reasons.NOT_FIT
        elif state.quarantined[node]:
            reason = reasons.FENCE_FIRED
        else:
            reason = self.request(policy_requests.FENCE, target, (asked & 12 | node) << 1, reasons.PEER)
        fence = self.sequencer.status[target]
        if fence == IDLE and state.phase == policy_state.PREPARING and state.target == target:
            fence = FIRED
        intake = self.intakes[node]
        payload = bytearray(self._reply.length)
        shown = fence | self.senses.power[target] << 3 | bool(self.relays.commanded[target]) << 5 | state.mode << 6
        values = (asked, 0 if reason else result, reason, shown, intake.sequence)
        for index in range(len(values)):
            self._reply.put(payload, self._reply.names[index], values[index])
        if intake.signer is not None:
            body = bytes(payload[: self._reply.offset("mac")])
            self._reply.put(payload, "mac", intake.signer.mac(b"P", intake.incarnation.to_bytes(4, "little"), body))
        length = framing.encode_into(self._frame, messages.FENCE_REPLY, payload, len(payload))
        intake.send(self._frame_view[:length])

    def _judge(self, elapsed: int) -> None:
        for node in range(NODE_COUNT):
            liveness = self.livenesses[node]
            liveness.judge()
            if liveness.verdict != self.facts.verdict[node] or self.senses.power[node] != self.facts.power[node]:
                self._changed = True
            if self.sequencer.status[node] != self.facts.fence[node]:
                self._changed = True
            drops = self.intakes[node].drops
            errors = drops[codes.DROP_LINE_ERROR] + drops[codes.DROP_CRC] + drops[codes.DROP_COBS]
            if errors != self._line_errors[node]:
                self._line_errors[node] = errors
                self.facts.line_error_ms[node] = 0
            else:
                self.facts.line_error_ms[node] = add_capped(self.facts.line_error_ms[node], elapsed, codes.COUNT_MAX)
        self._since_policy_ms += elapsed
        if not self._changed and self._since_policy_ms < POLICY_MS:
            return
        self._changed = False
        self._fill_facts()
        self.policy.step(self._since_policy_ms)
        self._since_policy_ms = 0
        if self._out.records or self._out.actions or self._out.persist:
            self._carry_out()

    def _fill_facts(self) -> None:
        facts = self.facts
        nodes = self.config.current.nodes
        for node in range(NODE_COUNT):
            intake = self.intakes[node]
            liveness = self.livenesses[node]
            facts.enabled[node] = bool(nodes[node].enabled)
            facts.verdict[node] = liveness.verdict
            facts.age_ms[node] = liveness.age_ms
            facts.sign_ms[node] = liveness.sign_ms
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
            facts.power[node] = self.senses.power[node]
            facts.off_ms[node] = self.senses.off_ms[node]
            facts.power_full[node] = self.senses.full[node]
            facts.fence[node] = self.sequencer.status[node]
            facts.fence_ms[node] = self.sequencer.since_ms[node]
            facts.proof_ms[node] = self.sequencer.proof_ms[node]
            facts.fence_reason[node] = self.sequencer.reason[node]
            sequence = self._intent_sequence[node]
            facts.intent_durable[node] = sequence != 0 and self.journal.durable >= sequence
            self._tell_changes(node, intake)
        facts.durable_epoch = self.durable.epoch
        facts.durable_holder = self.durable.holder
        facts.durable_long = self.durable.long
        facts.proof = self.selftest.node
        facts.schedule_s = self._schedule_s()

    def _tell_changes(self, node: int, intake) -> None:
        """Journal what a node says of itself when it changes."""
        if intake.new_incarnation:
            intake.new_incarnation = False
            self.journal.append(events.NEW_INCARNATION, node, 0, intake.incarnation)
        if intake.altered != self._altered_told[node]:
            self._altered_told[node] = intake.altered
            if intake.altered:
                self.journal.append(events.ALTERED, node, 0, intake.last_drop, intake.drops[intake.last_drop])
        if intake.half_line != self._half_told[node] and self.livenesses[node].verdict == codes.VERDICT_GOOD:
            self._half_told[node] = intake.half_line
            if intake.half_line:
                self.journal.append(events.HALF_LINE, node)
        told = intake.state | (intake.flags & ~messages.FLAG_CHALLENGE_ODD) << 3
        if told != self._told_state[node] and intake.beats:
            self._told_state[node] = told
            self.journal.append(events.STATE_REPORTED, node, 0, intake.state, intake.flags)

    def _carry_out(self) -> None:
        """Carry out what the policy decided: contacts first, then what is to be remembered."""
        out = self._out
        for kind, node in out.actions:
            if kind == policy_state.FENCE:
                self.selftest.end(reasons.FENCE_FIRED)
                self.sequencer.fire(node, bool(self.state.sense_seen[node]))
            elif kind == policy_state.PROVE:
                self.sequencer.prove(node)
            elif kind == policy_state.PULSE:
                self.sequencer.pulse(node)
            else:
                self.sequencer.release(node)
        for event, node, reason, a, b in out.records:
            sequence = self.journal.append(event, node, reason, a, b)
            if event == events.FENCE_PREPARED:
                self._intent_sequence[node] = sequence
            elif event in FENCE_OVER or (event == events.RECOVERY_STEP and a == codes.RUNG_RESET):
                self._intent_sequence[node] = 0
        self._persist = self._persist or out.persist
        out.clear()

    def _reply_to_lines(self, elapsed: int) -> None:
        self.grants.step(elapsed)
        for node in range(NODE_COUNT):
            intake = self.intakes[node]
            if self.grants.has_changed(node) and intake.answers_good and self.facts.verdict[node] == codes.VERDICT_GOOD:
                intake.reply_due = True
                self._good[node] = True
            if not intake.reply_due:
                continue
            intake.reply_due = False
            if intake.text:
                intake.send(self.grants.text(intake))
            else:
                intake.send(self.grants.frame(intake, self.journal.durable, self._good[node]))
            self._good[node] = False

    def _send_events(self, slots) -> None:
        """Send one journal record to the node that reads, in a quiet slot."""
        if not self._event_left or not slots.is_quiet():
            return
        sequence = self.journal.read(self._event_after, self._record)
        if not sequence:
            self._event_left = 0
            return
        self._event_after = sequence
        self._event_left -= 1
        length = framing.encode_into(self._frame, messages.EVENT, self._record, records.LENGTH)
        self.intakes[self._event_node].send(self._frame_view[:length])

    # Flash.

    def _write(self, slots) -> None:
        """Write at most one thing, where no deadline falls due: the state before the journal, as grants wait for it."""
        urgent = self.state.phase == policy_state.PROMOTING or self.state.phase == policy_state.PREPARING
        if self._persist:
            if slots.may_write(urgent):
                self._persist = False
                if not self.durable.save(self.state):
                    self._persist = True
                    slots.failed()
                slots.wrote()
                self._changed = True
        elif self.journal.waiting:
            for node in range(NODE_COUNT):
                urgent = urgent or self.intent_waits(node)
            if slots.may_write(urgent):
                if not self.journal.flush():
                    slots.failed()
                slots.wrote()
                self._changed = True
        elif slots.may_collect():
            self.chip.collect()
            self.free_memory = self.chip.free_memory()

    def intent_waits(self, node: int) -> bool:
        """Tell whether the intent to fence `node` is journaled and not durable yet."""
        return self._intent_sequence[node] > self.journal.durable

    def _write_all(self) -> None:
        self.durable.save(self.state)
        self.journal.flush()
        self.chip.put_scratch(BOOT_REGISTER, 0)
        self.chip.feed()
