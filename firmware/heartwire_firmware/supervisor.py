"""Supervisor: builds the stages, wires them, and steps them all in one loop with one time.

It moves data between stages and decides nothing: policy decides, sequencer acts, journal remembers. Flash is written
only where no deadline falls due; the watchdog is fed in one place, after every stage has stepped. Used by start, and by
tests with fake hardware. Hardware is handed in (ports.py).
"""

from heartwire_firmware import policy_state, starts
from heartwire_firmware.brain import Brain
from heartwire_firmware.button import Button
from heartwire_firmware.clock import Clock
from heartwire_firmware.config import Config
from heartwire_firmware.durable import Durable
from heartwire_firmware.facts import FactFiller
from heartwire_firmware.following import Following
from heartwire_firmware.grants import Grants
from heartwire_firmware.hands import Hands
from heartwire_firmware.hostlink import HostLink
from heartwire_firmware.hostlink_operations import Operations
from heartwire_firmware.hostlink_settings import SettingsOperations
from heartwire_firmware.hostlink_status import StatusOperations
from heartwire_firmware.hostlink_tests import HardwareTests
from heartwire_firmware.intake import Intake
from heartwire_firmware.intents import Intents
from heartwire_firmware.journal import Journal
from heartwire_firmware.lastlook import LastLook
from heartwire_firmware.lights import Lights
from heartwire_firmware.lines import Lines
from heartwire_firmware.liveness import Liveness
from heartwire_firmware.pace import FRAME_PASSES, Pace
from heartwire_firmware.peers import Peers
from heartwire_firmware.policy import Policy
from heartwire_firmware.ports import Activity
from heartwire_firmware.relays import Input, Relays, Senses, Transfer
from heartwire_firmware.repeats import Repeats
from heartwire_firmware.reports import Reports
from heartwire_firmware.selftest import SelfTest
from heartwire_firmware.sequencer import Sequencer
from heartwire_firmware.storage import Storage
from heartwire_firmware.trial import Trial
from heartwire_firmware.walltime import WallTime
from heartwire_protocol import events, operations, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

# After a change of an input all inputs are read for this long: longer than relays.DEBOUNCE_MS.
BOUNCE_MS = 60
AFTER_THE_LINES = (operations.APPROVE, operations.DECLARE, operations.READOPT, operations.FENCE)


