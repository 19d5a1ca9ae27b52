"""Counterexamples that walks have found, each kept as the steps that led to it. Run by test_pinned.py.

`make walk-random` prints a counterexample as such a row. It stays here when the policy is mended.
"""

from __future__ import annotations

from typing import NamedTuple

from heartwire_protocol import codes
from heartwire_protocol import operations as asks
from tests.walk.bodies import HALF, MUTE
from tests.walk.steps import QUIET, Step


class Pin(NamedTuple):
    """A way that broke a rule once: `steps` from the settled start of the case."""

    name: str
    case: str
    steps: tuple[Step, ...]
    waits: str = ""  # why the rule is still broken on this way; "" once it is mended


PINS = (
    # Two faults and a person's word: nobody is granted beside a server that was never proven off.
    Pin(
        "readopt_beside_a_silent_server",
        "clean_start",
        (
            ("sense", (0, codes.POWER_OFF)),
            ("line", (0, MUTE)),
            ("reset", None),
            ("ask", (asks.READOPT, 1, 0)),
        ),
    ),
    # A forced fence waits for its intent, for PREPARE_MS at most, and stays forced for as long.
    Pin(
        "forced_fence_waits_for_flash",
        "clean_start",
        (
            ("line", (0, HALF)),
            ("full", 1),
            ("ask", (asks.FENCE, 1, 1)),
            ("full", 0),
        ),
    ),
    # Its services failed twice, so it is locked out while it is active; a person clears it, as `status` says.
    Pin(
        "clear_of_the_active_node",
        "clean_start",
        (
            ("ask", (asks.FENCE, 0, 0)),
            *[QUIET] * 4,
            ("service", (0, 2)),
            ("ask", (asks.FENCE, 1, 0)),
            *[QUIET] * 4,
            ("obey", (1, 0)),
            QUIET,
            ("service", (0, 0)),
            *[QUIET] * 12,
            ("ask", (asks.CLEAR, 1, 0)),
        ),
    ),
    # A start that fails before the board saw it run, and is tried again, is one activation.
    Pin(
        "start_tried_again",
        "clean_start",
        (("reboot", 0), QUIET, ("service", (0, 2)), ("service", (0, 0)), QUIET),
    ),
)
