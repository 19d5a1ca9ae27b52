"""A policy step allocates nothing in the steady state: measured on the MicroPython VM, with the collector off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent.parent
STEPS = 10000
LIMIT = 128  # bytes in all
SCRIPT = """
import gc, sys, time
sys.path.insert(0, {firmware!r})
from heartwire_firmware import policy, policy_state
from heartwire_protocol import codes, messages, settings
found, problems = settings.parse({lines!r})
assert not problems, problems
state, facts, out = policy_state.State(), policy_state.Facts(), policy_state.Decisions()
machine = policy.Policy(found, state, facts, out)
state.mode = codes.MODE_AUTO
state.epoch, state.holder = 7, 0
facts.durable_epoch, facts.durable_holder = 7, 0
for node in range({nodes}):
    facts.enabled[node] = facts.keyed[node] = True
    facts.verdict[node] = codes.VERDICT_GOOD
    facts.beats[node] = 5
    facts.incarnation[node] = 1000 + node
    facts.node_state[node] = codes.STATE_HEALTHY
    facts.flags[node] = messages.FLAG_VERIFIED_STOPPED | messages.FLAG_ANSWERED
    facts.node_epoch[node] = 7
    facts.power[node] = codes.POWER_ON
    facts.power_full[node] = True
    facts.sign_ms[node] = 0
facts.flags[0] = messages.FLAG_RUNNING | messages.FLAG_ANSWERED
machine.boot(0, False)
{before}
for _ in range(300):
    machine.step(10)
assert {condition}, (state.phase, state.active, state.held)
gc.collect()
gc.disable()
before = gc.mem_alloc()
worst = 0
for _ in range({steps}):
    began = time.ticks_us()
    machine.step(10)
    took = time.ticks_diff(time.ticks_us(), began)
    if took > worst:
        worst = took
print("allocated", gc.mem_alloc() - before, "worst_us", worst)
"""
DEAD_A = "facts.verdict[0] = codes.VERDICT_DEAD\nfacts.age_ms[0] = facts.sign_ms[0] = 90000"
CASES = {
    "active": ("", 2, "", "state.active == 0 and not state.held"),
    "failback and ladder": (
        "board.failback=auto\nboard.preferred=b\nboard.stable_s=86400\nnode.b.recovery=cycle\n",
        3,
        "",
        "state.active == 0",
    ),
    "observe": ("", 2, "state.mode = codes.MODE_OBSERVE", "state.active == 0"),
    "held without a successor": (
        "",
        2,
        "for _ in range(30): machine.step(10)\n" + DEAD_A + "\nfacts.node_state[1] = codes.STATE_BUSY",
        "state.held",
    ),
    "nobody active": ("", 2, DEAD_A + "\nfacts.beats[0] = 0\nfacts.verdict[0] = 0", "state.active == codes.NO_NODE"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_allocates_nothing(name: str, tmp_path: Path) -> None:
    vm = Path(sys.executable).parent / "micropython"
    if not vm.exists() and shutil.which("micropython") is None:
        pytest.skip("the MicroPython VM is not installed (extra `virtual`)")
    lines, nodes, before, condition = CASES[name]
    if nodes > 2:
        lines += "node.spare.enabled=1\n"
    script = tmp_path / "run.py"
    script.write_text(
        SCRIPT.format(
            firmware=str(ROOT / "firmware"), lines=lines, nodes=nodes, before=before, condition=condition, steps=STEPS
        )
    )
    command = [str(vm) if vm.exists() else "micropython", "-X", "heapsize=512wK", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    words = done.stdout.split()
    # The loop of the measurement itself may cost a cell once; a step that allocates would show ten thousand times.
    assert int(words[1]) <= LIMIT, done.stdout
