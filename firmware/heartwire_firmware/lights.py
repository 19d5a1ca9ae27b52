"""Lights and the alarm contact: what the board shows to a person in front of the rack. Shows, and decides nothing.

LED_BOARD blinks once a second while the loop runs. GUARDING (green LED and alarm contact) is on while the board is
armed and nothing is wrong, so a dead board raises the alarm too. LED_STATUS (in the button) shows the first that
applies of PATTERNS, ten tenths of a second long.
"""

from heartwire_firmware.fitness import has_left, is_half
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import APPROVAL, DRAINING, FAILED, FENCING, PREPARING, PROMOTING, STARTING
from heartwire_protocol import codes
from heartwire_protocol.codes import NO_NODE, NODE_COUNT
from heartwire_protocol.events import ALARM, WARNING

_PERIOD_MS = 1000
TEST_MAX_S = 30
# (name, lit tenths as bits, meaning), the most urgent first. firmware/DESIGN.md is generated from this table.
PATTERNS = (
    ("safe mode", 0b0000000101, "double blink: safe mode after bad boots; nothing automatic, `heartwire status`"),
    ("approval", 0b1111111111, "steady: an approval is waited for; hold the button for a second to give it"),
    ("acting", 0b0101010101, "fast: a fence or a switchover is under way, or a fence proved nothing"),
    ("locked out", 0b0000010101, "triple blink: a node is locked out until `heartwire clear`"),
    ("degraded", 0b0000011111, "half and half: armed, but a failover could not be carried out now"),
    ("not armed", 0b0000000011, "short blink: observe or fencer mode, or maintenance"),
    ("armed", 0, "dark: armed and ready"),
)

ACTING = (FENCING, FAILED, DRAINING, PROMOTING, PREPARING, STARTING)


def _nobody(state, facts) -> bool:
    node = state.active
    if state.mode not in ARMED:
        return False
    return node == NO_NODE or facts.verdict[node] == codes.VERDICT_DEAD or has_left(facts, node)


def _any(state, facts, holds) -> bool:
    for node in range(NODE_COUNT):
        if facts.enabled[node] and holds(state, facts, node):
            return True
    return False


def _is_missed(state, facts, node: int) -> bool:
    # A node that said it would go, or a cold standby that was never heard and is off, is where it should be.
    if facts.verdict[node] == codes.VERDICT_UNHEARD:
        return facts.power[node] != codes.POWER_OFF
    return facts.verdict[node] == codes.VERDICT_DEAD and not has_left(facts, node)


# Each abnormal state: (name in `status`, test, severity, what it is, what closes it). Any of them opens the alarm
# contact and lights LED_STATUS as PATTERNS says; firmware/DESIGN.md is generated from this table.
ALARMS = (
    ("safe_mode", lambda state, facts: state.safe_mode, ALARM, "bad boots", "a start that lasts a minute"),
    ("two_running", lambda state, facts: state.two_running, ALARM, "two nodes run services", "one of them stops"),
    ("nobody_active", _nobody, ALARM, "armed, and nobody serves", "a node is active and heard"),
    ("store_empty", lambda state, facts: state.store_empty, WARNING, "epoch and holder are unknown",
     "all nodes report, or `heartwire declare`"),
    ("all_silent", lambda state, facts: state.all_silent, ALARM, "all lines are silent together", "one is heard"),
    ("fence_failed", lambda state, facts: state.phase == FAILED, ALARM, "a fence proved nothing",
     "the sense goes off, `heartwire declare`, `heartwire release`, or hold_max_s"),
    ("approval", lambda state, facts: state.phase == APPROVAL, ALARM, "an approval is waited for",
     "`heartwire approve`, `heartwire deny`, the button, a heartbeat, or approval_s"),
    ("held", lambda state, facts: state.held, ALARM, "something is not done, for the reason shown",
     "the node is good again, or somebody is granted"),
    ("storage_bad", lambda state, facts: facts.storage_bad, ALARM, "flash takes nothing", "a write that works"),
    ("transfer", lambda state, facts: facts.transfer_fault, ALARM, "the transfer relay is not where it should be",
     "its contacts show one position again"),
    ("service_failed", lambda state, facts: state.ill_told, ALARM,
     "the active node's services do not run or are degraded",
     "they run and are healthy, or another node is active"),
    ("exposed", lambda state, facts: state.exposed and state.mode in ARMED, WARNING,
     "a quarantine leaves nobody to take over", "`heartwire clear`, a clean start where set, or another fit node"),
    ("locked_out", lambda state, facts: _any(state, facts, lambda s, f, n: s.locked[n]), ALARM,
     "too many automatic actions on a node", "`heartwire clear`"),
    ("missing", lambda state, facts: _any(state, facts, _is_missed), ALARM, "a node is not heard", "it is good again"),
    ("half_line", lambda state, facts: _any(state, facts, lambda s, f, n: is_half(f, n)), WARNING,
     "a node is heard but hears nothing", "it answers again, or is silent"),
    ("disagree", lambda state, facts: _any(state, facts, lambda s, f, n: s.disagree[n]), ALARM,
     "commanded and observed power disagree", "they agree, or it is silent"),
    ("feed_lost", lambda state, facts: _any(state, facts, lambda s, f, n: s.feed_lost[n]), ALARM,
     "a sensed feed of a beating node has no power", "all feeds on while it beats"),
    ("relay_suspect", lambda state, facts: _any(state, facts, lambda s, f, n: s.suspect[n]), ALARM,
     "a contact did not cut", "a relay test or fence that cuts, or `heartwire clear`"),
    ("epoch_claim", lambda state, facts: _any(state, facts, lambda s, f, n: s.claimed[n]), ALARM,
     "a node claims an epoch that is none of this rack", "its epoch file is mended"),
)  # fmt: skip


