"""The check for between two edits: contract, policy, and the unit tests of what has changed; prints what it runs.

Changed is what differs from the branch `main` (or from BASE) and what is not committed. A changed test runs itself; a
changed module runs the unit tests that import it. Nothing that needs real time is run: tests/unit/fence, racks.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALWAYS = ("tests/contract", "tests/unit/policy")
# Measure their own waiting, or run programs for real.
SLOW = ("tests/unit/fence/", "tests/unit/broker/")
# Of a module that half of all tests import, the tests beside it tell most; so many files are enough for a minute.
FILES_MAX = 12


def changed(base: str) -> list[str]:
    """Return the paths that differ from `base` in commits of this branch, in the work tree, or are new."""
    found: set[str] = set()
    for command in (
        ["git", "diff", "--name-only", f"{base}...HEAD"],
        ["git", "diff", "--name-only", "HEAD"],
        ["git", "ls-files", "--others", "--exclude-standard"],
    ):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        found.update(done.stdout.split() if done.returncode == 0 else [])
    return sorted(path for path in found if path.endswith(".py") and (ROOT / path).is_file())


def module_of(path: str) -> str:
    """Return the name that `path` is imported by; "" if nothing imports it."""
    for folder in ("host/", "firmware/"):
        if path.startswith(folder):
            return path.removeprefix(folder).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return ""


def imports(text: str, module: str) -> bool:
    """Tell whether a test's `text` imports `module`."""
    package, _, name = module.rpartition(".")
    plain = rf"^\s*(from|import) {re.escape(module)}\b"
    listed = rf"^\s*from {re.escape(package)} import (\([^)]*|[^(\n]*)\b{re.escape(name)}\b"
    return bool(re.search(plain, text, re.M) or (package and re.search(listed, text, re.M)))


def chosen(paths: list[str], texts: dict[str, str]) -> list[str]:
    """Return the test files for changed `paths`; `texts` holds each unit test's file and what stands in it.

    Those whose name has the module's come first.
    """
    found: list[str] = []
    for path in paths:
        if path in texts:
            found.append(path)
            continue
        module = module_of(path)
        if not module:
            continue
        name = module.rpartition(".")[2]
        that = [file for file, text in texts.items() if imports(text, module)]
        found += sorted(that, key=lambda file: (name not in Path(file).stem, file))[:FILES_MAX]
    once = dict.fromkeys(found)
    return [file for file in once if not file.startswith((*SLOW, *(f"{one}/" for one in ALWAYS)))][:FILES_MAX]


def main() -> int:
    """Run it; return pytest's exit status."""
    base = sys.argv[1] if len(sys.argv) > 1 else "main"
    workers = sys.argv[2] if len(sys.argv) > 2 else "2"
    texts = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "tests" / "unit").rglob("test_*.py"))
    }
    files = chosen(changed(base), texts)
    print("contract, policy" + "".join(f", {file}" for file in files), flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "--dist", "worksteal", *ALWAYS, *files]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"{time.monotonic() - began:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
