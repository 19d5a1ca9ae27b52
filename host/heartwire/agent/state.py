"""What the agent keeps on disk: the highest epoch seen (durable), and a status file for people and the next agent.

All writing is done by one background thread, because a broken disk may hold up a write for ever, and the sender must
not wait. The epoch file is written beside, synced, renamed and its directory synced, so that after a power cut it
holds the old or the new number, never less. A status that cannot be written is no reason to stop anything.
"""

import contextlib
import fcntl
import json
import os
import queue
import threading
from pathlib import Path
from typing import Any, NamedTuple

from heartwire.agent.errors import StateError
from heartwire_protocol import codes

EPOCH_FILE = "epoch"
STATUS_FILE = "status.json"
NS_PER_MS = 1_000_000
# What the field of a grant can say (a u24).
LEASE_MAX_MS = (1 << 24) - 1
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def replace_file(path: Path, data: bytes, durable: bool) -> None:
    """Put `data` into `path` so that a reader or a power cut sees the old or the new content. OSError if it fails."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        with memoryview(data) as rest:
            done = 0
            while done < len(rest):
                done += os.write(descriptor, rest[done:])
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_epoch(directory: Path) -> int:
    """Return the highest epoch stored; 0 if none ever was. StateError if the file is damaged or unreadable."""
    path = directory / EPOCH_FILE
    try:
        text = path.read_text(encoding="ascii")
        epoch = int(text)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}", "make it readable for the agent") from error
    except ValueError as error:
        raise StateError(
            f"{path} does not hold a number",
            "write the board's epoch into it (`heartwire status` shows it); never a lower one",
        ) from error
    if not 0 <= epoch <= codes.COUNT_MAX:
        raise StateError(
            f"{path}: {epoch} is out of range", "write the board's epoch into it (`heartwire status` shows it)"
        )
    return epoch


def write_epoch(directory: Path, epoch: int) -> None:
    """Store `epoch` durably. OSError if it could not be."""
    replace_file(directory / EPOCH_FILE, b"%d\n" % epoch, durable=True)


def boot_id() -> str:
    """Return the id of this boot of the machine; empty where there is none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Resumption(NamedTuple):
    """What a former agent of the same boot left behind."""

    lease_until_ns: int = 0
    lease_epoch: int = -1
    suspect: bool = False  # services may run
    advisory: bool = False
    busy_until_ns: int = 0
    crash_dump_until_ns: int = 0


def read_resumption(directory: Path, node: str, boot: str) -> Resumption:
    """Read the former agent's status file; only one of this boot counts, as CLOCK_BOOTTIME starts anew with each.

    No time in it reaches further than the wire could have said when it was written, whatever the file holds.
    """
    try:
        status = json.loads((directory / STATUS_FILE).read_text(encoding="utf-8"))
        if not boot or status["boot_id"] != boot or status["node"] != node:
            return Resumption()
        lease_max_ns = int(status["time_ns"]) + LEASE_MAX_MS * NS_PER_MS
        return Resumption(
            min(int(status["lease_until_ns"]), lease_max_ns),
            int(status.get("lease_epoch", status["epoch"])),
            bool(status["suspect"]),
            status["wish"] == "advisory",
            int(status["busy_until_ns"]),
            int(status["crash_dump_until_ns"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Resumption()


def lock_directory(directory: Path) -> int:
    """Make `directory` and lock it for one agent; return the descriptor that holds the lock. StateError if it fails."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"{directory}: {error.strerror}", "choose a writable directory with --state-directory, or make room"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateError(f"{directory} is in use by another agent", "stop the other agent first") from error
    return descriptor


class Disk:
    """Write epoch and status in the background. The newest wish counts; what was overtaken is never written."""

    def __init__(self, directory: Path, epoch: int) -> None:
        """Begin with what was read; `start` begins the thread."""
        self.durable_epoch = epoch
        self.epoch_error = ""
        self.status_errors = 0
        self._directory = directory
        self._wanted_epoch = epoch
        self._jobs: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=4)
        self._thread = threading.Thread(target=self._work, name="heartwire-disk", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def store_epoch(self, epoch: int) -> None:
        """Have `epoch` stored; `durable_epoch` or `epoch_error` tells later what became of it. Repeat it to retry."""
        self._put("epoch", epoch)

    def store_status(self, status: dict[str, Any]) -> None:
        """Have the status file replaced, unless the disk has not yet taken what came before."""
        self._put("status", status)

    def finish(self, timeout_s: float) -> None:
        """Wait for what is queued, at most `timeout_s`."""
        with contextlib.suppress(queue.Full):
            self._jobs.put(("end", None), timeout=timeout_s)
            self._thread.join(timeout_s)

    def _put(self, kind: str, value: Any) -> None:
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait((kind, value))

    def _work(self) -> None:
        while True:
            kind, value = self._jobs.get()
            if kind == "end":
                return
            self.write(kind, value)

    def write(self, kind: str, value: Any) -> None:
        """Do one job now: "epoch" or "status"."""
        if kind == "epoch":
            if value <= self.durable_epoch:
                return
            try:
                write_epoch(self._directory, value)
            except OSError as error:
                self.epoch_error = error.strerror or type(error).__name__
            else:
                self.durable_epoch = value
                self.epoch_error = ""
        else:
            try:
                text = json.dumps(value, indent=1) + "\n"
                replace_file(self._directory / STATUS_FILE, text.encode(), durable=False)
            except OSError:
                self.status_errors += 1