def is_alarm(state, facts) -> bool:
    """Tell whether something is wrong that a person should look at."""
    for row in ALARMS:
        if row[1](state, facts):
            return True
    return False


def alarms(state, facts) -> "list[str]":
    """Return the names of what is wrong, as in ALARMS."""
    return [row[0] for row in ALARMS if row[1](state, facts)]


def pattern_of(state, facts) -> int:
    """Return the index in PATTERNS of what LED_STATUS shows."""
    if state.safe_mode:
        return 0
    if state.phase == APPROVAL:
        return 1
    if state.phase in ACTING:
        return 2
    for node in range(NODE_COUNT):
        if facts.enabled[node] and state.locked[node]:
            return 3
    if state.mode not in ARMED or state.maintenance_ms[NODE_COUNT]:
        return 5
    return 4 if is_alarm(state, facts) else 6


class Lights:
    """LEDs and alarm contact on `pins` (ports.Pins)."""

    def __init__(self, pins, state, facts):
        self._pins = pins
        self._state = state
        self._facts = facts
        self._ms = 0
        self._shown = -1
        self._test_ms = 0
        self._test = 0

    @property
    def may_test(self) -> bool:
        """Tell whether LEDs and alarm contact may show something else for a test."""
        return self._state.mode == codes.MODE_OBSERVE or self._state.maintenance_ms[NODE_COUNT] > 0

    def test(self, lit: int, ms: int) -> None:
        """Show `lit` (1 LED_BOARD, 2 LED_STATUS, 4 GUARDING) for `ms`, at most TEST_MAX_S; 0 ends it."""
        self._test = lit & 7
        self._test_ms = min(ms, TEST_MAX_S * 1000)

    def step(self, elapsed_ms: int) -> None:
        """Let time pass and set the outputs that changed."""
        self._ms = (self._ms + elapsed_ms) % _PERIOD_MS
        state = self._state
        tenth = self._ms // 100
        status = PATTERNS[pattern_of(state, self._facts)][1] >> tenth & 1
        guarding = 1 if state.mode in ARMED and not is_alarm(state, self._facts) else 0
        shown = (1 if tenth == 0 else 0) | status << 1 | guarding << 2
        if self._test_ms:
            self._test_ms = max(0, self._test_ms - elapsed_ms) if self.may_test else 0
            if self._test_ms:
                shown = self._test
        if shown != self._shown:
            self._shown = shown
            self._pins.put("LED_BOARD", shown & 1)
            self._pins.put("LED_STATUS", shown >> 1 & 1)
            self._pins.put("GUARDING", shown >> 2 & 1)
