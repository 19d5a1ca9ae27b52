"""The sender process of one channel: takes orders, makes one attempt for each, and leaves a receipt.

Started by courier as `python -m heartwire.monitor.deliver KIND` in a session of its own, so neither Ctrl-C nor the
death of the monitor stops an attempt half-way; it ends when nobody is left to order. Orders come on stdin, because
arguments show in `ps`; a secret is read here, from its file, and goes nowhere else. It sends only after it claimed the
attempt, and writes what became of it before it says so.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from heartwire.monitor import channels, receipts

# The monitor ends us soon after limit_s; if it is gone itself, we end ourselves.
OVERTIME_S = 5


def main() -> None:
    """Carry out one order a line until stdin ends; write a newline to stdout after each."""
    # A plugin that prints would print into the monitor's log, perhaps a secret.
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    channels.get_ready(sys.argv[1] if len(sys.argv) > 1 else "")
    for line in sys.stdin.buffer:
        if line.endswith(b"\n"):  # else the monitor was killed in the middle of its order
            carry_out(json.loads(line))
            os.write(answers, b"\n")


def carry_out(order: dict[str, Any]) -> None:
    """Make one attempt, unless it is not ours any more."""
    # Counted on while the machine sleeps; an order without it is of a monitor from before many shared a store.
    if time.clock_gettime(time.CLOCK_BOOTTIME) > order.get("start_by", math.inf):
        return
    signal.alarm(int(order["channel"]["limit_s"]) + OVERTIME_S)
    path = receipts.path_of(Path(order["spool"]), order["message"]["uid"], order["attempt"])
    try:
        descriptor = receipts.claim(path)
    except OSError:
        return
    if descriptor is None:
        return
    try:
        channels.send(order["channel"], order["message"], keep_open=(descriptor,))
        result: dict[str, Any] = {"sent": True, "trouble": ""}
    except channels.Undelivered as error:
        result = {"sent": False, "trouble": str(error)}
    except Exception as error:
        result = {"sent": False, "trouble": f"the channel failed ({type(error).__name__})"}
    receipts.conclude(descriptor, result)
    os.close(descriptor)
    signal.alarm(0)


if __name__ == "__main__":
    try:
        main()
    finally:
        # Threads of a plugin must not keep us alive.
        os._exit(0)
