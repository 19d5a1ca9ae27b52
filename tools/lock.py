"""The lock: what `make setup` installs, to the version and the SHA-256 of each file, for one Python on one platform.

`--renew` asks pip what it would install now and writes it (`make lock`), here or, with `--machine aarch64`, on another
machine with this Python; `--path NAME` prints the lock that fits this Python and platform, nothing where there is none.
A lock names no place that files come from: pip is told that elsewhere, and a file that is another one is refused.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tools" / "lock"
# Lock -> what pip is asked for. The project itself is built by what stands in [build-system], without isolation.
BUILD = ("hatchling", "editables")
WANTED: dict[str, tuple[str, ...]] = {
    "dev": ("-e", ".[dev]", *BUILD),
    "flash": ("-e", ".[flash]", *BUILD),
    # What the Debian packages bring, without what builds the project.
    "deb": ("-e", ".[flash,fleet,monitor,mqtt,postgresql,web]"),
    "typings": ("-r", "tools/typings.txt"),
    "audit": ("-r", "tools/audit.txt"),
}
# Beside `dev`, with the same versions: what was tested is what is installed.
PARTS = ("flash", "deb")
OWN = "heartwire"
# Runs pip as on the machine that its first argument names: its own options for that (--platform) leave the markers of
# requirements as they are here.
ELSEWHERE = """
import platform, runpy, sys, sysconfig
machine = sys.argv.pop(1)
platform.machine, sysconfig.get_platform = lambda: machine, lambda: "linux-" + machine
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def here(machine: str = "") -> str:
    """Return the name of this Python and platform, as in cp311-linux-x86_64, or of this Python on another `machine`."""
    python = f"{'cp' if sys.implementation.name == 'cpython' else sys.implementation.name}{sys.version_info[0]}"
    return f"{python}{sys.version_info[1]}-{sysconfig.get_platform().partition('-')[0]}-{machine or platform.machine()}"


def path_of(name: str, machine: str = "") -> Path:
    """Return the lock `name` for this Python and platform, or another `machine`; it need not exist."""
    return FOLDER / f"{name}-{here(machine)}.txt"


def rows(report: dict[str, Any]) -> list[str]:
    """Return the lines of a lock from pip's report. ValueError if a file has no hash."""
    found = []
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if name == OWN:
            continue
        digest = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256", "")
        if not digest:
            raise ValueError(f"{name} comes without a hash")
        found.append(f"{name}=={item['metadata']['version']} --hash=sha256:{digest}")
    return sorted(found)


def pip_report(wanted: Sequence[str], machine: str = "", *options: str) -> dict[str, Any]:
    """Return pip's report of what it would install for `wanted`, here or on `machine`: wheels only.

    Raises CalledProcessError, with what pip said in `stderr`.
    """
    pip = ["-c", ELSEWHERE, machine] if machine else ["-m", "pip"]
    with tempfile.TemporaryDirectory(prefix="heartwire-") as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, *pip, "install", "-q", "--dry-run", "--ignore-installed"]
        command += ["--only-binary", ":all:", "--report", str(report), *options, *wanted]
        subprocess.run(command, check=True, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        found: dict[str, Any] = json.loads(report.read_text())
        return found


def alike(name: str, machine: str = "") -> list[str]:
    """Return the versions that the lock `name` must agree with: those of `dev` here, and of its own here elsewhere."""
    other = path_of(name if machine else "dev")
    if not other.exists() or (not machine and name not in PARTS):
        return []
    return [row.split()[0] for row in other.read_text().splitlines() if not row.startswith("#")]


def renew(name: str, machine: str = "") -> Path:
    """Ask pip, and write the lock `name`, for here or for `machine`. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="heartwire-") as folder:
        versions = Path(folder) / "versions.txt"
        versions.write_text("\n".join(alike(name, machine)))
        lines = rows(pip_report(WANTED[name], machine, "-c", str(versions)))
    path = path_of(name, machine)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([f"# {name} for {here(machine)}. Renewed by `make lock`; do not edit.", *lines, ""]))
    return path


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--renew", nargs="*", choices=sorted(WANTED), metavar="NAME", help="which; all if none is named")
    what.add_argument("--path", choices=sorted(WANTED))
    parser.add_argument("--machine", default="", help="renew for another machine, for instance aarch64")
    chosen = parser.parse_args()
    if chosen.path:
        if path_of(chosen.path).exists():
            print(path_of(chosen.path).relative_to(ROOT))
        return 0
    for name in chosen.renew or WANTED:
        path = renew(name, chosen.machine)
        print(f"{path.relative_to(ROOT)}: {len(path.read_text().splitlines()) - 1} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
