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
import re
import stat
import threading
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from heartwire.agent.errors import StateError
from heartwire_protocol import codes

EPOCH_FILE = "epoch"
STATUS_FILE = "status.json"
NS_PER_MS = 1_000_000
# What the field of a grant can say (a u24).
LEASE_MAX_MS = (1 << 24) - 1
# A board counts activations: nothing honest comes near what the wire can say, and a claim at its end ends failover.
EPOCH_MAX = codes.COUNT_MAX - 1_000_000
EPOCH_BYTES = 64
STATUS_MAX = 65_536
EPOCH_NEXT = (
    "`heartwire agent epoch --set N`, N being the highest epoch that `heartwire status --json` shows, of the board and"
    " of all nodes; it takes no lower one than this server remembers"
)
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
    """Return the highest epoch stored; 0 if none ever was. StateError if the file is damaged, unreadable or absurd."""
    path = directory / EPOCH_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StateError(f"{path} is no regular file", EPOCH_NEXT)
            data = os.read(descriptor, EPOCH_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}", "make it readable for the agent") from error
    if len(data) > EPOCH_BYTES or not re.fullmatch(rb"[0-9]+\n?", data):
        raise StateError(f"{path} does not hold a number", EPOCH_NEXT)
    epoch = int(data)
    if epoch > EPOCH_MAX:
        raise StateError(f"{path}: {epoch} cannot be an epoch that a board gave out", EPOCH_NEXT)
    return epoch


def durable_before(directory: Path) -> int:
    """Return the highest epoch that the status file in `directory` calls durable; 0 if it says nothing believable.

    It is higher than that of the epoch file where that one was removed, or comes from an older copy.
    """
    try:
        said = json.loads((directory / STATUS_FILE).read_bytes()[:STATUS_MAX])["epoch_durable"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= EPOCH_MAX else 0


def repair_epoch(directory: Path, epoch: int) -> None:
    """Store what a person says the highest epoch is, while no agent runs. StateError if it is lower than is known."""
    lock = lock_directory(directory)
    try:
        try:
            known = max(read_epoch(directory), durable_before(directory))
        except StateError:
            known = durable_before(directory)
        if epoch < known:
            raise StateError(
                f"{epoch} is lower than {known}, which this server has seen: an old board could then make it active",
                f"give {known} or more",
            )
        if epoch > EPOCH_MAX:
            raise StateError(f"{epoch} cannot be an epoch that a board gave out", EPOCH_NEXT)
        path = directory / EPOCH_FILE
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(path.lstat().st_mode):
                path.rename(path.with_name("epoch.wrong"))
        try:
            write_epoch(directory, epoch)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}", "make room, or make it writable") from error
    finally:
        os.close(lock)


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
    planned_off: bool = False
    running: bool = False  # the last start succeeded, or a check found them running


def read_resumption(directory: Path, node: str, boot: str) -> Resumption:
    """Return what the former agent's status file says; see `resumption_of`."""
    try:
        status = json.loads((directory / STATUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return Resumption()
    return resumption_of(status, node, boot)


def resumption_of(status: Any, node: str, boot: str) -> Resumption:
    """Return what `status` says; only one of this boot counts, as CLOCK_BOOTTIME starts anew with each.

    No time in it reaches further than the wire could have said when it was written, whatever the file holds.
    """
    try:
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
            status.get("planned_off") is True,
            status.get("running") is True,
        )
    except (ValueError, KeyError, TypeError, OverflowError):
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


class Store(Protocol):
    """What an agent keeps over its end."""

    durable_epoch: int
    epoch_error: str

    def store_epoch(self, epoch: int) -> None:
        """Have `epoch` stored; `durable_epoch` or `epoch_error` tells later what became of it. Repeat it to retry."""

    def store_status(self, status: dict[str, Any]) -> None:
        """Have the status file replaced, unless the disk has not yet taken what came before."""


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
        """Have `epoch` stored; see Store."""
        self._put("epoch", epoch)

    def store_status(self, status: dict[str, Any]) -> None:
        """Have the status file replaced; see Store."""
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
            try:
                self.write(kind, value)
            except Exception as error:  # without this thread no epoch would ever be stored
                if kind == "epoch":
                    self.epoch_error = repr(error)
                else:
                    self.status_errors += 1

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
