"""Trial: what new settings must show on the running board before they may stay, and what they excuse meanwhile.

A change that concerns a node's line (its key, its baud rate, its profile, how often it beats) may be what silences it.
So its silence is no death before it was good once more (guards.unproven_line). After a trial that was reverted its line
is as it was while it was good; so there the excuse ends as well when nothing at all comes for dead_ms, as a server may
have died meanwhile. While settings are on trial nothing automatic happens (guards.on_trial), and they may be
confirmed once each node that was good when the trial began is good again. A trial that would cost an active `stop` node
its lease ends before that. It decides nothing about nodes. Called by supervisor and hostlink_operations.
"""

from heartwire_firmware.clock import add_capped
from heartwire_firmware.policy_core import ARMED
from heartwire_protocol import codes, events, reasons
from heartwire_protocol.codes import COUNT_MAX, NO_NODE, NODE_COUNT

BEGAN = 1
CONFIRMED = 2
REVERTED = 3
# What a node and the board must agree in, or it is heard no more.
LINE = ("enabled", "profile", "baud", "key", "key_next")
BEAT = ("interval_ms", "early_ms")


class Trial:
    """The trial of settings on `board` (supervisor.Supervisor)."""

    def __init__(self, board):
        self._board = board
        self._running = board.config.current  # what the stages were given last
        self._wanted = [False] * NODE_COUNT  # good when the trial began
        self._limit_ms = [COUNT_MAX] * NODE_COUNT  # so long its lease outlasts a silence
        self._heard = [0] * NODE_COUNT
        self._quiet_ms = [0] * NODE_COUNT
        self._back = [False] * NODE_COUNT  # its line is as it was before a trial

    def start(self) -> None:
        """Hand out the settings that the board has started with; without those that it once had it is in safe mode."""
        board = self._board
        config = board.config
        self._running = config.current
        board.hostlink.locked = config.lost
        if config.lost:
            board.state.safe_mode = 1
            board.journal.append(events.SETTINGS_LOST, NO_NODE, config.problem)
        elif config.problem != reasons.NONE:
            board.journal.append(events.SETTINGS_REVERTED, NO_NODE, config.problem, config.generation)
        board.configure()

    def begin(self) -> None:
        """Note how things are before the settings are changed; those of a trial under way still count."""
        board = self._board
        settings = board.config.current
        for node in range(NODE_COUNT):
            if board.config.trial_ms:
                self._wanted[node] = self._wanted[node] or self._is_good(node)
                continue
            self._wanted[node] = self._is_good(node)
            stops = settings.nodes[node].on_board_loss == "stop"
            self._limit_ms[node] = min(settings.board.late_ms, settings.board.lease_ms // 2) if stops else COUNT_MAX

    def _is_good(self, node: int) -> bool:
        board = self._board
        enabled = bool(board.config.current.nodes[node].enabled)
        return enabled and board.livenesses[node].verdict == codes.VERDICT_GOOD and not board.intakes[node].altered

    def missing(self) -> int:
        """Return a node that was good when the trial began and is not good again; NO_NODE if there is none. Nobody
        waits for one in maintenance, or that the new settings do without.
        """
        board = self._board
        maintenance_ms = board.state.maintenance_ms
        if not maintenance_ms[NODE_COUNT]:
            for node in range(NODE_COUNT):
                if not self._wanted[node] or maintenance_ms[node] or not board.config.current.nodes[node].enabled:
                    continue
                if board.facts.unproven[node] or not self._is_good(node):
                    return node
        return NO_NODE

    def changed(self, what: int, why: int = reasons.UNCONFIRMED) -> None:
        """Hand changed settings to all stages and journal it: BEGAN, CONFIRMED, or REVERTED because of `why`."""
        board = self._board
        generation = board.config.generation
        if what == BEGAN:
            board.journal.append(events.SETTINGS_TRIAL, NO_NODE, reasons.OPERATOR, generation)
        elif what == CONFIRMED:
            board.journal.append(events.SETTINGS_CONFIRMED, NO_NODE, reasons.OPERATOR, generation)
        else:
            board.journal.append(events.SETTINGS_REVERTED, NO_NODE, why, generation)
        board.facts.on_trial = board.config.trial_ms > 0
        if what != CONFIRMED:
            before = self._running
            self._running = board.config.current
            for node in range(NODE_COUNT):
                self._compare(before, self._running, node, what == REVERTED)
            board.configure()
        board.changed = True

    def _compare(self, before, after, node: int, back: bool) -> None:
        old = before.nodes[node]
        new = after.nodes[node]
        state = self._board.state
        if old.senses != new.senses and state.sense_seen[node]:
            state.sense_seen[node] = 0  # a feed that is sensed from now on was not seen on yet
            self._board.save_soon()
        if old.enabled != new.enabled:
            self._board.livenesses[node].forget()
            self._board.facts.verdict[node] = state.last_verdict[node] = codes.VERDICT_UNHEARD
            if not new.enabled:
                forget(state, node)
        if new.enabled and _concerns_line(before, after, node):
            self._board.livenesses[node].streak = 0
            self._board.facts.unproven[node] = True
            self._quiet_ms[node] = 0
            self._back[node] = back

    def step(self, elapsed_ms: int) -> None:
        """Let time pass: nodes become proven, and a trial that nobody confirms ends, but not in the middle of a
        fence.
        """
        board = self._board
        for node in range(NODE_COUNT):
            if board.facts.unproven[node]:
                self._watch(node, elapsed_ms)
        if not board.config.trial_ms:
            return
        fences = board.sequencer.busy
        if self._stops_soon() and not fences:
            board.config.revert()
            self.changed(REVERTED, reasons.NOT_GOOD_AGAIN)
        elif board.config.step(elapsed_ms, fences):
            self.changed(REVERTED)

    def _watch(self, node: int, elapsed_ms: int) -> None:
        board = self._board
        settings = board.config.current.board
        if board.livenesses[node].streak >= settings.good_count:
            self._prove(node)
        if not self._back[node]:
            return
        intake = board.intakes[node]
        heard = intake.beats
        for count in intake.drops:
            heard += count
        if heard != self._heard[node]:
            self._heard[node] = heard
            self._quiet_ms[node] = 0
        else:
            self._quiet_ms[node] = add_capped(self._quiet_ms[node], elapsed_ms, COUNT_MAX)
        if self._quiet_ms[node] >= settings.dead_ms:
            self._prove(node)

    def _prove(self, node: int) -> None:
        self._board.facts.unproven[node] = False
        self._board.changed = True

    def _stops_soon(self) -> bool:
        """Tell whether the active node, whose line the trial has changed, is about to stop because it hears no
        grant.
        """
        board = self._board
        node = board.state.active
        if node == NO_NODE or board.state.mode not in ARMED or not board.facts.unproven[node]:
            return False
        return board.livenesses[node].age_ms >= self._limit_ms[node]


def _concerns_line(before, after, node: int) -> bool:
    for name in LINE:
        if getattr(before.nodes[node], name) != getattr(after.nodes[node], name):
            return True
    for name in BEAT:
        if getattr(before.board, name) != getattr(after.board, name):
            return True
    # A lease that is out may be longer than the one that would be waited for; the next grants are not.
    return after.nodes[node].off_proof == "assumed" and before.board.lease_ms > after.board.lease_ms


def forget(state, node: int) -> None:
    """Take `node`, which does not exist any more, out of what is under way; quarantine and lock-out stay for its
    return.
    """
    if state.active == node:
        state.active = NO_NODE
    state.prepared[node] = 0
    state.role[node] = codes.ROLE_QUARANTINED if state.quarantined[node] else codes.ROLE_OFFLINE
