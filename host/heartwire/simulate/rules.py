"""What must hold in every scenario without being written: the rules of its whole run, looked at in each step.

It looks at the rack from outside, as a person with all cables in view, and at a board only where the stage has one in
memory. It notes each breach in the rack's `violations`; a file that means otherwise says `allow RULE because WORDS`.
Pure, decides nothing. Called by policy_stage and wired_stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heartwire.simulate.language import Action, Scenario
from heartwire.simulate.rack import FRONT, POWER, Rack
from heartwire_firmware import policy_state
from heartwire_protocol import codes, settings

if TYPE_CHECKING:
    from heartwire_firmware.supervisor import Supervisor

# A request that switches a server off is carried out within this, or has been given up; a drain has its own time.
ASKED_MS = 60000
# Nobody may serve for longer than this while a fit node is there, beyond what settings make a board wait for.
IDLE_MS = 30000
# The alarm contact may say "all well" for so long after the last service stopped or the last successor died: the
# silence of dead_ms comes on top, and a start that was granted has to come up.
UNTOLD_MS = 30000
# The status LED is lit within each second unless it says "armed"; a board that starts shows nothing for a while.
LAMP_MS = 5000
# The alarm may stay on for so long after the last trouble has ended.
FALSE_MS = 30000
EVERY_MS = 100
PERSONS = (policy_state.APPROVAL, policy_state.FAILED)
GONE = (codes.STATE_PLANNED_OFF, codes.STATE_DRAINING)


class Rules:
    """The rules of one run of `scenario` in `rack`; times of the stage may be `slack_ms` off."""

    def __init__(self, rack: Rack, scenario: Scenario, slack_ms: int = 0) -> None:
        self._rack = rack
        self._allowed = scenario.allowed
        self._used: set[str] = set()
        self._slack_ms = slack_ms
        board = rack.settings.board
        self._dead_ms = board.dead_ms
        self._idle_ms = IDLE_MS + board.dead_ms + max(_waited_ms(row) for row in rack.settings.nodes[: len(rack.nodes)])
        count = len(rack.nodes)
        self._serving = [False] * count
        self._commanded = [False] * count
        self._asked_ms: list[float] = [float("-inf")] * count  # until then it may be cut, as somebody asked for it
        self._maintained_ms = [0] * (count + 1)  # until then; the last one is the board's
        self._idle_since_ms = self._dark_since_ms = self._alone_since_ms = self._lamp_since_ms = self._well_since_ms = (
            rack.ms
        )
        self._next_ms = rack.ms

    def note(self, action: Action) -> None:
        """Take what an operator or a peer asked for and was not refused."""
        verb, words, ms = action.verb, action.words, self._rack.ms
        board = self._rack.settings.board
        if verb in ("fence", "fence-last", "asks-to-fence", "proof", "press"):
            self._asked_ms[codes.NODES.index(words[0])] = ms + ASKED_MS
        elif verb in ("switchover", "emergency", "schedule"):
            until_ms = ms + ASKED_MS + board.drain_ms + (int(words[1]) * 1000 if verb == "schedule" else 0)
            for node in range(len(self._rack.nodes)):
                if node != codes.NODES.index(words[0]):
                    self._asked_ms[node] = until_ms
        elif verb == "maintenance":
            node = len(self._rack.nodes) if words[0] == "board" else codes.NODES.index(words[0])
            self._maintained_ms[node] = ms + int(words[1]) * 1000
        elif verb == "update":
            self._maintained_ms[-1] = ms + int(words[0]) * 1000

    def look(self, outputs: Mapping[str, int], board: Supervisor | None = None) -> None:
        """Look at everything after a step of the board, whose outputs are `outputs` (none while it is off)."""
        ms = self._rack.ms
        self._look_for_cuts(outputs)
        if not outputs or outputs.get("LED_STATUS") or outputs.get("GUARDING"):
            self._lamp_since_ms = ms
        if ms < self._next_ms:
            return
        self._next_ms = ms + EVERY_MS
        if ms - self._lamp_since_ms > LAMP_MS + self._slack_ms:
            self._break("alarm", "the LED says armed and ready while the alarm is on")
        self._look_at_alarm(outputs, board)
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
            if commanded and not self._commanded[node] and self._serving[node] and rack.ms > self._asked_ms[node]:
                silent_ms = rack.ms - rack.heard_ms[node]
                if silent_ms < self._dead_ms - self._slack_ms - EVERY_MS:
                    self._break("cut", f"{codes.NODES[node]} is cut while it serves, {silent_ms} ms after a heartbeat")
            self._commanded[node] = commanded
            self._serving[node] = fake.serving

    def _look_for_idleness(self, board: Supervisor | None) -> None:
        fit = "" if board is None or any(self._serving) or not _needs_nobody(board) else self._fit(board)
        ms = self._rack.ms
        if not fit:
            self._idle_since_ms = ms
        elif ms - self._idle_since_ms > self._idle_ms:
            self._idle_since_ms = ms
            self._break("idle", f"nobody has served for {self._idle_ms / 1000:g} s, though {fit} is fit")

    def _fit(self, board: Supervisor) -> str:
        """Return the name of a node that could serve as far as anybody can see; "" if there is none."""
        return next((codes.NODES[node] for node in range(len(self._rack.nodes)) if self._is_fit(node, board)), "")

    def _is_fit(self, node: int, board: Supervisor) -> bool:
        rack, fake, state = self._rack, self._rack.nodes[node], board.state
        if not fake.alive or fake.service or not fake.obedient or fake.state != codes.STATE_HEALTHY:
            return False
        if node in rack.deaf or rack.ms - rack.heard_ms[node] > rack.settings.board.late_ms:
            return False
        if state.quarantined[node] or state.locked[node] or state.maintenance_ms[node]:
            return False
        return bool(board.facts.enabled[node]) and board.facts.verdict[node] == codes.VERDICT_GOOD

    def _look_at_alarm(self, outputs: Mapping[str, int], board: Supervisor | None) -> None:
        ms = self._rack.ms
        well = bool(outputs.get("GUARDING")) and self._maintained_ms[-1] <= ms
        limit_ms = self._dead_ms + UNTOLD_MS + self._slack_ms
        if not well or any(self._serving):
            self._dark_since_ms = ms
        elif ms - self._dark_since_ms > limit_ms:
            self._break("alarm", "nobody serves, and the alarm is off")
        if not well or not self._is_alone(board):
            self._alone_since_ms = ms
        elif ms - self._alone_since_ms > limit_ms:
            self._break("alarm", "nobody is left to take over, and the alarm is off")
        if board is None or outputs.get("GUARDING") or not self._is_all_well(board):
            self._well_since_ms = ms
        elif ms - self._well_since_ms > FALSE_MS:
            self._break("alarm", "the alarm is on, though one serves and all others are fit")

    def _is_all_well(self, board: Supervisor) -> bool:
        """Tell whether one serves, all others are fit, and no part of the rack or of the board is broken."""
        rack, state = self._rack, board.state
        if state.mode < codes.MODE_APPROVE or state.safe_mode or state.store_empty or board.sequencer.busy:
            return False
        if board.facts.storage_bad or sum(self._serving) != 1:
            return False
        if rack.settings.board.transfer and rack.transfer_at != self._serving.index(True):
            return False
        feeds = [feed for supply in rack.supplies for feed in supply.feeds]
        if any(feed.fault or feed.welded or not feed.live for feed in feeds):
            return False
        return all(self._is_fit(node, board) for node in range(len(rack.nodes)))

    def _is_alone(self, board: Supervisor | None) -> bool:
        """Tell whether somebody serves, others are meant to stand by, and none of them could."""
        rack = self._rack
        others = [node for node in range(len(rack.nodes)) if not self._serving[node]]
        return bool(others) and any(self._serving) and all(self._is_missing(node, board) for node in others)

    def _is_missing(self, node: int, board: Supervisor | None) -> bool:
        rack, fake = self._rack, self._rack.nodes[node]
        if board is not None and (board.state.quarantined[node] or board.state.locked[node]):
            return True
        if rack.settings.nodes[node].standby == "cold" or fake.state in GONE or self._maintained_ms[node] > rack.ms:
            return False
        return bool(rack.ms - rack.heard_ms[node] > self._dead_ms)


def _waited_ms(row: settings.Section) -> int:
    """Return how long the board waits where it measures no power before it takes a node for off."""
    waited_ms = row.assumed_off_ms if row.off_proof == "assumed" else 0
    return int(waited_ms + (row.self_fence_ms if row.fence == "lease" else 0))


def _needs_nobody(board: Supervisor) -> bool:
    """Tell whether the board should find somebody to serve by itself: no rule of DESIGN.md wants a person or a wait.

    A person is needed in safe mode, in maintenance, for an approval, after a fence that proved nothing, where two run
    and where the board has lost its store. The last holder is waited for in a cold start, and for as long as it said.
    """
    state, facts, now = board.state, board.facts, board.config.current
    if state.mode != codes.MODE_AUTO or state.safe_mode or state.maintenance_ms[codes.NODE_COUNT] or state.long_ms:
        return False
    if state.store_empty or state.two_running or state.phase in PERSONS:
        return False
    holder = state.holder
    if holder == codes.NO_NODE:
        return True
    if state.maintenance_ms[holder] or state.failed[holder]:
        return False
    if facts.verdict[holder] == codes.VERDICT_UNHEARD and state.start_ms < now.board.cold_start_ms:
        return False
    row = now.nodes[holder]
    excuses_ms = {
        codes.STATE_STARTING: row.boot_grace_ms,
        codes.STATE_BUSY: now.board.dead_ms + row.busy_max_s * 1000,
        codes.STATE_CRASH_DUMP: now.board.dead_ms + row.busy_max_s * 1000,
    }
    return bool(facts.age_ms[holder] >= excuses_ms.get(facts.node_state[holder], 0))
