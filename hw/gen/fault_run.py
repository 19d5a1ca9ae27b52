"""Runs the fault simulation and keeps its records: hw/sim/faults.json.

    python3 hw/gen/fault_run.py                  every fault; about 3 s of one core each
    python3 hw/gen/fault_run.py --shard 1/4      a quarter of them, kept beside what is there already
    python3 hw/gen/fault_run.py --only "R305 open, gate drawn low"
    python3 hw/gen/fault_run.py --revision B     the same of revision B

A record belongs to the circuit it was made from: the file holds a hash of the healthy deck and the list of faults, and
verify.py refuses another one. Ctrl-C keeps what was done; the next run does what is missing.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import deck_text
import faults
import netlist
import outcome
import rack
import revision
import waves
from deck import Fault
from spice import SIM, missing

HEALTHY = Fault("healthy", "none", "")
RECORDS = {"A": SIM / "faults.json", "B": SIM / "faults_b.json"}


def stamp(nets: netlist.Netlist) -> str:
    """Return the hash of what the records belong to: the healthy deck and every fault."""
    listed = [[fault.name, fault.opens, fault.joins, fault.flags, fault.bias] for fault in faults.every(nets)]
    return hashlib.sha256((deck_text.text(nets, HEALTHY) + json.dumps(listed)).encode()).hexdigest()


def load(path: Path = RECORDS["A"]) -> dict[str, Any]:
    """Return the committed records: `stamp`, and `faults` by name; an empty one where there is no file."""
    if not path.exists():
        return {"stamp": "", "faults": {}}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def simulate(nets: netlist.Netlist, fault: Fault) -> list[str] | None:
    """Return the expectations that fail with this fault, or None when ngspice finds no solution."""
    curves = waves.run(deck_text.text(nets, fault), rack.END_S)
    return None if curves is None else outcome.failed(curves, nets.revision)


def problems(nets: netlist.Netlist, document: dict[str, Any]) -> list[str]:
    """Return what is wrong with committed records: of another circuit, of no fault, or an outcome that must not be."""
    if document["stamp"] != stamp(nets):
        return [f"faults of revision {nets.revision} belong to another circuit or list of faults: run make hw-faults"]
    names = {fault.name for fault in faults.every(nets, twins=True)}
    found = [f"fault {name!r} is in no list: run make hw-faults" for name in document["faults"] if name not in names]
    for name, record in document["faults"].items():
        result = outcome.classify(record)
        if result.name in outcome.FORBIDDEN:
            found.append(f"fault {name!r}: {result.name}")
    return found


def _save(path: Path, document: dict[str, Any]) -> None:
    lines = [f" {json.dumps(name)}: {json.dumps(record)}" for name, record in sorted(document["faults"].items())]
    text = f'{{"stamp": "{document["stamp"]}",\n"faults": {{\n' + ",\n".join(lines) + "\n}}\n"
    path.with_suffix(".part").write_text(text, encoding="utf-8")
    path.with_suffix(".part").replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Simulate what is asked for and print one line for each fault; return the exit code."""
    parser = argparse.ArgumentParser(description="simulate single faults of the board", epilog="example: --shard 2/4")
    parser.add_argument(
        "--revision", choices=revision.REVISIONS, default="A", help="the board whose faults are planted"
    )
    parser.add_argument("--shard", default="1/1", help="N/M: every M-th fault, beginning with the N-th")
    parser.add_argument("--only", action="append", help="this fault alone, again if it is kept already")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    given = parser.parse_args(arguments)
    if missing():
        print("missing: ngspice (apt-get install ngspice)", file=sys.stderr)
        return 1
    nets, records = revision.load(given.revision), RECORDS[given.revision]
    document = load(records)
    if document["stamp"] != stamp(nets):
        document = {"stamp": stamp(nets), "faults": {}}
    number, _, count = given.shard.partition("/")
    wanted = faults.every(nets)[int(number) - 1 :: int(count)]
    if given.only:
        wanted = [fault for fault in faults.every(nets) if fault.name in given.only]
    else:
        wanted = [fault for fault in wanted if fault.name not in document["faults"]]
    healthy = simulate(nets, HEALTHY)
    if healthy != []:
        print(f"the healthy board fails: {healthy}", file=sys.stderr)
        return 1
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        running = {pool.submit(simulate, nets, fault): fault.name for fault in wanted}
        try:
            for done, future in enumerate(concurrent.futures.as_completed(running), 1):
                name = running[future]
                document["faults"][name] = future.result()
                result = outcome.classify(document["faults"][name])
                print(f"{done}/{len(wanted)} {name}: {result.name}; {', '.join(result.shows)}", flush=True)
                if done % 20 == 0:
                    _save(records, document)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print("stopped: what was done is kept", file=sys.stderr)
            return 130
        finally:
            _save(records, document)
    bad = [name for name, record in document["faults"].items() if outcome.classify(record).name in outcome.FORBIDDEN]
    print("\n".join([f"FORBIDDEN {name}" for name in bad] or [f"{len(wanted)} simulated, none forbidden"]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
