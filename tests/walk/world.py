"""A small world around the real policy: nodes, senses, relays, flash and leases, in ticks of one second.

Policy, guards, sequencer, liveness, grants and the durable record are the firmware's own; only lines and flash are
modelled. Everything is frozen into a tuple and thawed again, so that a walk can go back. Ages and counters are cut
where no rule looks further, epochs and incarnations are renumbered, so that equal situations are equal tuples.
"""

from __future__ import annotations

from typing import Any

from heartwire_firmware import durable, policy_requests, policy_state, sequencer
from heartwire_firmware.grants import Grants
from heartwire_firmware.liveness import Liveness
from heartwire_firmware.policy import Policy
from heartwire_firmware.relays import Relays
from heartwire_protocol import codes, events, messages, settings, settings_rules
from tests.walk.bodies import ALTERED, BEATS, HALF, MUTE, Body, FakeChip, FakePins, FakeSenses, PowerCut

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
CAP_MS = 13000
# Fields of State that only fill records or wrap around.
IGNORED = ("grant_ms", "last_age_ms", "boots", "slowest_s", "request_number")
STATE_NAMES = [name for name in sorted(policy_state.State().__dict__) if name not in IGNORED]
CAPS = {
    "phase_ms": CAP_MS,
    "start_ms": 5000,
    "seek_ms": 7000,
    "good_ms": 11000,
    "stable_ms": 4000,
    "boot_ms": CAP_MS + 1000,
}
EPOCH_BASE = 8


_STORED: dict[bytes, Any] = {}
_FLASH: dict[Any, bytes] = {}
KEPT = (
    "holder", "mode", "quarantined", "locked", "sense_seen", "watchdog_seen", "actions", "window_ms", "maintenance_ms",
    "long_ms", "long_node",
)  # fmt: skip


def stored_in(flash: bytes) -> Any:
    """Return what a durable record says: (facts, epoch, the rest)."""
    found = _STORED.get(flash)
    if found is None:
        stored = policy_state.State()
        if flash:
            durable.unpack(flash, stored)
        rest = [getattr(stored, name) for name in KEPT]
        found = _STORED[flash] = (
            (stored.epoch, stored.holder, stored.long_ms > 0),
            stored.epoch,
            tuple([tuple(one) if isinstance(one, list) else one for one in rest]),
        )
    return found


def flash_of(kept: Any) -> bytes:
    """Return the durable record that says (epoch, the rest)."""
    flash = _FLASH.get(kept)
    if flash is None:
        stored = policy_state.State()
        stored.epoch = kept[0]
        for name, value in zip(KEPT, kept[1:], strict=True):
            setattr(stored, name, list(value) if isinstance(value, tuple) else value)
        flash = _FLASH[kept] = durable.pack(stored)
    return flash


