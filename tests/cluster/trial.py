"""One fault in a cluster of two: cause it, watch what the cluster and the board make of it, and note the times.

A trial is over when exactly one machine still can act, and the service runs there; or when its time is over.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.cluster.pair import Pair, now_s

FAULTS = ("kill -9", "freeze", "network cut", "cut and freeze")
LIMIT_S = 25.0
# After the end, the machines are watched a little longer: a second copy must not appear late.
SETTLE_S = 1.5
LOOK_S = 0.02


@dataclass
class Trial:
    """What came of a fault; times in seconds after it, None for what did not happen."""

    fault: str
    agent: str
    holder: str
    survivor: str = ""
    off_s: float | None = None
    service_s: float | None = None
    servers_cut: int = 0
    # On how many machines the service was at the end; a frozen machine counts, for it may wake up.
    copies: int = 0
    started_before_off: bool = False


def cause(pair: Pair, fault: str, node: str) -> None:
    """Cause a fault at `node`, which runs the service."""
    if "cut" in fault:
        pair.cut_network()
    if "kill" in fault:
        pair.bench.servers[node].crash()
    if "freeze" in fault:
        pair.bench.servers[node].freeze()


def run_trial(pair: Pair, agent: str, fault: str) -> Trial:
    """Cause `fault` where the service runs, and return what came of it."""
    holder = pair.holders()[0]
    other = "b" if holder == "a" else "a"
    trial = Trial(fault, agent, holder)
    at_s, at_ns = now_s(), time.monotonic_ns()
    cause(pair, fault, holder)
    while now_s() - at_s < LIMIT_S:
        starts = [change for change in pair.changes(at_s) if change.what == "start"]
        cuts = pair.power_cuts(at_ns)
        lost = {node: (cut_ns - at_ns) / 1e9 for node, cut_ns in cuts.items()}
        if starts and starts[0].node == other:
            trial.service_s = starts[0].at_s - at_s
            trial.survivor = other
            trial.off_s = lost.get(holder)
            # /proc/uptime is cut to hundredths of a second.
            trial.started_before_off = trial.off_s is None or trial.service_s + 0.01 < trial.off_s
            break
        if other in lost and holder not in lost:
            trial.survivor, trial.off_s, trial.service_s = holder, lost[other], 0.0
            break
        time.sleep(LOOK_S)
    time.sleep(SETTLE_S)
    trial.servers_cut = len(pair.power_cuts(at_ns))
    trial.copies = len(pair.holders())
    return trial


def _span(values: Sequence[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return "never"
    if len(known) == 1:
        return f"{known[0]:.2f}"
    return f"{known[0]:.2f}/{median(known):.2f}/{known[-1]:.2f}"


def table(trials: Sequence[Trial]) -> str:
    """Return the trials as a table: least/median/most where a fault was tried several times."""
    rows = [("fence agent", "fault", "n", "power off s", "service s", "cut", "copies at the end")]
    for agent in dict.fromkeys(trial.agent for trial in trials):
        for fault in dict.fromkeys(trial.fault for trial in trials):
            some = [trial for trial in trials if (trial.agent, trial.fault) == (agent, fault)]
            if not some:
                continue
            moved = [trial.service_s for trial in some if trial.survivor not in (trial.holder, "")]
            stayed = sum(trial.survivor in (trial.holder, "") and trial.copies == 1 for trial in some)
            service = " ".join(([_span(moved)] if moved else []) + ([f"stayed {stayed}x"] if stayed else []))
            cut = "/".join(str(count) for count in sorted({trial.servers_cut for trial in some}))
            copies = "/".join(str(count) for count in sorted({trial.copies for trial in some}))
            rows.append((agent, fault, str(len(some)), _span([trial.off_s for trial in some]), service, cut, copies))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
