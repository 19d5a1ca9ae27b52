"""Wait for the program that owns a virtual rack to end, then end everything it left behind.

A process of its own, because a program killed with SIGKILL cannot clean up: when its end of the pipe closes, every
process that carries the rack's mark in its environment is killed and the rack's temporary directories are removed. It
touches nothing else. Started by processes.py with the mark; each line on the pipe names a directory to remove.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "HEARTWIRE_VIRTUAL_RACK"


def marked_processes(mark: str) -> list[int]:
    """Return the processes whose environment carries `mark`."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            environment = Path(entry.path, "environ").read_bytes()
            variables = environment.split(b"\0")
            if any(variable == needle or variable.startswith(needle + b"/") for variable in variables):
                found.append(int(entry.name))
    return found


def send_marked(mark: str, number: int) -> None:
    """Send a signal to every marked process."""
    for process in marked_processes(mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def kill_marked(mark: str, timeout_s: float = 2.0) -> bool:
    """Kill every marked process, and return once none is left; False if some still were after `timeout_s`."""
    end_s = time.monotonic() + timeout_s
    while marked_processes(mark):
        send_marked(mark, signal.SIGKILL)
        if time.monotonic() > end_s:
            return False
        time.sleep(0.001)
    return True


def main() -> None:
    """Collect directory names until the pipe closes, then clean up."""
    directories = [line.rstrip("\n") for line in sys.stdin]
    kill_marked(sys.argv[1])
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
