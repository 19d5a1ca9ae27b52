"""Real agents on the virtual rack: fences asked over a node's own line; servers that are sick and must not be fenced.

What is a stand-in here is said at each test. A clock is set back for one process only, never for the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.virtual.product import ProductRack
from tests.virtual.conftest import Watcher

pytestmark = pytest.mark.virtual
MAY_FENCE = {"may_fence": True}
SICK_S = 6.0  # three times dead_ms
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <stdlib.h>
static long back(void) { const char *mark = getenv("CLOCK_BACK"); return mark && access(mark, F_OK) == 0 ? 86400 : 0; }
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, t);
    if (!result && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI)) t->tv_sec -= back();
    return result;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) { t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000; }
    return 0;
}
time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one of the product's commands."""
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def fence_agent(rack: ProductRack, node: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run fence_heartwire on the server of `node`, over its own line."""
    state = rack.servers[node].directory / "state"
    return run("fence_heartwire", "-p", f"agent:{state}", *words)


def undisturbed(rack: ProductRack, watcher: Watcher) -> None:
    """Hold that nobody was fenced, and that the service of a was never interrupted."""
    names = watcher.names()
    assert not [name for name in names if name[0] in ("fence_fired", "dead", "granted") and name[1] != "a"], names
    assert ("fence_fired", "a") not in names and ("dead", "a") not in names, names
    assert rack.is_running("a") and rack.writers() == [("a", 1)]
    print(f"late: {sum(event == 'late' for event, _ in names)}")


def test_heartwire_agent_fence_makes_the_peer_proven_off(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(node_settings=MAY_FENCE)
    words = (
        "heartwire",
        "agent",
        "fence",
        "a",
        "--yes",
        "--state-directory",
        str(rack.servers["b"].directory / "state"),
    )
    refused = run(*words)
    assert refused.returncode == 1 and "it gives good heartbeats" in refused.stderr, "a peer may not cut who is well"
    assert rack.is_running("a") and rack.writers() == [("a", 1)]
    with rack.open() as board:
        board.set_mode("fencer")
    done = run(*words)
    assert (done.returncode, done.stdout) == (0, "a is proven off\n"), done.stderr
    asked = [row.sentence() for row in Watcher(rack).events() if row.event == "requested" and row.node == "a"]
    assert asked[-1] == "request fence for a by heartwire on b, over its own line"


def test_a_cluster_fences_over_the_line_of_a_node(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack(arm=False, node_settings=MAY_FENCE, timings={"hold_max_s": 20})
    watcher = Watcher(rack)
    watcher.wait(lambda board: all(node.verdict == "good" for node in board.nodes()))
    refused = fence_agent(rack, "b", "-o", "monitor")
    assert refused.returncode == 1 and "observe mode" in refused.stderr
    with rack.open() as board:
        board.set_mode("fencer")
    rack.board.usb_unplug()  # no host link is needed
    for words, code, output in (
        (("-o", "monitor"), 0, ""),
        (("-o", "list"), 0, "a,\n"),
        (("-o", "status", "-n", "a"), 0, "Status: ON\n"),
        (("-o", "off", "-n", "a"), 0, ""),
        (("-o", "off", "-n", "a"), 0, ""),
        (("-o", "status", "-n", "a"), 2, "Status: OFF\n"),
        (("-o", "reboot", "-n", "a"), 0, ""),
    ):
        done = fence_agent(rack, "b", *words)
        assert (done.returncode, done.stdout) == (code, output), (words, done.stderr)
    assert not rack.servers["a"].powered
    rack.board.usb_plug()
    rows = [row.sentence() for row in watcher.events() if row.event == "requested" and row.node == "a"]
    assert rows == ["request fence for a by fence_heartwire on b, over its own line"]


def test_a_node_without_the_right_is_refused_in_words(make_rack: Callable[..., ProductRack]) -> None:
    rack = make_rack()
    done = fence_agent(rack, "b", "-o", "off", "-n", "a")
    assert done.returncode == 1 and "do not let node b ask" in done.stderr and "may_fence" in done.stderr
    rack.servers["b"].crash()
    done = fence_agent(rack, "b", "-o", "status", "-n", "a", "--login-timeout", "1", "--power-timeout", "1")
    assert done.returncode == 1 and "no agent answers" in done.stderr
    assert rack.is_running("a") and rack.writers() == [("a", 1)]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a maker of small file systems at a path; they are thawed and unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    made: list[Path] = []

    def mount(where: Path, *arguments: str) -> Path:
        where.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *arguments, str(where)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        made.append(where)
        return where

    yield mount
    for where in made:
        subprocess.run(["fsfreeze", "-u", str(where)], capture_output=True, check=False)
        subprocess.run(["umount", "-l", str(where)], check=False)


@pytest.fixture
def late_rack(tmp_path: Path) -> Iterator[Callable[..., ProductRack]]:
    """Return a maker of racks that are not started, for tests that put something below a server first."""
    racks: list[ProductRack] = []

    def make(**options: object) -> ProductRack:
        racks.append(ProductRack(tmp_path / "rack", **options))  # type: ignore[arg-type]
        return racks[-1]

    yield make
    for rack in racks:
        rack.close()


def armed(rack: ProductRack) -> Watcher:
    rack.start()
    with rack.open() as board:
        board.set_mode("auto")
    rack.wait_active("a")
    return Watcher(rack)


def test_a_full_disk_stops_nothing_and_the_failover_still_comes(
    mounted: Callable[..., Path], late_rack: Callable[..., ProductRack]
) -> None:
    rack = late_rack()
    state = mounted(rack.servers["a"].directory / "state", "-t", "tmpfs", "-o", "size=64k", "none")
    watcher = armed(rack)
    with contextlib.suppress(OSError), (state / "fill").open("wb", buffering=0) as fill:
        while True:
            fill.write(bytes(4096))
    assert shutil.disk_usage(state).free == 0
    time.sleep(SICK_S)
    undisturbed(rack, watcher)
    rack.servers["a"].crash()
    rack.wait_active("b")
    assert rack.writers() == [("a", 1), ("b", 2)]


def test_a_frozen_disk_hangs_its_probe_and_no_heartbeat(
    mounted: Callable[..., Path], late_rack: Callable[..., ProductRack], tmp_path: Path
) -> None:
    """A loop device whose file system is frozen: whoever writes sleeps uninterruptibly, as on a dead disk."""
    for tool, package in (("mkfs.ext4", "e2fsprogs"), ("fsfreeze", "util-linux")):
        if shutil.which(tool) is None:
            pytest.skip(f"not installed: {package}")
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(8 << 20))
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    config = tmp_path / "agent.toml"
    rack = late_rack(agent_flags=("--config", str(config)))
    state = mounted(rack.servers["a"].directory / "state", "-o", "loop", str(image))
    config.write_text(
        f'[[probes]]\nkind = "disk"\ndirectory = "{state}"\ninterval_s = 0.3\nlimit_s = 0.5\nfailures = 1\n'
    )
    watcher = armed(rack)
    subprocess.run(["fsfreeze", "-f", str(state)], check=True)
    try:
        watcher.wait(lambda board: board.node("a").state == "degraded")
        time.sleep(SICK_S)
        undisturbed(rack, watcher)
    finally:
        # Before anything is ended: a program that sleeps on a frozen disk cannot be killed.
        subprocess.run(["fsfreeze", "-u", str(state)], check=True)
    watcher.wait(lambda board: board.node("a").state == "healthy")
    undisturbed(rack, watcher)


def test_a_wall_clock_set_back_a_day_changes_nothing(late_rack: Callable[..., ProductRack], tmp_path: Path) -> None:
    """A library put before libc takes a day off every wall-clock reading of a's processes, from one moment on."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("not installed: cc (the wall clock of one process cannot be set back without a compiler)")
    source, library, mark = tmp_path / "clock.c", tmp_path / "clock.so", tmp_path / "back"
    source.write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    around = {"LD_PRELOAD": str(library), "CLOCK_BACK": str(mark)}
    ask = [sys.executable, "-c", "import time; print(time.time())"]
    rack = late_rack(on_board_loss="stop", agent_environment={"a": around})
    watcher = armed(rack)
    mark.touch()
    shown = subprocess.run(ask, env={**os.environ, **around}, capture_output=True, text=True, check=True).stdout
    assert 86_000 < time.time() - float(shown) < 87_000, "the clock is a day back"
    time.sleep(SICK_S)
    undisturbed(rack, watcher)
    mark.unlink()  # and a day forward again
    time.sleep(SICK_S / 2)
    undisturbed(rack, watcher)
    rack.board.unplug()
    deadline = time.monotonic() + 8
    while rack.is_running("a"):
        assert time.monotonic() < deadline, "the lease ran out long ago"
        time.sleep(0.05)


THRASH = """
import mmap, os, sys, time
size = int(sys.argv[1]) << 20
with open(sys.argv[2], "r+b") as file:
    view = mmap.mmap(file.fileno(), 0)
    while True:
        for at in range(0, len(view), 4096):
            view[at] = 1
        memory = mmap.mmap(-1, size)
        for at in range(0, size, 4096):
            memory[at] = 1
        memory.close()
"""
CGROUP = Path("/sys/fs/cgroup/memory")
LIMIT_MB = 224


def test_memory_pressure_fences_nobody(late_rack: Callable[..., ProductRack], tmp_path: Path) -> None:
    """A stand-in for a swap storm, which needs swap: server a has less memory than its programs touch.

    Its agent, its service and two programs that dirty a file larger than the limit, and memory of their own, share a
    memory cgroup. The kernel takes pages from all of them, without end.
    """
    group = CGROUP / f"heartwire-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup (v1) can be made here: {error}")
    hogs: list[subprocess.Popen[bytes]] = []
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_MB << 20))
        rack = late_rack()
        watcher = armed(rack)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(process / "cwd").startswith(str(rack.servers["a"].directory)):  # noqa: PTH115
                    (group / "cgroup.procs").write_text(process.name)
        assert (group / "cgroup.procs").read_text().split(), "the agent was not found"
        data = tmp_path / "data"
        with data.open("wb") as file:
            file.truncate(2 * LIMIT_MB << 20)
        for _ in range(2):
            hog = subprocess.Popen(["nice", sys.executable, "-c", THRASH, "32", str(data)])
            (group / "cgroup.procs").write_text(str(hog.pid))
            hogs.append(hog)
        time.sleep(2 * SICK_S)
        failures = int((group / "memory.failcnt").read_text())
        print(f"the limit was hit {failures} times")
        assert failures > 100, "no pressure"
        assert all(hog.poll() is None for hog in hogs)
        undisturbed(rack, watcher)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (CGROUP / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):
            group.rmdir()
