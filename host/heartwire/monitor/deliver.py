"""The sender process: one message, one channel, one attempt, one receipt; then it ends.

Started by courier as `python -m heartwire.monitor.deliver KIND` in a session of its own, so neither Ctrl-C nor the
death of the monitor stops it half-way. The order comes on stdin, because arguments show in `ps`; a secret is read here,
from its file, and goes nowhere else. It sends only after it claimed the attempt, and writes what became of it before it
ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from heartwire.monitor import channels, receipts

# The monitor ends us soon after limit_s; if it is gone itself, we end ourselves.
OVERTIME_S = 5


def main() -> int:
    """Carry out the order on stdin; return 0 if there is a receipt, 1 if the attempt was not ours or not begun."""
    channels.get_ready(sys.argv[1] if len(sys.argv) > 1 else "")
    text = sys.stdin.buffer.read()
    if not text:
        return 1  # the monitor has ended without an order for us
    order: dict[str, Any] = json.loads(text)
    signal.alarm(int(order["channel"]["limit_s"]) + OVERTIME_S)
    path = receipts.path_of(Path(order["spool"]), order["message"]["uid"], order["attempt"])
    try:
        descriptor = receipts.claim(path)
    except OSError:
        return 1
    if descriptor is None:
        return 1
    # A plugin that prints would print into the monitor's log, perhaps a secret.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        channels.send(order["channel"], order["message"], keep_open=(descriptor,))
        result: dict[str, Any] = {"sent": True, "trouble": ""}
    except channels.Undelivered as error:
        result = {"sent": False, "trouble": str(error)}
    except Exception as error:
        result = {"sent": False, "trouble": f"the channel failed ({type(error).__name__})"}
    receipts.conclude(descriptor, result)
    return 0


if __name__ == "__main__":
    # Threads of a plugin must not keep us alive once the receipt is written.
    os._exit(main())
