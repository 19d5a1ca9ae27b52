"""The lock: what `make setup` installs, to the version and the SHA-256 of each file, for one Python on one platform.

`--renew` asks pip what it would install here now and writes it (`make lock`); `--path NAME` prints the lock that fits
this Python and platform, nothing where there is none. A lock names no place that files come from: pip is told that
elsewhere, and whatever place gives another file is refused.
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tools" / "lock"
# Lock -> what pip is asked for. The project itself is built by what stands in [build-system], without isolation.
BUILD = ("hatchling", "editables")
WANTED: dict[str, tuple[str, ...]] = {
    "dev": ("-e", ".[dev]", *BUILD),
    "flash": ("-e", ".[flash]", *BUILD),
    "typings": ("-r", "tools/typings.txt"),
    "audit": ("-r", "tools/audit.txt"),
}
OWN = "heartwire"


def here() -> str:
    """Return the name of this Python and platform, as in cp311-linux-x86_64."""
    python = f"{'cp' if sys.implementation.name == 'cpython' else sys.implementation.name}{sys.version_info[0]}"
    return f"{python}{sys.version_info[1]}-{sysconfig.get_platform().partition('-')[0]}-{platform.machine()}"


def path_of(name: str) -> Path:
    """Return the lock `name` for this Python and platform; it need not exist."""
    return FOLDER / f"{name}-{here()}.txt"


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


def renew(name: str) -> Path:
    """Ask pip, and write the lock `name`. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="heartwire-") as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
        command += ["--only-binary", ":all:", "--report", str(report), *WANTED[name]]
        subprocess.run(command, check=True, cwd=ROOT)
        lines = rows(json.loads(report.read_text()))
    path = path_of(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([f"# {name} for {here()}. Renewed by `make lock`; do not edit.", *lines, ""]))
    return path


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--renew", nargs="*", choices=sorted(WANTED), metavar="NAME", help="which; all if none is named")
    what.add_argument("--path", choices=sorted(WANTED))
    chosen = parser.parse_args()
    if chosen.path:
        if path_of(chosen.path).exists():
            print(path_of(chosen.path).relative_to(ROOT))
        return 0
    for name in chosen.renew or WANTED:
        path = renew(name)
        print(f"{path.relative_to(ROOT)}: {len(path.read_text().splitlines()) - 1} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
