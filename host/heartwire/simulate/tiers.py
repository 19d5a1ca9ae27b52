"""The tiers a scenario can run on, by name: what opens each, what it cannot run and why, and the run itself.

policy: the real supervisor and policy on fake hardware, in virtual time. virtual: the firmware on the MicroPython VM
with fake nodes on its lines, in real time. emulated: the MicroPython image on an emulated RP2040.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from heartwire.errors import UsageProblem
from heartwire.simulate.language import Scenario, ScenarioError
from heartwire.simulate.rack import KINDS
from heartwire.simulate.run import Stage, Verdict, run

# Module and name of what opens a stage; a module that is not part of an installation is said to be missing.
TIERS = {
    "policy": ("heartwire.simulate.policy_stage", "PolicyStage"),
    "virtual": ("heartwire.simulate.virtual_stage", "open_virtual"),
    "emulated": ("heartwire.simulate.emulated_stage", "open_emulated"),
}


def obstacle(tier: str, scenario: Scenario) -> str:
    """Say why `scenario` cannot run on `tier`; "" if it can."""
    module, _ = TIERS[tier]
    if tier not in scenario.tiers:
        return scenario.tiers_because or "the file says so"
    if importlib.util.find_spec(module) is None:
        return f"the {tier} tier is not part of this installation"
    return ""


def open_stage(tier: str, scenario: Scenario, kind: str = KINDS[0]) -> Stage:
    """Start `scenario` on `tier` with nodes of `kind` (rack.KINDS), settled. UsageProblem where it cannot run there."""
    why = obstacle(tier, scenario)
    if why:
        raise UsageProblem(f"{scenario.name}: {why}", "`--tier policy` runs every file and needs no hardware")
    module, name = TIERS[tier]
    opener: Callable[[Scenario, str], Stage] = getattr(importlib.import_module(module), name)
    return opener(scenario, kind)


def judge(tier: str, scenario: Scenario, kind: str = KINDS[0]) -> Verdict:
    """Run `scenario` on `tier` from its start to its end. A scene that cannot be set is a verdict, too."""
    try:
        stage = open_stage(tier, scenario, kind)
    except ScenarioError as error:
        return Verdict(scenario, [str(error)], [])
    try:
        return run(scenario, stage)
    finally:
        stage.close()


def judge_all(tier: str, scenarios: Sequence[Scenario], jobs: int, kind: str = KINDS[0]) -> Iterator[Verdict]:
    """Yield the verdict of each; with several jobs as they come, the longest begun first."""
    if jobs < 2 or len(scenarios) < 2:
        for scenario in scenarios:
            yield judge(tier, scenario, kind)
        return
    longest_first = sorted(scenarios, key=lambda scenario: -scenario.end_ms)
    with ProcessPoolExecutor(min(jobs, len(scenarios))) as pool:
        waiting = [pool.submit(judge, tier, scenario, kind) for scenario in longest_first]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for one in waiting:
                one.cancel()  # Ctrl-C begins no more
