"""Every mutant is caught by the test named beside it.

Each one is made in a copy of the firmware, or of the host's package, in a process of its own. HEARTWIRE_MUTANT=NAME
runs only those whose name contains NAME.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.mutant import Mutant
from tests.mutation.mutants import MUTANTS

ROOT = Path(__file__).resolve().parent.parent.parent
FIRMWARE = ROOT / "firmware"
WANTED = os.environ.get("HEARTWIRE_MUTANT", "")
CAUGHT = 3


def test_there_are_enough_and_each_has_its_own_name() -> None:
    assert len(MUTANTS) >= 140
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if WANTED in m.name], ids=lambda mutant: mutant.name)
def test_mutant_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    if mutant.file.startswith("heartwire/"):
        shutil.copytree(ROOT / "host" / "heartwire", copy / "heartwire")
        path = copy / mutant.file
    else:
        shutil.copytree(FIRMWARE / "heartwire_firmware", copy / "heartwire_firmware")
        path = copy / "heartwire_firmware" / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has the text {text.count(mutant.old)} times"
    path.write_text(text.replace(mutant.old, mutant.new))
    command = [sys.executable, str(ROOT / "tests" / "mutation" / "catch.py"), *mutant.catcher.split()]
    environment = {**os.environ, "PYTHONPATH": f"{copy}:{FIRMWARE}:{ROOT / 'host'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == CAUGHT, f"{mutant.catcher} did not catch it: {done.returncode}\n{done.stderr[-2000:]}"
