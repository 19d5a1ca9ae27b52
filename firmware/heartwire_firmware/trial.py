"""Trial: what new settings must show on the running board before they may stay, and what they excuse meanwhile.

A change that concerns a node's line (its key, its baud rate, its profile, how often it beats) may be what silences it.
So its silence is no death before it was good once more (guards.unproven_line). After a trial that was reverted its line
is as it was while it was good; so there the excuse ends as well when nothing at all comes for dead_ms, as a server may
have died meanwhile. While settings are on trial nothing automatic happens (guards.on_trial), and they may be
confirmed once each node that was good when the trial began is good again. A trial that would cost an active `stop` node
its lease ends before that. It decides nothing about nodes. Called by supervisor and hostlink_settings.
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
    """The trial of the settings of `config` (config.Config); `configure` hands them to all stages."""

    def __init__(self, config, configure, state, facts, livenesses, intakes, sequencer, journal, durable):
        self._config = config
        self._configure = configure
        self._state = state
        self._facts = facts
        self._livenesses = livenesses
        self._intakes = intakes
        self._sequencer = sequencer
        self._journal = journal
        self._durable = durable
        self._running = config.current  # what the stages were given last
        self._wanted = [False] * NODE_COUNT  # good when the trial began
        self._limit_ms = [COUNT_MAX] * NODE_COUNT  # so long its lease outlasts a silence
        self._heard = [0] * NODE_COUNT
        self._quiet_ms = [0] * NODE_COUNT
        self._back = [False] * NODE_COUNT  # its line is as it was before a trial

    def start(self) -> None:
        """Hand out the settings that the board has started with; without those that it once had it is in safe mode."""
        config = self._config
        self._running = config.current
        if config.lost:
            self._state.safe_mode = 1
            self._journal.append(events.SETTINGS_LOST, NO_NODE, config.problem)
        elif config.problem != reasons.NONE:
            self._journal.append(events.SETTINGS_REVERTED, NO_NODE, config.problem, config.generation)
        self._configure()

    def begin(self) -> None:
        """Note how things are before the settings are changed; those of a trial under way still count."""
        settings = self._config.current
        for node in range(NODE_COUNT):
            if self._config.trial_ms:
                self._wanted[node] = self._wanted[node] or self._is_good(node)
                continue
            self._wanted[node] = self._is_good(node)
            stops = settings.nodes[node].on_board_loss == "stop"
            self._limit_ms[node] = min(settings.board.late_ms, settings.board.lease_ms // 2) if stops else COUNT_MAX

    def _is_good(self, node: int) -> bool:
        enabled = bool(self._config.current.nodes[node].enabled)
        return enabled and self._livenesses[node].verdict == codes.VERDICT_GOOD and not self._intakes[node].altered

    def missing(self) -> int:
        """Return a node that was good when the trial began and is not good again; NO_NODE if there is none. Nobody
        waits for one in maintenance, or that the new settings do without.
        """
        maintenance_ms = self._state.maintenance_ms
        if not maintenance_ms[NODE_COUNT]:
            for node in range(NODE_COUNT):
                if not self._wanted[node] or maintenance_ms[node] or not self._config.current.nodes[node].enabled:
                    continue
                if self._facts.unproven[node] or not self._is_good(node):
                    return node
        return NO_NODE

    def changed(self, what: int, why: int = reasons.UNCONFIRMED) -> None:
        """Hand changed settings to all stages and journal it: BEGAN, CONFIRMED, or REVERTED because of `why`."""
        generation = self._config.generation
        if what == BEGAN:
            self._journal.append(events.SETTINGS_TRIAL, NO_NODE, reasons.OPERATOR, generation)
        elif what == CONFIRMED:
            self._journal.append(events.SETTINGS_CONFIRMED, NO_NODE, reasons.OPERATOR, generation)
        else:
            self._journal.append(events.SETTINGS_REVERTED, NO_NODE, why, generation)
        self._facts.on_trial = self._config.trial_ms > 0
        if what != CONFIRMED:
            before = self._running
            self._running = self._config.current
            for node in range(NODE_COUNT):
                self._compare(before, self._running, node, what == REVERTED)
            self._configure()
        self._facts.changed = True

    def _compare(self, before, after, node: int, back: bool) -> None:
        old = before.nodes[node]
        new = after.nodes[node]
        state = self._state
        if old.senses != new.senses and state.sense_seen[node]:
            state.sense_seen[node] = 0  # a feed that is sensed from now on was not seen on yet
            self._durable.waiting = True
        if old.enabled != new.enabled:
            self._livenesses[node].forget()
            self._facts.verdict[node] = state.last_verdict[node] = codes.VERDICT_UNHEARD
            if not new.enabled:
                forget(state, node)
        if new.enabled and _concerns_line(before, after, node):
            self._livenesses[node].streak = 0
            self._facts.unproven[node] = True
            self._quiet_ms[node] = 0
            self._back[node] = back

    def step(self, elapsed_ms: int) -> None:
        """Let time pass: nodes become proven, and a trial that nobody confirms ends, but not in the middle of a
        fence.
        """
        for node in range(NODE_COUNT):
            if self._facts.unproven[node]:
                self._watch(node, elapsed_ms)
        if not self._config.trial_ms:
            return
        fences = self._sequencer.busy
        if self._stops_soon() and not fences:
            self._config.revert()
            self.changed(REVERTED, reasons.NOT_GOOD_AGAIN)
        elif self._config.step(elapsed_ms, fences):
            self.changed(REVERTED)

    def _watch(self, node: int, elapsed_ms: int) -> None:
        settings = self._config.current.board
        if self._livenesses[node].streak >= settings.good_count:
            self._prove(node)
        if not self._back[node]:
            return
        intake = self._intakes[node]
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
        self._facts.unproven[node] = False
        self._facts.changed = True

    def _stops_soon(self) -> bool:
        """Tell whether the active node, whose line the trial has changed, is about to stop because it hears no
        grant.
        """
        node = self._state.active
        if node == NO_NODE or self._state.mode not in ARMED or not self._facts.unproven[node]:
            return False
        return self._livenesses[node].age_ms >= self._limit_ms[node]


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
