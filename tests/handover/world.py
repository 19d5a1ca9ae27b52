"""The hand-over protocol as a model: the shipped board, two servers with the shipped lease, an adversarial network.

What is the product's own code: on the board the policy, guards, grants, judgement of heartbeats, challenge, liveness,
sequencer and the supervisor's wiring (tests/walk/board.py); on a server what server.py lists. What is modelled: frames
arrive whole or not at all (framing has its own tests), flash takes what is written at once, senses tell the truth, a
service starts and stops within a second unless it is stuck.

**Time.** A tick is a second of the board; an interval is one tick, a lease two, late one, dead three. All that the
protocol compares are such sums, and the board compares with `>=` or `<` where agents compare with the opposite, so a
tick on either side of an edge is what matters; what moves within a tick is its order, and both orders of what the two
servers do are taken: a deed of the adversary comes before or after the fresh frame. **Drift.** A server's clock runs at
the most that settings allow (10,000 ppm) against the board's, in either direction: its lease then ends a tick later by
the board's clock than that of an exact one, which is the one way in which drift shows. Ages beyond what any rule looks
at, and epochs and sequences up to a shift, are the same state (freeze).

**The adversary** does at most one deed of network.py in a tick, and may cut either direction of a line for as long as
it likes; what it kept it delivers through a cut line, too. It signs nothing. It keeps a frame while an answer could
still count: a server remembers what it sent for longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heartwire.agent.lease import Loss
from heartwire_protocol import codes, messages
from tests.handover.board import CURRENT, NO_CHALLENGE, PREVIOUS, HandoverBoard
from tests.handover.network import BEFORE, DOWN, UP, Heartbeat, Network, grant_fields, grant_payload
from tests.handover.server import LONG_AGO_MS, SENT_KEPT, Server
from tests.walk.bodies import ALTERED, HALF, MUTE
from tests.walk.frozen import CAP_MS, EPOCH_BASE
from tests.walk.rules import demand
from tests.walk.world import BOOT_TICKS, ROUNDS_MS, TICK_MS, World

CUT = ALTERED  # of a line here: neither direction carries anything
DRIFT_PPM = 10_000
EXACT, SLOW, FAST = TICK_MS, TICK_MS - TICK_MS * DRIFT_PPM // 1_000_000, TICK_MS + TICK_MS * DRIFT_PPM // 1_000_000
SEEN_KEPT = 8
APART_MS = 4000  # common_cause_ms and late_ms, twice
OTHER_INCARNATION, OTHER_SEQUENCE = 3, 500
ODD = messages.FLAG_CHALLENGE_ODD


class HandoverWorld(World):
    """The board and two servers; `rates_ms` is how much of each server's clock passes in a second of the board's."""

    board_kind: Any = HandoverBoard
    board: Any

    def __init__(self, extra: str = "", rates_ms: tuple[int, int] = (EXACT, EXACT)) -> None:
        self.network = Network(2)
        self.servers: list[Server] = []
        super().__init__(2, codes.MODE_AUTO, f"board.clock_drift_ppm={DRIFT_PPM}\n" + extra)
        for node, rate_ms in enumerate(rates_ms):
            self.servers.append(Server(node, Loss(self.settings.nodes[node].on_board_loss), rate_ms))
        self.thaw(self.freeze())  # epochs count from a canonical one from here on

    # What a second brings.

    def tick(
        self,
        cut_at: int = -1,
        cut_after: bool = False,
        asks: Callable[[], Any] | None = None,
        forces_s: int = 0,
    ) -> None:
        """Let a second pass, in which somebody asks something."""
        board = self.board
        self.cut_at, self.cut_after, self.writes = -1, False, 0
        self.journal.clear()
        self.forced_s = forces_s or max(0, self.forced_s - 1)
        self._step_bodies()
        fresh = [self._beat(node) for node in range(2)]
        for node in range(2):
            self._arrive(node, fresh[node])
        for live in self.livenesses[:2]:
            live.judge()
        for index, elapsed in enumerate(ROUNDS_MS):
            self.sense(elapsed, index)
            self.sequencer.step(elapsed)
            if index == 1 and asks is not None:
                asks()
            board.trial.step(elapsed)
            board.decide(elapsed)
            self._answer()
            self._write()
        self.network.end()
        self._forget()
        self.sense()
        for observer in self.observers:
            observer.after_tick(self)

    def _step_bodies(self) -> None:
        for node, body in enumerate(self.bodies):
            power = not self.relays.commanded[node]
            if body.powered and not power:
                body.up = body.boot = 0
            elif power and not body.powered:
                body.boot = BOOT_TICKS
            body.powered = int(power)
            if body.boot:
                body.boot -= 1
                if not body.boot:
                    body.up = 1
                    body.incarnation += 1
                    body.obeys = 1
                    self.servers[node].boot(body.incarnation)
            elif body.up and self.servers[node].pass_time():
                self._reboot(body)
            self._note(node)
        self._check()

    def _beat(self, node: int) -> list[Heartbeat]:
        server = self.servers[node]
        return [server.beat()] if self.bodies[node].up and not server.paused else []

    def _arrive(self, node: int, fresh: list[Heartbeat]) -> None:
        board = self.board
        live = self.livenesses[node]
        intake = board.intakes[node]
        early = self.network.deed(UP, node) == BEFORE
        arriving = self.network.pass_on(UP, node, fresh, self.bodies[node].line in (MUTE, CUT))
        # What was kept and comes before a fresh one comes between two beats.
        times = (TICK_MS // 2, TICK_MS // 2) if early and len(arriving) == 2 else (TICK_MS,)
        for at in range(max(len(times), len(arriving))):
            if at < len(times):
                live.advance(times[at])
                intake.advance(times[at])
            if at < len(arriving):
                known = (intake.incarnation, intake.sequence, intake.beats)
                board.take(node, arriving[at])
                old = arriving[at][2] == known[0] and arriving[at][3] <= known[1]
                demand("5.6", not (old and intake.beats > known[2]), "a heartbeat counts a second time")
        board.filler.note(node)

    def _answer(self) -> None:
        board = self.board
        board.reply()
        for node in range(2):
            said, board.intakes[node].said = board.intakes[node].said, []
            if any(grant_fields(one)[3] for one in said):
                for observer in self.observers:
                    observer.leased(self, node)
                self.leased_epoch, self.leased_node = self.state.epoch, node
            deed = self.network.deed(DOWN, node)
            if not said and not deed:
                continue
            arriving = self.network.pass_on(DOWN, node, said, self.bodies[node].line in (HALF, CUT))
            if not self.bodies[node].up:
                continue
            for payload in arriving:
                if self.servers[node].hear(payload):  # type: ignore[arg-type]
                    self._note(node)
                    for observer in self.observers:
                        observer.started(self, node)
                    self.last_started = max(self.last_started, self.state.epoch)
                self._note(node)
                self._check()

    def _note(self, node: int) -> None:
        """Have the walk's rules see what the server does."""
        body, server = self.bodies[node], self.servers[node]
        if not body.up:
            body.running = 0
            return
        body.running, body.stopped = int(server.running), int(server.stopped)
        body.obeys = int(not server.stuck and not server.paused)
        body.epoch = server.lease.epoch

    def _check(self) -> None:
        entitled = [node for node in range(2) if self.bodies[node].up and self.servers[node].entitled]
        demand("5.1", len(entitled) <= 1, "two servers are entitled at once")
        demand("5.1", sum(body.running for body in self.bodies) <= 1, "two servers serve at once")

    # What the adversary may do before a second passes; each returns False if it changes nothing.

    def do(self, kind: str, argument: Any) -> bool:
        """Do what begins a second."""
        node = argument[0] if isinstance(argument, tuple) else argument
        body = self.bodies[node] if isinstance(node, int) else self.bodies[0]
        if kind == "deed":
            _, way, deed = argument
            return self.network.plan(deed, way, node)
        if kind == "line":
            if body.line == argument[1]:
                return False
            body.line = argument[1]
            return True
        if not body.up:
            return False
        server = self.servers[node]
        if kind == "crash":
            body.up = body.running = body.boot = 0
        elif kind == "reboot":
            self._reboot(body)
        elif kind == "pause":
            server.paused = not server.paused
        elif kind == "agent":
            body.incarnation += 1
            server.restart_agent(body.incarnation)
        elif kind == "stick":
            server.stuck = not server.stuck
        self._note(node)
        return True

    # Freezing.

    def freeze(self) -> tuple[Any, ...]:
        """Return everything that the future depends on."""
        base = self.state.epoch - EPOCH_BASE
        lines = []
        for node in range(2):
            body, server, intake = self.bodies[node], self.servers[node], self.board.intakes[node]
            known = server.incarnation.challenge if body.up else None
            up, down = (self.network.kept[way][node] for way in (UP, DOWN))
            frozen_up = frozen_down = None
            if up is not None:
                state, flags, incarnation, sequence, epoch, challenge = up
                frozen_up = (
                    state,
                    flags & ~ODD,
                    *self._code(node, incarnation, sequence),
                    max(0, epoch - base),
                    intake.code_of(challenge),
                )
            if down is not None:
                role, orders, epoch, lease_ms, incarnation, sequence, challenge = grant_fields(down)  # type: ignore[arg-type]
                frozen_down = (
                    role,
                    orders,
                    max(0, epoch - base),
                    lease_ms,
                    *self._code(node, incarnation, sequence),
                    intake.code_of(challenge),
                )
            lines.append((
                server.freeze(base) if body.up else max(0, server.disk_epoch - base),
                NO_CHALLENGE if known is None else intake.code_of(int.from_bytes(known, "little")),
                self._code(node, intake.incarnation, intake.sequence), self._code(node, *_answered(intake)),
                self._sign(node, intake),
                intake.has_incarnation, intake.challenge.has_previous, min(intake.challenge.age_ms, LONG_AGO_MS),
                min(intake.since_good_ms, TICK_MS), min(intake.bad_in_row, 3), intake.answers_good, intake.spoke,
                frozen_up, frozen_down, self.grants._told[node], self.board.lines._good[node],
            ))  # fmt: skip
        told = self.grants._told_epoch == self.board.durable.epoch
        return super().freeze(), tuple(lines), told, self._ages()

    def _ages(self) -> tuple[int, ...]:
        """Return the ages of the last heartbeats: how far they are apart counts for longer than how old they are."""
        ages = [live.age_ms for live in self.livenesses[:2]]
        beyond = max(0, min(ages) - CAP_MS)
        most = max(CAP_MS, min(ages) - beyond + APART_MS)
        return tuple([min(age - beyond, most) for age in ages])

    def thaw(self, state: tuple[Any, ...]) -> None:
        """Take everything from a frozen world."""
        base, lines, told, ages = state
        super().thaw(base)
        for live, age_ms in zip(self.livenesses, ages, strict=False):
            live.age_ms = age_ms
        for node, line in enumerate(lines):
            (
                frozen, known, heard, answered, sign, has_incarnation, has_previous, age_ms, since_ms, bad, good, spoke,
                up, down, self.grants._told[node], self.board.lines._good[node],
            ) = line  # fmt: skip
            body, server, intake = self.bodies[node], self.servers[node], self.board.intakes[node]
            challenge = intake.challenge_of(known).to_bytes(4, "little") if known != NO_CHALLENGE else None
            if body.up:
                server.thaw(frozen, body.incarnation, challenge)
            else:
                server.disk_epoch = frozen
            intake.challenge.current[:] = CURRENT.to_bytes(4, "little")
            intake.challenge.previous[:] = PREVIOUS.to_bytes(4, "little")
            intake.challenge.has_previous, intake.challenge.age_ms = has_previous, age_ms
            intake.has_incarnation = has_incarnation
            intake.sequence = self._number(node, heard)[1]
            intake.answer_incarnation, intake.answer_sequence = self._number(node, answered)
            intake._last_sign_incarnation, intake._last_sign_sequence = self._number(node, sign)
            intake.since_good_ms, intake.bad_in_row, intake.answers_good, intake.spoke = since_ms, bad, good, spoke
            intake.new_incarnation = intake.reply_due = False
            intake._half_line_ms = intake._late_ms
            intake._unsure_ms = intake._excused = 0
            intake.said = []
            kept = self.network.kept
            kept[UP][node] = kept[DOWN][node] = None
            if up is not None:
                state_said, flags, *where, epoch, code = up
                number = intake.challenge_of(code)
                flags |= ODD if number & 1 else 0
                kept[UP][node] = (state_said, flags, *self._number(node, tuple(where)), epoch, number)
            if down is not None:
                role, orders, epoch, lease_ms, *where, code = down
                fields = (role, orders, epoch, lease_ms, *self._number(node, tuple(where)), intake.challenge_of(code))
                kept[DOWN][node] = grant_payload(fields)
        self.grants._told_epoch = self.board.durable.epoch if told else -1
        self.network.end()
        self.board.filler.fill()

    def _code(self, node: int, incarnation: int, sequence: int) -> tuple[int, int]:
        """Return an incarnation and a sequence as what they are to the server and to the board."""
        body, intake = self.bodies[node], self.board.intakes[node]
        if incarnation == body.incarnation and body.up:
            return 1, min(SEEN_KEPT, self.servers[node].incarnation.sequence - sequence)
        if incarnation == intake.incarnation:
            return 0, max(-SEEN_KEPT, min(SEEN_KEPT, intake.sequence - sequence))
        return 2, 0

    def _sign(self, node: int, intake: Any) -> tuple[int, int]:
        """Return the last heartbeat without an answer; one that no kept frame can repeat is none."""
        which, back = self._code(node, intake._last_sign_incarnation, intake._last_sign_sequence)
        return (which, back) if which == 1 and back < SEEN_KEPT else (2, 0)

    def _number(self, node: int, code: tuple[int, ...]) -> tuple[int, int]:
        which, back = code
        if which == 1:
            return self.bodies[node].incarnation, self.servers[node].incarnation.sequence - back
        if which == 0:
            return self.board.intakes[node].incarnation, OTHER_SEQUENCE - back
        return OTHER_INCARNATION, 0

    def _forget(self) -> None:
        """Drop what is kept and could not count any more, whoever checks."""
        for node in range(2):
            body, server = self.bodies[node], self.servers[node]
            self.board.intakes[node].flags &= ~ODD  # which of two challenges was answered: no rule looks at it
            kept = self.network.kept
            down, up = kept[DOWN][node], kept[UP][node]
            if down is not None:
                fields = grant_fields(down)  # type: ignore[arg-type]
                old = server.incarnation.sequence - fields[5] >= SENT_KEPT - 1
                if not body.up or fields[4] != body.incarnation or old:
                    kept[DOWN][node] = None
            if up is not None:
                same = body.up and up[2] == body.incarnation
                if not same or server.incarnation.sequence - int(up[3]) >= SENT_KEPT - 1:
                    kept[UP][node] = None


def _answered(intake: Any) -> tuple[int, int]:
    return intake.answer_incarnation, intake.answer_sequence
