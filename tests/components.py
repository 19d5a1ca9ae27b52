"""What tests need beyond Python: the table of components.toml, its page in README.md, and what a skip may say.

`python tests/components.py --debian`, `--pypi` or another of KINDS prints the packages that .ci/run installs; `--write`
renews the table of README.md and `--check` compares it (`make docs`, `make generated`). Standard library only: it runs
before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
BEGIN = "<!-- components: generated from components.toml -->\n"
END = "<!-- end of components -->\n"
ABSENT = re.compile(r"not installed: ([\w., \[\]-]+)")
COMPLETE = "HEARTWIRE_ALL_COMPONENTS"  # set where everything that CI installs must be there
WITHOUT = "HEARTWIRE_WITHOUT"  # but for these, named with commas: what could not be had there
KINDS = ("debian", "backports", "pypi", "npm", "micropython")
ALLOWED = "allowed"  # the table's key for reasons that name no component


def _table() -> dict[str, Any]:
    return tomllib.loads((HERE / "components.toml").read_text(encoding="utf-8"))


def load() -> dict[str, dict[str, Any]]:
    """Return the table, by the name that a skip says."""
    return {name: row for name, row in _table().items() if name != ALLOWED}


def allowed() -> list[dict[str, str]]:
    """Return the other reasons that a skip may have where everything is: how each begins, and why."""
    return list(_table()[ALLOWED])


def packages(kind: str) -> list[str]:
    """Return the packages of `kind`, one of KINDS, that CI installs, each once."""
    found = [one for row in load().values() if row.get("ci", True) for one in row.get(kind, [])]
    return list(dict.fromkeys(found))


def absent(reason: str) -> list[str]:
    """Return the components that the reason of a skip names; [] where it speaks of something else."""
    match = ABSENT.search(reason)
    return [name.split()[0] for name in match[1].split(",")] if match else []


def problem(reason: str, environment: Mapping[str, str]) -> str:
    """Return what is wrong with a skip for this reason, or "".

    A component that the table does not have is wrong everywhere. Where COMPLETE of `environment` says that everything
    is there, so is one that CI installs, unless WITHOUT names it, and each reason that names no component and is not
    allowed.
    """
    rows = load()
    names = absent(reason)
    strange = [name for name in names if name not in rows]
    if strange:
        return f"{', '.join(strange)}: not in tests/components.toml ({reason})"
    owed = [
        name for name in names if rows[name].get("ci", True) and name not in environment.get(WITHOUT, "").split(",")
    ]
    if COMPLETE in environment and owed:
        return f"{', '.join(owed)}: should be here, {COMPLETE} is set ({reason})"
    words = reason.removeprefix("Skipped: ")
    if COMPLETE in environment and not names and not any(words.startswith(one["begins"]) for one in allowed()):
        return f"no reason for a skip where {COMPLETE} is set ({reason})"
    return ""


def table() -> str:
    """Return the table for README.md."""
    lines = ["| component | from | tests that skip without it | in CI |\n", "|---|---|---|---|\n"]
    for name, row in sorted(load().items()):
        sources = [f"{kind} `{one}`" for kind in KINDS for one in row.get(kind, [])]
        tests = ", ".join(f"`{one}`" for one in row["tests"])
        lines.append(f"| {name} | {', '.join(sources)} | {tests} | {'yes' if row.get('ci', True) else row['why']} |\n")
    return "".join(lines)


def main() -> int:
    """Print packages, or write or compare the page; return 1 if it differs."""
    parser = argparse.ArgumentParser(description="What tests need beyond Python.")
    wish = parser.add_mutually_exclusive_group(required=True)
    for name, text in (
        *[(kind, f"print the packages from {kind} that CI installs") for kind in KINDS],
        ("write", "renew the table of README.md"),
        ("check", "compare the table of README.md"),
    ):
        wish.add_argument(f"--{name}", action="store_true", help=text)
    arguments = parser.parse_args()
    for kind in KINDS:
        if getattr(arguments, kind):
            print("\n".join(packages(kind)))
            return 0
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    wanted = before + BEGIN + table() + END + rest.split(END, 1)[1]
    if arguments.write:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != text:
        print("tests/README.md differs from tests/components.toml; run make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