class World:
    """The board and its nodes; `extra` are settings lines beyond SETTINGS."""

    def __init__(self, nodes: int = 2, mode: int = codes.MODE_AUTO, extra: str = "", policy: Any = Policy) -> None:
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
        self.tainted = 0  # something happened that excuses the board from replacing a dead holder
        self.journal: list[tuple[int, int, int, int, int]] = []
        self.observers: list[Any] = []
        self.last_started = 0  # highest epoch with which services started
        self.leased_epoch = 0
        self.leased_node = NO_NODE
        for node in range(nodes):
            self.facts.enabled[node] = True
            self.facts.keyed[node] = True
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
            self.facts.beats[node] = 0
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
        self._sense()
        resumed = self.sequencer.resume()
        self.out.clear()
        self._fill()
        self.policy.boot(resumed, first)
        self._carry_out()
        self.persist = True

    # Freezing.

    def freeze(self) -> tuple[Any, ...]:
        """Return everything that the future depends on, in its canonical form."""
        state = self.state
        base = state.epoch - EPOCH_BASE
        values: list[Any] = []
        for name in STATE_NAMES:
            value = getattr(state, name)
            if name in CAPS:
                cap = CAPS[name]
                value = tuple([min(v, cap) for v in value]) if isinstance(value, list) else min(value, cap)
            elif isinstance(value, list):
                value = tuple(value)
            elif name == "epoch":
                value = EPOCH_BASE
            elif name == "active_incarnation":
                value = int(state.active != NO_NODE and value == self.heard_incarnation[state.active])
            elif name == "asked_beats":
                value = int(state.target != NO_NODE and value == self.facts.beats[state.target])
            values.append(value)
        fired = STATE_NAMES.index("fired_incarnation")
        values[fired] = tuple(
            [
                int(bool(self.heard_incarnation[n]) and state.fired_incarnation[n] == self.heard_incarnation[n])
                for n in range(3)
            ]
        )
        nodes = []
        for node in range(self.count):
            body = self.bodies[node]
            live = self.livenesses[node]
            nodes.append((
                body.powered, body.up, body.boot, body.line, body.running, body.stopped, body.drained,
                max(0, body.epoch - base), body.lease,
                int(body.incarnation == self.heard_incarnation[node]), body.stuck, body.unfed,
                live.verdict, min(live.age_ms, CAP_MS), min(live.sign_ms, CAP_MS), live.streak,
                self.facts.node_state[node], self.facts.flags[node], max(0, self.facts.node_epoch[node] - base),
                min(self.facts.beats[node], 2), int(bool(self.heard_incarnation[node])), self.intent[node],
            ))  # fmt: skip
        seq = self.sequencer
        sequence = tuple([
            (seq.status[n], min(seq.since_ms[n], CAP_MS), min(seq.proof_ms[n], CAP_MS), seq.reason[n],
             min(seq._off_ms[n], 5000), seq._trusted[n], seq.method[n])
            for n in range(self.count)
        ])  # fmt: skip
        epoch, kept = stored_in(self.flash)[1:]
        kept = (max(0, epoch - base), *kept)
        return (
            tuple(values), tuple(nodes), sequence, kept, self.chip.mark, self.persist, self.full, self.tainted,
            max(0, self.last_started - base), max(0, self.leased_epoch - base), self.leased_node,
        )  # fmt: skip

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take everything from a frozen world."""
        values, nodes, sequence, kept, mark, self.persist, self.full, self.tainted, started, leased, leased_node = (
            frozen
        )
        state = self.state
        for name, value in zip(STATE_NAMES, values, strict=True):
            if isinstance(value, tuple):
                getattr(state, name)[:] = value
            else:
                setattr(state, name, value)
        state.grant_ms = state.last_age_ms = 0
        state.request_number = 1
        state.boots = 1
        facts = self.facts
        for node, row in enumerate(nodes):
            body = self.bodies[node]
            live = self.livenesses[node]
            (
                body.powered, body.up, body.boot, body.line, body.running, body.stopped, body.drained, body.epoch,
                body.lease, same, body.stuck, body.unfed, live.verdict, live.age_ms, live.sign_ms, live.streak,
                facts.node_state[node], facts.flags[node], facts.node_epoch[node], facts.beats[node], heard,
                self.intent[node],
            ) = row  # fmt: skip
            self.heard_incarnation[node] = 5 if heard else 0
            body.incarnation = 5 if same else 6
            state.slowest_s[node] = 0
            state.fired_incarnation[node] = 5 if state.fired_incarnation[node] else 4
        if state.active != NO_NODE:
            state.active_incarnation = self.heard_incarnation[state.active] if state.active_incarnation else 4
        if state.target != NO_NODE:
            state.asked_beats = facts.beats[state.target] if state.asked_beats else 90
        seq = self.sequencer
        for node, row in enumerate(sequence):
            (seq.status[node], seq.since_ms[node], seq.proof_ms[node], seq.reason[node], seq._off_ms[node],
             seq._trusted[node], seq.method[node]) = row  # fmt: skip
        self.chip.mark = mark
        seq._mark = mark
        self.relays.cut_count = 0
        for node in range(3):
            on = bool(mark >> node & 1) and seq.method[node] == codes.METHOD_POWER
            self.relays.commanded[node] = on
            self.relays.cut_count += on
        self.flash = flash_of(kept)
        self.last_started, self.leased_epoch, self.leased_node = started, leased, leased_node
        self.cut_at = -1
        self._sense()
        self._fill()

    # One tick.

    def tick(self, cut_at: int = -1, cut_after: bool = False, request: tuple[int, int, int] | None = None) -> None:
        """Let a second pass, with a request of an operator in it; at `cut_at` the board loses power at a write."""
        self.writes = 0
        self.cut_at = cut_at
        self.cut_after = cut_after
        self.journal.clear()
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
                self._fill()
                self.policy.begin(elapsed)
                if index == 1 and request is not None:
                    self._watched(policy_requests.request, self.policy, *request)
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

    def _watched(self, call: Any, *arguments: Any) -> None:
        for observer in self.observers:
            observer.before(self)
        call(*arguments)
        for observer in self.observers:
            observer.after(self)
        self._carry_out()

    def _step_bodies(self) -> None:
        for node, body in enumerate(self.bodies):
            power = not self.relays.commanded[node]
            if body.powered and not power:
                body.up = body.running = body.boot = body.lease = 0
            elif power and not body.powered:
                body.boot = BOOT_TICKS
            body.powered = int(power)
            if body.boot:
                body.boot -= 1
                if not body.boot:
                    body.up = body.stopped = 1
                    body.running = body.drained = body.lease = 0
                    body.line = BEATS
                    body.incarnation += 1
            body.lease = max(0, body.lease - TICK_MS)
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
        facts.node_state[node] = codes.STATE_DRAINING if body.drained else codes.STATE_HEALTHY
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
            truth = codes.POWER_OFF if self.relays.commanded[node] else codes.POWER_ON
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
        facts.durable_epoch, facts.durable_holder, facts.durable_long = stored_in(self.flash)[0]

    def _carry_out(self) -> None:
        out = self.out
        for kind, node in out.actions:
            if kind == policy_state.FENCE:
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
        if orders & messages.ORDER_HOLD:
            return
        if orders & messages.ORDER_DRAIN:
            body.running, body.stopped, body.drained = 0, 1, 1
        elif state.role[node] == codes.ROLE_ACTIVE and entitled:
            if not body.running:
                for observer in self.observers:
                    observer.started(self, node)
                self.last_started = max(self.last_started, state.epoch)
            body.lease = self.settings.board.lease_ms
            body.running, body.stopped = 1, 0
        elif orders & messages.ORDER_REVOKE or state.role[node] != codes.ROLE_ACTIVE:
            body.running, body.stopped = 0, 1

    def _write(self) -> None:
        if self.persist:
            self._flash_write(self._save)
        if 1 in self.intent:
            self._flash_write(self._flush)

    def _save(self) -> None:
        self.flash = durable.pack(self.state)
        self.persist = False

    def _flush(self) -> None:
        self.intent = [2 if one else 0 for one in self.intent]

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
