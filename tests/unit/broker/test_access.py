"""Who may use a port: as the kernel decides for the device itself."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

import pytest

from heartwire.broker import access, places
from heartwire.broker.access import Caller, is_terminal, may_open

ROOT, OWNER, MEMBER, STRANGER = (
    Caller(1, 0, frozenset({0})), Caller(2, 1000, frozenset({1000})), Caller(3, 1001, frozenset({1001, 20})),
    Caller(4, 1002, frozenset({1002})),
)  # fmt: skip


def device(mode: int, major: int = 166) -> os.stat_result:
    """Return a character device of user 1000 and group 20."""
    return os.stat_result((stat.S_IFCHR | mode, 1, 1, 1, 1000, 20, 0, 0, 0, 0), {"st_rdev": os.makedev(major, 0)})


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return an access list: (tag, rights, number)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize(
    ("mode", "allowed"),
    [
        (0o660, [ROOT, OWNER, MEMBER]),
        (0o600, [ROOT, OWNER]),
        (0o666, [ROOT, OWNER, MEMBER, STRANGER]),
        (0o620, [ROOT, OWNER]),  # a pseudo terminal
        (0o640, [ROOT, OWNER]),
        (0o060, [ROOT, MEMBER]),
        (0o606, [ROOT, OWNER, STRANGER]),  # a member of the group is not one of the others
    ],
)
def test_owner_group_and_mode(mode: int, allowed: list[Caller]) -> None:
    assert [one for one in (ROOT, OWNER, MEMBER, STRANGER) if may_open(one, device(mode))] == allowed


@pytest.mark.parametrize(
    ("entries", "allowed"),
    [
        # udev's uaccess: the person at the seat.
        ([(1, 6, 0), (2, 6, 1002), (4, 6, 0), (16, 6, 0), (32, 0, 0)], [ROOT, OWNER, MEMBER, STRANGER]),
        ([(1, 6, 0), (2, 4, 1002), (4, 6, 0), (16, 6, 0), (32, 0, 0)], [ROOT, OWNER, MEMBER]),
        ([(1, 6, 0), (2, 6, 1002), (4, 6, 0), (16, 4, 0), (32, 0, 0)], [ROOT, OWNER]),  # masked
        ([(1, 6, 0), (4, 0, 0), (8, 6, 1002), (16, 6, 0), (32, 0, 0)], [ROOT, OWNER, STRANGER]),
    ],
)
def test_an_access_list(entries: list[tuple[int, int, int]], allowed: list[Caller]) -> None:
    found = [one for one in (ROOT, OWNER, MEMBER, STRANGER) if may_open(one, device(0o660), acl(*entries))]
    assert found == allowed


def test_only_terminals_are_opened_for_others(tmp_path: Path) -> None:
    for name, subsystem in (("166:0", "tty"), ("10:130", "misc")):
        (tmp_path / name).mkdir()
        (tmp_path / "class" / subsystem).mkdir(parents=True)
        (tmp_path / name / "subsystem").symlink_to(tmp_path / "class" / subsystem)
    assert is_terminal(device(0o660), tmp_path)
    assert is_terminal(device(0o660, 136), tmp_path)
    watchdog = os.stat_result((stat.S_IFCHR, 1, 1, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": os.makedev(10, 130)})
    assert not is_terminal(watchdog, tmp_path)
    assert not is_terminal(device(0o660, 99), tmp_path)
    assert not is_terminal(tmp_path.stat(), tmp_path)


def test_the_kernel_says_who_calls() -> None:
    one, other = socket.socketpair()
    with one, other:
        caller = access.caller_of(one)
    assert (caller.pid, caller.uid) == (os.getpid(), os.geteuid())
    assert caller.gids >= {os.getegid(), *os.getgroups()}


def test_a_folder_that_is_not_ones_own_holds_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(places.ENVIRONMENT, raising=False)
    monkeypatch.setattr(places, "SHARED", tmp_path)
    monkeypatch.setattr(places, "_launch", lambda place, listener: pytest.fail("started"))
    uid = os.geteuid()
    folder = tmp_path / f"{places.FOLDER}{uid}"
    folder.mkdir()
    folder.chmod(0o777)  # anybody could put a socket there
    assert places.start() is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert places.start() is None
    (tmp_path / f"{places.FOLDER}{uid + 1}").mkdir()  # says that it is somebody else's, and is ours
    assert list(places.others()) == []


def test_a_socket_that_a_killed_broker_left_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(f"/tmp/hw-{os.getpid()}.sock")
    monkeypatch.setenv(places.ENVIRONMENT, str(place))
    launched: list[int] = []
    monkeypatch.setattr(places, "_launch", lambda at, listener: launched.append(listener.fileno()))
    try:
        places.listen(place).close()
        assert places.start() == place
        assert len(launched) == 1
        with places.listen(place):
            assert places.start() == place  # one listens
        assert len(launched) == 1
        mark = places.mark_of(place)
        assert mark is not None
        places.remove(place, (mark[0], mark[1] - 1))
        assert place.exists()  # a later one's
        places.remove(place, mark)
        assert not place.exists()
    finally:
        place.unlink(missing_ok=True)
        Path(f"{place}.lock").unlink(missing_ok=True)
