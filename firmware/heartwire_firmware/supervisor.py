"""Supervisor: builds the stages, wires them, and steps them all in one loop with one time.

It moves data between stages and decides nothing: policy decides, sequencer acts, journal remembers. Flash is written
only where no deadline falls due; the watchdog is fed in one place, after every stage has stepped. Called by main.py on
the board, by tests with fake hardware. Hardware is handed in (ports.py).
"""

from heartwire_firmware import policy_requests, policy_state
from heartwire_firmware.clock import Clock
from heartwire_firmware.config import Config
from heartwire_firmware.durable import Durable
from heartwire_firmware.facts import FactFiller
from heartwire_firmware.grants import Grants
from heartwire_firmware.hostlink import HostLink
from heartwire_firmware.hostlink_operations import Operations
from heartwire_firmware.intake import BAD, EVENTS_WANTED, FENCE_WANTED, GOOD, NOTHING, SIGN, Intake
from heartwire_firmware.journal import Journal
from heartwire_firmware.lights import Lights
from heartwire_firmware.liveness import Liveness
from heartwire_firmware.policy import Policy
from heartwire_firmware.ports import Activity
from heartwire_firmware.relays import Input, Relays, Senses
from heartwire_firmware.sequencer import Sequencer
from heartwire_firmware.timeslots import POLICY_MS, REST_MS, TimeSlots
from heartwire_protocol import codes, events, framing, messages, reasons, records, version
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

# While something waits for a quiet slot.
WAITING_MS = 5
# After a change of an input all inputs are read for this long: longer than relays.DEBOUNCE_MS.
BOUNCE_MS = 60
# Frames of a line looked at in a pass until one counts.
FRAMES_MAX = 4
# Passes in a row with heavy work on the lines before the rest gets a turn all the same.
HEAVY_MAX = 6
# After a stall, at most this many turns to drain the lines before anything is judged.
DRAIN_TURNS = 64
# A start counts as good after this long.
GOOD_BOOT_MS = 60000
BAD_BOOTS_MAX = 3
# Scratch register 1: bad boots in a row. boot.py counts up, the loop sets it to 0.
BOOT_REGISTER = 1
RUN = 0
RESTART = 1
REPL = 2


