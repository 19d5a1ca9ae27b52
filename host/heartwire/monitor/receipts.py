"""Receipts: one file for each attempt to send, so that an attempt is made at most once and its end is known.

An attempt is claimed by linking a file, already locked, to its final name: whoever links first owns the attempt, and
the lock lasts as long as the sender or a command it started. So after the monitor was killed the next one finds, for
an attempt it began: no file (it claims the attempt itself, and a sender that comes late may not send any more), a
locked file (the sender is at work: wait), a result (take it), or a file that is neither (the sender itself was killed,
or the machine went down: whether the message went out nobody can know). Used by deliver (one side) and courier.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from heartwire import bounded
from heartwire.errors import PortBusy, StorageProblem

RESULT_BYTES = 4096
# Whose receipts these are: a file beside them, locked as long as that monitor runs.
IDENTITY = "monitor-id"
_ID = re.compile("[0-9a-f]{32}")


def identity(spool: Path) -> tuple[str, int]:
    """Return the id of the monitor whose folder this is, and the descriptor that keeps others out while it is open.

    Raises PortBusy if another monitor has it, StorageProblem.
    """
    path = spool / IDENTITY
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageProblem(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        text = os.read(descriptor, 64).decode("ascii", "replace").strip()
        if not _ID.fullmatch(text):
            text = secrets.token_hex(16)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text.encode() + b"\n", 0)
            os.fsync(descriptor)
            _sync_folder(spool)
    except BlockingIOError:
        os.close(descriptor)
        raise PortBusy(
            f"{spool}: another monitor keeps its receipts here", "stop it, or name another `spool` in the settings"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise StorageProblem(f"{path}: {error.strerror}") from None
    return text, descriptor


def path_of(spool: Path, uid: str, attempt: int) -> Path:
    """Return where the receipt of an attempt is."""
    return spool / f"{uid}.{attempt}"


def claim(path: Path) -> int | None:
    """Claim an attempt; return a locked descriptor that must stay open, or None if it is somebody else's.

    Raises OSError if the folder cannot be written.
    """
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.link(scratch, path)
        _sync_folder(path.parent)
    except FileExistsError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()
    return descriptor


def conclude(descriptor: int, result: dict[str, Any]) -> None:
    """Write the result of an attempt durably. Raises OSError."""
    os.pwrite(descriptor, json.dumps(result).encode() + b"\n", 0)
    os.fsync(descriptor)


def look(path: Path) -> tuple[str, dict[str, Any]]:
    """Return ("none" | "busy" | "done" | "torn", result) of an attempt."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "none", {}
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return "busy", {}
        text = os.read(descriptor, RESULT_BYTES)
    finally:
        os.close(descriptor)
    if text.endswith(b"\n"):
        with contextlib.suppress(ValueError):
            return "done", bounded.load_object(text, RESULT_BYTES)
    return "torn", {}


def remove(path: Path) -> None:
    """Forget a receipt whose result is in the store."""
    with contextlib.suppress(OSError):
        path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
