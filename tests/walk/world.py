"""A small world around the real policy: nodes, senses, relays, flash and leases, in ticks of one second.

The board is the supervisor's own wiring (board.py) over the firmware's own stages; only lines, flash, clock and senses
are modelled. A walk goes back by freezing everything into a tuple and thawing it again (frozen.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heartwire_firmware.policy import Policy
from heartwire_protocol import codes, messages, settings, settings_rules
from tests.walk import frozen
from tests.walk.board import Board
from tests.walk.bodies import ALTERED, BEATS, HALF, MUTE, Body, PowerCut
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
board.excuse_s=2
board.service_s=4
node.a.boot_grace_ms=6000
node.b.boot_grace_ms=6000
node.spare.boot_grace_ms=6000
"""
# What a node's line does: beats; is silent while its services go on; sends wrong answers; hears nothing.
LINE_WORDS = ("well", "mute", "wrong", "deaf")
BOOT_TICKS = 2
# A request may wait so long for its intent to be durable; after that its word is an old one.
PEER_S = 6


class World:
    """The board and its nodes; `extra` are settings lines beyond SETTINGS, `changes` further settings by name that an
    operator may apply.
    """

    board_kind: Any = Board

    def __init__(
        self,
        nodes: int = 2,
        mode: int = codes.MODE_AUTO,
        extra: str = "",
        policy: Any = Policy,
        off: tuple[int, ...] = (),
        fitted: bool = False,
        changes: tuple[tuple[str, str], ...] = (),
    ) -> None:
        text = SETTINGS + extra
        for node in range(nodes, 3):
            text = text.replace(f"node.{codes.NODES[node]}.boot_grace_ms=6000\n", "")
            text += f"node.{codes.NODES[node]}.enabled=0\n"
        if nodes > 2:
            text += "node.spare.enabled=1\n"
        self.extra = extra
        self.changes = (("as they were", ""), *changes)
        self.variants = [_parsed(text + more) for _, more in self.changes]
        self.variant = 0
        self.follows = [0] * 3  # which key and baud rate the board has for a node
        self.count = nodes
        self.journal: list[tuple[int, int, int, int, int]] = []
        self.observers: list[Any] = []
        self.bodies = [Body() for _ in range(nodes)]
        self.flash = b""  # the durable record
        self.writes = 0
        self.full = 0  # flash cannot be written
        self.cut_at = -1
        self.cut_after = False
        self.dip: tuple[int, int] | None = None  # (node, what its sense shows for some milliseconds)
        self.peer_s = 0  # a peer's request to fence holds for so long still
        self.peer_target = NO_NODE
        self.forced_s = 0  # an operator's word that nobody need remain holds for so long still
        self.tainted = 0  # something happened that excuses the board from replacing a dead holder
        self.last_started = 0  # highest epoch with which services started
        self.leased_epoch = 0
        self.leased_node = NO_NODE
        board: Board = self.board_kind(self, self.variants[0], policy)
        self.board = board
        self.state = board.state
        self.facts = board.facts
        self.out = board.out
        self.policy = board.policy
        self.grants = board.grants
        self.senses = board.senses
        self.chip = board.chip
        self.relays = board.relays
        self.sequencer = board.sequencer
        self.livenesses = board.livenesses
        for node in off:
            self.bodies[node].soft_off = 1
            self.bodies[node].powered = self.bodies[node].up = 0
        self.fittings = Fittings(self) if fitted else None
        self.state.mode = mode
        if mode not in (codes.MODE_APPROVE, codes.MODE_AUTO):
            self.bodies[0].running, self.bodies[0].stopped = 1, 0
        board.boot(first=True)

    @property
    def settings(self) -> Any:
        """Return the settings in force."""
        return self.board.config.current

    @property
    def intent(self) -> list[int]:
        """Return the intent to fence of each node: 0 none, 1 waits to be written, 2 durable."""
        return self.board.intent

    def boot(self) -> None:
        """Start the board with what flash and the scratch register hold."""
        self.board.boot(first=False)

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
        asks: Callable[[], Any] | None = None,
        forces_s: int = 0,
    ) -> None:
        """Let a second pass, in which somebody asks something, with a force that holds for `forces_s`; at `cut_at` the
        board loses power at a write.
        """
        board = self.board
        self.writes = 0
        self.cut_at = cut_at
        self.cut_after = cut_after
        self.journal.clear()
        self.forced_s = forces_s or max(0, self.forced_s - 1)
        self.peer_s = max(0, self.peer_s - 1)
        if self.fittings is not None:
            self.fittings.begin_tick()
        self._step_bodies()
        for live in self.livenesses[: self.count]:
            live.advance(TICK_MS)
        beat = [self._hear(node) for node in range(self.count)]
        for live in self.livenesses[: self.count]:
            live.judge()
        try:
            for index, elapsed in enumerate(ROUNDS_MS):
                self.sense(elapsed, index)
                self.sequencer.step(elapsed)
                if self.fittings is not None:
                    self.fittings.step(elapsed)
                if index == 1 and asks is not None:
                    asks()
                board.trial.step(elapsed)
                board.decide(elapsed)
                for node in range(self.count):
                    if beat[node]:
                        self._grant(node)
                self._write()
        except PowerCut:
            self.lose_power()
        self.dip = None
        for observer in self.observers:
            observer.after_tick(self)

    def ask(self, operation: int, node: int, argument: int) -> int:
        """Let an operator ask the board; return the reason of a refusal, or NONE."""
        reason = self.board.ask(operation, node, argument)
        for observer in self.observers:
            observer.asked(self, operation, argument, reason)
        if self.fittings is not None:
            self.fittings.asked(operation, node, argument, reason)
        return reason

    def peer_asks(self, node: int, target: int) -> None:
        """Let a node ask over its line to have another one fenced."""
        if self.peer_s == 0 or self.peer_target == target:
            self.peer_s, self.peer_target = PEER_S, target
        self.board.peer_asks(node, target)
        for observer in self.observers:
            observer.answered_peer(self, target)

    def apply_settings(self, variant: int) -> bool:
        """Let an operator apply the settings `variant`; return whether the board took them."""
        if not self.board.apply_settings(self.variants[variant]):
            return False
        self.set_variant(variant)
        return True

    def set_variant(self, variant: int) -> None:
        """Put settings into force, whatever the board says."""
        self.variant = variant
        name = self.changes[variant][0]
        for node in range(self.count):
            self.follows[node] = int(name in (f"key of {codes.NODES[node]}", f"baud of {codes.NODES[node]}"))
        if self.board.config.current is not self.variants[variant]:
            self.board.config.current = self.variants[variant]
            self.board.trial.start()

    def moved(self, node: int) -> None:
        """A coil of the transfer relay gets current."""
        for observer in self.observers:
            observer.transferred(self, node)

    def lose_power(self) -> None:
        """Power-cycle the board: relays drop, the mark is lost."""
        self.chip.mark = 0
        for node in range(3):
            self.relays.commanded[node] = False
        self.boot()

    def stored_schedule(self) -> int:
        """Return the node that the durable record plans to switch over to."""
        return int(frozen.stored_in(self.flash)[2][-2])

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
            if body.state == codes.STATE_PLANNED_OFF and self.board.intakes[node].state == body.state and body.up:
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
        intake = self.board.intakes[node]
        if not self.settings.nodes[node].enabled or not body.up or body.line == MUTE:
            intake.half_line = intake.has_incarnation and live.age_ms > self.settings.board.late_ms
            return False
        self.board.filler.note(node)
        if body.line == ALTERED or body.follows != self.follows[node]:
            live.bad()
            intake.altered = True
            return False
        if body.line == HALF:
            live.sign()
            intake.half_line = True
            return False
        live.good()
        intake.half_line = intake.altered = False
        intake.beats += 1
        intake.state = codes.STATE_DRAINING if body.drained else body.state
        intake.busy_s = body.busy_s
        if self.fittings is not None:
            self.fittings.silenced[node] = 0
        intake.flags = (
            messages.FLAG_ANSWERED
            | (messages.FLAG_RUNNING if body.running else 0)
            | (messages.FLAG_VERIFIED_STOPPED if body.stopped else 0)
            | (messages.FLAG_WATCHDOG_ARMED if self.settings.nodes[node].on_board_loss == "stop" else 0)
        )
        intake.epoch = frozen.TOP_EPOCH if body.claims else body.epoch
        intake.incarnation = body.incarnation
        intake.has_incarnation = True
        return True

    def sense(self, elapsed: int = 0, index: int = 0) -> None:
        """Show the board what its senses see, in pass `index` of a tick."""
        for node, body in enumerate(self.bodies):
            off = self.relays.commanded[node] or body.soft_off
            shown = codes.POWER_OFF if off else codes.POWER_ON
            if body.stuck >= 0:
                shown = body.stuck
            elif body.chatters and index == 1:
                shown = codes.POWER_OFF + codes.POWER_ON - shown
            if self.dip is not None and self.dip[0] == node and index:
                shown = self.dip[1]
            self.senses.show(node, shown, elapsed)

    def pressed(self) -> None:
        """Let the servers feel what was pressed on their front panels."""
        for node, body in enumerate(self.bodies):
            if self.relays.press_ms[node]:
                self.relays.press_ms[node] = 0
                if body.powered and self.settings.nodes[node].front == "reset":
                    self._reboot(body)
                elif self.settings.nodes[node].front == "power":
                    for observer in self.observers:
                        observer.pressed(self, node)
                    body.soft_off = 1 - body.soft_off

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
            if body.broken:
                body.running, body.stopped, body.state = 0, body.broken - 1, codes.STATE_DEGRADED
                return
            if not body.running:
                for observer in self.observers:
                    observer.started(self, node)
                self.last_started = max(self.last_started, state.epoch)
            body.running, body.stopped = 1, 0
        elif orders & messages.ORDER_REVOKE or state.role[node] != codes.ROLE_ACTIVE:
            body.running, body.stopped = 0, 1

    def _write(self) -> None:
        board = self.board
        if board.durable.waiting:
            self._flash_write(self._save)
        if board.must_flush:
            self._flash_write(board.journal.flush)

    def _save(self) -> None:
        self.board.durable.save(self.state)

    def _flash_write(self, write: Callable[[], Any]) -> None:
        index = self.writes
        self.writes += 1
        if self.full:
            return
        if index == self.cut_at and not self.cut_after:
            raise PowerCut
        write()
        if index == self.cut_at:
            raise PowerCut
        self.board.filler.fill()


def _parsed(text: str) -> Any:
    found, problems = settings.parse(text)
    problems = problems + settings_rules.check(found)
    assert not problems, problems
    return found
