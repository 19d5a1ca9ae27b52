"""Keep the sender on time: memory that is never paged out, and real-time priority for the one thread that sends.

Both are tried and neither is required; what was reached is logged. Commands and background threads keep normal
priority. Called once by run.py, after the runners were forked and the threads were started.
"""

import ctypes
import os
from pathlib import Path

# From linux/mman.h and linux/capability.h.
MCL_CURRENT = 1
MCL_FUTURE = 2
CAP_IPC_LOCK = 14
CAP_SYS_NICE = 23
PROC_STATUS = Path("/proc/self/status")


def has_capability(number: int, status: str) -> bool:
    """Tell whether the text of /proc/self/status grants capability `number`."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def lock_memory() -> str:
    """Lock all memory of this process, now and later; return why not, or an empty text.

    Without the capability nothing is tried: a limit reached later would end the agent in the middle of its work.
    """
    try:
        allowed = has_capability(CAP_IPC_LOCK, PROC_STATUS.read_text(encoding="ascii"))
    except OSError as error:
        return error.strerror or "unknown"
    if not allowed:
        return "needs CAP_IPC_LOCK"
    library = ctypes.CDLL(None, use_errno=True)
    if library.mlockall(MCL_CURRENT | MCL_FUTURE):
        return os.strerror(ctypes.get_errno())
    return ""


def raise_priority(priority: int) -> str:
    """Give the calling thread real-time priority `priority` (1 to 99); return why not, or an empty text."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        return error.strerror or "unknown"
    return ""
