"""Measure one step of the policy on the MicroPython VM: its worst time, its mean, and what it leaves on the heap.

Each case is a rest that a board can stay in for days. The collector is off while it is measured, so an allocation in a
step shows ten thousand times. `make bench` prints the table; it asserts nothing about time, which is this machine's.
tests/unit/policy/test_allocation.py asserts on the heap.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
STEPS = 10000
DECISIONS = 500
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
{measured}
"""
# A rest: each step is measured, the collector is off.
REST = """
import array
times = array.array("i", [0] * {steps})
gc.collect()
gc.disable()
before = gc.mem_alloc()
for index in range({steps}):
    began = time.ticks_us()
    machine.step(10)
    times[index] = time.ticks_diff(time.ticks_us(), began)
allocated = gc.mem_alloc() - before
times = sorted(times)
print(allocated, times[-1], times[{steps} * 999 // 1000], times[{steps} // 2])
"""
# The step that decides: the same one, over and over, from the rest before it.
DECISION = """
gc.collect()
state.keep()
times = []
allocated = 0
for index in range({decisions}):
    state.take_back()
    out.clear()
    {change}
    facts.intent_durable[0] = True
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    began = time.ticks_us()
    machine.step(10)
    times.append(time.ticks_diff(time.ticks_us(), began))
    allocated = gc.mem_alloc() - before
    gc.enable()
    assert out.records and out.actions, (state.phase, state.held)
times.sort()
print(allocated, times[-1], times[{decisions} * 999 // 1000], times[{decisions} // 2])
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


# What is measured as a decision: from the rest "active", what changes.
FAILOVER = "; ".join(DEAD_A.splitlines())


class Measured(NamedTuple):
    """What one case costs: bytes on the heap by all its steps (by one, of a decision), and microseconds of a step."""

    allocated: int
    worst_us: int
    p999_us: int
    median_us: int


def vm_path() -> str | None:
    """Return the MicroPython VM of this environment, or None."""
    beside = Path(sys.executable).parent / "micropython"
    return str(beside) if beside.exists() else shutil.which("micropython")


def measure(name: str) -> Measured:
    """Run a case on the VM. RuntimeError with its output if it fails; needs `vm_path()`."""
    return _run(name, REST.format(steps=STEPS))


def measure_failover() -> Measured:
    """Run the step that fences on the VM, as `measure` does."""
    return _run("active", DECISION.format(decisions=DECISIONS, change=FAILOVER))


def _run(name: str, measured: str) -> Measured:
    lines, nodes, before, condition = CASES[name]
    if nodes > 2:
        lines += "node.spare.enabled=1\n"
    text = SCRIPT.format(
        firmware=str(ROOT / "firmware"), lines=lines, nodes=nodes, before=before, condition=condition, measured=measured
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "run.py")
        script.write_text(text)
        command = [str(vm_path()), "-X", "heapsize=512wK", str(script)]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return Measured(*[int(word) for word in done.stdout.split()])


def main() -> int:
    """Print the table; return 1 where the VM is not installed."""
    if vm_path() is None:
        print("the MicroPython VM is not installed (extra `virtual`)")
        return 1
    print(f"{'policy step on the VM, this machine':<46} {'median':>9} {'p99.9':>9} {'worst':>9} {'heap':>9}")
    for name in CASES:
        _print(f"at rest: {name}", measure(name), f"bytes in {STEPS} steps")
    _print("decides: a is dead, its fence fires", measure_failover(), f"bytes in one, n={DECISIONS}")
    return 0


def _print(name: str, found: Measured, unit: str) -> None:
    times = f"{found.median_us:>6} us {found.p999_us:>6} us {found.worst_us:>6} us"
    print(f"{name:<46} {times} {found.allocated:>9} {unit}")


if __name__ == "__main__":
    sys.exit(main())