class Supervisor:
    """The whole board on `hardware`: lines, usb, pins, files, chip and the ticks of ports.py."""

    def __init__(self, hardware):
        self.chip = hardware.chip
        self.ticks_us = hardware.ticks_us
        self.ticks_diff = hardware.ticks_diff
        self.clock = Clock(hardware.ticks_ms, hardware.ticks_diff, hardware.ticks_add)
        self.config = Config(hardware.files)
        self.durable = Durable(hardware.files)
        self.journal = Journal(hardware.files, self.clock)
        self.relays = Relays(hardware.pins)
        self.senses = Senses(hardware.pins)
        self.transfer = Transfer(hardware.pins)
        self._hardware = hardware
        random_into = self.chip.random_into
        ticks_us = hardware.ticks_us
        self.intakes = tuple([Intake(n, hardware.lines[n], random_into, ticks_us) for n in range(NODE_COUNT)])
        self._repeats = Repeats(self.journal)
        self.hostlink = HostLink(hardware.usb, self.chip, self.journal)
        self._wire(Policy, Hands)
        self.key = Input(hardware.pins, "KEY")
        self.button = Button(Input(hardware.pins, "BUTTON"))
        self.lights = Lights(hardware.pins, self.state, self.facts)
        self.hostlink.operations = self._operations(hardware.pins)
        self._storage = Storage(self.durable, self.journal, self.config, self.facts)
        self._last_look = LastLook(
            self.config, self.intakes, self.livenesses, self.sequencer, self.selftest, self.ticks_us, self.ticks_diff
        )
        self._activity = hardware.activity
        self._bounce_ms = BOUNCE_MS
        self.stopping = starts.RUN
        self._young = True

    def _wire(self, policy, hands) -> None:
        """Make and join what stands between frames and contacts, with the classes `policy` and `hands`: the walk wires
        its board by this too.
        """
        state = self.state = policy_state.State()
        facts = self.facts = policy_state.Facts()
        out = self.out = policy_state.Decisions()
        config, journal, durable = self.config, self.journal, self.durable
        intakes = self.intakes
        livenesses = self.livenesses = tuple([Liveness() for _ in range(NODE_COUNT)])
        sequencer = self.sequencer = Sequencer(self.relays, self.senses, self.chip)
        selftest = self.selftest = SelfTest(self.relays, self.senses, facts, journal)
        intents = self.intents = Intents(journal)
        wall = self.wall = WallTime(self.clock, state, facts, journal, durable)
        grants = self.grants = Grants(state, facts)
        filler = self.filler = FactFiller(
            facts, config, intakes, livenesses, self.senses, sequencer, intents, durable, selftest, self.transfer, wall,
            Reports(journal, livenesses),
        )  # fmt: skip
        self.hands = hands(out, state, facts, config, sequencer, selftest, journal, self._repeats, intents, durable)
        self.policy = policy(config.current, state, facts, out)
        self.brain = Brain(
            self.policy, filler, grants, livenesses, intakes, self.senses, sequencer, wall, self.hands
        )  # fmt: skip
        self.peers = Peers(self.brain, sequencer, self.senses, self.relays)
        self.lines = Lines(
            intakes, livenesses, filler, facts, grants, journal, self.clock, self.ticks_us, self.ticks_diff, self.peers
        )
        self.trial = Trial(config, self.configure, state, facts, livenesses, intakes, sequencer, journal, durable)
        self.following = Following(self.transfer, selftest, state, journal)
        self.pace = Pace(
            self._hardware.lead_ms, state, facts, livenesses, intakes, sequencer, self.relays, selftest, intents,
            self.clock, durable, journal, self.lines, filler, self.hostlink,
        )  # fmt: skip
        self._bauds = [0] * NODE_COUNT

    def _operations(self, pins) -> Operations:
        """Return what the host link may ask for."""
        state, facts, config, journal = self.state, self.facts, self.config, self.journal
        status = StatusOperations(
            state, facts, config, self.clock, journal, self.chip, self.key, pins, self.intakes, self.grants,
            self.relays, self.senses, self.transfer, self.hostlink.drops,
        )  # fmt: skip
        tests = HardwareTests(
            self.request, self.selftest, self.transfer, self.lights, self.relays, journal, config, self.key
        )
        has_key = self.hostlink.has_configure_key
        parts = [status, tests, self.settings_operations()]
        return Operations(self.request, self.stop, self.wall, state, self.relays, self.key, has_key, parts)

    def settings_operations(self) -> SettingsOperations:
        """Return what the host link may do with settings."""
        return SettingsOperations(
            self.config, self.trial, self.state, self.facts, self.filler, self.sequencer, self.journal,
            self.pace.may_stall, self.stop,
        )  # fmt: skip

    # Start.

    def start(self) -> None:
        """Load what is durable, take up a marked fence, and begin to guard."""
        self.state.names()
        self.config.load()
        self.durable.load(self.state)
        empty = self.durable.empty
        state = self.state
        state.boots = min(state.boots + 1, 0xFFFFFF)
        self.journal.boot = state.boots
        self.journal.load()
        bad_boots = starts.bad_boots(self.chip, self.journal)
        self.journal.append(events.BOOT, NO_NODE, self.chip.reset_cause, bad_boots)
        if bad_boots >= starts.BAD_BOOTS_MAX:
            state.safe_mode = 1
            self.journal.append(events.SAFE_MODE, NO_NODE, 0, bad_boots)
        self.trial.start()
        self.hostlink.locked = self.config.lost
        resumed = self.sequencer.resume()
        self.out.clear()
        self.filler.fill()
        self.policy.boot(resumed, empty)
        self.hands.carry_out()
        self.durable.waiting = True
        self.chip.collect()

    def configure(self) -> None:
        """Hand the running settings to all stages."""
        current = self.config.current
        self.policy.settings = current
        self.sequencer.configure(current.board, current.nodes)
        self.senses.configure(current.nodes)
        self.selftest.configure(current.board)
        self.grants.configure(current.board)
        self.hostlink.configure(current.board)
        self.pace.configure(current.board)
        self.filler.note_all()
        for node in range(NODE_COUNT):
            self.intakes[node].configure(current.board, current.nodes[node])
            self.livenesses[node].configure(current.board)
            if self._bauds[node] != current.nodes[node].baud:
                # Only then: setting up a serial port anew loses what it has received.
                self._bauds[node] = current.nodes[node].baud
                self._hardware.lines[node].set_baud(self._bauds[node])

    def request(self, operation: int, node: int, argument: int, why: int = reasons.OPERATOR) -> int:
        """Hand a request to the policy and carry out what it decides; return the reason of a refusal, or NONE. What
        waits on the lines comes first: it may make void what is approved, or the word that a node is off.
        """
        if operation in AFTER_THE_LINES:
            self.lines.catch_up()
            for liveness in self.livenesses:
                liveness.judge()
        return self.brain.request(operation, node, argument, why)

    def stop(self, how: int) -> None:
        """Leave the loop after the answers have left: starts.RESTART or starts.REPL."""
        self.selftest.end(reasons.REQUESTED_RESET)
        self.stopping = how

    # The loop.

    def run(self) -> int:
        """Step until asked to stop; return starts.RESTART or starts.REPL."""
        self.chip.start_watchdog(self.config.current.board.watchdog_ms)
        starts.note_running(self.chip)
        wait = self._hardware.wait_for_tick
        step = self.step
        while not self.stopping or not self.hostlink.idle:
            wait(step())
        self._write_all()
        return self.stopping

    def step(self) -> int:
        """Look, and step what has something to do: every stage, with the same time, or none. Return for how many ms the
        loop need not look again unless something comes.

        A pass does one heavy thing at a time (pace.py), so that none stands for long between a deadline and its relay.
        """
        bits = self._activity()
        pace = self.pace
        if not self.facts.changed:
            since_ms = self.clock.look()
            if since_ms < pace.due_ms and not self._is_due(bits):
                self.chip.feed()
                if not self.relays.cut_count:
                    return pace.due_ms - since_ms
                self.relays.step(0)
                return 1
        elapsed = self.clock.tick()
        ahead_ms = pace.begin(elapsed)
        if ahead_ms:
            elapsed += self.clock.run_ahead(ahead_ms)
        for node in range(NODE_COUNT):
            if self.facts.enabled[node]:
                self.livenesses[node].advance(elapsed)
                self.intakes[node].advance(elapsed)
        self.filler.advance(elapsed)
        self._step_inputs(bits, elapsed)
        self.senses.advance(elapsed)
        if self.button.advance(elapsed, self.state.request_number if self.state.phase == policy_state.APPROVAL else 0):
            self.request(operations.APPROVE, NO_NODE, self.state.request_number, reasons.BUTTON)
        self.relays.step(elapsed)
        if self.sequencer.busy:
            self.sequencer.step(elapsed)
        if self.selftest.phase:
            self.hands.step_test(elapsed)
        heavy = (bits & Activity.LINES or self.lines.behind or self.clock.stalled) and self.lines.take(pace.is_near)
        if heavy:
            pace.passes += FRAME_PASSES
        heavy = self._decide(heavy, elapsed) or heavy
        if not pace.is_near and pace.may_answer(heavy):
            heavy = self.lines.reply() or heavy
            pace.answered()
        if pace.has_turn(heavy, elapsed, bits):
            self._step_quiet(heavy)
        pace.end(self._bounce_ms > 0)
        self.chip.feed()
        return 1

    def _is_due(self, bits: int) -> bool:
        """Tell whether what came needs a pass; bytes of a frame that is not whole do not."""
        if bits & Activity.LINES:
            for node in range(NODE_COUNT):
                if bits >> node & 1 and self.intakes[node].gather():
                    return True
        return bool(bits & (Activity.USB | Activity.INPUTS))

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
        self.button.step(elapsed)
        self._bounce_ms = max(0, self._bounce_ms - elapsed)

    def _step_quiet(self, heavy: bool) -> None:
        """Step what no deadline waits for: the host link, events for nodes, lights, flash."""
        pace = self.pace
        elapsed = pace.begin_turn()
        self.trial.step(elapsed)
        self._storage.step(elapsed)
        self._repeats.step(elapsed)
        self.peers.advance(elapsed)
        self.lines.count_errors()
        pace.step(elapsed)
        # Before anything is written: its parts would take one moment after the other, until memory is at its end.
        urgent = pace.is_urgent()
        collected = not urgent and pace.garbage_waits() and self._collect(pace, heavy)
        served = self.hostlink.step(elapsed, pace.is_quiet() and not collected)
        if self.config.current.board.transfer:
            self.following.step(elapsed)
        self.lights.step(elapsed)
        if not collected:
            self.lines.send_events(pace)
            self._write(pace, urgent, heavy or served)
        if self._young and (self.clock.day or self.clock.ms >= starts.GOOD_BOOT_MS):
            self._young = False
            starts.note_good(self.chip)

    def _decide(self, taken: bool, elapsed: int) -> bool:
        """Judge the nodes, and let the policy decide if it is to be asked; return True if it was."""
        brain = self.brain
        if not self.pace.asks(brain.judge(elapsed), taken, brain.since_ms):
            return False
        ahead = self.clock.is_ahead
        if ahead:
            brain.keep()
        else:
            self._last_look.taken_back = 0
        brain.step()
        out = self.out
        if ahead and not self._last_look.confirms(out, brain.verdicts):
            # A heartbeat came while its death was being decided: nothing was decided.
            brain.give_back()
            self.lines.behind = True
            return True
        if out.records or out.actions or out.persist:
            self.hands.carry_out()
            self.filler.tell = True
        return True

    def _write(self, pace, urgent: bool, heavy: bool) -> None:
        """Write at most one thing, where no deadline falls due: the state before the journal, as grants wait for it."""
        if self.durable.waiting:
            if pace.may_write(urgent):
                if not self.durable.save(self.state):
                    pace.failed()
                pace.wrote(True)
                self.facts.changed = self.filler.tell = True
                return
        elif self.journal.waiting:
            if pace.may_write(urgent):
                if not self.journal.step():
                    pace.failed()
                pace.wrote(not self.journal.waiting)
                self.facts.changed = True
                return
        else:
            pace.nothing_waits()
        self._collect(pace, heavy)

    def _collect(self, pace, heavy: bool) -> bool:
        if not pace.may_collect(heavy):
            return False
        self.chip.collect()
        return True

    def _write_all(self) -> None:
        self.durable.save(self.state)
        self.journal.flush()
        starts.note_good(self.chip)
        self.chip.feed()
