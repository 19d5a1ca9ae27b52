"""Lights and the alarm contact: what the board shows to a person in front of the rack. Shows, and decides nothing.

LED_BOARD blinks once a second while the loop runs. GUARDING (green LED and alarm contact) is on while the board is
armed and nothing is wrong, so a dead board raises the alarm too. LED_STATUS (in the button) shows the first that
applies of PATTERNS, ten tenths of a second long.
"""

from heartwire_firmware.fitness import has_left, is_half
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import APPROVAL, DRAINING, FAILED, FENCING, PREPARING, PROMOTING, STARTING
from heartwire_protocol import alarms, codes
from heartwire_protocol.codes import NO_NODE, NODE_COUNT
from heartwire_protocol.operations import LAMPS_MAX_S

_PERIOD_MS = 1000
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


def alarm_bits(state, facts) -> int:
    """Return what is wrong that a person should look at, as bits of alarms.ALARMS; 0 if all is well."""
    bits = 0
    phase = state.phase
    if state.safe_mode:
        bits |= alarms.SAFE_MODE
    if state.two_running:
        bits |= alarms.TWO_RUNNING
    if state.store_empty:
        bits |= alarms.STORE_EMPTY
    if state.all_silent:
        bits |= alarms.ALL_SILENT
    if phase == FAILED:
        bits |= alarms.FENCE_FAILED
    if phase == APPROVAL:
        bits |= alarms.APPROVAL
    if state.held:
        bits |= alarms.HELD
    if facts.storage_bad:
        bits |= alarms.STORAGE_BAD
    if facts.transfer_fault:
        bits |= alarms.TRANSFER
    if state.ill_told:
        bits |= alarms.SERVICE_FAILED
    if state.mode in ARMED:
        if state.exposed:
            bits |= alarms.EXPOSED
        node = state.active
        if node == NO_NODE or facts.verdict[node] == codes.VERDICT_DEAD or has_left(facts, node):
            bits |= alarms.NOBODY_ACTIVE
    for node in range(NODE_COUNT):
        if facts.enabled[node]:
            bits |= _bits_of(state, facts, node)
    return bits


def _bits_of(state, facts, node: int) -> int:
    bits = 0
    verdict = facts.verdict[node]
    if state.locked[node]:
        bits |= alarms.LOCKED_OUT
    # A node that said it would go, or a cold standby that was never heard and is off, is where it should be.
    if verdict == codes.VERDICT_UNHEARD:
        if facts.power[node] != codes.POWER_OFF:
            bits |= alarms.MISSING
    elif verdict == codes.VERDICT_DEAD and not has_left(facts, node):
        bits |= alarms.MISSING
    if is_half(facts, node):
        bits |= alarms.HALF_LINE
    if state.disagree[node]:
        bits |= alarms.DISAGREE
    if state.feed_lost[node]:
        bits |= alarms.FEED_LOST
    if state.suspect[node]:
        bits |= alarms.RELAY_SUSPECT
    if state.claimed[node]:
        bits |= alarms.EPOCH_CLAIM
    return bits


def is_alarm(state, facts) -> bool:
    """Tell whether something is wrong that a person should look at."""
    return alarm_bits(state, facts) != 0


def pattern_of(state, facts, bits: int = -1) -> int:
    """Return the index in PATTERNS of what LED_STATUS shows; `bits` are the alarm_bits, if they are known."""
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
    return 4 if (alarm_bits(state, facts) if bits < 0 else bits) else 6


class Lights:
    """LEDs and alarm contact on `pins` (ports.Pins)."""

    def __init__(self, pins, state, facts):
        self._pins = pins
        self._state = state
        self._facts = facts
        self._ms = 0
        self._tenth = -1
        self._shown = -1
        self._test_ms = 0
        self._test = 0

    @property
    def may_test(self) -> bool:
        """Tell whether LEDs and alarm contact may show something else for a test."""
        return self._state.mode == codes.MODE_OBSERVE or self._state.maintenance_ms[NODE_COUNT] > 0

    def test(self, lit: int, ms: int) -> None:
        """Show `lit` (1 LED_BOARD, 2 LED_STATUS, 4 GUARDING) for `ms`, at most LAMPS_MAX_S; 0 ends it."""
        self._test = lit & 7
        self._test_ms = min(ms, LAMPS_MAX_S * 1000)

    def step(self, elapsed_ms: int) -> None:
        """Let time pass and set the outputs that changed."""
        self._ms = (self._ms + elapsed_ms) % _PERIOD_MS
        state = self._state
        tenth = self._ms // 100
        if tenth == self._tenth and not self._test_ms:
            return  # looking at everything takes milliseconds, so it is done ten times a second
        self._tenth = tenth
        bits = alarm_bits(state, self._facts)
        status = PATTERNS[pattern_of(state, self._facts, bits)][1] >> tenth & 1
        guarding = 1 if state.mode in ARMED and not bits else 0
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
