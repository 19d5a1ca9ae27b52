"""Renders the tables of SAFETY.md that come from the fault simulation's records. Standard library only."""

import fault_run
import faults
import netlist
import outcome
from outcome import Outcome
from tables_text import table


def _outcomes() -> dict[str, Outcome]:
    """Return the outcome of every fault that was simulated, in the order of the list of faults."""
    records = fault_run.load()["faults"]
    names = [fault.name for fault in faults.every(netlist.load())]
    return {name: outcome.classify(records[name]) for name in names if name in records}


def coverage() -> str:
    """Return one sentence: how many of the listed faults were simulated."""
    listed, done = len(faults.every(netlist.load())), len(_outcomes())
    rest = "" if done == listed else f" The other {listed - done} were not simulated yet: `make hw-faults` goes on."
    return f"{done} of {listed} single faults were simulated on the netlist of revision A.{rest}"


def classes() -> str:
    """Return the number of faults by class, worst first, zero included."""
    found = [result.name for result in _outcomes().values()]
    rows = [[name, means, str(found.count(name))] for name, means in outcome.CLASSES.items()]
    return table("class|means|faults", rows)


def listing() -> str:
    """Return every simulated fault, those alike in class and signs in one row."""
    groups: dict[Outcome, list[str]] = {}
    for name, result in _outcomes().items():
        groups.setdefault(result, []).append(name)
    order = list(outcome.CLASSES)
    rows = [
        [result.name, "; ".join(names), ", ".join(result.shows) or "nothing"]
        for result, names in sorted(groups.items(), key=lambda item: (order.index(item[0].name), item[0].shows))
    ]
    return table("class|faults|how it shows", rows)
