"""The tiers a scenario can run on, by name: what opens each, and why one is not at hand.

policy: the real supervisor and policy on fake hardware, in virtual time. virtual: the firmware on the MicroPython VM
with the real agents, in real time. emulated: the MicroPython image on an emulated RP2040. It runs nothing itself.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

from heartwire.errors import UsageProblem
from heartwire.simulate.language import Scenario
from heartwire.simulate.run import Stage

# Module and name of what opens a stage; a module that is not part of an installation is said to be missing.
TIERS = {
    "policy": ("heartwire.simulate.policy_stage", "PolicyStage"),
    "virtual": ("heartwire.simulate.virtual_stage", "VirtualStage"),
    "emulated": ("heartwire.simulate.emulated_stage", "EmulatedStage"),
}


def open_stage(tier: str, scenario: Scenario) -> Stage:
    """Start `scenario` on `tier`, settled. Raises UsageProblem where the tier is not at hand."""
    module, name = TIERS[tier]
    if importlib.util.find_spec(module) is None:
        raise UsageProblem(
            f"the {tier} tier is not part of this installation", "`--tier policy` and `--tier virtual` need no hardware"
        )
    opener: Callable[[Scenario], Stage] = getattr(importlib.import_module(module), name)
    return opener(scenario)
