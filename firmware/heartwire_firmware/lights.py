"""Lights and the alarm contact: what the board shows to a person in front of the rack. Shows, and decides nothing.

LED_BOARD blinks once a second while the loop runs. GUARDING (green LED and alarm contact) is on while the board is
armed and nothing is wrong, so a dead board raises the alarm too. LED_STATUS (in the button): steady = waiting for
approval, fast = a fence is under way or failed, slow double blink = safe mode, slow = observe or maintenance, off =
nothing to say.
"""

from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import APPROVAL, FAILED, FENCING
from heartwire_protocol import codes
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

_PERIOD_MS = 1000


def is_alarm(state, facts) -> bool:
    """Tell whether something is wrong that a person should look at."""
    if state.safe_mode or state.two_running or state.all_silent or state.phase in (FAILED, APPROVAL) or state.held:
        return True
    if state.mode in ARMED and state.active == NO_NODE:
        return True
    for node in range(NODE_COUNT):
        if facts.enabled[node] and (
            state.locked[node] or facts.verdict[node] in (codes.VERDICT_DEAD, codes.VERDICT_UNHEARD)
        ):
            return True
    return False


class Lights:
    """LEDs and alarm contact on `pins` (ports.Pins)."""

    def __init__(self, pins, state, facts):
        self._pins = pins
        self._state = state
        self._facts = facts
        self._ms = 0
        self._shown = -1

    def step(self, elapsed_ms: int) -> None:
        """Let time pass and set the outputs that changed."""
        self._ms = (self._ms + elapsed_ms) % _PERIOD_MS
        state = self._state
        tenth = self._ms // 100
        status = 0
        if state.safe_mode:
            status = 1 if tenth in (0, 2) else 0
        elif state.phase in (FENCING, FAILED):
            status = 1 - tenth % 2
        elif state.phase == APPROVAL:
            status = 1
        elif state.mode not in ARMED or state.maintenance_ms[NODE_COUNT]:
            status = 1 if tenth < 2 else 0
        guarding = 1 if state.mode in ARMED and not is_alarm(state, self._facts) else 0
        shown = (1 if tenth == 0 else 0) | status << 1 | guarding << 2
        if shown != self._shown:
            self._shown = shown
            self._pins.put("LED_BOARD", shown & 1)
            self._pins.put("LED_STATUS", shown >> 1 & 1)
            self._pins.put("GUARDING", shown >> 2 & 1)
