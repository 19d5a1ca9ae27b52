"""The contract on CPython and, with the same cases, on the real MicroPython VM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract import cases

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = ROOT / "tests" / "vectors" / "contract.json"
NAMES = [name for name in dir(cases) if name.startswith("test_")]
# On the VM the cases stand alone: no packages above them, no pytest. It prints a line per case and stops at nothing.
RUNNER = """
import sys, json
sys.path[:0] = [{firmware!r}, {here!r}]
import cases
with open({vectors!r}) as file:
    cases.VECTORS = json.load(file)
failed = 0
for name in {names!r}:
    try:
        getattr(cases, name)()
        print("ok", name)
    except Exception as error:
        failed += 1
        print("FAILED", name)
        sys.print_exception(error)
sys.exit(1 if failed else 0)
"""


@pytest.mark.parametrize("name", NAMES)
def test_on_cpython(name: str) -> None:
    cases.VECTORS = json.loads(VECTORS.read_text())
    getattr(cases, name)()


@pytest.mark.virtual
def test_on_the_micropython_vm(tmp_path: Path) -> None:
    vm = Path(sys.executable).parent / "micropython"
    if not vm.exists() and shutil.which("micropython") is None:
        pytest.skip("not installed: heartwire[virtual]")
    script = tmp_path / "run.py"
    here = str(Path(__file__).parent)
    script.write_text(RUNNER.format(firmware=str(ROOT / "firmware"), here=here, vectors=str(VECTORS), names=NAMES))
    command = [str(vm) if vm.exists() else "micropython", "-X", "heapsize=228wK", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok test_") == len(NAMES)


def test_the_flags_of_a_heartbeat_fit_into_the_evidence_of_the_journal() -> None:
    """The evidence has seven bits for them, and its power field begins right above."""
    from heartwire_protocol import messages

    assert sum(bit for bit, _, _ in messages.FLAGS) < 128
