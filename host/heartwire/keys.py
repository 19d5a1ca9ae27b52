"""Keys of the host link: read them from a file that only its owner may read, and never show them.

A key file has one `RIGHT=<64 hexadecimal digits>` a line (view, operate, configure); `#` starts a comment. A file
with one bare key belongs to a node. Called by the CLI, by config (key_file settings) and by the agent. No message,
repr or exception of this module holds a key; `settings.fingerprint` names one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from heartwire import private
from heartwire.errors import BadConfig, StorageProblem
from heartwire_protocol import auth, codes, settings

ENVIRONMENT = "HEARTWIRE_KEY_FILE"
DIGITS = 2 * auth.KEY_LENGTH
HOST_RIGHTS = ("view", "operate", "configure")


class Keys:
    """The keys a host holds, by right (codes.RIGHT_*)."""

    def __init__(self, by_right: Mapping[int, str] | None = None) -> None:
        self._by_right = dict(by_right or {})

    def __repr__(self) -> str:
        names = [f"{codes.RIGHTS[right]}={settings.fingerprint(key)}" for right, key in sorted(self._by_right.items())]
        return f"Keys({', '.join(names)})"

    def __bool__(self) -> bool:
        return bool(self._by_right)

    def signer(self, right: int) -> tuple[int, auth.Signer] | None:
        """Return (right, signer) of the smallest right held that covers `right`, or None."""
        for held in sorted(self._by_right):
            if held >= right:
                return held, auth.Signer(bytes.fromhex(self._by_right[held]))
        return None

    def best(self) -> tuple[int, auth.Signer] | None:
        """Return (right, signer) of the greatest right held, or None."""
        return self.signer(max(self._by_right, default=codes.RIGHT_NONE))

    def key(self, right: int) -> str:
        """Return the key of exactly `right`; "" for none."""
        return self._by_right.get(right, "")

    def replaced(self, changes: Mapping[int, str]) -> Keys:
        """Return these keys with `changes` put over them; an empty text drops the key of that right."""
        merged = {**self._by_right, **changes}
        return Keys({right: key for right, key in merged.items() if key})


def default_path() -> Path:
    """Return where the key file is looked for if nobody says: heartwire/keys in the user's config folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "heartwire" / "keys"


def find(path: str | os.PathLike[str] | None) -> Keys:
    """Return the keys of `path`, else of HEARTWIRE_KEY_FILE, else of the default file if there is one, else none.

    Raises BadConfig or NotPermitted like `read_file`.
    """
    chosen = path or os.environ.get(ENVIRONMENT)
    if not chosen:
        if not default_path().exists():
            return Keys()
        chosen = default_path()
    found = read_file(Path(chosen))
    unknown = sorted(set(found) - set(HOST_RIGHTS))
    if unknown:
        what = "a bare key" if unknown == [""] else ", ".join(unknown)
        raise BadConfig(f"{chosen}: {what} where only {', '.join(HOST_RIGHTS)} may stand")
    return Keys({codes.number_of(codes.RIGHTS, name): key for name, key in found.items()})


def read_file(path: Path) -> dict[str, str]:
    """Return the keys of a key file by name; a bare key has the name "".

    Raises BadConfig if the file is missing, readable by others, somebody else's or malformed (never quoting its
    content), NotPermitted if the system refuses it.
    """
    text = private.read(
        path,
        65536,
        what="key file",
        missing="check the path; `heartwire config new --keys` makes a config with new keys",
        user="the key file",
    )
    lines = text.splitlines()
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, separator, key = text.rpartition("=")
        name = name.strip().lower()
        key = key.strip().lower()
        if settings.problem_with("node.a.key", key, 0) or not key or (separator and not name):
            raise BadConfig(f"{path}: line {number}: must be RIGHT=KEY or a KEY of {DIGITS} hexadecimal digits")
        if name in found:
            raise BadConfig(f"{path}: line {number}: a second key {name or 'without a name'}")
        found[name] = key
    if not found:
        raise BadConfig(f"{path}: there is no key in this file")
    return found


def write_new(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Create a key file (mode 0600) with a new random key for each of `names`; return them by name.

    `("",)` makes a file with one bare key. An existing file is never overwritten. Raises StorageProblem.
    """
    made = {name: secrets.token_hex(auth.KEY_LENGTH) for name in names}
    text = "".join(f"{name}={key}\n" if name else f"{key}\n" for name, key in made.items())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise StorageProblem(f"{path}: there is a key file already", "move it away if you want a new key") from None
    except OSError as error:
        raise StorageProblem(f"{path}: {error.strerror}") from None
    return made
