"""A small world around the real policy: nodes, senses, relays, flash and leases, in ticks of one second.

Policy, guards, sequencer, liveness, grants and the durable record are the firmware's own; only lines and flash are
modelled. A walk goes back by freezing everything into a tuple and thawing it again (frozen.py).
"""

from __future__ import annotations

from typing import Any

from heartwire_firmware import durable, policy_requests, policy_state, sequencer
from heartwire_firmware.grants import Grants
from heartwire_firmware.liveness import Liveness
from heartwire_firmware.policy import Policy
from heartwire_firmware.relays import Relays
from heartwire_protocol import codes, events, messages, reasons, settings, settings_rules
from tests.walk import frozen
from tests.walk.bodies import ALTERED, BEATS, HALF, MUTE, Body, FakeChip, FakePins, FakeSenses, PowerCut
from tests.walk.fittings import Fittings

TICK_MS = 1000
ROUNDS_MS = (980, 10, 10)
NO_NODE = codes.NO_NODE
SETTINGS = """board.bench=1
board.interval_ms=400
board.early_ms=100
board.late_ms=1000
board.common_cause_ms=1000
board.dead_ms=3000
board.good_count=1
board.lease_ms=2000
board.cold_start_ms=4000
board.drain_ms=2000
board.off_stable_ms=1000
board.off_timeout_ms=2000
board.off_ms=1000
board.hold_max_s=4
board.max_actions=2
board.window_s=30
board.approval_s=3
board.stable_s=3
node.a.boot_grace_ms=6000
node.b.boot_grace_ms=6000
node.spare.boot_grace_ms=6000
"""
# What a node's line does: beats; is silent while its services go on; sends wrong answers; hears nothing.
LINE_WORDS = ("well", "mute", "wrong", "deaf")
BOOT_TICKS = 2


