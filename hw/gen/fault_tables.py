"""Renders the tables of SAFETY.md and REVISION_B.md that come from the fault simulation's records."""

import fault_run
import faults
import outcome
import revision
from outcome import Outcome
from tables_text import table


def _outcomes(board: str) -> dict[str, Outcome]:
    """Return the outcome of every fault that was simulated, in the order of the list of faults."""
    records = fault_run.load(fault_run.RECORDS[board])["faults"]
    names = [fault.name for fault in faults.every(revision.load(board))]
    return {name: outcome.classify(records[name]) for name in names if name in records}


def coverage() -> str:
    """Return a sentence for each revision: how many of the listed faults were simulated."""
    found = []
    for board in revision.REVISIONS:
        listed, done = len(faults.every(revision.load(board))), len(_outcomes(board))
        found.append(f"{done} of {listed} single faults were simulated on the netlist of revision {board}.")
        if done < listed:
            found.append(f"The other {listed - done} were not yet: `python3 hw/gen/fault_run.py --revision {board}`.")
    return " ".join(found)


def classes() -> str:
    """Return the number of faults by class and revision, worst first, zero included."""
    found = [[result.name for result in _outcomes(board).values()] for board in revision.REVISIONS]
    rows = [[name, means, *(str(names.count(name)) for names in found)] for name, means in outcome.CLASSES.items()]
    heads = [f"revision {board}: {len(names)} of {len(faults.every(revision.load(board)))}"
             for board, names in zip(revision.REVISIONS, found, strict=True)]  # fmt: skip
    return table("|".join(["class", "means", *heads]), rows)


def listing(board: str) -> str:
    """Return every simulated fault, those alike in class and signs in one row."""
    groups: dict[Outcome, list[str]] = {}
    for name, result in _outcomes(board).items():
        groups.setdefault(result, []).append(name)
    order = list(outcome.CLASSES)
    rows = [
        [result.name, "; ".join(names), ", ".join(result.shows) or "nothing"]
        for result, names in sorted(groups.items(), key=lambda item: (order.index(item[0].name), item[0].shows))
    ]
    return table("class|faults|how it shows", rows)
