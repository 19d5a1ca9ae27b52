"""The password file: one `NAME:HASH` a line, HASH by argon2id; mode 0600, as every secret file.

Made by `heartwire monitor password`, read anew whenever it changes, so that who is taken out is out. No password is
kept or shown, and a name that is not there takes as long to refuse as one that is. Called by access, and by the CLI.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
import threading
from pathlib import Path

import argon2

from heartwire import private
from heartwire.errors import BadConfig, StorageProblem, UsageProblem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
FILE_BYTES = 65_536
# A person's, at least: argon2 makes each guess cost time and memory, so twelve letters are out of reach.
LENGTH_MIN = 12
LENGTH_MAX = 1024
PREFIX = "$argon2id$"
HASHER = argon2.PasswordHasher()


def read(path: Path) -> dict[str, str]:
    """Return the hashes of a password file by name. Raises BadConfig (never quoting one), NotPermitted."""
    text = private.read(
        path, FILE_BYTES, what="password file", missing="make it: `heartwire monitor password NAME`",
        user="the monitor's files",
    )  # fmt: skip
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, separator, digest = line.partition(":")
        if not separator or not NAME.fullmatch(name) or not digest.startswith(PREFIX):
            raise BadConfig(f"{path}: line {number}: must be NAME:HASH, as `heartwire monitor password` makes it")
        if name in found:
            raise BadConfig(f"{path}: line {number}: a second line for {name}")
        found[name] = digest
    return found


def problem_with(name: str, password: str) -> str:
    """Return what is wrong with a new entry, "" if nothing."""
    if not NAME.fullmatch(name):
        return "a name is letters, digits and . _ @ -, at most 64, and begins with a letter or digit"
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        return f"a password has from {LENGTH_MIN} to {LENGTH_MAX} characters"
    return ""


def put(path: Path, name: str, password: str | None) -> bool:
    """Write the entry of `name` into the password file, or take it out with None; tell whether there was one.

    The file appears whole or not at all, keeps its owner, and is made with mode 0600. Raises UsageProblem, BadConfig,
    NotPermitted, StorageProblem.
    """
    wrong = problem_with(name, password) if password is not None else ""
    if wrong:
        raise UsageProblem(wrong, "choose another")
    entries = read(path) if path.exists() else {}
    had = name in entries
    if password is None:
        entries.pop(name, None)
    else:
        entries[name] = HASHER.hash(password)
    _write(path, "".join(f"{one}:{digest}\n" for one, digest in entries.items()))
    return had


def _write(path: Path, text: str) -> None:
    scratch = ""
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
            with contextlib.suppress(FileNotFoundError):
                before = path.stat()
                if before.st_uid != os.geteuid():
                    os.fchown(descriptor, before.st_uid, before.st_gid)
        Path(scratch).replace(path)
    except OSError as error:
        if scratch:
            with contextlib.suppress(OSError):
                Path(scratch).unlink()
        raise StorageProblem(f"{path}: {error.strerror}") from None


class PasswordFile:
    """A password file that is looked at anew when it changes; safe for many threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._entries: dict[str, str] = {}
        # Of a password that nobody has: what an unknown name is compared with.
        self._nobody = HASHER.hash(secrets.token_urlsafe(32))

    def entry(self, name: str) -> str:
        """Return the hash of `name`, "" if there is none. Raises as read does."""
        with self._lock:
            try:
                found = self.path.stat()
                seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            except OSError:
                seen = None
            if seen is None or seen != self._seen:
                self._entries, self._seen = {}, None
                self._entries = read(self.path)
                self._seen = seen
            return self._entries.get(name, "")

    def check(self, name: str, password: str) -> str:
        """Return the hash that `password` is right for, "" if it is not that of `name`. Raises as read does."""
        digest = self.entry(name)
        try:
            HASHER.verify(digest or self._nobody, password[:LENGTH_MAX])
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return ""
        return digest