class World:
    """The board and its nodes; `extra` are settings lines beyond SETTINGS."""

    def __init__(
        self,
        nodes: int = 2,
        mode: int = codes.MODE_AUTO,
        extra: str = "",
        policy: Any = Policy,
        off: tuple[int, ...] = (),
        fitted: bool = False,
    ) -> None:
        text = SETTINGS + extra
        for node in range(nodes, 3):
            text = text.replace(f"node.{codes.NODES[node]}.boot_grace_ms=6000\n", "")
            text += f"node.{codes.NODES[node]}.enabled=0\n"
        if nodes > 2:
            text += "node.spare.enabled=1\n"
        self.settings, problems = settings.parse(text)
        problems = problems + settings_rules.check(self.settings)
        assert not problems, problems
        self.extra = extra
        self.count = nodes
        self.state = policy_state.State()
        self.facts = policy_state.Facts()
        self.out = policy_state.Decisions()
        self._policy_class = policy
        self.policy = policy(self.settings, self.state, self.facts, self.out)
        self.grants = Grants(self.state, self.facts)
        self.grants.configure(self.settings.board)
        self.senses = FakeSenses()
        self.chip = FakeChip()
        self.relays = Relays(FakePins())
        self.sequencer = sequencer.Sequencer(self.relays, self.senses, self.chip)
        self.sequencer.configure(self.settings.board, self.settings.nodes)
        self.livenesses = [Liveness() for _ in range(nodes)]
        for liveness in self.livenesses:
            liveness.configure(self.settings.board)
        self.bodies = [Body() for _ in range(nodes)]
        self.heard_incarnation = [0] * 3
        self.flash = b""  # the durable record
        self.flash_long = 0
        self.intent = [0] * 3  # 0 none, 1 waits to be written, 2 durable
        self.persist = False
        self.writes = 0
        self.full = 0  # flash cannot be written
        self.cut_at = -1
        self.cut_after = False
        self.forced_s = 0  # an operator's word that nobody need remain holds for so long still
        self.tainted = 0  # something happened that excuses the board from replacing a dead holder
        self.journal: list[tuple[int, int, int, int, int]] = []
        self.observers: list[Any] = []
        self.last_started = 0  # highest epoch with which services started
        self.leased_epoch = 0
        self.leased_node = NO_NODE
        for node in range(nodes):
            self.facts.enabled[node] = True
            self.facts.keyed[node] = True
        for node in off:
            self.bodies[node].soft_off = 1
            self.bodies[node].powered = self.bodies[node].up = 0
        self.fittings = Fittings(self) if fitted else None
        self.state.mode = mode
        if mode not in (codes.MODE_APPROVE, codes.MODE_AUTO):
            self.bodies[0].running, self.bodies[0].stopped = 1, 0
        self.boot(first=True)

    # The board's start.

    def boot(self, first: bool = False) -> None:
        """Start the board with what flash and the scratch register hold."""
        mode = self.state.mode
        self.state.__init__()  # type: ignore[misc]
        for node in range(self.count):
            self.livenesses[node].__init__()  # type: ignore[misc]
            self.livenesses[node].configure(self.settings.board)
            self.facts.beats[node] = self.facts.busy_s[node] = 0
            self.facts.node_state[node] = self.facts.flags[node] = self.facts.node_epoch[node] = 0
            self.facts.incarnation[node] = 0
            self.facts.verdict[node] = 0
        self.heard_incarnation = [0] * 3
        self.intent = [0] * 3
        mark = self.chip.mark
        for node in range(3):
            self.sequencer.status[node] = sequencer.IDLE
            self.relays.commanded[node] = False
        self.relays.cut_count = 0
        self.chip.mark = mark
        self.sequencer._mark = sequencer.MARK_MAGIC
        if first:
            self.state.mode = mode
        else:
            durable.unpack(self.flash, self.state)
        if self.fittings is not None:
            self.fittings.boot()
        self._sense()
        resumed = self.sequencer.resume()
        self.out.clear()
        self._fill()
        self.policy.boot(resumed, first)
        self._carry_out()
        self.persist = True

    def freeze(self) -> tuple[Any, ...]:
        """Return everything that the future depends on, in its canonical form."""
        return frozen.freeze(self)

    def thaw(self, state: tuple[Any, ...]) -> None:
        """Take everything from a frozen world."""
        frozen.thaw(self, state)

    # One tick.

    def tick(
        self,
        cut_at: int = -1,
        cut_after: bool = False,
        request: tuple[int, int, int] | None = None,
        forces_s: int = 0,
    ) -> None:
        """Let a second pass, with a request of an operator in it, whose force holds for `forces_s`; at `cut_at` the
        board loses power at a write.
        """
        self.writes = 0
        self.cut_at = cut_at
        self.cut_after = cut_after
        self.journal.clear()
        self.forced_s = forces_s or max(0, self.forced_s - 1)
        if self.fittings is not None:
            self.fittings.begin_tick()
        self._step_bodies()
        for live in self.livenesses:
            live.advance(TICK_MS)
        beat = [self._hear(node) for node in range(self.count)]
        for live in self.livenesses:
            live.judge()
        try:
            for index, elapsed in enumerate(ROUNDS_MS):
                self._sense()
                self.sequencer.step(elapsed)
                if self.fittings is not None:
                    self.fittings.step(elapsed)
                self._fill()
                self.policy.begin(elapsed)
                if index == 1 and request is not None:
                    reason = self._watched(policy_requests.request, self.policy, *request)
                    if self.fittings is not None:
                        self.fittings.asked(*request, reason)
                    self._fill()
                    self.policy.begin(0)
                self._watched(self.policy.decide, elapsed)
                self.grants.step(elapsed)
                for node in range(self.count):
                    if beat[node]:
                        self._grant(node)
                self._write()
        except PowerCut:
            self.lose_power()
        for observer in self.observers:
            observer.after_tick(self)

    def lose_power(self) -> None:
        """Power-cycle the board: relays drop, the mark is lost."""
        self.chip.mark = 0
        for node in range(3):
            self.relays.commanded[node] = False
        self.boot()
        self.chip.mark = sequencer.MARK_MAGIC

    def stored_schedule(self) -> int:
        """Return the node that the durable record plans to switch over to."""
        return int(frozen.stored_in(self.flash)[2][-2])

    def _watched(self, call: Any, *arguments: Any) -> Any:
        for observer in self.observers:
            observer.before(self)
        found = call(*arguments)
        for observer in self.observers:
            observer.after(self)
        self._carry_out()
        return found

    def _step_bodies(self) -> None:
        for node, body in enumerate(self.bodies):
            power = not self.relays.commanded[node] and not body.soft_off
            if self.relays.commanded[node]:
                body.soft_off = 0  # a PC starts when its mains come back
            if body.powered and not power:
                body.up = body.running = body.boot = body.lease = 0
            elif power and not body.powered:
                body.boot = BOOT_TICKS
            body.powered = int(power)
            if body.boot:
                body.boot -= 1
                if not body.boot:
                    body.up = body.stopped = 1
                    body.running = body.drained = body.lease = body.busy_s = 0
                    body.line = BEATS
                    body.state = codes.STATE_HEALTHY
                    body.incarnation += 1
            body.lease = max(0, body.lease - TICK_MS)
            if body.state == codes.STATE_PLANNED_OFF and self.facts.node_state[node] == body.state and body.up:
                body.running, body.stopped = 0, 1  # it has said so, and now it does
            if self.settings.nodes[node].on_board_loss == "stop" and body.running and not body.lease:
                # Its agent stops it, or its kernel watchdog does in time.
                body.unfed += 1
                if body.line in (BEATS, HALF, ALTERED):
                    body.running, body.stopped = 0, 1
                elif body.unfed * TICK_MS >= self.settings.nodes[node].self_fence_ms:
                    self._reboot(body)
            else:
                body.unfed = 0

    def _reboot(self, body: Body) -> None:
        body.up = body.running = body.lease = body.unfed = 0
        body.boot = BOOT_TICKS

    def _hear(self, node: int) -> bool:
        body = self.bodies[node]
        live = self.livenesses[node]
        if not body.up or body.line == MUTE:
            return False
        if body.line == ALTERED:
            live.bad()
            return False
        if body.line == HALF:
            live.sign()
            return False
        facts = self.facts
        live.good()
        facts.beats[node] = min(facts.beats[node] + 1, 80)
        facts.node_state[node] = codes.STATE_DRAINING if body.drained else body.state
        facts.busy_s[node] = body.busy_s
        if self.fittings is not None:
            self.fittings.silenced[node] = 0
        facts.flags[node] = (
            messages.FLAG_ANSWERED
            | (messages.FLAG_RUNNING if body.running else 0)
            | (messages.FLAG_VERIFIED_STOPPED if body.stopped else 0)
            | (messages.FLAG_WATCHDOG_ARMED if self.settings.nodes[node].on_board_loss == "stop" else 0)
        )
        facts.node_epoch[node] = body.epoch
        self.heard_incarnation[node] = body.incarnation
        return True

    def _sense(self) -> None:
        for node, body in enumerate(self.bodies):
            off = self.relays.commanded[node] or body.soft_off
            truth = codes.POWER_OFF if off else codes.POWER_ON
            self.senses.power[node] = truth if body.stuck < 0 else body.stuck

    def _fill(self) -> None:
        facts = self.facts
        seq = self.sequencer
        for node in range(self.count):
            live = self.livenesses[node]
            facts.verdict[node] = live.verdict
            facts.age_ms[node] = live.age_ms
            facts.sign_ms[node] = live.sign_ms
            facts.incarnation[node] = self.heard_incarnation[node]
            facts.half_line[node] = self.bodies[node].line == HALF and live.sign_ms < 1000
            facts.power[node] = self.senses.power[node]
            facts.power_full[node] = self.senses.power[node] == codes.POWER_ON
            facts.fence[node] = seq.status[node]
            facts.fence_ms[node] = seq.since_ms[node]
            facts.proof_ms[node] = seq.proof_ms[node]
            facts.fence_reason[node] = seq.reason[node]
            facts.intent_durable[node] = self.intent[node] == 2
        facts.durable_epoch, facts.durable_holder, facts.durable_long = frozen.stored_in(self.flash)[0]
        if self.fittings is not None:
            self.fittings.fill()

    def _carry_out(self) -> None:
        out = self.out
        for kind, node in out.actions:
            if kind == policy_state.FENCE:
                if self.fittings is not None:
                    self.fittings.selftest.end(reasons.FENCE_FIRED)
                self.sequencer.fire(node, bool(self.state.sense_seen[node]))
            elif kind == policy_state.RELEASE:
                self.sequencer.release(node)
            elif kind == policy_state.PROVE:
                self.sequencer.prove(node)
            elif kind == policy_state.PULSE:
                self.sequencer.pulse(node)
        for node, body in enumerate(self.bodies):
            if self.relays.press_ms[node]:
                self.relays.press_ms[node] = 0
                if body.powered and self.settings.nodes[node].front == "reset":
                    self._reboot(body)
                elif self.settings.nodes[node].front == "power":
                    for observer in self.observers:
                        observer.pressed(self, node)
                    body.soft_off = 1 - body.soft_off
        for row in out.records:
            event, node = row[0], row[1]
            self.journal.append(row)
            if event == events.FENCE_PREPARED:
                self.intent[node] = 1
            elif event in (events.FENCE_CANCELLED, events.OFF_PROVEN, events.OFF_ASSUMED, events.OFF_FAILED):
                self.intent[node] = 0
        self.persist = self.persist or out.persist
        out.clear()

    def _grant(self, node: int) -> None:
        body = self.bodies[node]
        if not body.up or body.line != BEATS:
            return
        orders = self.grants._orders(node)
        state = self.state
        if orders & messages.ORDER_ADVISORY:
            return
        if state.epoch < body.epoch and not orders & messages.ORDER_REVOKE:
            return
        body.epoch = max(body.epoch, state.epoch)
        body.drained = body.drained if orders & messages.ORDER_DRAIN else 0
        entitled = self.grants.is_entitled(node) and self.livenesses[node].verdict == codes.VERDICT_GOOD
        if entitled:
            for observer in self.observers:
                observer.leased(self, node)
            self.leased_epoch, self.leased_node = state.epoch, node
        if orders & messages.ORDER_HOLD or not body.obeys:
            return
        if orders & messages.ORDER_DRAIN:
            body.running, body.stopped, body.drained = 0, 1, 1
        elif state.role[node] == codes.ROLE_ACTIVE and entitled:
            body.lease = self.settings.board.lease_ms
            if body.state == codes.STATE_PLANNED_OFF:
                return
            if not body.running:
                for observer in self.observers:
                    observer.started(self, node)
                self.last_started = max(self.last_started, state.epoch)
            body.running, body.stopped = 1, 0
        elif orders & messages.ORDER_REVOKE or state.role[node] != codes.ROLE_ACTIVE:
            body.running, body.stopped = 0, 1

    def _write(self) -> None:
        if self.persist:
            self._flash_write(self._save)
        if 1 in self.intent or (self.fittings is not None and self.fittings.waits):
            self._flash_write(self._flush)

    def _save(self) -> None:
        self.flash = durable.pack(self.state)
        self.persist = False

    def _flush(self) -> None:
        self.intent = [2 if one else 0 for one in self.intent]
        if self.fittings is not None:
            self.fittings.board.journal.decided = 1

    def _flash_write(self, write: Any) -> None:
        index = self.writes
        self.writes += 1
        if self.full:
            return
        if index == self.cut_at and not self.cut_after:
            raise PowerCut
        write()
        if index == self.cut_at:
            raise PowerCut
        self._fill()
