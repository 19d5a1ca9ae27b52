"""A machine of one's own for a test: this system's systemd as process 1 of namespaces.

Its file system is an overlay over this machine's, with a staged tree laid over it, and is gone with it. Only what is
staged is started: whatever the distribution would start by itself is left out. What is not there: udev and
device units, D-Bus, a console, any network but its own loopback. Its devices are this machine's, which is why nothing
may be started that makes some.

This file is also the program that becomes the machine: first in this machine's namespaces (`outer`), then in its own
(`inner`). Ending the process that was started takes the machine's power.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
HIERARCHIES = ("systemd", "devices", "pids", "memory", "unified")
NAME = "heartwire-box"
TOOLS = ("unshare", "nsenter", "mount", "pivot_root", "umount", "hostname", "systemctl")
# Its sockets would leave links in the /dev of this machine.
MASKED = ("systemd-journald-dev-log.socket", "systemd-journald-audit.socket", "systemd-initctl.socket")
WANTED = {"sysinit.target": ("systemd-journald.service",), "sockets.target": ("systemd-journald.socket",)}


def library() -> Path | None:
    """Return systemd's folder; None where it is not installed."""
    found = [path for path in (Path("/usr/lib/systemd"), Path("/lib/systemd")) if (path / "systemd").exists()]
    return found[0] if found else None


def why_not() -> str:
    """Return why no machine can be made here; empty if one can."""
    if sys.platform != "linux":
        return "namespaces need Linux"
    if os.geteuid() != 0:
        return "a machine of namespaces needs root"
    if library() is None:
        return "not installed: systemd"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: systemd, util-linux (no {', '.join(missing)})"
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        return "the kernel has no overlayfs here"
    for name in ("systemd", "devices"):
        if not (CGROUPS / name / "cgroup.procs").exists():
            return f"no cgroup hierarchy of version 1 is mounted at {CGROUPS / name}"
    done = subprocess.run(
        ["unshare", "-m", "-p", "-u", "-n", "-i", "-C", "-f", "true"], capture_output=True, check=False
    )
    return "" if done.returncode == 0 else f"namespaces are not allowed here: {done.stderr.decode().strip()}"


def command(directory: Path, stage: Path, folders: list[Path]) -> list[str]:
    """Return what starts a machine: `stage` is laid over its root, each of `folders` is there as it is.

    `directory` is its own, for mounts that nobody outside sees; made anew for each start.
    """
    return [sys.executable, str(Path(__file__).resolve()), "outer", str(directory), str(stage), *map(str, folders)]


def is_there(pid: int) -> bool:
    """Tell whether systemd runs already in the machine that process `pid` (of `command`) becomes."""
    try:
        first = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        return Path(f"/proc/{first}/root/run/systemd/private").exists()
    except (OSError, IndexError):
        return False


def inside(pid: int, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command in the machine that process `pid` (of `command`) has become."""
    first = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    enter = ["nsenter", "-t", first, "-m", "-p", "-u", "-n", "-i", "-C", f"--root=/proc/{first}/root", "--wd=/"]
    return subprocess.run([*enter, *words], capture_output=True, text=True, timeout=timeout_s, check=False)


def wait_until_up(pid: int, limit_s: float = 30.0) -> None:
    """Wait until the machine has started all that it shall. TimeoutError with its failed units otherwise."""
    deadline = time.monotonic() + limit_s
    state = ""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, IndexError):
            state = inside(pid, "systemctl", "is-system-running").stdout.strip()
        if state in ("running", "degraded"):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{state}: {inside(pid, 'systemctl', 'list-jobs').stdout}")


def clean_up() -> None:
    """Remove the cgroups of machines that are gone."""
    for top in CGROUPS.glob(f"*/{NAME}-*"):
        if not Path(f"/proc/{top.name.rsplit('-', 1)[1]}").exists():
            for path in sorted(top.rglob("*"), reverse=True):
                if path.is_dir():
                    with contextlib.suppress(OSError):
                        path.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()


def outer(directory: Path, *rest: str) -> None:
    """Take a cgroup of one's own in each hierarchy, then go on in new namespaces."""
    for name in HIERARCHIES:
        group = CGROUPS / name / f"{NAME}-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(os.getpid()))
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    words = [sys.executable, str(Path(__file__).resolve()), "inner", str(directory), *rest]
    os.execvp("unshare", ["unshare", "-m", "-p", "-u", "-n", "-i", "-C", "-f", "--kill-child=KILL", *words])


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def inner(directory: Path, stage: Path, *folders: str) -> None:
    """Build the file system and become systemd."""
    subprocess.run(["hostname", "box"], check=True)
    if shutil.which("ip"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
    mount("--make-rprivate", "/")
    space, tree = directory / "space", directory / "tree"
    space.mkdir()
    tree.mkdir()
    mount("-t", "tmpfs", "-o", "size=256m", "none", str(space))
    (space / "upper").mkdir()
    (space / "work").mkdir()
    mount("-t", "overlay", "none", "-o", f"lowerdir=/,upperdir={space}/upper,workdir={space}/work", str(tree))
    mount("-t", "proc", "none", f"{tree}/proc")
    mount("--rbind", "/dev", f"{tree}/dev")
    mount("-t", "sysfs", "-o", "ro", "none", f"{tree}/sys")
    for folder, mode in (("run", "755"), ("tmp", "1777"), ("sys/fs/cgroup", "755")):
        mount("-t", "tmpfs", "-o", f"mode={mode}", "none", f"{tree}/{folder}")
    for name in HIERARCHIES:
        kind = {"systemd": "none,name=systemd"}.get(name, name)
        if (CGROUPS / name).exists():
            (tree / "sys/fs/cgroup" / name).mkdir()
            version = ["-t", "cgroup2"] if name == "unified" else ["-t", "cgroup", "-o", kind]
            mount(*version, "none", f"{tree}/sys/fs/cgroup/{name}")
    for folder in folders:
        (tree / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        mount("--rbind", folder, f"{tree}{folder}")
    only_what_is_staged(tree)
    shutil.copytree(stage, tree, symlinks=True, dirs_exist_ok=True)
    (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (tree / "etc/fstab").write_text("")
    os.chdir(tree)
    (tree / "before").mkdir()
    subprocess.run(["pivot_root", ".", "before"], check=True)
    subprocess.run(["/bin/umount", "-l", "/before"], check=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    first = str((library() or Path("/lib/systemd")) / "systemd")
    around = {"container": "other", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    os.execve(first, [first, "--system", "--unit=multi-user.target", "--show-status=no"], around)


def only_what_is_staged(tree: Path) -> None:
    """Leave out what this system would start by itself; keep the journal."""
    units = tree / "etc/systemd/system"
    shutil.rmtree(units)
    system = tree / str(library() or "lib/systemd").lstrip("/")
    shutil.rmtree(system / "system-generators", ignore_errors=True)
    for wants in (system / "system").glob("*.wants"):
        shutil.rmtree(wants)
    units.mkdir()
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    for target, names in WANTED.items():
        (units / f"{target}.wants").mkdir()
        for name in names:
            (units / f"{target}.wants" / name).symlink_to(system.relative_to(tree) / "system" / name)


if __name__ == "__main__":
    {"outer": outer, "inner": inner}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])  # type: ignore[operator]