class Supervisor:
    """The whole board on `hardware`: lines, usb, pins, files, chip and the ticks of ports.py."""

    version = version.FIRMWARE_VERSION

    def __init__(self, hardware):
        self.chip = hardware.chip
        self._hardware = hardware
        self.clock = Clock(hardware.ticks_ms, hardware.ticks_diff, hardware.ticks_add)
        self.state = policy_state.State()
        self.facts = policy_state.Facts()
        self._out = policy_state.Decisions()
        self.config = Config(hardware.files)
        self.durable = Durable(hardware.files)
        self.journal = Journal(hardware.files, self.clock)
        self.relays = Relays(hardware.pins)
        self.senses = Senses(hardware.pins)
        self.key = Input(hardware.pins, "KEY")
        self.sequencer = Sequencer(self.relays, self.senses, self.chip)
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
        self.filler = FactFiller(self)
        self._activity = hardware.activity
        self._persist = False
        self._changed = True
        self._behind = False  # a line has more than was taken
        self._heavy = 0  # passes in a row with something heavy to do
        self._bounce_ms = BOUNCE_MS
        self._lead_ms = hardware.lead_ms
        self._aim_ms = 0
        self._due_ms = 0
        self._policy_ms = 1
        self._since_policy_ms = 0
        self._since_slots_ms = 0
        self._turn = 0
        self._good = [False] * NODE_COUNT
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
        self.filler.fill()
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
        self.grants.configure(current.board)
        self.hostlink.configure(current.board)
        self._slots.configure(current.board)
        self.filler.moved[:] = [True] * NODE_COUNT
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

    def request(self, operation: int, node: int, argument: int) -> int:
        """Hand a request to the policy and carry out what it decides; return the reason of a refusal, or NONE."""
        self._out.clear()
        self.filler.fill()
        reason = policy_requests.request(self.policy, operation, node, argument)
        self._carry_out()
        self._changed = True
        return reason

    def stop(self, how: int) -> None:
        """Leave the loop after the answers have left: RESTART or REPL."""
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
        """Look, and step what has something to do: every stage, with the same time, or none.

        A pass does one heavy thing at a time (take a frame, decide, answer, serve the host, write flash), so that none
        stands for long between a deadline and its relay.
        """
        bits = self._activity()
        if not self._changed and self.clock.look() < self._due_ms and not self._is_due(bits):
            if self.relays.cut_count:
                self.relays.step()
            self.chip.feed()
            return
        elapsed = self.clock.tick()
        if 0 < self._aim_ms - elapsed <= self._lead_ms:
            elapsed += self.clock.run_ahead(self._aim_ms - elapsed)
        for node in range(NODE_COUNT):
            if self.facts.enabled[node]:
                self.livenesses[node].advance(elapsed)
                self.intakes[node].advance(elapsed)
        self._step_inputs(bits, elapsed)
        self.relays.step()
        if self.relays.cut_count:
            self.sequencer.step(elapsed)
        heavy = (bits & Activity.LINES or self._behind or self.clock.stalled) and self._take_lines()
        self._since_policy_ms += elapsed
        heavy = self._judge(heavy) or heavy
        heavy = heavy or self._reply_to_lines()
        self._since_slots_ms += elapsed
        if self._since_slots_ms >= REST_MS or self._waits_for_quiet(bits):
            self._heavy = self._heavy + 1 if heavy else 0
            if not heavy or self._heavy > HEAVY_MAX:
                self._step_quiet()
        else:
            self._heavy = 0
        self._due_ms = self._next_ms()
        self.chip.feed()

    def _is_due(self, bits: int) -> bool:
        """Tell whether what came needs a pass; bytes of a frame that is not whole do not."""
        if bits & Activity.LINES:
            now = self._hardware.ticks_ms()
            for node in range(NODE_COUNT):
                if bits >> node & 1 and self.intakes[node].gather(now):
                    return True
        return bool(bits & (Activity.USB | Activity.INPUTS))

    def _next_ms(self) -> int:
        """Return how long at most the loop may only look: until the next deadline, or until something waits."""
        rest_ms, dead_ms = self._slots.rest()
        self._policy_ms = max(1, rest_ms)
        # A death is decided a little ahead, with the time set to its deadline, as the decision takes so long.
        self._aim_ms = dead_ms if dead_ms <= rest_ms + self._lead_ms else 0
        if self._aim_ms:
            self._policy_ms = max(1, dead_ms - self._lead_ms)
        if (
            self._changed
            or self._behind
            or self.filler.tell
            or self._heavy
            or self._answers_wait()
            or self._bounce_ms
            or self.relays.cut_count
            or self.hostlink.busy
        ):
            return 1
        if self._persist or self.journal.waiting or self._event_left:
            return min(self._policy_ms, WAITING_MS)
        return self._policy_ms

    def _step_inputs(self, bits: int, elapsed: int) -> None:
        """Read the inputs while one of them moves or bounces; the time before a change does not count for it."""
        if bits & Activity.INPUTS:
            if not self._bounce_ms:
                elapsed = min(elapsed, 1)
            self._bounce_ms = BOUNCE_MS
        elif not self._bounce_ms:
            return
        self.senses.step(elapsed)
        self.key.step(elapsed)
        self._bounce_ms = max(0, self._bounce_ms - elapsed)

    def _waits_for_quiet(self, bits: int) -> bool:
        return bool(
            bits & Activity.USB or self._persist or self.journal.waiting or self._event_left or self.hostlink.busy
        )

    def _step_quiet(self) -> None:
        """Step what no deadline waits for: the host link, events for nodes, lights, flash."""
        elapsed = self._since_slots_ms
        self._since_slots_ms = 0
        self._heavy = 0
        if self.config.step(elapsed):
            self.settings_changed(3)
        self._turn = self._turn + 1 if self._turn < NODE_COUNT - 1 else 0
        self.intakes[self._turn].count_errors()
        slots = self._slots
        slots.step(elapsed)
        self.hostlink.step(elapsed, slots.is_quiet())
        self._send_events(slots)
        self.lights.step(elapsed)
        self._write(slots)
        if self._young and (self.clock.day or self.clock.ms >= GOOD_BOOT_MS):
            self._young = False
            self.chip.put_scratch(BOOT_REGISTER, 0)

    def _take_lines(self) -> bool:
        """Take what the lines brought: one frame, after a stall all of them before anything is judged."""
        stalled = self.clock.stalled
        now = self._hardware.ticks_ms()
        taken = False
        for _turn in range(DRAIN_TURNS if stalled else 1):
            self._turn = self._turn + 1 if self._turn < NODE_COUNT - 1 else 0
            busy = False
            for step in range(NODE_COUNT):
                node = self._turn + step
                if node >= NODE_COUNT:
                    node -= NODE_COUNT
                intake = self.intakes[node]
                if stalled:
                    intake.note_stall(self.clock.elapsed_ms)
                if not stalled and taken:
                    # One frame a pass; of the others only what has arrived.
                    busy = intake.gather(now) or busy
                    continue
                for _frame in range(FRAMES_MAX):
                    if not intake.gather(now):
                        break
                    if self._take(node, now):
                        taken = True
                        break
                busy = busy or intake.waiting
            self._behind = busy
            if not busy and stalled:
                break
        return taken

    def _take(self, node: int, now: int) -> bool:
        """Take one frame of `node`; return False if it was none that counts."""
        intake = self.intakes[node]
        kind = intake.pump(True, now)
        if kind == NOTHING:
            return False
        liveness = self.livenesses[node]
        self._changed = True
        self.filler.moved[node] = True
        if kind == GOOD:
            liveness.good()
            # What the frame had to wait for its turn is no later heartbeat.
            liveness.age_ms = self.clock.since(intake.heard_at)
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
        return True

    def _fence_for_peer(self, node: int, target: int) -> None:
        settings = self.config.current.nodes[node]
        facts = self.facts
        reason = reasons.NOT_ARMED
        if settings.may_fence and target != node and facts.verdict[node] == codes.VERDICT_GOOD:
            reason = reasons.FENCE_FIRED
            if not self.state.quarantined[node]:
                reason = self.request(policy_requests.FENCE, target, 0)
        payload = self._reply.pack(target=target, result=0 if reason else 1, reason=reason)
        length = framing.encode_into(self._frame, messages.FENCE_REPLY, payload, len(payload))
        self.intakes[node].send(self._frame_view[:length])

    def _judge(self, taken: bool) -> bool:
        """Judge the nodes and let the policy decide: at once where a verdict, a sense or a fence changed, in the next
        pass where only a frame was taken in this one. Return True if the policy was asked.
        """
        facts = self.facts
        urgent = False
        for node in range(NODE_COUNT):
            if not facts.enabled[node]:
                continue
            liveness = self.livenesses[node]
            liveness.judge()
            if (
                liveness.verdict != facts.verdict[node]
                or self.senses.power[node] != facts.power[node]
                or self.sequencer.status[node] != facts.fence[node]
            ):
                urgent = True
            if self.intakes[node].half_line != facts.half_line[node]:
                self.filler.moved[node] = self._changed = True
        if not urgent:
            if taken and self._since_policy_ms < POLICY_MS:
                return False
            if not self._changed and self._since_policy_ms < self._policy_ms:
                return False
        self._changed = False
        self.filler.fill()
        self.policy.step(self._since_policy_ms)
        self.grants.step(self._since_policy_ms)
        self._since_policy_ms = 0
        out = self._out
        if out.records or out.actions or out.persist:
            self._carry_out()
            self.filler.tell = True
        return True

    def _carry_out(self) -> None:
        """Carry out what the policy decided: contacts first, then what is to be remembered."""
        out = self._out
        for kind, node in out.actions:
            if kind == policy_state.FENCE:
                self.clock.catch_up()
                self.sequencer.fire(node, bool(self.state.sense_seen[node]))
            else:
                self.sequencer.release(node)
        for event, node, reason, a, b in out.records:
            sequence = self.journal.append(event, node, reason, a, b)
            if event == events.FENCE_PREPARED:
                self.filler.intent_sequence[node] = sequence
            elif event in (events.FENCE_CANCELLED, events.OFF_PROVEN, events.OFF_ASSUMED, events.OFF_FAILED):
                self.filler.intent_sequence[node] = 0
        self._persist = self._persist or out.persist
        out.clear()

    def _reply_to_lines(self) -> bool:
        """Answer one node; after the policy has decided, also one that is to be told something new."""
        if self.filler.tell:
            self.filler.tell = False
            for node in range(NODE_COUNT):
                intake = self.intakes[node]
                if self.grants.has_changed(node) and intake.answers_good:
                    if self.facts.verdict[node] == codes.VERDICT_GOOD:
                        intake.reply_due = True
                        self._good[node] = True
        for node in range(NODE_COUNT):
            intake = self.intakes[node]
            if not intake.reply_due:
                continue
            intake.reply_due = False
            if intake.text:
                intake.send(self.grants.text(intake))
            else:
                intake.send(self.grants.frame(intake, self.journal.durable, self._good[node]))
            self._good[node] = False
            return True
        return False

    def _answers_wait(self) -> bool:
        for intake in self.intakes:
            if intake.reply_due:
                return True
        return False

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
                self._changed = self.filler.tell = True
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
        return self.filler.intent_sequence[node] > self.journal.durable

    def _write_all(self) -> None:
        self.durable.save(self.state)
        self.journal.flush()
        self.chip.put_scratch(BOOT_REGISTER, 0)
        self.chip.feed()
