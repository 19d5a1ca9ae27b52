"""What only its owner may read or change: secret files, and programs that a root service runs.

A secret in a file of somebody else is his to read and to replace; a program of somebody else that root runs is root's
password in his hand. Called by keys, the monitor's settings, and by what installs units.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from heartwire.errors import BadConfig, NotPermitted

NEXT_FILE = "mend the file, then try it again"
ROOT = 0
# The system's own interpreter is found by these.
ENV = ("/usr/bin/env", "/bin/env")
SHEBANG_MAX = 256


def read(path: Path, limit: int, *, what: str, missing: str, user: str) -> str:
    """Return the text of a secret file: ours, or root's, and closed to others.

    Raises BadConfig and NotPermitted, never quoting it; `what` names it, `missing` says what helps if it is not there,
    `user` whose it is.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            found = os.fstat(file.fileno())
            text = file.read(limit)
    except FileNotFoundError:
        raise BadConfig(f"{path}: no such {what}", missing) from None
    except PermissionError:
        raise NotPermitted(f"{path}: you may not read this {what}", f"run it as the user that owns {user}") from None
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}", NEXT_FILE) from None
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise BadConfig(f"{path}: others may read this {what} (mode {mode:04o})", f"run `chmod 600 {path}`")
    if found.st_uid not in _ours():
        raise BadConfig(
            f"{path}: this {what} belongs to another user (uid {found.st_uid}), who may read and replace it",
            f"run `chown {os.geteuid()} {path}`, and make a new secret if it is not you",
        )
    return text


def _ours() -> set[int]:
    """Return the users whose files we trust: this one, root, and who called sudo to be root."""
    caller = os.environ.get("SUDO_UID", "")
    return {os.geteuid(), ROOT} | ({int(caller)} if os.geteuid() == ROOT and caller.isdecimal() else set())


def why_not_roots(program: Path) -> str:
    """Return why root must not run a program: what of it somebody else can change; "" if nothing.

    Looked at are the program, what its links lead to, the interpreter that its first line names, and every folder above
    each of them.
    """
    seen: set[Path] = set()
    waiting = [program]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        try:
            found = path.lstat()
        except OSError as error:
            return f"{path}: {error.strerror}"
        problem = _changeable(path, found)
        if problem:
            return problem
        if path.parent != path:
            waiting.append(path.parent)
        if stat.S_ISLNK(found.st_mode):
            waiting.append(Path(os.path.normpath(path.parent / path.readlink())))
        elif stat.S_ISREG(found.st_mode):
            waiting += _interpreters(path)
    return ""


def _changeable(path: Path, found: os.stat_result) -> str:
    if found.st_uid not in (ROOT, 0):
        return f"{path} belongs to uid {found.st_uid}, who can change what root would run"
    if stat.S_ISLNK(found.st_mode):
        return ""
    mode = stat.S_IMODE(found.st_mode)
    # In a sticky folder others make files of their own, and change none of root's.
    if mode & 0o002 and not (stat.S_ISDIR(found.st_mode) and mode & stat.S_ISVTX):
        return f"{path} may be written by anybody (mode {mode:04o})"
    if mode & 0o020 and found.st_gid != ROOT:
        return f"{path} may be written by the group {found.st_gid} (mode {mode:04o})"
    return ""


def _interpreters(path: Path) -> list[Path]:
    """Return the program that runs a script, and the folder of packages of a virtual environment's Python."""
    try:
        with path.open("rb") as file:
            line = file.readline(SHEBANG_MAX)
    except OSError:
        return []
    if not line.startswith(b"#!"):
        return []
    words = line[2:].decode(errors="replace").split()
    if not words or words[0] in ENV:
        return []
    interpreter = Path(words[0])
    packages = sorted(interpreter.parent.parent.glob("lib/python3*/site-packages"))
    return [interpreter, *packages, *[found / "heartwire" for found in packages if (found / "heartwire").exists()]]
