"""What must hold in every scenario without being written: the rules of its whole run, looked at in each step.

It looks at the rack from outside, as a person with all cables in view, and at a board only where the stage has one in
memory. It notes each breach in the rack's `violations`; a file that means otherwise says `allow RULE because WORDS`.
Pure, decides nothing. Called by policy_stage and wired_stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heartwire.simulate.language import Action, Scenario
from heartwire.simulate.operators import changed
from heartwire.simulate.rack import FRONT, POWER, Rack
from heartwire_firmware import policy_state
from heartwire_protocol import codes, settings

if TYPE_CHECKING:
    from heartwire_firmware.supervisor import Supervisor

# A request that switches a server off is carried out within this, or has been given up; a drain has its own time.
ASKED_MS = 60000
# Nobody may serve for longer than this and dead_ms while a fit node is there, beyond what the board says it waits for.
IDLE_MS = 50000
# The alarm contact may say "all well" for so long, and dead_ms, after the last service stopped or the last successor
# died; a start that was granted has its own time on top.
UNTOLD_MS = 30000
# The status LED is lit within each second unless it says "armed"; a board that starts shows nothing for a while.
LAMP_MS = 5000
# The alarm may stay on for so long after the last trouble has ended.
FALSE_MS = 60000
EVERY_MS = 100
PERSONS = (policy_state.APPROVAL, policy_state.FAILED)
GONE = (codes.STATE_PLANNED_OFF, codes.STATE_DRAINING)


class Lasting:
    """How long something has been so without a break, beyond the longest wait that it had meanwhile."""

    def __init__(self, ms: int) -> None:
        self._began_ms = ms
        self._wait_ms = 0

    def step(self, ms: int, is_so: bool, wait_ms: int = 0) -> int:
        """Take that it is so at `ms`, or not, while a wait of `wait_ms` is under way; return for how long it is."""
        if not is_so:
            self._began_ms, self._wait_ms = ms, 0
        self._wait_ms = max(self._wait_ms, wait_ms)
        return ms - self._began_ms - self._wait_ms


class Rules:
    """The rules of one run of `scenario` in `rack`; times of the stage may be `slack_ms` off."""

    def __init__(self, rack: Rack, scenario: Scenario, slack_ms: int = 0) -> None:
        self._rack = rack
        self._allowed = scenario.allowed
        self._used: set[str] = set()
        self._slack_ms = slack_ms
        self._now = rack.settings  # those that the board runs, as far as is known
        count = len(rack.nodes)
        self._serving = [False] * count
        self._commanded = [False] * count
        self._asked_ms: list[float] = [float("-inf")] * count  # until then it may be cut, as somebody asked for it
        self._asked_before = self._asked_ms
        self._maintained_ms = [0] * (count + 1)  # until then; the last one is the board's
        self._was_broken = False
        self._idle, self._dark, self._alone, self._false, self._unlit = (Lasting(rack.ms) for _ in range(5))
        self._next_ms = rack.ms

    def note(self, action: Action) -> None:
        """Take what an operator or a peer asks for."""
        verb, words, ms = action.verb, action.words, self._rack.ms
        self._asked_before = list(self._asked_ms)
        if verb in ("fence", "fence-last", "asks-to-fence", "proof", "press"):
            self._asked_ms[codes.NODES.index(words[0])] = ms + ASKED_MS
        elif verb in ("switchover", "emergency", "schedule"):
            until_ms = ms + ASKED_MS + self._now.board.drain_ms + (int(words[1]) * 1000 if verb == "schedule" else 0)
            for node in range(len(self._rack.nodes)):
                if node != codes.NODES.index(words[0]):
                    self._asked_ms[node] = until_ms
        elif verb == "maintenance":
            node = len(self._rack.nodes) if words[0] == "board" else codes.NODES.index(words[0])
            self._maintained_ms[node] = ms + int(words[1]) * 1000
        elif verb == "update":
            self._maintained_ms[-1] = ms + int(words[0]) * 1000
        elif verb == "set":
            self._now = settings.parse(changed(self._now.text(), words))[0]

    def take_back(self) -> None:
        """Forget the last request, which was refused: it is no reason to cut anybody."""
        self._asked_ms = self._asked_before

    def look(self, outputs: Mapping[str, int], board: Supervisor | None = None) -> None:
        """Look at everything after a step of the board, whose outputs are `outputs` (none while it is off)."""
        ms = self._rack.ms
        if board is not None:
            self._now = board.config.current
        self._look_for_cuts(outputs)
        unlit_ms = self._unlit.step(ms, not (not outputs or outputs.get("LED_STATUS") or outputs.get("GUARDING")))
        if ms < self._next_ms:
            return
        self._next_ms = ms + EVERY_MS
        if unlit_ms > LAMP_MS + self._slack_ms:
            self._break("alarm", "the LED says armed and ready while the alarm is on")
        self._look_at_alarm(bool(outputs.get("GUARDING")), board)
        if board is not None:
            self._look_for_idleness(board)

    def end(self) -> None:
        """Note each rule that may be broken and was not, at the end of a run that could have shown it."""
        for rule in sorted(self._allowed - self._used - {"two"}):
            self._rack.violate(f"nothing needs `allow {rule}`: take it out")

    def _break(self, rule: str, words: str) -> None:
        self._used.add(rule)
        if rule not in self._allowed:
            self._rack.violate(f"{words} (`allow {rule} because ...` if that is meant)")

    def _look_for_cuts(self, outputs: Mapping[str, int]) -> None:
        rack = self._rack
        for node, fake in enumerate(rack.nodes):
            commanded = bool(outputs.get(POWER[node]) or outputs.get(FRONT[node]))
            healthy = self._serving[node] and fake.state not in (*GONE, codes.STATE_DEGRADED)
            if commanded and not self._commanded[node] and healthy and rack.ms > self._asked_ms[node]:
                silent_ms = rack.ms - rack.heard_ms[node]
                if silent_ms < self._now.board.dead_ms - self._slack_ms - EVERY_MS:
                    self._break("cut", f"{codes.NODES[node]} is cut while it serves, {silent_ms} ms after a heartbeat")
            self._commanded[node] = commanded
            self._serving[node] = fake.serving

    def _look_for_idleness(self, board: Supervisor) -> None:
        fit = [node for node in range(len(self._rack.nodes)) if self._is_fit(node, board)]
        is_so = bool(fit) and not any(self._serving) and _needs_nobody(board)
        lasts_ms = self._idle.step(self._rack.ms, is_so, max(self._start_ms(), _wait_ms(board)))
        limit_ms = IDLE_MS + self._now.board.dead_ms
        if is_so and lasts_ms > limit_ms:
            words = f"nobody has served for {limit_ms / 1000:g} s, though {codes.NODES[fit[0]]} is fit"
            self._break("idle", words)

    def _start_ms(self) -> int:
        """Return how long a living node that holds a lease may take until it serves; 0 if none is to start."""
        waits_ms = [0]
        for node, fake in enumerate(self._rack.nodes):
            if fake.alive and fake.left_ms and not fake.serving:
                says_so = fake.state == codes.STATE_STARTING
                waits_ms += [self._now.board.service_s * 1000, self._now.nodes[node].boot_grace_ms if says_so else 0]
        return max(waits_ms)

    def _is_fit(self, node: int, board: Supervisor) -> bool:
        """Tell whether a node could serve as far as anybody can see."""
        rack, fake, state = self._rack, self._rack.nodes[node], board.state
        if not fake.alive or fake.service or not fake.obedient or fake.state != codes.STATE_HEALTHY:
            return False
        if node in rack.deaf or rack.ms - rack.heard_ms[node] > self._now.board.late_ms:
            return False
        if state.quarantined[node] or state.locked[node] or state.maintenance_ms[node]:
            return False
        return bool(board.facts.enabled[node]) and board.facts.verdict[node] == codes.VERDICT_GOOD

    def _look_at_alarm(self, guards: bool, board: Supervisor | None) -> None:
        ms = self._rack.ms
        well = guards and self._maintained_ms[-1] <= ms
        limit_ms = self._now.board.dead_ms + UNTOLD_MS + self._slack_ms
        if self._dark.step(ms, well and not any(self._serving), self._start_ms()) > limit_ms:
            self._break("alarm", "nobody serves, and the alarm is off")
        if self._alone.step(ms, well and self._is_alone(board)) > limit_ms:
            self._break("alarm", "nobody is left to take over, and the alarm is off")
        is_false = board is not None and not guards and self._is_all_well(board)
        if self._false.step(ms, is_false) > FALSE_MS:
            self._break("alarm", "the alarm is on, though one serves and all others are fit")

    def _is_all_well(self, board: Supervisor) -> bool:
        """Tell whether one serves, all others are fit, and no part of the rack or of the board was ever broken."""
        rack, state = self._rack, board.state
        feeds = [feed for supply in rack.supplies for feed in supply.feeds]
        broken = any(feed.fault or feed.welded for feed in feeds) or any(supply.hidden_feed for supply in rack.supplies)
        self._was_broken = self._was_broken or broken or rack.transfer_stuck
        if self._was_broken or not all(feed.live for feed in feeds) or board.facts.storage_bad:
            return False
        if state.mode < codes.MODE_APPROVE or state.safe_mode or state.store_empty or board.sequencer.busy:
            return False
        if sum(self._serving) != 1 or any(fake.epoch > state.epoch for fake in rack.nodes):
            return False
        if self._now.board.transfer and rack.transfer_at != self._serving.index(True):
            return False
        return all(self._is_fit(node, board) for node in range(len(rack.nodes)))

    def _is_alone(self, board: Supervisor | None) -> bool:
        """Tell whether somebody serves, others are meant to stand by, and none of them could."""
        enabled = [node for node in range(len(self._rack.nodes)) if self._now.nodes[node].enabled]
        others = [node for node in enabled if not self._serving[node]]
        return bool(others) and any(self._serving) and all(self._is_missing(node, board) for node in others)

    def _is_missing(self, node: int, board: Supervisor | None) -> bool:
        rack, fake = self._rack, self._rack.nodes[node]
        if board is not None and (board.state.quarantined[node] or board.state.locked[node]):
            return True
        if self._now.nodes[node].standby == "cold" or fake.state in GONE or self._maintained_ms[node] > rack.ms:
            return False
        return bool(rack.ms - rack.heard_ms[node] > self._now.board.dead_ms)


def _needs_nobody(board: Supervisor) -> bool:
    """Tell whether the board should find somebody to serve by itself: no rule of DESIGN.md wants a person.

    A person is needed in safe mode, in maintenance, for an approval and after one that was denied, after a fence that
    proved nothing and after a lock-out, where two run, where the board has lost its store, and where settings leave no
    way to fence the last holder. The last holder is waited for in a cold start.
    """
    state, facts, now = board.state, board.facts, board.config.current
    if state.mode != codes.MODE_AUTO or state.safe_mode or state.maintenance_ms[codes.NODE_COUNT] or state.long_ms:
        return False
    if state.store_empty or state.two_running or state.phase in PERSONS:
        return False
    holder = state.holder
    if holder == codes.NO_NODE:
        return True
    if state.maintenance_ms[holder] or state.failed[holder] or state.denied[holder] or state.locked[holder]:
        return False
    if facts.verdict[holder] == codes.VERDICT_UNHEARD and state.start_ms < now.board.cold_start_ms:
        return False
    row = now.nodes[holder]
    if row.fence == "none" or (row.fence == "lease" and not state.watchdog_seen[holder]):
        return False
    return not (row.second_sign in ("power", "any") and facts.power[holder] == codes.POWER_ON)


def _wait_ms(board: Supervisor) -> int:
    """Return the longest of the waits that the board is in for the last holder, each of which has an end."""
    state, facts, now = board.state, board.facts, board.config.current
    holder = state.holder
    if holder == codes.NO_NODE:
        return 0
    row = now.nodes[holder]
    said = facts.node_state[holder]
    waits_ms = [
        row.assumed_off_ms if row.off_proof == "assumed" else 0,
        row.self_fence_ms if row.fence == "lease" else 0,
        row.boot_grace_ms if state.grace_ms[holder] or said == codes.STATE_STARTING else 0,
        row.busy_max_s * 1000 if said in (codes.STATE_BUSY, codes.STATE_CRASH_DUMP) else 0,
        now.board.drain_ms if state.phase == policy_state.DRAINING else 0,
        now.board.excuse_s * 1000 if facts.half_line[holder] or row.second_sign != "none" else 0,
    ]
    return int(max(waits_ms))
