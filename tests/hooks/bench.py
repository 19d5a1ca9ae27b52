"""Calls of the shipped hooks, stand-ins for the programs they use, and PostgreSQL clusters with their hook."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import heartwire
from tests import postgres
from tests.postgres import PATH

SHARE = Path(heartwire.__file__).parent / "share"
HOOKS = SHARE / "hooks"
LIMIT_S = "120"


@dataclass
class Outcome:
    """How a hook ended."""

    code: int
    words: str


def call(name: str, *words: str, path: Path | str = "", limit_s: str = LIMIT_S, **environment: str) -> Outcome:
    """Run a hook as the agent does, with the programs in `path` before those of the system."""
    variables = {"PATH": f"{path}:{PATH}" if path else PATH, "LANG": "de_DE.UTF-8", **environment}
    done = subprocess.run(
        [str(HOOKS / name), *words],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=float(limit_s),
        cwd="/",
    )
    return Outcome(done.returncode, done.stderr + done.stdout)


def program(directory: Path, name: str, text: str) -> None:
    """Put an executable shell script into a folder."""
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


def only(directory: Path, *names: str) -> Path:
    """Return a folder that has nothing but these programs of the system: the whole PATH of a hook."""
    directory.mkdir()
    for name in names:
        found = shutil.which(name, path=PATH)
        assert found, name
        (directory / name).symlink_to(found)
    return directory


class Cluster(postgres.Cluster):
    """One PostgreSQL cluster, and the hook for it."""

    def hook(self, verb: str, **environment: str) -> Outcome:
        """Call the hook for it."""
        return call("postgresql", verb, str(self.data), **environment)
