"""Where brokers listen, and how one is started: the system's at a fixed path, a user's own below /tmp.

The system's is started by systemd (heartwire-broker.socket). Where it is not, the first program of a user that needs
one makes the socket and starts a broker on it, which ends when nobody has used it for a while. Linux only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import heartwire
import heartwire_protocol
from heartwire.errors import UsageProblem

# Names a broker's socket, and then only that one is used; "off": the port itself is used, as if there were no broker.
ENVIRONMENT = "HEARTWIRE_BROKER"
OFF = "off"
SYSTEM = Path("/run/heartwire-broker.sock")
# World-writable and sticky, as other users find it there; the folder's owner is checked.
SHARED = Path("/tmp")  # noqa: S108
FOLDER = "heartwire-broker-"
NAME = "broker.sock"
BACKLOG = 64


def enabled() -> bool:
    """Tell whether brokers are used here."""
    return sys.platform == "linux" and os.environ.get(ENVIRONMENT, "").lower() != OFF


def usual(network: bool = False) -> list[Path]:
    """Return where a broker is looked for: the one that the environment names, else the system's and one's own.

    `network`: for a connection over TCP, which the system's has no part in.
    """
    named = _named()
    if named is not None:
        return [named]
    return [own()] if network else [SYSTEM, own()]


def _named() -> Path | None:
    """Return the one socket that the environment names, None if it names none. Raises UsageProblem."""
    named = os.environ.get(ENVIRONMENT, "")
    if not named or named.lower() == OFF:
        return None
    place = Path(named)
    if not place.is_absolute():
        # Programs in other folders, and the broker itself, would mean another socket; and "0" or "no" is none.
        raise UsageProblem(
            f"{ENVIRONMENT}={named[:40]}: must be {OFF}, or the path of a socket from the root on",
            f"set it to {OFF} to use the port itself, or unset it",
        )
    return place


def own() -> Path:
    """Return the socket of this user's broker."""
    return SHARED / f"{FOLDER}{os.geteuid()}" / NAME


def others() -> Iterator[Path]:
    """Yield the sockets of other users' brokers, from folders that are theirs."""
    if _named() is not None:
        return
    for folder in sorted(SHARED.glob(f"{FOLDER}*")):
        uid = folder.name[len(FOLDER) :]
        if uid.isdigit() and int(uid) != os.geteuid() and _belongs(folder, int(uid)):
            yield folder / NAME


def start() -> Path | None:
    """Start a broker of one's own, unless one listens by now; return its socket, or None if it cannot be started."""
    place = _named() or own()
    try:
        listener = listen_alone(place)
        if listener is not None:
            with listener:
                _launch(place, listener)
    except OSError:
        return None
    return place


def listen_alone(place: Path) -> socket.socket | None:
    """Return a socket that listens at `place`, or None if another broker does. Raises OSError."""
    if place == own():
        with contextlib.suppress(FileExistsError):
            place.parent.mkdir(mode=0o755)
        if not _belongs(place.parent, os.geteuid()):
            raise PermissionError(errno.EPERM, f"{place.parent} is not this user's alone")
    with (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return None if _listens(place) else listen(place)


def listen(place: Path) -> socket.socket:
    """Return a socket that listens at `place`, open to everybody: who may use a port is asked for each port.

    A socket that stands there is replaced, anything else is left alone. Raises OSError.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(place.lstat().st_mode):
                raise FileExistsError(errno.EEXIST, "something that is no socket is there")
            place.unlink()
        listener.bind(str(place))
        place.chmod(0o666)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def mark_of(place: Path) -> tuple[int, int] | None:
    """Return what tells a socket from a later one at the same path; None where there is none."""
    try:
        found = place.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def remove(place: Path, mark: tuple[int, int]) -> None:
    """Remove a broker's socket, if it is still that one."""
    with contextlib.suppress(OSError), (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark_of(place) == mark:
            place.unlink()


def _launch(place: Path, listener: socket.socket) -> None:
    """Start a broker that outlives this program and its terminal, on a socket that listens already."""
    program = [sys.executable, "-P", "-m", "heartwire.broker"]
    subprocess.Popen(
        [*program, "--descriptor", str(listener.fileno()), "--socket", str(place)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_surroundings(),
        pass_fds=(listener.fileno(),),
        start_new_session=True,
    )


def _surroundings() -> dict[str, str]:
    """Return the environment of a broker: where Python finds things, and nothing of the program that starts it."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "PYTHONPATH")}
    roots = {str(Path(str(module.__file__)).resolve().parents[1]): None for module in (heartwire, heartwire_protocol)}
    return {**kept, "PYTHONPATH": os.pathsep.join([*roots, *kept.get("PYTHONPATH", "").split(os.pathsep)])}


def _listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.settimeout(1.0)
            probe.connect(str(place))
        except OSError:
            return False
    return True


def _belongs(folder: Path, uid: int) -> bool:
    """Tell whether a folder is that user's, and writable by nobody else."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return found.st_uid == uid and not found.st_mode & 0o022 and folder.is_dir() and not folder.is_symlink()
