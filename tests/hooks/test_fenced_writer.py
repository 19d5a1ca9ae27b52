"""The writer that refuses a stale epoch."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.hooks.bench import HOOKS, call


def write(directory: Path, epoch: int, *lines: str, lock_s: float = 10) -> int:
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(
        [str(HOOKS / "fenced-writer"), str(directory)],
        input=text,
        text=True,
        env={**os.environ, "HEARTWIRE_EPOCH": str(epoch), "HEARTWIRE_LOCK_S": str(lock_s)},
        check=False,
        timeout=60,
    ).returncode


def test_a_stale_writer_writes_nothing(tmp_path: Path) -> None:
    assert write(tmp_path, 3, "one", "two") == 0
    assert write(tmp_path, 4, "three") == 0
    assert write(tmp_path, 3, "late") == 75
    assert write(tmp_path, 4, "four") == 0
    assert (tmp_path / "data").read_text() == "3 one\n3 two\n4 three\n4 four\n"


def test_a_paused_writer_writes_nothing_when_it_wakes_up(tmp_path: Path) -> None:
    words = [str(HOOKS / "fenced-writer"), str(tmp_path), "3"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as old:
        assert old.stdin is not None
        old.stdin.write(b"before\n")
        old.stdin.flush()
        while not (tmp_path / "data").exists() or not (tmp_path / "data").read_text().endswith("\n"):
            os.sched_yield()
        with (tmp_path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # it has given it back, and waits for its next line
        old.send_signal(signal.SIGSTOP)
        old.stdin.write(b"after\n")
        old.stdin.flush()
        assert write(tmp_path, 4, "successor") == 0
        old.send_signal(signal.SIGCONT)
        assert old.wait(20) == 75
    assert (tmp_path / "data").read_text() == "3 before\n4 successor\n"


def test_a_writer_that_was_paused_with_the_lock_is_reported_not_waited_for(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert write(tmp_path, 4, "x", lock_s=0) == 74
    assert not (tmp_path / "data").exists()


def test_no_epoch_was_granted(tmp_path: Path) -> None:
    assert call("fenced-writer", str(tmp_path)).code == 64
    for epoch in ("0", "-1", "x", ""):
        assert call("fenced-writer", str(tmp_path), HEARTWIRE_EPOCH=epoch).code == 64
    assert call("fenced-writer").code == 64


def test_storage_that_is_not_there_or_damaged_is_told(tmp_path: Path) -> None:
    gone = call("fenced-writer", str(tmp_path / "none"), "3")
    assert gone.code == 74 and "No such file" in gone.words
    (tmp_path / "epoch").write_text("")
    assert write(tmp_path, 3, "x") == 74
    assert not (tmp_path / "data").exists()


def test_a_full_disk_leaves_no_half_a_line(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs root, to mount a small disk")
    try:
        assert write(disk, 3, "first") == 0
        assert write(disk, 3, "y" * 100_000) == 74
        assert (disk / "data").read_text() == "3 first\n", os.strerror(errno.ENOSPC)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
