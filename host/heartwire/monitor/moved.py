"""The store of a monitor from before it had a state directory of its own: taken along once, or left where it is.

Where the settings do not name a store, it lay below the agent's state directory, which is root's. The old one stays
whole until the new one is, so a cut at any point loses nothing. Called by run before the store is opened.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

from heartwire.errors import StorageProblem
from heartwire.monitor.store import BESIDE, Store

SPOOL = "spool"


def take_along(before: Path, now: Path) -> bool:
    """Move the store `before` to `now`, with the receipts beside it; tell whether there was one to move.

    Nothing is done where `now` is there already. Raises StorageProblem, PortBusy if a monitor still uses it.
    """
    try:
        if now.exists() or not before.is_file():
            return False
        with contextlib.closing(Store.claimed(before)):
            now.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            if (before.parent / SPOOL).is_dir():
                shutil.copytree(before.parent / SPOOL, now.parent / SPOOL, dirs_exist_ok=True)
            beside = now.with_name(now.name + ".new")
            beside.unlink(missing_ok=True)
            _copy(before, beside)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.chmod(0o640)
            beside.replace(now)
            for ending in ("", *BESIDE):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{before}{ending}").rename(f"{before}.moved{ending}")
    except (OSError, sqlite3.Error) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise StorageProblem(f"{before}: cannot be moved to {now}: {words}", f'or say store = "{before}"') from None
    return True


def _copy(before: Path, beside: Path) -> None:
    """Copy a store with what stands in the log beside it, which somebody's reading keeps from going into the file."""
    with contextlib.closing(sqlite3.connect(before)) as old, contextlib.closing(sqlite3.connect(beside)) as new:
        old.backup(new)
